"""From a kubeconfig to a connected client: the HTTP stack of everything that takes longer than a command.

`connect` is for components (asyncio), `connect_sync` for init, join and the lab; `minikctl get` cannot wait for their
imports (blocking.py). Both are lightkube's clients with typed calls (get, list, create, patch, ...), and `http` beside
them: the same connections for requests lightkube has no call for. There is no client-side throttle.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import lightkube
from lightkube.config.client_adapter import ConnectionParams
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.core.exceptions import ConfigError

from api import keepalive

REQUEST_TIMEOUT_SECONDS = 10.0
"""For one request; watches have no read timeout of their own."""

LIMITS = httpx2.Limits(max_connections=200, max_keepalive_connections=200, keepalive_expiry=60.0)
"""Enough connections for every watch of a component and its concurrent writes. One that idles is kept for so many
seconds: each new one costs a handshake of mutual TLS. Servers keep them longer (kube-apiserver 90 s, ours 300 s), so
that a request never goes out on a connection that is being closed."""


class Client(lightkube.AsyncClient):
    """A connection to one API server, with the credentials of one context."""

    def __init__(self, config: SingleConfig) -> None:
        params = _params(config)
        transport = httpx2.AsyncHTTPTransport(
            verify=params["verify"], limits=LIMITS, trust_env=False, socket_options=keepalive.options()
        )
        super().__init__(config=config, timeout=params["timeout"], trust_env=False, transport=transport)
        self.http = httpx2.AsyncClient(**params | {"transport": transport})


class SyncClient(lightkube.Client):
    """The same for command lines."""

    def __init__(self, config: SingleConfig) -> None:
        params = _params(config)
        transport = httpx2.HTTPTransport(verify=params["verify"], limits=LIMITS, trust_env=False)
        super().__init__(config=config, timeout=params["timeout"], trust_env=False, transport=transport)
        self.http = httpx2.Client(**params | {"transport": transport})


def connect(kubeconfig: str | os.PathLike[str], *, agent: str = "minik") -> Client:
    """A client for the current context of the kubeconfig file. Raises lightkube.ConfigError for an unusable one.

    agent: what it calls itself; the server names the writer of a field after it.
    """
    client = Client(_current(KubeConfig.from_file(kubeconfig)))
    for http in (client.http, client._client._client):
        http.headers["User-Agent"] = agent
    return client


def connect_sync(kubeconfig: str | os.PathLike[str] | Mapping[str, Any], *, origin: Path | None = None) -> SyncClient:
    """As `connect`; a kubeconfig that was read already is taken too, `origin` being where its relative paths start."""
    if isinstance(kubeconfig, Mapping):
        return SyncClient(_current(KubeConfig.from_dict(dict(kubeconfig), fname=origin)))
    return SyncClient(_current(KubeConfig.from_file(kubeconfig)))


def _current(config: KubeConfig) -> SingleConfig:
    current = config.get()
    if current is None:
        raise ConfigError("the kubeconfig has no current context")
    return current


def _params(config: SingleConfig) -> dict[str, Any]:
    timeout = httpx2.Timeout(REQUEST_TIMEOUT_SECONDS)
    return ConnectionParams(timeout=timeout, trust_env=False).httpx_params(config)
