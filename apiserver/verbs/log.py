"""`pods/log`: a container's output, passed on from the kubelet of the pod's node, and followed on request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from lightkube.resources.core_v1 import Node

from api.errors import BadRequest, FieldError, InternalError, Invalid, invalid
from apiserver.http.request import Request, truth
from apiserver.http.responses import Response, Stream
from apiserver.registry.kind import Subresource
from apiserver.verbs.call import Call

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
_FLAGS = ("follow", "previous", "timestamps")
_NUMBERS = {"tailLines": 0, "sinceSeconds": 1, "limitBytes": 1}
"""Numeric options and the least they may be."""


async def get(call: Call) -> Response | Stream:
    """Raises BadRequest for containers that are not there, InternalError when the kubelet cannot be reached."""
    options = _options(call.request)
    pod = call.store.kind.model.decode(await call.stored())
    container = container_of(pod, call.request.query.get("container") or "")
    if not pod.spec.nodeName:
        return Response(b"", media_type="text/plain")
    node, kubelets = await node_of(call, pod.spec.nodeName), call.backend.kubelets
    if kubelets is None:
        raise InternalError("this server has no way to its kubelets")
    path = ("containerLogs", call.namespace, call.name, container)
    chunks: AsyncIterator[bytes] = await kubelets.stream(node, path, options)
    return Stream(chunks, media_type="text/plain")


async def node_of(call: Call, name: str) -> Any:
    """The Node a pod is bound to. Raises InternalError."""
    nodes = call.backend.registry.of(Node)
    record = await call.backend.find(nodes, "", name)
    if record is None:
        raise InternalError(f'nodes "{name}" not found')
    return nodes.model.decode(record.value)


def _options(request: Request) -> dict[str, str]:
    """What the kubelet is asked. Raises Invalid, as PodLogOptions does."""
    query = request.query
    options = {name: "true" for name in _FLAGS if truth(query.get(name))}
    errors: list[FieldError] = []
    for name, least in _NUMBERS.items():
        text = query.get(name)
        if not text:
            continue
        try:
            number = int(text)
        except ValueError:
            raise BadRequest(f'{name}: Invalid value: "{text}": must be an integer') from None
        if number < least:
            errors.append(invalid(name, number, f"must be greater than or equal to {least}"))
        options[name] = str(number)
    if query.get("sinceTime"):
        options["sinceTime"] = query["sinceTime"]
        if "sinceSeconds" in options:
            why = "at most one of `sinceTime` or `sinceSeconds` may be specified"
            errors.append(FieldError("", "FieldValueForbidden", why))
    if errors:
        raise Invalid.of(kind="PodLogOptions", group="", name=request.info.name, errors=errors)
    return options


def container_of(pod: Any, wanted: str) -> str:
    """The container meant: the one named, the pod's default, or the only one."""
    name = pod.metadata.name
    containers = [each.name for each in pod.spec.containers]
    init = [each.name for each in pod.spec.initContainers or ()]
    ephemeral = [each.name for each in pod.spec.ephemeralContainers or ()]
    wanted = wanted or (pod.metadata.annotations or {}).get(DEFAULT_CONTAINER, "")
    if wanted:
        if wanted not in (*containers, *init, *ephemeral):
            raise BadRequest(f"container {wanted} is not valid for pod {name}")
        return wanted
    if len(containers) == 1:
        return str(containers[0])
    hint = f" or one of the init containers: [{' '.join(init)}]" if init else ""
    raise BadRequest(
        f"a container name must be specified for pod {name}, choose one of: [{' '.join(containers)}]{hint}"
    )


_QUERY = (
    {"container": "string", "sinceTime": "string"}
    | dict.fromkeys(_FLAGS, "boolean")
    | dict.fromkeys(_NUMBERS, "integer")
)
LOG = Subresource("log", {"get": get}, query=_QUERY)
