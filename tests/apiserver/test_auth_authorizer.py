"""Who may do what: the default roles, roles and bindings of a tenant, and nodes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apiserver import codec
from apiserver.auth import Asked, Authorizer, NodeAuthorizer, Roles, default_roles
from apiserver.auth.node import references
from apiserver.auth.users import ANONYMOUS, User, authenticated
from apiserver.storage.base import Record, resource_key, stamp
from apiserver.storage.cache import Entry, Follower

ADMIN = authenticated("admin", ("system:masters",))
SCHEDULER = authenticated("system:kube-scheduler")
MANAGER = authenticated("system:kube-controller-manager")
PROXY = authenticated("system:kube-proxy")
BOOTSTRAPPER = authenticated("system:bootstrap:abcdef", ("system:bootstrappers",))
NODE = authenticated("system:node:n1", ("system:nodes",))
ALICE = authenticated("alice")
DEV = authenticated("dora", ("devs",))
APP = authenticated("system:serviceaccount:shop:web", ("system:serviceaccounts", "system:serviceaccounts:shop"))
KUBELETS = authenticated("kube-apiserver-kubelet-client")
RBAC = "rbac.authorization.k8s.io"


def ask(verb: str, what: str, namespace: str = "", name: str = "", **fields: str) -> Asked:
    """`what` may carry group and subresource: `deployments.apps/scale`; one that begins with / is a path."""
    if what.startswith("/"):
        return Asked(verb=verb, path=what, is_resource=False)
    resource, _, subresource = what.partition("/")
    plural, _, group = resource.partition(".")
    selected = {key.replace("_", "."): value for key, value in fields.items()}
    return Asked(
        verb=verb,
        group=group,
        resource=plural,
        subresource=subresource,
        namespace=namespace,
        name=name,
        fields=selected,
    )


class Cluster:
    """The cache's part: it tells followers and looks objects up."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.followers: dict[str, list[Follower]] = {}
        self.nodes, self.roles = NodeAuthorizer(), Roles()
        self.nodes.follow(self)
        self.roles.follow(self)
        self.authorizer = Authorizer(self.roles, self.nodes)

    def get(self, key: str) -> Entry | None:
        return self.entries.get(key)

    def follow(self, resource: str, follower: Follower) -> None:
        self.followers.setdefault(resource, []).append(follower)

    def put(self, resource: str, namespace: str, name: str, value: Any) -> None:
        """`value` None: deleted."""
        key = resource_key(resource, namespace, name)
        old = self.entries.pop(key, None)
        if value is not None:
            data = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
            node = "" if isinstance(value, bytes) else value.get("spec", {}).get("nodeName", "")
            self.entries[key] = Entry(Record(key, stamp(data, 1), 1), ({}, {"spec.nodeName": node}))
        for follower in self.followers.get(resource, ()):
            follower(old, self.entries.get(key))

    def pod(self, name: str, node: str, namespace: str = "shop", **spec: Any) -> None:
        self.put("pods", namespace, name, {"metadata": {"name": name}, "spec": {"nodeName": node, **spec}})

    def role(self, name: str, namespace: str, *rules: tuple[str, str, str], names: list[str] | None = None) -> None:
        """Rules are (verbs, group, resources)."""
        kind, resource = ("Role", f"roles.{RBAC}") if namespace else ("ClusterRole", f"clusterroles.{RBAC}")
        written = [
            {"verbs": verbs.split(), "apiGroups": [group], "resources": resources.split(), "resourceNames": names}
            for verbs, group, resources in rules
        ]
        self.put(resource, namespace, name, {"kind": kind, "metadata": {"name": name}, "rules": written})

    def bind(self, name: str, namespace: str, role: tuple[str, str], *subjects: tuple[str, str]) -> None:
        resource = f"rolebindings.{RBAC}" if namespace else f"clusterrolebindings.{RBAC}"
        named = [
            {"kind": kind, "name": name.rpartition("/")[2], "namespace": name.rpartition("/")[0] or None}
            for kind, name in subjects
        ]
        reference = {"kind": role[0], "name": role[1], "apiGroup": RBAC}
        self.put(resource, namespace, name, {"metadata": {"name": name}, "roleRef": reference, "subjects": named})

    def allows(self, user: User, asked: Asked) -> bool:
        return self.authorizer.authorize(user, asked).allowed

    def message(self, user: User, asked: Asked) -> str:
        return self.authorizer.refusal(user, asked, self.authorizer.authorize(user, asked))


