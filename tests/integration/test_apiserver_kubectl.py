"""An unmodified kubectl and lightkube against the real server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from control_plane import ControlPlane
from lightkube import ApiError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Pod
from lightkube.types import PatchType

from client.config import connect

Kubectl = Callable[..., subprocess.CompletedProcess[str]]

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: minik/web:1
        ports: [{containerPort: 80}]
        env: [{name: A, value: "1"}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, etcd_binary: str) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path_factory.mktemp("plane"))
    try:
        plane.start_etcd()
        plane.start_apiserver()
        yield plane
    finally:
        plane.stop()


@pytest.fixture(scope="module")
def kubectl(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    path = shutil.which("kubectl")
    if path is None:
        pytest.skip("kubectl is not installed")
    home = tmp_path_factory.mktemp("home")

    def run(*arguments: str, stdin: str = "", fails: bool = False) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "KUBECONFIG": str(plane.kubeconfig("admin")), "HOME": str(home)}
        done = subprocess.run(
            [path, *arguments], input=stdin, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode != 0) == fails, done.stderr
        return done

    return run


@pytest.fixture
def web(kubectl: Kubectl) -> Iterator[None]:
    kubectl("apply", "-f", "-", stdin=WEB)
    yield
    kubectl("delete", "deployment,service", "web", "--ignore-not-found")


def test_apply_twice_and_with_changes(kubectl, web):
    unchanged = kubectl("apply", "-f", "-", stdin=WEB).stdout
    assert unchanged == "deployment.apps/web unchanged\nservice/web unchanged\n"
    changed = WEB.replace("minik/web:1", "minik/web:2").replace('value: "1"', 'value: "2"')
    assert "deployment.apps/web configured" in kubectl("apply", "-f", "-", stdin=changed).stdout
    stored = json.loads(kubectl("get", "deploy", "web", "-o", "json").stdout)
    container = stored["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["env"]) == ("minik/web:2", [{"name": "A", "value": "2"}])
    assert len(stored["spec"]["template"]["spec"]["containers"]) == 1


def test_diff_shows_only_what_differs(kubectl, web):
    kubectl("diff", "-f", "-", stdin=WEB)
    shown = kubectl("diff", "-f", "-", stdin=WEB.replace("replicas: 2", "replicas: 5"), fails=True).stdout
    assert "+  replicas: 5" in shown and "-  replicas: 2" in shown


def test_validation_names_the_field(kubectl):
    wrong = WEB.replace("replicas: 2", "replicas: 2\n  replicaz: 3")
    assert 'unknown field "spec.replicaz"' in kubectl("apply", "-f", "-", stdin=wrong, fails=True).stderr
    wrong = WEB.replace("replicas: 2", "replicas: -2")
    assert "spec.replicas: Invalid value: -2" in kubectl("apply", "-f", "-", stdin=wrong, fails=True).stderr


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("get deploy web", "NAME   READY   UP-TO-DATE   AVAILABLE   AGE"),
        ("get deploy web -o wide", "CONTAINERS   IMAGES        SELECTOR"),
        ("get svc web", "NAME   TYPE        CLUSTER-IP"),
        ("get deploy,svc web -o name", "deployment.apps/web\nservice/web\n"),
        ("get deploy web -o jsonpath={.spec.replicas}", "2"),
        ("get all", "deployment.apps/web"),
        ("describe deploy web", "StrategyType:           RollingUpdate"),
        ("scale deploy web --replicas=5", "deployment.apps/web scaled"),
        ("label deploy web tier=front", "deployment.apps/web labeled"),
        ("annotate deploy web note=x", "deployment.apps/web annotated"),
        ("set image deploy/web web=minik/web:3", "deployment.apps/web image updated"),
        ("set env deploy/web B=2", "deployment.apps/web env updated"),
        ("rollout restart deploy web", "deployment.apps/web restarted"),
        ("rollout pause deploy web", "deployment.apps/web paused"),
        ("rollout history deploy web", "deployment.apps/web"),
        ("patch deploy web -p {\"spec\":{\"replicas\":3}}", "deployment.apps/web patched"),
        ("explain deploy.spec.strategy.type", "RollingUpdate"),
        ("explain pod --recursive", "terminationGracePeriodSeconds"),
        ("explain pod.spec.containers", "Container image name"),
        ("explain pod.spec.containers --output plaintext-openapiv2", "Container image name"),
        ("api-resources", "deployments                  deploy       apps/v1"),
        ("api-versions", "apps/v1"),
        ("version", "v1.32.0+minik"),
    ],
)  # fmt: skip
def test_commands(kubectl, web, command, expected):
    assert expected in kubectl(*command.split(" ")).stdout


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("create deployment made --image=minik/web:1 --replicas=2 --port=80", "deploy"),
        ("create configmap made --from-literal=a=b", "cm"),
        ("create secret generic made --from-literal=a=b", "secret"),
        ("create service nodeport made --tcp=80:8080", "svc"),
        ("create namespace made", "ns"),
        ("create serviceaccount made", "sa"),
        ("run made --image=minik/web:1 --env=A=b --labels=x=y", "pod"),
        ("create job made --image=minik/web:1", "job"),
        ("create cronjob made --image=minik/web:1 --schedule=@daily", "cronjob"),
    ],
)
def test_generators_send_protobuf(kubectl, command, kind):
    kubectl(*command.split(" "))
    assert kubectl("get", kind, "made", "-o", "name").stdout.endswith("/made\n")
    kubectl("delete", kind, "made", "--wait=false")


def test_a_generated_deployment_is_what_was_asked_for(kubectl):
    kubectl("create", "deployment", "gen", "--image=minik/web:1", "--replicas=0", "--", "sleep", "1")
    stored = json.loads(kubectl("get", "deploy", "gen", "-o", "json").stdout)["spec"]
    kubectl("delete", "deploy", "gen")
    assert stored["replicas"] == 0
    container = stored["template"]["spec"]["containers"][0]
    assert (container["image"], container["command"]) == ("minik/web:1", ["sleep", "1"])


def test_a_generated_autoscaler_is_what_was_asked_for(kubectl, web):
    """kubectl sends autoscaling/v1 in protobuf; v2 is what is stored."""
    kubectl("autoscale", "deployment", "web", "--min=2", "--max=5", "--cpu-percent=70")
    stored = json.loads(kubectl("get", "horizontalpodautoscalers.v2.autoscaling", "web", "-o", "json").stdout)["spec"]
    old = json.loads(kubectl("get", "horizontalpodautoscalers.v1.autoscaling", "web", "-o", "json").stdout)["spec"]
    kubectl("delete", "hpa", "web")
    assert (stored["minReplicas"], stored["maxReplicas"]) == (2, 5)
    target = {"type": "Utilization", "averageUtilization": 70}
    assert stored["metrics"] == [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    assert (old["targetCPUUtilizationPercentage"], old["scaleTargetRef"]["name"]) == (70, "web")


def test_a_generated_job_is_what_was_asked_for(kubectl):
    kubectl("create", "cronjob", "tick", "--image=minik/web:1", "--schedule=0 3 * * *", "--", "date")
    kubectl("create", "job", "now", "--from=cronjob/tick")
    stored = json.loads(kubectl("get", "job", "now", "-o", "json").stdout)
    kubectl("delete", "cronjob/tick", "job/now")
    assert stored["spec"]["template"]["spec"]["containers"][0]["command"] == ["date"]
    assert stored["spec"]["template"]["spec"]["restartPolicy"] == "OnFailure"
    assert stored["spec"]["completions"] == 1 and stored["spec"]["suspend"] is False


def test_server_side_apply(kubectl):
    kubectl("apply", "--server-side", "-f", "-", stdin=WEB)
    assert "serverside-applied" in kubectl("apply", "--server-side", "-f", "-", stdin=WEB).stdout
    other = WEB.replace("replicas: 2", "replicas: 7")
    refused = kubectl("apply", "--server-side", "--field-manager=other", "-f", "-", stdin=other, fails=True).stderr
    assert 'conflict with "kubectl": .spec.replicas' in refused
    kubectl("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-", stdin=other)
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}").stdout == "7"
    kubectl("delete", "deploy,svc", "web")


def test_a_table_is_watched(kubectl, web, plane, tmp_path: Path):
    environment = {**os.environ, "KUBECONFIG": str(plane.kubeconfig("admin")), "HOME": str(tmp_path)}
    command = ["kubectl", "get", "deploy", "-w", "--request-timeout=20s"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().split()[0] == "NAME"
            assert process.stdout.readline().split()[:2] == ["web", "0/2"]
            kubectl("scale", "deploy", "web", "--replicas=4")
            assert process.stdout.readline().split()[:2] == ["web", "0/4"]
        finally:
            process.terminate()


def test_errors_are_one_line(kubectl):
    assert kubectl("get", "pod", "no", fails=True).stderr == 'Error from server (NotFound): pods "no" not found\n'
    assert "the server doesn't have a resource type" in kubectl("get", "things", fails=True).stderr
    created = kubectl("create", "ns", "default", fails=True).stderr
    assert created == 'Error from server (AlreadyExists): namespaces "default" already exists\n'


async def test_lightkube(plane):
    client = connect(str(plane.kubeconfig("admin")))
    made = await client.create(ConfigMap(metadata=ObjectMeta(name="lk", namespace="default"), data={"a": "b"}))
    assert made.metadata and made.metadata.resourceVersion
    made.data = {"a": "c"}
    replaced = await client.replace(made)
    assert replaced.data == {"a": "c"}
    with pytest.raises(ApiError) as stale:
        await client.replace(made)
    assert stale.value.status.code == 409
    patched = await client.patch(ConfigMap, "lk", [{"op": "remove", "path": "/data/a"}], patch_type=PatchType.JSON)
    assert not patched.data
    assert [each.metadata.name async for each in client.list(ConfigMap, fields={"metadata.name": "lk"})] == ["lk"]
    async for kind, obj in client.watch(ConfigMap, fields={"metadata.name": "lk"}):
        assert (kind, obj.metadata.name) == ("ADDED", "lk")
        break
    await client.delete(ConfigMap, "lk")
    assert [each async for each in client.list(Pod)] == []
    with pytest.raises(ApiError) as missing:
        await client.get(Deployment, "none")
    assert missing.value.status.reason == "NotFound"
