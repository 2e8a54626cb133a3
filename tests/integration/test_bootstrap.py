"""init and join on a machine of their own: a network namespace, a real etcd, the real components."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from lightkube.models.core_v1 import NodeAddress, NodeCondition, NodeStatus
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Namespace, Node

from bootstrap import apiclient, supervisor, tokens
from bootstrap.commands import ControlPlane
from bootstrap.errors import BootstrapError, DiscoveryError, PreflightError, TokenError
from bootstrap.init import init
from bootstrap.join import join
from bootstrap.options import InitOptions, InitResult, JoinOptions
from bootstrap.reset import reset
from lab import netns, processes

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="init and join need root")

MACHINE = "tboot"
ADDRESS, SECOND_ADDRESS = "10.77.0.1", "10.77.0.2"
WRONG_HASH = "sha256:" + "0" * 64


def inside(function: Callable[[], object]) -> object:
    return netns.call(MACHINE, function)


@pytest.fixture(scope="module")
def machine() -> Iterator[str]:
    """A network namespace with two addresses, in which nothing else listens."""
    owner = processes.Owner(netns.inode(MACHINE), f"/minik/{MACHINE}", ())
    processes.kill([owner])
    netns.delete(MACHINE)
    netns.create(MACHINE)
    addresses = [f"addr add {address}/24 dev eth0" for address in (ADDRESS, SECOND_ADDRESS)]
    for words in ("link set lo up", "link add eth0 type bridge", *addresses, "link set eth0 up"):
        inside(lambda words=words: subprocess.run(["ip", *words.split()], check=True))
    yield MACHINE
    processes.kill([processes.Owner(netns.inode(MACHINE), f"/minik/{MACHINE}", ())])
    netns.delete(MACHINE)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> InitOptions:
    home = tmp_path_factory.mktemp("home")
    return InitOptions(
        data_dir=tmp_path_factory.mktemp("data"), advertise_address=ADDRESS, kubeconfig=home / "config", context="tboot"
    )


@pytest.fixture(scope="module")
def report() -> list[str]:
    return []


@pytest.fixture(scope="module")
def cluster(machine: str, options: InitOptions, report: list[str]) -> Iterator[InitResult]:
    yield inside(lambda: init(options, report.append))  # type: ignore[misc]
    inside(lambda: reset(options.data_dir))


@pytest.fixture
def socket_path(tmp_path: Path) -> Iterator[Path]:
    """A listening socket in place of a Docker engine's."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "docker.sock"))
        listener.listen()
        yield tmp_path / "docker.sock"


Joining = Callable[..., JoinOptions]


@pytest.fixture
def joining(cluster: InitResult, socket_path: Path, tmp_path: Path) -> Joining:
    """Options to join from the same machine, with some of them changed."""
    values = {
        "server": f"{ADDRESS}:6443",
        "token": cluster.token,
        "ca_cert_hashes": (cluster.ca_cert_hash,),
        "data_dir": tmp_path,
        "node_name": "n1",
        "docker_host": f"unix://{socket_path}",
        "timeout": 2,
    }
    return lambda **changes: JoinOptions(**{**values, **changes})


def pids(options: InitOptions) -> dict[str, int | None]:
    return {child.name: child.pid for child in supervisor.status(ControlPlane(options.data_dir).directory)}


def test_init_tells_what_it_does_and_how_to_join(cluster: InitResult, report: list[str]) -> None:
    assert report[-1].strip() == cluster.join_command
    assert cluster.join_command.startswith(f"minikctl join {ADDRESS}:6443 --token ")


def test_the_users_kubeconfig_works(cluster: InitResult, options: InitOptions) -> None:
    assert options.kubeconfig

    def namespaces() -> set[str | None]:
        with apiclient.connect(options.kubeconfig) as client:  # type: ignore[arg-type]
            return {each.metadata.name for each in client.list(Namespace) if each.metadata}

    assert {"default", "kube-system", "kube-public", "kube-node-lease"} <= inside(namespaces)  # type: ignore[operator]


def test_init_again_changes_nothing(cluster: InitResult, options: InitOptions) -> None:
    before, pki = pids(options), ControlPlane(options.data_dir).pki
    certificates = {path: path.read_bytes() for path in pki.rglob("*.crt")}
    again = inside(lambda: init(options, lambda line: None))
    assert isinstance(again, InitResult) and again.ca_cert_hash == cluster.ca_cert_hash
    assert pids(options) == before
    assert {path: path.read_bytes() for path in pki.rglob("*.crt")} == certificates


