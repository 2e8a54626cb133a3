"""The generic endpoint: every verb on every kind, by one code path.

Interface: `ResourceApi.handle(request) -> Response | Stream`. What differs between kinds is in the table of kinds and
in `strategy/`; what the verbs of subresources do is in `subresources/`.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from lightkube.models.meta_v1 import DeleteOptions, Status, StatusDetails

from api.errors import (
    BadRequest,
    Conflict,
    Expired,
    MethodNotAllowed,
    NotFound,
)
from api.kinds import KINDS, Kind, by_plural
from apiserver import codec, lists, patch, render, watch
from apiserver.backend import Backend
from apiserver.request import Request, negotiate, truth
from apiserver.responses import Response, Stream
from apiserver.storage.base import Compacted, Record
from apiserver.storage.cache import Entry
from apiserver.store import ObjectStore, Outcome, Part
from apiserver.subresources import Subresources

DELETE_CONCURRENCY = 16


class ResourceApi:
    """All kinds over one backend."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.stores = {kind.qualified: ObjectStore(kind, backend) for kind in KINDS}
        self.subresources = Subresources(self)

    async def handle(self, request: Request) -> Response | Stream:
        """Answer one request. Raises ApiStatusError and storage errors; the app turns them into Status."""
        info = request.info
        kind = by_plural(info.group, info.version, info.resource)
        if kind is None or (info.namespace and not kind.namespaced and info.resource != "namespaces"):
            raise NotFound.path()
        if kind.namespaced and info.name and not info.namespace and not info.fields:
            raise NotFound.path()
        store = self.stores[kind.qualified]
        if info.subresource:
            return await self.subresources.handle(store, request)
        match info.verb:
            case "get" if info.name:
                if "watch" in request.query and truth(request.query["watch"]):
                    return await self.watch_objects(store, request)
                return await self.get(store, request)
            case "list":
                return await self.list_objects(store, request)
            case "watch":
                return await self.watch_objects(store, request)
            case "create" if not info.name and (info.namespace or not kind.namespaced):
                return await self.create(store, request)
            case "update" if info.name:
                return await self.update(store, request)
            case "patch" if info.name:
                return await self.patch(store, request)
            case "delete":
                return await self.delete(store, request)
            case "deletecollection" if info.namespace or not kind.namespaced:
                return await self.delete_collection(store, request)
        raise MethodNotAllowed()

    # Reads

    async def get(self, store: ObjectStore, request: Request) -> Response:
        value = await self.read(store, request)
        form = negotiate(request.accept)
        if not form.transform and form.media_type == codec.JSON:
            return Response(value)
        return render.one(store.kind, form, value, include_object=_include_object(request))

    async def read(self, store: ObjectStore, request: Request) -> bytes:
        """The bytes of the object that a request names."""
        info = request.info
        await lists.reach(self.backend, lists.read_version(request.query.get("resourceVersion")))
        entry = self.backend.cache.get(store.key(self.namespace(store, request), info.name))
        if entry is None:
            raise store.not_found(info.name)
        return entry.value

    def namespace(self, store: ObjectStore, request: Request) -> str:
        """The namespace part of keys: none for cluster-scoped kinds, although /namespaces/x names itself."""
        return request.info.namespace if store.kind.namespaced else ""

    async def list_objects(self, store: ObjectStore, request: Request) -> Response:
        form = negotiate(request.accept)
        query = lists.Query.read(store.kind, request)
        page = await lists.fetch(store.kind, self.backend, query, self.namespace(store, request))
        return render.many(store.kind, form, page, include_object=_include_object(request))

    async def watch_objects(self, store: ObjectStore, request: Request) -> Stream:
        form = negotiate(request.accept)
        query = lists.Query.read(store.kind, request)
        namespace = self.namespace(store, request)
        initial = truth(request.query.get("sendInitialEvents"))
        seconds = request.integer("timeoutSeconds")
        if initial and query.match != "NotOlderThan":
            raise BadRequest("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        # resourceVersion unset or 0 means: first everything there is. With a version, only what came after it.
        listed = initial or (not query.version and "sendInitialEvents" not in request.query)
        if listed or not query.version:
            await lists.reach(self.backend, query.version)
        plan = self._plan(store.kind, query, namespace, listed=listed)
        plan.render = render.event_render(store.kind, form, include_object=_include_object(request))
        plan.bookmarks = truth(request.query.get("allowWatchBookmarks"))
        plan.initial_end = self.backend.cache.version if initial and plan.bookmarks else None
        plan.timeout_seconds = float(seconds) if seconds else None
        return Stream(watch.events(plan))

    def _plan(self, kind: Kind, query: lists.Query, namespace: str, *, listed: bool) -> watch.Plan:
        cache = self.backend.cache
        since = cache.version if listed or not query.version else query.version
        try:
            watcher = cache.watch(kind.qualified, namespace, since=since)
        except Compacted:
            raise Expired(f"too old resource version: {since}") from None
        initial: list[Entry] = cache.list(kind.qualified, namespace) if listed else []
        return watch.Plan(kind, watcher, query.selects(), initial=initial)

    # Writes

    def decode(self, request: Request, cls: type) -> codec.Decoded:
        document = codec.read_document(request.body, request.media_type)
        return codec.decode(document, cls, validation=request.field_validation)

    async def create(self, store: ObjectStore, request: Request) -> Response:
        decoded = self.decode(request, store.kind.resource)
        metadata = decoded.obj.metadata
        request.check_created((metadata and metadata.name) or "")
        store.strategy.set_requester(decoded.obj, request.user)
        outcome = await store.create(decoded.obj, namespace=self.namespace(store, request), dry_run=request.dry_run)
        return self.written(store, request, outcome, decoded.warnings)

    def written(
        self, store: ObjectStore, request: Request, outcome: Outcome, warnings: list[str] | None = None
    ) -> Response:
        form = negotiate(request.accept)
        status = 201 if outcome.created else 200
        if form.transform or form.media_type != codec.JSON:
            response = render.one(store.kind, form, outcome.value, status=status)
        else:
            response = Response(outcome.value, status)
        return response.warn([*(warnings or []), *outcome.warnings])

    async def update(self, store: ObjectStore, request: Request, *, part: Part = Part.OBJECT) -> Response:
        decoded = self.decode(request, store.kind.resource)
        obj = decoded.obj
        name, namespace = request.info.name, self.namespace(store, request)
        self._check_name(store, obj, name, namespace)
        version = obj.metadata.resourceVersion if obj.metadata else None
        body = codec.encode(obj)

        def replace(old: Any, current: Entry | Record) -> Any:
            if version and version != str(current.version):
                raise Conflict.of(qualified=store.kind.qualified, name=name)
            return store.decode(body)

        try:
            outcome = await store.update(namespace, name, replace, part=part, dry_run=request.dry_run)
        except NotFound:
            if not store.strategy.create_on_update or part is not Part.OBJECT or version:
                raise
            outcome = await store.create(obj, namespace=namespace, name=name, dry_run=request.dry_run)
        return self.written(store, request, outcome, decoded.warnings)

    def _check_name(self, store: ObjectStore, obj: Any, name: str, namespace: str) -> None:
        metadata = obj.metadata
        given = metadata.name if metadata else None
        if not given:
            raise BadRequest(
                "name must be provided"
                if metadata is None or given is None
                else f"the name of the object is empty, expected {name}"
            )
        if given != name:
            raise BadRequest(f"the name of the object ({given}) does not match the name on the URL ({name})")
        if metadata.namespace and metadata.namespace != namespace and store.kind.namespaced:
            was = metadata.namespace
            raise BadRequest(
                f"the namespace of the object ({was}) does not match the namespace on the URL ({namespace})"
            )

    async def patch(self, store: ObjectStore, request: Request, *, part: Part = Part.OBJECT) -> Response:
        outcome, warnings = await patch.apply(store, request, self.namespace(store, request), part=part)
        return self.written(store, request, outcome, warnings)

    # Deletes

    def delete_options(self, request: Request) -> DeleteOptions:
        """From the body, or from query parameters. Raises BadRequest."""
        if request.body:
            document = codec.read_document(request.body, request.media_type)
            if isinstance(
                document.value, dict
            ):  # clients write the group of the resource here, or v1: all are the same
                document.value.pop("apiVersion", None)
            return codec.decode(document, DeleteOptions, validation=codec.FieldValidation.IGNORE).obj  # type: ignore[no-any-return]
        query = request.query
        return DeleteOptions(
            gracePeriodSeconds=request.integer("gracePeriodSeconds"),
            propagationPolicy=query.get("propagationPolicy") or None,
            orphanDependents=truth(query["orphanDependents"]) if "orphanDependents" in query else None,
            dryRun=[query["dryRun"]] if query.get("dryRun") else None,
        )

    def _checked_options(self, request: Request) -> tuple[DeleteOptions, bool]:
        options = self.delete_options(request)
        if options.propagationPolicy not in (None, "Orphan", "Background", "Foreground"):
            raise BadRequest(
                f'invalid DeleteOptions: propagationPolicy: Unsupported value: "{options.propagationPolicy}": '
                'supported values: "Background", "Foreground", "Orphan"'
            )
        if options.propagationPolicy is not None and options.orphanDependents is not None:
            raise BadRequest("orphanDependents and deletionPropagation cannot be both set")
        dry_run = request.dry_run or bool(options.dryRun)
        return options, dry_run

    async def delete(self, store: ObjectStore, request: Request) -> Response:
        options, dry_run = self._checked_options(request)
        name = request.info.name
        outcome = await store.delete(self.namespace(store, request), name, options, dry_run=dry_run)
        if outcome.gone and store.kind.qualified != "pods":
            return Response(codec.encode(_success(store, outcome)))
        return self.written(store, request, outcome)

    async def delete_collection(self, store: ObjectStore, request: Request) -> Response:
        options, dry_run = self._checked_options(request)
        query = lists.Query.read(store.kind, request)
        page = await lists.fetch(store.kind, self.backend, query, self.namespace(store, request))
        gate = asyncio.Semaphore(DELETE_CONCURRENCY)

        async def delete(entry: Entry) -> None:
            async with gate:
                with contextlib.suppress(NotFound):  # someone else was quicker, and that is all right
                    await store.delete(entry.namespace, entry.name, options, dry_run=dry_run)

        results = await asyncio.gather(*(delete(entry) for entry in page.entries), return_exceptions=True)
        for each in results:
            if isinstance(each, BaseException):
                raise each
        return render.many(store.kind, negotiate(request.accept), page)


def _include_object(request: Request) -> str:
    """How much of each object a table row carries: None, Metadata or Object."""
    return request.query.get("includeObject") or "Metadata"


def _success(store: ObjectStore, outcome: Outcome) -> Status:
    metadata = store.decode(outcome.value).metadata
    details = StatusDetails(
        name=metadata.name, group=store.kind.group or None, kind=store.kind.plural, uid=metadata.uid
    )
    return Status(apiVersion="v1", kind="Status", metadata=None, status="Success", details=details)
