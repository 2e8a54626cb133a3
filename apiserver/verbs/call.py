"""One request to one kind: what every verb gets.

Interface: `Call`, and `answer` for what all writes answer with.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from apiserver import codec
from apiserver.backend import Backend
from apiserver.http import render
from apiserver.http.request import Request, negotiate
from apiserver.http.responses import Response
from apiserver.registry.kind import Kind
from apiserver.registry.store import ObjectStore, Outcome
from apiserver.registry.write import Part, Write
from apiserver.verbs.reach import reach, read_version


@dataclass
class Call:
    """`kind` is the version the client named; `store` holds the stored one."""

    backend: Backend
    kind: Kind
    request: Request

    @cached_property
    def store(self) -> ObjectStore:
        return ObjectStore(self.kind.stored, self.backend)

    @property
    def is_served(self) -> bool:
        """Whether the kind is still there; it may go while a request waits."""
        kind = self.kind
        return self.backend.registry.find(kind.group, kind.version, kind.plural) is kind

    @property
    def name(self) -> str:
        return self.request.info.name

    @property
    def namespace(self) -> str:
        """The namespace part of keys: none for cluster-scoped kinds, although /namespaces/x names itself."""
        return self.request.info.namespace if self.kind.namespaced else ""

    def write(self, *, part: Part = Part.OBJECT, applying: bool = False, name: str | None = None) -> Write:
        """What this request wants to do, for the store."""
        request = self.request
        return Write(
            self.backend,
            self.kind.stored,
            self.namespace,
            self.name if name is None else name,
            user=request.user,
            subresource=request.info.subresource,
            part=part,
            manager=request.field_manager,
            applying=applying,
            dry_run=request.dry_run,
            authorize=request.authorize,
        )

    def read_as(self, cls: type) -> codec.Decoded:
        """The body as an object of a class, for what is not of this kind (a Scale, a Binding)."""
        request = self.request
        document = codec.read_document(request.body, request.media_type)
        return codec.decode(document, cls, validation=request.field_validation)

    def read(self) -> codec.Decoded:
        """The body as an object of the stored kind."""
        request = self.request
        return self.kind.read(codec.read_document(request.body, request.media_type), request.field_validation)

    async def stored(self) -> bytes:
        """The stored bytes of the object named. Raises NotFound."""
        await reach(self.backend, read_version(self.request.query.get("resourceVersion")))
        entry = self.backend.cache.get(self.store.key(self.namespace, self.name))
        if entry is None:
            raise self.store.not_found(self.name)
        return entry.value

    def written(self, outcome: Outcome, warnings: list[str]) -> Response:
        """The object after a write, in the form asked for."""
        form = negotiate(self.request.accept)
        status = 201 if outcome.created else 200
        if form.transform or form.media_type != codec.JSON:
            response = render.one(self.kind, form, outcome.value, status=status)
        else:
            response = Response(self.kind.shown(outcome.value), status)
        return response.warn([*warnings, *outcome.warnings])

    @property
    def include_object(self) -> str:
        """How much of each object a table row carries: None, Metadata or Object."""
        return self.request.query.get("includeObject") or "Metadata"


def object_answer(obj: Any, call: Call, status: int = 200) -> Response:
    """An object that is not stored (a Scale, a review), in the media type asked for."""
    return render.plain(codec.encode_object(obj), negotiate(call.request.accept), status)
