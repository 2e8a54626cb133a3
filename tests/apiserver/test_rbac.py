"""Roles and bindings as stored objects, reviews, and what hostile users try. A whole API server without sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from apiserver import admission, boot, kinds
from apiserver.auth import Asked, Authenticator, ServiceAccountTokens, StaticTokens
from apiserver.auth.users import authenticated
from apiserver.backend import Backend
from apiserver.http.gateway import create_app
from apiserver.http.guard import AuthGuard
from apiserver.registry.registry import Registry
from apiserver.storage.memory import MemoryStorage

USERS = """
admin,kubernetes-admin,1,system:masters
n1,system:node:n1,2,system:nodes
n2,system:node:n2,3,system:nodes
nadmin,nora,4,shop-admins
dev,dora,5,devs
carol,carol,6
kcm,system:kube-controller-manager,7
named,system:masters,8,system:node:n1
"""
RBAC = "/apis/rbac.authorization.k8s.io/v1"
SHOP = f"{RBAC}/namespaces/shop"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


class Caller:
    """One user's requests."""

    def __init__(self, world: World, token: str) -> None:
        self.world, self.headers = world, {"authorization": f"Bearer {token}"} if token else {}

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """(code, the answer's body)."""
        answer = await self.world.api.call(method, path, body, **{**self.headers, **headers})
        await self.world.backend.cache.fresh()
        return answer.status, json.loads(answer.body) if answer.body[:1] == b"{" else answer.body.decode()

    async def get(self, path: str) -> tuple[int, Any]:
        return await self("GET", path)

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        return await self("POST", path, body, **headers)

    async def patch(self, path: str, body: Any) -> tuple[int, Any]:
        return await self("PATCH", path, body, content_type="application/merge-patch+json")

    async def may(self, verb: str, resource: str, *, group: str = "", namespace: str = "shop") -> bool:
        attributes = {"verb": verb, "group": group, "resource": resource, "namespace": namespace}
        body = {"spec": {"resourceAttributes": attributes}}
        code, review = await self.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
        assert code == 201
        return bool(review["status"]["allowed"])


class World:
    def __init__(self, backend: Backend, api: Any) -> None:
        self.backend, self.api = backend, api

    def __getattr__(self, token: str) -> Caller:
        return Caller(self, "" if token == "nobody" else token)

    async def pod(self, name: str, node: str, **spec: Any) -> dict[str, Any]:
        spec = {"containers": [{"name": "c", "image": "i"}], **spec}
        made = await self.ok(
            "POST", "/api/v1/namespaces/shop/pods", {"metadata": {"name": name}, "spec": {**spec, "nodeName": node}}
        )
        return made  # type: ignore[no-any-return]

    async def ok(self, method: str, path: str, body: Any = None) -> Any:
        code, answer = await self.admin(method, path, body)
        assert code in (200, 201), answer
        return answer

    async def role(self, name: str, *rules: dict[str, Any], cluster: bool = False) -> None:
        await self.ok("POST", f"{RBAC}/clusterroles" if cluster else f"{SHOP}/roles", role(name, *rules))

    async def bind(self, name: str, kind: str, to: str, *subjects: tuple[str, str], cluster: bool = False) -> None:
        path = f"{RBAC}/clusterrolebindings" if cluster else f"{SHOP}/rolebindings"
        await self.ok("POST", path, binding(name, kind, to, *subjects))


def rule(verbs: str, group: str, resources: str, **more: Any) -> dict[str, Any]:
    return {"verbs": verbs.split(), "apiGroups": [group], "resources": resources.split(), **more}


def role(name: str, *rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "rules": [*rules], **more}


def binding(name: str, kind: str, to: str, *subjects: tuple[str, str]) -> dict[str, Any]:
    named = [{"kind": kind, "name": name} for kind, name in subjects]
    return {"metadata": {"name": name}, "roleRef": {"kind": kind, "name": to}, "subjects": named}


