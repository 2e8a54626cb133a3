"""The runtime contract on a real Docker engine."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kubelet_node import BUSYBOX

from kubelet.runtime.base import (
    Changed,
    ContainerSpec,
    ImageNotFound,
    LogOptions,
    Lost,
    Mount,
    Observed,
    PodRef,
    RuntimeFailure,
    SandboxSpec,
)
from kubelet.runtime.docker import DockerRuntime

pytest_plugins = ["engine_fixtures"]


@pytest.fixture
async def sandbox(runtime: DockerRuntime) -> AsyncIterator[Observed]:
    pod = PodRef("default", "probe", str(uuid.uuid4()))
    made = await runtime.start_container(await runtime.create_sandbox(SandboxSpec(pod, 0, "probe-host")))
    yield made
    for each in await runtime.list():
        if each.pod == pod:
            await runtime.remove(each.id)


def spec(sandbox: Observed, *command: str, **fields: Any) -> ContainerSpec:
    defaults: dict[str, Any] = {
        "pod": sandbox.pod,
        "name": "app",
        "attempt": 0,
        "image": BUSYBOX,
        "image_name": BUSYBOX,
        "sandbox_id": sandbox.id,
        "spec_hash": "abc",
        "backoff": 10.0,
        "command": command,
    }
    return ContainerSpec(**{**defaults, **fields})


async def run(runtime: DockerRuntime, container: ContainerSpec) -> str:
    container_id = await runtime.create_container(container)
    await runtime.start_container(container_id)
    return container_id


async def output(runtime: DockerRuntime, container_id: str, **options: Any) -> str:
    """Everything it says until it ends."""
    parts = [each async for each in runtime.logs(container_id, LogOptions(follow=True, **options))]
    return b"".join(parts).decode()


async def test_a_sandbox_holds_the_names_and_an_empty_network(runtime, sandbox):
    assert sandbox.is_sandbox and sandbox.is_running and sandbox.pid
    script = "hostname; ls /sys/class/net"
    assert await output(runtime, await run(runtime, spec(sandbox, "sh", "-c", script))) == "probe-host\nlo\n"


async def test_what_is_written_on_a_container_is_read_back(runtime, sandbox):
    container_id = await run(runtime, spec(sandbox, "sleep", "100", attempt=3, backoff=40.0))
    seen = {each.id: each for each in await runtime.list()}[container_id]
    assert (seen.name, seen.attempt, seen.backoff, seen.spec_hash) == ("app", 3, 40.0, "abc")
    assert (seen.pod, seen.sandbox_id, seen.image) == (sandbox.pod, sandbox.id, BUSYBOX)
    assert seen.is_running and seen.started_at is not None and seen.finished_at is None


async def test_an_end_is_told_and_described(runtime, sandbox):
    events = runtime.events()
    assert await anext(events) == Lost()
    container_id = await run(runtime, spec(sandbox, "sh", "-c", "exit 3"))
    async with asyncio.timeout(20):
        while await anext(events) != Changed(sandbox.pod, container_id):
            pass
    seen = await runtime.inspect(container_id)
    assert seen is not None and seen.state == "exited" and seen.exit_code == 3 and seen.finished_at is not None
    await runtime.remove(container_id)
    async with asyncio.timeout(20):
        while await anext(events) != Changed(sandbox.pod, container_id, gone=True):
            pass
    assert await runtime.inspect(container_id) is None
    await events.aclose()


async def test_removing_and_signalling_what_is_gone_is_fine(runtime, sandbox):
    container_id = await run(runtime, spec(sandbox, "sleep", "100"))
    await runtime.remove(container_id)
    await runtime.remove(container_id)
    await runtime.signal(container_id, "SIGTERM")


async def test_a_half_made_container_is_replaced(runtime, sandbox):
    first = await runtime.create_container(spec(sandbox, "sleep", "100"))
    second = await runtime.create_container(spec(sandbox, "sleep", "100"))
    assert first != second and await runtime.inspect(first) is None


async def test_a_running_container_is_not_replaced(runtime, sandbox):
    first = await run(runtime, spec(sandbox, "sleep", "100"))
    with pytest.raises(RuntimeFailure):
        await runtime.create_container(spec(sandbox, "sleep", "100"))
    seen = await runtime.inspect(first)
    assert seen is not None and seen.is_running


async def test_a_start_that_fails_leaves_the_reason(runtime, sandbox):
    container_id = await runtime.create_container(spec(sandbox, "no-such-program"))
    with pytest.raises(RuntimeFailure, match="no-such-program"):
        await runtime.start_container(container_id)
    seen = await runtime.inspect(container_id)
    assert seen is not None and seen.is_dead and "no-such-program" in seen.error


async def test_images(runtime, sandbox):
    image = await runtime.image(BUSYBOX)
    assert image is not None and image.size_bytes > 0
    assert await runtime.image("minik/nope:1") is None
    with pytest.raises(ImageNotFound):
        await runtime.create_container(spec(sandbox, image="minik/nope:1"))
    with pytest.raises(RuntimeFailure, match=r"127\.0\.0\.1:1"):
        await runtime.pull("127.0.0.1:1/nope:1")


async def test_exec(runtime, sandbox):
    container_id = await run(runtime, spec(sandbox, "sleep", "100"))
    result = await runtime.exec(container_id, ["sh", "-c", "echo out; echo err >&2; exit 4"], seconds=10)
    assert result.exit_code == 4 and sorted(result.output.split()) == ["err", "out"]
    with pytest.raises(TimeoutError):
        await runtime.exec(container_id, ["sleep", "77"], seconds=0.5)
    left = await runtime.exec(container_id, ["sh", "-c", "ps | grep -c '[s]leep 77'"], seconds=10)
    assert left.output == "0", "what took too long is ended"


async def test_logs_tail_stamps_and_since(runtime, sandbox):
    container_id = await run(runtime, spec(sandbox, "sh", "-c", "echo one; echo two >&2; echo three"))
    assert sorted((await output(runtime, container_id)).split()) == ["one", "three", "two"]
    assert len((await output(runtime, container_id, tail=1)).splitlines()) == 1
    stamped = await output(runtime, container_id, timestamps=True)
    assert all(datetime.fromisoformat(line.split()[0]) for line in stamped.splitlines())
    assert await output(runtime, container_id, since=datetime.now(UTC) + timedelta(hours=1)) == ""


async def test_env_mounts_user_and_read_only_root(runtime, sandbox, tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "file").write_text("from the host\n")
    script = "echo $GREETING; cat /data/file; id -u; touch /data/x /x 2>/dev/null || echo read-only"
    base = spec(sandbox, "sh", "-c", script, env={"GREETING": "hello", "PATH": "/bin"})
    mounts = (Mount(str(tmp_path), "/data", read_only=True),)
    security = replace(base.security, user="1000", read_only_root=True)
    container_id = await run(runtime, replace(base, mounts=mounts, security=security))
    assert await output(runtime, container_id) == "hello\nfrom the host\n1000\nread-only\n"


async def test_out_of_memory_is_told(runtime, sandbox):
    # tail keeps a line without an end in memory.
    base = spec(sandbox, "sh", "-c", "cat /dev/zero | tail")
    small = replace(base, resources=replace(base.resources, memory_bytes=16 * 2**20))
    container_id = await run(runtime, small)
    async with asyncio.timeout(30):
        await output(runtime, container_id)
    seen = await runtime.inspect(container_id)
    assert seen is not None and seen.oom_killed


async def test_the_engine_says_what_it_is(runtime):
    info = await runtime.info()
    assert info.version and info.architecture in ("amd64", "arm64") and info.cpus > 0


async def test_an_absent_engine_is_named():
    absent = DockerRuntime("unix:///nonexistent/docker.sock")
    with pytest.raises(RuntimeFailure, match="does not answer"):
        await absent.info()
    await absent.close()
