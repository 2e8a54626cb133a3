"""Who may do what: the table of rules, and nodes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from apiserver.auth.authorizer import Authorizer
from apiserver.auth.node import references
from apiserver.auth.users import ANONYMOUS, User, authenticated
from apiserver.storage.base import Record, stamp
from apiserver.storage.cache import Entry

ADMIN = authenticated("admin", ("system:masters",))
SCHEDULER = authenticated("system:kube-scheduler")
MANAGER = authenticated("system:kube-controller-manager")
BOOTSTRAPPER = authenticated("system:bootstrap:abcdef", ("system:bootstrappers",))
NODE = authenticated("system:node:n1", ("system:nodes",))
ALICE = authenticated("alice")
APP = authenticated("system:serviceaccount:shop:web", ("system:serviceaccounts", "system:serviceaccounts:shop"))


@dataclass
class Ask:
    """`resource` may carry group and subresource: `deployments.apps/scale`; one that begins with / is a path."""

    verb: str
    what: str
    namespace: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        self.is_resource = not self.what.startswith("/")
        self.path = self.what
        resource, _, self.subresource = self.what.partition("/")
        self.resource, _, self.group = resource.partition(".")


def pod(name: str, node: str, **spec: Any) -> Entry:
    value = json.dumps({"metadata": {"name": name}, "spec": {"nodeName": node, **spec}}, separators=(",", ":"))
    record = Record(f"/pods/shop/{name}", stamp(value.encode(), 1), 1)
    return Entry(record, ({}, {"spec.nodeName": node}))


class Pods:
    def __init__(self, *entries: Entry) -> None:
        self.entries = {entry.key: entry for entry in entries}

    def get(self, key: str) -> Entry | None:
        return self.entries.get(key)

    def list(self, resource: str, namespace: str = "") -> list[Entry]:
        return [entry for entry in self.entries.values() if entry.namespace == namespace]


PODS = Pods(
    pod("mine", "n1", volumes=[{"name": "v", "secret": {"secretName": "mine"}}], serviceAccountName="web"),
    pod("other", "n2", volumes=[{"name": "v", "secret": {"secretName": "other"}}]),
)

ALLOWED = [
    (ADMIN, Ask("delete", "nodes", name="n1")),
    (ADMIN, Ask("get", "/metrics")),
    (ADMIN, Ask("update", "deployments.apps/scale", "shop", "web")),
    (ANONYMOUS, Ask("get", "/healthz")),
    (ANONYMOUS, Ask("get", "/livez")),
    (ANONYMOUS, Ask("get", "/readyz/etcd")),
    (ANONYMOUS, Ask("get", "/version")),
    (ANONYMOUS, Ask("get", "configmaps", "kube-public", "cluster-info")),
    (ALICE, Ask("get", "/api")),
    (ALICE, Ask("get", "/apis/apps/v1")),
    (ALICE, Ask("get", "/openapi/v3")),
    (BOOTSTRAPPER, Ask("create", "certificatesigningrequests.certificates.k8s.io")),
    (BOOTSTRAPPER, Ask("get", "certificatesigningrequests.certificates.k8s.io", name="csr")),
    (SCHEDULER, Ask("watch", "pods")),
    (SCHEDULER, Ask("create", "pods/binding", "shop", "mine")),
    (SCHEDULER, Ask("patch", "pods/status", "shop", "mine")),
    (SCHEDULER, Ask("update", "leases.coordination.k8s.io", "kube-system", "kube-scheduler")),
    (SCHEDULER, Ask("create", "events", "shop")),
    (MANAGER, Ask("create", "pods", "shop")),
    (MANAGER, Ask("update", "namespaces/finalize", name="shop")),
    (MANAGER, Ask("update", "certificatesigningrequests.certificates.k8s.io/approval", name="csr")),
    (MANAGER, Ask("deletecollection", "configmaps", "shop")),
    (NODE, Ask("create", "nodes")),
    (NODE, Ask("create", "nodes", name="n1")),
    (NODE, Ask("patch", "nodes/status", name="n1")),
    (NODE, Ask("watch", "pods")),
    (NODE, Ask("list", "services")),
    (NODE, Ask("list", "endpointslices.discovery.k8s.io")),
    (NODE, Ask("update", "leases.coordination.k8s.io", "kube-node-lease", "n1")),
    (NODE, Ask("create", "leases.coordination.k8s.io", "kube-node-lease")),
    (NODE, Ask("patch", "pods/status", "shop", "mine")),
    (NODE, Ask("delete", "pods", "shop", "mine")),
    (NODE, Ask("delete", "pods", "shop", "gone")),
    (NODE, Ask("get", "secrets", "shop", "mine")),
    (NODE, Ask("get", "configmaps", "shop", "kube-root-ca.crt")),
    (NODE, Ask("create", "serviceaccounts/token", "shop", "web")),
    (NODE, Ask("create", "events", "shop")),
    (NODE, Ask("create", "certificatesigningrequests.certificates.k8s.io")),
    (APP, Ask("list", "pods", "shop")),
    (APP, Ask("get", "pods/log", "shop", "mine")),
    (APP, Ask("watch", "endpointslices.discovery.k8s.io", "shop")),
]

REFUSED = [
    (ANONYMOUS, Ask("get", "/api")),
    (ANONYMOUS, Ask("get", "/metrics")),
    (ANONYMOUS, Ask("post", "/healthz")),
    (ANONYMOUS, Ask("list", "pods")),
    (ANONYMOUS, Ask("list", "configmaps", "kube-public")),
    (ANONYMOUS, Ask("get", "configmaps", "kube-public", "other")),
    (ANONYMOUS, Ask("get", "configmaps", "default", "cluster-info")),
    (ANONYMOUS, Ask("create", "certificatesigningrequests.certificates.k8s.io")),
    (ALICE, Ask("get", "/metrics")),
    (ALICE, Ask("list", "pods")),
    (ALICE, Ask("create", "certificatesigningrequests.certificates.k8s.io")),
    (BOOTSTRAPPER, Ask("list", "secrets", "kube-system")),
    (BOOTSTRAPPER, Ask("update", "certificatesigningrequests.certificates.k8s.io/approval", name="csr")),
    (BOOTSTRAPPER, Ask("create", "nodes")),
    (SCHEDULER, Ask("get", "secrets", "shop", "mine")),
    (SCHEDULER, Ask("create", "pods", "shop")),
    (SCHEDULER, Ask("update", "leases.coordination.k8s.io", "kube-node-lease", "n1")),
    (NODE, Ask("create", "nodes", name="n2")),
    (NODE, Ask("patch", "nodes/status", name="n2")),
    (NODE, Ask("deletecollection", "nodes")),
    (NODE, Ask("update", "leases.coordination.k8s.io", "kube-node-lease", "n2")),
    (NODE, Ask("update", "leases.coordination.k8s.io", "kube-system", "n1")),
    (NODE, Ask("create", "pods", "shop")),
    (NODE, Ask("patch", "pods", "shop", "mine")),
    (NODE, Ask("patch", "pods/status", "shop", "other")),
    (NODE, Ask("delete", "pods", "shop", "other")),
    (NODE, Ask("get", "secrets", "shop", "other")),
    (NODE, Ask("get", "secrets", "kube-system", "mine")),
    (NODE, Ask("list", "secrets")),
    (NODE, Ask("create", "serviceaccounts/token", "shop", "default")),
    (NODE, Ask("create", "pods/binding", "shop", "mine")),
    (APP, Ask("list", "pods", "default")),
    (APP, Ask("list", "pods")),
    (APP, Ask("get", "secrets", "shop", "mine")),
    (APP, Ask("delete", "pods", "shop", "mine")),
    (User("system:node:n1"), Ask("patch", "nodes/status", name="n1")),
    (User("system:serviceaccount:shop:web"), Ask("list", "pods", "shop")),
]


def label(value: Any) -> str | None:
    if isinstance(value, User):
        return value.name
    return f"{value.verb} {value.what} {value.namespace}/{value.name}" if isinstance(value, Ask) else None


@pytest.mark.parametrize(("user", "ask"), ALLOWED, ids=label)
def test_allowed(user: User, ask: Ask) -> None:
    assert Authorizer(PODS).authorize(user, ask).allowed


@pytest.mark.parametrize(("user", "ask"), REFUSED, ids=label)
def test_refused(user: User, ask: Ask) -> None:
    decision = Authorizer(PODS).authorize(user, ask)
    assert not decision.allowed
    assert decision.reason


def test_a_node_creates_no_other_node_under_a_name_in_the_body() -> None:
    authorizer = Authorizer(PODS)
    assert authorizer.authorize(NODE, Ask("create", "nodes"), created="n1").allowed
    assert not authorizer.authorize(NODE, Ask("create", "nodes"), created="n2").allowed
    lease = Ask("create", "leases.coordination.k8s.io", "kube-node-lease")
    assert not authorizer.authorize(NODE, lease, created="n2").allowed


def test_the_refusal_is_worded_as_in_kubernetes() -> None:
    decision = Authorizer(PODS).authorize(ALICE, Ask("list", "deployments.apps", "shop"))
    assert decision.reason == (
        'User "alice" cannot list resource "deployments" in API group "apps" in the namespace "shop"'
    )
    decision = Authorizer(PODS).authorize(ALICE, Ask("update", "deployments.apps/scale", "shop", "web"))
    assert 'resource "deployments/scale"' in decision.reason
    assert Authorizer(PODS).authorize(ALICE, Ask("list", "nodes")).reason.endswith("at the cluster scope")
    assert Authorizer(PODS).authorize(ALICE, Ask("get", "/metrics")).reason == (
        'User "alice" cannot get path "/metrics"'
    )


def test_references_of_a_pod() -> None:
    entry = pod(
        "all",
        "n1",
        imagePullSecrets=[{"name": "pull"}],
        volumes=[
            {"name": "a", "secret": {"secretName": "vol"}},
            {"name": "b", "configMap": {"name": "cm-vol"}},
            {"name": "c", "projected": {"sources": [{"secret": {"name": "proj"}}, {"configMap": {"name": "cm-proj"}}]}},
            {"name": "d", "emptyDir": {}},
        ],
        containers=[
            {
                "name": "x",
                "env": [
                    {"name": "A", "valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}},
                    {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "cm-env", "key": "k"}}},
                    {"name": "C", "value": "plain"},
                ],
            }
        ],
        initContainers=[
            {"name": "y", "envFrom": [{"secretRef": {"name": "from"}}, {"configMapRef": {"name": "cm-f"}}]}
        ],
    )
    found = references(entry.value)
    assert found["secrets"] == {"pull", "vol", "proj", "env", "from"}
    assert found["configmaps"] == {"cm-vol", "cm-proj", "cm-env", "cm-f"}
    assert found["serviceaccounts/token"] == {"default"}
