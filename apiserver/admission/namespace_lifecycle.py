"""NamespaceLifecycle: objects are created only in namespaces that exist and are not being deleted."""

from __future__ import annotations

from typing import Any

import msgspec
from lightkube.models.meta_v1 import StatusCause, StatusDetails

from api.errors import Forbidden, NotFound
from api.kinds import Kind
from apiserver.backend import Backend


class _Phase(msgspec.Struct):
    phase: str = ""


class _Namespace(msgspec.Struct):
    status: _Phase = msgspec.field(default_factory=_Phase)


_decoder = msgspec.json.Decoder(_Namespace)


async def admit(kind: Kind, obj: Any, backend: Backend) -> None:
    """Raises NotFound for a namespace that does not exist, Forbidden for one that is going."""
    if not kind.namespaced:
        return
    namespace = obj.metadata.namespace
    record = await backend.find("namespaces", "", namespace)
    if record is None:
        raise NotFound.of(qualified="namespaces", name=namespace)
    if b'"Terminating"' in record.value and _decoder.decode(record.value).status.phase == "Terminating":
        raise _terminating(kind, obj.metadata.name or "", namespace)


def _terminating(kind: Kind, name: str, namespace: str) -> Forbidden:
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    error = Forbidden.of(qualified=kind.qualified, name=name, why=why)
    cause = StatusCause(
        reason="NamespaceTerminating", message=f"namespace {namespace} is being terminated", field="metadata.namespace"
    )
    details = error.details or StatusDetails()
    details.causes = [cause]
    return error


IMMORTAL = frozenset({"default", "kube-system", "kube-public"})


def admit_delete(kind: Kind, obj: Any) -> None:
    """Raises Forbidden for the namespaces a cluster cannot be without."""
    if kind.qualified == "namespaces" and obj.metadata.name in IMMORTAL:
        why = "this namespace may not be deleted"
        raise Forbidden.of(qualified=kind.qualified, name=obj.metadata.name, why=why)
