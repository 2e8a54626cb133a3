"""A network disk on this node: its file, brought by nbdfuse, is a loop device, and that is an ext4.

    stage(place, session) -> Path    the mounted file system; what is there already is used
    unstage(place)                   unmount it, everything written out, and let the disk go
    disconnect(place)                whoever waits for the disk waits no longer: everything fails

    PLACE/session.json key.psk    what it is reached with (storage/disks.py is the other side)
    PLACE/fuse/disk               the disk as a file: nbdfuse, a process of its own that outlives this one
    PLACE/fs                      the file system

fsync of a container arrives as a flush at the storage host: ext4 -> loop -> FUSE fsync -> NBD flush -> fdatasync.

Invariants
- Whatever may hang when the storage host does runs in a child process and is waited for only so long.
- Nothing is removed but files of ours by name and empty directories.
- A disk that holds anything is never formatted.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from kubelet import limits
from kubelet.pods.env import ConfigError
from linux import mounts


class Failed(ConfigError):
    """A step that has ended, and not well."""


@dataclass(frozen=True, slots=True)
class Session:
    """Where the disk is, and as whom and with which key it is reached."""

    address: str
    port: str
    key: str
    node: str


def stage(place: Path, session: Session) -> Path:
    """Raises ConfigError, OSError; what was begun is completed or undone the next time."""
    system, fuse = place / "fs", place / "fuse"
    if known(place) == session and mounts.is_mount(system) and mounts.is_mount(fuse):
        return system
    unstage(place)
    for each in (place, system, fuse):
        each.mkdir(parents=True, exist_ok=True, mode=0o700)
    _write(place / "key.psk", f"{session.node}:{session.key}\n")
    _write(place / "session.json", json.dumps(asdict(session)))
    try:
        _connect(place, session)
        device = run("losetup", "--find", "--show", "--direct-io=on", str(fuse / "disk")).strip()
        try:
            _format(device)
            run("mount", "-t", "ext4", "-o", "noatime", device, str(system))
        finally:
            run("losetup", "--detach", device)  # once it is unmounted
    except (ConfigError, OSError):
        with contextlib.suppress(ConfigError, OSError):
            unstage(place)
        raise
    return system


def unstage(place: Path) -> None:
    """Raises ConfigError, OSError: then the disk is as it was, and so is everything written to it."""
    if not place.exists():
        return
    system, fuse = place / "fs", place / "fuse"
    if mounts.is_mount(system):
        with contextlib.suppress(Failed):  # shut out, or without a process behind it: nothing more can be written
            run("sync", "--file-system", str(system))
        run("umount", str(system))
    if mounts.is_mount(fuse):
        mounts.unmount(fuse)
    for name in ("session.json", "key.psk", "client.log"):
        (place / name).unlink(missing_ok=True)
    for each in (system, fuse, place):
        if each.exists():
            each.rmdir()


def disconnect(place: Path) -> bool:
    """Whether there was a connection to end. The mounts stay, for `unstage`."""
    found = False
    for entry in os.listdir("/proc"):
        try:
            argv = Path("/proc", entry, "cmdline").read_bytes().split(b"\0") if entry.isdigit() else []
            if argv[:2] == [b"nbdfuse", os.fsencode(place / "fuse" / "disk")]:
                os.killpg(int(entry), signal.SIGKILL)
                found = True
        except (OSError, ValueError):
            continue  # it ended meanwhile
    return found


def _connect(place: Path, session: Session) -> None:
    """nbdkit reaches the disk, again when the storage host was away for a moment; nbdfuse makes it a file."""
    retry = ("--filter=retry", f"retries={limits.DISK_RETRIES}", "retry-delay=1", "retry-exponential=no")
    where = (f"hostname={session.address}", f"port={session.port}")
    tls = ("tls=require", f"tls-username={session.node}", f"tls-psk={place / 'key.psk'}")
    client = ("nbdkit", "--exit-with-parent", retry[0], "nbd", *where, *tls, *retry[1:])
    with open(place / "client.log", "wb") as log:
        process = subprocess.Popen(
            ["nbdfuse", str(place / "fuse" / "disk"), "[", *client, "]"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,  # it is to outlive us
        )
    deadline = time.monotonic() + limits.DISK_SECONDS
    while not mounts.is_mount(place / "fuse"):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            said = (place / "client.log").read_text(errors="replace").strip().splitlines()
            raise ConfigError(f"cannot reach the disk at {session.address}:{session.port}: {' '.join(said[-2:])}")
        time.sleep(limits.DISK_RECHECK_SECONDS)


def _format(device: str) -> None:
    """An empty disk gets a file system, one that was not unmounted is looked over."""
    found = run("blkid", "--probe", "--match-tag", "TYPE", "--output", "value", device, good=(0, 2)).strip()
    if not found:
        run("mkfs.ext4", "-q", "-m", "0", "-E", "nodiscard", device)
    elif found != "ext4":
        raise ConfigError(f"the disk holds {found}, not ext4")
    else:
        run("fsck.ext4", "-p", device, good=(0, 1))


def run(*command: str, good: tuple[int, ...] = (0,)) -> str:
    """What a command prints. Raises Failed, or ConfigError when it takes too long; then it is left to itself."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, error = process.communicate(timeout=limits.DISK_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise ConfigError(f"{command[0]} takes longer than {limits.DISK_SECONDS:g} s") from None
    if process.returncode not in good:
        raise Failed(f"{' '.join(command)}: {error.decode(errors='replace').strip() or process.returncode}")
    return out.decode(errors="replace")


def known(place: Path) -> Session | None:
    """The session of what is staged there."""
    try:
        return Session(**json.loads((place / "session.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def staged(disks: Path) -> dict[Path, Session]:
    """All places below the directory where a disk is staged."""
    return {place: session for place in disks.glob("*") if (session := known(place)) is not None}


def _write(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(handle, "w") as file:
        file.write(text)
