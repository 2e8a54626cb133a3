"""Lists: selection, pages with opaque continue tokens, and what resourceVersion means on a list.

Interface: `handle(call)`; `Query.read(kind, request)` and `await fetch(kind, backend, query, namespace)`.
Kubernetes: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions-in-metadata and
#retrieving-large-results-sets-in-chunks.

The first page comes from the cache; later pages are read from the store as of the first page's version, so that all
pages together are one consistent list.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec
from lightkube.models.meta_v1 import ListMeta, Status

from api.errors import BadRequest, Expired
from api.selectors import FieldSelector, LabelSelector, SelectorError, parse_field_selector, parse_label_selector
from apiserver.backend import Backend
from apiserver.http import render
from apiserver.http.page import Page
from apiserver.http.request import Request, negotiate
from apiserver.http.responses import Response
from apiserver.registry.kind import Kind
from apiserver.storage.base import Compacted, Record
from apiserver.storage.cache import Entry, Indexer
from apiserver.verbs.call import Call
from apiserver.verbs.reach import reach, read_version

SELECT_PAGE = 100
"""How many records are read at once to find the few that a selector wants."""

Selects = Callable[[Entry], bool]


class Token(msgspec.Struct, array_like=True):
    """A continue token: the version the list is as of (0: whatever is now) and the last key sent."""

    version: int
    after: str

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> Token:
        try:
            padded = text + "=" * (-len(text) % 4)
            return msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=cls)
        except (binascii.Error, msgspec.DecodeError, ValueError):
            raise BadRequest("continue key is not valid: it was not returned by this server") from None


@dataclass(slots=True)
class Query:
    """What a list or watch asks for."""

    labels: LabelSelector
    fields: FieldSelector
    limit: int = 0
    token: Token | None = None
    version: int | None = None
    match: str = ""

    @classmethod
    def read(cls, kind: Kind, request: Request) -> Query:
        query = request.query
        labels, fields = read_selectors(kind, query.get("labelSelector"), query.get("fieldSelector"))
        if request.info.name:
            only = FieldSelector((("metadata.name", True, request.info.name),))
            fields = FieldSelector((*fields.conditions, *only.conditions))
        text = query.get("continue")
        self = cls(
            labels,
            fields,
            limit=request.integer("limit") or 0,
            token=Token.read(text) if text else None,
            version=read_version(query.get("resourceVersion")),
            match=query.get("resourceVersionMatch") or "",
        )
        self._check(watching=request.info.verb == "watch", initial="sendInitialEvents" in query)
        return self

    def _check(self, *, watching: bool, initial: bool) -> None:
        if watching:
            if self.match and not initial:
                raise BadRequest("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
            return
        if self.match and self.version is None:
            raise BadRequest("resourceVersionMatch is forbidden unless resourceVersion is provided")
        if self.match not in ("", "Exact", "NotOlderThan"):
            raise BadRequest(
                f'resourceVersionMatch: Unsupported value: "{self.match}": supported values: "Exact", "NotOlderThan"'
            )
        if self.match == "Exact" and not self.version:
            raise BadRequest('resourceVersionMatch "Exact" is forbidden for resourceVersion "0"')
        if self.token and self.version:
            raise BadRequest("specifying resource version is not allowed when using continue")

    def selects(self) -> Selects | None:
        """The filter, or None when everything is wanted."""
        labels, fields = self.labels, self.fields
        if labels and fields:
            return lambda entry: labels.matches(entry.labels) and fields.matches(entry.fields)
        if labels:
            return lambda entry: labels.matches(entry.labels)
        if fields:
            return lambda entry: fields.matches(entry.fields)
        return None


def read_selectors(kind: Kind, labels: str | None, fields: str | None) -> tuple[LabelSelector, FieldSelector]:
    """Raises BadRequest for what cannot be read, and for fields this kind cannot be selected by."""
    try:
        label_selector, field_selector = parse_label_selector(labels), parse_field_selector(fields)
    except SelectorError as error:
        raise BadRequest(str(error)) from None
    for path in sorted(field_selector.paths - {each.name for each in kind.fields}):
        raise BadRequest(
            f'Unable to find "{kind.group}/{kind.version}, Resource={kind.plural}" that match label selector '
            f'"{labels or ""}", field selector "{fields}": field label not supported: {path}'
        )
    return label_selector, field_selector


async def handle(call: Call) -> Response:
    query = Query.read(call.kind, call.request)
    page = await fetch(call.kind, call.backend, query, call.namespace)
    return render.many(call.kind, negotiate(call.request.accept), page, include_object=call.include_object)


async def fetch(kind: Kind, backend: Backend, query: Query, namespace: str) -> Page:
    """Raises Expired when the wanted version is gone, Timeout when it does not come."""
    if query.token:
        return await _next_page(kind, backend, query, namespace)
    if query.match == "Exact" and query.version:
        return await _stored_page(kind, backend, query, namespace, Token(query.version, ""))
    await reach(backend, query.version)
    return _cached_page(kind, backend, query, namespace)


def _cached_page(kind: Kind, backend: Backend, query: Query, namespace: str) -> Page:
    cache = backend.cache
    entries: list[Entry] = cache.list(kind.qualified, namespace, query.labels.equalities)
    selects = query.selects()
    if selects is not None:
        entries = _select(backend, kind, query, entries, namespace, selects)
    page = Page(entries, cache.version)
    if query.limit and len(entries) > query.limit:
        page.entries = entries[: query.limit]
        page.token = str(Token(cache.version, page.entries[-1].key))
        page.remaining = len(entries) - query.limit if selects is None else None
    return page


def _select(
    backend: Backend, kind: Kind, query: Query, entries: list[Entry], namespace: str, selects: Selects
) -> list[Entry]:
    name = query.fields.exact("metadata.name")
    if name is not None and (namespace or not kind.namespaced):
        # A list of one by name, as clients do that watch a single object.
        entry = backend.cache.get(f"/{kind.qualified}/{namespace}/{name}" if namespace else f"/{kind.qualified}/{name}")
        entries = [entry] if entry else []
    return [entry for entry in entries if selects(entry)]


async def _next_page(kind: Kind, backend: Backend, query: Query, namespace: str) -> Page:
    token = query.token
    assert token is not None
    prefix = _prefix(kind, namespace)
    if not token.after.startswith(prefix):
        raise BadRequest("continue key is not valid: it belongs to another list")
    return await _stored_page(kind, backend, query, namespace, token)


def _prefix(kind: Kind, namespace: str) -> str:
    return f"/{kind.qualified}/{namespace}/" if namespace else f"/{kind.qualified}/"


async def _stored_page(kind: Kind, backend: Backend, query: Query, namespace: str, token: Token) -> Page:
    selects = query.selects()
    found: list[Entry] = []
    after, version, more = token.after, token.version, True
    while more and not (query.limit and len(found) >= query.limit):
        wanted = query.limit - len(found) if query.limit else 0
        try:
            snapshot = await backend.storage.list(
                _prefix(kind, namespace),
                limit=wanted and max(wanted, 100 if selects else wanted),
                after=after,
                version=version,
            )
        except Compacted:
            raise ExpiredToken(token) from None
        version, more = version or snapshot.version, snapshot.more
        taken, cut = _take(snapshot.records, selects, wanted, backend.registry.facts)
        found += taken
        after = cut or (snapshot.records[-1].key if snapshot.records else after)
        more = more or bool(cut)
    page = Page(found, version)
    if more and found:
        page.token = str(Token(version, after))
    return page


def _take(records: Iterable[Record], selects: Selects | None, limit: int, facts: Indexer) -> tuple[list[Entry], str]:
    """The first `limit` matching records, and the key of the last one if others were left over."""
    taken: list[Entry] = []
    for record in records:
        if limit and len(taken) == limit:
            return taken, taken[-1].key
        entry = Entry(record, facts(record))
        if selects is None or selects(entry):
            taken.append(entry)
    return taken, ""


class ExpiredToken(Expired):
    """410 for a continue token, with another that goes on from the same place in what is there now."""

    def __init__(self, token: Token) -> None:
        super().__init__(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list "
            "without the continue parameter, or use the continue token in this response to retrieve the remainder of "
            "the results. Continuing with the provided token results in an inconsistent list - objects that were "
            "created, modified, or deleted between the time the first chunk was returned and now may show up in the "
            "list."
        )
        self._token = str(Token(0, token.after))

    def to_status(self) -> Status:
        status = super().to_status()
        status.metadata = ListMeta(continue_=self._token)
        return status
