"""The node authorizer: what a kubelet may do, which depends on the pods bound to its node.

A kubelet's credentials lie on a machine that runs other people's containers, so they are worth little elsewhere: of
Secrets, ConfigMaps, claims and service account tokens it gets those that its own pods name; it sees its own pods, and
writes its own Node, its own Lease and the status of its own pods. Every node serves every Ingress, so it gets the
Secrets with their certificates too. What such a write may say is for the admission
plug-in NodeRestriction. https://kubernetes.io/docs/reference/access-authn-authz/node/

Interface: `NodeAuthorizer.follow(cache)`; `why_not(node, asked)` is None for a yes.

Invariants
- The graph (node -> what its pods name) follows the watch cache change by change; a question is a lookup.
- Only a pod that is bound counts, and only until it is deleted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import msgspec
from lightkube.models.rbac_v1 import RoleRef

from apiserver.auth.attributes import Attributes
from apiserver.auth.default_roles import rules_of
from apiserver.auth.rbac import Binding, Grants, Matcher
from apiserver.auth.users import NODES
from apiserver.storage.base import resource_key
from apiserver.storage.cache import Entry, Follower

LEASE_NAMESPACE = "kube-node-lease"
MIRROR = "kubernetes.io/config.mirror"
EVERY_NODE = ""

Reference = tuple[str, str]
"""(resource, name) in the pod's own namespace."""


class Cache(Protocol):
    """The part of the watch cache that is needed here."""

    def get(self, key: str) -> Entry | None: ...
    def follow(self, resource: str, follower: Follower) -> None: ...


class Graph:
    """Which node's pods name what."""

    def __init__(self) -> None:
        self._pods: dict[str, tuple[str, frozenset[Reference]]] = {}  # key of a bound pod -> its node, what it names
        self._uses: Counter[tuple[str, str, str, str]] = Counter()  # (node, resource, namespace, name) -> pods

    def uses(self, node: str, resource: str, namespace: str, name: str) -> bool:
        return any((each, resource, namespace, name) in self._uses for each in (node, EVERY_NODE))

    def node_of(self, pod: str) -> str | None:
        """The node of a pod, given by its storage key; None for one that is not there or not bound."""
        found = self._pods.get(pod)
        return found[0] if found else None

    def pod_changed(self, old: Entry | None, new: Entry | None) -> None:
        """A follower of pods. What a bound pod names stays the same, so most changes are no news."""
        node = new.fields.get("spec.nodeName", "") if new is not None else ""
        entry = new or old
        assert entry is not None
        known = self._pods.get(entry.key)
        grows = new is not None and b'"ephemeralContainers"' in new.value  # the one part of a pod that may
        if old is not None and new is not None and known is not None and known[0] == node and not grows:
            return
        if known is not None:
            self._count(known, entry.namespace, -1)
            del self._pods[entry.key]
        if new is not None and node:
            pod = self._pods[entry.key] = (node, frozenset(references(msgspec.json.decode(new.value))))
            self._count(pod, entry.namespace, 1)

    def ingress_changed(self, old: Entry | None, new: Entry | None) -> None:
        """A follower of Ingresses."""
        for entry, by in ((old, -1), (new, 1)):
            if entry is not None:
                tls = (msgspec.json.decode(entry.value).get("spec") or {}).get("tls") or ()
                named = frozenset(("secrets", name) for name in _names(tls, "secretName"))
                self._count((EVERY_NODE, named), entry.namespace, by)

    def _count(self, pod: tuple[str, frozenset[Reference]], namespace: str, by: int) -> None:
        node, names = pod
        for resource, name in names:
            key = (node, resource, namespace, name)
            self._uses[key] += by
            if self._uses[key] <= 0:
                del self._uses[key]


