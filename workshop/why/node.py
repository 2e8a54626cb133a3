"""Why a node gets no pods: silent, not well, cordoned, tainted, or short of something. Pure.

explain(node, lease=..., now=...) -> Answer
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from api.durations import human_duration
from workshop.why.finding import (
    NODE_LIFECYCLE,
    NODE_STATUS,
    SCHEDULER,
    Answer,
    Finding,
    Object,
    condition,
    name,
    seconds_since,
    spec,
)

PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")
CONTROLLER_TAINTS = "node.kubernetes.io/"


def explain(node: Object, *, lease: Object | None, now: datetime) -> Answer:
    """`lease` is the node's in kube-node-lease: its kubelet's heartbeat."""
    ready = condition(node, "Ready")
    found = [*_not_ready(node, ready, lease, now), *_pressures(node), *_kept_free(node)]
    title = f"node/{name(node)}"
    if ready.get("status") == "True" and not found:
        return Answer(f"{title} is Ready and takes pods")
    state = {"True": "Ready", "False": "NotReady"}.get(str(ready.get("status")), "NotReady (nobody knows: Unknown)")
    return Answer(f"{title} is {state}", found)


def _not_ready(node: Object, ready: Object, lease: Object | None, now: datetime) -> Iterator[Finding]:
    field, says = f"status.conditions[Ready] = {ready.get('status')}", str(ready.get("message") or "")
    if ready.get("status") == "False":
        what = "Its kubelet says itself that it cannot run pods"
        yield Finding(
            what, NODE_STATUS, f"{field} ({ready.get('reason')})", says, advice="look at the engine of that host"
        )
    elif ready.get("status") != "True":
        renewed = spec(lease or {}).get("renewTime")
        silence = f"{human_duration(seconds_since(renewed, now))} ago" if renewed else "never"
        details = (("lease", f"kube-node-lease/{name(node)}: spec.renewTime, renewed {silence}"),)
        what = "Its kubelet is silent: the host is off, cut off or frozen, or the kubelet is dead"
        advice = "minikctl node list shows plugs and cables; minikctl node start|heal|resume puts them right"
        yield Finding(what, NODE_LIFECYCLE, f"{field} ({ready.get('reason')})", says, details, advice)


def _pressures(node: Object) -> Iterator[Finding]:
    for type_ in PRESSURES:
        found = condition(node, type_)
        if found.get("status") == "True":
            what = f"It is short of something: {type_}; it takes no new pods and may give some up"
            yield Finding(what, NODE_STATUS, f"status.conditions[{type_}] = True", str(found.get("message") or ""))


def _kept_free(node: Object) -> Iterator[Finding]:
    if spec(node).get("unschedulable"):
        what = "It is cordoned: what runs stays, nothing new comes"
        yield Finding(what, SCHEDULER, "spec.unschedulable = true", advice=f"minikctl uncordon {name(node)}")
    for taint in spec(node).get("taints") or []:
        if not taint["key"].startswith(CONTROLLER_TAINTS) and taint["effect"] != "PreferNoSchedule":
            text = f"{taint['key']}={taint['value']}" if taint.get("value") else taint["key"]
            what = "It has a taint: only pods that tolerate it come here"

            advice = f"minikctl taint node {name(node)} {taint['key']}-"
            yield Finding(what, SCHEDULER, f"spec.taints = {text}:{taint['effect']}", advice=advice)
