"""Which objects belong to a controller: ownership by uid, adoption and release by selector.

Kubernetes: ControllerRefManager (k8s.io/kubernetes/pkg/controller/controller_ref_manager.go).

Invariants
- Nothing is taken from another controller.
- Nothing is adopted on the word of a cache: before the first adoption the owner is read live, and an owner with
  another uid, or one that is being deleted, adopts nothing.
- Every write carries the uid (and version) of the object claimed.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any, TypeVar

from lightkube.core.resource import Resource

from api import meta
from api.selectors import LabelSelector
from client import rest
from client.config import Client
from controllers import writes

R = TypeVar("R", bound=Resource)


class Claim(Enum):
    """What to do about an object."""

    OWN = "own"
    ADOPT = "adopt"
    RELEASE = "release"
    IGNORE = "ignore"


def judge(owner: Any, selector: LabelSelector, obj: Any) -> Claim:
    """Whether `obj` is, or should become, `owner`'s. Pure."""
    ref = meta.controller_of(obj)
    matches = selector.matches(meta.labels(obj))
    if ref is not None:
        if ref.uid != meta.uid(owner):
            return Claim.IGNORE
        if matches:
            return Claim.OWN
        return Claim.IGNORE if meta.is_terminating(owner) else Claim.RELEASE
    if matches and not meta.is_terminating(owner) and not meta.is_terminating(obj):
        return Claim.ADOPT
    return Claim.IGNORE


async def claim(client: Client, owner: Any, selector: LabelSelector, candidates: Iterable[R]) -> list[R]:
    """The objects that are `owner`'s now; adopts and releases on the way. Raises lightkube.ApiError."""
    owned: list[R] = []
    may_adopt: bool | None = None
    for obj in candidates:
        verdict = judge(owner, selector, obj)
        if verdict is Claim.OWN:
            owned.append(obj)
        elif verdict is Claim.RELEASE:
            await _write(client, obj, without=owner)
        elif verdict is Claim.ADOPT:
            if may_adopt is None:
                may_adopt = await _is_alive(client, owner)
            adopted = await _write(client, obj, owner=owner) if may_adopt else None
            if adopted is not None:
                owned.append(adopted)
    return owned


async def _is_alive(client: Client, owner: Any) -> bool:
    fresh = await rest.get(client, type(owner), meta.name(owner), namespace=meta.namespace(owner))
    return fresh is not None and meta.uid(fresh) == meta.uid(owner) and not meta.is_terminating(fresh)


async def _write(client: Client, obj: R, *, owner: Any = None, without: Any = None) -> R | None:
    """Set or drop the reference; None when the object has gone. A changed one raises 409, and the key is retried."""
    wanted = meta.clone(obj)
    references = [
        ref for ref in meta.metadata(obj).ownerReferences or [] if without is None or ref.uid != meta.uid(without)
    ]
    if owner is not None:
        references = [*references, meta.owner_reference(owner)]
    meta.metadata(wanted).ownerReferences = references or None
    try:
        return await writes.put(client, wanted)
    except Exception as error:
        if writes.is_status(error, 404):
            return None
        raise
