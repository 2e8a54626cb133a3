"""Disks and their sessions. A disk is a sparse file; it is served over NBD, with TLS, to one node at a time.

    create(disk, size) / delete(disk)     idempotent
    open(disk, node) -> Session           where and with which key the node reaches it
    close(disk)                           nobody does, from when this returns

    DIR/<disk>.img              the disk
    DIR/sessions/<disk>.json    its session: node, port, key, the boot of this host it was made in
    DIR/sessions/<disk>.psk     the key as the server reads it
    DIR/sessions/<disk>.lock    held by the server for as long as it lives

Invariants
- One server a disk: it inherits the lock, so the kernel keeps it for as long as a thread of it can write.
- A key is good for one session. `close` ends the server and then forgets the key: whoever had it is shut out for ever,
  whatever he still has in memory and whenever he comes back.
- A session is taken up again by a new process of ours with the same key, so that nodes only see a pause; but not after
  this host was started anew: what it had been sent and not yet been asked to flush is lost then, and must not be
  mistaken for written.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from storage import limits

log = logging.getLogger("disks")


class DiskError(Exception):
    """A disk cannot be made or served; the message is for people."""


@dataclass(frozen=True, slots=True)
class Session:
    node: str
    port: int
    key: str
    boot: str


class Disks:
    """`ended` is called with the disk when a server exits by itself."""

    def __init__(self, root: Path, address: str, *, ended: Callable[[str], None]) -> None:
        self._root = root
        self._sessions = root / "sessions"
        self._sessions.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.address = address
        self._ended = ended
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self._servers: dict[str, asyncio.subprocess.Process] = {}
        self._watchers: set[asyncio.Task[None]] = set()

    # Disks

    def create(self, disk: str, size_bytes: int) -> None:
        """Raises OSError."""
        image = self._image(disk)
        if image.exists():
            return
        fresh = image.with_suffix(".new")
        with open(fresh, "wb") as file:
            file.truncate(size_bytes)
            os.fsync(file.fileno())
        fresh.rename(image)
        _sync(self._root)

    def delete(self, disk: str) -> None:
        """Raises DiskError while a node uses it."""
        if self._saved(disk) is not None:
            raise DiskError(f"disk {disk} is in use")
        self._image(disk).unlink(missing_ok=True)
        (self._sessions / f"{disk}.lock").unlink(missing_ok=True)

    def _image(self, disk: str) -> Path:
        if "/" in disk or disk.startswith("."):
            raise DiskError(f"{disk!r} is no name of a disk")
        return self._root / f"{disk}.img"

    # Sessions

    async def open(self, disk: str, node: str) -> Session:
        """The node's session, served. Raises DiskError; also while another node has one."""
        if not self._image(disk).exists():
            raise DiskError(f"there is no disk {disk}")
        saved = self._saved(disk)
        if saved is not None and saved.node != node:
            raise DiskError(f"disk {disk} is in use at node {saved.node}")
        if saved is not None and self._is_served(disk):
            return saved
        session = saved or Session(node, self._free_port(), "", "")
        if session.boot != self._boot:
            session = replace(session, key=secrets.token_hex(limits.KEY_BYTES), boot=self._boot)
        self._save(disk, session)
        try:
            await self._serve(disk, session)
        except DiskError:
            if saved is None:  # nobody knows of it yet: the next attempt may choose another port
                (self._sessions / f"{disk}.json").unlink()
            raise
        return session

    async def close(self, disk: str) -> None:
        """End the session, whosever it is. Raises DiskError when its server does not end."""
        server = self._servers.pop(disk, None)
        if server is not None and server.returncode is None:
            server.kill()
            await server.wait()
        os.close(self._lock(disk))  # nobody else holds it, so nobody writes
        (self._sessions / f"{disk}.psk").unlink(missing_ok=True)
        (self._sessions / f"{disk}.json").unlink(missing_ok=True)

    def user(self, disk: str) -> str | None:
        """The node that has a session of the disk."""
        saved = self._saved(disk)
        return saved.node if saved is not None else None

    def _is_served(self, disk: str) -> bool:
        server = self._servers.get(disk)
        return server is not None and server.returncode is None

    async def _serve(self, disk: str, session: Session) -> None:
        key = self._sessions / f"{disk}.psk"
        _write(key, f"{session.node}:{session.key}\n")
        lock = self._lock(disk)
        line = ("nbdkit", "--foreground", "--exit-with-parent", f"--ipaddr={self.address}", f"--port={session.port}")
        tls = ("--tls=require", f"--tls-psk={key}", f"--threads={limits.THREADS}")
        try:
            server = await asyncio.create_subprocess_exec(
                *line, *tls, "file", f"file={self._image(disk)}", pass_fds=(lock,), stdin=asyncio.subprocess.DEVNULL
            )
        except FileNotFoundError:
            raise DiskError("nbdkit is not installed on the storage host") from None
        finally:
            os.close(lock)
        self._servers[disk] = server
        await self._until_it_listens(server, session.port)
        watcher = asyncio.create_task(self._watch(disk, server))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        log.info("disk %s is served to node %s on port %d", disk, session.node, session.port)

    async def _until_it_listens(self, server: asyncio.subprocess.Process, port: int) -> None:
        deadline = time.monotonic() + limits.START_TIMEOUT
        while time.monotonic() < deadline and server.returncode is None:
            try:
                _, writer = await asyncio.open_connection(self.address, port)
            except OSError:
                await asyncio.sleep(limits.RECHECK)
                continue
            writer.close()
            return
        if server.returncode is None:
            server.kill()
        raise DiskError(f"nbdkit did not start (exit code {await server.wait()})")

    async def _watch(self, disk: str, server: asyncio.subprocess.Process) -> None:
        await server.wait()
        if self._servers.get(disk) is server:
            log.warning("the server of disk %s exited with %s", disk, server.returncode)
            self._ended(disk)

    def _lock(self, disk: str) -> int:
        """The right to serve the disk: a file descriptor. Raises DiskError while a server has it."""
        lock = os.open(self._sessions / f"{disk}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise DiskError(f"a server of disk {disk} has not ended yet") from None
        return lock

    def _free_port(self) -> int:
        taken = {session.port for session in map(self._saved, self.sessions()) if session is not None}
        for port in range(limits.FIRST_PORT, limits.FIRST_PORT + limits.PORTS):
            if port not in taken and _can_listen(self.address, port):
                return port
        raise DiskError("no port is left for another disk")

    def sessions(self) -> list[str]:
        """The disks that have one."""
        return [each.stem for each in self._sessions.glob("*.json")]

    def _saved(self, disk: str) -> Session | None:
        try:
            return Session(**json.loads((self._sessions / f"{disk}.json").read_text()))
        except FileNotFoundError:
            return None

    def _save(self, disk: str, session: Session) -> None:
        _write(self._sessions / f"{disk}.json", json.dumps(asdict(session)))


def _write(path: Path, text: str) -> None:
    """Whole or not at all, and for us alone."""
    fresh = path.with_suffix(path.suffix + ".new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    _sync(path.parent)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _can_listen(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
