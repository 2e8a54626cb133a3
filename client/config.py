"""From a kubeconfig to a connected client: the HTTP stack of everything that takes longer than a command.

With several API servers, requests go to one that answers (client/failover.py).

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
import yaml
from lightkube.config.client_adapter import ConnectionParams
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.core.exceptions import ConfigError

from client.failover import Failover, Servers
from client.servers import SOCKET_OPTIONS, listed

REQUEST_TIMEOUT_SECONDS = 10.0
"""For one request; watches have no read timeout of their own."""

LIMITS = httpx2.Limits(max_connections=200, max_keepalive_connections=200, keepalive_expiry=60.0)
"""Enough connections for every watch of a component and its concurrent writes. One that idles is kept for so many
seconds: each new one costs a handshake of mutual TLS. Servers keep them longer (kube-apiserver 90 s, ours 300 s), so
that a request never goes out on a connection that is being closed."""


class Client(lightkube.AsyncClient):
    """A connection to the API servers of one cluster, with the credentials of one context."""

    def __init__(self, config: SingleConfig, servers: Servers) -> None:
        params = _params(config)
        self.servers = servers
        transport = Failover(httpx2.AsyncHTTPTransport(verify=params["verify"], **_TRANSPORT), servers)
        super().__init__(config=config, timeout=params["timeout"], trust_env=False, transport=transport)
        self.http = httpx2.AsyncClient(**params | {"transport": transport})


class SyncClient(lightkube.Client):
    """The same for command lines."""

    def __init__(self, config: SingleConfig, servers: Servers) -> None:
        params = _params(config)
        self.servers = servers
        transport = Failover(httpx2.HTTPTransport(verify=params["verify"], **_TRANSPORT), servers)
        super().__init__(config=config, timeout=params["timeout"], trust_env=False, transport=transport)
        self.http = httpx2.Client(**params | {"transport": transport})


_TRANSPORT: dict[str, Any] = {"limits": LIMITS, "trust_env": False, "socket_options": SOCKET_OPTIONS}


def connect(kubeconfig: str | os.PathLike[str], *, agent: str = "minik") -> Client:
    """A client for the current context of the kubeconfig file. Raises lightkube.ConfigError for an unusable one.

    agent: what it calls itself; the server names the writer of a field after it.
    """
    client = Client(*_current(_read(kubeconfig), Path(kubeconfig)))
    for http in (client.http, client._client._client):
        http.headers["User-Agent"] = agent
    return client


def connect_sync(kubeconfig: str | os.PathLike[str] | Mapping[str, Any], *, origin: Path | None = None) -> SyncClient:
    """As `connect`; a kubeconfig that was read already is taken too, `origin` being where its relative paths start."""
    if isinstance(kubeconfig, Mapping):
        return SyncClient(*_current(kubeconfig, origin))
    return SyncClient(*_current(_read(kubeconfig), Path(kubeconfig)))


def _read(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    try:
        content = yaml.load(Path(path).expanduser().read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except FileNotFoundError:
        raise ConfigError(f"Configuration file {path} not found") from None
    if not isinstance(content, Mapping):
        raise ConfigError(f"{path} holds no kubeconfig")
    return content


def _current(content: Mapping[str, Any], origin: Path | None) -> tuple[SingleConfig, Servers]:
    current = KubeConfig.from_dict(dict(content), fname=origin).get()
    if current is None:
        raise ConfigError("the kubeconfig has no current context")
    clusters = {entry["name"]: entry["cluster"] for entry in content["clusters"]}
    return current, Servers(listed(clusters[current.context.cluster]))


def _params(config: SingleConfig) -> dict[str, Any]:
    timeout = httpx2.Timeout(REQUEST_TIMEOUT_SECONDS)
    return ConnectionParams(timeout=timeout, trust_env=False).httpx_params(config)
