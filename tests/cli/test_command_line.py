"""The command line itself: spellings of flags, help, mistakes. No server is needed for any of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli import kubectl, main
from cli.command import GIVEN_OPTIONS, Command, command, normalise
from cli.main import COMMANDS, load
from cli.session import Session, connect


def sample(
    session: Session,
    wait: bool = True,
    watch: bool = False,
    output: str = "",
    dry_run: str = "none",
    names: list[str] | None = None,
) -> None:
    """Has an option of each sort."""


PARAMS = command(sample, name="sample").params


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["--wait=false"], ["--no-wait"]),
        (["--wait=true"], ["--wait"]),
        (["--wait"], ["--wait"]),
        (["--watch=false"], ["--no-watch"]),
        (["-n=shop"], ["-n", "shop"]),
        (["-nshop"], ["-nshop"]),
        (["--output=json"], ["--output=json"]),
        (["--dry-run"], ["--dry-run=client"]),
        (["--dry-run=server"], ["--dry-run=server"]),
        (["--", "--wait=false"], ["--", "--wait=false"]),
        (["a=b", "c-"], ["a=b", "c-"]),
    ],
)
def test_kubectl_spellings(written: list[str], read: list[str]) -> None:
    assert normalise(written, PARAMS) == read


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_can_be_loaded_and_explains_itself(name: str) -> None:
    found = load(name)
    assert found.help or found.callback.__doc__


def run(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    home = env.pop("HOME", "/nonexistent")
    environment = {"PATH": "/nonexistent", "HOME": home, **env}
    root = Path(__file__).parents[2]
    command_line = [sys.executable, "-m", "cli", *args]
    return subprocess.run(command_line, env=environment, cwd=root, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["frobnicate"], "error: No such command 'frobnicate'."),
        (["get", "pods", "--frobnicate"], "error: No such option"),
        (["get", "pods"], "error: no kubeconfig"),
        (["--kubeconfig", "/nowhere", "get", "pods"], "error: stat /nowhere: no such file or directory"),
        (["get", "pods", "--kubeconfig=/nowhere"], "error: stat /nowhere: no such file or directory"),
        (["scale", "web", "--replicas", "many"], "error: Invalid value for '--replicas'"),
        (["join", "127.0.0.1:1", "--token", "x"], "error: the token must look like"),
        (["label", "pod/x", "a=b"], "error: 'label' is done by kubectl, which is not installed: apt-get install"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(args: list[str], message: str) -> None:
    done = run(*args)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(message)
    assert "Traceback" not in done.stderr


def test_what_kubectl_has_kubectl_does(tmp_path: Path) -> None:
    program = tmp_path / "kubectl"
    program.write_text('#!/bin/sh\nprintf "%s " "$@"; exit 7\n')
    program.chmod(0o755)
    done = run("-n", "shop", "label", "pod/x", "a=b", "--overwrite", PATH=f"{tmp_path}:/bin")
    assert (done.returncode, done.stdout) == (7, "-n shop label pod/x a=b --overwrite ")
    assert run("frobnicate", PATH=f"{tmp_path}:/bin").returncode == 1


def test_nothing_minikctl_does_itself_is_kubectls() -> None:
    assert kubectl.COMMANDS.isdisjoint(COMMANDS)


def test_help_needs_no_cluster() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)
    assert "--replicas" in run("scale", "--help").stdout


Said = Callable[..., str]


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """What a command line that fails says to somebody whose API server is down."""
    config = tmp_path / "config"
    config.write_text(
        """
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: c, context: {cluster: c, user: c}}]
current-context: c
"""
    )
    monkeypatch.setenv("KUBECONFIG", str(config))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def run_here(*args: str) -> str:
        monkeypatch.setattr(sys, "argv", ["minikctl", *args])
        for each in GIVEN_OPTIONS.values():
            each.clear()
        connect.cache_clear()
        assert main.run() == 1
        out, error = capsys.readouterr()
        assert out == ""
        return error

    return run_here


@pytest.mark.parametrize(
    "args",
    [
        ["get", "pods"],
        ["get", "pods", "-w"],
        ["describe", "node", "x"],
        ["apply", "-f", "examples/web.yaml"],
        ["delete", "pod", "x"],
        ["scale", "web", "--replicas=1"],
        ["rollout", "status", "web"],
        ["logs", "web"],
        ["events"],
        ["wait", "--for=delete", "pod/x"],
        ["run", "x", "--image=x"],
        ["expose", "web"],
        ["drain", "node-1"],
    ],
)
def test_a_server_that_is_not_there(said: Said, args: list[str]) -> None:
    assert said(*args) == (
        "The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?\n"
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["scale", "web"], "error: The --replicas=COUNT flag is required"),
        (["apply"], "error: must specify one of -f and -k"),
        (["apply", "-k", "."], "error: -k is not supported"),
        (["apply", "-f", "x", "--dry-run=client"], "error: --dry-run=client doesn't work with --server-side"),
        (["get", "pods", "-k", "."], "error: -k is not supported"),
        (["get"], "error: You must specify the type of resource"),
        (["get", "pods", "-o", "xml"], "error: unable to match a printer suitable for the output format"),
        (["wait", "pod/x", "--for=wonders"], 'error: unrecognized condition: "wonders"'),
        (["delete"], "error: You must provide one or more resources"),
        (["delete", "pod", "x", "--dry-run=maybe"], "error: Invalid dry-run value (maybe)"),
        (["logs"], "error: expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'"),
        (["run", "x", "--image=x", "--env=X"], "error: invalid env: X, expected NAME=VALUE"),
    ],
)
def test_a_mistake_is_found_before_the_server_is_asked(said: Said, args: list[str], message: str) -> None:
    line = said(*args)
    assert line.startswith(message)
    assert len(line.splitlines()) == 1


def test_looking_at_pods_imports_nothing_slow() -> None:
    code = (
        "import sys; sys.argv = ['minikctl', 'get', 'pods']; from cli.main import run; run(); "
        "print(sorted({each.partition('.')[0] for each in sys.modules} & set(sys.argv[2:] + "
        "['pydantic', 'lightkube', 'httpx2', 'rich', 'bootstrap', 'lab', 'cryptography'])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "[]\n"


def test_shared_options_belong_to_every_command() -> None:
    assert isinstance(load("get"), Command)
    assert {"--namespace", "--context", "--kubeconfig"} <= {opt for each in load("get").params for opt in each.opts}