ADMIN_RULES = (
    rule("*", "", "pods configmaps secrets serviceaccounts serviceaccounts/token"),
    # As in the role `admin`. A `*` here would be `escalate` and `bind`, too.
    rule(
        "create delete deletecollection get list patch update watch", "rbac.authorization.k8s.io", "roles rolebindings"
    ),
)


@pytest.fixture
async def world(api_class: Callable[..., Any]) -> AsyncIterator[World]:
    backend = Backend.over(MemoryStorage(), Registry(kinds.builtin()))
    backend.plugins = admission.PLUGINS
    key = ec.generate_private_key(ec.SECP256R1())
    backend.tokens = ServiceAccountTokens(backend.cache.get, issuer="https://minik", public_keys=[], signing_key=key)
    users = [f'{",".join(line.split(",")[:3])},"{",".join(line.split(",")[3:])}"' for line in USERS.split()]
    backend.authenticator = Authenticator([StaticTokens(users), backend.tokens])
    gateway = create_app(backend, AuthGuard(backend.authenticator, backend.authorizer))
    following = asyncio.create_task(backend.cache.run())
    await boot.create_boot_objects(backend)
    world = World(backend, api_class(gateway, backend))
    for name in ("n1", "n2"):
        await world.ok("POST", "/api/v1/nodes", {"metadata": {"name": name}})
    await world.ok("POST", "/api/v1/namespaces", {"metadata": {"name": "shop"}})
    for name in ("default", "web"):
        await world.ok("POST", "/api/v1/namespaces/shop/serviceaccounts", {"metadata": {"name": name}})
    await world.role("owner", *ADMIN_RULES)
    await world.bind("owner", "Role", "owner", ("Group", "shop-admins"))
    yield world
    following.cancel()


# The kinds


async def test_a_binding_counts_with_the_next_request_and_until_it_is_gone(world: World) -> None:
    pods = "/api/v1/namespaces/shop/pods"
    code, status = await world.dev.get(pods)
    assert (code, status["reason"]) == (403, "Forbidden")
    assert status["message"] == (
        'pods is forbidden: User "dora" cannot list resource "pods" in API group "" in the namespace "shop"'
    )
    assert status["details"] == {"kind": "pods"}
    await world.role("reader", rule("get list watch", "", "pods"))
    await world.bind("dev", "Role", "reader", ("Group", "devs"))
    assert (await world.dev.get(pods))[0] == 200
    assert (await world.dev.get("/api/v1/pods"))[0] == 403
    await world.ok("DELETE", f"{SHOP}/rolebindings/dev")
    assert (await world.dev.get(pods))[0] == 403


WRONG = [
    ("roles", role("r", {"apiGroups": [""], "resources": ["pods"], "verbs": []}), "rules[0].verbs: Required value"),
    ("roles", role("r", {"verbs": ["get"], "resources": ["pods"]}), "rules[0].apiGroups: Required value"),
    ("roles", role("r", {"verbs": ["get"], "apiGroups": [""]}), "rules[0].resources: Required value"),
    ("roles", role("r", {"verbs": ["get"], "nonResourceURLs": ["/x"]}), "namespaced rules cannot apply to"),
    ("clusterroles", role("r", rule("get", "", "pods", nonResourceURLs=["/x"])), "cannot apply to both"),
    ("clusterroles", role("r", aggregationRule={"clusterRoleSelectors": []}), "at least one clusterRoleSelector"),
    ("rolebindings", binding("b", "Pod", "x"), 'roleRef.kind: Unsupported value: "Pod"'),
    ("rolebindings", binding("b", "Role", ""), "roleRef.name: Required value"),
    ("rolebindings", binding("b", "Role", "x", ("Robot", "r")), 'subjects[0].kind: Unsupported value: "Robot"'),
    ("clusterrolebindings", binding("b", "Role", "x"), 'roleRef.kind: Unsupported value: "Role"'),
    ("clusterrolebindings", binding("b", "ClusterRole", "x", ("ServiceAccount", "a")), "subjects[0].namespace: Req"),
]


