"""The lab's container images, made from Debian's static busybox: no registry, no Docker needed to build them.

    minik/busybox:1   busybox and its applets; runs `sh`
    minik/web:1       answers every HTTP request on port 8080 with its hostname, /healthz with `ok`
    minik/web:2       the same with VERSION=v2, which its answers then end with: something to roll out

Interface: ensure(directory) writes <directory>/minik.tar, a docker-archive (what `docker load` reads) of all of them.

Invariants: pure Python and reproducible, the same busybox gives the same image ids on every node; the layers of
busybox are in the archive once.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bootstrap.errors import PreflightError
from client.files import write_atomic

ARCHIVE = "minik.tar"
CREATED = "1970-01-01T00:00:00Z"
WEB_PORT = 8080
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}

# As the first process of a container, httpd alone would not see SIGTERM (the kernel drops signals without a handler
# for it), so a shell waits beside it. After SIGTERM it goes on answering for a moment: by then every node has taken the
# pod out of rotation, and no request is lost.
WEB_SCRIPT = f"""\
#!/bin/sh
mkdir -p /www
echo "$(hostname)${{VERSION:+ $VERSION}}" > /www/index.html
echo ok > /www/healthz
trap 'sleep "${{DRAIN_SECONDS:-1}}"; kill "$server"; exit 0' TERM INT
httpd -f -v -p "${{PORT:-{WEB_PORT}}}" -h /www &
server=$!
wait "$server"
"""


@dataclass(frozen=True)
class File:
    """One entry of a layer. link: a symbolic link's target. content None without link: a directory."""

    path: str
    content: bytes | None = None
    link: str | None = None
    mode: int = 0o755


@dataclass(frozen=True)
class Image:
    """An image: its tag, its layers (tar files) and what to run."""

    tag: str
    layers: tuple[bytes, ...]
    command: tuple[str, ...]
    environment: tuple[str, ...] = ()
    port: int | None = None


def ensure(directory: Path) -> Path:
    """Write the archive unless it is there already; returns its path. Raises PreflightError without static busybox."""
    busybox = find_busybox()
    archive = directory / ARCHIVE
    stamp = directory / f".{ARCHIVE}.source"
    source = f"{hashlib.sha256(busybox.read_bytes() + WEB_SCRIPT.encode()).hexdigest()}\n"
    if not (archive.exists() and stamp.exists() and stamp.read_text() == source):
        directory.mkdir(parents=True, exist_ok=True)
        write_atomic(archive, docker_archive(lab_images(busybox)), mode=0o644)
        write_atomic(stamp, source, mode=0o644)
    return archive


def find_busybox() -> Path:
    """A busybox that needs no libraries. Raises PreflightError."""
    found = shutil.which("busybox")
    if found and _is_static(Path(found)):
        return Path(found)
    raise PreflightError("no static busybox found; on Debian and Ubuntu: apt-get install busybox-static")


def lab_images(busybox: Path) -> list[Image]:
    base = layer(_base_files(busybox))
    web = layer([File("bin/web", WEB_SCRIPT.encode())])
    return [
        Image("minik/busybox:1", (base,), ("sh",)),
        Image("minik/web:1", (base, web), ("/bin/web",), port=WEB_PORT),
        Image("minik/web:2", (base, web), ("/bin/web",), environment=("VERSION=v2",), port=WEB_PORT),
    ]


def layer(files: Sequence[File]) -> bytes:
    """The files as a tar, owned by root and without times."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for file in files:
            entry = tarfile.TarInfo(file.path)
            entry.mode = file.mode
            if file.link is not None:
                entry.type, entry.linkname = tarfile.SYMTYPE, file.link
            elif file.content is None:
                entry.type = tarfile.DIRTYPE
            else:
                entry.size = len(file.content)
            tar.addfile(entry, io.BytesIO(file.content or b""))
    return buffer.getvalue()


def docker_archive(images: Sequence[Image]) -> bytes:
    """The images as `docker save` would write them; a layer used twice is stored once."""
    blobs: dict[str, bytes] = {}
    manifest = []
    for image in images:
        names = []
        for content in image.layers:
            names.append(f"{_digest(content)}/layer.tar")
            blobs[names[-1]] = content
        config = _config(image)
        blobs[f"{_digest(config)}.json"] = config
        manifest.append({"Config": f"{_digest(config)}.json", "RepoTags": [image.tag], "Layers": names})
    blobs["manifest.json"] = json.dumps(manifest).encode()
    return layer([File(path, content, mode=0o644) for path, content in blobs.items()])


def image_id(image: Image) -> str:
    """The id Docker will give the image."""
    return f"sha256:{_digest(_config(image))}"


def _config(image: Image) -> bytes:
    settings: dict[str, object] = {
        "Env": ["PATH=/bin", *image.environment],
        "Cmd": list(image.command),
    }
    if image.port:
        settings["ExposedPorts"] = {f"{image.port}/tcp": {}}
    config = {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "created": CREATED,
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_digest(content)}" for content in image.layers]},
        "history": [{"created": CREATED} for _ in image.layers],
    }
    return json.dumps(config, sort_keys=True).encode()


def _base_files(busybox: Path) -> list[File]:
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    directories = [File(path) for path in ("bin", "etc", "proc", "root", "sys", "dev", "var", "www")]
    links = [File(f"bin/{name}", link="busybox") for name in sorted(set(applets) - {"busybox"})]
    return [
        *directories,
        File("tmp", mode=0o1777),
        File("bin/busybox", busybox.read_bytes()),
        *links,
        File("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n", mode=0o644),
        File("etc/group", b"root:x:0:\nnogroup:x:65534:\n", mode=0o644),
    ]


@functools.lru_cache(maxsize=4)
def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _is_static(program: Path) -> bool:
    """Whether an ELF file asks for no dynamic loader (has no PT_INTERP segment)."""
    with program.open("rb") as file:
        header = file.read(64)
        if len(header) < 64 or header[:4] != b"\x7fELF":
            return False
        wide, order = header[4] == 2, "little" if header[5] == 1 else "big"
        field = functools.partial(_field, header, order)
        offset = field(32, 8) if wide else field(28, 4)
        size, count = (field(54, 2), field(56, 2)) if wide else (field(42, 2), field(44, 2))
        file.seek(offset)
        table = file.read(size * count)
    return all(_field(table, order, size * index, 4) != 3 for index in range(count))  # 3: PT_INTERP


def _field(data: bytes, order: str, start: int, size: int) -> int:
    return int.from_bytes(data[start : start + size], "little" if order == "little" else "big")
