"""Namespaces: held by the finalizer `kubernetes` in their spec until the namespace controller has emptied them."""

from __future__ import annotations

from typing import Any

from lightkube.models.core_v1 import NamespaceSpec, NamespaceStatus
from lightkube.resources.core_v1 import Namespace

from apiserver.registry import names
from apiserver.registry.columns import AGE, NAME, Column, at
from apiserver.registry.kind import Kind
from apiserver.verbs.finalize import FINALIZE
from apiserver.verbs.status import STATUS


def defaults(obj: Any) -> None:
    if obj.metadata.name:
        obj.metadata.labels = {**(obj.metadata.labels or {}), "kubernetes.io/metadata.name": obj.metadata.name}


def prepare_create(obj: Any) -> None:
    others = [each for each in (obj.spec and obj.spec.finalizers) or [] if each != "kubernetes"]
    obj.spec = NamespaceSpec(finalizers=[*others, "kubernetes"])


def prepare_status(new: Any, old: Any) -> None:
    if old.metadata.deletionTimestamp is None and new.status is not None:
        new.status.phase = "Active"


def begin_deletion(obj: Any) -> None:
    obj.status = obj.status or NamespaceStatus()
    obj.status.phase = "Terminating"


NAMESPACE = Kind(
    Namespace,
    short_names=("ns",),
    subresources=(STATUS, FINALIZE),
    selectable=("status.phase",),
    columns=(NAME, Column("Status", at("status.phase", "")), AGE),
    name_rule=names.dns_label,
    defaults=defaults,
    initial_status=lambda obj: NamespaceStatus(phase="Active"),
    prepare_create=prepare_create,
    fixed=("spec",),
    prepare_status=prepare_status,
    begin_deletion=begin_deletion,
    is_held=lambda obj: bool(obj.spec and obj.spec.finalizers),
    immortal=frozenset({"default", "kube-system", "kube-public"}),
)
