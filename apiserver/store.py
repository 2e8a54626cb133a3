"""One kind's objects: create, change and delete them under its strategy, always by compare-and-swap.

Kubernetes: k8s.io/apiserver/pkg/registry/generic/registry/store.go (GuaranteedUpdate, graceful deletion, finalizers).

Invariants
- Every change begins from the cached record and is written against its version. When the cache was behind, or the
  change is refused on what the cache holds, the store is asked and the change is tried on the present record:
  nobody is told "conflict" or "invalid" because of a stale cache.
- An object with a deletionTimestamp goes when its grace period is over and no finalizer is left, by whichever write
  makes that so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any

from lightkube.models.meta_v1 import DeleteOptions, ObjectMeta

from api import meta
from api.errors import AlreadyExists, ApiStatusError, BadRequest, Conflict, FieldError, Invalid, NotFound
from api.kinds import Kind
from apiserver import admission, codec, names
from apiserver.backend import Backend
from apiserver.storage.base import KeyExists, KeyMissing, Record, VersionMismatch, resource_key, stamp
from apiserver.storage.cache import Entry
from apiserver.strategy import Strategy, strategy_for

GENERATE_ATTEMPTS = 8
UPDATE_ATTEMPTS = 50
ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"


class Part(Enum):
    """Which part of an object a write may change, and so which rules hold."""

    OBJECT = "everything but the status"
    STATUS = "the status only"
    INTERNAL = "what the server itself wrote: a binding, a namespace's finalizers"


Stored = Entry | Record
Change = Callable[[Any, Stored], Any]
"""Gets the present object (its own copy) and record, returns the wanted object."""


@dataclass(slots=True)
class Outcome:
    """The bytes after a write; `gone` says that the object is deleted."""

    value: bytes
    gone: bool = False
    created: bool = False
    warnings: list[str] = field(default_factory=list)


class ObjectStore:
    """The objects of one kind."""

    def __init__(self, kind: Kind, backend: Backend) -> None:
        self.kind = kind
        self.backend = backend
        self.strategy: Strategy = strategy_for(kind)

    def key(self, namespace: str, name: str) -> str:
        return resource_key(self.kind.qualified, namespace, name)

    def not_found(self, name: str) -> NotFound:
        return NotFound.of(qualified=self.kind.qualified, name=name)

    def decode(self, value: bytes) -> Any:
        return self.kind.decoder.decode(value)

    def encode(self, obj: Any) -> bytes:
        """The bytes to store: without a resourceVersion, which the store stamps."""
        obj.metadata.resourceVersion = None
        return codec.encode_object(obj)

    # Create

    async def create(
        self, obj: Any, *, namespace: str, dry_run: bool = False, name: str = "", applying: bool = False
    ) -> Outcome:
        """Store a new object. Raises AlreadyExists, Invalid, and what admission refuses."""
        self._begin(obj, namespace, name)
        if not applying:
            obj.metadata.managedFields = None
        generated = not obj.metadata.name and bool(obj.metadata.generateName)
        self.strategy.prepare_for_create(obj)
        self.strategy.set_defaults(obj)
        await admission.admit_create(self.kind, obj, self.backend)
        for attempt in range(GENERATE_ATTEMPTS):
            if generated:
                obj.metadata.name = names.generate(obj.metadata.generateName)
            if attempt == 0:
                self._refuse(obj, self._metadata_errors(obj.metadata) + self.strategy.validate(obj))
            try:
                return await self._insert(obj, namespace, dry_run=dry_run)
            except KeyExists:
                if not generated:
                    raise AlreadyExists.of(qualified=self.kind.qualified, name=obj.metadata.name) from None
        raise AlreadyExists.of(qualified=self.kind.qualified, name=obj.metadata.name)

    def _begin(self, obj: Any, namespace: str, name: str) -> None:
        if obj.metadata is None:
            obj.metadata = ObjectMeta()
        metadata = obj.metadata
        if metadata.resourceVersion:
            raise BadRequest("resourceVersion should not be set on objects to be created")
        if name:
            metadata.name = name
        self._check_namespace(metadata, namespace)
        metadata.uid = meta.new_uid()
        metadata.creationTimestamp = meta.now()
        metadata.deletionTimestamp = metadata.deletionGracePeriodSeconds = metadata.selfLink = None

    def _check_namespace(self, metadata: ObjectMeta, namespace: str) -> None:
        if metadata.namespace and metadata.namespace != namespace and self.kind.namespaced:
            raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
        if self.kind.namespaced:
            metadata.namespace = namespace

    async def _insert(self, obj: Any, namespace: str, *, dry_run: bool) -> Outcome:
        key = self.key(namespace, obj.metadata.name)
        await self.strategy.before_create(obj, self.backend, dry_run=dry_run)
        warnings = self.strategy.warnings(obj)
        value = self.encode(obj)
        if dry_run:
            if await self.backend.storage.get(key) is not None:
                raise KeyExists(key)
            return Outcome(value, created=True, warnings=warnings)
        try:
            record = await self.backend.storage.create(key, value)
        except KeyExists:
            await self.strategy.release(obj, self.backend)
            raise
        return Outcome(record.value, created=True, warnings=warnings)

    # Change

    async def update(
        self,
        namespace: str,
        name: str,
        change: Change,
        *,
        part: Part = Part.OBJECT,
        dry_run: bool = False,
        applying: bool = False,
    ) -> Outcome:
        """Apply `change` to the present object until it is stored or refused.

        `part` says which rules hold; only `applying` may change managedFields. Raises NotFound, Conflict, Invalid.
        """

        async def step(current: Stored) -> Outcome | None:
            return await self._change(current, change, part=part, dry_run=dry_run, applying=applying)

        return await self._until_stored(namespace, name, step)

    async def _until_stored(
        self, namespace: str, name: str, step: Callable[[Stored], Awaitable[Outcome | None]]
    ) -> Outcome:
        """Run `step` on the cached record, and again on the store's when it lost or was refused on stale data."""
        key = self.key(namespace, name)
        current: Stored | None = self.backend.cache.get(key)
        fresh = current is None
        if current is None:
            current = await self.backend.storage.get(key)
        for _ in range(UPDATE_ATTEMPTS):
            if current is None:
                raise self.not_found(name)
            try:
                outcome = await step(current)
                if outcome is not None:
                    return outcome
            except VersionMismatch as lost:
                current, fresh = lost.current, True
                continue
            except KeyMissing:
                raise self.not_found(name) from None
            except ApiStatusError:
                if fresh:
                    raise
            if fresh:
                return Outcome(current.value)
            latest = await self.backend.storage.get(key)
            fresh = True
            current = latest
        raise Conflict.of(qualified=self.kind.qualified, name=name)

    async def _change(
        self, current: Stored, change: Change, *, part: Part, dry_run: bool, applying: bool
    ) -> Outcome | None:
        """One attempt; None when nothing would change (the caller makes sure that `current` is the present state)."""
        old = self.decode(current.value)
        new = change(self.decode(current.value), current)
        self._prepare(new, old, part=part)
        if not applying:
            new.metadata.managedFields = old.metadata.managedFields
        if part is Part.OBJECT:
            await admission.admit_update(self.kind, new, old, self.backend)
        self._refuse(new, self._update_errors(new, old, part=part))
        if part is Part.OBJECT:
            await self.strategy.before_update(new, old, self.backend, dry_run=dry_run)
        warnings = self.strategy.warnings(new) if part is Part.OBJECT else []
        value = self.encode(new)
        if stamp(value, current.version) == current.value:
            return None
        if dry_run:
            return Outcome(stamp(value, current.version), warnings=warnings)
        storage = self.backend.storage
        if self._is_finished(new):
            record = await storage.delete(current.key, expected=current.version)
            await self.strategy.release(old, self.backend)
            return Outcome(record.value, gone=True, warnings=warnings)
        try:
            record = await storage.update(current.key, value, expected=current.version)
        except (VersionMismatch, KeyMissing):
            await self.strategy.release(new, self.backend, keep=old)
            raise
        if part is Part.OBJECT:
            await self.strategy.release(old, self.backend, keep=new)
        return Outcome(record.value, warnings=warnings)

    def _prepare(self, new: Any, old: Any, *, part: Part) -> None:
        """Server-owned metadata comes from `old`, whatever the client sent."""
        if new.metadata is None:
            new.metadata = ObjectMeta()
        fixed, was = new.metadata, old.metadata
        if fixed.uid and fixed.uid != was.uid:
            why = f"Precondition failed: UID in precondition: {fixed.uid}, UID in object meta: {was.uid}"
            raise Conflict.of(qualified=self.kind.qualified, name=was.name or "", why=why)
        fixed.creationTimestamp = was.creationTimestamp
        fixed.deletionTimestamp = was.deletionTimestamp
        fixed.deletionGracePeriodSeconds = was.deletionGracePeriodSeconds
        fixed.generation = was.generation
        fixed.uid = was.uid
        fixed.name = fixed.name or was.name
        fixed.generateName = was.generateName
        fixed.selfLink = None
        if self.kind.namespaced:
            fixed.namespace = fixed.namespace or was.namespace
        if part is Part.STATUS:
            self.strategy.prepare_status(new, old)
        elif part is Part.OBJECT:
            self.strategy.set_defaults(new)
            self.strategy.prepare_for_update(new, old)

    def _metadata_errors(self, metadata: ObjectMeta) -> list[FieldError]:
        return names.check_metadata(metadata, self.strategy.name_rule, namespaced=self.kind.namespaced)

    def _update_errors(self, new: Any, old: Any, *, part: Part) -> list[FieldError]:
        errors = names.check_metadata_update(new.metadata, old.metadata)
        if part is Part.INTERNAL:
            return errors
        if part is Part.STATUS:
            return errors + self.strategy.validate_status(new, old)
        return errors + self._metadata_errors(new.metadata) + self.strategy.validate_update(new, old)

    def _refuse(self, obj: Any, errors: list[FieldError]) -> None:
        if errors:
            raise Invalid.of(kind=self.kind.kind, group=self.kind.group, name=obj.metadata.name or "", errors=errors)

    def _is_finished(self, obj: Any) -> bool:
        """Whether nothing holds a deleted object any longer."""
        metadata = obj.metadata
        return (
            metadata.deletionTimestamp is not None
            and not metadata.finalizers
            and not metadata.deletionGracePeriodSeconds
            and not self.strategy.is_held(obj)
        )

    # Delete

    async def delete(self, namespace: str, name: str, options: DeleteOptions, *, dry_run: bool = False) -> Outcome:
        """Begin, shorten or finish the deletion of an object. Raises NotFound, and Conflict on failed preconditions."""

        async def step(current: Stored) -> Outcome | None:
            return await self._delete(current, options, dry_run=dry_run)

        return await self._until_stored(namespace, name, step)

    async def _delete(self, current: Stored, options: DeleteOptions, *, dry_run: bool) -> Outcome | None:
        obj = self.decode(current.value)
        admission.admit_delete(self.kind, obj)
        self._check_preconditions(current, obj.metadata, options)
        self._mark(obj, options)
        if self._is_finished(obj):
            if dry_run:
                return Outcome(current.value, gone=True)
            record = await self.backend.storage.delete(current.key, expected=current.version)
            await self.strategy.release(obj, self.backend)
            return Outcome(record.value, gone=True)
        value = self.encode(obj)
        if stamp(value, current.version) == current.value:
            return None
        if dry_run:
            return Outcome(stamp(value, current.version))
        record = await self.backend.storage.update(current.key, value, expected=current.version)
        return Outcome(record.value)

    def _check_preconditions(self, current: Stored, metadata: ObjectMeta, options: DeleteOptions) -> None:
        wanted = options.preconditions
        if wanted is None:
            return
        uid, version = wanted.uid, wanted.resourceVersion
        why = ""
        if uid and uid != metadata.uid:
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {metadata.uid}"
        elif version and version != str(current.version):
            why = (
                f"Precondition failed: ResourceVersion in precondition: {version}, "
                f"ResourceVersion in object meta: {current.version}"
            )
        if why:
            raise Conflict.of(qualified=self.kind.qualified, name=metadata.name or "", why=why)

    def _mark(self, obj: Any, options: DeleteOptions) -> None:
        """Write the deletion into the metadata: timestamp, grace period and finalizers of the propagation policy."""
        metadata = obj.metadata
        metadata.finalizers = _finalizers(metadata.finalizers, options) or None
        if metadata.deletionTimestamp is None:
            grace = self.strategy.grace_seconds(obj, options.gracePeriodSeconds)
            metadata.deletionTimestamp = meta.now() + timedelta(seconds=grace)
            metadata.deletionGracePeriodSeconds = grace
            if metadata.generation:
                metadata.generation += 1
            self.strategy.begin_deletion(obj)
            return
        before, wanted = metadata.deletionGracePeriodSeconds or 0, options.gracePeriodSeconds
        if before and wanted is not None and max(wanted, 0) < before:
            # Only a shorter grace period may replace one that runs.
            metadata.deletionTimestamp += timedelta(seconds=max(wanted, 0) - before)
            metadata.deletionGracePeriodSeconds = max(wanted, 0)


def _finalizers(present: list[str] | None, options: DeleteOptions) -> list[str]:
    """The finalizers after a deletion with these options: at most one of orphan and foregroundDeletion is ours."""
    policy = options.propagationPolicy
    if policy is None and options.orphanDependents is not None:
        policy = "Orphan" if options.orphanDependents else "Background"
    if policy is None:
        return [*(present or [])]
    others = [each for each in present or [] if each not in (ORPHAN, FOREGROUND)]
    return others + {"Orphan": [ORPHAN], "Foreground": [FOREGROUND]}.get(policy, [])
