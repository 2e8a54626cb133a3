"""Recognising, pausing and killing the processes of a host, on real ones."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import processes
from lab.processes import Owner


def owner(directory: Path) -> Owner:
    return Owner(None, "/minik/tnone/none", (f"{directory}/",))


@pytest.fixture
def program(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks like a component of a host whose directory is tmp_path."""
    package = tmp_path / "component.py"
    package.write_text("import sys, time\nprint('up', flush=True)\ntime.sleep(1000)\n")
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "component", f"--data-dir={tmp_path}/data"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert process.stdout and process.stdout.readline() == b"up\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_finds_a_component_by_its_directory_and_nothing_else(program: subprocess.Popen[bytes], tmp_path: Path) -> None:
    bystander = subprocess.Popen(["/bin/sleep", "1000"], env={"NOTE": str(tmp_path)})
    reader = subprocess.Popen(["/bin/sh", "-c", "read x", "sh", f"{tmp_path}/data/log"], stdin=subprocess.PIPE)
    try:
        assert [found.pid for found in processes.find([owner(tmp_path)])] == [program.pid]
        assert processes.find([owner(tmp_path / "other")]) == []
    finally:
        for process in (bystander, reader):
            process.kill()
            process.wait()
        if reader.stdin:
            reader.stdin.close()


def test_pause_and_resume(program: subprocess.Popen[bytes], tmp_path: Path) -> None:
    processes.pause([owner(tmp_path)])
    assert [found.state for found in processes.find([owner(tmp_path)])] == ["T"]
    processes.resume([owner(tmp_path)])
    assert [found.state in "RS" for found in processes.find([owner(tmp_path)])] == [True]


def test_kill_waits_until_it_is_gone(program: subprocess.Popen[bytes], tmp_path: Path) -> None:
    processes.kill([owner(tmp_path)])
    assert processes.find([owner(tmp_path)]) == []
    assert program.wait() == -signal.SIGKILL
    processes.kill([owner(tmp_path)])


@pytest.mark.parametrize(
    ("cgroups", "namespace", "argv", "expected"),
    [
        (["/minik/lab/node-1/abc"], 1, ("sh",), True),
        (["/", "/minik/lab/node-1"], 1, ("sh",), True),
        (["/minik/lab/node-10/abc"], 1, ("sh",), False),
        (["/"], 77, ("sh",), True),
        (["/"], 1, ("/usr/bin/containerd", "--config", "/run/minik/lab/node-1/docker/containerd.toml"), True),
        (["/"], 1, ("tail", "-f", "/var/lib/minik/lab/node-1/log"), False),
        (["/"], 1, ("python", "-P", "-m", "kubelet", "--data-dir=/run/minik/lab/node-1/x"), True),
        (["/"], 1, ("python", "-P", "-m", "kubelet", "--data-dir=/run/minik/lab/node-10/x"), False),
        (["/"], 1, ("",), False),
    ],
)
def test_belonging(cgroups: list[str], namespace: int, argv: tuple[str, ...], expected: bool) -> None:
    node = Owner(77, "/minik/lab/node-1", ("/var/lib/minik/lab/node-1/", "/run/minik/lab/node-1/"))
    assert processes._belongs(node, namespace, cgroups, argv) is expected


def test_a_host_without_a_namespace_owns_no_process_by_it() -> None:
    assert not processes._belongs(owner(Path("/nowhere")), 4026531840, ["/"], ("sh",))
