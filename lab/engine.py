"""A Docker engine of a lab host's own: data root, exec root, socket, cgroup parent; nothing shared with this machine.

The engine makes no bridge and no rules (the kubelet wires pods) and reads no /etc/docker. It lives in a mount namespace
of its own with a /run/containerd of its own, so it starts a containerd of its own: one that runs on this
machine would see none of the engine's mounts. A supervisor keeps it running, as an init system does on a real machine.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx2

from bootstrap import supervisor
from client.files import write_atomic
from lab import limits
from lab.errors import LabError
from lab.tasks import spawn
from linux import mounts

CONTAINERD = Path("/run/containerd")  # where an engine looks for one that runs already, and where shims have sockets


def configuration(*, data: Path, run: Path, cgroup: str) -> dict[str, object]:
    """The content of daemon.json."""
    return {
        "hosts": [f"unix://{socket(run)}"],
        "data-root": str(data),
        "exec-root": str(run / "docker"),
        "pidfile": str(run / "docker.pid"),
        "bridge": "none",
        "iptables": False,
        "ip6tables": False,
        "ip-forward": False,
        "ip-masq": False,
        "userland-proxy": False,
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "cgroup-parent": cgroup,
        "log-driver": "json-file",
        "log-opts": {"max-size": "10m", "max-file": "2"},
        "log-level": "warn",
        "shutdown-timeout": limits.ENGINE_SHUTDOWN,
        "features": {"buildkit": False},
    }


def socket(run: Path) -> Path:
    return run / "docker.sock"


def start(directory: Path, *, data: Path, run: Path, cgroup: str, volumes: Path) -> None:
    """Start the engine in the current network namespace; `directory` gets its configuration and logs.

    volumes: where the kubelet makes and mounts volumes; what is mounted there reaches the containers.
    """
    run.mkdir(parents=True, exist_ok=True)
    config = directory / "daemon.json"
    write_atomic(config, json.dumps(configuration(data=data, run=run, cgroup=cgroup), indent=2) + "\n")
    supervisor.write_config(directory, [supervisor.Child("dockerd", ("dockerd", "--config-file", str(config)))])
    for each in (volumes, CONTAINERD, own := run / "containerd"):
        each.mkdir(parents=True, exist_ok=True)
    mounts.share(volumes)

    def in_own_namespace() -> None:
        mounts.separate(shared=volumes)
        mounts.bind(own, CONTAINERD)
        supervisor.start(directory)

    spawn(in_own_namespace).result()


def wait_ready(directory: Path, run: Path) -> None:
    """Wait until the engine answers. Raises LabError."""
    deadline = time.monotonic() + limits.ENGINE_TIMEOUT
    while not _answers(run):
        if time.monotonic() > deadline:
            raise LabError(f"the Docker engine did not start; see {directory}/logs/dockerd.log")
        time.sleep(limits.ENGINE_ASK_EVERY)


def _answers(run: Path) -> bool:
    if not socket(run).exists():
        return False
    try:
        with httpx2.Client(
            transport=httpx2.HTTPTransport(uds=str(socket(run))), timeout=limits.ENGINE_ANSWER_TIMEOUT
        ) as engine:
            return engine.get("http://docker/_ping").status_code == 200
    except httpx2.HTTPError:
        return False
