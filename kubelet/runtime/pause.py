"""The sandbox image, made here: one static ELF file that sleeps for ever, so no registry is needed. Pure.

The program is a loop around one system call that waits for a signal: `pause` on x86-64, `ppoll(NULL, 0, NULL, NULL)`
on aarch64, which has no `pause`. As process 1 of its namespace it is sent nothing but SIGKILL, which ends it.
"""

from __future__ import annotations

import io
import struct
import tarfile

SANDBOX_IMAGE = "minik/pause:1"

_LOAD_ADDRESS = 0x400000
_HEADERS_BYTES = 64 + 56

_X86_64 = bytes.fromhex(
    "b822000000"  # mov eax, 34 (pause)
    "0f05"  # syscall
    "ebf7"  # jmp to the start
)
_AARCH64 = struct.pack(
    "<7I",
    0xD2800000,  # mov x0, #0
    0xD2800001,  # mov x1, #0
    0xD2800002,  # mov x2, #0
    0xD2800003,  # mov x3, #0
    0xD2800928,  # mov x8, #73 (ppoll)
    0xD4000001,  # svc #0
    0x17FFFFFA,  # b to the start
)
_MACHINES = {"amd64": (62, _X86_64), "arm64": (183, _AARCH64)}


def elf(architecture: str) -> bytes:
    """The program for amd64 or arm64. Raises ValueError for any other."""
    if architecture not in _MACHINES:
        raise ValueError(f"no sandbox program for {architecture}: name an image with --sandbox-image")
    machine, code = _MACHINES[architecture]
    size = _HEADERS_BYTES + len(code)
    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    entry = _LOAD_ADDRESS + _HEADERS_BYTES
    header = ident + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    readable_executable = 5
    segment = struct.pack("<IIQQQQQQ", 1, readable_executable, 0, _LOAD_ADDRESS, _LOAD_ADDRESS, size, size, 0x10000)
    return header + segment + code


def image_tar(architecture: str) -> bytes:
    """A file system with nothing but /pause, as `docker import` takes it."""
    program = elf(architecture)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("pause")
        entry.size, entry.mode = len(program), 0o755
        tar.addfile(entry, io.BytesIO(program))
    return buffer.getvalue()
