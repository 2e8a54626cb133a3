"""The story of an application, from its recorded revisions: what changed, who wrote it, and why. Pure.

    tell(revisions, faults) -> lines in the order of time

What a revision changed is seen by comparing it with the one before; a first one that was LISTED was there before
anybody looked and tells nothing. Who wrote it is the field manager; among the controllers the loop that writes that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from workshop.history.store import Revision

Object = Mapping[str, Any]

COMPONENTS = {"kube-scheduler": "scheduler", "kube-controller-manager": "controllers", "kube-proxy": "proxy"}
CONTROLLERS = "controllers"
LOOPS = {
    "Deployment": "deployment",
    "ReplicaSet": "replicaset",
    "EndpointSlice": "endpointslice",
    "Endpoints": "endpoint",
    "Node": "nodelifecycle",
}
TOLD_EVENTS = ("Killing", "TaintManagerEviction", "NodeNotReady")
"""Normal events that say what no revision does; warnings are told all."""
SERVICE_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True)
class Line:
    """at: Unix time, seconds. about: `pod/web-1`."""

    at: float
    about: str
    writer: str
    text: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class _World:
    """What there is at a moment of the story, by uid."""

    def __init__(self) -> None:
        self.objects: dict[str, Revision] = {}

    def pods_of(self, owner: str) -> int:
        found = (each for each in self.objects.values() if each.kind == "Pod" and each.owner == owner)
        return sum(not each.object["metadata"].get("deletionTimestamp") for each in found)


def tell(revisions: Iterable[Revision], faults: Iterable[Object] = ()) -> list[Line]:
    world, lines = _World(), [_fault(each) for each in faults]
    for each in revisions:
        before = world.objects.get(each.uid)
        if each.verb == "DELETED":
            world.objects.pop(each.uid, None)
            if each.kind != "Event":
                lines.append(Line(each.at, about(each), "", "gone"))
            continue
        for text in _texts(world, before, each):
            lines.append(Line(each.at, about(each), _writer(each, text, before), text))
        world.objects[each.uid] = each
    return sorted(lines, key=lambda line: line.at)


def about(revision: Revision) -> str:
    if revision.kind == "Event":
        subject = revision.object.get("involvedObject") or {}
        return f"{str(subject.get('kind')).lower()}/{subject.get('name')}"
    if revision.kind == "EndpointSlice":
        return f"service/{(revision.object['metadata'].get('labels') or {}).get(SERVICE_LABEL, revision.name)}"
    return f"{revision.kind.lower()}/{revision.name}"


def _fault(fault: Object) -> Line:
    return Line(fault["at"], f"node/{fault['host']}", "you", f"minikctl node {fault['what']}")


def _writer(revision: Revision, text: str, before: Revision | None) -> str:
    if revision.kind == "Event":
        source = revision.object.get("source") or {}
        return str(source.get("component") or revision.object.get("reportingComponent") or "")
    writer = COMPONENTS.get(revision.writer, revision.writer)
    if writer != CONTROLLERS:
        return writer
    loop = LOOPS.get(revision.kind, "")
    if revision.kind == "ReplicaSet" and (before is None or text.startswith("wanted")):
        loop = "deployment"
    elif revision.kind == "Pod":
        kinds = [each["kind"].lower() for each in revision.object["metadata"].get("ownerReferences") or []]
        loop = kinds[0] if before is None and kinds else "nodelifecycle" if "Ready" in text else ""
    return f"{CONTROLLERS}/{loop}" if loop else CONTROLLERS


def _texts(world: _World, before: Revision | None, now: Revision) -> list[str]:
    if now.kind == "Event":
        obj = now.object
        told = before is None and now.verb == "ADDED"
        wanted = told and (obj.get("type") == "Warning" or obj.get("reason") in TOLD_EVENTS)
        return [f"{obj.get('reason')}: {' '.join(str(obj.get('message') or '').split())}"] if wanted else []
    if before is None:
        return [_created(world, now)] if now.verb == "ADDED" else []
    describe = _CHANGES.get(now.kind, _other)
    return [*_meta(before.object, now.object), *describe(before.object, now.object)]


def _created(world: _World, now: Revision) -> str:
    if now.kind == "Pod" and now.owner in world.objects:
        owner = world.objects[now.owner]
        wanted = (owner.object.get("spec") or {}).get("replicas", 1)
        return f"created: {owner.name} wanted {wanted}, saw {world.pods_of(now.owner)}"
    if now.kind in ("Deployment", "ReplicaSet"):
        return f"created: wants {(now.object.get('spec') or {}).get('replicas', 1)} of {_images(now.object)}"
    return "created"


# What changed, kind by kind


def _meta(before: Object, now: Object) -> Iterator[str]:
    old, new = before["metadata"], now["metadata"]
    if new.get("deletionTimestamp") and not old.get("deletionTimestamp"):
        yield f"asked to end, within {new.get('deletionGracePeriodSeconds', 0)} s"
    labels = (old.get("labels") or {}), (new.get("labels") or {})
    for key in sorted(labels[0].keys() | labels[1].keys()):
        if labels[0].get(key) != labels[1].get(key):
            yield f"label {key}: {labels[0].get(key, '(none)')} -> {labels[1].get(key, '(none)')}"
    owners = [{f"{each['kind']}/{each['name']}" for each in meta.get("ownerReferences") or []} for meta in (old, new)]
    yield from (f"let go by {each}" for each in sorted(owners[0] - owners[1]))
    yield from (f"adopted by {each}" for each in sorted(owners[1] - owners[0]))


def _pod(before: Object, now: Object) -> Iterator[str]:
    old, new = before.get("status") or {}, now.get("status") or {}
    node = (now.get("spec") or {}).get("nodeName")
    if node and not (before.get("spec") or {}).get("nodeName"):
        yield f"bound to {node}"
    scheduled, earlier = (_condition(each, "PodScheduled") for each in (new, old))
    if scheduled.get("status") == "False" and scheduled.get("message") != earlier.get("message"):
        yield f"no node: {scheduled.get('message')}"
    known = {each["name"]: each for each in old.get("containerStatuses") or []}
    for each in new.get("containerStatuses") or []:
        yield from _container(known.get(each["name"], {}), each)
    ready, was = _condition(new, "Ready"), _condition(old, "Ready")
    if ready.get("status") == "True" != was.get("status"):
        yield "Ready"
    elif was.get("status") == "True" and ready.get("status") != "True":
        yield f"not Ready any more{_why(ready)}"
    if new.get("phase") != old.get("phase") and new.get("phase") in ("Failed", "Succeeded"):
        yield f"{new['phase']}{_why(new)}"


def _container(old: Object, new: Object) -> Iterator[str]:
    state, was = new.get("state") or {}, old.get("state") or {}
    if new.get("restartCount", 0) > old.get("restartCount", 0) or ("terminated" in state and "terminated" not in was):
        end = state.get("terminated") or (new.get("lastState") or {}).get("terminated") or {}
        yield f"container {new['name']} ended with exit code {end.get('exitCode')} ({end.get('reason')})"
    if "running" in state and state.get("running") != was.get("running"):
        again = f", restart {new['restartCount']}" if new.get("restartCount") else ""
        yield f"container {new['name']} started{again}"
    reason = (state.get("waiting") or {}).get("reason")
    if reason not in (None, "ContainerCreating", "PodInitializing", (was.get("waiting") or {}).get("reason")):
        yield f"container {new['name']} waits: {reason}"


def _replica_set(before: Object, now: Object) -> Iterator[str]:
    yield from _number("wanted", before, now, "spec", "replicas")
    yield from _number("Ready", before, now, "status", "readyReplicas")


def _deployment(before: Object, now: Object) -> Iterator[str]:
    yield from _number("wanted", before, now, "spec", "replicas")
    if _images(before) != _images(now):
        yield f"new template: {_images(before)} -> {_images(now)}"
    elif (before.get("spec") or {}).get("template") != (now.get("spec") or {}).get("template"):
        yield "new template"
    yield from _number("available", before, now, "status", "availableReplicas")
    was, progress = (_condition(each.get("status") or {}, "Progressing") for each in (before, now))
    if progress.get("reason") not in (was.get("reason"), "ReplicaSetUpdated"):
        yield f"{progress.get('reason')}: {progress.get('message')}"


def _slice(before: Object, now: Object) -> Iterator[str]:
    old, new = _endpoints(before), _endpoints(now)
    yield from (f"requests go to {each}" for each in sorted(new - old))
    yield from (f"no more requests to {each}" for each in sorted(old - new))


def _endpoints(obj: Object) -> set[str]:
    ready = (each for each in obj.get("endpoints") or [] if (each.get("conditions") or {}).get("ready"))
    return {str((each.get("targetRef") or {}).get("name") or each.get("addresses")) for each in ready}


def _node(before: Object, now: Object) -> Iterator[str]:
    ready, was = (_condition(each.get("status") or {}, "Ready") for each in (now, before))
    if ready.get("status") != was.get("status"):
        word = {"True": "Ready", "False": "NotReady"}.get(str(ready.get("status")), "NotReady (Unknown)")
        yield word if word == "Ready" else f"{word}{_why(ready)}"
    had, has = _taints(before), _taints(now)
    yield from (f"taint {each}" for each in sorted(has - had))
    yield from (f"taint {each} taken off" for each in sorted(had - has))


def _other(before: Object, now: Object) -> Iterator[str]:
    fields = [key for key in now if key not in ("metadata", "status") and now.get(key) != before.get(key)]
    if fields:
        yield f"changed: {', '.join(fields)}"


_CHANGES: dict[str, Callable[[Object, Object], Iterator[str]]] = {
    "Pod": _pod,
    "ReplicaSet": _replica_set,
    "Deployment": _deployment,
    "EndpointSlice": _slice,
    "Node": _node,
}


def _number(title: str, before: Object, now: Object, part: str, field: str) -> Iterator[str]:
    old, new = ((each.get(part) or {}).get(field) or 0 for each in (before, now))
    if old != new:
        yield f"{title}: {old} -> {new}"


def _condition(status: Object, type_: str) -> Object:
    return next((each for each in status.get("conditions") or [] if each["type"] == type_), {})


def _why(of: Object) -> str:
    return f" ({of['reason']})" if of.get("reason") else ""


def _images(obj: Object) -> str:
    spec = ((obj.get("spec") or {}).get("template") or {}).get("spec") or {}
    return ", ".join(str(each.get("image")) for each in spec.get("containers") or [])


def _taints(node: Object) -> set[str]:
    return {f"{each['key']}:{each['effect']}" for each in (node.get("spec") or {}).get("taints") or []}
