"""`pods/eviction`: a deletion that could be refused for the sake of a disruption budget; there are no budgets yet."""

from __future__ import annotations

from lightkube.models.meta_v1 import DeleteOptions
from lightkube.models.policy_v1 import Eviction

from api.errors import BadRequest
from apiserver.http.responses import Response, success
from apiserver.registry.kind import Subresource
from apiserver.verbs.call import Call
from apiserver.verbs.delete import with_options


async def create(call: Call) -> Response:
    decoded = call.read_as(Eviction)
    eviction: Eviction = decoded.obj
    given = eviction.metadata and eviction.metadata.name
    if given and given != call.name:
        raise BadRequest("name in URL does not match name in Eviction object")
    options = eviction.deleteOptions or DeleteOptions()
    await call.store.delete(with_options(call.write(), options), options)
    return success(201).warn(decoded.warnings)


EVICTION = Subresource("eviction", {"create": create}, takes=Eviction)
