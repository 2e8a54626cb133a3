"""The recorder: watches every kind of a cluster and keeps each revision of each object, with its writer.

    python -m workshop.history.recorder --kubeconfig FILE --file HISTORY

One thread a kind that lists, then watches, and one that writes what they bring, some tenths of a second at a time.
It only reads the cluster, stands beside it and not in it, and misses nothing a watch shows: after its own absence, or
one of the API server, it lists again and records what differs from what it knew.
"""

from __future__ import annotations

import argparse
import json
import logging
import queue
import random
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from client import kubeconfig
from client.blocking import Transport
from client.errors import ConfigError, Unreachable
from workshop.history.store import Known, Revision, Store

SKIPPED = ("leases.coordination.k8s.io", "events.events.k8s.io", "componentstatuses")
"""Heartbeats, which say nothing new; and what is another name for what is watched already."""
CUSTOM_KINDS = "customresourcedefinitions.apiextensions.k8s.io"
FLUSH_SECONDS = 0.2
RETRY_SECONDS = 1.0
PAGE = "500"

ERRORS = (ConfigError, Unreachable, OSError, ValueError, KeyError)

log = logging.getLogger("recorder")


@dataclass(frozen=True)
class Kind:
    name: str
    kind: str
    path: str


class NotServed(OSError):
    """The kind is no more: its CustomResourceDefinition was deleted."""


