"""DELETE of a collection: everything a list with the same selectors would show."""

from __future__ import annotations

import asyncio
import contextlib

from api.errors import NotFound
from apiserver.http import render
from apiserver.http.request import negotiate
from apiserver.http.responses import Response
from apiserver.storage.cache import Entry
from apiserver.verbs import list as lists
from apiserver.verbs.call import Call
from apiserver.verbs.delete import read_options, with_options

CONCURRENCY = 16


async def handle(call: Call) -> Response:
    options = read_options(call.request)
    query = lists.Query.read(call.kind, call.request)
    page = await lists.fetch(call.kind, call.backend, query, call.namespace)
    gate = asyncio.Semaphore(CONCURRENCY)

    async def delete(entry: Entry) -> None:
        write = with_options(call.write(name=entry.name), options)
        write.namespace = entry.namespace
        async with gate:
            with contextlib.suppress(NotFound):  # someone else was quicker, and that is all right
                await call.store.delete(write, options)

    results = await asyncio.gather(*(delete(entry) for entry in page.entries), return_exceptions=True)
    for each in results:
        if isinstance(each, BaseException):
            raise each
    return render.many(call.kind, negotiate(call.request.accept), page)
