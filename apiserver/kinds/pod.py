"""Pods: born Pending, deleted gracefully, with a spec that hardly changes."""

from __future__ import annotations

from typing import Any

from lightkube.models.core_v1 import PodStatus
from lightkube.resources.core_v1 import Pod

from api.errors import FieldError, required
from apiserver.admission.default_toleration_seconds import DefaultTolerationSeconds
from apiserver.admission.priority import PodPriority
from apiserver.admission.service_account import ServiceAccountName
from apiserver.kinds import pod_spec
from apiserver.kinds.pod_status import pod_ready, pod_restarts, pod_status, readiness_gates
from apiserver.registry.columns import AGE, NAME, Column, at
from apiserver.registry.facts import Selectable
from apiserver.registry.kind import Kind
from apiserver.verbs.binding import BINDING
from apiserver.verbs.connect import ATTACH, EXEC, PORT_FORWARD
from apiserver.verbs.eviction import EVICTION
from apiserver.verbs.log import LOG
from apiserver.verbs.status import STATUS

GRACE_SECONDS = 30


def defaults(obj: Any) -> None:
    if obj.spec is None:
        return
    pod_spec.set_defaults(obj.spec)
    pod_spec.set_requests(obj.spec)
    if obj.spec.enableServiceLinks is None:
        obj.spec.enableServiceLinks = True


def initial_status(obj: Any) -> PodStatus:
    return PodStatus(phase="Pending", qosClass=pod_spec.qos_class(obj.spec) if obj.spec else None)


def prepare_status(new: Any, old: Any) -> None:
    if new.status is not None and new.status.qosClass is None:
        new.status.qosClass = old.status.qosClass if old.status else None


def right_spec(obj: Any) -> list[FieldError]:
    return pod_spec.validate(obj.spec, "spec") if obj.spec else [required("spec.containers")]


def nearly_fixed(new: Any, old: Any) -> list[FieldError]:
    return pod_spec.validate_change(new.spec, old.spec, "spec") if new.spec is not None else []


def grace_seconds(obj: Any, requested: int | None) -> int:
    """As asked for, or as the pod says; none for a pod that no kubelet runs."""
    phase = obj.status.phase if obj.status else None
    if not obj.spec.nodeName or phase in ("Succeeded", "Failed"):
        return 0
    seconds = requested if requested is not None else obj.spec.terminationGracePeriodSeconds
    if seconds is None:
        seconds = GRACE_SECONDS
    return 1 if seconds < 0 else int(seconds)


POD = Kind(
    Pod,
    short_names=("po",),
    categories=("all",),
    subresources=(STATUS, BINDING, EVICTION, LOG, EXEC, ATTACH, PORT_FORWARD),
    selectable=(
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        Selectable("spec.hostNetwork", absent="false"),
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    columns=(
        NAME,
        Column("Ready", pod_ready, description="Containers ready, of all that count."),
        Column("Status", pod_status, description="The phase, or what says more."),
        Column("Restarts", pod_restarts, description="How often containers were restarted, and when last."),
        AGE,
        Column("IP", at("status.podIP"), wide=True),
        Column("Node", at("spec.nodeName"), wide=True),
        Column("Nominated Node", at("status.nominatedNodeName"), wide=True),
        Column("Readiness Gates", readiness_gates, wide=True),
    ),
    defaults=defaults,
    initial_status=initial_status,
    prepare_status=prepare_status,
    rules=(right_spec,),
    change_rules=(nearly_fixed,),
    admission=(ServiceAccountName(), PodPriority(), DefaultTolerationSeconds()),
    grace_seconds=grace_seconds,
    returns_deleted=True,
)
