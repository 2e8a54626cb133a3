"""Which kinds the server has and how people name them: `po`, `pods`, `pod`, `Pod`, `deployments.apps`.

Kubernetes: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#aggregated-discovery
`Kinds` is pure. `load` keeps the server's answer for CACHE_SECONDS in the user's cache folder; a name that is not
found there makes the caller ask again (session.py), so new kinds are seen at once.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

CACHE_SECONDS = 600.0
ACCEPT = ",".join(f"application/json;g=apidiscovery.k8s.io;v={v};as=APIGroupDiscoveryList" for v in ("v2", "v2beta1"))


@dataclass(frozen=True)
class Kind:
    """A kind in one of its versions."""

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """`deployments.apps`, or `pods` in the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """`deployment.apps`, or `pod`: how output names an object's kind."""
        return f"{self.kind.lower()}.{self.group}" if self.group else self.kind.lower()

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """The REST path of the collection, or of one object."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{root}{scope}/{self.plural}" + (f"/{name}" if name else "")


class Kinds:
    """The server's kinds, the core group first, each group's preferred version before its others."""

    def __init__(self, rows: Iterable[Kind]) -> None:
        self.rows = list(rows)

    def by_name(self, name: str) -> Kind | None:
        """The kind meant by a plural, singular or short name or a Kind; `.group` or `.version.group` may follow."""
        wanted, _, rest = name.lower().partition(".")
        candidates = [each for each in self.rows if not rest or rest in (each.group, f"{each.version}.{each.group}")]
        by_full = (each for each in candidates if wanted in (each.plural, each.singular, each.kind.lower()))
        by_short = (each for each in candidates if wanted in each.short_names)
        return next(by_full, None) or next(by_short, None)

    def by_kind(self, api_version: str, kind: str) -> Kind | None:
        """The kind an object says it is."""
        return next((each for each in self.rows if each.api_version == api_version and each.kind == kind), None)

    def in_category(self, name: str) -> list[Kind]:
        """The members of a category such as `all`."""
        return [each for each in self.rows if name in each.categories]


Fetch = Callable[[str], Mapping[str, Any]]
"""GET of a path with the header `Accept: {ACCEPT}`, decoded."""


def load(host: str, fetch: Fetch, *, fresh: bool = False) -> Kinds:
    """The kinds of the server at `host`: from the cache, or asked for now if `fresh` or if there is none."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "minik/discovery"
    path = folder / (re.sub(r"[^\w.-]", "_", host) + ".json")
    if not fresh and (rows := _read_cache(path)) is not None:
        return Kinds(rows)
    rows = [row for root in ("/api", "/apis") for row in read(fetch(root))]
    _write_cache(path, rows)
    return Kinds(rows)


def read(groups: Mapping[str, Any]) -> Iterable[Kind]:
    """The kinds in an APIGroupDiscoveryList. Pure."""
    for group in groups.get("items") or []:
        for version in group["versions"]:
            for each in version.get("resources") or []:
                kind = (each.get("responseKind") or {}).get("kind") or ""
                yield Kind(
                    group=group["metadata"].get("name") or "",
                    version=version["version"],
                    plural=each["resource"],
                    singular=each.get("singularResource") or kind.lower(),
                    kind=kind,
                    namespaced=each.get("scope") == "Namespaced",
                    short_names=tuple(each.get("shortNames") or ()),
                    categories=tuple(each.get("categories") or ()),
                    subresources=tuple(sub["subresource"] for sub in each.get("subresources") or ()),
                )


def _read_cache(path: Path) -> list[Kind] | None:
    try:
        if time.time() - path.stat().st_mtime > CACHE_SECONDS:
            return None
        return [_from_cache(**row) for row in json.loads(path.read_bytes())]
    except (OSError, ValueError, TypeError):
        return None


def _from_cache(**row: Any) -> Kind:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    return Kind(**fields)


def _write_cache(path: Path, rows: list[Kind]) -> None:
    """Replace the cache in one step, so that two commands at once never read half of it. A cache that cannot be
    written is no error."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w") as file:
            json.dump([asdict(row) for row in rows], file)
        os.replace(name, path)