def test_secrets_are_only_for_root(cluster: InitResult, options: InitOptions) -> None:
    place = ControlPlane(options.data_dir)
    private = [*place.pki.rglob("*.key"), *place.directory.glob("*.conf"), options.kubeconfig]
    assert not [path for path in private if path and path.stat().st_mode & 0o077]
    logs = "".join(path.read_text() for path in (place.directory / "logs").iterdir())
    assert tokens.parse(cluster.token)[1] not in logs


def test_strangers_may_read_cluster_info_and_nothing_else(cluster: InitResult) -> None:
    def codes() -> list[int]:
        with httpx2.Client(verify=False, trust_env=False, base_url=cluster.server) as http:
            paths = ("/api/v1/namespaces/kube-public/configmaps/cluster-info", "/readyz", "/api/v1/secrets")
            return [http.get(path).status_code for path in paths]

    assert inside(codes) == [200, 200, 403]


def test_tokens_can_be_made_listed_and_withdrawn(cluster: InitResult) -> None:
    def life() -> tuple[bool, bool]:
        token = tokens.create(cluster.kubeconfig, ttl=600, description="test")
        known = token in {each.token for each in tokens.list_tokens(cluster.kubeconfig)}
        tokens.delete(cluster.kubeconfig, token)
        return known, token in {each.token for each in tokens.list_tokens(cluster.kubeconfig)}

    assert inside(life) == (True, False)


def refusal(options: JoinOptions) -> str:
    """The one line join gives up with."""
    with pytest.raises(BootstrapError) as raised:
        inside(lambda: join(options, lambda line: None))
    assert "\n" not in str(raised.value)
    return f"{type(raised.value).__name__}: {raised.value}"


def test_a_wrong_hash_ends_the_join_before_the_token_is_shown(
    cluster: InitResult, joining: Joining, tmp_path: Path
) -> None:
    line = refusal(joining(ca_cert_hashes=(WRONG_HASH,)))
    assert line == f"{DiscoveryError.__name__}: the cluster's CA is not the one of the join line: it has " + (
        cluster.ca_cert_hash
    )
    assert not (tmp_path / "node" / "kubelet.conf").exists()


def test_a_wrong_token(joining: Joining) -> None:
    line = refusal(joining(token="aaaaaa.0123456789abcdef"))
    assert line.startswith(TokenError.__name__) and "wrong or has expired" in line


def test_an_expired_token(cluster: InitResult, joining: Joining) -> None:
    token = inside(lambda: tokens.create(cluster.kubeconfig, ttl=-60))
    assert "wrong or has expired" in refusal(joining(token=token))


def test_a_server_that_is_not_there(joining: Joining) -> None:
    line = refusal(joining(server=f"{ADDRESS}:6444", timeout=0))
    assert line.startswith(f"{DiscoveryError.__name__}: no cluster at https://{ADDRESS}:6444")


def test_a_name_that_another_machine_has(cluster: InitResult, joining: Joining) -> None:
    ready = NodeCondition(type="Ready", status="True")
    status = NodeStatus(addresses=[NodeAddress("10.77.0.9", "InternalIP")], conditions=[ready])

    def taken() -> str:
        with apiclient.connect(cluster.kubeconfig) as client:
            client.create(Node(metadata=ObjectMeta(name="n1")))
            client.replace(Node.Status(metadata=ObjectMeta(name="n1"), status=status), "n1")
            try:
                return refusal(joining())
            finally:
                client.delete(Node, "n1")

    line = str(inside(taken))
    assert line.endswith("the cluster has a node n1 at 10.77.0.9; give this machine another name (--node-name)")


def test_a_machine_without_docker(joining: Joining, tmp_path: Path) -> None:
    assert "no Docker engine" in refusal(joining(docker_host=f"unix://{tmp_path}/none.sock"))


def test_join_obtains_certificates_and_keeps_them(joining: Joining, socket_path: Path, tmp_path: Path) -> None:
    """Without an engine behind the socket the kubelet cannot make the node Ready; joining itself is complete."""
    options = joining(wait=False, timeout=60, node_ip=SECOND_ADDRESS)
    try:
        result = inside(lambda: join(options, lambda line: None))
        made = {path: path.read_bytes() for path in (tmp_path / "node" / "pki").iterdir()}
        assert result.node_name == "n1" and result.node_ip == SECOND_ADDRESS  # type: ignore[attr-defined]
        assert {path.name for path in made} == {"ca.crt", "kubelet.crt", "kubelet.key"}
        inside(lambda: join(options, lambda line: None))
        assert {path: path.read_bytes() for path in (tmp_path / "node" / "pki").iterdir()} == made
        assert [child.name for child in supervisor.status(tmp_path / "node")] == ["kubelet", "proxy", "ingress"]
    finally:
        socket_path.unlink()
        inside(lambda: reset(tmp_path, docker_host=options.docker_host))
    assert not (tmp_path / "node").exists()


