"""What a kind is: everything the server must know to serve it, in one value.

Interface: `Kind`, `Subresource`, `Selectable`. A kind is written down once, in a module of `apiserver/kinds/`, or made
from data at run time; the `Registry` holds those that are served. Nothing outside asks which kind something is.

Hooks get objects as the kind's model holds them. They may change `obj` and `new`, never `old`; only `allocate` and
`release` do I/O.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from lightkube.core.resource import Resource

from api.errors import FieldError
from apiserver import codec
from apiserver.registry import names
from apiserver.registry.columns import AGE, NAME, Column
from apiserver.registry.facts import Reader, Selectable, reader
from apiserver.registry.model import Documents, Model, Structs

Handler = Callable[[Any], Awaitable[Any]]
"""Answers a `Call` (apiserver/verbs/call.py)."""
Rule = Callable[[Any], Iterable[FieldError]]
"""What is wrong with an object."""
ChangeRule = Callable[[Any, Any], Iterable[FieldError]]
"""What is wrong with a change: gets the new object and the old one."""

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, eq=False)
class Subresource:
    """What hangs below an object's path: who answers each verb."""

    name: str
    handlers: Mapping[str, Handler]
    takes: type | None = None
    """The class it takes and answers with, where that is not the kind itself."""
    tail: bool = False
    """Whether the path may go on, as below `proxy`."""
    query: Mapping[str, str] | None = None
    """Of one that answers with text or a tunnel and not with an object: the types of its query parameters."""


