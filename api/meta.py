"""What every object has in common: names, owners, timestamps, conditions.

Kubernetes: ObjectMeta and `metav1` helpers
(https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/). Pure.
"""

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from lightkube.models.meta_v1 import ObjectMeta, OwnerReference

from api.resource import type_of

T = TypeVar("T")


def now() -> datetime:
    """The time as `metav1.Time` holds it: UTC, whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def now_micro() -> datetime:
    """The time as `metav1.MicroTime` holds it; never a whole second, because Go clients demand the fraction."""
    moment = datetime.now(UTC)
    return moment if moment.microsecond else moment.replace(microsecond=1)


def new_uid() -> str:
    return str(uuid.uuid4())


def metadata(obj: Any) -> ObjectMeta:
    """The object's metadata, which every stored object has."""
    meta: ObjectMeta | None = obj.metadata
    if meta is None:
        raise ValueError(f"{type(obj).__name__} has no metadata")
    return meta


def name(obj: Any) -> str:
    return metadata(obj).name or ""


def namespace(obj: Any) -> str:
    """The object's namespace, empty for cluster-scoped kinds."""
    return metadata(obj).namespace or ""


def uid(obj: Any) -> str:
    return metadata(obj).uid or ""


def labels(obj: Any) -> dict[str, str]:
    return metadata(obj).labels or {}


def annotations(obj: Any) -> dict[str, str]:
    return metadata(obj).annotations or {}


def key(obj: Any) -> str:
    """`namespace/name`, or just the name of a cluster-scoped object: what caches and work queues are keyed by."""
    space = namespace(obj)
    return f"{space}/{name(obj)}" if space else name(obj)


def split_key(key: str) -> tuple[str, str]:
    """The inverse of `key`: (namespace or "", name)."""
    space, _, last = key.rpartition("/")
    return space, last


def clone(obj: T) -> T:
    """A deep copy to change: objects out of a cache are shared and must not be."""
    return msgspec.convert(msgspec.to_builtins(obj), type(obj))


def is_terminating(obj: Any) -> bool:
    """Whether deletion has begun: a timestamp is set, and finalizers or a grace period hold the object."""
    return metadata(obj).deletionTimestamp is not None


def controller_of(obj: Any) -> OwnerReference | None:
    """The owner that manages this object, of which there is at most one."""
    return next((ref for ref in metadata(obj).ownerReferences or [] if ref.controller), None)


def is_controlled_by(obj: Any, owner: Any) -> bool:
    ref = controller_of(obj)
    return ref is not None and ref.uid == uid(owner)


def owner_reference(owner: Any) -> OwnerReference:
    """A reference that makes `owner` the managing controller of whatever carries it."""
    api_version, kind = type_of(owner)
    return OwnerReference(
        apiVersion=api_version,
        kind=kind,
        name=name(owner),
        uid=uid(owner),
        controller=True,
        blockOwnerDeletion=True,
    )


def get_condition(conditions: Iterable[T] | None, type_: str) -> T | None:
    """The condition of that type, if any."""
    return next((each for each in conditions or [] if each.type == type_), None)  # type: ignore[attr-defined]


def set_condition(conditions: list[T], wanted: T) -> bool:
    """Put `wanted` in place of the condition of its type. Returns whether anything a reader acts on changed.

    As Kubernetes does, lastTransitionTime moves only when the status does.
    """
    new: Any = wanted
    for index, old in enumerate(conditions):
        current: Any = old
        if current.type != new.type:
            continue
        if (current.status, current.reason, current.message) == (new.status, new.reason, new.message):
            return False
        if current.status == new.status:
            new.lastTransitionTime = current.lastTransitionTime
        conditions[index] = wanted
        return True
    conditions.append(wanted)
    return True
