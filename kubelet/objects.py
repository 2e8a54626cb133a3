"""What a pod's spec refers to, fetched from the API server: ConfigMaps, Secrets, tokens, the `kubernetes` Service."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
from lightkube import ApiError
from lightkube.resources.core_v1 import ConfigMap, Pod, Secret, Service

from api import meta
from client import rest
from client.config import Client
from kubelet.pods.env import Reference
from kubelet.volumes.manager import Tokens

log = logging.getLogger("objects")

TOKEN_SECONDS = 3600
TOKEN_RENEWAL = 0.8
"""The share of its life after which a token is replaced."""


class Objects:
    def __init__(self, client: Client, *, ca: bytes) -> None:
        self._client = client
        self._ca = ca
        self._tokens: dict[tuple[str, str], tuple[str, float]] = {}
        self._tokens_offered = True
        self._said: set[str] = set()
        """Accounts whose lack of a token has been logged."""
        self._services: dict[str, str] | None = None

    async def fetch(self, namespace: str, wanted: Iterable[Reference]) -> dict[Reference, ConfigMap | Secret | None]:
        """None for an object that does not exist. Raises ApiError, httpx2.HTTPError."""
        references = list(wanted)
        found = await asyncio.gather(*(self._get(namespace, each) for each in references))
        return dict(zip(references, found, strict=True))

    async def _get(self, namespace: str, reference: Reference) -> ConfigMap | Secret | None:
        resource: Any = Secret if reference.kind == "Secret" else ConfigMap
        try:
            return await self._client.get(resource, reference.name, namespace=namespace)  # type: ignore[no-any-return]
        except ApiError as error:
            if error.status.code == 404:
                return None
            raise

    async def tokens(self, pod: Pod, audiences: Iterable[str]) -> Tokens | None:
        """The pod's service account tokens; None when the API server makes none."""
        if not self._tokens_offered:
            return None
        tokens = {}
        for audience in audiences:
            token = await self._token(pod, audience)
            if token is None:
                return None
            tokens[audience] = token
        return Tokens(tokens, self._ca) if tokens else None

    async def _token(self, pod: Pod, audience: str) -> str | None:
        key = (meta.uid(pod), audience)
        token, renew_at = self._tokens.get(key, ("", 0.0))
        if time.time() < renew_at:
            return token
        account = (pod.spec and (pod.spec.serviceAccountName or pod.spec.serviceAccount)) or "default"
        path = f"/api/v1/namespaces/{meta.namespace(pod)}/serviceaccounts/{account}/token"
        try:
            answer = await rest.request(self._client, "POST", path, body=_token_request(pod, audience))
        except ApiError as error:
            if error.status.code not in (404, 405):
                raise
            if account not in self._said:
                log.warning("%s: no service account token: %s", meta.key(pod), error.status.message)
                self._said.add(account)
            # A missing account may appear; a missing route will not.
            self._tokens_offered = error.status.code == 404 and "not found" in (error.status.message or "")
            return None
        status = msgspec.json.decode(answer)["status"]
        expires = datetime.fromisoformat(status["expirationTimestamp"]).astimezone(UTC).timestamp()
        self._tokens[key] = (status["token"], time.time() + (expires - time.time()) * TOKEN_RENEWAL)
        return str(status["token"])

    def forget(self, uid: str) -> None:
        """The pod is gone; so are its tokens."""
        for key in [each for each in self._tokens if each[0] == uid]:
            del self._tokens[key]

    async def service_environment(self) -> dict[str, str]:
        """Where the API server is reached from inside a pod."""
        if self._services is None:
            try:
                service = await self._client.get(Service, "kubernetes", namespace="default")
            except ApiError as error:
                if error.status.code == 404:
                    return {}
                raise
            self._services = _service_variables(service)
        return self._services


def _token_request(pod: Pod, audience: str) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "expirationSeconds": TOKEN_SECONDS,
        "audiences": [audience] if audience else [],
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": meta.name(pod), "uid": meta.uid(pod)},
    }
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}


def _service_variables(service: Service) -> dict[str, str]:
    spec = service.spec
    if spec is None or not spec.clusterIP or not spec.ports:
        return {}
    host, port = spec.clusterIP, str(spec.ports[0].port)
    address = f"tcp://{host}:{port}"
    return {
        "KUBERNETES_SERVICE_HOST": host,
        "KUBERNETES_SERVICE_PORT": port,
        "KUBERNETES_SERVICE_PORT_HTTPS": port,
        "KUBERNETES_PORT": address,
        f"KUBERNETES_PORT_{port}_TCP": address,
        f"KUBERNETES_PORT_{port}_TCP_PROTO": "tcp",
        f"KUBERNETES_PORT_{port}_TCP_PORT": port,
        f"KUBERNETES_PORT_{port}_TCP_ADDR": host,
    }
