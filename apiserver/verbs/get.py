"""GET of one object: its bytes from the cache, untouched where the client takes JSON."""

from __future__ import annotations

from apiserver import codec
from apiserver.http import render
from apiserver.http.request import negotiate
from apiserver.http.responses import Response
from apiserver.verbs.call import Call


async def handle(call: Call) -> Response:
    value = await call.stored()
    form = negotiate(call.request.accept)
    if not form.transform and form.media_type == codec.JSON:
        return Response(call.kind.shown(value))
    return render.one(call.kind, form, value, include_object=call.include_object)
