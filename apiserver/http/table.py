"""Server-side printing: the Table (meta.k8s.io/v1) that kubectl and minikctl show.

Interface: `row(kind, value, include)` and `document(kind, rows, version, ...)`, both bytes. The cells are computed by
the kind's columns.
"""

from __future__ import annotations

from typing import Any

import msgspec

from apiserver import codec
from apiserver.registry.kind import Kind


class _Partial(msgspec.Struct):
    metadata: msgspec.Raw


_partial = msgspec.json.Decoder(_Partial)


def row(kind: Kind, value: bytes, include: str) -> bytes:
    """One object as a row; `include` (None, Metadata or Object) says how much of it goes along."""
    document = codec.to_document(value)
    cells = codec.encode([column.cell(document) for column in kind.columns])
    return b'{"cells":%b,"object":%b}' % (cells, _embedded(value, include))


def _embedded(value: bytes, include: str) -> bytes:
    if include == "None":
        return b"null"
    if include == "Object":
        return value
    metadata = bytes(_partial.decode(value).metadata)
    return b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":%b}' % metadata


def document(
    kind: Kind,
    rows: list[bytes],
    version: str,
    table_version: str,
    *,
    token: str = "",
    remaining: int | None = None,
    columns: bool = True,
) -> bytes:
    """The Table around rows. Later events of a watch leave out the column definitions."""
    metadata: dict[str, Any] = {"resourceVersion": version}
    if token:
        metadata["continue"] = token
        if remaining is not None:
            metadata["remainingItemCount"] = remaining
    return b'{"kind":"Table","apiVersion":"meta.k8s.io/%b","metadata":%b,"columnDefinitions":%b,"rows":[%b]}' % (
        (table_version or "v1").encode(),
        codec.encode(metadata),
        codec.encode([each.definition for each in kind.columns]) if columns else b"null",
        b",".join(rows),
    )