@pytest.mark.parametrize(("resource", "body", "message"), WRONG)
async def test_what_makes_no_sense_is_refused(world: World, resource: str, body: Any, message: str) -> None:
    path = f"{SHOP}/{resource}" if resource.startswith("role") else f"{RBAC}/{resource}"
    code, status = await world.admin.post(path, body)
    assert code == 422 and message in status["message"], status


async def test_a_bindings_role_cannot_be_changed(world: World) -> None:
    code, status = await world.admin.patch(f"{SHOP}/rolebindings/owner", {"roleRef": {"name": "other"}})
    assert code == 422 and "cannot change roleRef" in status["message"]


async def test_default_roles_come_back_at_the_next_start(world: World) -> None:
    await world.ok("DELETE", f"{RBAC}/clusterroles/system:node-proxier")
    await world.ok("DELETE", f"{RBAC}/clusterrolebindings/system:kube-scheduler")
    wrong = binding("system:kube-scheduler", "ClusterRole", "view", ("User", "mallory"))
    await world.ok("POST", f"{RBAC}/clusterrolebindings", wrong)
    await world.backend.cache.fresh()
    await boot.create_boot_objects(world.backend)
    await world.backend.cache.fresh()
    assert (await world.admin.get(f"{RBAC}/clusterroles/system:node-proxier"))[0] == 200
    found = await world.ok("GET", f"{RBAC}/clusterrolebindings/system:kube-scheduler")
    assert found["roleRef"]["name"] == "system:kube-scheduler"
    assert [each["name"] for each in found["subjects"]] == ["system:kube-scheduler"]


async def test_who_sees_the_server_ready_has_the_rights_of_its_role() -> None:
    backend = Backend.over(MemoryStorage(), Registry(kinds.builtin()))
    following = asyncio.create_task(backend.cache.run())
    await boot.create_boot_objects(backend)
    assert backend.booted
    manager = authenticated("system:kube-controller-manager")
    lease = Asked(verb="get", group="coordination.k8s.io", resource="leases", name="kube-controller-manager")
    assert backend.authorizer.authorize(manager, lease).allowed
    following.cancel()


# Reviews


async def test_who_am_i_and_what_may_i(world: World) -> None:
    code, me = await world.dev.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    assert code == 201
    assert me["status"]["userInfo"] == {"username": "dora", "uid": "5", "groups": ["devs", "system:authenticated"]}
    body = {"spec": {"namespace": "shop"}}
    code, rules = await world.nadmin.post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", body)
    assert code == 201 and not rules["status"]["incomplete"]
    assert {"verbs": ["*"], "apiGroups": [""], "resources": ADMIN_RULES[0]["resources"]} in rules["status"][
        "resourceRules"
    ]
    assert any("/version" in each["nonResourceURLs"] for each in rules["status"]["nonResourceRules"])
    assert await world.nadmin.may("delete", "pods") and not await world.nadmin.may("delete", "nodes", namespace="")


async def test_a_question_about_others_is_for_those_who_may_ask(world: World) -> None:
    attributes = {"verb": "delete", "resource": "pods", "namespace": "shop"}
    body = {"spec": {"user": "nora", "groups": ["shop-admins"], "resourceAttributes": attributes}}
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    assert (await world.dev.post(path, body))[0] == 403
    code, review = await world.admin.post(path, body)
    assert code == 201 and review["status"] == {
        "allowed": True,
        "reason": 'RBAC: allowed by RoleBinding "owner/shop" of Role "owner" to Group "shop-admins"',
    }
    local = "/apis/authorization.k8s.io/v1/namespaces/shop/localsubjectaccessreviews"
    code, review = await world.admin.post(local, body)
    assert code == 201 and review["status"]["allowed"]
    body["spec"]["resourceAttributes"]["namespace"] = "other"  # type: ignore[index]
    assert (await world.admin.post(local, body))[0] == 400
    assert (await world.admin.post(path, {"spec": {"user": "x"}}))[0] == 422
    assert (await world.admin.get(path))[0] == 405


