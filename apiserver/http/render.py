"""Objects in the form the client asked for: as they are, as metadata only, or as a Table.

Interface: `one(kind, form, entry_bytes)`, `many(...)`, `event_render(...)`. As they are, nothing is decoded.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from lightkube.models.meta_v1 import ObjectMeta

from apiserver import codec
from apiserver.http import table
from apiserver.http.page import Page
from apiserver.http.request import Form
from apiserver.http.responses import Response, as_yaml
from apiserver.registry.kind import Kind
from apiserver.storage.cache import Entry

Render = Callable[[Entry, bytes], bytes]
"""An object in the form the client wants; gets the entry and the bytes to show."""


class _Partial(msgspec.Struct, omit_defaults=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


_partial = msgspec.json.Decoder(_Partial)


def partial(value: bytes, version: str) -> bytes:
    """PartialObjectMetadata of an object, its metadata copied byte for byte."""
    metadata = bytes(_partial.decode(value).metadata)
    return b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/%b","metadata":%b}' % (
        version.encode(),
        metadata,
    )


def one(kind: Kind, form: Form, value: bytes, *, status: int = 200, include_object: str = "Metadata") -> Response:
    """One object, from its stored bytes."""
    value = kind.shown(value)
    if form.transform == "Table":
        rows = [table.row(kind, value, include_object)]
        body = table.document(kind, rows, _version_of(value), form.version)
    elif form.transform:
        body = partial(value, form.version)
    else:
        body = value
    return plain(body, form, status)


class _Meta(msgspec.Struct):
    metadata: ObjectMeta | None = None


def _version_of(value: bytes) -> str:
    metadata = msgspec.json.decode(value, type=_Meta).metadata
    return (metadata and metadata.resourceVersion) or ""


def many(kind: Kind, form: Form, page: Page, *, include_object: str = "Metadata") -> Response:
    """A list."""
    values = [kind.shown(entry.value) for entry in page.entries] if kind.conversion else [e.value for e in page.entries]
    if form.transform == "Table":
        rows = [table.row(kind, value, include_object) for value in values]
        body = table.document(kind, rows, str(page.version), form.version, token=page.token, remaining=page.remaining)
    elif form.transform:
        items = [partial(value, form.version) for value in values]
        body = _list("PartialObjectMetadataList", f"meta.k8s.io/{form.version}", items, page)
    else:
        body = _list(f"{kind.kind}List", kind.api_version, values, page)
    return plain(body, form)


def _list(kind: str, api_version: str, items: list[bytes], page: Page) -> bytes:
    metadata: dict[str, object] = {"resourceVersion": str(page.version)}
    if page.token:
        metadata["continue"] = page.token
        if page.remaining is not None:
            metadata["remainingItemCount"] = page.remaining
    return b'{"kind":"%b","apiVersion":"%b","metadata":%b,"items":[%b]}' % (
        kind.encode(),
        api_version.encode(),
        codec.encode(metadata),
        b",".join(items),
    )


def plain(body: bytes, form: Form, status: int = 200) -> Response:
    """JSON as it is, or as YAML."""
    if form.media_type == codec.YAML:
        return Response(as_yaml(body), status, codec.YAML)
    return Response(body, status)


def event_render(kind: Kind, form: Form, *, include_object: str = "Metadata") -> Render | None:
    """How to show objects of a watch; None: as they are. Of a table, only the first event names the columns."""
    if form.transform == "Table":
        header = [True]

        def as_table(entry: Entry, value: bytes) -> bytes:
            columns, header[0] = header[0], False
            rows = [table.row(kind, kind.shown(value), include_object)]
            return table.document(kind, rows, str(entry.version), form.version, columns=columns)

        return as_table
    if form.transform:
        return lambda entry, value: partial(kind.shown(value), form.version)
    return (lambda entry, value: kind.shown(value)) if kind.conversion else None
