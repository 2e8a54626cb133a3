"""POST: a new object, or the answer of a kind that is only asked and never stored."""

from __future__ import annotations

from apiserver.http.responses import Response
from apiserver.verbs.call import Call, object_answer


async def handle(call: Call) -> Response:
    decoded = call.read()
    if call.kind.create is not None:
        return object_answer(await call.kind.create(call, decoded.obj), call, 201).warn(decoded.warnings)
    return call.written(await call.store.create(call.write(), decoded.obj), decoded.warnings)