@pytest.fixture
def cluster() -> Cluster:
    result = Cluster()
    for resource, namespace, obj in default_roles.objects():
        result.put(resource, namespace, obj.metadata.name, codec.encode_object(obj))
    result.pod("mine", "n1", volumes=[{"name": "v", "secret": {"secretName": "mine"}}], serviceAccountName="web")
    result.pod("other", "n2", volumes=[{"name": "v", "secret": {"secretName": "other"}}])
    result.pod("waiting", "", volumes=[{"name": "v", "secret": {"secretName": "waiting"}}])
    return result


CSR = "certificatesigningrequests.certificates.k8s.io"
LEASES = "leases.coordination.k8s.io"

ALLOWED = [
    (ADMIN, ask("delete", "nodes", name="n1")),
    (ADMIN, ask("get", "/metrics")),
    (ADMIN, ask("update", "deployments.apps/scale", "shop", "web")),
    (ANONYMOUS, ask("get", "/healthz")),
    (ANONYMOUS, ask("get", "/livez")),
    (ANONYMOUS, ask("get", "/version")),
    (ANONYMOUS, ask("get", "configmaps", "kube-public", "cluster-info")),
    (ALICE, ask("get", "/api")),
    (ALICE, ask("get", "/apis/apps/v1")),
    (ALICE, ask("get", "/openapi/v3")),
    (ALICE, ask("create", "selfsubjectaccessreviews.authorization.k8s.io")),
    (ALICE, ask("create", "selfsubjectreviews.authentication.k8s.io")),
    (BOOTSTRAPPER, ask("create", CSR)),
    (BOOTSTRAPPER, ask("get", CSR, name="csr")),
    (SCHEDULER, ask("watch", "pods")),
    (SCHEDULER, ask("create", "pods/binding", "shop", "mine")),
    (SCHEDULER, ask("patch", "pods/status", "shop", "mine")),
    (SCHEDULER, ask("update", LEASES, "kube-system", "kube-scheduler")),
    (SCHEDULER, ask("create", LEASES, "kube-system")),
    (SCHEDULER, ask("create", "events", "shop")),
    (MANAGER, ask("create", "pods", "shop")),
    (MANAGER, ask("update", "namespaces/finalize", name="shop")),
    (MANAGER, ask("update", f"{CSR}/approval", name="csr")),
    (MANAGER, ask("approve", "signers.certificates.k8s.io", name="kubernetes.io/kubelet-serving")),
    (MANAGER, ask("deletecollection", "configmaps", "shop")),
    (MANAGER, ask("create", "configmaps", "shop")),
    (MANAGER, ask("delete", "secrets", "kube-system", "bootstrap-token-abcdef")),
    (MANAGER, ask("escalate", f"clusterroles.{RBAC}", name="admin")),
    (PROXY, ask("watch", "services")),
    (PROXY, ask("watch", "endpointslices.discovery.k8s.io")),
    (KUBELETS, ask("get", "nodes/proxy", name="n1")),
    (NODE, ask("create", "nodes")),
    (NODE, ask("create", "nodes", name="n1")),
    (NODE, ask("patch", "nodes", name="n1")),
    (NODE, ask("patch", "nodes/status", name="n1")),
    (NODE, ask("watch", "nodes")),
    (NODE, ask("watch", "pods", spec_nodeName="n1")),
    (NODE, ask("get", "pods", "shop", "mine")),
    (NODE, ask("list", "pods")),  # its proxy, which enforces policies between all pods
    (NODE, ask("list", "services")),
    (NODE, ask("list", "endpointslices.discovery.k8s.io")),
    (NODE, ask("update", LEASES, "kube-node-lease", "n1")),
    (NODE, ask("create", LEASES, "kube-node-lease")),
    (NODE, ask("patch", "pods/status", "shop", "mine")),
    (NODE, ask("delete", "pods", "shop", "mine")),
    (NODE, ask("delete", "pods", "shop", "gone")),
    (NODE, ask("get", "secrets", "shop", "mine")),
    (NODE, ask("watch", "secrets", "shop", "mine")),
    (NODE, ask("create", "serviceaccounts/token", "shop", "web")),
    (NODE, ask("create", "events", "shop")),
    (NODE, ask("create", CSR)),
]

