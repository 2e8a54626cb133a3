"""The few calls init and join make to an API server, with errors a person can read.

bootstrap is synchronous: it runs once and from a command line, so the synchronous client fits.
"""

from __future__ import annotations

import base64
import functools
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from lightkube import ApiError, Client
from lightkube.core.decoders import WatchEvent
from lightkube.core.exceptions import ConfigError
from lightkube.models.meta_v1 import Status
from lightkube.resources.certificates_v1 import CertificateSigningRequest
from lightkube.resources.core_v1 import ConfigMap, Node, Pod, Secret

from bootstrap import kubeconfig, limits
from bootstrap.errors import BootstrapError, DiscoveryError, TokenError
from client.config import SyncClient, connect_sync

_DECODED = (Status, WatchEvent, Node, Pod, Secret, ConfigMap, CertificateSigningRequest)
_decoding = threading.Lock()


def connect(path: Path) -> SyncClient:
    """A client for the current context of a kubeconfig file."""
    return connect_with(kubeconfig.load(path), origin=path)


def connect_with(config: kubeconfig.Config, *, origin: Path | None = None) -> SyncClient:
    """A client for the current context of a kubeconfig, however it was read."""
    with _decoding:
        _learn_types()
        try:
            return connect_sync(config, origin=origin)
        except (ConfigError, KeyError, ValueError, TypeError) as error:
            raise BootstrapError(f"cannot use the kubeconfig {origin or ''}: {reason(error)}") from None


@functools.cache
def _learn_types() -> None:
    """Let msgspec learn the types of this module's users, in one thread.

    It does so when it first meets a type, and crashes the process if two threads meet one at the same time; the lab
    joins its nodes in threads.
    """
    for each in _DECODED:
        msgspec.json.Decoder(each)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn what lightkube and httpx raise into a BootstrapError of one line."""
    try:
        yield
    except ApiError as error:
        if error.status.code == 401:
            raise TokenError("the server does not accept the token: it is wrong or has expired") from None
        raise BootstrapError(f"the API server refused: {error.status.message}") from None
    except httpx2.HTTPError as error:
        raise DiscoveryError(f"the API server cannot be reached: {reason(error)}") from None


def reason(error: Exception) -> str:
    """The innermost cause, as one line."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return (str(error) or type(error).__name__).splitlines()[0]


def wait_ready(server: str, ca_file: Path, *, timeout: float) -> bool:
    """Wait until `server`/readyz answers ok. A process being born offers nothing to watch yet, so this asks again."""
    context = ssl.create_default_context(cafile=str(ca_file))
    deadline = time.monotonic() + timeout
    with httpx2.Client(verify=context, trust_env=False, timeout=limits.READY_TIMEOUT) as http:
        while time.monotonic() < deadline:
            try:
                if http.get(f"{server}/readyz").status_code == 200:
                    return True
            except httpx2.HTTPError:
                pass
            time.sleep(limits.RETRY_EVERY)
    return False


def create_or_replace(client: Client, wanted: Any, *, keep: bool = False) -> None:
    """Let the object be as wanted, whether there is one of its name or not; with `keep` that one stays as it is."""
    try:
        client.create(wanted)
    except ApiError as error:
        if error.status.code != 409:
            raise
        if not keep:
            client.replace(wanted)


def base64_text(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def from_base64(text: str) -> str:
    return base64.b64decode(text).decode(errors="replace")
