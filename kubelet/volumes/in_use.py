"""Which network disks this node uses: told before one is mounted, until after it is unmounted (status.volumesInUse).

    announce(pod, disk)   return when the API server shows that the disk is in use
    drop(pod)             its volumes are unmounted, or never were mounted
    names()               what the node's status has to say

A disk is taken away from a living node only when it is not in use: also when its pod went without a grace period.
Kubernetes: the same order of things between kubelet and attach-detach controller.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from lightkube.resources.core_v1 import Node

from api import storage
from kubelet import limits
from kubelet.pods.env import ConfigError

_PREFIX = storage.unique_name(storage.SHARED, "")


class InUse:
    """`changed` is called when there is something else to say."""

    def __init__(self, disks: Path) -> None:
        self._disks = disks
        self._wanted: defaultdict[str, set[str]] = defaultdict(set)
        self._shown: set[str] = set()
        self._news = asyncio.Event()
        self.changed: Callable[[], None] = lambda: None

    def names(self) -> list[str]:
        there = {each.name for each in self._disks.glob("*")}
        return sorted(_PREFIX + each for each in there.union(*self._wanted.values()))

    def see(self, node: Node) -> None:
        """Our node, as the API server shows it."""
        self._shown = set((node.status and node.status.volumesInUse) or ())
        self._news.set()
        self._news = asyncio.Event()

    async def announce(self, uid: str, disk: str) -> None:
        """Raises ConfigError when that takes too long."""
        self._wanted[uid].add(disk)
        self.changed()
        try:
            async with asyncio.timeout(limits.ATTACH_SECONDS):
                while _PREFIX + disk not in self._shown:
                    await self._news.wait()
        except TimeoutError:
            raise ConfigError(f"volume {disk} has not yet been added to the list of VolumesInUse") from None

    def drop(self, uid: str) -> None:
        self._wanted.pop(uid, None)
        self.changed()
