"""Owner gone -> its dependents go too, by their owner references.

Kubernetes: pkg/controller/garbagecollector,
https://kubernetes.io/docs/concepts/architecture/garbage-collection/. An owner deleted
- in the background is gone at once, and its dependents are found to be without an owner;
- in the foreground stays (finalizer foregroundDeletion) until the dependents that block it are gone;
- with orphan stays (finalizer orphan) until no dependent refers to it any more.

Invariants
- An owner is who the reference names from where its dependent is: kind, namespace, name *and* uid. The same uid
  elsewhere is somebody else, and what is found out about the one says nothing about the other.
- The cache may say that an owner is there; that it is absent only the API server says, or the watch that saw it go.
- What is deleted was read live, and is deleted as read (uid and resourceVersion).
- A reference that cannot be followed (a kind that is not served, a namespaced owner of a cluster-scoped object) leaves
  its object alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx2
import msgspec
from lightkube import ApiError
from lightkube.models.meta_v1 import OwnerReference

from api import meta
from api.resource import ResourceInfo
from client import rest
from client.controller import Controller
from client.discovery import discover
from client.informer import Informer
from client.rest import PartialObjectMetadata
from controllers.manager import Manager

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
REMEMBERED_ABSENT = 10_000
DISCOVERY_SECONDS = 30.0
"""Between looks at which kinds there are, as in Kubernetes; also the longest wait for a new kind's first list."""
NEEDED_VERBS = frozenset(("delete", "list", "watch", "patch"))
NOT_COLLECTED = ("Event",)
"""Events are many and short-lived, and neither own nor are owned."""

log = logging.getLogger("garbage-collector")

GroupKind = tuple[str, str]


class Identity(NamedTuple):
    """Who an object is. The namespace of a cluster-scoped one is empty."""

    group: str
    kind: str
    namespace: str
    name: str
    uid: str


class Unresolvable(Exception):
    """An owner reference that cannot be followed."""


@dataclass
class Owners:
    """An object's owner references by what became of the owners."""

    solid: list[OwnerReference] = field(default_factory=list)
    waiting: list[OwnerReference] = field(default_factory=list)
    """Owners that are being deleted in the foreground and wait for this object."""
    absent: list[OwnerReference] = field(default_factory=list)