class Recorder:
    def __init__(self, transport: Transport, store: Store) -> None:
        self._transport, self._store = transport, store
        self._changes: queue.SimpleQueue[Revision] = queue.SimpleQueue()
        self._known = store.known()
        self._writers: dict[str, dict[str, str]] = {}
        self._followed: dict[str, str] = {}
        """Path -> the name its objects are recorded under."""
        self._starting = threading.Lock()

    def run(self) -> None:
        """Record until the process ends. Raises what makes writing impossible."""
        while not self._start_new():
            time.sleep(RETRY_SECONDS)
        while True:
            batch = [self._changes.get()]
            time.sleep(FLUSH_SECONDS)
            while not self._changes.empty():
                batch.append(self._changes.get())
            self._store.add(batch)

    def _start_new(self) -> bool:
        """Follow every kind that is not yet, each in its preferred version; returns whether the server told."""
        with self._starting:
            try:
                groups = self._get("/apis")["groups"]
                roots = ["/api/v1", *(f"/apis/{each['preferredVersion']['groupVersion']}" for each in groups)]
                kinds = [kind for root in roots for kind in self._kinds(root)]
            except ERRORS as error:
                log.warning("no discovery: %s", error)
                return False
            for kind in kinds:
                if kind.path not in self._followed:
                    if kind.kind in self._followed.values():
                        kind = replace(kind, kind=f"{kind.kind}.{kind.name.partition('.')[2]}")
                    self._followed[kind.path] = kind.kind
                    threading.Thread(target=self._follow, args=(kind,), name=kind.name, daemon=True).start()
            return True

    def _kinds(self, root: str) -> Iterator[Kind]:
        group = "" if root == "/api/v1" else "." + root.split("/")[2]
        for each in self._get(root).get("resources") or []:
            name = each["name"] + group
            if "/" not in name and "watch" in each["verbs"] and name not in SKIPPED:
                yield Kind(name, each["kind"], f"{root}/{each['name']}")

    # One kind

    def _follow(self, kind: Kind) -> None:
        version, told = "", False
        while True:
            began = time.monotonic()
            try:
                version = version or self._list(kind)
                for event in self._watch(kind, version):
                    if event["type"] == "ERROR":
                        version = ""
                        break
                    version, told = event["object"]["metadata"]["resourceVersion"], False
                    if event["type"] != "BOOKMARK":
                        self._note(event["type"], kind, event["object"])
                    if kind.name == CUSTOM_KINDS:
                        self._start_new()
            except NotServed:
                del self._followed[kind.path]
                return
            except ERRORS as error:
                if not told:
                    log.info("%s: %s", kind.name, error)
                told = True
            if time.monotonic() - began < RETRY_SECONDS:
                # Not all at once: the server that just came back has the controllers to serve.
                time.sleep(RETRY_SECONDS * (1 + random.random()))

    def _list(self, kind: Kind) -> str:
        """Note what there is and is not known, and what is known and is no more; returns the list's version."""
        there: set[str] = set()
        page: dict[str, Any] = {}
        token = ""
        while not page or token:
            page = self._get(kind.path, {"limit": PAGE} | ({"continue": token} if token else {}))
            token = page["metadata"].get("continue") or ""
            for obj in page.get("items") or []:
                meta = obj["metadata"]
                there.add(meta["uid"])
                known = self._known.get(meta["uid"])
                if known is None or known.version != meta["resourceVersion"]:
                    self._note("MODIFIED" if known else "LISTED", kind, obj)
        for uid, known in list(self._known.items()):
            if known.kind == kind.kind and uid not in there:
                gone = {"uid": uid, "name": known.name, "namespace": known.namespace}
                self._note("DELETED", kind, {"metadata": gone})
        return str(page["metadata"]["resourceVersion"])

    def _watch(self, kind: Kind, version: str) -> Iterator[Any]:
        params = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version}
        with self._transport.stream(kind.path, params=params) as stream:
            if stream.status == 410:
                yield {"type": "ERROR"}
            else:
                _check(stream.status, kind.path)
                yield from map(json.loads, stream)

    def _get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        with self._transport.stream(path, params=params) as stream:
            body = stream.read()
            _check(stream.status, path)
            return json.loads(body)

    def _note(self, verb: str, kind: Kind, obj: dict[str, Any]) -> None:
        meta = obj["metadata"]
        uid = meta["uid"]
        writer = self._writer(uid, meta.pop("managedFields", None) or [], meta)
        if verb == "DELETED":
            self._known.pop(uid, None)
            self._writers.pop(uid, None)
        else:
            self._known[uid] = Known(kind.kind, meta.get("namespace") or "", meta["name"], meta["resourceVersion"])
        self._changes.put(revision(verb, kind.kind, obj, "" if verb == "DELETED" else writer))

    def _writer(self, uid: str, entries: list[dict[str, Any]], meta: Mapping[str, Any]) -> str:
        """The manager whose fields changed; when none did visibly, the one who wrote last."""
        now = {f"{each.get('manager')}/{each.get('subresource', '')}": json.dumps(each) for each in entries}
        before = self._writers.get(uid, {})
        self._writers[uid] = now
        changed = [each for each in entries if before.get(_key(each)) != now[_key(each)]] or entries
        last = max(changed, key=lambda each: str(each.get("time", "")), default={})
        return str(last.get("manager") or "")


def _check(status: int, path: str) -> None:
    if status != 200:
        raise (NotServed if status == 404 else OSError)(f"GET {path}: HTTP {status}")


def _key(entry: Mapping[str, Any]) -> str:
    return f"{entry.get('manager')}/{entry.get('subresource', '')}"


def revision(verb: str, kind: str, obj: dict[str, Any], writer: str) -> Revision:
    """An object as it is kept. Pure but for the clock."""
    meta = obj["metadata"]
    if kind == "Secret" and "data" in obj:
        obj = {**obj, "data": dict.fromkeys(obj["data"] or {}, "")}
    owners = (each["uid"] for each in meta.get("ownerReferences") or [] if each.get("controller"))
    return Revision(
        at=time.time(),
        verb=verb,
        kind=kind,
        namespace=meta.get("namespace") or "",
        name=meta["name"],
        uid=meta["uid"],
        version=meta.get("resourceVersion") or "",
        owner=next(owners, ""),
        about=str((obj.get("involvedObject") or {}).get("uid") or "") if kind == "Event" else "",
        writer=writer,
        object=obj,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="recorder", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--file", type=Path, required=True)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    Recorder(Transport(kubeconfig.load(given.kubeconfig)), Store(given.file)).run()


if __name__ == "__main__":
    main()
