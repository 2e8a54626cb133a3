"""A lab on an ordinary Docker host: containerd runs at its usual place, and Docker on it, as systemd starts them.

The host is pretended: a network and a mount namespace with a /run/containerd of its own, so that the machine this runs
on is not disturbed whatever runs there.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from world import NotInTime

from lab import images

LAB_NAME, LAB_SUBNET = "tbeside", "10.85.0.0/24"
BOOT_SECONDS = 30.0
BOOT = """
set -e
mount --make-rprivate /
mkdir -p /run/containerd
mount -t tmpfs none /run/containerd
ip link set lo up
containerd --root "$1/containerd" --state /run/containerd/state > "$1/containerd.log" 2>&1 &
until [ -S /run/containerd/containerd.sock ]; do sleep 0.05; done
exec dockerd --config-file "$1/none.json" --containerd /run/containerd/containerd.sock --data-root "$1/data" \
    --exec-root "$1/exec" --pidfile "$1/pid" --host "unix://$1/docker.sock" > "$1/dockerd.log" 2>&1
"""


class DockerHost:
    """The pretended machine: programs run on it as in a shell there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "none.json").write_text("{}")
        self.boot = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", BOOT, "sh", str(directory)], process_group=0
        )

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", "--target", str(self.boot.pid), "--mount", "--net", "--root", "--wd"]
        env = {**os.environ, "MINIK_LAB": LAB_NAME, "KUBECONFIG": str(self.directory / "config")}
        done = subprocess.run([*enter, *command], env=env, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done

    def docker(self, *command: str) -> str:
        return self.run("docker", "-H", f"unix://{self.directory}/docker.sock", *command).stdout.strip()

    def minikctl(self, *command: str) -> str:
        return self.run(str(Path(sys.executable).with_name("minikctl")), *command).stdout

    def wait(self) -> None:
        """Until its Docker answers."""
        end = time.monotonic() + BOOT_SECONDS
        while True:
            with contextlib.suppress(AssertionError):
                self.docker("version")
                return
            if self.boot.poll() is not None or time.monotonic() > end:
                raise NotInTime((self.directory / "dockerd.log").read_text()[-2000:])
            time.sleep(0.1)

    def stop(self) -> None:
        with contextlib.suppress(AssertionError):
            self.minikctl("down")
        with contextlib.suppress(AssertionError):
            if left := self.docker("ps", "--all", "--quiet"):
                self.docker("rm", "--force", *left.split())
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.boot.pid, 15)
        self.boot.wait(30)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[DockerHost]:
    made = DockerHost(tmp_path)
    try:
        made.wait()
        yield made
    finally:
        made.stop()


def test_a_lab_beside_containerd_and_docker_leaves_both_alone(host, tmp_path):
    host.docker("load", "--input", str(images.ensure(tmp_path / "images")))
    own = host.docker("run", "--detach", "minik/web:1")
    host.minikctl("up", "--nodes", "1", "--subnet", LAB_SUBNET)
    assert "Running" in host.minikctl("get", "pods")
    assert host.docker("ps", "--all", "--quiet", "--no-trunc") == own, "the lab's containers are not this engine's"
    host.minikctl("down")
    assert host.docker("inspect", "--format", "{{.State.Running}}", own) == "true"
