"""The roles and bindings every cluster has, as data. Pure.

They are Kubernetes' bootstrap policy (https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings)
for the components that exist here, and a few of our own where a component does what Kubernetes leaves to an add-on:
they are called `minik:`. Written compactly: verbs, API groups (the core group is the empty word), resources, each a
list in one text.

Interface: `objects()` gives (resource, namespace, object) for all of them; `NODE_RULES` is what the node authorizer
starts from.

A controller's rights are its own ClusterRole `system:controller:NAME`, bound as in Kubernetes to the service account
of that name in kube-system, and to the controller manager, whose loops share one identity here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.models.rbac_v1 import AggregationRule, PolicyRule, RoleRef, Subject
from lightkube.resources.rbac_authorization_v1 import ClusterRole, ClusterRoleBinding, Role, RoleBinding

from apiserver.auth.rbac import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, GROUP, ROLE_BINDINGS, ROLES
from apiserver.auth.users import AUTHENTICATED, MASTERS, NODES, UNAUTHENTICATED

BOOTSTRAPPING = {"kubernetes.io/bootstrapping": "rbac-defaults"}
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"

KUBE_SYSTEM = "kube-system"
MANAGER = "system:kube-controller-manager"

READ = "get list watch"
WRITE = "create delete deletecollection patch update"
ALL = f"{READ} {WRITE}"


def rule(verbs: str, groups: str, resources: str, *, names: str = "") -> PolicyRule:
    """`groups` is separated by commas, everything else by blanks."""
    return PolicyRule(
        verbs=verbs.split(),
        apiGroups=groups.split(","),
        resources=resources.split(),
        resourceNames=names.split() or None,
    )


def paths(verbs: str, urls: str) -> PolicyRule:
    return PolicyRule(verbs=verbs.split(), nonResourceURLs=urls.split())


EVENTS = rule("create patch update", ",events.k8s.io", "events")

# --- people: admin = edit = view and more, put together by aggregation ------------------------------------------------

_APPS = "daemonsets deployments deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale"
_CORE = "configmaps endpoints persistentvolumeclaims pods replicationcontrollers replicationcontrollers/scale"
_CORE_STATUS = "persistentvolumeclaims/status replicationcontrollers/status services/status"
_APPS_STATUS = "daemonsets/status deployments/status replicasets/status statefulsets/status"

_PEOPLE: dict[str, tuple[PolicyRule, ...]] = {
    "view": (
        rule(READ, "", f"{_CORE} {_CORE_STATUS} serviceaccounts services"),
        rule(
            READ,
            "",
            "bindings events limitranges namespaces/status pods/log pods/status resourcequotas resourcequotas/status",
        ),
        rule(READ, "", "namespaces"),
        rule(READ, "discovery.k8s.io", "endpointslices"),
        rule(READ, "apps", f"controllerrevisions {_APPS} {_APPS_STATUS}"),
        rule(READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
        rule(READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
        rule(READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
        rule(READ, "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
    ),
    "edit": (
        rule(READ, "", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
        rule("impersonate", "", "serviceaccounts"),
        rule(WRITE, "", "pods pods/attach pods/exec pods/portforward pods/proxy"),
        rule("create", "", "pods/eviction"),
        rule(
            WRITE,
            "",
            "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets "
            "serviceaccounts services services/proxy",
        ),
        rule("create", "", "serviceaccounts/token"),
        rule(WRITE, "apps", _APPS + " deployments/rollback"),
        rule(WRITE, "autoscaling", "horizontalpodautoscalers"),
        rule(WRITE, "batch", "cronjobs jobs"),
        rule(WRITE, "policy", "poddisruptionbudgets"),
        rule(WRITE, "networking.k8s.io", "ingresses networkpolicies"),
        rule(ALL, "coordination.k8s.io", "leases"),
    ),
    "admin": (
        rule("create", "authorization.k8s.io", "localsubjectaccessreviews"),
        rule(ALL, GROUP, "rolebindings roles"),
    ),
}

# --- nodes ------------------------------------------------------------------------------------------------------------

NODE_RULES = (
    rule("create", "authentication.k8s.io", "tokenreviews"),
    rule("create", "authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews"),
    rule(READ, "", "services"),
    rule(f"create patch update {READ}", "", "nodes"),
    rule("patch update", "", "nodes/status"),
    EVENTS,
    rule(f"create delete {READ}", "", "pods"),
    rule("patch update", "", "pods/status"),
    rule("create", "", "pods/eviction"),
    rule(READ, "", "configmaps secrets"),
    rule("get", "", "persistentvolumeclaims persistentvolumes"),
    rule("get patch update", "", "persistentvolumeclaims/status"),
    rule("get", "", "endpoints"),
    rule(f"create {READ}", "certificates.k8s.io", "certificatesigningrequests"),
    rule("create delete get patch update", "coordination.k8s.io", "leases"),
    rule("get", "storage.k8s.io", "volumeattachments"),
    rule("create", "", "serviceaccounts/token"),
    rule(READ, "storage.k8s.io", "csidrivers"),
    rule("create delete get patch update", "storage.k8s.io", "csinodes"),
    rule(READ, "node.k8s.io", "runtimeclasses"),
)
"""What a node may do at most; the node authorizer looks at whose object it is (auth/node.py)."""

# --- components -------------------------------------------------------------------------------------------------------

_HEALTH = "/healthz /livez /readyz /version /version/"
_CSR = "certificates.k8s.io"

_COMPONENTS: dict[str, tuple[PolicyRule, ...]] = {
    "cluster-admin": (rule("*", "*", "*"), paths("*", "*")),
    "system:discovery": (paths("get", f"/api /api/* /apis /apis/* /openapi /openapi/* {_HEALTH}"),),
    "system:public-info-viewer": (paths("get", _HEALTH),),
    "system:monitoring": (
        paths("get", "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*"),
    ),
    "system:basic-user": (
        rule("create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
        rule("create", "authentication.k8s.io", "selfsubjectreviews"),
    ),
    "system:service-account-issuer-discovery": (paths("get", "/.well-known/openid-configuration /openid/v1/jwks"),),
    "system:auth-delegator": (
        rule("create", "authentication.k8s.io", "tokenreviews"),
        rule("create", "authorization.k8s.io", "subjectaccessreviews"),
    ),
    "system:kubelet-api-admin": (
        rule(READ, "", "nodes"),
        rule("proxy", "", "nodes"),
        rule("*", "", "nodes/log nodes/metrics nodes/proxy nodes/stats"),
    ),
    "system:node": NODE_RULES,
    "system:node-bootstrapper": (rule(f"create {READ}", _CSR, "certificatesigningrequests"),),
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": (
        rule("create", _CSR, "certificatesigningrequests/nodeclient"),
    ),
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": (
        rule("create", _CSR, "certificatesigningrequests/selfnodeclient"),
    ),
    "system:node-proxier": (
        rule("list watch", "", "endpoints services"),
        rule(READ, "", "nodes"),
        EVENTS,
        rule("list watch", "discovery.k8s.io", "endpointslices"),
    ),
    # Policies name pods and namespaces by their labels: what enforces them on a node must know all of both, as the
    # agent of any network add-on does. It is the price of policies; single pods of others stay closed to `get`.
    "minik:node-policer": (
        rule("list watch", "", "namespaces pods"),
        rule("list watch", "networking.k8s.io", "networkpolicies"),
    ),
    # Beside Services and their endpoints; of Secrets a node gets those that Ingresses name (auth/node.py).
    "minik:node-ingress": (rule("list watch", "networking.k8s.io", "ingressclasses ingresses"),),
    "system:kube-dns": (rule("list watch", "", "endpoints services"),),
    # Pods of other nodes are reached through addresses that their Nodes tell: what a network add-on may read.
    "minik:node-network": (rule(READ, "", "nodes"),),
    MANAGER: (
        EVENTS,
        rule("create", "coordination.k8s.io", "leases"),
        rule("get update", "coordination.k8s.io", "leases", names="kube-controller-manager"),
        rule("create", "", "secrets serviceaccounts"),
        rule("delete", "", "secrets"),
        rule("get", "", "configmaps namespaces secrets serviceaccounts"),
        rule("update", "", "secrets serviceaccounts"),
        rule("create", "authentication.k8s.io", "tokenreviews"),
        rule("create", "authorization.k8s.io", "subjectaccessreviews"),
        rule("list watch", "*", "*"),
        rule("create", "", "serviceaccounts/token"),
    ),
    "system:kube-scheduler": (
        EVENTS,
        rule("create", "coordination.k8s.io", "leases"),
        rule("get list patch update watch", "coordination.k8s.io", "leases", names="kube-scheduler"),
        rule(READ, "", "nodes"),
        rule(f"delete {READ}", "", "pods"),
        rule("create", "", "bindings pods/binding"),
        rule("patch update", "", "pods/status"),
        rule(READ, "", "replicationcontrollers services"),
        rule(READ, "apps,extensions", "replicasets"),
        rule(READ, "apps", "statefulsets"),
        rule(READ, "policy", "poddisruptionbudgets"),
        rule(READ, "", "persistentvolumeclaims persistentvolumes"),
        rule("create", "authentication.k8s.io", "tokenreviews"),
        rule("create", "authorization.k8s.io", "subjectaccessreviews"),
        rule(READ, "storage.k8s.io", "csidrivers csinodes csistoragecapacities storageclasses volumeattachments"),
        rule(READ, "", "namespaces"),
    ),
    "system:volume-scheduler": (
        rule(f"patch update {READ}", "", "persistentvolumes"),
        rule(READ, "storage.k8s.io", "storageclasses"),
        rule(f"patch update {READ}", "", "persistentvolumeclaims"),
    ),
}

_CONTROLLERS: dict[str, tuple[PolicyRule, ...]] = {
    "certificate-controller": (
        rule(f"delete {READ}", _CSR, "certificatesigningrequests"),
        rule("update", _CSR, "certificatesigningrequests/approval certificatesigningrequests/status"),
        rule(
            "approve",
            _CSR,
            "signers",
            names="kubernetes.io/kube-apiserver-client-kubelet kubernetes.io/kubelet-serving",
        ),
        rule(
            "sign",
            _CSR,
            "signers",
            names="kubernetes.io/kube-apiserver-client kubernetes.io/kube-apiserver-client-kubelet "
            "kubernetes.io/kubelet-serving kubernetes.io/legacy-unknown",
        ),
        rule("create", "authorization.k8s.io", "subjectaccessreviews"),
        EVENTS,
    ),
    "clusterrole-aggregation-controller": (rule(f"escalate patch update {READ}", GROUP, "clusterroles"),),
    "cronjob-controller": (
        rule(f"update {READ}", "batch", "cronjobs"),
        rule(f"create delete patch update {READ}", "batch", "jobs"),
        rule("update", "batch", "cronjobs/finalizers cronjobs/status"),
        EVENTS,
    ),
    "daemon-set-controller": (
        rule(READ, "apps", "daemonsets"),
        rule("update", "apps", "daemonsets/finalizers daemonsets/status"),
        rule("list watch", "", "nodes"),
        rule(f"create delete patch update {READ}", "", "pods"),
        rule(f"create delete patch update {READ}", "apps", "controllerrevisions"),
        EVENTS,
    ),
    "deployment-controller": (
        rule(f"update {READ}", "apps", "deployments"),
        rule("update", "apps", "deployments/finalizers deployments/status"),
        rule(f"create delete patch update {READ}", "apps", "replicasets"),
        rule(f"update {READ}", "", "pods"),
        EVENTS,
    ),
    "endpoint-controller": (
        rule(READ, "", "pods services"),
        rule(f"create delete update {READ}", "", "endpoints"),
        rule("create", "", "endpoints/restricted"),
        EVENTS,
    ),
    "endpointslice-controller": (
        rule(READ, "", "nodes pods services"),
        rule("update", "", "services/finalizers"),
        rule(f"create delete update {READ}", "discovery.k8s.io", "endpointslices"),
        EVENTS,
    ),
    "endpointslicemirroring-controller": (
        rule(READ, "", "endpoints services"),
        rule("update", "", "endpoints/finalizers services/finalizers"),
        rule(f"create delete update {READ}", "discovery.k8s.io", "endpointslices"),
        EVENTS,
    ),
    "generic-garbage-collector": (rule(f"delete patch update {READ}", "*", "*"), EVENTS),
    "horizontal-pod-autoscaler": (
        rule(READ, "autoscaling", "horizontalpodautoscalers"),
        rule("update", "autoscaling", "horizontalpodautoscalers/status"),
        rule("get update", "*", "*/scale"),
        rule("list", "", "pods"),
        rule("list", "metrics.k8s.io", "pods"),
        EVENTS,
    ),
    "job-controller": (
        rule(f"patch update {READ}", "batch", "jobs"),
        rule("update", "batch", "jobs/finalizers jobs/status"),
        rule(f"create delete patch update {READ}", "", "pods"),
        EVENTS,
    ),
    "namespace-controller": (
        rule(f"delete {READ}", "", "namespaces"),
        rule("update", "", "namespaces/finalize namespaces/status"),
        rule("delete deletecollection get list", "*", "*"),
    ),
    "node-controller": (
        rule(f"delete patch update {READ}", "", "nodes"),
        rule("patch update", "", "nodes/status pods/status"),
        rule("get list delete", "", "pods"),
        rule(f"create update {READ}", "coordination.k8s.io", "leases"),
        EVENTS,
    ),
    "pod-garbage-collector": (
        rule("delete list watch", "", "pods"),
        rule("get list", "", "nodes"),
        rule("patch", "", "pods/status"),
    ),
    "replicaset-controller": (
        rule(f"update {READ}", "apps", "replicasets"),
        rule("update", "apps", "replicasets/finalizers replicasets/status"),
        rule(f"create delete patch update {READ}", "", "pods"),
        EVENTS,
    ),
    "replication-controller": (
        rule(f"update {READ}", "", "replicationcontrollers"),
        rule("update", "", "replicationcontrollers/finalizers replicationcontrollers/status"),
        rule(f"create delete patch update {READ}", "", "pods"),
        EVENTS,
    ),
    "root-ca-cert-publisher": (rule("create update", "", "configmaps"), EVENTS),
    "statefulset-controller": (
        rule(READ, "", "pods"),
        rule(READ, "apps", "statefulsets"),
        rule("update", "apps", "statefulsets/finalizers statefulsets/status"),
        rule("create delete patch update", "", "pods"),
        rule(f"create delete patch update {READ}", "apps", "controllerrevisions"),
        rule("create get update", "", "persistentvolumeclaims"),
        EVENTS,
    ),
    "ttl-after-finished-controller": (rule(f"delete {READ}", "batch", "jobs"), EVENTS),
    "service-account-controller": (rule("create", "", "serviceaccounts"), EVENTS),
}

_NAMESPACED: dict[tuple[str, str], tuple[PolicyRule, ...]] = {
    (KUBE_SYSTEM, "system:controller:token-cleaner"): (rule(f"delete {READ}", "", "secrets"), EVENTS),
    # kubeadm's: a machine that joins reads whom to trust before it has any credentials.
    ("kube-public", "kubeadm:bootstrap-signer-clusterinfo"): (rule("get", "", "configmaps", names="cluster-info"),),
}

_BOUND: dict[tuple[str, str], str] = {
    # binding, role: subjects. A group begins with "@", a service account is namespace/name.
    ("cluster-admin", "cluster-admin"): f"@{MASTERS}",
    ("system:discovery", "system:discovery"): f"@{AUTHENTICATED}",
    ("system:basic-user", "system:basic-user"): f"@{AUTHENTICATED}",
    ("system:public-info-viewer", "system:public-info-viewer"): f"@{AUTHENTICATED} @{UNAUTHENTICATED}",
    ("system:monitoring", "system:monitoring"): "@system:monitoring",
    ("system:service-account-issuer-discovery", "system:service-account-issuer-discovery"): "@system:serviceaccounts",
    ("system:node", "system:node"): "",  # for the node authorizer, which knows more than a binding can say
    ("system:node-proxier", "system:node-proxier"): "system:kube-proxy",
    ("system:kube-dns", "system:kube-dns"): f"{KUBE_SYSTEM}/kube-dns",
    (MANAGER, MANAGER): MANAGER,
    ("system:kube-scheduler", "system:kube-scheduler"): "system:kube-scheduler",
    ("system:volume-scheduler", "system:volume-scheduler"): "system:kube-scheduler",
    # What kubeadm adds.
    ("kubeadm:cluster-admins", "cluster-admin"): "@kubeadm:cluster-admins",
    ("kubeadm:kubelet-bootstrap", "system:node-bootstrapper"): "@system:bootstrappers",
    (
        "kubeadm:node-autoapprove-bootstrap",
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
    ): "@system:bootstrappers",
    (
        "kubeadm:node-autoapprove-certificate-rotation",
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
    ): f"@{NODES}",
    ("minik:kubelet-api-admin", "system:kubelet-api-admin"): "kube-apiserver-kubelet-client",
    # A node's proxy, its ingress and its pod network run with the kubelet's certificate.
    ("minik:node-proxier", "system:node-proxier"): f"@{NODES}",
    ("minik:node-network", "minik:node-network"): f"@{NODES}",
    ("minik:node-policer", "minik:node-policer"): f"system:kube-proxy @{NODES}",
    ("minik:node-ingress", "minik:node-ingress"): f"@{NODES}",
}

_BOUND_IN: dict[tuple[str, str], str] = {
    (KUBE_SYSTEM, "system:controller:token-cleaner"): f"{KUBE_SYSTEM}/token-cleaner {MANAGER}",
    ("kube-public", "kubeadm:bootstrap-signer-clusterinfo"): "system:anonymous @system:bootstrappers",
}

Default = tuple[str, str, Any]


def objects() -> Iterator[Default]:
    """(resource, namespace, object) of every default role and binding; roles before their bindings."""
    yield from _people()
    for name, rules in _COMPONENTS.items():
        yield CLUSTER_ROLES, "", _cluster_role(name, rules)
    for (namespace, name), rules in _NAMESPACED.items():
        yield ROLES, namespace, Role(metadata=_metadata(name, namespace), rules=[*rules])
    for controller, rules in _CONTROLLERS.items():
        name = f"system:controller:{controller}"
        yield CLUSTER_ROLES, "", _cluster_role(name, rules)
        yield CLUSTER_ROLE_BINDINGS, "", _cluster_binding(name, name, f"{KUBE_SYSTEM}/{controller} {MANAGER}")
    for (name, role), subjects in _BOUND.items():
        yield CLUSTER_ROLE_BINDINGS, "", _cluster_binding(name, role, subjects)
    for (namespace, name), subjects in _BOUND_IN.items():
        binding = RoleBinding(RoleRef("Role", name, GROUP), metadata=_metadata(name, namespace))
        binding.subjects = _subjects(subjects)
        yield ROLE_BINDINGS, namespace, binding


def _people() -> Iterator[Default]:
    names = [*_PEOPLE]
    for index, name in enumerate(names):
        gathered = LabelSelector(matchLabels={AGGREGATE + name: "true"})
        role = ClusterRole(metadata=_metadata(name), aggregationRule=AggregationRule([gathered]))
        assert role.metadata is not None and role.metadata.labels is not None
        if index + 1 < len(names):  # what the next one has too
            role.metadata.labels[AGGREGATE + names[index + 1]] = "true"
        yield CLUSTER_ROLES, "", role
        part = _cluster_role(f"system:aggregate-to-{name}", _PEOPLE[name])
        part.metadata.labels[AGGREGATE + name] = "true"
        yield CLUSTER_ROLES, "", part


def _metadata(name: str, namespace: str | None = None) -> ObjectMeta:
    labels = {**BOOTSTRAPPING}
    return ObjectMeta(name=name, namespace=namespace, labels=labels, annotations={AUTOUPDATE: "true"})


def _cluster_role(name: str, rules: tuple[PolicyRule, ...]) -> Any:
    return ClusterRole(metadata=_metadata(name), rules=[*rules])


def _cluster_binding(name: str, role: str, subjects: str) -> ClusterRoleBinding:
    reference = RoleRef("ClusterRole", role, GROUP)
    return ClusterRoleBinding(reference, metadata=_metadata(name), subjects=_subjects(subjects))


def _subjects(text: str) -> list[Subject] | None:
    return [_subject(each) for each in text.split()] or None


def _subject(text: str) -> Subject:
    if text.startswith("@"):
        return Subject("Group", text[1:], GROUP)
    namespace, slash, account = text.partition("/")
    return Subject("ServiceAccount", account, namespace=namespace) if slash else Subject("User", text, GROUP)
