"""What nodes and pods use right now: metrics.k8s.io, which `kubectl top` and autoscalers read.

Kubernetes: https://github.com/kubernetes/metrics, there served by metrics-server, which asks the kubelets all the time;
here they are asked when somebody asks, and their answer serves everybody for SHARED_SECONDS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
from lightkube.resources.core_v1 import Node, Pod

from api.errors import ApiStatusError, ServiceUnavailable
from api.resource import ResourceInfo
from apiserver.kubelet_client import KubeletClient
from apiserver.registry.columns import NAME, Column, at, listed
from apiserver.registry.kind import Kind
from apiserver.registry.model import Documents

SHARED_SECONDS = 2.0
ANSWER_SECONDS = 3.0
"""How long one kubelet may take; one that does not answer is left out, as its node is by metrics-server."""
WINDOW = "5s"
"""How far apart a kubelet's samples are (kubelet/stats.py)."""

Summary = dict[str, Any]


@dataclass
class _Round:
    """The answers of all kubelets, and until when they are new enough."""

    asked: asyncio.Future[list[Summary]] | None = None
    until: float = 0.0


_rounds: WeakKeyDictionary[KubeletClient, _Round] = WeakKeyDictionary()


async def summaries(backend: Any) -> list[Summary]:
    """/stats/summary of every node that answers. Raises ServiceUnavailable without a way to kubelets."""
    if backend.kubelets is None:
        raise ServiceUnavailable("the server is currently unable to handle the request (get metrics)")
    now, current = asyncio.get_running_loop().time(), _rounds.setdefault(backend.kubelets, _Round())
    if current.asked is None or now >= current.until:
        current.asked, current.until = asyncio.ensure_future(_ask_all(backend)), now + SHARED_SECONDS
    return await asyncio.shield(current.asked)


async def _ask_all(backend: Any) -> list[Summary]:
    nodes = backend.registry.of(Node)
    entries = backend.cache.list(nodes.qualified, "")
    answers = await asyncio.gather(
        *(_ask(backend.kubelets, nodes.model.decode(entry.value)) for entry in entries), return_exceptions=True
    )
    return [each for each in answers if isinstance(each, dict)]


async def _ask(kubelets: KubeletClient, node: Any) -> Summary | None:
    try:
        answer: Summary = msgspec.json.decode(await kubelets.read(node, ("stats", "summary"), seconds=ANSWER_SECONDS))
    except (ApiStatusError, msgspec.MsgspecError):
        return None
    return answer


async def node_metrics(backend: Any, namespace: str) -> list[dict[str, Any]]:
    labels = {entry.name: entry.labels for entry in backend.cache.list(backend.registry.of(Node).qualified, "")}
    return [
        _metadata(name, labels=labels[name]) | _sample(each["node"]) | {"usage": usage}
        for each in await summaries(backend)
        if (name := each["node"]["nodeName"]) in labels and (usage := _usage(each["node"])) is not None
    ]


async def pod_metrics(backend: Any, namespace: str) -> list[dict[str, Any]]:
    known = {
        (entry.namespace, entry.name): entry.labels
        for entry in backend.cache.list(backend.registry.of(Pod).qualified, namespace)
    }
    return [
        made
        for summary in await summaries(backend)
        for pod in summary["pods"]
        if (key := (pod["podRef"]["namespace"], pod["podRef"]["name"])) in known
        for made in _pod(pod, known[key])
    ]


def _pod(pod: dict[str, Any], labels: dict[str, str]) -> Iterator[dict[str, Any]]:
    """A pod all of whose containers have been measured twice; before, there is no rate to tell."""
    usages = [(each["name"], _usage(each)) for each in pod["containers"]]
    if usages and all(usage is not None for _, usage in usages):
        reference = pod["podRef"]
        containers = [{"name": name, "usage": usage} for name, usage in usages]
        made = _metadata(reference["name"], namespace=reference["namespace"], labels=labels)
        yield made | _sample(pod["containers"][0]) | {"containers": containers}


def _metadata(name: str, *, labels: dict[str, str], namespace: str = "") -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    if labels:
        metadata["labels"] = labels
    return {"metadata": metadata}


def _sample(measured: dict[str, Any]) -> dict[str, Any]:
    return {"timestamp": measured["cpu"]["time"], "window": WINDOW}


def _usage(measured: dict[str, Any]) -> dict[str, str] | None:
    nano = measured.get("cpu", {}).get("usageNanoCores")
    if nano is None:
        return None
    return {"cpu": f"{nano}n", "memory": f"{measured['memory']['workingSetBytes'] // 1024}Ki"}


USAGE = {"type": "object", "additionalProperties": {"type": "string"}}
MEASURED = {"timestamp": {"type": "string"}, "window": {"type": "string"}}
CONTAINER = {"type": "object", "properties": {"name": {"type": "string"}, "usage": USAGE}}

NODE_METRICS = Kind(
    Documents(
        ResourceInfo("metrics.k8s.io", "v1beta1", "NodeMetrics", "nodes", namespaced=False),
        {"type": "object", "properties": {**MEASURED, "usage": USAGE}},
    ),
    columns=(
        NAME,
        Column("CPU", at("usage.cpu")),
        Column("Memory", at("usage.memory")),
        Column("Window", at("window")),
    ),
    compute=node_metrics,
)

POD_METRICS = Kind(
    Documents(
        ResourceInfo("metrics.k8s.io", "v1beta1", "PodMetrics", "pods", namespaced=True),
        {"type": "object", "properties": {**MEASURED, "containers": {"type": "array", "items": CONTAINER}}},
    ),
    columns=(
        NAME,
        Column("Containers", lambda obj: listed([each["name"] for each in obj.get("containers") or []])),
        Column("Window", at("window")),
    ),
    compute=pod_metrics,
)
