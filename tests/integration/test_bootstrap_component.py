"""The control plane started piece by piece, as containers or unit files do it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootstrap import apiclient
from bootstrap.commands import ControlPlane
from lab import netns, processes

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")

MACHINE = "tcomp"


@pytest.fixture
def machine() -> Iterator[str]:
    netns.create(MACHINE)
    netns.call(MACHINE, lambda: subprocess.run(["ip", "link", "set", "lo", "up"], check=True))
    yield MACHINE
    processes.kill([processes.Owner(netns.inode(MACHINE), f"/minik/{MACHINE}", ())])
    netns.delete(MACHINE)


def test_piece_by_piece(machine: str, tmp_path: Path) -> None:
    def begin(name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "bootstrap.component", name, f"--data-dir={tmp_path}"]
        return subprocess.Popen([*command, "--address=127.0.0.1"], stderr=subprocess.DEVNULL)

    def boot() -> bool:
        assert begin("credentials").wait(timeout=60) == 0
        for name in ("etcd", "apiserver", "scheduler", "controllers"):
            begin(name)
        return apiclient.wait_ready("https://127.0.0.1:6443", ControlPlane(tmp_path).pki / "ca.crt", timeout=60)

    assert netns.call(machine, boot)

    def invited() -> str:
        command = [sys.executable, "-P", "-m", "bootstrap.component", "invite", f"--data-dir={tmp_path}"]
        return subprocess.run([*command, "--address=127.0.0.1"], capture_output=True, text=True, check=True).stdout

    assert netns.call(machine, invited).startswith("minikctl join 127.0.0.1:6443 --token ")


def test_an_unknown_component_is_refused() -> None:
    command = [sys.executable, "-P", "-m", "bootstrap.component", "kubelet", "--address=127.0.0.1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "invalid choice" in done.stderr
