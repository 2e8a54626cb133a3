"""minikctl on a control plane of real processes: bad input, watching, draining, signals. Kubelets are pretended."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_world import MINIKCTL, Shell, pretended_nodes
from control_plane import ControlPlane

from bootstrap import pki

_numbers = itertools.count(1)


def deployment(name: str = "web", **spec: object) -> str:
    labels = {"app": name}
    template = {
        "metadata": {"labels": labels},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "web", "image": "example/web:1"}]},
    }
    return json.dumps(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "labels": labels},
            "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template, **spec},
        }
    )


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, etcd_binary: str) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path_factory.mktemp("plane"), fast=False)
    try:
        plane.start()
        with pretended_nodes(plane, "node-a", "node-b"):
            yield plane
    finally:
        plane.stop()


@pytest.fixture
def shell(plane: ControlPlane, tmp_path: Path) -> Shell:
    shell = Shell(plane.kubeconfig("admin"), tmp_path, program=MINIKCTL, namespace=f"behave-{next(_numbers)}")
    shell.make_namespace()
    return shell


CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"


def make(shell: Shell, name: str, *, data: str = "") -> None:
    """A ConfigMap."""
    shell.ok("apply", "-f", "-", stdin=CONFIG.replace("x", name) + f"data: {{{data}}}")


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("a: b: c", "error: error parsing STDIN: error converting YAML to JSON: yaml: line 1: mapping values"),
        (f"{CONFIG}---\n\tx: 1", "error: error parsing STDIN: error converting YAML to JSON: yaml: line 5:"),
        (
            "just text",
            'error: error validating "STDIN": expected an object with apiVersion, kind and metadata, got text',
        ),
        ("- a\n- b", 'error: error validating "STDIN": expected an object'),
        ("metadata: {name: x}", "error validating data: [apiVersion not set, kind not set]"),
        ("apiVersion: v1\nkind: Pod\nmetadata: x", "metadata: expected object, got string"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: 5}", "metadata.name: expected string, got integer"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {}", "resource name may not be empty"),
        ("apiVersion: v1\nkind: Wonder\nmetadata: {name: x}", 'no matches for kind "Wonder" in version "v1"'),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Not_DNS}", "metadata.name: Invalid value"),
        (f"{CONFIG}data: [1]", "data"),
        (f"{CONFIG}daat: {{a: b}}", ".daat: field not declared in schema"),
        (deployment(replicas="two"), "spec.replicas"),
        (deployment(replicas=-1), "spec.replicas: Invalid value: -1"),
        (deployment(selector={"matchLabels": {"app": "other"}}), "`selector` does not match template `labels`"),
        ("", "error: no objects passed to apply"),
    ],
)
def test_a_bad_manifest_is_one_line_and_stores_nothing(shell: Shell, manifest: str, message: str) -> None:
    done = shell.run("apply", "-f", "-", stdin=manifest)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    found = shell.ok("get", "deploy,pods,cm", "-o", "name").split()
    assert [each for each in found if each != "configmap/kube-root-ca.crt"] in ([], ["configmap/x"])


def test_one_bad_object_keeps_no_other_back(shell: Shell) -> None:
    bad = "apiVersion: v1\nkind: Wonder\nmetadata: {name: x}\n"
    done = shell.run("apply", "-f", "-", stdin=f"{bad}---\n{CONFIG}---\n{bad}")
    assert done.returncode == 1
    assert done.stdout == "configmap/x serverside-applied\n"
    assert done.stderr.count("no matches for kind") == 2


def test_an_immutable_field(shell: Shell) -> None:
    shell.ok("apply", "-f", "-", stdin=deployment(replicas=0))
    changed = json.loads(deployment(replicas=0))
    changed["spec"]["selector"]["matchLabels"] = changed["spec"]["template"]["metadata"]["labels"] = {"app": "b"}
    done = shell.run("apply", "-f", "-", stdin=json.dumps(changed))
    assert done.returncode == 1
    assert "spec.selector" in done.stderr and "field is immutable" in done.stderr


def test_ten_megabytes_are_refused(shell: Shell) -> None:
    done = shell.run("apply", "-f", "-", stdin=CONFIG + "data: {a: " + "x" * (10 << 20) + "}")
    assert done.returncode == 1
    assert "too large" in done.stderr.lower()
    assert "Traceback" not in done.stderr


def test_a_wrong_token(shell: Shell) -> None:
    done = shell.run("get", "pods", "--token", "nonsense")
    assert (done.returncode, done.stderr) == (1, "error: You must be logged in to the server (Unauthorized)\n")


def test_a_name_alone_means_a_deployment(shell: Shell) -> None:
    shell.ok("apply", "-f", "-", stdin=deployment())
    assert shell.ok("scale", "web", "--replicas", "3") == "deployment.apps/web scaled\n"
    assert shell.ok("rollout", "status", "web").endswith('deployment "web" successfully rolled out\n')
    assert len(shell.ok("get", "pods", "-o", "name").split()) == 3
    shell.ok("apply", "-f", "-", "--force-conflicts", stdin=deployment().replace("web:1", "web:2"))
    shell.ok("rollout", "status", "web")
    assert shell.ok("rollout", "undo", "web") == "deployment.apps/web rolled back\n"
    history = shell.ok("rollout", "history", "web").split("\n")
    assert [line.split()[0] for line in history[2:] if line] == ["2", "3"]
    assert "image: example/web:1" in shell.ok("rollout", "history", "web", "--revision", "3")


def test_what_somebody_else_set_is_not_taken_silently(shell: Shell) -> None:
    shell.ok("apply", "-f", "-", "--field-manager=other", stdin=f"{CONFIG}data: {{a: theirs}}")
    done = shell.run("apply", "-f", "-", stdin=f"{CONFIG}data: {{a: ours}}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith('error: Apply failed with 1 conflict: conflict with "other"')
    assert ".data.a" in done.stderr and "--force-conflicts" in done.stderr
    assert shell.ok("get", "cm", "x", "-o", "jsonpath={.data.a}") == "theirs"
    shell.ok("apply", "-f", "-", "--force-conflicts", stdin=f"{CONFIG}data: {{a: ours}}")
    assert shell.ok("get", "cm", "x", "-o", "jsonpath={.data.a}") == "ours"


def test_without_rights(shell: Shell, plane: ControlPlane) -> None:
    shell.env["KUBECONFIG"] = str(plane.user("nobody", pki.Request(common_name="nobody")))
    for command in (("get", "pods"), ("delete", "pod", "x"), ("apply", "-f", "-"), ("scale", "web", "--replicas=1")):
        done = shell.run(*command, stdin=CONFIG)
        assert done.returncode == 1
        assert done.stderr.startswith("Error from server (Forbidden): "), done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_rows_appear_as_things_happen(shell: Shell) -> None:
    make(shell, "one")
    with shell.following(
        "get", "cm", "-w", "-l", "app!=x", "--field-selector", "metadata.name!=kube-root-ca.crt"
    ) as seen:
        assert seen.stdout is not None
        assert seen.stdout.readline().split() == ["NAME", "DATA", "AGE"]
        assert seen.stdout.readline().split()[:2] == ["one", "0"]
        make(shell, "two", data="a: b")
        assert seen.stdout.readline().split()[:2] == ["two", "1"]
        shell.ok("delete", "cm", "one")
        assert seen.stdout.readline().split()[:2] == ["one", "0"]
        seen.send_signal(signal.SIGINT)
        assert seen.wait(10) == 130
        assert seen.stderr is not None and seen.stderr.read() == ""


def test_deleting_waits_until_the_object_is_gone(shell: Shell) -> None:
    shell.ok("run", "p", "--image=example/x:1")
    shell.ok("wait", "--for=condition=Ready", "pod/p")
    assert shell.ok("delete", "pod", "p") == 'pod "p" deleted\n'
    assert shell.run("get", "pod", "p").returncode == 1


def test_a_finalizer_makes_the_wait_run_out(shell: Shell) -> None:
    held = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, finalizers: [example.com/hold]}\n"
    shell.ok("apply", "-f", "-", stdin=held)
    done = shell.run("delete", "cm", "x", "--timeout=1s")
    assert (done.returncode, done.stdout) == (1, 'configmap "x" deleted\n')
    assert done.stderr == "error: timed out waiting for the condition on configmaps/x\n"
    shell.ok("apply", "-f", "-", stdin=CONFIG)  # who put the finalizer there takes it away


def test_draining_a_node(shell: Shell) -> None:
    shell.ok("apply", "-f", "-", stdin=deployment(replicas=4))
    shell.ok("rollout", "status", "web")
    on_a = "custom-columns=N:.spec.nodeName"
    assert "node-a" in shell.ok("get", "pods", "-o", on_a)
    try:
        said = shell.ok("drain", "node-a", "--ignore-daemonsets", "--force", "--delete-emptydir-data")
        assert said.startswith("node/node-a cordoned\n") and said.endswith("node/node-a drained\n")
        assert f"evicting pod {shell.namespace}/web-" in said
        shell.ok("rollout", "status", "web")
        assert set(shell.ok("get", "pods", "-o", on_a, "--no-headers").split()) == {"node-b"}
        assert "SchedulingDisabled" in shell.ok("get", "node", "node-a")
    finally:
        assert shell.ok("uncordon", "node-a") == "node/node-a uncordoned\n"


def test_describe_tells_why_a_pod_waits(shell: Shell) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "big"},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1000"}}}]},
    }
    shell.ok("apply", "-f", "-", stdin=json.dumps(pod))
    shell.ok("wait", "--for=condition=PodScheduled=False", "pod/big")
    text = shell.ok("describe", "pod", "big")
    assert "Waiting For:" in text and "Insufficient cpu" in text


def test_events_of_an_object(shell: Shell) -> None:
    shell.ok("apply", "-f", "-", stdin=deployment())
    shell.ok("rollout", "status", "web")
    assert "ScalingReplicaSet" in shell.ok("events", "--for", "deploy/web")
    assert "Scheduled" not in shell.ok("events", "--for", "deploy/web")


def test_a_reader_that_has_seen_enough(shell: Shell) -> None:
    for index in range(3):
        make(shell, f"c{index}", data=f"a: {'x' * 200_000}")
    process = subprocess.Popen(
        [*MINIKCTL, "get", "cm", "-o", "yaml", "-n", shell.namespace],
        env=shell.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == "apiVersion: v1\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(20) == 1


def test_names_are_completed_from_the_server(shell: Shell) -> None:
    make(shell, "alpha")
    make(shell, "beta")

    def offered(line: str) -> set[str]:
        env = {
            **shell.env,
            "_MINIKCTL_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(line.count(" ")),
        }
        return set(subprocess.run(MINIKCTL, env=env, capture_output=True, text=True, timeout=20).stdout.split())

    assert "configmaps" in offered("minikctl get conf")
    assert {"alpha", "beta"} <= offered(f"minikctl -n {shell.namespace} get cm ")
    assert offered(f"minikctl -n {shell.namespace} get cm al") == {"alpha"}
    assert offered(f"minikctl -n {shell.namespace} get cm/al") == {"cm/alpha"}


def test_a_new_kind_is_found_although_the_cache_is_old(shell: Shell) -> None:
    shell.ok("get", "pods")
    (cache,) = (shell.home / ".cache/minik/discovery").iterdir()
    rows = [row for row in json.loads(cache.read_text()) if row["plural"] != "leases"]
    cache.write_text(json.dumps(rows))
    assert shell.run("get", "leases").returncode == 0
    assert "leases" in cache.read_text()


def test_the_kubeconfig_can_be_taken_elsewhere(shell: Shell, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(shell.ok("kubeconfig"))
    shell.env["KUBECONFIG"] = str(elsewhere)
    assert shell.ok("get", "ns", shell.namespace, "-o", "name") == f"namespace/{shell.namespace}\n"


def test_a_watch_outlives_the_api_server(shell: Shell, plane: ControlPlane) -> None:
    make(shell, "before")
    only = ("--field-selector", "metadata.name!=kube-root-ca.crt")
    with shell.following("get", "cm", "-w", "--no-headers", *only) as seen:
        assert seen.stdout is not None
        assert seen.stdout.readline().split()[0] == "before"
        plane.kill("apiserver")
        plane.start_apiserver()
        make(shell, "after")
        assert seen.stdout.readline().split()[0] == "after"


@pytest.mark.parametrize("output", ["wide", "name"])
def test_a_watch_goes_on_when_the_server_has_forgotten_the_history(
    shell: Shell, plane: ControlPlane, output: str
) -> None:
    make(shell, "before")
    only = ("--field-selector", "metadata.name!=kube-root-ca.crt")
    with shell.following("get", "cm", "-w", "--no-headers", "-o", output, *only) as seen:
        assert seen.stdout is not None
        assert seen.stdout.readline().split()[0].endswith("before")
        plane.kill("apiserver")
        plane.start_apiserver()
        # A restarted server knows no history older than its start: a second restart moves that past the watch.
        make(shell, "meanwhile")
        plane.kill("apiserver")
        plane.start_apiserver()
        make(shell, "after")
        shown = [seen.stdout.readline().split()[0].removeprefix("configmap/") for _ in range(2)]
        assert shown == ["meanwhile", "after"]