REFUSED = [
    (ANONYMOUS, ask("get", "/api")),
    (ANONYMOUS, ask("get", "/openapi/v3")),
    (ANONYMOUS, ask("get", "/metrics")),
    (ANONYMOUS, ask("post", "/healthz")),
    (ANONYMOUS, ask("list", "pods")),
    (ANONYMOUS, ask("list", "configmaps", "kube-public")),
    (ANONYMOUS, ask("get", "configmaps", "kube-public", "other")),
    (ANONYMOUS, ask("get", "configmaps", "default", "cluster-info")),
    (ANONYMOUS, ask("create", CSR)),
    (ANONYMOUS, ask("create", "selfsubjectaccessreviews.authorization.k8s.io")),
    (ALICE, ask("get", "/metrics")),
    (ALICE, ask("list", "pods")),
    (ALICE, ask("create", CSR)),
    (BOOTSTRAPPER, ask("list", "secrets", "kube-system")),
    (BOOTSTRAPPER, ask("update", f"{CSR}/approval", name="csr")),
    (BOOTSTRAPPER, ask("create", "nodes")),
    (SCHEDULER, ask("get", "secrets", "shop", "mine")),
    (SCHEDULER, ask("create", "pods", "shop")),
    (SCHEDULER, ask("update", LEASES, "kube-node-lease", "n1")),
    (MANAGER, ask("create", f"clusterrolebindings.{RBAC}")),
    (MANAGER, ask("bind", f"clusterroles.{RBAC}", name="cluster-admin")),
    (MANAGER, ask("impersonate", "users", name="admin")),
    (MANAGER, ask("approve", "signers.certificates.k8s.io", name="kubernetes.io/kube-apiserver-client")),
    (MANAGER, ask("create", "pods/binding", "shop", "mine")),
    (PROXY, ask("list", "secrets")),
    (KUBELETS, ask("list", "pods")),
    (NODE, ask("create", "nodes", name="n2")),
    (NODE, ask("patch", "nodes", name="n2")),
    (NODE, ask("patch", "nodes/status", name="n2")),
    (NODE, ask("delete", "nodes", name="n1")),
    (NODE, ask("deletecollection", "nodes")),
    (NODE, ask("update", LEASES, "kube-node-lease", "n2")),
    (NODE, ask("update", LEASES, "kube-system", "n1")),
    (NODE, ask("get", "pods", "shop", "other")),
    (NODE, ask("patch", "pods", "shop", "mine")),
    (NODE, ask("patch", "pods/status", "shop", "other")),
    (NODE, ask("create", "pods/eviction", "shop", "other")),
    (NODE, ask("delete", "pods", "shop", "other")),
    (NODE, ask("deletecollection", "pods", "shop")),
    (NODE, ask("get", "secrets", "shop", "other")),
    (NODE, ask("get", "secrets", "shop", "waiting")),
    (NODE, ask("get", "secrets", "kube-system", "mine")),
    (NODE, ask("list", "secrets")),
    (NODE, ask("list", "secrets", "shop")),
    (NODE, ask("watch", "secrets", name="mine")),
    (NODE, ask("create", "serviceaccounts/token", "shop", "default")),
    (NODE, ask("create", "pods/binding", "shop", "mine")),
    (NODE, ask("get", "namespaces", name="shop")),
    (NODE, ask("create", f"clusterrolebindings.{RBAC}")),
    (NODE, ask("impersonate", "users", name="admin")),
    (APP, ask("list", "pods", "shop")),
    (APP, ask("get", "secrets", "shop", "mine")),
    (User("system:node:n1"), ask("patch", "nodes/status", name="n1")),
    # A user is not a group, and a group is not a user, whatever they are called.
    (authenticated("system:masters"), ask("get", "secrets", "shop", "mine")),
    (authenticated("system:nodes"), ask("list", "services")),
    (authenticated("system:bootstrappers"), ask("create", CSR)),
    (authenticated("x", ("system:kube-controller-manager",)), ask("create", "pods", "shop")),
    (authenticated("x", ("system:node:n1", "system:nodes")), ask("patch", "nodes/status", name="n1")),
]


