"""GET of kinds that are worked out at the moment they are asked for: one object or all, in every form, by selectors."""

from __future__ import annotations

from typing import Any

from api.errors import NotFound
from apiserver import codec
from apiserver.http import render
from apiserver.http.page import Page
from apiserver.http.request import negotiate
from apiserver.http.responses import Response
from apiserver.registry.kind import Kind
from apiserver.storage.base import Record, resource_key
from apiserver.storage.cache import Entry
from apiserver.verbs.call import Call
from apiserver.verbs.list import Query


async def list_all(call: Call) -> Response:
    query = Query.read(call.kind, call.request)
    selects = query.selects() or (lambda entry: True)
    entries = [entry for entry in await _entries(call) if selects(entry)]
    page = Page(entries, call.backend.cache.version)
    return render.many(call.kind, negotiate(call.request.accept), page, include_object=call.include_object)


async def get(call: Call) -> Response:
    """Raises NotFound."""
    for entry in await _entries(call):
        if entry.name == call.name:
            form = negotiate(call.request.accept)
            return render.one(call.kind, form, entry.value, include_object=call.include_object)
    raise NotFound.of(qualified=call.kind.qualified, name=call.name)


async def _entries(call: Call) -> list[Entry]:
    assert call.kind.compute is not None
    documents = await call.kind.compute(call.backend, call.namespace)
    return [_entry(call.kind, each) for each in documents]


def _entry(kind: Kind, document: dict[str, Any]) -> Entry:
    value = codec.encode({"kind": kind.kind, "apiVersion": kind.api_version} | document)
    metadata = document["metadata"]
    key = resource_key(kind.qualified, metadata.get("namespace", ""), metadata["name"])
    return Entry(Record(key, value, 0), kind.facts(value))