class GarbageCollector:
    """Follows owner references through every kind the API server serves."""

    def __init__(self, manager: Manager, *, workers: int = 20) -> None:
        self._manager = manager
        self._client = manager.client
        self._events = manager.recorder("garbage-collector-controller")
        self._controller = Controller("garbage-collector", self.reconcile, workers=workers)
        self._served: dict[tuple[str, str], ResourceInfo] = {}  # by apiVersion and kind
        self._informers: dict[GroupKind, tuple[ResourceInfo, Informer[Any]]] = {}
        self._own: dict[GroupKind, asyncio.Task[None]] = {}
        self._complete = asyncio.Event()  # every kind's first list is in
        self._absent: OrderedDict[Identity, None] = OrderedDict()
        self._unresolved: set[str] = set()
        manager.loop(self.run)

    # Which kinds there are

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._controller.run())
            while True:
                try:
                    await self._take_in(group)
                except (ApiError, httpx2.HTTPError, msgspec.MsgspecError, OSError) as error:
                    log.warning("discovery: %s", str(error) or type(error).__name__)
                await asyncio.sleep(DISCOVERY_SECONDS if self._informers else 1.0)

    async def _take_in(self, group: asyncio.TaskGroup) -> None:
        """Follow every kind that is served; typed caches that other loops have anyway are shared."""
        found = [each.info for each in await discover(self._client) if each.verbs >= NEEDED_VERBS]
        self._served = {(info.api_version, info.kind): info for info in found}
        wanted: dict[GroupKind, ResourceInfo] = {}
        for info in found:
            if info.kind not in NOT_COLLECTED:
                wanted.setdefault((info.group, info.kind), info)  # the preferred version comes first
        for gone in self._informers.keys() - wanted.keys():
            del self._informers[gone]
            if gone in self._own:
                self._own.pop(gone).cancel()
        for kind in wanted.keys() - self._informers.keys():
            self._complete.clear()
            self._follow(wanted[kind], group)
        if not self._complete.is_set():
            try:
                async with asyncio.timeout(DISCOVERY_SECONDS):
                    for _, informer in self._informers.values():
                        await informer.wait_synced()
            except TimeoutError:
                log.warning("not every kind could be listed; going on without")
            self._complete.set()
            for key in self._unresolved:
                self._controller.enqueue(key)
            self._unresolved.clear()

    def _follow(self, info: ResourceInfo, group: asyncio.TaskGroup) -> None:
        informer = self._manager.shared(info)
        if informer is None:
            informer = Informer(self._client, PartialObjectMetadata, info=info)
            self._own[info.group, info.kind] = group.create_task(informer.run())
        self._informers[info.group, info.kind] = (info, informer)
        informer.add_index("owner", owner_uids)
        informer.on_change(self._handler(info))

    # What changed

    def _handler(self, info: ResourceInfo) -> Any:
        def changed(old: Any, new: Any) -> None:
            if (info.group, info.kind) not in self._informers:
                return
            if old is not None and (new is None or meta.uid(new) != meta.uid(old)):
                self._gone(info, old)
            if new is not None and (
                _holds_dependents(new) or (owner_uids(new) and (old is None or owner_uids(old) != owner_uids(new)))
            ):
                self._enqueue(info, new)

        return changed

    def _gone(self, info: ResourceInfo, obj: Any) -> None:
        """Its dependents may have to go, and owners that wait for it may go."""
        self._remember_absent(identity(info, obj))
        for dependent_info, dependent in self._dependents(info, obj):
            self._enqueue(dependent_info, dependent)
        for ref in meta.metadata(obj).ownerReferences or []:
            owner = self._served.get((ref.apiVersion, ref.kind))
            cached = self._cached(owner, ref, meta.namespace(obj)) if owner is not None else None
            if owner is not None and cached is not None and _holds_dependents(cached):
                self._enqueue(owner, cached)

    def _enqueue(self, info: ResourceInfo, obj: Any) -> None:
        self._controller.enqueue(f"{info.group}|{info.kind}|{meta.key(obj)}")

    def _dependents(self, info: ResourceInfo, owner: Any) -> Iterator[tuple[ResourceInfo, Any]]:
        """The objects whose references lead to the owner from where they are."""
        for dependent_info, informer in self._informers.values():
            for obj in informer.by_index("owner", meta.uid(owner)):
                if reference_to(info, owner, obj) is not None:
                    yield dependent_info, obj

    def _remember_absent(self, owner: Identity) -> None:
        self._absent[owner] = None
        if len(self._absent) > REMEMBERED_ABSENT:
            self._absent.popitem(last=False)

    # Acting

    async def reconcile(self, key: str) -> None:
        await self._complete.wait()
        group, kind, name = key.split("|", 2)
        if (group, kind) not in self._informers:
            return
        info, informer = self._informers[group, kind]
        obj = informer.get(name)
        if obj is None:
            return
        if meta.is_terminating(obj):
            finalizers = meta.metadata(obj).finalizers or []
            if FOREGROUND in finalizers:
                await self._delete_dependents(info, obj)
            elif ORPHAN in finalizers:
                await self._orphan_dependents(info, obj)
            return
        try:
            await self._see_to_owners(info, obj)
        except Unresolvable as error:
            log.info("%s %s is left alone: %s", kind, name, error)
            self._unresolved.add(key)

    async def _see_to_owners(self, info: ResourceInfo, obj: Any) -> None:
        owners = await self._owners(info, obj)
        if not owners.absent and not owners.waiting:
            return
        live = await rest.get(
            self._client, PartialObjectMetadata, meta.name(obj), namespace=meta.namespace(obj), info=info
        )
        if live is None or meta.uid(live) != meta.uid(obj) or meta.is_terminating(live):
            return
        if meta.metadata(live).ownerReferences != meta.metadata(obj).ownerReferences:
            owners = await self._owners(info, live)
        await self._collect(info, live, owners)

    async def _owners(self, info: ResourceInfo, obj: Any) -> Owners:
        owners = Owners()
        for ref in meta.metadata(obj).ownerReferences or []:
            owner = await self._owner(info, obj, ref)
            if owner is None:
                owners.absent.append(ref)
            elif _is_foreground(owner):
                owners.waiting.append(ref)
            else:
                owners.solid.append(ref)
        return owners

    async def _owner(self, info: ResourceInfo, obj: Any, ref: OwnerReference) -> Any:
        """The owner, or None if it is absent. Raises Unresolvable."""
        owner_info = self._served.get((ref.apiVersion, ref.kind))
        if owner_info is None:
            raise Unresolvable(f"its owner's kind {ref.kind} of {ref.apiVersion} is not served")
        if owner_info.namespaced and not info.namespaced:
            self._report_invalid(info, obj, ref)
            raise Unresolvable(f"it is cluster-scoped, and its owner {ref.kind} {ref.name} is not")
        space = meta.namespace(obj) if owner_info.namespaced else ""
        cached = self._cached(owner_info, ref, space)
        if cached is not None:
            return cached
        who = Identity(owner_info.group, owner_info.kind, space, ref.name, ref.uid)
        if who in self._absent:
            return None
        live = await rest.get(self._client, PartialObjectMetadata, ref.name, namespace=space, info=owner_info)
        if live is not None and meta.uid(live) == ref.uid:
            return live
        self._remember_absent(who)
        if self._lives_elsewhere(ref):
            self._report_invalid(info, obj, ref)
        return None

    def _cached(self, info: ResourceInfo, ref: OwnerReference, namespace: str) -> Any:
        """The owner a reference from that namespace leads to, as last seen."""
        found = self._informers.get((info.group, info.kind))
        key = f"{namespace}/{ref.name}" if info.namespaced else ref.name
        obj = found[1].get(key) if found is not None else None
        return obj if obj is not None and meta.uid(obj) == ref.uid else None

    def _lives_elsewhere(self, ref: OwnerReference) -> bool:
        return any(meta.uid(obj) == ref.uid for _, informer in self._informers.values() for obj in informer.list())

    def _report_invalid(self, info: ResourceInfo, obj: Any, ref: OwnerReference) -> None:
        space = meta.namespace(obj)
        who = f"[{ref.apiVersion}/{ref.kind}, namespace: {space}, name: {ref.name}, uid: {ref.uid}]"
        about = PartialObjectMetadata(metadata=meta.metadata(obj), apiVersion=info.api_version, kind=info.kind)
        message = f'ownerRef {who} does not exist in namespace "{space}"'
        self._events.event(about, "Warning", "OwnerRefInvalidNamespace", message)

    async def _collect(self, info: ResourceInfo, obj: Any, owners: Owners) -> None:
        """Drop references to owners that are going while another one stays; else delete the object."""
        if owners.solid:
            await self._patch(info, obj, ownerReferences=owners.solid)
            return
        finalizers = meta.metadata(obj).finalizers or []
        policy = "Background"
        if owners.waiting and next(self._dependents(info, obj), None) is not None:
            policy = "Foreground"  # the owner waits for all that hangs from it
        elif ORPHAN in finalizers:
            policy = "Orphan"
        elif FOREGROUND in finalizers:
            policy = "Foreground"
        log.debug("%s %s: deleted, its owner is gone", info.kind, meta.key(obj))
        try:
            await rest.delete(self._client, obj, info=info, unchanged=True, propagation=policy)
        except ApiError as error:
            if error.status.code != 404:
                raise

    async def _delete_dependents(self, info: ResourceInfo, owner: Any) -> None:
        """Let the owner go when nothing blocks it any more; until then, see to the dependents."""
        dependents = list(self._dependents(info, owner))
        if not any(self._blocks(each, (info, owner)) for each in dependents):
            await self._drop_finalizer(info, owner, FOREGROUND)
            return
        for dependent_info, dependent in dependents:
            if not meta.is_terminating(dependent):
                self._enqueue(dependent_info, dependent)

    def _blocks(self, dependent: tuple[ResourceInfo, Any], owner: tuple[ResourceInfo, Any]) -> bool:
        """Whether the owner must wait for the dependent, which it need not if the dependent waits for the owner."""
        ref = reference_to(*owner, dependent[1])
        return ref is not None and bool(ref.blockOwnerDeletion) and not self._waits_for(dependent, meta.uid(owner[1]))

    def _waits_for(self, waiting: tuple[ResourceInfo, Any], uid: str) -> bool:
        """Whether a deletion in the foreground cannot end before that of the object with this uid."""
        seen: set[str] = set()
        left = [waiting]
        while left:
            info, obj = left.pop()
            if meta.uid(obj) == uid:
                return True
            if meta.uid(obj) in seen or not _is_foreground(obj):
                continue
            seen.add(meta.uid(obj))
            for each in self._dependents(info, obj):
                ref = reference_to(info, obj, each[1])
                if ref is not None and ref.blockOwnerDeletion:
                    left.append(each)
        return False

    async def _orphan_dependents(self, info: ResourceInfo, owner: Any) -> None:
        for dependent_info, dependent in list(self._dependents(info, owner)):
            refs = meta.metadata(dependent).ownerReferences or []
            kept = [ref for ref in refs if ref.uid != meta.uid(owner)]
            await self._patch(dependent_info, dependent, ownerReferences=kept)
        await self._drop_finalizer(info, owner, ORPHAN)

    async def _drop_finalizer(self, info: ResourceInfo, obj: Any, finalizer: str) -> None:
        left = [each for each in meta.metadata(obj).finalizers or [] if each != finalizer]
        await self._patch(info, obj, finalizers=left)

    async def _patch(self, info: ResourceInfo, obj: Any, **changes: list[Any]) -> None:
        """Set lists of the metadata of an object as it was read; one that has gone needs none."""
        try:
            await rest.patch_metadata(self._client, obj, {k: v or None for k, v in changes.items()}, info=info)
        except ApiError as error:
            if error.status.code != 404:
                raise


