"""Owner gone -> its dependents go too, by their owner references.

Kubernetes: https://kubernetes.io/docs/concepts/architecture/garbage-collection/. An owner deleted
- in the background is gone at once, and its dependents are found to be without an owner;
- in the foreground stays (finalizer foregroundDeletion) until the dependents that block it are gone;
- with orphan stays (finalizer orphan) until no dependent refers to it any more.

Invariants
- An owner counts as absent only if the API server itself says so: nothing of that name, or one with another uid.
- Before something is deleted it is read live, and deleted by uid.
- References to kinds this API does not know are left alone.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lightkube.models.meta_v1 import OwnerReference

from api import kinds, meta
from api.kinds import Kind
from client.informer import Informer
from controllers import writes
from controllers.manager import Manager

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
REMEMBERED_ABSENT = 10_000
SEPARATOR = "|"

# Events are many, short-lived and never own or are owned.
NOT_COLLECTED = ("events",)

log = logging.getLogger("garbage-collector")


@dataclass
class Owners:
    """An object's owner references by what became of the owners."""

    solid: list[OwnerReference] = field(default_factory=list)
    waiting: list[OwnerReference] = field(default_factory=list)
    """Owners that are being deleted in the foreground and wait for this object."""
    absent: list[OwnerReference] = field(default_factory=list)


