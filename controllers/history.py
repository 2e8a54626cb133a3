"""What a StatefulSet's or DaemonSet's template was before: ControllerRevisions, and which of them is the present one.

Kubernetes: pkg/controller/history. A revision's data is a strategic merge patch that brings its template back, which
is how `kubectl rollout undo` uses it.

Invariants
- A revision's name follows from its template, so two managers, or one that crashed and came back, make one.
- A template that comes back gets its old revision back, with a number higher than all others.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import msgspec
from lightkube.models.core_v1 import PodTemplateSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import ControllerRevision

from api import meta
from client import rest
from controllers import writes
from controllers.manager import Manager
from controllers.templates import template_hash

HASH = "controller.kubernetes.io/hash"
REVISION_LABEL = "controller-revision-hash"
"""On pods: the revision that they were made from."""

DEFAULT_LIMIT = 10


@dataclass(slots=True)
class Revisions:
    """All revisions of one owner, oldest first; `present` is the one of its template."""

    present: ControllerRevision
    all: list[ControllerRevision]

    def named(self, name: str | None) -> ControllerRevision | None:
        return next((each for each in self.all if meta.name(each) == name), None)


class History:
    """Keeps the revisions of one kind of owner."""

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._revisions = manager.informer(ControllerRevision)

    def of(self, owner: Any) -> list[ControllerRevision]:
        """What the cache holds, oldest first."""
        found = (each for each in self._revisions.list(meta.namespace(owner)) if meta.is_controlled_by(each, owner))
        return sorted(found, key=lambda each: (each.revision or 0, meta.name(each)))

    async def sync(self, owner: Any, collisions: int) -> Revisions:
        """Make sure that there is a revision of the present template. Raises NameTaken."""
        revisions = self.of(owner)
        wanted = revision_of(owner, number=(revisions[-1].revision or 0) + 1 if revisions else 1, collisions=collisions)
        equal = [each for each in revisions if each.data == wanted.data]
        if not equal:
            present = await self._create(wanted, owner)
        elif equal[-1] is revisions[-1]:
            return Revisions(equal[-1], revisions)
        else:
            present = meta.clone(equal[-1])
            present.revision = wanted.revision
            present = await writes.put(self._client, present)
        others = [each for each in revisions if meta.uid(each) != meta.uid(present)]
        return Revisions(present, [*others, present])

    async def _create(self, wanted: ControllerRevision, owner: Any) -> ControllerRevision:
        try:
            return await self._client.create(wanted)
        except Exception as error:
            if not writes.is_status(error, 409):
                raise
            present: ControllerRevision | None = await rest.get(
                self._client, ControllerRevision, namespace=meta.namespace(wanted), name=meta.name(wanted)
            )
            if present is not None and meta.is_controlled_by(present, owner) and present.data == wanted.data:
                return present
            raise NameTaken(meta.name(wanted)) from None

    async def truncate(self, revisions: Revisions, *, in_use: Collection[str | None], limit: int | None) -> None:
        """Delete the oldest revisions that nothing uses, beyond `limit` of them."""
        unused = [each for each in revisions.all if each is not revisions.present and meta.name(each) not in in_use]
        for each in unused[: max(0, len(unused) - (DEFAULT_LIMIT if limit is None else limit))]:
            await writes.delete_quietly(self._client, each)


class NameTaken(Exception):
    """Another template's revision has the name: count the collision and try again."""


def revision_of(owner: Any, *, number: int, collisions: int) -> ControllerRevision:
    """The revision of the owner's present template. Pure."""
    hashed = template_hash(owner.spec.template, collisions)
    template = {**msgspec.to_builtins(owner.spec.template), "$patch": "replace"}
    return ControllerRevision(
        metadata=ObjectMeta(
            name=f"{meta.name(owner)}-{hashed}",
            namespace=meta.namespace(owner),
            labels={**((owner.spec.template.metadata and owner.spec.template.metadata.labels) or {}), HASH: hashed},
            annotations=meta.annotations(owner) or None,
            ownerReferences=[meta.owner_reference(owner)],
        ),
        data={"spec": {"template": template}},
        revision=number,
    )


def template_of(revision: ControllerRevision) -> PodTemplateSpec:
    """The template that a revision remembers. Raises msgspec.ValidationError for one edited beyond recognition."""
    data: Any = revision.data
    template = {key: value for key, value in data["spec"]["template"].items() if key != "$patch"}
    return msgspec.convert(template, PodTemplateSpec)