async def test_a_token_is_reviewed_for_an_audience(world: World) -> None:
    request = {"spec": {"audiences": ["vault"]}}
    made = await world.ok("POST", "/api/v1/namespaces/shop/serviceaccounts/web/token", request)
    token, path = made["status"]["token"], "/apis/authentication.k8s.io/v1/tokenreviews"
    _, review = await world.admin.post(path, {"spec": {"token": token, "audiences": ["vault"]}})
    assert review["status"]["authenticated"] and review["status"]["audiences"] == ["vault"]
    assert review["status"]["user"]["username"] == "system:serviceaccount:shop:web"
    _, review = await world.admin.post(path, {"spec": {"token": token}})
    assert not review["status"].get("authenticated") and "invalid bearer token" in review["status"]["error"]
    _, review = await world.admin.post(path, {"spec": {"token": "dev"}})
    assert review["status"]["user"]["username"] == "dora"
    assert (await world.dev.post(path, {"spec": {"token": token}}))[0] == 403


# The hostile


async def test_a_namespace_admin_hands_out_no_more_than_they_have(world: World) -> None:
    nora = world.nadmin
    assert (await nora.post(f"{SHOP}/roles", role("mine", rule("get list", "", "pods"))))[0] == 201
    for more in (rule("*", "*", "*"), rule("get", "apps", "deployments"), rule("get", "", "nodes pods")):
        code, status = await nora.post(f"{SHOP}/roles", role("more", more))
        assert code == 403 and "is attempting to grant RBAC permissions not currently held" in status["message"]
        assert (await nora.patch(f"{SHOP}/roles/mine", {"rules": [more]}))[0] == 403
        assert (await nora("PUT", f"{SHOP}/roles/owner", role("owner", *ADMIN_RULES, more)))[0] == 403
    me = ("User", "nora")
    code, status = await nora.post(f"{SHOP}/rolebindings", binding("b", "ClusterRole", "cluster-admin", me))
    assert code == 403 and '{APIGroups:["*"], Resources:["*"], Verbs:["*"]}' in status["message"]
    assert (await nora.post(f"{SHOP}/rolebindings", binding("b", "Role", "not-yet-there", me)))[0] == 404
    assert (await nora.post(f"{RBAC}/clusterrolebindings", binding("b", "ClusterRole", "view", me)))[0] == 403
    other = f"{RBAC}/namespaces/kube-system/rolebindings"
    assert (await nora.post(other, binding("b", "ClusterRole", "view", me)))[0] == 403
    assert (await nora.post(f"{SHOP}/rolebindings", binding("b", "Role", "owner", ("User", "carol"))))[0] == 201
    assert await world.carol.may("delete", "pods")


