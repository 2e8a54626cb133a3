"""What a node may do: Kubernetes' Node authorizer and NodeRestriction, in essence.

A kubelet's credentials lie on a machine that runs other people's containers, so they are worth little elsewhere:
- it reads what every kubelet and proxy needs (pods, nodes, services, endpoints),
- it writes its own Node and its own Lease, the status of pods bound to it, and their final deletion,
- it reads a Secret or ConfigMap only if a pod bound to it uses that one, and gets service account tokens only for the
  accounts of such pods.
https://kubernetes.io/docs/reference/access-authn-authz/node/

Pure but for what `Pods` looks up in the watch cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import msgspec

from apiserver.storage.base import resource_key
from apiserver.storage.cache import Entry

LEASE_NAMESPACE = "kube-node-lease"
ROOT_CA_CONFIG_MAP = "kube-root-ca.crt"  # every pod with a service account token gets it

_READ = ("get", "list", "watch")
_WRITE = ("create", "update", "patch", "delete")
_EVERY_NODE_READS = (
    "nodes",
    "pods",
    "services",
    "endpointslices.discovery.k8s.io",
    "namespaces",
    "serviceaccounts",
    "certificatesigningrequests.certificates.k8s.io",
)


class Pods(Protocol):
    """The part of the watch cache that is needed here."""

    def get(self, key: str) -> Entry | None: ...
    def list(self, resource: str, namespace: str = "") -> list[Entry]: ...


class Attributes(Protocol):
    """See `authorizer.Attributes`."""

    verb: str
    namespace: str
    name: str


def why_not(node: str, resource: str, attributes: Attributes, name: str, pods: Pods) -> str:
    """Why `node` may not do this; empty if it may. `resource` has its subresource; `name` is that of the object.

    A create without a name, because its body was not read yet, is allowed for kinds the node may create.
    """
    verb, namespace = attributes.verb, attributes.namespace
    if resource in _EVERY_NODE_READS and verb in _READ:
        return ""
    if resource == "events" and verb in ("create", "update", "patch"):
        return ""
    if resource == "certificatesigningrequests.certificates.k8s.io" and verb == "create":
        return ""
    if resource in ("nodes", "nodes/status"):
        return _own(node, name, verb, "node")
    if resource == "leases.coordination.k8s.io" and verb in ("get", *_WRITE):
        return _own(node, name, verb, "lease") if namespace == LEASE_NAMESPACE else f"only in {LEASE_NAMESPACE}"
    if (resource == "pods/status" and verb in ("update", "patch")) or (resource == "pods" and verb == "delete"):
        pod = pods.get(resource_key("pods", namespace, name))
        if pod is None or pod.fields.get("spec.nodeName") == node:  # one that is gone is told so by 404
            return ""
        return "the pod is not bound to this node"
    if resource in ("secrets", "configmaps") and verb == "get":
        return _used(node, resource, namespace, name, pods)
    if resource == "serviceaccounts/token" and verb == "create":
        return _used(node, resource, namespace, name, pods)
    return "nodes may not do this"


def _own(node: str, name: str, verb: str, what: str) -> str:
    if verb not in ("get", *_WRITE):
        return f"a node may not {verb} {what}s"
    return "" if name == node or (verb == "create" and not name) else f"not the {what} of this node"


def _used(node: str, resource: str, namespace: str, name: str, pods: Pods) -> str:
    if resource == "configmaps" and name == ROOT_CA_CONFIG_MAP:
        return ""
    for entry in pods.list("pods", namespace):
        if entry.fields.get("spec.nodeName") == node and name in references(entry.value)[resource]:
            return ""
    return "no pod bound to this node uses it"


def references(pod: bytes) -> dict[str, set[str]]:
    """Names of the Secrets, ConfigMaps and service account (tokens) that a pod uses."""
    spec = msgspec.json.decode(pod).get("spec") or {}
    containers = [*spec.get("containers", ()), *spec.get("initContainers", ())]
    volumes = [source for volume in spec.get("volumes", ()) for source in _sources(volume)]
    env = [item.get("valueFrom") or {} for container in containers for item in container.get("env") or ()]
    env_from = [item for container in containers for item in container.get("envFrom") or ()]
    secrets = [
        *_names(spec.get("imagePullSecrets") or (), "name"),
        *_names(_members(volumes, "secret"), "secretName", "name"),
        *_names([*_members(env, "secretKeyRef"), *_members(env_from, "secretRef")], "name"),
    ]
    config_maps = [
        *_names(_members(volumes, "configMap"), "name"),
        *_names([*_members(env, "configMapKeyRef"), *_members(env_from, "configMapRef")], "name"),
    ]
    accounts = {spec.get("serviceAccountName") or "default"}
    return {"secrets": {*secrets}, "configmaps": {*config_maps}, "serviceaccounts/token": accounts}


def _sources(volume: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield volume
    yield from (volume.get("projected") or {}).get("sources") or ()


def _members(items: Iterable[dict[str, Any]], member: str) -> list[dict[str, Any]]:
    return [found for item in items if (found := item.get(member))]


def _names(items: Iterable[dict[str, Any]], *members: str) -> list[str]:
    return [item[member] for item in items for member in members if item.get(member)]
