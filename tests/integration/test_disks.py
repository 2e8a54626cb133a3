"""Network disks, both halves: nbdkit serves a file, nbdfuse, a loop device and ext4 show it. All of it real."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kubelet.pods.env import ConfigError
from kubelet.volumes import disk
from kubelet.volumes.disk import Session
from linux import mounts
from storage.disks import DiskError, Disks

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
MIB = 2**20


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubelet.limits.DISK_RETRIES", 1)  # whoever is shut out is to notice soon


@asynccontextmanager
async def storage_host(root: Path) -> AsyncIterator[Disks]:
    disks = Disks(root, "127.0.0.1", ended=lambda disk: None)
    try:
        yield disks
    finally:
        for each in disks.sessions():
            await disks.close(each)


@pytest.fixture
def places(tmp_path: Path):
    """Two nodes' places for a disk; whatever is mounted there goes."""
    found = [tmp_path / "node-1" / "disk", tmp_path / "node-2" / "disk"]
    yield found
    for place in found:
        if place.exists():
            mounts.unmount_below(place)


async def reached(disks: Disks, name: str, node: str) -> Session:
    session = await disks.open(name, node)
    return Session(disks.address, str(session.port), session.key, node)


async def stage(place: Path, session: Session) -> Path:
    return await asyncio.to_thread(disk.stage, place, session)


def write_synced(path: Path, text: str) -> None:
    with open(path, "a") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


async def test_a_disk_moves_with_what_was_written(tmp_path: Path, places: list[Path]) -> None:
    async with storage_host(tmp_path / "host") as disks:
        disks.create("d", 64 * MIB)
        system = await stage(places[0], await reached(disks, "d", "node-1"))
        assert await stage(places[0], await reached(disks, "d", "node-1")) == system  # again changes nothing
        await asyncio.to_thread((system / "file").write_text, "x" * MIB)  # not synced: unmounting is enough
        os.chown(system / "file", 1234, 5678)
        await asyncio.to_thread(disk.unstage, places[0])
        assert not places[0].exists()
        await disks.close("d")
        system = await stage(places[1], await reached(disks, "d", "node-2"))
        about = (system / "file").stat()
        assert (about.st_size, about.st_uid, about.st_gid) == (MIB, 1234, 5678)
        assert 40 * MIB < os.statvfs(system).f_blocks * os.statvfs(system).f_frsize <= 64 * MIB  # as large as asked for
        await asyncio.to_thread(disk.unstage, places[1])


async def test_who_is_shut_out_writes_no_more_and_what_he_was_acknowledged_is_there(
    tmp_path: Path, places: list[Path]
) -> None:
    async with storage_host(tmp_path / "host") as disks:
        disks.create("d", 64 * MIB)
        old = await reached(disks, "d", "node-1")
        system = await stage(places[0], old)
        acknowledged = 0
        for number in range(100):
            await asyncio.to_thread(write_synced, system / "log", f"{number}\n")
            acknowledged = number
        with pytest.raises(DiskError, match="in use at node node-1"):
            await disks.open("d", "node-2")
        await disks.close("d")
        new = await reached(disks, "d", "node-2")
        assert new.key != old.key
        moved = await stage(places[1], new)
        with pytest.raises(OSError):
            await asyncio.to_thread(write_synced, system / "log", "too late\n")
        assert [int(line) for line in (moved / "log").read_text().split()] == list(range(acknowledged + 1))
        await asyncio.to_thread(write_synced, moved / "log", "mine\n")
        await asyncio.to_thread(disk.unstage, places[0])  # nothing holds the old node's mount
        assert not places[0].exists()
        assert (moved / "log").read_text().endswith("mine\n")
        with pytest.raises(ConfigError, match="cannot reach the disk"):
            await stage(places[0], old)  # the old key opens nothing, whatever port it is tried at
        await asyncio.to_thread(disk.unstage, places[1])


