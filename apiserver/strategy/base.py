"""What may differ from kind to kind, with the rules that hold for a kind that says nothing.

Kubernetes: the `strategy.go` beside every registry (k8s.io/kubernetes/pkg/registry/*/*/strategy.go).

Order of a write: decode, defaults, prepare, admission, validate, `before_create`, store.
Everything here is pure except the async hooks, which get the server's `Backend`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from api.errors import FieldError
from api.kinds import Kind
from apiserver import names

if TYPE_CHECKING:
    from apiserver.auth import User
    from apiserver.backend import Backend


class Strategy:
    """Rules of one kind.

    Objects are lightkube structs with metadata; methods may change `obj` and `new`, never `old`.
    """

    create_on_update: ClassVar[bool] = False
    """Whether PUT to a name that does not exist creates it (leases, events)."""
    counts_generations: ClassVar[bool] = False
    """Whether metadata.generation counts the changes of spec."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def name_rule(self, text: str) -> list[str]:
        """What is wrong with a name; most objects are named by DNS subdomains."""
        return names.dns_subdomain(text)

    def set_defaults(self, obj: Any) -> None:
        """Kubernetes' SetDefaults_*: fill what the user left out."""

    def prepare_for_create(self, obj: Any) -> None:
        """Drop what a creator may not set: the status, where there is one."""
        if self.kind.has_status:
            obj.status = self.initial_status(obj)
        if self.counts_generations:
            obj.metadata.generation = 1

    def set_requester(self, obj: Any, user: User) -> None:
        """Note who creates the object, for kinds that carry it."""

    def initial_status(self, obj: Any) -> Any:
        return None

    def prepare_for_update(self, new: Any, old: Any) -> None:
        """A write to the object itself leaves its status alone and counts a generation when the spec changed."""
        if self.kind.has_status:
            new.status = old.status
        if self.counts_generations:
            new.metadata.generation = (old.metadata.generation or 0) + (
                self.specification(new) != self.specification(old)
            )

    def specification(self, obj: Any) -> Any:
        return obj.spec

    def prepare_status(self, new: Any, old: Any) -> None:
        """A write to the status subresource changes nothing but the status."""
        if hasattr(new, "spec"):
            new.spec = old.spec
        keep = ("labels", "ownerReferences", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
        for name in keep:
            setattr(new.metadata, name, getattr(old.metadata, name))

    def validate(self, obj: Any) -> list[FieldError]:
        """Everything wrong with a new object, beyond its metadata."""
        return []

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        """Everything wrong with a change; usually what is wrong with the result, and immutable fields."""
        return self.validate(new)

    def validate_status(self, new: Any, old: Any) -> list[FieldError]:
        return []

    def warnings(self, obj: Any) -> list[str]:
        """What is allowed but probably not meant."""
        return []

    # Deletion

    def grace_seconds(self, obj: Any, requested: int | None) -> int:
        """How long the object stays after its deletion was asked for; only pods have any."""
        return 0

    def begin_deletion(self, obj: Any) -> None:
        """Called when deletionTimestamp is set."""

    def is_held(self, obj: Any) -> bool:
        """Whether something beside metadata.finalizers keeps a deleted object (a namespace's spec.finalizers)."""
        return False

    # Resources of the cluster that an object takes hold of

    async def before_create(self, obj: Any, backend: Backend, *, dry_run: bool) -> None:
        """Take addresses and the like. Raises an ApiStatusError when there are none."""

    async def before_update(self, new: Any, old: Any, backend: Backend, *, dry_run: bool) -> None:
        """As `before_create`, for what `new` has and `old` had not."""

    async def release(self, obj: Any, backend: Backend, *, keep: Any = None) -> None:
        """Give back what `obj` held and `keep` does not: it was deleted, replaced, or the write failed."""
