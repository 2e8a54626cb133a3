"""Which recorded revisions belong to the story of an object: its own, those of what it owns, their events, endpoints
and nodes.

    related(history, kind, namespace, name) -> revisions in order
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from workshop.history.store import History, Revision

MANY = 500
"""Values in one query."""


def related(history: History, kind: str, namespace: str, name: str) -> list[Revision]:
    """All of it, as it is recorded by now. Empty for an object nobody ever saw."""
    own = list(history.revisions("kind = ? AND namespace = ? AND name = ?", kind, namespace, name))
    uids = {each.uid for each in own}
    found = {each.id: each for each in own}
    children = uids
    while children:
        below = list(_in(history, "owner", children))
        found |= {each.id: each for each in below}
        children = {each.uid for each in below} - uids
        # What was let go has revisions without the owner.
        found |= {each.id: each for each in _in(history, "uid", children)}
        uids |= children
    if kind == "Node":
        on_it = [each for each in history.revisions("kind = 'Pod'") if _node_of(each) == name]
        uids |= {each.uid for each in on_it}
        found |= {each.id: each for each in on_it}
    found |= {each.id: each for each in _in(history, "about", uids)}
    pods = {each.uid: _node_of(each) for each in found.values() if each.kind == "Pod"}
    nodes = set(pods.values()) - {""}
    found |= {each.id: each for each in history.revisions("namespace = '' AND kind = 'Node'") if each.name in nodes}
    places = {each.namespace for each in found.values() if each.kind == "Pod"}
    for place in places if kind != "Node" else ():
        slices = history.revisions("namespace = ? AND kind = 'EndpointSlice'", place)
        found |= {each.id: each for each in _of_pods(slices, pods.keys())}
    return [found[key] for key in sorted(found)]


def _in(history: History, column: str, values: Iterable[str]) -> Iterator[Revision]:
    listed = sorted(values)
    for start in range(0, len(listed), MANY):
        part = listed[start : start + MANY]
        yield from history.revisions(f"{column} IN ({','.join('?' * len(part))})", *part)


def _node_of(revision: Revision) -> str:
    return str((revision.object.get("spec") or {}).get("nodeName") or "")


def _of_pods(slices: Iterable[Revision], pods: Iterable[str]) -> Iterator[Revision]:
    """Every revision of the slices that ever had one of the pods."""
    listed, wanted = list(slices), set(pods)
    theirs = {
        each.uid
        for each in listed
        if any((one.get("targetRef") or {}).get("uid") in wanted for one in each.object.get("endpoints") or [])
    }
    return (each for each in listed if each.uid in theirs)
