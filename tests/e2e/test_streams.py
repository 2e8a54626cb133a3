"""What goes both ways between a user and a container, with the real kubectl: exec, cp, attach, port-forward."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lightkube.models.core_v1 import Container, PodSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace, Node, Pod
from world import BUSYBOX, ask, node_is

from api import meta, pods

NAMESPACE = "streams"
MINIKCTL = str(Path(sys.executable).with_name("minikctl"))
BIG = os.urandom(1024) * (10 * 1024)
"""10 MB."""


@pytest.fixture(scope="module")
def pod(world) -> Iterator[Pod]:
    """`web` answers HTTP on 8080; beside it `echo`, which repeats its input."""
    world.client.create(Namespace(metadata=ObjectMeta(name=NAMESPACE)))
    web = Container(name="web", image="minik/web:1")
    echo = Container(name="echo", image=BUSYBOX, command=["cat"], stdin=True)
    spec = PodSpec(containers=[web, echo], terminationGracePeriodSeconds=1)
    world.client.create(Pod(metadata=ObjectMeta(name="web", namespace=NAMESPACE), spec=spec))
    world.wait_ready(NAMESPACE, 1)
    yield world.client.get(Pod, "web", namespace=NAMESPACE)
    world.delete_namespace(NAMESPACE)


GREETING_MISSED = re.compile(rb"E\d{4} .*websocket\.go:\d+\] Unknown stream id [12], discarding message\n")
"""A stream begins with an empty message, as in Kubernetes, and kubectl 1.32 may read it before it has made the channel
it is for. It says so, and nothing is lost."""


@pytest.fixture
def run(world, pod) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """kubectl, or another program that takes its words, in the pod's namespace."""

    def run(*words: str, stdin: bytes | None = None, program: str = "kubectl"):
        given = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        done = subprocess.run(
            [program, *words], env=environment(world), capture_output=True, timeout=60, check=False, **given
        )
        done.stderr = GREETING_MISSED.sub(b"", done.stderr)
        return done

    return run


def environment(world) -> dict[str, str]:
    return {**os.environ, "KUBECONFIG": str(world.kubeconfig), "MINIK_LAB": world.lab.name}


