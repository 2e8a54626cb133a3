"""What minikctl says is what kubectl says.

Every scenario is a list of commands, each with the exact answer. It is run with minikctl, and, where kubectl is
installed, with kubectl, so that the expectations themselves are checked. Kubelets are pretended; all else is real.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_world import KUBECTL, MINIKCTL, Shell, pretended_nodes
from control_plane import ControlPlane

_numbers = itertools.count(1)

CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata:
  name: one
data: {a: "1"}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: two
  labels: {app: web}
"""

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  replicas: 2
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: example/web:1
        ports:
        - containerPort: 8080
        env:
        - {name: A, value: "1"}
"""

Step = tuple[str, int, str | None]
"""A command line, its exit code, and all it says; None where that depends on how far things are."""

BOTH = "configmap/one serverside-applied\nconfigmap/two serverside-applied"

SCENARIOS: dict[str, list[Step]] = {
    "apply": [
        ("apply --server-side -f config.yaml", 0, BOTH),
        ("apply --server-side -f config.yaml", 0, BOTH),
        ("apply --server-side -f changed.yaml", 0, BOTH),
        ("get cm one -o jsonpath={.data}", 0, '{"b":"2"}'),
        (
            "apply --server-side -f config.yaml --dry-run=server",
            0,
            "configmap/one serverside-applied (server dry run)\nconfigmap/two serverside-applied (server dry run)",
        ),
        ("get cm one -o jsonpath={.data}", 0, '{"b":"2"}'),
        (
            "apply --server-side -f config.yaml --dry-run=client",
            1,
            "error: --dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)",
        ),
        ("apply --server-side -f config.yaml -l app=web", 0, "configmap/two serverside-applied"),
        ("apply --server-side -f folder", 0, "configmap/three serverside-applied"),
        (
            "apply --server-side -f folder -R",
            0,
            "configmap/four serverside-applied\nconfigmap/three serverside-applied",
        ),
        ("apply --server-side -f config.yaml -o name", 0, "configmap/one\nconfigmap/two"),
        ("apply --server-side -f web.yaml", 0, "deployment.apps/web serverside-applied"),
        ("scale deploy/web --replicas=3", 0, "deployment.apps/web scaled"),
        ("apply --server-side -f web.yaml --force-conflicts", 0, "deployment.apps/web serverside-applied"),
        ("get deploy web -o jsonpath={.spec.replicas}", 0, "2"),
        ("delete -f config.yaml --ignore-not-found", 0, 'configmap "one" deleted\nconfigmap "two" deleted'),
        (
            "delete -f config.yaml",
            1,
            'Error from server (NotFound): error when deleting "config.yaml": configmaps "one" not found\n'
            'Error from server (NotFound): error when deleting "config.yaml": configmaps "two" not found',
        ),
    ],
    "conflicts": [
        ("apply --server-side -f config.yaml --field-manager=one", 0, BOTH),
        ("apply --server-side -f config.yaml --field-manager=two", 0, BOTH),
        ("apply --server-side -f other.yaml --field-manager=two", 1, None),
        ("get cm one -o jsonpath={.data}", 0, '{"a":"1"}'),
        ("apply --server-side -f other.yaml --field-manager=two --force-conflicts", 0, BOTH),
        ("get cm one -o jsonpath={.data}", 0, '{"a":"3"}'),
    ],
    "bad files": [
        ("apply --server-side -f missing.yaml", 1, 'error: the path "missing.yaml" does not exist'),
        (
            "apply --server-side -f empty",
            1,
            "error: error reading [empty]: recognized file extensions are [.json .yaml .yml]",
        ),
        (
            "apply --server-side -f negative.yaml",
            1,
            'The Deployment "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0',
        ),
        (
            "apply --server-side -f elsewhere.yaml",
            1,
            'error: the namespace from the provided object "elsewhere" does not match the namespace "{ns}". '
            "You must pass '--namespace=elsewhere' to perform this operation.",
        ),
        ("get all", 0, "No resources found in {ns} namespace."),
    ],
    "names": [
        ("get foo", 1, 'error: the server doesn\'t have a resource type "foo"'),
        ("describe foo", 1, 'error: the server doesn\'t have a resource type "foo"'),
        ("delete foo x", 1, 'error: the server doesn\'t have a resource type "foo"'),
        ("scale foo/x --replicas=1", 1, 'error: the server doesn\'t have a resource type "foo"'),
        ("get pod nope", 1, 'Error from server (NotFound): pods "nope" not found'),
        ("describe pod nope", 1, 'Error from server (NotFound): pods "nope" not found'),
        ("rollout restart deploy/nope", 1, 'Error from server (NotFound): deployments.apps "nope" not found'),
        ("wait --for=condition=Ready pod/nope", 1, 'Error from server (NotFound): pods "nope" not found'),
        ("wait --for=condition=Ready pods --all", 1, "error: no matching resources found"),
        ("expose deploy nope --port=80", 1, 'Error from server (NotFound): deployments.apps "nope" not found'),
        ("cordon nope", 1, 'Error from server (NotFound): nodes "nope" not found'),
        ("get pod nope --ignore-not-found", 0, ""),
        ("get deploy nope -o yaml", 1, 'Error from server (NotFound): deployments.apps "nope" not found'),
        ("get pods", 0, "No resources found in {ns} namespace."),
        ("get pods -o name", 0, ""),
        ("get nodes nope", 1, 'Error from server (NotFound): nodes "nope" not found'),
        ("delete pod nope", 1, 'Error from server (NotFound): pods "nope" not found'),
        ("delete pod", 1, "error: resource(s) were provided, but no name was specified"),
        ("logs nope", 1, 'error: error from server (NotFound): pods "nope" not found in namespace "{ns}"'),
        ("get pods/a/b", 1, "error: arguments in resource/name form may not have more than one slash"),
        (
            "get pods pod/a",
            1,
            "error: there is no need to specify a resource type as a separate argument when passing arguments in "
            "resource/name form (e.g. 'kubectl get resource/<resource_name>' instead of 'kubectl get resource "
            "resource/<resource_name>'",
        ),
    ],
    "looking": [
        ("apply --server-side -f config.yaml", 0, BOTH),
        ("get cm one two -o name", 0, "configmap/one\nconfigmap/two"),
        ("get -f config.yaml -o name", 0, "configmap/one\nconfigmap/two"),
        ("get cm one nope -o name", 1, 'configmap/one\nError from server (NotFound): configmaps "nope" not found'),
        ("get cm -l app=web", 0, "NAME   DATA   AGE\ntwo    0      <age>"),
        ("get cm -l app=web --show-labels", 0, "NAME   DATA   AGE   LABELS\ntwo    0      <age> app=web"),
        ("get cm one,two", 1, 'Error from server (NotFound): configmaps "one,two" not found'),
        ("get one,two", 1, 'error: the server doesn\'t have a resource type "one"'),
        ("get cm -l app=web -L app --no-headers", 0, "two   0     <age> web"),
        ("get cm,svc -l app=web", 0, "NAME            DATA   AGE\nconfigmap/two   0      <age>"),
        (
            "get cm --field-selector metadata.name=one -o custom-columns=NAME:.metadata.name,A:.data.a,B:.data.b",
            0,
            "NAME   A     B\none    1     <none>",
        ),
        ("get cm one -o jsonpath={.metadata.name}:{.data.a}", 0, "one:1"),
        ("get cm two -o jsonpath={.metadata.labels}", 0, '{"app":"web"}'),
        ("get ns {ns} -o name", 0, "namespace/{ns}"),
    ],
    "changing": [
        ("run p --image=example/x:1 --port=80 --env=A=b", 0, "pod/p created"),
        ("run p --image=example/x:1", 1, 'Error from server (AlreadyExists): pods "p" already exists'),
        ("run q --image=example/x:1 --dry-run=client -o name", 0, "pod/q"),
        ("run q --image=example/x:1 --dry-run=server", 0, "pod/q created (server dry run)"),
        ("expose pod p", 0, "service/p exposed"),
        ("get svc p -o jsonpath={.spec.ports[0].port}:{.spec.selector}", 0, '80:{"run":"p"}'),
        ("delete svc/p pod/p", 0, 'service "p" deleted\npod "p" deleted'),
        ("apply --server-side -f web.yaml", 0, "deployment.apps/web serverside-applied"),
        ("scale deploy/web --replicas=2 --current-replicas=5", 1, "error: Expected replicas to be 5, was 2"),
        ("scale --replicas=1 -f web.yaml", 0, "deployment.apps/web scaled"),
        ("scale deploy -l app=web --replicas=2 --dry-run=server", 0, "deployment.apps/web scaled (server dry run)"),
        ("get deploy web -o jsonpath={.spec.replicas}", 0, "1"),
        ("expose deploy web --port=80 --target-port=8080", 0, "service/web exposed"),
        ("expose deploy web --port=80", 1, 'Error from server (AlreadyExists): services "web" already exists'),
        ("delete svc/web deploy/web", 0, 'service "web" deleted\ndeployment.apps "web" deleted'),
        ("apply --server-side -f config.yaml", 0, BOTH),
        ("delete cm -l app=web --dry-run=client", 0, 'configmap "two" deleted (dry run)'),
        ("delete cm -l app=web", 0, 'configmap "two" deleted'),
        ("delete cm -l app=web", 0, "No resources found"),
        ("delete cm -l app=web --all", 1, "error: setting 'all' parameter but found a non empty selector."),
    ],
    "rollouts": [
        ("apply --server-side -f web.yaml", 0, "deployment.apps/web serverside-applied"),
        ("rollout status deploy/web --watch=false", 0, None),
        ("wait --for=condition=Available deploy/web --timeout=30s", 0, "deployment.apps/web condition met"),
        ("rollout status deploy/web", 0, 'deployment "web" successfully rolled out'),
        (
            "get deploy web",
            0,
            "NAME   READY   UP-TO-DATE   AVAILABLE   AGE\nweb    2/2     2            2           <age>",
        ),
        ("rollout undo deploy/web", 1, 'error: no rollout history found for deployment "web"'),
        ("apply --server-side -f second.yaml", 0, "deployment.apps/web serverside-applied"),
        (
            "wait --for=jsonpath={.status.updatedReplicas}=2 deploy/web --timeout=30s",
            0,
            "deployment.apps/web condition met",
        ),
        ("rollout undo deploy/web --to-revision=9", 1, "error: unable to find specified revision 9 in history"),
        ("rollout undo deploy/web", 0, "deployment.apps/web rolled back"),
        ("get deploy web -o jsonpath={.spec.template.spec.containers[0].image}", 0, "example/web:1"),
        ("rollout pause deploy/web", 0, "deployment.apps/web paused"),
        ("rollout pause deploy/web", 1, 'error: deployments.apps "web" is already paused'),
        (
            "rollout restart deploy/web",
            1,
            'error: deployments.apps "web" can\'t restart paused deployment (run rollout resume first)',
        ),
        (
            "rollout undo deploy/web",
            1,
            "error: you cannot rollback a paused deployment; "
            "resume it first with 'kubectl rollout resume' and try again",
        ),
        ("rollout resume deploy/web", 0, "deployment.apps/web resumed"),
        ("rollout resume deploy/web", 1, 'error: deployments.apps "web" is not paused'),
        ("rollout restart deploy/web", 0, "deployment.apps/web restarted"),
        (
            "wait --for=condition=Progressing=False deploy/web --timeout=0s",
            1,
            "error: condition not met for deployments/web",
        ),
        ("delete deploy web", 0, 'deployment.apps "web" deleted'),
        ("wait --for=delete pods -l app=web --timeout=30s", 0, None),
        ("rollout status deploy/web", 1, 'Error from server (NotFound): deployments.apps "web" not found'),
    ],
}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, etcd_binary: str) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path_factory.mktemp("plane"), fast=False)
    try:
        plane.start()
        with pretended_nodes(plane, "node-a", "node-b"):
            yield plane
    finally:
        plane.stop()


def shell_of(plane: ControlPlane, home: Path, program: list[str]) -> Shell:
    shell = Shell(plane.kubeconfig("admin"), home, program=program, namespace=f"cli-{next(_numbers)}")
    shell.make_namespace()
    return shell


@pytest.fixture(params=["minikctl", "kubectl"])
def shell(request: pytest.FixtureRequest, plane: ControlPlane, tmp_path: Path) -> Shell:
    if request.param == "kubectl" and KUBECTL is None:
        pytest.skip("kubectl is not installed")
    write_files(tmp_path)
    return shell_of(plane, tmp_path, MINIKCTL if request.param == "minikctl" else [str(KUBECTL)])


def write_files(folder: Path) -> None:
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "changed.yaml").write_text(CONFIG.replace('{a: "1"}', '{b: "2"}'))
    (folder / "web.yaml").write_text(WEB)
    (folder / "other.yaml").write_text(CONFIG.replace('{a: "1"}', '{a: "3"}'))
    (folder / "second.yaml").write_text(WEB.replace("example/web:1", "example/web:2"))
    (folder / "negative.yaml").write_text(WEB.replace("replicas: 2", "replicas: -1"))
    (folder / "elsewhere.yaml").write_text(
        CONFIG.replace("name: one", "name: one\n  namespace: elsewhere").split("---")[0]
    )
    (folder / "folder/below").mkdir(parents=True)
    (folder / "empty").mkdir()
    single = CONFIG.split("---")[0]
    (folder / "folder/three.yaml").write_text(single.replace("one", "three"))
    (folder / "folder/notes.txt").write_text("not: read")
    (folder / "folder/z-four.json").write_text('{"not": "in this folder"}')
    (folder / "folder/z-four.json").unlink()
    (folder / "folder/below/four.yml").write_text(single.replace("one", "four"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_says_what_kubectl_says(shell: Shell, scenario: str) -> None:
    for line, code, text in SCENARIOS[scenario]:
        got = shell.says(*shlex.split(line.replace("{ns}", shell.namespace)))
        assert got == (code, got[1] if text is None else text), line


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")
@pytest.mark.parametrize(
    "line",
    [
        "get deploy,rs,pods -o wide",
        "get deploy web -o yaml",
        "get deploy web -o json",
        "get rs -o yaml",
        "get pods -o yaml",
        "get nodes -o wide",
        "get nodes -o yaml",
        "get all --show-labels",
        "get events -o name",
        "get pods --sort-by=.spec.nodeName -o custom-columns=N:.spec.nodeName",
        "get endpointslices",
        "get leases -n kube-node-lease",
        "get svc,cm -o name",
        "get deploy web -o jsonpath={.spec.template.spec.containers[*].name}",
        'get pods -o \'jsonpath={range .items[*]}{.metadata.name}{"\\t"}{.status.phase}{"\\n"}{end}\'',
        "get pods -o 'jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}'",
        "get pods -o jsonpath={.items[*].metadata.labels.pod-template-hash}",
        "get nodes -o 'jsonpath={.items[*].metadata.labels.kubernetes\\.io/hostname}'",
        "get pods -o custom-columns=NAME:.metadata.name,IMAGES:.spec.containers[*].image,NONE:.spec.nothing",
        "get pods --sort-by=.metadata.name",
        "get pods -l app=web --no-headers -o wide",
        "get pods --field-selector=status.phase=Running -o name",
        "get all -A --no-headers",
        "describe node node-a",
        "describe node",
        "describe pods",
        "rollout history deploy/web",
    ],
)
def test_shows_what_kubectl_shows(deployed: tuple[Shell, Shell], line: str) -> None:
    ours, theirs = deployed
    args = shlex.split(line)
    # Leases and heartbeats go on between the two.
    assert _still(ours.says(*args)) == _still(theirs.says(*args))


def _still(answer: tuple[int, str]) -> tuple[int, str]:
    moving = ("RenewTime", "renewTime", "resourceVersion", "lastHeartbeatTime")
    return answer[0], "\n".join(line for line in answer[1].splitlines() if not any(each in line for each in moving))


@pytest.fixture(scope="module")
def deployed(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> tuple[Shell, Shell]:
    """Both programs on one namespace with the sample in it."""
    home = tmp_path_factory.mktemp("home")
    write_files(home)
    ours = shell_of(plane, home, MINIKCTL)
    ours.ok("apply", "-f", "web.yaml")
    ours.ok("expose", "deploy", "web", "--port=80", "--target-port=8080", "--type=NodePort")
    ours.ok("rollout", "status", "web")
    return ours, Shell(plane.kubeconfig("admin"), home, program=[str(KUBECTL)], namespace=ours.namespace)