class NodeAuthorizer:
    """Decides about nodes; see the module."""

    def __init__(self) -> None:
        self.graph = Graph()
        self._lookup: Callable[[str], Entry | None] = lambda key: None
        self._rules = Grants()
        role = Binding("system:node", "", RoleRef("ClusterRole", "system:node"))
        self._rules.add(role, f'Group "{NODES}"', [Matcher(rule) for rule in rules_of("system:node")])
        self._special: dict[tuple[str, str], Callable[[str, Attributes], str | None]] = {
            ("", "secrets"): self._related,
            ("", "configmaps"): self._related,
            ("", "persistentvolumeclaims"): self._related,
            ("", "serviceaccounts"): self._related,
            ("", "persistentvolumes"): self._volume,
            ("", "pods"): self._pod,
            ("", "nodes"): _own_node,
            ("coordination.k8s.io", "leases"): _own_lease,
            ("storage.k8s.io", "csinodes"): _own_node,
            ("storage.k8s.io", "volumeattachments"): self._attachment,
        }

    def follow(self, cache: Cache) -> None:
        self._lookup = cache.get
        cache.follow("pods", self.graph.pod_changed)
        cache.follow("ingresses.networking.k8s.io", self.graph.ingress_changed)

    def why_not(self, node: str, asked: Attributes) -> str | None:
        """Why a node may not do this, in Kubernetes' words; None: it may."""
        if not self._rules.allows(asked):
            return ""
        decide = self._special.get((asked.group, asked.resource))
        return decide(node, asked) if decide else None

    def _related(self, node: str, asked: Attributes) -> str | None:
        if not asked.name:
            return "No Object name found"
        if self.graph.uses(node, asked.resource, asked.namespace, asked.name):
            return None
        return f"no relationship found between node '{node}' and this object"

    def _volume(self, node: str, asked: Attributes) -> str | None:
        """The volume of a claim that one of the node's pods names."""
        entry = self._lookup(resource_key("persistentvolumes", "", asked.name))
        spec = msgspec.json.decode(entry.value).get("spec", {}) if entry else {}
        claim = spec.get("claimRef") or {}
        where = claim.get("namespace", ""), claim.get("name", "")
        if self.graph.uses(node, "persistentvolumeclaims", *where):
            return None
        return f"no relationship found between node '{node}' and this object"

    def _attachment(self, node: str, asked: Attributes) -> str | None:
        """Of a volume to the node itself: it holds the key to the volume."""
        entry = self._lookup(resource_key("volumeattachments.storage.k8s.io", "", asked.name))
        if entry is None or msgspec.json.decode(entry.value).get("spec", {}).get("nodeName") == node:
            return None  # one that is gone is told so by 404
        return f"no relationship found between node '{node}' and this object"

    def _pod(self, node: str, asked: Attributes) -> str | None:
        if asked.verb in ("list", "watch"):
            if asked.fields.get("spec.nodeName") == node:
                return None
            return "can only list/watch pods with spec.nodeName field selector"
        if asked.verb == "create" and not asked.subresource:
            return None  # of a mirror pod; NodeRestriction looks at it
        key = resource_key("pods", asked.namespace, asked.name)
        if self.graph.node_of(key) == node or self._lookup(key) is None:  # one that is gone is told so by 404
            return None
        return f"node '{node}' can only {asked.verb} pods with spec.nodeName set to itself"


def _own_node(node: str, asked: Attributes) -> str | None:
    if asked.name == node or (asked.verb == "create" and not asked.name):
        return None
    return f"node '{node}' cannot {asked.verb} other nodes, only its own Node object"


def _own_lease(node: str, asked: Attributes) -> str | None:
    if asked.namespace != LEASE_NAMESPACE:
        return f'can only access leases in the "{LEASE_NAMESPACE}" system namespace'
    if asked.name == node or (asked.verb == "create" and not asked.name):
        return None
    return "can only access node lease with the same name as the requesting node"


# --- what a pod names -------------------------------------------------------------------------------------------------


def references(pod: dict[str, Any]) -> set[Reference]:
    """The Secrets, ConfigMaps, claims and the service account that a pod uses. Pure."""
    spec = pod.get("spec") or {}
    kinds = ("containers", "initContainers", "ephemeralContainers")
    containers = [each for kind in kinds for each in spec.get(kind) or ()]
    volumes = [source for volume in spec.get("volumes") or () for source in _sources(volume)]
    env = [item.get("valueFrom") or {} for container in containers for item in container.get("env") or ()]
    env_from = [item for container in containers for item in container.get("envFrom") or ()]
    mirror = MIRROR in ((pod.get("metadata") or {}).get("annotations") or {})
    account = spec.get("serviceAccountName") or spec.get("serviceAccount") or ("" if mirror else "default")
    found = {
        "secrets": [
            *_names(spec.get("imagePullSecrets") or (), "name"),
            *_names(_members(volumes, "secret"), "secretName", "name"),
            *_names([*_members(env, "secretKeyRef"), *_members(env_from, "secretRef")], "name"),
            *_driver_secrets(volumes),
        ],
        "configmaps": [
            *_names(_members(volumes, "configMap"), "name"),
            *_names([*_members(env, "configMapKeyRef"), *_members(env_from, "configMapRef")], "name"),
        ],
        "persistentvolumeclaims": [
            *_names(_members(volumes, "persistentVolumeClaim"), "claimName"),
            *(f"{pod['metadata'].get('name')}-{each['name']}" for each in volumes if "ephemeral" in each),
        ],
        "serviceaccounts": [account] if account else [],
    }
    return {(resource, name) for resource, names in found.items() for name in names}


def _sources(volume: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield volume
    yield from (volume.get("projected") or {}).get("sources") or ()


def _driver_secrets(volumes: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Drivers of other systems name a Secret in one of two ways."""
    for volume in volumes:
        for source in volume.values():
            if isinstance(source, dict):
                for member in ("secretRef", "nodePublishSecretRef"):
                    yield from _names([source.get(member) or {}], "name")


def _members(items: Iterable[dict[str, Any]], member: str) -> list[dict[str, Any]]:
    return [found for item in items if (found := item.get(member))]


def _names(items: Iterable[dict[str, Any]], *members: str) -> list[str]:
    return [item[member] for item in items for member in members if item.get(member)]
