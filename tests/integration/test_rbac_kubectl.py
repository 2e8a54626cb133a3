"""kubectl's own commands for rights against a control plane of real processes."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from control_plane import ControlPlane, until
from lightkube.resources.rbac_authorization_v1 import ClusterRole

from api import meta
from bootstrap import pki
from client.config import Client

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


class Kubectl:
    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def __call__(self, *words: str, user: str = "admin", code: int | None = 0) -> str:
        """What it prints; `code` None: whatever it exits with."""
        config = f"--kubeconfig={self._plane.kubeconfig(user)}"
        home = str(self._plane.directory)
        done = subprocess.run(
            ["kubectl", config, *words],
            capture_output=True,
            text=True,
            timeout=60,
            env={"PATH": "/usr/bin:/bin", "HOME": home},
        )
        assert code is None or done.returncode == code, (words, done.stdout, done.stderr)
        return (done.stdout + done.stderr).strip()


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, etcd_binary: str) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path_factory.mktemp("plane"))
    try:
        plane.start_etcd()
        plane.start_apiserver(f"--service-account-signing-key-file={plane.directory}/apiserver.key")
        plane.start_controllers()
        for name, groups in (("alice", ("devs",)), ("bob", ())):
            plane.user(name, pki.Request(common_name=name, organizations=groups))
        yield plane
    finally:
        plane.stop()


@pytest.fixture
def kubectl(plane: ControlPlane) -> Kubectl:
    return Kubectl(plane)


def test_whoami(kubectl: Kubectl) -> None:
    me = json.loads(kubectl("auth", "whoami", "-o", "json", user="alice"))
    assert me["status"]["userInfo"] == {"username": "alice", "groups": ["devs", "system:authenticated"]}
    assert "ATTRIBUTE   VALUE" in kubectl("auth", "whoami", user="alice")


async def test_a_role_by_command(kubectl: Kubectl, namespace: str) -> None:
    n = f"--namespace={namespace}"
    assert kubectl("auth", "can-i", "list", "pods", n, user="alice", code=1) == "no"
    kubectl("create", "role", "reader", "--verb=get,list,watch", "--resource=pods,deployments.apps/scale", n)
    kubectl("create", "rolebinding", "devs", "--role=reader", "--group=devs", n)
    assert kubectl("auth", "can-i", "list", "pods", n, user="alice") == "yes"
    assert kubectl("auth", "can-i", "get", "deployments.apps", "--subresource=scale", n, user="alice") == "yes"
    assert kubectl("auth", "can-i", "list", "pods", n, user="bob", code=1) == "no"
    assert kubectl("auth", "can-i", "list", "pods", n, "--as=x", "--as-group=devs") == "yes"
    listed = kubectl("auth", "can-i", "--list", n, user="alice")
    assert any(line.split()[0] == "pods" and line.endswith("[get list watch]") for line in listed.splitlines())
    assert "selfsubjectreviews.authentication.k8s.io" in listed
    assert kubectl("get", "pods", n, user="alice") == f"No resources found in {namespace} namespace."
    refused = kubectl("get", "secrets", n, user="alice", code=1)
    assert refused == (
        'Error from server (Forbidden): secrets is forbidden: User "alice" cannot list resource "secrets" '
        f'in API group "" in the namespace "{namespace}"'
    )
    shown = kubectl("get", "rolebindings", "-o", "wide", n).splitlines()
    assert shown[0].split() == ["NAME", "ROLE", "AGE", "USERS", "GROUPS", "SERVICEACCOUNTS"]
    assert shown[1].split()[:2] == ["devs", "Role/reader"] and shown[1].split()[-1] == "devs"
    assert "deployments.apps/scale" in kubectl("describe", "role", "reader", n)


async def test_admin_edit_and_view_are_gathered(kubectl: Kubectl, client: Client, namespace: str) -> None:
    n = f"--namespace={namespace}"

    def gathered(roles: list[ClusterRole]) -> bool:
        return all(each.rules for each in roles if meta.name(each) in ("admin", "edit", "view"))

    await until(client, ClusterRole, gathered)
    kubectl("create", "rolebinding", "bob", "--clusterrole=edit", "--user=bob", n)
    assert kubectl("auth", "can-i", "create", "deployments.apps", n, user="bob") == "yes"
    assert kubectl("auth", "can-i", "get", "secrets", n, user="bob") == "yes"
    assert kubectl("auth", "can-i", "create", "rolebindings", n, user="bob", code=1) == "no"
    kubectl("create", "clusterrole", "widgets", "--verb=get", "--resource=leases.coordination.k8s.io")
    kubectl("label", "clusterrole", "widgets", "rbac.authorization.k8s.io/aggregate-to-view=true")

    def grown(roles: list[ClusterRole]) -> bool:
        (view,) = [each for each in roles if meta.name(each) == "view"]
        return any("leases" in (rule.resources or ()) for rule in view.rules or ())

    await until(client, ClusterRole, grown)
    kubectl("delete", "clusterrole", "widgets")
    await until(client, ClusterRole, lambda roles: not grown(roles))


async def test_a_token_by_command(kubectl: Kubectl, plane: ControlPlane, namespace: str) -> None:
    n = f"--namespace={namespace}"
    kubectl("create", "serviceaccount", "robot", n)
    token = kubectl("create", "token", "robot", "--duration=30m", n)
    kubectl(
        "create", "rolebinding", "robot", "--clusterrole=system:node-proxier", f"--serviceaccount={namespace}:robot", n
    )
    conf = plane.directory / "robot.conf"
    conf.write_text((plane.kubeconfig("admin")).read_text())
    kubectl("config", "set-credentials", "robot", f"--token={token}", user="robot")
    kubectl("config", "set-context", "--current", "--user=robot", user="robot")
    assert json.loads(kubectl("auth", "whoami", "-o", "json", user="robot"))["status"]["userInfo"]["username"] == (
        f"system:serviceaccount:{namespace}:robot"
    )
    assert kubectl("auth", "can-i", "list", "services", n, user="robot") == "yes"
    kubectl("delete", "serviceaccount", "robot", n)
    assert "Unauthorized" in kubectl("get", "services", n, user="robot", code=1)


def test_reconcile_by_command(kubectl: Kubectl, tmp_path: Path) -> None:
    """kubectl's own reconciliation writes roles as the server keeps them."""
    manifest = tmp_path / "role.yaml"
    manifest.write_text(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: mine}\n"
        "rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]\n"
    )
    assert "mine reconciled" in kubectl("auth", "reconcile", "-f", str(manifest))


def test_no_component_is_refused_anything(plane: ControlPlane, kubectl: Kubectl) -> None:
    """Whatever the controllers did in this module, they had the rights to."""
    assert "forbidden" not in plane.log("controllers").lower()