def label(value: Any) -> str | None:
    if isinstance(value, User):
        return value.name
    if isinstance(value, Asked):
        return f"{value.verb} {value.resource or value.path}/{value.subresource} {value.namespace}/{value.name}"
    return None


@pytest.mark.parametrize(("user", "asked"), ALLOWED, ids=label)
def test_allowed(cluster: Cluster, user: User, asked: Asked) -> None:
    assert cluster.allows(user, asked)


@pytest.mark.parametrize(("user", "asked"), REFUSED, ids=label)
def test_refused(cluster: Cluster, user: User, asked: Asked) -> None:
    assert not cluster.allows(user, asked)
    assert not cluster.allows(user, asked), "and again, from memory"


def test_the_refusal_is_worded_as_in_kubernetes(cluster: Cluster) -> None:
    assert cluster.message(ALICE, ask("list", "deployments.apps", "shop")) == (
        'User "alice" cannot list resource "deployments" in API group "apps" in the namespace "shop"'
    )
    assert cluster.message(ALICE, ask("update", "deployments.apps/scale", "shop", "web")) == (
        'User "alice" cannot update resource "deployments/scale" in API group "apps" in the namespace "shop"'
    )
    assert cluster.message(ALICE, ask("list", "nodes")) == (
        'User "alice" cannot list resource "nodes" in API group "" at the cluster scope'
    )
    assert cluster.message(ALICE, ask("get", "/metrics")) == 'User "alice" cannot get path "/metrics"'
    assert cluster.message(NODE, ask("get", "secrets", "shop", "other")).endswith(
        "in the namespace \"shop\": no relationship found between node 'n1' and this object"
    )


# Roles and bindings


def test_a_role_holds_in_its_namespace_and_a_cluster_role_where_it_is_bound(cluster: Cluster) -> None:
    cluster.role("reader", "shop", ("get list", "", "pods"))
    cluster.bind("dev", "shop", ("Role", "reader"), ("Group", "devs"))
    cluster.role("scaler", "", ("update", "apps", "*/scale"))
    cluster.bind("alice", "", ("ClusterRole", "scaler"), ("User", "alice"))
    cluster.bind("web", "shop", ("ClusterRole", "scaler"), ("ServiceAccount", "shop/web"))
    assert cluster.allows(DEV, ask("list", "pods", "shop"))
    assert not cluster.allows(DEV, ask("list", "pods", "other"))
    assert not cluster.allows(DEV, ask("list", "pods"))
    assert not cluster.allows(DEV, ask("get", "pods/log", "shop", "x"))
    assert cluster.allows(ALICE, ask("update", "deployments.apps/scale", "anywhere", "x"))
    assert not cluster.allows(ALICE, ask("update", "deployments.apps", "anywhere", "x"))
    assert cluster.allows(APP, ask("update", "replicasets.apps/scale", "shop", "x"))
    assert not cluster.allows(APP, ask("update", "replicasets.apps/scale", "other", "x"))


