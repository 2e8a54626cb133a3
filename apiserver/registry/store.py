"""One kind's objects: create, change and delete them by the kind's rules, always by compare-and-swap.

Kubernetes: k8s.io/apiserver/pkg/registry/generic/registry/store.go (GuaranteedUpdate, graceful deletion, finalizers).

Invariants
- `_decide` is the one order in which a write is changed, refused or let through.
- Every change begins from the cached record and is written against its version. When the cache was behind, or the
  change is refused on what the cache holds, the store is asked and the change is tried on the present record:
  nobody is told "conflict" or "invalid" because of a stale cache.
- An object with a deletionTimestamp goes when its grace period is over and no finalizer is left, by whichever write
  makes that so.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec
from lightkube.models.meta_v1 import DeleteOptions, ObjectMeta

from api import meta
from api.errors import AlreadyExists, ApiStatusError, BadRequest, Conflict, FieldError, Forbidden, Invalid, NotFound
from apiserver import codec
from apiserver.backend import Backend
from apiserver.patch import managed_fields
from apiserver.registry import fields, names, rules
from apiserver.registry.kind import Kind
from apiserver.registry.write import Part, Write
from apiserver.storage.base import KeyExists, KeyMissing, Record, VersionMismatch, resource_key, stamp
from apiserver.storage.cache import Entry

GENERATE_ATTEMPTS = 8
UPDATE_ATTEMPTS = 50
ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
_KEPT = ("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "uid", "generateName")
_NOT_STATUS = ("labels", "ownerReferences", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")

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
    """The objects of one stored kind."""

    def __init__(self, kind: Kind, backend: Backend) -> None:
        self.kind = kind
        self.backend = backend

    def key(self, namespace: str, name: str) -> str:
        return resource_key(self.kind.qualified, namespace, name)

    def not_found(self, name: str) -> NotFound:
        return NotFound.of(qualified=self.kind.qualified, name=name)

    def conflict(self, name: str, why: str = "") -> Conflict:
        qualified = self.kind.qualified
        return Conflict.of(qualified=qualified, name=name, **({"why": why} if why else {}))

    def encode(self, obj: Any) -> bytes:
        """The bytes to store: without a resourceVersion, which the store stamps."""
        obj.metadata.resourceVersion = None
        return self.kind.model.encode(obj)

    def _owned(self, write: Write, before: bytes = b"") -> bytes:
        """The bytes to store, with metadata.managedFields as this write makes them (an apply has brought its own)."""
        new, schema = write.new, self.kind.model.schema
        if write.applying:
            return self.encode(new)
        given, new.metadata.managedFields = new.metadata.managedFields, None
        if not before:
            value = self.encode(new)
            entries = managed_fields.created(value, schema, write.writer())
            return codec.with_managed_fields(value, entries) if entries else value
        live, document = codec.to_document(before), self.kind.model.plain(new)
        sent = None if given is None else msgspec.to_builtins(given)
        new.metadata.managedFields = managed_fields.updated(live, document, schema, write.writer(), given=sent) or None
        return self.encode(new)

    async def _decide(self, write: Write) -> None:
        """Everything between what a client sent and what is stored: `write.new` is changed in place, or refused."""
        kind, new, old = self.kind, write.new, write.old
        if old is None:
            self._begin(write)
        else:
            self._keep(write)
        if write.part is Part.OBJECT:
            kind.defaults(new)
            if old is not None:
                self._prepare_update(new, old)
        plugins = [*self.backend.plugins, *kind.admission]
        for plugin in plugins:
            await plugin.admit(write)
        if old is None:
            kind.stamp_requester(new, write.user)
        errors = [*self._errors(write)]
        if errors:
            raise Invalid.of(kind=kind.kind, group=kind.group, name=new.metadata.name or "", errors=errors)
        for plugin in plugins:
            await plugin.validate(write)
        if write.part is Part.OBJECT:
            write.warnings = kind.warnings(new)
            if kind.allocate is not None:
                await kind.allocate(new, old, self.backend, dry_run=write.dry_run)

    # Create

    async def create(self, write: Write, obj: Any) -> Outcome:
        """Store a new object. Raises AlreadyExists, Invalid, and what authorization and admission refuse."""
        obj.metadata = metadata = obj.metadata or ObjectMeta()
        if metadata.resourceVersion:
            raise BadRequest("resourceVersion should not be set on objects to be created")
        metadata.name = metadata.name or write.name or None
        base = metadata.generateName if not metadata.name else None
        first = self.kind.model.encode(obj) if base else b""
        for _ in range(GENERATE_ATTEMPTS if base else 1):
            write.new, write.old = obj, None
            if base:
                obj.metadata.name = names.generate(base)
            write.authorize("create", obj.metadata.name or "")
            await self._decide(write)
            try:
                return await self._insert(write)
            except KeyExists:
                name = obj.metadata.name
                obj = self.kind.model.decode(first) if base else obj
        raise AlreadyExists.of(qualified=self.kind.qualified, name=name)

    def _begin(self, write: Write) -> None:
        """Metadata that the server owns, and the status a new object has."""
        kind, obj = self.kind, write.new
        metadata = obj.metadata
        if metadata.namespace and metadata.namespace != write.namespace and kind.namespaced:
            raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
        if kind.namespaced:
            metadata.namespace = write.namespace
        metadata.uid = meta.new_uid()
        metadata.creationTimestamp = meta.now()
        metadata.deletionTimestamp = metadata.deletionGracePeriodSeconds = metadata.selfLink = None
        metadata.generation = 1 if kind.counts_generations else metadata.generation
        if kind.has_status and not kind.describes_itself:
            obj.status = kind.initial_status(obj)
        kind.prepare_create(obj)

    async def _insert(self, write: Write) -> Outcome:
        key, value = self.key(write.namespace, write.new.metadata.name), self._owned(write)
        if write.dry_run:
            if await self.backend.storage.get(key) is not None:
                raise KeyExists(key)
            return Outcome(value, created=True, warnings=write.warnings)
        try:
            record = await self.backend.storage.create(key, value)
        except KeyExists:
            await self._release(write.new)
            raise
        return Outcome(record.value, created=True, warnings=write.warnings)

    async def _release(self, obj: Any, keep: Any = None) -> None:
        if self.kind.release is not None:
            await self.kind.release(obj, self.backend, keep)

    # Change

    async def update(self, write: Write, change: Change) -> Outcome:
        """Apply `change` to the present object until it is stored or refused. Raises NotFound, Conflict, Invalid."""
        return await self._until_stored(write, lambda current: self._change(write, current, change))

    async def _until_stored(self, write: Write, step: Callable[[Stored], Awaitable[Outcome | None]]) -> Outcome:
        """Run `step` on the cached record, and again on the store's when it lost or was refused on stale data."""
        key = self.key(write.namespace, write.name)
        current: Stored | None = self.backend.cache.get(key)
        fresh = current is None
        if current is None:
            current = await self.backend.storage.get(key)
        for _ in range(UPDATE_ATTEMPTS):
            if current is None:
                raise self.not_found(write.name)
            try:
                outcome = await step(current)
                if outcome is not None:
                    return outcome
            except VersionMismatch as lost:
                current, fresh = lost.current, True
                continue
            except KeyMissing:
                raise self.not_found(write.name) from None
            except ApiStatusError:
                if fresh:
                    raise
            if fresh:
                return Outcome(current.value)
            current, fresh = await self.backend.storage.get(key), True
        raise self.conflict(write.name)

    async def _change(self, write: Write, current: Stored, change: Change) -> Outcome | None:
        """One attempt; None when nothing would change (the caller makes sure that `current` is the present state)."""
        old = write.old = self.kind.model.decode(current.value)
        new = write.new = change(self.kind.model.decode(current.value), current)
        await self._decide(write)
        value = self._owned(write, current.value)
        if stamp(value, current.version) == current.value:
            return None
        if write.dry_run:
            return Outcome(stamp(value, current.version), warnings=write.warnings)
        storage = self.backend.storage
        if self._is_finished(new):
            record = await storage.delete(current.key, expected=current.version)
            await self._release(old)
            return Outcome(record.value, gone=True, warnings=write.warnings)
        try:
            record = await storage.update(current.key, value, expected=current.version)
        except (VersionMismatch, KeyMissing):
            await self._release(new, keep=old)
            raise
        if write.part is Part.OBJECT:
            await self._release(old, keep=new)
        return Outcome(record.value, warnings=write.warnings)

    def _keep(self, write: Write) -> None:
        """What comes from the present object, whatever the client sent."""
        new, old = write.new, write.old
        new.metadata = metadata = new.metadata or ObjectMeta()
        was = old.metadata
        if metadata.uid and metadata.uid != was.uid:
            why = f"Precondition failed: UID in precondition: {metadata.uid}, UID in object meta: {was.uid}"
            raise self.conflict(was.name or "", why)
        for name in _KEPT:
            setattr(metadata, name, getattr(was, name))
        metadata.name = metadata.name or was.name
        metadata.selfLink = None
        if self.kind.namespaced:
            metadata.namespace = metadata.namespace or was.namespace
        if write.part is Part.STATUS:
            if hasattr(new, "spec"):
                new.spec = old.spec
            for name in _NOT_STATUS:
                setattr(metadata, name, getattr(was, name))
            self.kind.prepare_status(new, old)

    def _prepare_update(self, new: Any, old: Any) -> None:
        """A write to the object itself leaves its status alone and counts a generation when what it wants changed."""
        kind = self.kind
        if kind.has_status:
            new.status = old.status
        for path in kind.fixed:
            fields.put(new, path, fields.get(old, path))
        if kind.counts_generations:
            changed = kind.specification(new) != kind.specification(old)
            new.metadata.generation = (old.metadata.generation or 0) + changed
        kind.prepare_update(new, old)

    def _errors(self, write: Write) -> Iterable[FieldError]:
        kind, new, old = self.kind, write.new, write.old
        if old is not None:
            yield from names.check_metadata_update(new.metadata, old.metadata)
        if write.part is Part.INTERNAL:
            return
        if write.part is Part.STATUS:
            yield from itertools.chain.from_iterable(rule(new, old) for rule in kind.status_rules)
            return
        yield from names.check_metadata(new.metadata, kind.name_rule, namespaced=kind.namespaced)
        wanted = kind.specification(new)
        if old is None or wanted is None or wanted != kind.specification(old):
            for rule in kind.rules:
                yield from rule(new)
        if old is not None:
            for path in kind.immutable:
                yield from rules.immutable(path)(new, old)
            for change_rule in kind.change_rules:
                yield from change_rule(new, old)

    def _is_finished(self, obj: Any) -> bool:
        """Whether nothing holds a deleted object any longer."""
        metadata = obj.metadata
        return (
            metadata.deletionTimestamp is not None
            and not metadata.finalizers
            and not metadata.deletionGracePeriodSeconds
            and not self.kind.is_held(obj)
        )

    # Delete

    async def delete(self, write: Write, options: DeleteOptions) -> Outcome:
        """Begin, shorten or finish the deletion of an object. Raises NotFound, and Conflict on failed preconditions."""
        return await self._until_stored(write, lambda current: self._delete(write, current, options))

    async def _delete(self, write: Write, current: Stored, options: DeleteOptions) -> Outcome | None:
        obj = write.old = self.kind.model.decode(current.value)
        if obj.metadata.name in self.kind.immortal:
            why = f"this {self.kind.singular_name} may not be deleted"
            raise Forbidden.of(qualified=self.kind.qualified, name=obj.metadata.name, why=why)
        for plugin in (*self.backend.plugins, *self.kind.admission):
            await plugin.validate(write)
        self._check_preconditions(current, obj.metadata, options)
        self._mark(obj, options)
        if self._is_finished(obj):
            if write.dry_run:
                return Outcome(current.value, gone=True)
            record = await self.backend.storage.delete(current.key, expected=current.version)
            await self._release(obj)
            return Outcome(record.value, gone=True)
        value = self.encode(obj)
        if stamp(value, current.version) == current.value:
            return None
        if write.dry_run:
            return Outcome(stamp(value, current.version))
        record = await self.backend.storage.update(current.key, value, expected=current.version)
        return Outcome(record.value)

    def _check_preconditions(self, current: Stored, metadata: ObjectMeta, options: DeleteOptions) -> None:
        wanted = options.preconditions
        if wanted is None:
            return
        present = str(current.version)
        for what, expected, is_ in (
            ("UID", wanted.uid, metadata.uid),
            ("ResourceVersion", wanted.resourceVersion, present),
        ):
            if expected and expected != is_:
                why = f"Precondition failed: {what} in precondition: {expected}, {what} in object meta: {is_}"
                raise self.conflict(metadata.name or "", why)

    def _mark(self, obj: Any, options: DeleteOptions) -> None:
        """Write the deletion into the metadata: timestamp, grace period and finalizers of the propagation policy."""
        metadata = obj.metadata
        metadata.finalizers = _finalizers(metadata.finalizers, options) or None
        if metadata.deletionTimestamp is None:
            grace = self.kind.grace_seconds(obj, options.gracePeriodSeconds)
            metadata.deletionTimestamp = meta.now() + timedelta(seconds=grace)
            metadata.deletionGracePeriodSeconds = grace
            if metadata.generation:
                metadata.generation += 1
            self.kind.begin_deletion(obj)
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
