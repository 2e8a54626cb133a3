"""From a kubeconfig file to a connected client."""

from __future__ import annotations

import httpx2
from lightkube import AsyncClient, KubeConfig

REQUEST_TIMEOUT_SECONDS = 10.0
"""For one request; watches have no read timeout of their own."""

MAX_CONNECTIONS = 200
"""Enough for every watch of a component and its concurrent writes. There is no client-side throttle."""


def connect(kubeconfig: str) -> AsyncClient:
    """A client for the current context of the kubeconfig file. Raises lightkube.ConfigError for an unusable one."""
    config = KubeConfig.from_file(kubeconfig).get()
    client = AsyncClient(config=config, timeout=httpx2.Timeout(REQUEST_TIMEOUT_SECONDS), trust_env=False)
    return client