def test_resource_names_limit_what_has_a_name(cluster: Cluster) -> None:
    cluster.role("one", "shop", ("get update watch create", "", "configmaps"), names=["settings"])
    cluster.bind("one", "shop", ("Role", "one"), ("User", "alice"))
    assert cluster.allows(ALICE, ask("get", "configmaps", "shop", "settings"))
    assert cluster.allows(ALICE, ask("watch", "configmaps", "shop", "settings"))
    assert not cluster.allows(ALICE, ask("get", "configmaps", "shop", "others"))
    assert not cluster.allows(ALICE, ask("watch", "configmaps", "shop"))
    assert not cluster.allows(ALICE, ask("create", "configmaps", "shop"))


def test_what_changes_counts_at_once(cluster: Cluster) -> None:
    get = ask("get", "pods", "shop", "mine")
    cluster.bind("dev", "shop", ("Role", "reader"), ("Group", "devs"))
    assert not cluster.allows(DEV, get)
    assert cluster.message(DEV, get).endswith(f': RBAC: role.{RBAC} "reader" not found')
    cluster.role("reader", "shop", ("get", "", "pods"))
    assert cluster.allows(DEV, get)
    cluster.role("reader", "shop", ("list", "", "pods"))
    assert not cluster.allows(DEV, get)
    cluster.role("reader", "shop", ("*", "", "pods"))
    assert cluster.allows(DEV, get)
    cluster.bind("dev", "shop", ("Role", "reader"), ("User", "devs"))
    assert not cluster.allows(DEV, get)
    cluster.bind("dev", "shop", ("Role", "reader"), ("Group", "devs"))
    assert cluster.allows(DEV, get)
    cluster.put(f"rolebindings.{RBAC}", "shop", "dev", None)
    assert not cluster.allows(DEV, get)


def test_a_yes_says_why(cluster: Cluster) -> None:
    decision = cluster.authorizer.explain(SCHEDULER, ask("watch", "pods"))
    assert decision.reason == (
        'RBAC: allowed by ClusterRoleBinding "system:kube-scheduler" of ClusterRole "system:kube-scheduler" '
        'to User "system:kube-scheduler"'
    )
    cluster.bind("web", "shop", ("ClusterRole", "system:node-proxier"), ("ServiceAccount", "shop/web"))
    decision = cluster.authorizer.explain(APP, ask("list", "services", "shop"))
    assert decision.reason == (
        'RBAC: allowed by RoleBinding "web/shop" of ClusterRole "system:node-proxier" to ServiceAccount "web/shop"'
    )


def test_memory_stays_bounded(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apiserver.auth.rbac.REMEMBERED_ANSWERS", 10)
    monkeypatch.setattr("apiserver.auth.rbac.REMEMBERED_USERS", 10)
    for number in range(100):
        assert not cluster.allows(ALICE, ask("get", "pods", f"n{number}", "x"))
        assert not cluster.allows(authenticated(f"user-{number}"), ask("get", "pods", "shop", "x"))
    assert len(cluster.roles.of(ALICE)._answers) <= 10
    assert len(cluster.roles._grants) <= 10


def test_an_object_that_cannot_be_read_grants_nothing(cluster: Cluster) -> None:
    cluster.role("reader", "shop", ("get", "", "pods"))
    cluster.bind("dev", "shop", ("Role", "reader"), ("Group", "devs"))
    with pytest.raises(Exception, match="Expected"):  # the cache logs it
        cluster.put(f"roles.{RBAC}", "shop", "reader", b'{"metadata":{"name":"reader"},"rules":7}')
    assert not cluster.allows(DEV, ask("get", "pods", "shop", "mine"))


# Nodes


def test_a_pod_that_is_gone_gives_its_node_nothing(cluster: Cluster) -> None:
    get = ask("get", "secrets", "shop", "mine")
    cluster.pod("second", "n1", volumes=[{"name": "v", "secret": {"secretName": "mine"}}])
    cluster.put("pods", "shop", "mine", None)
    assert cluster.allows(NODE, get)
    cluster.put("pods", "shop", "second", None)
    assert not cluster.allows(NODE, get)
    assert {node for node, *_ in cluster.nodes.graph._uses} == {"n2"}


def test_binding_a_pod_opens_its_secrets_to_that_node_only(cluster: Cluster) -> None:
    get = ask("get", "secrets", "shop", "waiting")
    assert not cluster.allows(NODE, get)
    cluster.pod("waiting", "n1", volumes=[{"name": "v", "secret": {"secretName": "waiting"}}])
    assert cluster.allows(NODE, get)
    assert not cluster.allows(authenticated("system:node:n2", ("system:nodes",)), get)


def test_a_node_reads_the_volume_of_its_pods_claim(cluster: Cluster) -> None:
    cluster.pod("db", "n1", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}])
    cluster.put(
        "persistentvolumes", "", "pv", {"metadata": {}, "spec": {"claimRef": {"namespace": "shop", "name": "data"}}}
    )
    cluster.put("persistentvolumes", "", "free", {"metadata": {}, "spec": {}})
    assert cluster.allows(NODE, ask("get", "persistentvolumeclaims", "shop", "data"))
    assert cluster.allows(NODE, ask("get", "persistentvolumes", name="pv"))
    assert not cluster.allows(NODE, ask("get", "persistentvolumes", name="free"))
    assert not cluster.allows(NODE, ask("get", "persistentvolumeclaims", "other", "data"))


