"""What checks look at: the objects of an exercise's namespace and the nodes, now and at every recorded revision. Pure.

    Facts(live=..., history=..., faults=..., start=...)
    facts.now()        the values for expressions about the present
    facts.replay()     (seconds since the start, what happened, values) after every revision since the start

Objects are as the API server sends them and have, for short expressions, on top: name, labels, annotations, owner
("ReplicaSet/web-1", or ""), uid, ending; pods and nodes ready, pods node, restarts and phase. A revision in `history`
is an object with verb, at and writer as well, and `kind` as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workshop.history.store import Revision

LISTS = {
    "pods": "Pod",
    "services": "Service",
    "endpointslices": "EndpointSlice",
    "configmaps": "ConfigMap",
    "deployments": "Deployment",
    "replicasets": "ReplicaSet",
    "persistentvolumeclaims": "PersistentVolumeClaim",
}
"""Name in expressions, which is that of the resource -> kind."""

ANSWERS = "answers"
_OF_KIND = {kind: name for name, kind in LISTS.items()} | {"Node": "nodes"}

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Facts:
    """live: by names of LISTS and `nodes`; history: all revisions since the start, and those before that say what there
    was; start and the times of faults: Unix time, seconds."""

    live: Mapping[str, Sequence[Object]]
    history: Sequence[Revision]
    faults: Sequence[Mapping[str, Any]]
    start: float
    at: float

    def now(self) -> dict[str, Any]:
        lists = {name: [view(each) for each in found] for name, found in self.live.items()}
        return self._values(lists, [self._entry(each) for each in self.history if each.at >= self.start], self.at)

    def replay(self) -> Iterator[tuple[float, str, dict[str, Any]]]:
        """`history` is empty at these moments: an expression about each of them looks at objects."""
        there: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in (*LISTS, "nodes")}
        for each in self.history:
            name = _OF_KIND.get(each.kind)
            if name is None:
                continue
            if each.verb == "DELETED":
                there[name].pop(each.uid, None)
            else:
                there[name][each.uid] = view({"kind": each.kind, **each.object})
            if each.at >= self.start:
                what = f"{each.kind} {each.name} was {each.verb.lower()}"
                yield each.at - self.start, what, self._values(_lists(there), [], each.at)

    def _values(self, lists: Mapping[str, Any], history: Any, at: float) -> dict[str, Any]:
        answers = next((dict(each.get("data") or {}) for each in lists["configmaps"] if each["name"] == ANSWERS), {})
        faults = [{**each, "at": each["at"] - self.start} for each in self.faults if self.start <= each["at"] <= at]
        return {**lists, "history": history, "faults": faults, "answers": answers, "now": at - self.start}

    def _entry(self, revision: Revision) -> dict[str, Any]:
        entry = view({"kind": revision.kind, **revision.object})
        return {**entry, "verb": revision.verb, "at": revision.at - self.start, "writer": revision.writer}


def _lists(there: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {name: list(found.values()) for name, found in there.items()}


def view(obj: Object) -> dict[str, Any]:
    """The object with its short names."""
    meta, status, spec = obj["metadata"], obj.get("status") or {}, obj.get("spec") or {}
    owner = next((each for each in meta.get("ownerReferences") or [] if each.get("controller")), None)
    seen = {
        **obj,
        "spec": spec,
        "status": status,
        "name": meta["name"],
        "uid": meta.get("uid", ""),
        "labels": meta.get("labels") or {},
        "annotations": meta.get("annotations") or {},
        "owner": f"{owner['kind']}/{owner['name']}" if owner else "",
        "ending": bool(meta.get("deletionTimestamp")),
    }
    if obj.get("kind") in ("Pod", "Node"):
        conditions = status.get("conditions") or []
        seen["ready"] = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    if obj.get("kind") == "Pod":
        seen["node"], seen["phase"] = spec.get("nodeName", ""), status.get("phase", "Pending")
        seen["restarts"] = sum(each.get("restartCount", 0) for each in status.get("containerStatuses") or [])
    return seen
