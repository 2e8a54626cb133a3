"""Why the scheduler puts a pod on no node: its own filters, run on the live nodes and pods. Pure; nothing is written.

The one place outside the scheduler that imports it: an answer worked out by other code would not be the reason.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from lightkube.resources.core_v1 import Node, Pod

from api import meta, pods
from scheduler.facts import ClassBook, PodFacts
from scheduler.profile import DEFAULT
from scheduler.snapshot import Snapshot
from workshop.why.finding import Object


def verdicts(pod: Object, nodes: Iterable[Object], others: Iterable[Object]) -> list[tuple[str, str]]:
    """(node, why not) for each node that cannot take the pod, in the order of names. `others` are all pods."""
    snapshot, classes = Snapshot(), ClassBook()
    for each in nodes:
        snapshot.put_node(msgspec.convert(each, Node, strict=False))
    for other in (msgspec.convert(each, Pod, strict=False) for each in others):
        if pods.node_name(other) and not pods.is_terminal(other):
            snapshot.put_pod(meta.uid(other), pods.node_name(other), classes.facts_of(other))
    facts = classes.facts_of(msgspec.convert(pod, Pod, strict=False))
    found = DEFAULT.verdicts(facts, snapshot)
    return sorted((node, "; ".join(_told(each, facts, snapshot, node) for each in why)) for node, why in found)


def _told(reason: str, facts: PodFacts, snapshot: Snapshot, node: str) -> str:
    """The reason, with the numbers where it is about an amount."""
    resource = reason.removeprefix("Insufficient ")
    text = reason.removeprefix("node(s) ")
    if resource == reason:
        return text
    row = snapshot.nodes[node].row
    room, used = (int(snapshot.column((column, resource))[row]) for column in ("room", "used"))
    asked, free, whole = (_amount(resource, each) for each in (facts.requests[resource], room - used, room))
    return f"{text}: asks for {asked}, {free} of {whole} is free"


def _amount(resource: str, number: int) -> str:
    if resource == "cpu":
        return f"{number / 1000:g}"
    return f"{number / 2**20:.0f}Mi" if number >= 2**20 or number <= -(2**20) else str(number)
