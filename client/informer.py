"""A local cache of one kind, fed by list + watch: client-go's shared informer and lister.

Invariants
- Objects in the cache are shared: readers never change them (`api.meta.clone` first).
- Callbacks run in the event loop, in the order of events, after the cache holds the new state.
- A lost watch resumes from the last version seen; 410 Expired lists again, and the difference to the cache is
  delivered as ordinary changes, deletions included. Nothing is polled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import httpx2
import msgspec
from lightkube import ApiError

from api import meta
from api.resource import ResourceInfo, resource_info
from client import rest
from client.backoff import Backoff
from client.config import Client

R = TypeVar("R")
Change = Callable[[R | None, R | None], None]
IndexFunc = Callable[[R], Iterable[str]]

PAGE_SIZE = 500
BACKOFF = Backoff(0.1, 2.0)

log = logging.getLogger("informer")


class Informer(Generic[R]):
    """The objects of one kind, in one namespace or all ("*"), optionally filtered by selectors (as text).

    `info` names a kind that has no class of its own; `resource` is then rest.PartialObjectMetadata.
    """

    def __init__(
        self,
        client: Client,
        resource: type[R],
        *,
        namespace: str = "*",
        labels: str | None = None,
        fields: str | None = None,
        info: ResourceInfo | None = None,
    ) -> None:
        self._client = client
        self._resource = resource
        self._info = info or resource_info(resource)
        self._namespace = None if namespace == "*" else namespace
        selectors = {"labelSelector": labels, "fieldSelector": fields}
        self._params = {name: text for name, text in selectors.items() if text}
        self._objects: dict[str, R] = {}
        self._indexes: dict[str, _Index[R]] = {}
        self._callbacks: list[Change[R]] = []
        self._version = ""
        self._synced = asyncio.Event()

    # Reading

    def get(self, key: str) -> R | None:
        """The object under `namespace/name` (or `name`), as last seen."""
        return self._objects.get(key)

    def by_index(self, index: str, value: str) -> list[R]:
        """The objects for which the index's function named `value`."""
        return [self._objects[key] for key in self._indexes[index].keys.get(value, ())]

    def list(self, namespace: str | None = None) -> list[R]:
        """Everything in the cache, or in one namespace of it."""
        if namespace is None:
            return list(self._objects.values())
        return [obj for obj in self._objects.values() if meta.namespace(obj) == namespace]

    def add_index(self, name: str, values_of: IndexFunc[R]) -> None:
        """Keep a lookup by the values the function gives for an object."""
        index = self._indexes[name] = _Index(values_of)
        for key, obj in self._objects.items():
            index.update(key, None, obj)

    def on_change(self, callback: Change[R]) -> None:
        """Call `callback(old, new)` on every change; old is None for a new object, new for a deleted one.

        Whoever comes late is told of what is there already.
        """
        self._callbacks.append(callback)
        for obj in self._objects.values():
            callback(None, obj)

    @property
    def synced(self) -> bool:
        """Whether the first list has been taken in."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        await self._synced.wait()

    # Following

    async def run(self) -> None:
        """Follow the API server until cancelled; its absence is logged once and waited out."""
        failures = 0
        while True:
            before = self._version
            try:
                if not self._version:
                    await self._relist()
                await self._follow()
                # A watch that ended at once and told nothing must not become a busy loop.
                failures = 0 if self._version != before else failures + 1
            except ApiError as error:
                if error.status.code == 410:
                    self._version = ""
                    continue
                failures = self._note_failure(failures, error)
            except (httpx2.HTTPError, msgspec.MsgspecError, OSError) as error:
                failures = self._note_failure(0 if self._version != before else failures, error)
            if failures:
                await asyncio.sleep(BACKOFF.delay(failures))

    def _note_failure(self, failures: int, error: Exception) -> int:
        if failures == 1:
            log.warning("%s: lost the API server: %s", self._info.kind, str(error) or type(error).__name__)
        return failures + 1

    async def _relist(self) -> None:
        objects: dict[str, R] = {}
        params, token = {**self._params, "limit": str(PAGE_SIZE)}, ""
        while True:
            page, version, token = await rest.list_page(
                self._client, self._resource, namespace=self._namespace, params=params, info=self._info
            )
            objects.update((meta.key(obj), obj) for obj in page)
            if not token:
                break
            params["continue"] = token
        for key in self._objects.keys() - objects.keys():
            self._apply(key, None)
        for key, obj in objects.items():
            self._apply(key, obj)
        self._version = version
        self._synced.set()

    async def _follow(self) -> None:
        events = rest.watch(
            self._client,
            self._resource,
            resource_version=self._version,
            namespace=self._namespace,
            params=self._params,
            info=self._info,
        )
        async for type_, obj in events:
            if type_ != "BOOKMARK":
                self._apply(meta.key(obj), None if type_ == "DELETED" else obj)
            self._version = meta.metadata(obj).resourceVersion or self._version

    def _apply(self, key: str, new: R | None) -> None:
        old = self._objects.get(key)
        if old is None and new is None:
            return
        if old is not None and new is not None and _version(old) == _version(new):
            return
        if new is None:
            del self._objects[key]
        else:
            self._objects[key] = new
        for index in self._indexes.values():
            index.update(key, old, new)
        for callback in self._callbacks:
            try:
                callback(old, new)
            except Exception:
                log.exception("%s %s: a change handler failed", self._info.kind, key)


class _Index(Generic[R]):
    """value -> keys of the objects that have it."""

    def __init__(self, values_of: IndexFunc[R]) -> None:
        self.keys: dict[str, dict[str, None]] = {}
        self._values_of = values_of

    def update(self, key: str, old: R | None, new: R | None) -> None:
        before = set(self._values_of(old)) if old is not None else set()
        after = set(self._values_of(new)) if new is not None else set()
        for value in before - after:
            keys = self.keys[value]
            del keys[key]
            if not keys:
                del self.keys[value]
        for value in after - before:
            self.keys.setdefault(value, {})[key] = None


def _version(obj: Any) -> str | None:
    return meta.metadata(obj).resourceVersion
