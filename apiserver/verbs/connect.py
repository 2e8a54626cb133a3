"""`exec`, `attach` and `portforward`: WebSockets that lead through to the kubelet of the pod's node.

The subprotocol (v5.channel.k8s.io and the like) is between the client and the kubelet: what it carries is passed on.
A WebSocket begins as a GET, and asks for the right to `create` as well, as Kubernetes does from 1.35 on: whoever may
only read must not run commands.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs

from api.errors import BadRequest, InternalError
from apiserver.http.request import truth
from apiserver.http.responses import Tunnel
from apiserver.registry.kind import Subresource
from apiserver.verbs.call import Call
from apiserver.verbs.log import container_of, node_of

_STREAMS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
"""Clients' names of streams, and the kubelet's."""
_WITH_STATUS = ("v5.channel.k8s.io", "v4.channel.k8s.io")

Parameters = dict[str, list[str]]


async def open_exec(call: Call) -> Tunnel:
    parameters = parse_qs(call.request.raw_query.decode("latin-1"))
    if not parameters.get("command"):
        raise BadRequest("you must specify a command for the pod to run")
    return await _tunnel(call, "exec", _streams(parameters) | {"command": parameters["command"]})


async def open_attach(call: Call) -> Tunnel:
    return await _tunnel(call, "attach", _streams(parse_qs(call.request.raw_query.decode("latin-1"))))


async def open_port_forward(call: Call) -> Tunnel:
    parameters = parse_qs(call.request.raw_query.decode("latin-1"))
    ports = [port for text in parameters.get("ports", []) for port in text.split(",")]
    return await _tunnel(call, "portForward", {"port": ports} if ports else {}, container=False)


def _streams(parameters: Parameters) -> Parameters:
    return {theirs: ["1"] for ours, theirs in _STREAMS.items() if truth(parameters.get(ours, [None])[0])}


async def _tunnel(call: Call, what: str, query: Parameters, *, container: bool = True) -> Tunnel:
    """Raises Forbidden, and BadRequest for pods that run nowhere and containers that are not there."""
    if call.request.subprotocols is not None:
        call.request.authorize("create", call.name)
    pod = call.store.kind.model.decode(await call.stored())
    path = [what, call.namespace, call.name]
    if container:
        path.append(container_of(pod, call.request.query.get("container") or ""))
    if not pod.spec.nodeName:
        raise BadRequest(f"pod {call.name} does not have a host assigned")
    if call.request.subprotocols is None:  # asked last: kubectl shows what its second try, over SPDY, is told
        raise BadRequest("Upgrade request required: this server speaks WebSockets here, as kubectl does from 1.31 on")
    if call.backend.kubelets is None:
        raise InternalError("this server has no way to its kubelets")
    node = await node_of(call, pod.spec.nodeName)
    offered = call.request.subprotocols
    with_status = [each for each in offered if container and each in _WITH_STATUS]
    return Tunnel(call.backend.kubelets.tunnel(node, tuple(path), query, offered), with_status)


def _subresource(name: str, handler: Callable[[Call], object], query: dict[str, str]) -> Subresource:
    return Subresource(name, {"get": handler, "create": handler}, query=query)  # type: ignore[dict-item]


_ATTACHED = {"container": "string"} | dict.fromkeys(_STREAMS, "boolean")


EXEC = _subresource("exec", open_exec, _ATTACHED | {"command": "string"})
ATTACH = _subresource("attach", open_attach, _ATTACHED)
PORT_FORWARD = _subresource("portforward", open_port_forward, {"ports": "string"})
