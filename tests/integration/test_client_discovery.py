"""Discovery against a real API server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from control_plane import ControlPlane
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Node

from api.resource import resource_info
from client.discovery import discover


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, etcd_binary: str) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path_factory.mktemp("plane"))
    try:
        plane.start_etcd()
        plane.start_apiserver()
        yield plane
    finally:
        plane.stop()


async def test_the_kinds_served_are_those_of_the_classes(client) -> None:
    found = {each.info: each.verbs for each in await discover(client)}
    for kind in (Node, Deployment):
        assert found[resource_info(kind)] >= {"list", "watch", "delete", "deletecollection"}
