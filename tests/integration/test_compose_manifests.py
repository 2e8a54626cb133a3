"""The manifests made of Compose files are what an API server takes: every field known, nothing refused."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_world import MINIKCTL, Shell
from control_plane import ControlPlane

FILES = Path(__file__).parents[1] / "compose" / "files"
KINDS = sorted(each.name for each in FILES.iterdir())


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, etcd_binary: str) -> Iterator[Shell]:
    plane = ControlPlane(tmp_path_factory.mktemp("plane"), fast=False)
    try:
        plane.start()
        home = tmp_path_factory.mktemp("home")
        made = Shell(plane.kubeconfig("admin"), home, program=MINIKCTL, namespace="compose")
        made.env |= {"GRAFANA_PASSWORD": "hidden", "EXPORTED": "yes"}
        made.make_namespace()
        yield made
    finally:
        plane.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_an_api_server_takes_them(shell: Shell, kind: str) -> None:
    command = [*MINIKCTL, "compose", "convert", *map(str, files_of(kind)), "--profile", "*"]
    manifests = subprocess.run(command, env=shell.env, capture_output=True, text=True, check=True).stdout
    assert manifests.count("\n---\n") >= 2
    shell.ok("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=manifests)


def files_of(kind: str) -> list[Path]:
    """The main file and what is laid over it, as Compose finds them."""
    found = [each for each in (FILES / kind).iterdir() if "compose" in each.name and each.is_file()]
    return sorted(found, key=lambda each: "override" in each.name)