class GarbageCollector:
    """Follows owner references through all kinds."""

    def __init__(self, manager: Manager, *, workers: int = 20) -> None:
        self._client = manager.client
        self._absent: OrderedDict[str, None] = OrderedDict()
        self._informers: dict[str, tuple[Kind, Informer[Any]]] = {}
        self._controller = manager.controller("garbage-collector", self.reconcile, workers=workers)
        for kind in kinds.KINDS:
            if kind.plural in NOT_COLLECTED:
                continue
            informer: Informer[Any] = manager.informer(kind.resource)
            informer.add_index("owner", owner_uids)
            informer.on_change(self._handler(kind))
            self._informers[kind.qualified] = (kind, informer)

    # What changed

    def _handler(self, kind: Kind) -> Any:
        def changed(old: Any, new: Any) -> None:
            if old is not None and (new is None or meta.uid(new) != meta.uid(old)):
                self._gone(old)
            if new is not None and (old is None or owner_uids(old) != owner_uids(new)) and owner_uids(new):
                self._enqueue(kind, new)
            if new is not None and _holds_dependents(new):
                self._enqueue(kind, new)

        return changed

    def _gone(self, obj: Any) -> None:
        """Its dependents may have to go, and owners that wait for it may go."""
        self._remember_absent(meta.uid(obj))
        for kind, dependent in self._dependents(meta.uid(obj)):
            self._enqueue(kind, dependent)
        for ref in meta.metadata(obj).ownerReferences or []:
            found = self._cached_owner(ref, meta.namespace(obj))
            if found is not None and _holds_dependents(found[1]):
                self._enqueue(*found)

    def _enqueue(self, kind: Kind, obj: Any) -> None:
        self._controller.enqueue(f"{kind.qualified}{SEPARATOR}{meta.key(obj)}")

    def _dependents(self, uid: str) -> Iterator[tuple[Kind, Any]]:
        for kind, informer in self._informers.values():
            for obj in informer.by_index("owner", uid):
                yield kind, obj

    def _remember_absent(self, uid: str) -> None:
        self._absent[uid] = None
        if len(self._absent) > REMEMBERED_ABSENT:
            self._absent.popitem(last=False)

    # Acting

    async def reconcile(self, key: str) -> None:
        qualified, _, name = key.partition(SEPARATOR)
        kind, informer = self._informers[qualified]
        obj = informer.get(name)
        if obj is None:
            return
        if meta.is_terminating(obj):
            finalizers = meta.metadata(obj).finalizers or []
            if FOREGROUND in finalizers:
                await self._delete_dependents(obj)
            elif ORPHAN in finalizers:
                await self._orphan_dependents(obj)
            return
        owners = await self._owners(obj)
        if not owners.absent and not owners.waiting:
            return
        live = await writes.get_live(self._client, type(obj), namespace=meta.namespace(obj), name=meta.name(obj))
        if live is None or meta.uid(live) != meta.uid(obj) or meta.is_terminating(live):
            return
        if owner_uids(live) != owner_uids(obj):
            self._enqueue(kind, obj)  # the cache is behind; judge what the watch will bring
            return
        await self._collect(live, owners)

    async def _owners(self, obj: Any) -> Owners:
        owners = Owners()
        for ref in meta.metadata(obj).ownerReferences or []:
            owner = await self._owner(ref, meta.namespace(obj))
            if owner is None:
                owners.absent.append(ref)
            elif owner and _is_foreground(owner) and ref.blockOwnerDeletion:
                owners.waiting.append(ref)
            else:
                owners.solid.append(ref)
        return owners

    async def _owner(self, ref: OwnerReference, namespace: str) -> Any:
        """The owner, None if it is absent, False if its kind is not ours to judge."""
        if ref.uid in self._absent:
            return None
        kind = kinds.by_kind(ref.apiVersion, ref.kind)
        if kind is None:
            return False
        cached = self._cached_owner(ref, namespace)
        if cached is not None:
            return cached[1]
        space = namespace if kind.namespaced else ""
        live = await writes.get_live(self._client, kind.resource, namespace=space, name=ref.name)
        if live is None or meta.uid(live) != ref.uid:
            self._remember_absent(ref.uid)
            return None
        return live

    def _cached_owner(self, ref: OwnerReference, namespace: str) -> tuple[Kind, Any] | None:
        kind = kinds.by_kind(ref.apiVersion, ref.kind)
        if kind is None or kind.qualified not in self._informers:
            return None
        key = f"{namespace}/{ref.name}" if kind.namespaced and namespace else ref.name
        found = self._informers[kind.qualified][1].get(key)
        return (kind, found) if found is not None and meta.uid(found) == ref.uid else None

    async def _collect(self, obj: Any, owners: Owners) -> None:
        """Drop references to owners that are going while another one stays; else delete the object."""
        if owners.solid:
            await self._keep_references(obj, owners.solid)
            return
        finalizers = meta.metadata(obj).finalizers or []
        policy = "Background"
        if owners.waiting and next(self._dependents(meta.uid(obj)), None) is not None:
            policy = "Foreground"  # the owner waits for all that hangs from it
        elif ORPHAN in finalizers:
            policy = "Orphan"
        elif FOREGROUND in finalizers:
            policy = "Foreground"
        log.debug("%s %s: deleted, its owner is gone", type(obj).__name__, meta.key(obj))
        await writes.delete_quietly(self._client, obj, propagation=policy)

    async def _delete_dependents(self, owner: Any) -> None:
        """Let the owner go when nothing blocks it any more; until then, see to the dependents."""
        dependents = list(self._dependents(meta.uid(owner)))
        if not any(_blocks(dependent, owner) for _, dependent in dependents):
            await self._drop_finalizer(owner, FOREGROUND)
            return
        for kind, dependent in dependents:
            if not meta.is_terminating(dependent):
                self._enqueue(kind, dependent)

    async def _orphan_dependents(self, owner: Any) -> None:
        for _, dependent in list(self._dependents(meta.uid(owner))):
            refs = meta.metadata(dependent).ownerReferences or []
            await self._keep_references(dependent, [ref for ref in refs if ref.uid != meta.uid(owner)])
        await self._drop_finalizer(owner, ORPHAN)

    async def _keep_references(self, obj: Any, kept: list[OwnerReference]) -> None:
        changed = meta.clone(obj)
        meta.metadata(changed).ownerReferences = kept or None
        await self._put(changed)

    async def _drop_finalizer(self, obj: Any, finalizer: str) -> None:
        changed = meta.clone(obj)
        left = [each for each in meta.metadata(obj).finalizers or [] if each != finalizer]
        meta.metadata(changed).finalizers = left or None
        await self._put(changed)

    async def _put(self, obj: Any) -> None:
        try:
            await writes.put(self._client, obj)
        except Exception as error:
            if not writes.is_status(error, 404):
                raise


def owner_uids(obj: Any) -> list[str]:
    """Index: the uids of all owners."""
    return [ref.uid for ref in meta.metadata(obj).ownerReferences or []]


def _holds_dependents(obj: Any) -> bool:
    """Whether the object's deletion waits for its dependents to go, or to be orphaned."""
    finalizers = meta.metadata(obj).finalizers or []
    return meta.is_terminating(obj) and (FOREGROUND in finalizers or ORPHAN in finalizers)


def _is_foreground(obj: Any) -> bool:
    return meta.is_terminating(obj) and FOREGROUND in (meta.metadata(obj).finalizers or [])


def _blocks(dependent: Any, owner: Any) -> bool:
    refs = meta.metadata(dependent).ownerReferences or []
    return any(ref.uid == meta.uid(owner) and ref.blockOwnerDeletion for ref in refs)