def test_references_of_a_pod() -> None:
    spec: dict[str, Any] = {
        "imagePullSecrets": [{"name": "pull"}],
        "volumes": [
            {"name": "a", "secret": {"secretName": "vol"}},
            {"name": "b", "configMap": {"name": "cm-vol"}},
            {"name": "c", "projected": {"sources": [{"secret": {"name": "proj"}}, {"configMap": {"name": "cm-proj"}}]}},
            {"name": "d", "emptyDir": {}},
            {"name": "e", "persistentVolumeClaim": {"claimName": "claim"}},
            {"name": "f", "csi": {"driver": "x", "nodePublishSecretRef": {"name": "driver"}}},
            {"name": "g", "ephemeral": {}},
        ],
        "containers": [
            {
                "name": "x",
                "env": [
                    {"name": "A", "valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}},
                    {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "cm-env", "key": "k"}}},
                    {"name": "C", "value": "plain"},
                ],
            }
        ],
        "initContainers": [
            {"name": "y", "envFrom": [{"secretRef": {"name": "from"}}, {"configMapRef": {"name": "cm-f"}}]}
        ],
    }
    found: dict[str, set[str]] = {}
    for resource, name in references({"metadata": {"name": "p"}, "spec": spec}):
        found.setdefault(resource, set()).add(name)
    assert found["secrets"] == {"pull", "vol", "proj", "env", "from", "driver"}
    assert found["configmaps"] == {"cm-vol", "cm-proj", "cm-env", "cm-f"}
    assert found["persistentvolumeclaims"] == {"claim", "p-g"}
    assert found["serviceaccounts"] == {"default"}


def served_with(secret: str) -> dict[str, Any]:
    return {"metadata": {"name": "a"}, "spec": {"tls": [{"secretName": secret}]}}


def test_every_node_reads_the_certificates_of_ingresses(cluster: Cluster) -> None:
    get = ask("get", "secrets", "shop", "certificate")
    watch = ask("watch", "secrets", "shop", "certificate")
    assert not cluster.allows(NODE, get)
    cluster.put("ingresses.networking.k8s.io", "shop", "a", served_with("certificate"))
    assert cluster.allows(NODE, get) and cluster.allows(NODE, watch)
    assert not cluster.allows(NODE, ask("get", "secrets", "other", "certificate"))
    assert not cluster.allows(NODE, ask("list", "secrets", "shop"))
    cluster.put("ingresses.networking.k8s.io", "shop", "a", served_with("other"))
    assert not cluster.allows(NODE, get)
