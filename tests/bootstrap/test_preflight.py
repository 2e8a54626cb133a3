"""What is said about a machine that is not ready."""

import socket
from pathlib import Path

import pytest

from bootstrap import preflight
from bootstrap.errors import PreflightError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1:6443", ("10.0.0.1", 6443)),
        ("10.0.0.1", ("10.0.0.1", 6443)),
        ("https://cp.example:7443/", ("cp.example", 7443)),
        ("[fd00::1]:6443", ("fd00::1", 6443)),
        ("[fd00::1]", ("fd00::1", 6443)),
    ],
)
def test_endpoints(text: str, expected: tuple[str, int]) -> None:
    assert preflight.split_endpoint(text, default_port=6443) == expected


@pytest.mark.parametrize("text", ["", ":6443", "host:", "host:port", "host:70000", "host:0"])
def test_bad_endpoints(text: str) -> None:
    with pytest.raises(PreflightError, match="HOST:PORT"):
        preflight.split_endpoint(text, default_port=6443)


def test_a_busy_port_is_named_with_its_purpose() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PreflightError, match=f"port {port} .API server. is in use"):
            preflight.require_free_port(port, address="0.0.0.0", purpose="API server")
    preflight.require_free_port(port, address="127.0.0.1", purpose="API server")


def test_a_missing_docker_socket(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match="there is no Docker engine"):
        preflight.require_docker(f"unix://{tmp_path}/none.sock")


def test_a_file_that_is_no_socket(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PreflightError, match="is not a socket"):
        preflight.require_docker(f"unix://{tmp_path}/file")


def test_a_dead_docker_socket(tmp_path: Path) -> None:
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with pytest.raises(PreflightError, match="does not answer"):
        preflight.require_docker(f"unix://{path}")


def test_a_missing_program_comes_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PreflightError, match="apt-get install etcd-server"):
        preflight.require_programs(["etcd"])


def test_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(PreflightError, match="sudo minikctl init"):
        preflight.require_root("init")


def test_the_way_to_an_address() -> None:
    assert preflight.address_towards("127.0.0.1") == "127.0.0.1"
