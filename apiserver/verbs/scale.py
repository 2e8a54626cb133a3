"""`scale`: the number of replicas of a workload, in one shape for all kinds that have one (autoscaling/v1 Scale)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lightkube.models.autoscaling_v1 import Scale, ScaleSpec, ScaleStatus
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta

from api.errors import BadRequest, Invalid, invalid
from api.selectors import from_label_selector, from_map
from apiserver import codec
from apiserver.http.responses import Response
from apiserver.registry import fields
from apiserver.registry.kind import Subresource
from apiserver.registry.store import Stored
from apiserver.schema.node import of_class
from apiserver.verbs.call import Call, object_answer
from apiserver.verbs.patch import patcher_for


@dataclass(frozen=True)
class Scaling:
    """Where in an object the numbers and the selector are."""

    replicas: str = "spec.replicas"
    present: str = "status.replicas"
    selector: str = "spec.selector"

    def read(self, obj: Any) -> Scale:
        metadata = obj.metadata
        return Scale(
            metadata=ObjectMeta(
                name=metadata.name,
                namespace=metadata.namespace,
                uid=metadata.uid,
                resourceVersion=metadata.resourceVersion,
                creationTimestamp=metadata.creationTimestamp,
            ),
            spec=ScaleSpec(replicas=fields.get(obj, self.replicas) or 0),
            status=ScaleStatus(
                replicas=fields.get(obj, self.present) or 0, selector=_text(fields.get(obj, self.selector))
            ),
        )

    async def get(self, call: Call) -> Response:
        return self._answer(call, await call.stored(), [])

    def _answer(self, call: Call, value: bytes, warnings: list[str]) -> Response:
        return object_answer(self.read(call.store.kind.model.decode(value)), call).warn(warnings)

    async def update(self, call: Call) -> Response:
        decoded = call.read_as(Scale)
        given = decoded.obj.metadata and decoded.obj.metadata.name
        if given and given != call.name:
            raise BadRequest(f"the name of the object ({given}) does not match the name on the URL ({call.name})")
        return await self._write(call, lambda obj: decoded)

    async def patch(self, call: Call) -> Response:
        body = codec.read_document(call.request.body, call.request.media_type)
        patcher = patcher_for(call.request.media_type, body.value, of_class(Scale))

        def patched(obj: Any) -> codec.Decoded:
            document = patcher(codec.to_document(codec.encode(self.read(obj))))
            return codec.decode(codec.Document(document), Scale, validation=call.request.field_validation)

        return await self._write(call, patched)

    async def _write(self, call: Call, wanted: Callable[[Any], codec.Decoded]) -> Response:
        warnings: list[str] = []

        def change(obj: Any, current: Stored) -> Any:
            decoded = wanted(obj)
            warnings[:] = decoded.warnings
            scale: Scale = decoded.obj
            version, replicas = scale.metadata and scale.metadata.resourceVersion, fields.get(scale, "spec.replicas")
            if version and version != str(current.version):
                raise call.store.conflict(call.name)
            if (replicas or 0) < 0:
                errors = [invalid("spec.replicas", replicas, "must be greater than or equal to 0")]
                raise Invalid.of(kind="Scale", group="autoscaling", name=call.name, errors=errors)
            fields.put(obj, self.replicas, replicas or 0)
            return obj

        outcome = await call.store.update(call.write(), change)
        return self._answer(call, outcome.value, warnings)


def _text(selector: Any) -> str | None:
    """A selector as text: a LabelSelector, a plain map, or text already (custom resources)."""
    if not selector or isinstance(selector, str):
        return selector or None
    return str(from_label_selector(selector) if isinstance(selector, LabelSelector) else from_map(selector))


def scaled(scaling: Scaling) -> Subresource:
    """The subresource of a kind that keeps its numbers elsewhere."""
    handlers = {"get": scaling.get, "update": scaling.update, "patch": scaling.patch}
    return Subresource("scale", handlers, takes=Scale)


SCALE = scaled(Scaling())
