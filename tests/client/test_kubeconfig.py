from __future__ import annotations

import base64
import os
import sys
from pathlib import Path

import pytest

from client import kubeconfig
from client.errors import ConfigError


def config(name: str, *, namespace: str = "", user: str = "token: secret", current: bool = True) -> str:
    return f"""apiVersion: v1
kind: Config
clusters: [{{name: {name}, cluster: {{server: "https://{name}:6443/"}}}}]
users:
- name: {name}
  user:
    {user}
contexts: [{{name: {name}, context: {{cluster: {name}, user: {name}, namespace: "{namespace}"}}}}]
current-context: {name if current else '""'}
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_file_in_the_home_folder(home: Path) -> None:
    write(home / ".kube/config", config("one", namespace="shop"))
    access = kubeconfig.load()
    assert (access.server, access.host, access.namespace, access.token) == (
        "https://one:6443",
        "one:6443",
        "shop",
        "secret",
    )


def test_files_of_the_environment_are_merged_and_the_first_wins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = write(home / "one", config("one")), write(home / "two", config("two"))
    monkeypatch.setenv("KUBECONFIG", f"{home}/missing{os.pathsep}{one}{os.pathsep}{two}")
    assert kubeconfig.load().context == "one"
    assert kubeconfig.load(context="two").server == "https://two:6443"


def test_the_option_beats_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(write(home / "one", config("one"))))
    assert kubeconfig.load(str(write(home / "two", config("two")))).context == "two"


def test_certificates_beside_the_file_and_inside_it(home: Path) -> None:
    write(home / "pki/client.crt", "CERT")
    inline = base64.b64encode(b"KEY").decode()
    path = write(home / "c", config("one", user=f"client-certificate: pki/client.crt\n    client-key-data: {inline}"))
    access = kubeconfig.load(str(path))
    assert (access.certificate, access.key) == (b"CERT", b"KEY")


def test_a_credential_plugin(home: Path) -> None:
    program = write(home / "plugin.py", """print('{"status": {"token": "of-the-plugin"}}')""")
    plugin = f"exec: {{apiVersion: client.authentication.k8s.io/v1, command: {sys.executable}, args: [{program}]}}"
    assert kubeconfig.load(str(write(home / "c", config("one", user=plugin)))).token == "of-the-plugin"


@pytest.mark.parametrize(
    ("text", "context", "message"),
    [
        (None, None, "no kubeconfig: .*minikctl up"),
        (config("one"), "other", 'context "other" does not exist'),
        (config("one", current=False), None, "current-context is not set"),
        ("a: b: c", None, "error loading config file .* line 1"),
        ("- a", None, "holds no kubeconfig"),
        ("clusters: 5", None, "clusters is not a list"),
        (config("one", user="client-certificate: nowhere.crt"), None, "unable to read client-certificate"),
        (config("one", user="client-certificate-data: '!'"), None, "not base64"),
        (config("one", user="exec: {command: /nowhere/plugin}"), None, "getting credentials"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(home: Path, text: str | None, context: str | None, message: str) -> None:
    if text is not None:
        write(home / ".kube/config", text)
    with pytest.raises(ConfigError, match=message) as caught:
        kubeconfig.load(context=context)
    assert "\n" not in str(caught.value)


def test_a_named_file_must_be_there() -> None:
    with pytest.raises(ConfigError, match="stat /nowhere: no such file or directory"):
        kubeconfig.load("/nowhere")
