"""DELETE of one object, with options from the body or from query parameters."""

from __future__ import annotations

from lightkube.models.meta_v1 import DeleteOptions, Status, StatusDetails

from api.errors import BadRequest
from apiserver import codec
from apiserver.http.request import Request, truth
from apiserver.http.responses import Response
from apiserver.registry.store import Outcome
from apiserver.registry.write import Write
from apiserver.verbs.call import Call


async def handle(call: Call) -> Response:
    options, write = read_options(call.request), call.write()
    outcome = await call.store.delete(with_options(write, options), options)
    if outcome.gone and not call.kind.returns_deleted:
        return Response(codec.encode(_success(call, outcome)))
    return call.written(outcome, [])


def with_options(write: Write, options: DeleteOptions) -> Write:
    write.dry_run = write.dry_run or bool(options.dryRun)
    return write


def read_options(request: Request) -> DeleteOptions:
    """Raises BadRequest."""
    if request.body:
        document = codec.read_document(request.body, request.media_type)
        if isinstance(document.value, dict):  # clients write the group of the resource here, or v1: all are the same
            document.value.pop("apiVersion", None)
        options: DeleteOptions = codec.decode(document, DeleteOptions, validation=codec.FieldValidation.IGNORE).obj
    else:
        query = request.query
        options = DeleteOptions(
            gracePeriodSeconds=request.integer("gracePeriodSeconds"),
            propagationPolicy=query.get("propagationPolicy") or None,
            orphanDependents=truth(query["orphanDependents"]) if "orphanDependents" in query else None,
            dryRun=[query["dryRun"]] if query.get("dryRun") else None,
        )
    if options.propagationPolicy not in (None, "Orphan", "Background", "Foreground"):
        raise BadRequest(
            f'invalid DeleteOptions: propagationPolicy: Unsupported value: "{options.propagationPolicy}": '
            'supported values: "Background", "Foreground", "Orphan"'
        )
    if options.propagationPolicy is not None and options.orphanDependents is not None:
        raise BadRequest("orphanDependents and deletionPropagation cannot be both set")
    return options


def _success(call: Call, outcome: Outcome) -> Status:
    kind, metadata = call.kind, call.store.kind.model.decode(outcome.value).metadata
    details = StatusDetails(name=metadata.name, group=kind.group or None, kind=kind.plural, uid=metadata.uid)
    return Status(apiVersion="v1", kind="Status", metadata=None, status="Success", details=details)