def identity(info: ResourceInfo, obj: Any) -> Identity:
    return Identity(info.group, info.kind, meta.namespace(obj), meta.name(obj), meta.uid(obj))


def reference_to(info: ResourceInfo, owner: Any, obj: Any) -> OwnerReference | None:
    """The reference by which `obj`, from where it is, names `owner`. Pure."""
    if info.namespaced and meta.namespace(obj) != meta.namespace(owner):
        return None
    for ref in meta.metadata(obj).ownerReferences or []:
        if (ref.uid, ref.name, ref.kind) == (meta.uid(owner), meta.name(owner), info.kind) and (
            ref.apiVersion.rpartition("/")[0] == info.group
        ):
            return ref
    return None


def owner_uids(obj: Any) -> list[str]:
    """Index: the uids of all owners."""
    return [ref.uid for ref in meta.metadata(obj).ownerReferences or []]


def _holds_dependents(obj: Any) -> bool:
    """Whether the object's deletion waits for its dependents to go, or to be orphaned."""
    finalizers = meta.metadata(obj).finalizers or []
    return meta.is_terminating(obj) and (FOREGROUND in finalizers or ORPHAN in finalizers)


def _is_foreground(obj: Any) -> bool:
    return meta.is_terminating(obj) and FOREGROUND in (meta.metadata(obj).finalizers or [])
