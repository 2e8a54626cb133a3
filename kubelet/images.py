"""Getting images: pull policies, one pull at a time for an image, errors by Kubernetes' names."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from lightkube.models.core_v1 import Container
from lightkube.resources.core_v1 import Secret

from kubelet.runtime.base import Credentials, Image, Runtime, RuntimeFailure


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
        self._pulls: dict[tuple[str, tuple[Credentials, ...]], asyncio.Task[Image]] = {}

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

    async def pull(self, name: str, keys: Sequence[Credentials] = ()) -> Pulled:
        """Raises ImageError. Pods that want the same image, with the same rights to it, share one pull."""
        begun = time.monotonic()
        which = (name, tuple(keys))
        task = self._pulls.get(which)
        if task is None:
            task = self._pulls[which] = asyncio.create_task(self._pull(name, keys))
            task.add_done_callback(lambda _: self._pulls.pop(which, None))
        try:
            # A pod that stops waiting must not end the pull for the others.
            image = await asyncio.shield(task)
        except RuntimeFailure as error:
            raise ImageError("ErrImagePull", f'failed to pull image "{name}": {error}') from error
        return Pulled(image, time.monotonic() - begun)

    async def _pull(self, name: str, keys: Sequence[Credentials]) -> Image:
        """With each key in turn, the best match first; without any, as anybody."""
        for key in keys[:-1]:
            with contextlib.suppress(RuntimeFailure):
                return await self._runtime.pull(name, key)
        return await self._runtime.pull(name, keys[-1] if keys else None)


# Pull secrets. Pure.


def credentials(name: str, secrets: Sequence[Secret]) -> list[Credentials]:
    """What the pull secrets hold for the image's registry, longest match first.

    Kubernetes: https://kubernetes.io/docs/concepts/containers/images/#specifying-imagepullsecrets-on-a-pod
    """
    wanted = _qualified(name)
    found = [(host, key) for secret in secrets for host, key in _keys(secret) if _covers(host, wanted)]
    return list(dict.fromkeys(key for _, key in sorted(found, key=lambda each: -len(each[0]))))


def _qualified(name: str) -> str:
    """With its registry, which only names without one leave out."""
    first, slash, _ = name.partition("/")
    named = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return name if named else f"docker.io/{name}" if slash else f"docker.io/library/{name}"


def _covers(host: str, image: str) -> bool:
    return image == host or image.startswith((f"{host}/", f"{host}:"))


def _keys(secret: Secret) -> Iterator[tuple[str, Credentials]]:
    data = secret.data or {}
    with contextlib.suppress(binascii.Error, ValueError, msgspec.MsgspecError):
        if secret.type == "kubernetes.io/dockerconfigjson":
            config = msgspec.json.decode(base64.b64decode(data.get(".dockerconfigjson", "")), type=_Config)
            yield from _entries(config.auths)
        elif secret.type == "kubernetes.io/dockercfg":
            text = base64.b64decode(data.get(".dockercfg", ""))
            yield from _entries(msgspec.json.decode(text, type=dict[str, dict[str, Any]]))


class _Config(msgspec.Struct):
    auths: dict[str, dict[str, Any]] = {}


def _entries(auths: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Credentials]]:
    for host, entry in auths.items():
        plain = base64.b64decode(str(entry.get("auth") or "")).decode()
        user, _, password = plain.partition(":")
        host = host.removeprefix("https://").removeprefix("http://").rstrip("/")
        host = host.removesuffix("/v1").removesuffix("/v2")
        host = "docker.io" if host == "index.docker.io" else host
        yield host, Credentials(str(entry.get("username") or user), str(entry.get("password") or password))