async def test_a_disk_whose_host_is_silent_is_given_up(tmp_path: Path, places: list[Path]) -> None:
    """The server neither answers nor closes the connection, as behind a cut cable."""
    async with storage_host(tmp_path / "host") as disks:
        disks.create("d", 64 * MIB)
        system = await stage(places[0], await reached(disks, "d", "node-1"))
        server = disks._servers["d"]
        os.kill(server.pid, signal.SIGSTOP)
        writing = asyncio.create_task(asyncio.to_thread(write_synced, system / "log", "lost\n"))
        assert not (await asyncio.wait([writing], timeout=1))[0]
        assert await asyncio.to_thread(disk.disconnect, places[0])
        with pytest.raises(OSError):
            await writing
        await asyncio.to_thread(disk.unstage, places[0])
        assert not places[0].exists()


async def test_writers_outlive_the_storage_process(tmp_path: Path, places: list[Path], monkeypatch) -> None:
    monkeypatch.setattr("kubelet.limits.DISK_RETRIES", 30)
    async with storage_host(tmp_path / "host") as disks:
        disks.create("d", 64 * MIB)
        session = await reached(disks, "d", "node-1")
        system = await stage(places[0], session)
        await asyncio.to_thread(write_synced, system / "log", "before\n")
        server = disks._servers["d"]
        server.kill()
        await server.wait()
        async with storage_host(tmp_path / "host") as successor:
            assert await reached(successor, "d", "node-1") == session
            await asyncio.to_thread(write_synced, system / "log", "after\n")
            assert (system / "log").read_text() == "before\nafter\n"
            await asyncio.to_thread(disk.unstage, places[0])


async def test_a_host_that_was_started_anew_takes_up_no_session(tmp_path: Path) -> None:
    """What it had been sent and not been asked to flush is lost then; the writer must not go on as if it were not."""
    async with storage_host(tmp_path / "host") as disks:
        disks.create("d", MIB)
        before = await disks.open("d", "node-1")
        disks._servers["d"].kill()
        await disks._servers["d"].wait()
        disks._boot = "another"
        after = await disks.open("d", "node-1")
        assert (after.port, after.node) == (before.port, before.node) and after.key != before.key


async def test_two_servers_never_have_one_disk(tmp_path: Path) -> None:
    async with storage_host(tmp_path / "host") as disks:
        disks.create("d", MIB)
        await disks.open("d", "node-1")
        other = Disks(tmp_path / "host", "127.0.0.1", ended=lambda disk: None)
        with pytest.raises(DiskError, match="has not ended yet"):
            await other.open("d", "node-1")
        with pytest.raises(DiskError, match="has not ended yet"):
            await other.close("d")
        with pytest.raises(DiskError, match="is in use"):
            disks.delete("d")


async def test_a_disk_that_holds_something_else_is_not_formatted(tmp_path: Path, places: list[Path]) -> None:
    async with storage_host(tmp_path / "host") as disks:
        disks.create("d", 64 * MIB)
        image = tmp_path / "host" / "d.img"
        await asyncio.to_thread(subprocess.run, ["mkswap", str(image)], check=True, capture_output=True)
        before = image.read_bytes()[:4096]
        with pytest.raises(ConfigError, match="the disk holds swap, not ext4"):
            await stage(places[0], await reached(disks, "d", "node-1"))
        assert image.read_bytes()[:4096] == before and not places[0].exists()


async def test_only_with_the_key(tmp_path: Path, places: list[Path]) -> None:
    async with storage_host(tmp_path / "host") as disks:
        disks.create("d", 64 * MIB)
        session = await reached(disks, "d", "node-1")
        with pytest.raises(ConfigError, match="cannot reach the disk"):
            await stage(places[0], Session(session.address, session.port, "00" * 32, "node-1"))
        with socket.create_connection((session.address, int(session.port))) as plain:
            plain.settimeout(10)
            assert plain.recv(8) == b"NBDMAGIC"  # and no more without TLS: see --tls=require
