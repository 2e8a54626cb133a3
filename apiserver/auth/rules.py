"""The table of what users may do. Pure data; `authorizer.py` reads it.

A rule allows `verbs` on `resources` to its `who`. Resources are named as in messages, with the subresource after a
slash: `pods`, `pods/status`, `deployments.apps/scale`; `*` is any resource with any subresource.
`paths` are for what is not a resource; a `*` at the end is any rest. `namespace` and `name`, if given, must match too;
the namespace `OWN` is the one of the service account that asks.

It is Kubernetes' bootstrap policy (its system: ClusterRoles), reduced to the components that exist here.
"""

from __future__ import annotations

from dataclasses import dataclass

from apiserver.auth.users import (
    AUTHENTICATED,
    BOOTSTRAPPERS,
    MASTERS,
    SERVICE_ACCOUNTS,
    UNAUTHENTICATED,
)

OWN = "<own>"


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table; `who` is the name of a user or a group."""

    who: str
    verbs: str
    resources: str = ""
    paths: str = ""
    namespace: str = ""
    name: str = ""


_READ = "get list watch"
_WRITE = "create update patch delete"
_HEALTH = "/healthz /livez /readyz /healthz/* /livez/* /readyz/* /version /version/"
_DISCOVERY = "/api /api/* /apis /apis/* /openapi/* /.well-known/openid-configuration /openid/v1/jwks"

RULES = (
    # Administrators, and the API server itself when it speaks to a kubelet.
    Rule(MASTERS, "*", "*", "*"),
    #
    # Everybody: health, and with credentials what kubectl must know to start.
    Rule(UNAUTHENTICATED, "get head", paths=_HEALTH),
    Rule(AUTHENTICATED, "get head", paths=f"{_HEALTH} {_DISCOVERY}"),
    #
    # A machine that joins: first without credentials, then with its token.
    Rule(UNAUTHENTICATED, "get", "configmaps", namespace="kube-public", name="cluster-info"),
    Rule(AUTHENTICATED, "get", "configmaps", namespace="kube-public", name="cluster-info"),
    Rule(BOOTSTRAPPERS, f"create {_READ}", "certificatesigningrequests.certificates.k8s.io"),
    #
    # The scheduler looks at everything that decides about a place, binds pods and says why it cannot.
    Rule("system:kube-scheduler", _READ, "pods nodes namespaces services configmaps replicasets.apps"),
    Rule("system:kube-scheduler", "delete", "pods"),
    Rule("system:kube-scheduler", "create", "pods/binding"),
    Rule("system:kube-scheduler", "update patch", "pods/status"),
    Rule("system:kube-scheduler", "create update patch", "events"),
    Rule("system:kube-scheduler", f"{_READ} {_WRITE}", "leases.coordination.k8s.io", namespace="kube-system"),
    #
    # Garbage collection and namespace deletion touch every kind there is.
    Rule("system:kube-controller-manager", f"{_READ} {_WRITE} deletecollection", "*"),
    #
    # The proxy, where it has an identity of its own.
    Rule("system:kube-proxy", _READ, "nodes services endpointslices.discovery.k8s.io"),
    Rule("system:kube-proxy", "create update patch", "events"),
    #
    # Programs in pods see their own namespace, without its secrets.
    Rule(
        SERVICE_ACCOUNTS,
        _READ,
        "pods pods/log services endpointslices.discovery.k8s.io configmaps serviceaccounts events "
        "deployments.apps replicasets.apps",
        namespace=OWN,
    ),
)
