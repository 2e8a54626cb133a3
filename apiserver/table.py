"""Server-side printing: the Table (meta.k8s.io/v1) that kubectl and minikctl show.

Interface: `row(kind, value, include)` and `document(kind, rows, version, ...)`, both bytes. The cells are computed by
the columns of `api/columns.py`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from api.columns import columns_of
from api.kinds import Kind
from apiserver import codec


class _Partial(msgspec.Struct):
    metadata: msgspec.Raw


_partial = msgspec.json.Decoder(_Partial)


def row(kind: Kind, value: bytes, include: str) -> bytes:
    """One object as a row; `include` (None, Metadata or Object) says how much of it goes along."""
    document = codec.to_document(value)
    cells = codec.encode([column.cell(document) for column in columns_of(kind)])
    return b'{"cells":%b,"object":%b}' % (cells, _embedded(value, include))


def _embedded(value: bytes, include: str) -> bytes:
    if include == "None":
        return b"null"
    if include == "Object":
        return value
    metadata = bytes(_partial.decode(value).metadata)
    return b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":%b}' % metadata


@cache
def _definitions(kind: Kind) -> bytes:
    return codec.encode(
        [
            {
                "name": each.name,
                "type": each.type,
                "format": each.format,
                "description": each.description or each.name,
                "priority": each.priority,
            }
            for each in columns_of(kind)
        ]
    )


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
        _definitions(kind) if columns else b"null",
        b",".join(rows),
    )