@dataclass(frozen=True, eq=False)
class Conversion:
    """How a version of a kind that is not the stored one becomes it, and back: both over plain documents."""

    stored: Kind
    to_stored: Callable[[dict[str, Any]], dict[str, Any]]
    from_stored: Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of object in one version (https://kubernetes.io/docs/reference/using-api/api-concepts/)."""

    objects: type[Resource] | Documents

    # How clients name and see it.
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    singular: str = ""
    subresources: tuple[Subresource, ...] = ()
    selectable: tuple[str | Selectable, ...] = ()
    """Field selectors beside metadata.name and metadata.namespace."""
    columns: tuple[Column, ...] = (NAME, AGE)
    conversion: Conversion | None = None
    create: Callable[[Any, Any], Awaitable[Any]] | None = None
    """For kinds that are answered and not stored (reviews): gets the `Call` and the object, returns the answer."""

    compute: Callable[[Any, str], Awaitable[list[dict[str, Any]]]] | None = None
    """For kinds that are worked out and not stored (metrics): gets the `Backend` and a namespace (empty: all),
    returns the objects there are now, as documents."""

    # What a write fills in. The status of a new object is `initial_status`, whatever its creator wrote.
    defaults: Callable[[Any], None] = lambda obj: None
    initial_status: Callable[[Any], Any] = lambda obj: None
    describes_itself: bool = False
    """Whether the creator writes the status too (nodes)."""
    fixed: tuple[str, ...] = ()
    """Paths that an update silently leaves as they are."""
    prepare_create: Callable[[Any], None] = lambda obj: None
    prepare_update: Callable[[Any, Any], None] = lambda new, old: None
    prepare_status: Callable[[Any, Any], None] = lambda new, old: None
    stamp_requester: Callable[[Any, Any], None] = lambda obj, user: None
    """Note who creates the object, for kinds that carry it."""
    counts_generations: bool = False
    """Whether metadata.generation counts the changes of what is specified."""
    specification: Callable[[Any], Any] = lambda obj: getattr(obj, "spec", None)
    create_on_update: bool = False
    """Whether PUT to a name that does not exist creates it (leases, events)."""

    # What is refused, or remarked upon.
    name_rule: names.Rule = names.dns_subdomain
    rules: tuple[Rule, ...] = ()
    immutable: tuple[str, ...] = ()
    change_rules: tuple[ChangeRule, ...] = ()
    status_rules: tuple[ChangeRule, ...] = ()
    warnings: Callable[[Any], list[str]] = lambda obj: []
    admission: tuple[Any, ...] = ()
    """Plug-ins (admission/base.py) that look at this kind alone."""

    # Deletion.
    grace_seconds: Callable[[Any, int | None], int] = lambda obj, requested: 0
    """How long the object stays after its deletion was asked for, given what the client asked."""
    begin_deletion: Callable[[Any], None] = lambda obj: None
    is_held: Callable[[Any], bool] = lambda obj: False
    """Whether something beside metadata.finalizers keeps a deleted object."""
    immortal: frozenset[str] = frozenset()
    """Names that may not be deleted."""
    returns_deleted: bool = False
    """Whether a finished deletion answers with the object and not with a Status."""
    expires: Callable[[bytes], datetime] | None = None
    """When a stored object was last of interest, for kinds that are kept for --event-ttl only."""

    # What an object holds of the cluster: addresses and ports.
    allocate: Callable[..., Awaitable[None]] | None = None
    """`(new, old, backend, dry_run=)`: take what `new` needs and `old` (None: a create) has not."""
    release: Callable[..., Awaitable[None]] | None = None
    """`(obj, backend, keep=None)`: give back what `obj` held and `keep` does not."""
    repair: Callable[[Any], Awaitable[int]] | None = None
    """`(backend)`, now and then: give back what no object holds, after crashes and writes of unknown outcome."""

    # Names.

    @cached_property
    def model(self) -> Model:
        return self.objects if isinstance(self.objects, Documents) else Structs(self.objects)

    @cached_property
    def group(self) -> str:
        return self.model.info.group

    @cached_property
    def version(self) -> str:
        return self.model.info.version

    @cached_property
    def kind(self) -> str:
        return self.model.info.kind

    @cached_property
    def api_version(self) -> str:
        """`v1` or `apps/v1`, as in an object's apiVersion."""
        return self.model.info.api_version

    @cached_property
    def plural(self) -> str:
        return self.model.info.plural

    @cached_property
    def namespaced(self) -> bool:
        return self.model.info.namespaced

    @cached_property
    def singular_name(self) -> str:
        return self.singular or self.kind.lower()

    @cached_property
    def qualified(self) -> str:
        """`deployments.apps`, or just `pods` in the core group: how messages and keys name the resource."""
        return self.model.info.qualified

    @cached_property
    def verbs(self) -> tuple[str, ...]:
        if self.compute:
            return ("get", "list")
        return ("create",) if self.create else VERBS

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """The REST path of the collection, or of one object when `name` is given."""
        return self.model.info.path(namespace, name)

    # What follows from the above.

    @cached_property
    def stored(self) -> Kind:
        """The version of this kind that is stored: mostly itself."""
        return self.conversion.stored if self.conversion else self

    @cached_property
    def below(self) -> Mapping[str, Subresource]:
        """Subresources by name."""
        return {each.name: each for each in self.subresources}

    @cached_property
    def has_status(self) -> bool:
        return "status" in self.below

    @cached_property
    def fields(self) -> tuple[Selectable, ...]:
        """Every field selector."""
        chosen = [Selectable(each) if isinstance(each, str) else each for each in self.selectable]
        return (Selectable("metadata.name"), Selectable("metadata.namespace"), *chosen)

    @cached_property
    def facts(self) -> Reader:
        """Reads labels and selectable fields from a stored object's bytes."""
        return reader(self.kind, self.fields)

    # Between what is stored and what a client of this version sees.

    def shown(self, value: bytes) -> bytes:
        """Stored bytes as this version shows them."""
        if self.conversion is None:
            return value
        return codec.encode(self.conversion.from_stored(codec.to_document(value)))

    def read(self, document: codec.Document, validation: codec.FieldValidation) -> codec.Decoded:
        """A client's document of this version as an object of the stored one. Raises BadRequest and Invalid."""
        decoded = self.model.read(document, validation)
        if self.conversion is None:
            return decoded
        stored = self.conversion.to_stored(codec.to_document(self.model.encode(decoded.obj)))
        again = self.stored.model.read(codec.Document(stored), codec.FieldValidation.IGNORE)
        return codec.Decoded(again.obj, decoded.warnings)