async def test_bind_and_escalate_are_rights_of_their_own(world: World) -> None:
    strong = rule("bind escalate", "rbac.authorization.k8s.io", "clusterroles clusterroles", resourceNames=["strong"])
    writes = rule("create update patch get", "rbac.authorization.k8s.io", "clusterroles clusterrolebindings")
    await world.role("strong", rule("*", "*", "*"), cluster=True)
    await world.role("binder", strong, writes, cluster=True)
    await world.bind("carol", "ClusterRole", "binder", ("User", "carol"), cluster=True)
    refused = binding("b", "ClusterRole", "cluster-admin", ("User", "carol"))
    assert (await world.carol.post(f"{RBAC}/clusterrolebindings", refused))[0] == 403
    gathering = role("g", aggregationRule={"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]})
    code, status = await world.carol.post(f"{RBAC}/clusterroles", gathering)
    assert code == 403 and "must have cluster-admin privileges to use an aggregationRule" in status["message"]
    bound = binding("b", "ClusterRole", "strong", ("Group", "devs"))
    assert (await world.carol.post(f"{RBAC}/clusterrolebindings", bound))[0] == 201
    assert await world.dev.may("delete", "nodes", namespace="")


async def test_the_controller_manager_cannot_make_itself_an_administrator(world: World) -> None:
    everything = rule("*", "*", "*")
    path = f"{RBAC}/clusterroles/system:kube-controller-manager"
    # It may escalate ClusterRoles, as the aggregation must; no binding, no Role and no impersonation is in its reach.
    me = ("User", "system:kube-controller-manager")
    assert (await world.kcm.post(f"{RBAC}/clusterrolebindings", binding("b", "ClusterRole", "cluster-admin", me)))[
        0
    ] == 403
    assert (await world.kcm.post(f"{SHOP}/roles", role("r", everything)))[0] == 403
    assert (await world.kcm.patch(f"{SHOP}/roles/owner", {"rules": [everything]}))[0] == 403
    code, _ = await world.kcm("GET", path, impersonate_user="kubernetes-admin")
    assert code == 403


async def test_impersonation_is_asked_for(world: World) -> None:
    code, status = await world.dev("GET", "/api/v1/nodes", impersonate_user="kubernetes-admin")
    assert code == 403 and 'users "kubernetes-admin" is forbidden' in status["message"]
    code, _ = await world.admin("GET", "/api/v1/nodes", impersonate_user="dora")
    assert code == 403, "an administrator who acts as dora has dora's rights"
    code, _ = await world.admin("GET", "/api/v1/nodes", impersonate_user="x", impersonate_group="system:masters")
    assert code == 200


async def test_names_of_groups_make_no_user_and_names_of_users_no_group(world: World) -> None:
    assert (await world.named.get("/api/v1/namespaces/shop/secrets"))[0] == 403
    assert (await world.named.patch("/api/v1/nodes/n1/status", {"status": {}}))[0] == 403


async def test_anonymous_sees_health_and_version_only(world: World) -> None:
    for path in ("/healthz", "/livez", "/readyz", "/version"):
        assert (await world.nobody.get(path))[0] == 200, path
    for path in (
        "/",
        "/api",
        "/apis",
        "/openapi/v3",
        "/api/v1/pods",
        "/metrics",
        "/api/v1/namespaces/kube-public/configmaps",
    ):
        assert (await world.nobody.get(path))[0] == 403, path
    _, status = await world.nobody.get("/api")
    assert status["message"] == 'forbidden: User "system:anonymous" cannot get path "/api"'


# A hostile node


async def test_a_node_reads_only_what_its_pods_name(world: World) -> None:
    secrets = "/api/v1/namespaces/shop/secrets"
    for name in ("mine", "theirs"):
        await world.ok("POST", secrets, {"metadata": {"name": name}})
    volumes = [{"name": "v", "secret": {"secretName": "mine"}}]
    await world.pod("p1", "n1", volumes=volumes)
    await world.pod("p2", "n2")
    assert (await world.n1.get(f"{secrets}/mine"))[0] == 200
    assert (await world.n1.get(f"{secrets}?fieldSelector=metadata.name=mine"))[0] == 200
    refused = [
        f"{secrets}/theirs",
        secrets,
        f"{secrets}?fieldSelector=metadata.name=theirs",
        f"{secrets}?fieldSelector=metadata.name!=mine",
        f"{secrets}?fieldSelector=metadata.name=mine,metadata.name=theirs",
        "/api/v1/secrets?fieldSelector=metadata.name=mine",
        "/api/v1/namespaces/shop/pods/p2",
        f"{RBAC}/clusterroles",
    ]
    for path in refused:
        assert (await world.n1.get(path))[0] == 403, path
    assert (await world.n1.get("/api/v1/pods?fieldSelector=spec.nodeName=n1"))[0] == 200
    await world.ok("DELETE", "/api/v1/namespaces/shop/pods/p1?gracePeriodSeconds=0")
    assert (await world.n1.get(f"{secrets}/mine"))[0] == 403


async def test_a_node_gets_tokens_only_for_its_own_pods_and_for_their_time(world: World) -> None:
    path = "/api/v1/namespaces/shop/serviceaccounts/web/token"
    projected = {"sources": [{"serviceAccountToken": {"path": "t", "audience": "vault", "expirationSeconds": 7200}}]}
    mine = await world.pod("p1", "n1", serviceAccountName="web", volumes=[{"name": "t", "projected": projected}])
    theirs = await world.pod("p2", "n2", serviceAccountName="web")
    await world.pod("p3", "n1", serviceAccountName="default")

    def wanted(pod: Any, uid: bool = True, **spec: Any) -> dict[str, Any]:
        reference = {"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"]}
        if uid:
            reference["uid"] = pod["metadata"]["uid"]
        return {"spec": {"boundObjectRef": reference, **spec}}

    assert (await world.n1.post(path, wanted(mine)))[0] == 201
    assert (await world.n1.post(path, wanted(mine, audiences=["vault"], expirationSeconds=7200)))[0] == 201
    other = {"boundObjectRef": {"kind": "Node", "apiVersion": "v1", "name": "n1", "uid": "x"}}
    for code, body in (
        (403, {"spec": {}}),
        (403, {"spec": {"expirationSeconds": 1 << 31}}),
        (403, wanted(mine, uid=False)),
        (403, wanted(theirs)),
        (403, wanted(mine, expirationSeconds=4000)),
        (403, wanted(mine, audiences=["vault"], expirationSeconds=7201)),
        (403, wanted(mine, audiences=["elsewhere"])),
        (409, {"spec": other}),
        (404, wanted({"metadata": {"name": "gone", "uid": "x"}})),
    ):
        assert (await world.n1.post(path, body))[0] == code, body
    assert (await world.n1.post("/api/v1/namespaces/shop/serviceaccounts/default/token", wanted(mine)))[0] == 400
    _, made = await world.n1.post(path, wanted(mine))
    bearer = Caller(world, made["status"]["token"])
    review = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    code, me = await bearer.post(review, {})
    assert code == 201 and me["status"]["userInfo"]["extra"]["authentication.kubernetes.io/node-name"] == ["n1"]
    await world.ok("DELETE", "/api/v1/namespaces/shop/pods/p1?gracePeriodSeconds=0")
    assert (await bearer.post(review, {}))[0] == 401, "the pod is gone, and so is its token"


async def test_a_node_writes_nothing_of_others(world: World) -> None:
    n1 = world.n1
    await world.pod("p1", "n1")
    await world.pod("p2", "n2")
    pods, status = "/api/v1/namespaces/shop/pods", {"status": {"phase": "Running"}}
    assert (await n1.patch(f"{pods}/p1/status", status))[0] == 200
    assert (await n1.patch(f"{pods}/p2/status", status))[0] == 403
    assert (await n1("DELETE", f"{pods}/p2"))[0] == 403
    assert (await n1.patch(f"{pods}/p1", {"metadata": {"labels": {"app": "victim"}}}))[0] == 403
    assert (await n1.post(f"{pods}/p2/eviction", {"metadata": {"name": "p2"}}))[0] == 403
    assert (await n1.post(f"{pods}/p1/binding", {"target": {"name": "n1"}}))[0] == 403
    spec = {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}
    for name in ({"name": "made"}, {"generateName": "made-"}):
        assert (await n1.post(pods, {"metadata": name, "spec": spec}))[0] == 403
        assert (await n1.post(LEASES, {"metadata": {**name, "name": "n2"}}))[0] == 403
    assert (await n1.post(LEASES, {"metadata": {"generateName": "n2"}}))[0] == 403
    assert (await n1.post(LEASES, {"metadata": {"name": "n1"}}))[0] == 201
    assert (await n1("PUT", f"{LEASES}/n2", {"metadata": {"name": "n2"}}))[0] == 403
    elsewhere = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
    assert (await n1.post(elsewhere, {"metadata": {"name": "n1"}}))[0] == 403


async def test_a_node_makes_mirror_pods_that_name_nothing(world: World) -> None:
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u"}
    metadata = {
        "name": "static-n1",
        "annotations": {"kubernetes.io/config.mirror": "x"},
        "ownerReferences": [owner],
    }
    spec = {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}
    pods = "/api/v1/namespaces/shop/pods"
    volumes = [{"name": "v", "secret": {"secretName": "theirs"}}]
    for wrong in (
        {"metadata": metadata, "spec": {**spec, "nodeName": "n2"}},
        {"metadata": metadata, "spec": {**spec, "volumes": volumes}},
        {"metadata": metadata, "spec": {**spec, "serviceAccountName": "web"}},
        {"metadata": {**metadata, "ownerReferences": []}, "spec": spec},
    ):
        assert (await world.n1.post(pods, wrong))[0] == 403, wrong
    assert (await world.n1.post(pods, {"metadata": metadata, "spec": spec}))[0] == 201


async def test_a_node_says_of_itself_what_is_its_to_say(world: World) -> None:
    n1, own = world.n1, "/api/v1/nodes/n1"
    assert (await n1.patch(own, {"metadata": {"labels": {"topology.kubernetes.io/zone": "a", "mine": "x"}}}))[0] == 200
    assert (await n1.patch(f"{own}/status", {"status": {"addresses": []}}))[0] == 200
    await world.ok("POST", "/api/v1/nodes", {"metadata": {"name": "spare"}})
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "u"}
    for code, path, body in (
        (403, own, {"metadata": {"labels": {"node-restriction.kubernetes.io/pci": "yes"}}}),
        (403, own, {"metadata": {"labels": {"x.node-restriction.kubernetes.io/pci": "yes"}}}),
        (403, own, {"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}),
        (403, own, {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}),
        (403, own, {"metadata": {"ownerReferences": [owner]}}),
        (403, f"{own}/status", {"metadata": {"labels": {"node-restriction.kubernetes.io/pci": "yes"}}}),
        (403, "/api/v1/nodes/n2", {"metadata": {"labels": {"mine": "x"}}}),
        (403, "/api/v1/nodes/n2/status", {"status": {"addresses": []}}),
    ):
        answer = await n1.patch(path, body)
        assert answer[0] == code or "node-restriction" not in str(answer[1]), (path, body, answer)
    found = await world.ok("GET", own)
    assert not any("restriction" in key or "role" in key for key in found["metadata"]["labels"])
    assert (await n1.post("/api/v1/nodes", {"metadata": {"name": "another"}}))[0] == 403
    assert (await n1.post("/api/v1/nodes", {"metadata": {"generateName": "n"}}))[0] == 403
    assert (await n1("DELETE", own))[0] == 403


# A hostile service account


async def test_a_service_account_has_what_it_was_given(world: World) -> None:
    path = "/api/v1/namespaces/shop/serviceaccounts/web"
    made = await world.ok("POST", f"{path}/token", {"spec": {}})
    bearer = Caller(world, made["status"]["token"])
    assert (await bearer.get("/api/v1/namespaces/shop/pods"))[0] == 403
    assert (await bearer.get("/api/v1/namespaces/shop/secrets"))[0] == 403
    assert (await bearer.post(f"{path}/token", {"spec": {}}))[0] == 403
    await world.role("reader", rule("get list watch", "", "pods"))
    subject = {"kind": "ServiceAccount", "name": "web", "namespace": "shop"}
    await world.ok("POST", f"{SHOP}/rolebindings", {**binding("web", "Role", "reader"), "subjects": [subject]})
    assert (await bearer.get("/api/v1/namespaces/shop/pods"))[0] == 200
    assert (await bearer.post("/api/v1/namespaces/shop/pods", {}))[0] == 403
    await world.ok("DELETE", path)
    assert (await bearer.get("/api/v1/namespaces/shop/pods"))[0] == 401
    await world.ok("POST", "/api/v1/namespaces/shop/serviceaccounts", {"metadata": {"name": "web"}})
    assert (await bearer.get("/api/v1/namespaces/shop/pods"))[0] == 401, "another account of the same name"
