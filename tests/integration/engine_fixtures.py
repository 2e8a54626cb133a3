"""Fixtures for tests of the kubelet on real parts; everything is gone when the tests are.

`docker_engine`   an engine that nobody else uses, with the image minik/busybox:1
`runtime`         the kubelet's runtime on it
`node`            the engine, an API server, and a kubelet of node-1 that can be killed and started. For one module: a
                  kubelet ends what runs on its engine and is not of its pods
`api`             what a test does through that API server; its pods are removed afterwards

A test module asks for them with `pytest_plugins = ["engine_fixtures"]`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
from control_plane import until
from kubelet_node import BUSYBOX, NODE, Api, Engine, KubeletNode, busybox_tar, is_ready
from lightkube import ApiError
from lightkube.resources.core_v1 import Node, Pod

from client import rest
from client.config import connect
from kubelet import machine
from kubelet.runtime.docker import DockerRuntime


@pytest.fixture(scope="session")
def docker_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    for tool in ("dockerd", "nsenter", "busybox", "nft"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    engine = Engine(tmp_path_factory.mktemp("engine"))
    try:
        engine.make_namespace()
        engine.start()
        repository, tag = BUSYBOX.split(":")
        changes = ['CMD ["sh"]', "ENV PATH=/bin"]
        engine.client().import_image_from_data(busybox_tar(), repository=repository, tag=tag, changes=changes)
        yield engine
    finally:
        engine.stop()
        engine.remove_namespace()


@pytest.fixture
async def runtime(docker_engine: Engine) -> AsyncIterator[DockerRuntime]:
    made = DockerRuntime(docker_engine.url, negative_oom=machine.negative_oom_scores_allowed())
    yield made
    await made.close()


@pytest.fixture(scope="module")
def node(docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeletNode]:
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed")
    made = KubeletNode(docker_engine, tmp_path_factory.mktemp("kubelet"))
    try:
        made.start()
        asyncio.run(_give_cidr(made))
        yield made
    finally:
        made.stop()


async def _give_cidr(node: KubeletNode) -> None:
    """What the controllers do for a new node."""
    client = connect(str(node.control.kubeconfig("admin")))
    await until(client, Node, lambda nodes: bool(nodes))
    await client.patch(Node, NODE, {"spec": {"podCIDR": "10.244.9.0/24"}})
    await until(client, Node, lambda nodes: all(is_ready(each) for each in nodes))
    await client.aclose()


@pytest.fixture
async def api(node: KubeletNode) -> AsyncIterator[Api]:
    client = connect(str(node.control.kubeconfig("admin")))
    yield Api(client)
    for pod in (await rest.list_page(client, Pod))[0]:
        with contextlib.suppress(ApiError):
            await rest.delete(client, pod, grace_seconds=0)
    await client.aclose()
