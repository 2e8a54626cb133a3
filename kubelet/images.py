"""Getting images: pull policies, one pull at a time for an image, errors by Kubernetes' names."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from lightkube.models.core_v1 import Container

from kubelet.runtime.base import Image, Runtime, RuntimeFailure


class ImageError(Exception):
    """The image cannot be had: `reason` is ErrImagePull or ErrImageNeverPull."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Pulled:
    image: Image
    seconds: float | None = None
    """How long the pull took; None when the image was there."""

    def message(self, name: str) -> str:
        """Kubernetes' words for the Pulled event."""
        if self.seconds is None:
            return f'Container image "{name}" already present on machine'
        took = f"{self.seconds:.3f}s"
        size = self.image.size_bytes
        return f'Successfully pulled image "{name}" in {took} ({took} including waiting). Image size: {size} bytes.'


def pull_policy(container: Container) -> str:
    """As written, else Always for `latest` and IfNotPresent for any other tag."""
    if container.imagePullPolicy:
        return container.imagePullPolicy
    last = (container.image or "").rpartition("/")[2]
    return "Always" if "@" not in last and (":" not in last or last.endswith(":latest")) else "IfNotPresent"


class Images:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._pulls: dict[str, asyncio.Task[Image]] = {}

    async def present(self, container: Container) -> Image | None:
        """The image if no pull is needed. Raises ImageError when it is not there and must not be pulled."""
        policy = pull_policy(container)
        if policy == "Always":
            return None
        image = await self._runtime.image(container.image or "")
        if image is None and policy == "Never":
            message = f'Container image "{container.image}" is not present with pull policy of Never'
            raise ImageError("ErrImageNeverPull", message)
        return image

    async def pull(self, name: str) -> Pulled:
        """Raises ImageError. Pods that want the same image share one pull."""
        begun = time.monotonic()
        task = self._pulls.get(name)
        if task is None:
            task = self._pulls[name] = asyncio.create_task(self._runtime.pull(name))
            task.add_done_callback(lambda _: self._pulls.pop(name, None))
        try:
            # A pod that stops waiting must not end the pull for the others.
            image = await asyncio.shield(task)
        except RuntimeFailure as error:
            raise ImageError("ErrImagePull", f'failed to pull image "{name}": {error}') from error
        return Pulled(image, time.monotonic() - begun)
