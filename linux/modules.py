"""Kernel modules. Failing to load one is not final: what is built in has nothing to load."""

from __future__ import annotations

import contextlib
import subprocess


def load(*names: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        subprocess.run(["modprobe", "--all", "--quiet", *names], capture_output=True, check=False)
