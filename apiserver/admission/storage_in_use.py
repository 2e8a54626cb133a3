"""StorageObjectInUseProtection: claims and volumes carry a finalizer, so that none goes while it is used.

A controller takes it away (controllers/volume_protection.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def protects(finalizer: str) -> Callable[[Any], None]:
    """What a kind's `prepare_create` does."""

    def prepare(obj: Any) -> None:
        present = obj.metadata.finalizers or []
        if finalizer not in present:
            obj.metadata.finalizers = [*present, finalizer]

    return prepare
