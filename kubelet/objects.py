"""What a pod's spec refers to at the API server: ConfigMaps and Secrets (watched), tokens, the `kubernetes` Service."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
from lightkube import ApiError
from lightkube.resources.core_v1 import ConfigMap, Pod, Secret, Service

from api import meta
from client import rest
from client.config import Client
from client.informer import Informer
from kubelet import limits
from kubelet.pods.env import Reference
from kubelet.volumes.plugin import TokenRequest, Tokens

log = logging.getLogger("objects")


class NotSynced(Exception):
    """The API server has not answered yet, or does not let us see the object."""


@dataclass(slots=True)
class _Followed:
    """One ConfigMap or Secret, and the pods that want to know of its changes."""

    informer: Informer[Any]
    task: asyncio.Task[None]
    users: dict[str, Callable[[], None]] = field(default_factory=dict)


class Objects:
    def __init__(self, client: Client, *, ca: bytes) -> None:
        self._client = client
        self._ca = ca
        self._followed: dict[tuple[str, Reference], _Followed] = {}
        self._tokens: dict[tuple[str, TokenRequest], tuple[str, float]] = {}
        self._tokens_offered = True
        self._said: set[str] = set()
        """Accounts whose lack of a token has been logged."""
        self._services: dict[str, str] | None = None

    def follow(self, pod: Pod, wanted: Iterable[Reference], changed: Callable[[], None]) -> None:
        """Watch what the pod refers to, each object by a watch of its own, until `forget`. Repeating it is fine.

        Kubernetes: the kubelet's watch-based manager; a node may not watch objects that no pod of its refers to.
        """
        for reference in wanted:
            key = (meta.namespace(pod), reference)
            if key not in self._followed:
                self._followed[key] = self._watch(*key)
            self._followed[key].users[meta.uid(pod)] = changed

    def _watch(self, namespace: str, reference: Reference) -> _Followed:
        resource: Any = Secret if reference.kind == "Secret" else ConfigMap
        informer = Informer(self._client, resource, namespace=namespace, fields=f"metadata.name={reference.name}")
        followed = _Followed(informer, asyncio.create_task(informer.run()))

        def tell(old: Any, new: Any) -> None:
            if informer.synced:
                for changed in list(followed.users.values()):
                    changed()

        informer.on_change(tell)
        return followed

    async def fetch(self, namespace: str, wanted: Iterable[Reference]) -> dict[Reference, ConfigMap | Secret | None]:
        """What `follow` has seen; None for an object that does not exist. Raises NotSynced."""
        followed = {each: self._followed[namespace, each].informer for each in wanted}
        try:
            async with asyncio.timeout(limits.SYNC_SECONDS):
                for informer in followed.values():
                    await informer.wait_synced()
        except TimeoutError:
            late = next(each for each, informer in followed.items() if not informer.synced)
            raise NotSynced(f"failed to sync {late.kind.lower()} cache: timed out waiting for the condition") from None
        return {each: informer.get(f"{namespace}/{each.name}") for each, informer in followed.items()}

    async def tokens(self, pod: Pod, wanted: Iterable[TokenRequest]) -> Tokens | None:
        """The pod's service account tokens; None when the API server makes none."""
        if not self._tokens_offered:
            return None
        tokens = {}
        for each in wanted:
            token = await self._token(pod, each)
            if token is None:
                return None
            tokens[each] = token
        return Tokens(tokens, self._ca) if tokens else None

    async def _token(self, pod: Pod, wanted: TokenRequest) -> str | None:
        key = (meta.uid(pod), wanted)
        token, renew_at = self._tokens.get(key, ("", 0.0))
        if time.time() < renew_at:
            return token
        account = (pod.spec and (pod.spec.serviceAccountName or pod.spec.serviceAccount)) or "default"
        path = f"/api/v1/namespaces/{meta.namespace(pod)}/serviceaccounts/{account}/token"
        try:
            answer = await rest.request(self._client, "POST", path, body=_token_request(pod, wanted))
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
        self._tokens[key] = (status["token"], time.time() + (expires - time.time()) * limits.TOKEN_RENEWAL_SHARE)
        return str(status["token"])

    def forget(self, uid: str) -> None:
        """The pod is gone; so are its tokens, and nobody asks for it after its objects any more."""
        for which, followed in list(self._followed.items()):
            if followed.users.pop(uid, None) is not None and not followed.users:
                followed.task.cancel()
                del self._followed[which]
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


def _token_request(pod: Pod, wanted: TokenRequest) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "expirationSeconds": wanted.seconds,
        "audiences": [wanted.audience] if wanted.audience else [],
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