@contextmanager
def started(world, *command: str, **options) -> Iterator[subprocess.Popen[bytes]]:
    pipe = subprocess.PIPE
    options = {"stdin": subprocess.DEVNULL, "stdout": pipe, "stderr": subprocess.STDOUT, **options}
    process = subprocess.Popen(command, env=environment(world), **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def until(holds: Callable[[], bool], *, what: str, deadline: float = 20) -> None:
    end = time.monotonic() + deadline
    while not holds():
        assert time.monotonic() < end, f"{what}: not within {deadline:g} s"
        time.sleep(0.1)


IN = ("-n", NAMESPACE)


@pytest.mark.parametrize("program", ["kubectl", MINIKCTL])
def test_exec_runs_a_command_and_passes_its_exit_code_on(run, program):
    said = run("exec", *IN, "web", "--", "hostname", program=program)
    assert (said.returncode, said.stdout) == (0, b"web\n"), said.stderr
    failed = run("exec", *IN, "web", "-c", "echo", "--", "sh", "-c", "echo bad >&2; exit 3", program=program)
    assert (failed.returncode, failed.stdout) == (3, b"")
    assert failed.stderr == b"bad\ncommand terminated with exit code 3\n"


def test_exec_takes_ten_megabytes_and_gives_them_back(run):
    done = run("exec", *IN, "-i", "web", "-c", "web", "--", "cat", stdin=BIG)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == BIG


@pytest.mark.parametrize("program", ["kubectl", MINIKCTL])
def test_exec_with_a_terminal(world, pod, program):
    ours, theirs = pty.openpty()
    command = [program, "exec", *IN, "-it", "web", "-c", "web", "--", "sh", "-c", "tty; read x; echo got $x; exit 4"]
    with started(world, *command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as process:
        os.close(theirs)
        said = b""
        while b"/dev/pts/" not in said:
            said += os.read(ours, 1000)
        os.write(ours, b"words\n")
        while b"got words" not in said:
            said += os.read(ours, 1000)
        assert process.wait(20) == 4
    os.close(ours)


@pytest.mark.parametrize("program", ["kubectl", MINIKCTL])
def test_cp_there_and_back(run, tmp_path, program):
    (tmp_path / "there").write_bytes(BIG)
    for source, target in ((f"{tmp_path}/there", "web:/tmp/file"), ("web:/tmp/file", f"{tmp_path}/back")):
        done = run("cp", *IN, "-c", "web", source, target, program=program)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "back").read_bytes() == BIG


@pytest.mark.parametrize("program", ["kubectl", MINIKCTL])
def test_port_forward_answers(world, pod, program):
    with started(world, program, "port-forward", *IN, "web", ":8080") as process:
        line = process.stdout.readline().decode()
        assert line.startswith("Forwarding from 127.0.0.1:"), line
        port = line.split(":")[1].split()[0]
        assert [ask(f"http://127.0.0.1:{port}/") for _ in range(5)] == ["web"] * 5


def test_port_forward_to_nobody_says_so(world, pod):
    with started(world, "kubectl", "port-forward", *IN, "web", ":81") as process:
        port = process.stdout.readline().decode().split(":")[1].split()[0]
        with pytest.raises(OSError):
            ask(f"http://127.0.0.1:{port}/")
        while b"failed to connect to localhost:81" not in (line := process.stdout.readline()):
            assert line


def test_attach_is_the_containers_own_input_and_output(world, pod):
    with started(world, "kubectl", "attach", *IN, "-i", "web", "-c", "echo", stdin=subprocess.PIPE) as process:
        process.stdin.write(b"hello\n")
        process.stdin.flush()
        while process.stdout.readline() != b"hello\n":
            assert process.poll() is None


def sleepers(run, seconds: int) -> bool:
    """Whether the command `sleep SECONDS` runs in the container."""
    return bool(run("exec", *IN, "web", "-c", "web", "--", "sh", "-c", f"ps | grep '[s]leep {seconds}'").stdout)


def test_a_client_that_is_killed_leaves_no_process_behind(world, pod, run):
    with started(world, "kubectl", "exec", *IN, "web", "-c", "web", "--", "sleep", "4711") as process:
        until(lambda: sleepers(run, 4711), what="the command runs")
        process.send_signal(signal.SIGKILL)
        until(lambda: not sleepers(run, 4711), what="the command is gone")


def test_a_client_that_vanishes_without_a_word_leaves_no_process_behind(world, pod, run):
    node = next(name for name in world.node_addresses if name != pods.node_name(pod))
    command = ["kubectl", "exec", *IN, "web", "-c", "web", "--", "sleep", "4712"]
    process = world.lab.host(node).call(lambda: subprocess.Popen(command, env=environment(world)))
    try:
        until(lambda: sleepers(run, 4712), what="the command runs")
        world.minikctl("node", "cut", node)
        until(lambda: not sleepers(run, 4712), what="the command is gone", deadline=120)
    finally:
        process.kill()
        process.wait()
        world.minikctl("node", "heal", node)
        world.wait(Node, node_is(node, "Ready"), what=f"{node} Ready again", deadline=30)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nope", "--", "true"), 'Error from server (NotFound): pods "nope" not found'),
        (
            ("web", "-c", "nope", "--", "true"),
            "Error from server (BadRequest): container nope is not valid for pod web",
        ),
        (("web", "--", "nope"), 'exec: "nope": executable file not found in $PATH'),
    ],
)
def test_what_cannot_be_is_said_in_kubernetes_words(run, words, said):
    done = run("exec", *IN, *words)
    assert done.returncode != 0
    assert said in (done.stdout + done.stderr).decode()


def test_a_container_that_has_ended_says_so(world, pod, run):
    container = Container(name="short", image=BUSYBOX, command=["true"])
    spec = PodSpec(containers=[container], restartPolicy="Never")
    world.client.create(Pod(metadata=ObjectMeta(name="short", namespace=NAMESPACE), spec=spec))

    def ended(found: list[Pod]) -> bool:
        return any(meta.name(each) == "short" and pods.phase(each) == "Succeeded" for each in found)

    world.wait(Pod, ended, what="the pod has ended", namespace=NAMESPACE, deadline=30)
    done = run("attach", *IN, "short")
    assert b"cannot attach a container in a completed pod" in done.stderr
    world.client.delete(Pod, "short", namespace=NAMESPACE)


def test_who_may_only_look_may_not_run_commands(world, pod, run):
    for role in ("view", "edit"):
        run("create", "rolebinding", role, *IN, f"--clusterrole={role}", f"--user={role}er")
    refused = run("exec", *IN, "web", "--as=viewer", "--", "hostname").stderr.decode()
    assert 'User "viewer" cannot create resource "pods/exec" in API group ""' in refused
    assert run("exec", *IN, "web", "--as=editer", "--", "hostname").stdout == b"web\n"


def test_minikctl_top_is_kubectls(world, pod, run):
    def measured() -> bool:
        done = run("top", "pods", *IN, "--no-headers", program=MINIKCTL)
        return done.returncode == 0 and done.stdout.startswith(b"web ")

    until(measured, what="the pod is measured", deadline=60)
