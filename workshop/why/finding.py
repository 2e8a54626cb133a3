"""What an explanation is made of, and how it reads. Pure.

    Answer      how an object is, in one sentence, and the findings that say why
    Finding     one cause: the field that shows it, what stands there, which component decided so, and its file here
    Part        a component and the file of this repository that does it

Objects are plain dicts, as the API server sends them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    component: str
    file: str

    def __str__(self) -> str:
        return f"{self.component}, {self.file}" if self.file else self.component


SCHEDULER = Part("scheduler", "scheduler/filters.py")
SCHEDULER_LOOP = Part("scheduler", "scheduler/scheduler.py")
POD_STATUS = Part("kubelet", "kubelet/pods/status.py")
POD_PLAN = Part("kubelet", "kubelet/pods/plan.py")
POD_STEPS = Part("kubelet", "kubelet/pods/steps.py")
POD_MOUNTS = Part("kubelet", "kubelet/pods/mounting.py")
PROBES = Part("kubelet", "kubelet/pods/probes.py")
KILLING = Part("kubelet", "kubelet/pods/killing.py")
EVICTION = Part("kubelet", "kubelet/pods/state.py")
NODE_STATUS = Part("kubelet", "kubelet/node.py")
NODE_LIFECYCLE = Part("controllers/nodelifecycle", "controllers/node_lifecycle.py")
TAINT_EVICTION = Part("controllers/tainteviction", "controllers/taint_eviction.py")
REPLICASET = Part("controllers/replicaset", "controllers/replicaset.py")
DEPLOYMENT = Part("controllers/deployment", "controllers/deployment.py")
DEPLOYMENT_STATUS = Part("controllers/deployment", "controllers/deployment_status.py")
ENDPOINTSLICE = Part("controllers/endpointslice", "controllers/endpointslice.py")
SLICE_CONTENT = Part("controllers/endpointslice", "controllers/endpoints.py")
PROXY = Part("proxy", "proxy/rules.py")
POLICIES = Part("proxy", "proxy/policies.py")
API_SERVER = Part("apiserver", "apiserver/registry/store.py")
YOU = Part("whoever wrote the object", "")


@dataclass(frozen=True)
class Finding:
    """One cause. `field` is a path in the object (or `kind/name: path` in another), `says` what its component says."""

    what: str
    part: Part
    field: str = ""
    says: str = ""
    details: tuple[tuple[str, str], ...] = ()
    advice: str = ""


@dataclass(frozen=True)
class Answer:
    state: str
    findings: Sequence[Finding] = ()

    def lines(self) -> list[str]:
        """As text, with a tab between a title and what it says."""
        out = [self.state]
        for each in self.findings:
            says = " ".join(each.says.split())
            rows = [("field", each.field), ("says", says), ("decided", f"by {each.part}")]
            rows += [*each.details, ("try", each.advice)]
            out += ["", each.what, *(f"  {title}\t{text}" for title, text in rows if text)]
        return out


# Reading objects


def name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def labels(obj: Object) -> dict[str, str]:
    return dict(obj["metadata"].get("labels") or {})


def spec(obj: Object) -> Object:
    return obj.get("spec") or {}


def status(obj: Object) -> Object:
    return obj.get("status") or {}


def condition(obj: Object, type_: str) -> Object:
    """The condition of that type, or {}."""
    return next((each for each in status(obj).get("conditions") or [] if each.get("type") == type_), {})


def seconds_since(timestamp: Any, now: datetime) -> float:
    """0 for no time."""
    return (now - datetime.fromisoformat(str(timestamp))).total_seconds() if timestamp else 0.0


def is_ready(obj: Object) -> bool:
    """A pod that gets requests, a node that gets pods."""
    return condition(obj, "Ready").get("status") == "True" and not obj["metadata"].get("deletionTimestamp")


def newest(events: Iterable[Object], *reasons: str, containing: str = "") -> str:
    """The message of the last event with one of the reasons; "" if there is none."""
    found = [each for each in events if each.get("reason") in reasons and containing in str(each.get("message"))]
    return str(max(found, key=_seen)["message"]) if found else ""


def _seen(event: Object) -> str:
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or "")
