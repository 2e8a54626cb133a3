"""NodeRestriction: what a node may say about itself, its pods and their tokens. Pure.

Kubernetes: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction. Whose object
it is was decided by the node authorizer where the request names it; here it is decided again by the object's own
name, which may be generated, and then what is in it.

Interface: the plug-in, and `token_complaint(...)` about a request for a token: the reason of a 403, or nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec
from lightkube.models.authentication_v1 import TokenRequestSpec

from api.errors import Forbidden
from apiserver.auth.node import LEASE_NAMESPACE, MIRROR, references
from apiserver.registry.plugin import Plugin
from apiserver.registry.write import Write

RESTRICTED = "node-restriction.kubernetes.io"
TOKEN_SECONDS = 3607
"""The longest life of a token whose volume names none: Kubernetes' own for the usual mount."""

_KUBERNETES = ("kubernetes.io", "k8s.io")
_OWN_LABELS = frozenset(
    f"{prefix}{name}"
    for prefix, names in {
        "kubernetes.io/": ("hostname", "os", "arch"),
        "beta.kubernetes.io/": ("os", "arch", "instance-type"),
        "node.kubernetes.io/": ("instance-type",),
        "topology.kubernetes.io/": ("zone", "region"),
        "failure-domain.beta.kubernetes.io/": ("zone", "region"),
    }.items()
    for name in names
)
_OWN_PREFIXES = ("kubelet.kubernetes.io", "node.kubernetes.io")


class NodeRestriction(Plugin):
    async def validate(self, write: Write) -> None:
        if node := write.user.node:
            resource = write.kind.qualified
            why = complaint(node, resource=resource, subresource=write.subresource, new=write.new, old=write.old)
            if why:
                raise Forbidden.of(qualified=resource, name=(write.new or write.old).metadata.name or "", why=why)


def complaint(node: str, *, resource: str, subresource: str, new: Any, old: Any) -> str:
    """About a create (`old` is None), a change, or a deletion (`new` is None) by `node`."""
    if resource == "nodes":
        return _node(node, new, old)
    if resource == "pods":
        return _pod(node, subresource, new, old)
    if resource == "leases.coordination.k8s.io":
        return _lease(node, new or old)
    return ""


# --- nodes ------------------------------------------------------------------------------------------------------------


def _node(node: str, new: Any, old: Any) -> str:
    name = (new or old).metadata.name
    if name != node:
        return f'node "{node}" is not allowed to modify node "{name}"'
    if new is None:
        return ""
    labels, before = new.metadata.labels or {}, (old and old.metadata.labels) or {}
    changed = {key for key in {*labels, *before} if labels.get(key) != before.get(key)}
    if refused := ", ".join(sorted(filter(_is_refused, changed))):
        what = "set the following labels" if old is None else "modify labels"
        return f'node "{node}" is not allowed to {what}: {refused}'
    if old is None:
        return ""
    if _taints(new) != _taints(old):
        return f'node "{node}" is not allowed to modify taints'
    if (new.metadata.ownerReferences or []) != (old.metadata.ownerReferences or []):
        return f'node "{node}" is not allowed to modify ownerReferences'  # by them it would have itself deleted
    return ""


def _taints(node: Any) -> list[Any]:
    return (node.spec and node.spec.taints) or []


def _is_refused(label: str) -> bool:
    """Whether a label is Kubernetes' own and none that kubelets set."""
    prefix, slash, _ = label.rpartition("/")
    if not slash or not _below(prefix, _KUBERNETES):
        return False
    return label not in _OWN_LABELS and not _below(prefix, _OWN_PREFIXES)


def _below(prefix: str, domains: tuple[str, ...]) -> bool:
    return any(prefix == each or prefix.endswith(f".{each}") for each in domains)


# --- pods -------------------------------------------------------------------------------------------------------------


def _pod(node: str, subresource: str, new: Any, old: Any) -> str:
    if old is None and not subresource:
        return _mirror(node, new)
    if old is not None and (not old.spec or old.spec.nodeName != node):
        verb = (
            "delete" if new is None else "update status for" if subresource == "status" else f"create {subresource} for"
        )
        return f'node "{node}" can only {verb} pods with spec.nodeName set to itself'
    if subresource == "status" and (new.metadata.labels or {}) != (old.metadata.labels or {}):
        return f'node "{node}" cannot update labels through pod status'
    return ""


def _mirror(node: str, pod: Any) -> str:
    """A node makes no pods but pictures of those its own disk told it to run; they name nothing of the cluster."""
    if MIRROR not in (pod.metadata.annotations or {}):
        return f'pod does not have "{MIRROR}" annotation, node "{node}" can only create mirror pods'
    if pod.spec.nodeName != node:
        return f'node "{node}" can only create pods with spec.nodeName set to itself'
    owners = pod.metadata.ownerReferences or []
    if [(each.apiVersion, each.kind, each.name) for each in owners] != [("v1", "Node", node)]:
        return f'node "{node}" can only create pods with an owner reference set to itself'
    named = sorted({resource for resource, _ in references(msgspec.to_builtins(pod))})
    return f'node "{node}" can not create pods that reference {" or ".join(named)}' if named else ""


# --- leases and tokens ------------------------------------------------------------------------------------------------


def _lease(node: str, lease: Any) -> str:
    if lease.metadata.namespace != LEASE_NAMESPACE:
        return f'can only access leases in the "{LEASE_NAMESPACE}" system namespace'
    return "" if lease.metadata.name == node else "can only access node lease with the same name as the requesting node"


def token_complaint(node: str, spec: TokenRequestSpec, pod: Any, *, seconds: int) -> str:
    """A node gets tokens for its own pods, for whom and for as long as their volumes say."""
    bound = spec.boundObjectRef
    if bound is None or bound.kind != "Pod" or not bound.name:
        return "node requested token not bound to a pod"
    if not bound.uid:
        return "node requested token with a pod binding without a uid"
    if pod.spec.nodeName != node:
        return "node requested token bound to a pod scheduled on a different node"
    projected = [volume.projected for volume in pod.spec.volumes or () if volume.projected]
    tokens = [each.serviceAccountToken for one in projected for each in one.sources or () if each.serviceAccountToken]
    allowed = {"": TOKEN_SECONDS}
    for token in tokens:
        audience = token.audience or ""
        allowed[audience] = max(allowed.get(audience, 0), token.expirationSeconds or TOKEN_SECONDS)
    for audience in spec.audiences or [""]:
        if audience not in allowed:
            return f'audience "{audience}" not found in pod spec volume'
        if seconds > allowed[audience]:
            return f"node requested a token for {seconds} s, the pod's volumes name at most {allowed[audience]} s"
    return ""