def test_only_the_administrator_lets_a_node_serve_on_the_control_planes_address(
    joining: Joining, options: InitOptions
) -> None:
    assert "kubectl certificate approve" in refusal(joining(wait=False, timeout=3))
    try:
        inside(lambda: join(joining(wait=False, timeout=60, data_dir=options.data_dir), lambda line: None))
        assert (options.data_dir / "node/pki/kubelet.crt").exists()
    finally:
        supervisor.stop(options.data_dir / "node")
        shutil.rmtree(options.data_dir / "node")


def test_everything_acknowledged_survives_a_kill_of_etcd(cluster: InitResult, options: InitOptions) -> None:
    def write_kill_read() -> str | None:
        with apiclient.connect(cluster.kubeconfig) as client:
            client.create(ConfigMap(metadata=ObjectMeta(name="kept", namespace="default"), data={"a": "b"}))
        os.kill(pids(options)["etcd"] or 0, signal.SIGKILL)
        ca = ControlPlane(options.data_dir).pki / "ca.crt"
        assert apiclient.wait_ready(cluster.server, ca, timeout=30)
        with apiclient.connect(cluster.kubeconfig) as client:
            return (client.get(ConfigMap, "kept", namespace="default").data or {}).get("a")

    assert inside(write_kill_read) == "b"


@pytest.mark.parametrize(
    "changes, why",
    [
        ({"pod_cidr": "10.77.0.0/16"}, r"10.77.0.0/16 \(pods\) and 10.77.0.1 \(this machine\) overlap"),
        ({"service_cidr": "10.244.0.0/20"}, r"10.244.0.0/16 \(pods\) and 10.244.0.0/20 \(Services\) overlap"),
        ({"service_cidr": "10.78.0.0/16"}, r"is in use: this machine has a route for 10.78.5.0/24; see --service-cidr"),
    ],
)
def test_ranges_that_clash(machine: str, changes: dict[str, str], why: str, tmp_path: Path) -> None:
    inside(lambda: subprocess.run(["ip", "route", "replace", "10.78.5.0/24", "dev", "eth0"], check=True))
    made = InitOptions(data_dir=tmp_path, advertise_address=ADDRESS, **changes)  # type: ignore[arg-type]
    with pytest.raises(PreflightError, match=why):
        inside(lambda: init(made, lambda line: None))
    assert not (tmp_path / "control-plane").exists()


def test_a_busy_port_is_named(cluster: InitResult, tmp_path: Path) -> None:
    """A second control plane on the same machine would need other ports."""
    with pytest.raises(PreflightError, match=r"port 6443 \(API server\) is in use"):
        inside(lambda: init(InitOptions(data_dir=tmp_path, advertise_address=ADDRESS), lambda line: None))
    assert not (tmp_path / "control-plane").exists()


def test_a_second_control_plane_on_the_same_etcd(cluster: InitResult, options: InitOptions, tmp_path: Path) -> None:
    pki = ControlPlane(options.data_dir).pki
    shutil.copytree(pki, ControlPlane(tmp_path).pki)
    second = InitOptions(
        data_dir=tmp_path,
        advertise_address=ADDRESS,
        secure_port=7443,
        etcd_servers=("https://127.0.0.1:23790",),
        etcd_cafile=pki / "etcd" / "ca.crt",
        etcd_certfile=pki / "apiserver-etcd-client.crt",
        etcd_keyfile=pki / "apiserver-etcd-client.key",
    )

    def write_there_read_here() -> str | None:
        other = init(second, lambda line: None)
        with apiclient.connect(other.kubeconfig) as client:
            client.create(ConfigMap(metadata=ObjectMeta(name="shared", namespace="default"), data={"c": "d"}))
        with apiclient.connect(cluster.kubeconfig) as client:
            return (client.get(ConfigMap, "shared", namespace="default").data or {}).get("c")

    try:
        assert inside(write_there_read_here) == "d"
        assert [child.name for child in supervisor.status(ControlPlane(tmp_path).directory)] == [
            "apiserver",
            "scheduler",
            "controllers",
            "storage",
        ]
    finally:
        inside(lambda: reset(tmp_path))


def test_reset_is_harmless_where_nothing_is(tmp_path: Path) -> None:
    reset(tmp_path / "never")
    assert not (tmp_path / "never").exists()
