"""The recorded history: a SQLite file of revisions that forgets the oldest when it is full.

    Store(path)                 the recorder's side: add(revisions), known()
    History(path)               everybody else's: revisions(...), read-only, while the recorder writes
    Revision                    one object as somebody left it: when, what, who
A revision's `at` is Unix time as the recorder saw it, seconds. A body has no managedFields (the writer was taken from
them) and a Secret no data. Ids grow in the order of recording.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT_BYTES = 64 * 1024 * 1024
"""Of the file: some 50,000 revisions of pods."""
FORGET = 0.1
"""The part that goes when it is full."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS revision (
    id INTEGER PRIMARY KEY, at REAL, verb TEXT, kind TEXT, namespace TEXT, name TEXT, uid TEXT, version TEXT,
    owner TEXT, about TEXT, writer TEXT, body BLOB
);
CREATE INDEX IF NOT EXISTS by_uid ON revision (uid);
CREATE INDEX IF NOT EXISTS by_owner ON revision (owner);
CREATE INDEX IF NOT EXISTS by_about ON revision (about);
CREATE INDEX IF NOT EXISTS by_place ON revision (namespace, kind);
"""
COLUMNS = "id, at, verb, kind, namespace, name, uid, version, owner, about, writer, body"


@dataclass(frozen=True)
class Revision:
    """verb: LISTED (there before the recorder), ADDED, MODIFIED or DELETED. owner: the controller's uid; about: the uid
    an Event is about; writer: the field manager of the change, where that is known."""

    at: float
    verb: str
    kind: str
    namespace: str
    name: str
    uid: str
    version: str
    owner: str
    about: str
    writer: str
    object: dict[str, Any]
    id: int = 0


@dataclass(frozen=True)
class Known:
    """An object as the recorder saw it last."""

    kind: str
    namespace: str
    name: str
    version: str


class Store:
    """Where the recorder puts revisions. One process, one thread."""

    def __init__(self, path: Path, *, limit: int = LIMIT_BYTES) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._limit = limit
        self._db = sqlite3.connect(path)
        # The history may lose its last moment with the machine; it never becomes unreadable.
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(SCHEMA)

    def known(self) -> dict[str, Known]:
        """By uid what was there when the recorder last looked."""
        latest = "SELECT max(id) FROM revision GROUP BY uid"
        rows = self._db.execute(
            f"SELECT uid, verb, kind, namespace, name, version FROM revision WHERE id IN ({latest})"
        )
        return {uid: Known(*fields) for uid, verb, *fields in rows if verb != "DELETED"}

    def add(self, revisions: Iterable[Revision]) -> None:
        """Keep them all, or none; forget the oldest if there is no room."""
        with self._db:
            self._db.executemany(
                f"INSERT INTO revision ({COLUMNS}) VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", map(_row, revisions)
            )
        pages, free, size = (self._pragma(name) for name in ("page_count", "freelist_count", "page_size"))
        if (pages - free) * size > self._limit:
            first, last = self._db.execute("SELECT min(id), max(id) FROM revision").fetchone()
            with self._db:
                self._db.execute("DELETE FROM revision WHERE id <= ?", (first + int((last - first) * FORGET),))

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    def close(self) -> None:
        self._db.close()


class History:
    """A recorded history, to read."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)

    def revisions(self, where: str = "1", *values: Any) -> Iterator[Revision]:
        """Those for which a condition on the columns holds, in order."""
        yield from map(_revision, self._db.execute(f"SELECT {COLUMNS} FROM revision WHERE {where} ORDER BY id", values))

    def last_id(self) -> int:
        return int(self._db.execute("SELECT coalesce(max(id), 0) FROM revision").fetchone()[0])

    def close(self) -> None:
        self._db.close()


def _row(revision: Revision) -> tuple[Any, ...]:
    body = zlib.compress(json.dumps(revision.object, separators=(",", ":")).encode(), 1)
    return (
        revision.at,
        revision.verb,
        revision.kind,
        revision.namespace,
        revision.name,
        revision.uid,
        revision.version,
        revision.owner,
        revision.about,
        revision.writer,
        body,
    )


def _revision(row: tuple[Any, ...]) -> Revision:
    return Revision(*[*row[1:-1], json.loads(zlib.decompress(row[-1])), row[0]])
