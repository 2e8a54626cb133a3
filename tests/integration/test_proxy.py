"""The proxy's rules in a real kernel: two nodes on a switch, pods behind bridges, a host outside.

    outside 10.89.77.100 --+
    node 1  10.89.77.11  --+-- switch       pods 10.244.1.x behind minik0 of node 1, 10.244.2.x behind node 2
    node 2  10.89.77.12  --+

Every namespace is made by the test and goes with it. Nothing has a default route.
"""

import collections
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rcode
import pytest
from answering import Answering
from lightkube import Client, KubeConfig
from lightkube.models.core_v1 import LoadBalancerIngress, LoadBalancerStatus, ServicePort, ServiceSpec, ServiceStatus
from lightkube.models.discovery_v1 import Endpoint, EndpointConditions, EndpointPort
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice
from ports import free_port

from linux import conntrack, namespaces, sysctl
from linux.nft import Table
from proxy import link
from proxy.rules import TABLE, NodeFacts, build

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces and nftables")

SERVICE_IP = "10.96.7.7"
NFT = shutil.which("nft")
NODE_IPS = {1: "10.89.77.11", 2: "10.89.77.12"}
NODE_PORT = 30777


class Namespace:
    """A network namespace; what runs `inside` it runs in a thread of its own that has entered it."""

    def __init__(self, name: str) -> None:
        self.name = name
        run("ip", "netns", "add", name)
        self.ip("link", "set", "lo", "up")

    def ip(self, *words: str) -> None:
        run("ip", "-n", self.name, *words)

    def sysctl(self, path: str, value: str) -> None:
        self.inside(lambda: Path(f"/proc/sys/{path}").write_text(value))

    def shell(self, *words: str, input: str | None = None) -> str:
        return run("nsenter", f"--net=/run/netns/{self.name}", *words, input=input)

    def inside(self, work: Callable[[], Any]) -> Any:
        def enter() -> Any:
            namespaces.enter(f"/run/netns/{self.name}")
            return work()

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(enter).result()

    def socket(self, kind: int = socket.SOCK_STREAM) -> socket.socket:
        return self.inside(lambda: socket.socket(socket.AF_INET, kind))

    def ask(self, address: str, port: int = 80, *, timeout: float = 5.0) -> str:
        """Connect, and return what the server calls itself."""
        with self.socket() as client:
            client.settimeout(timeout)
            client.connect((address, port))
            return client.recv(100).decode().partition(" ")[0]

    def peer_seen(self, address: str, port: int = 80) -> str:
        """The address the server saw this client under."""
        with self.socket() as client:
            client.settimeout(5)
            client.connect((address, port))
            return client.recv(100).decode().partition(" ")[2]

    def remove(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], check=False)


def run(*words: str, input: str | None = None) -> str:
    done = subprocess.run(words, capture_output=True, text=True, input=input)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


class Pod(Namespace):
    """A namespace behind a node's bridge that answers `NAME CLIENT` on TCP and UDP port 8080."""

    PORT = 8080

    def __init__(self, lab: "Lab", name: str, node: int, number: int) -> None:
        super().__init__(f"{lab.prefix}-{name}")
        self.pod, self.node, self.address = name, node, f"10.244.{node}.{number}"
        host, port = lab.nodes[node], f"v{number}"
        host.ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        host.ip("link", "set", port, "master", "minik0", "up")
        host.ip("link", "set", port, "type", "bridge_slave", "hairpin", "on")
        self.ip("addr", "add", f"{self.address}/24", "dev", "eth0")
        self.ip("link", "set", "eth0", "up")
        self.ip("route", "add", "default", "via", f"10.244.{node}.1")
        self.stream, self.datagram = self.socket(), self.socket(socket.SOCK_DGRAM)
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for each in (self.stream, self.datagram):
            each.bind(("", self.PORT))
        self.stream.listen(512)
        self.server = Answering(self.stream, self.datagram, answer=lambda peer: f"{self.pod} {peer}")

    def remove(self) -> None:
        self.server.close()
        super().remove()


class Lab:
    """The picture above; six pods, three on each node."""

    def __init__(self) -> None:
        self.prefix = f"mkpx{os.getpid()}"
        self.everything: list[Namespace] = []
        self.nodes: dict[int, Namespace] = {}
        self.tables: dict[int, Table] = {}

    def up(self) -> None:
        switch = self.add(Namespace(f"{self.prefix}-sw"))
        switch.ip("link", "add", "br0", "type", "bridge")
        switch.ip("link", "set", "br0", "up")
        switch.sysctl("net/bridge/bridge-nf-call-iptables", "0")
        self.outside = self.add(Namespace(f"{self.prefix}-out"))
        for host, address in ((self.outside, "10.89.77.100"),):
            self.plug(switch, host, address)
        for number, address in NODE_IPS.items():
            node = self.nodes[number] = self.add(Namespace(f"{self.prefix}-n{number}"))
            self.plug(switch, node, address)
            node.ip("link", "add", "minik0", "type", "bridge")
            node.ip("addr", "add", f"10.244.{number}.1/24", "dev", "minik0")
            node.ip("link", "set", "minik0", "up")
            self.tunnel(node, number, 3 - number)
            node.inside(lambda: link.ensure(service_cidr="10.96.0.0/16", dns_ip="10.96.0.10"))
            assert node.inside(sysctl.bridge_netfilter)
            self.tables[number] = Table(TABLE)
        self.pods = [self.add(Pod(self, f"p{n}{i}", n, 10 + i)) for n in self.nodes for i in range(3)]

    def add(self, each: Any) -> Any:
        self.everything.append(each)
        return each

    def tunnel(self, node: Namespace, number: int, other: int) -> None:
        """As the kubelet makes it: the other node's pods behind a VXLAN link."""
        own = ("id", "1", "dstport", "8472", "local", NODE_IPS[number], "nolearning")
        node.ip("link", "add", "minik.vxlan", "address", f"02:42:00:00:00:0{number}", "type", "vxlan", *own)
        node.ip("addr", "add", f"10.244.{number}.0/32", "dev", "minik.vxlan")
        node.ip("link", "set", "minik.vxlan", "up")
        mac = f"02:42:00:00:00:0{other}"
        node.ip("neigh", "add", f"10.244.{other}.0", "lladdr", mac, "dev", "minik.vxlan", "nud", "permanent")
        node.shell("bridge", "fdb", "add", mac, "dev", "minik.vxlan", "dst", NODE_IPS[other], "self", "permanent")
        node.ip("route", "add", f"10.244.{other}.0/24", "via", f"10.244.{other}.0", "dev", "minik.vxlan", "onlink")

    def plug(self, switch: Namespace, host: Namespace, address: str) -> None:
        port = f"p{address.rpartition('.')[2]}"
        switch.ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host.name)
        switch.ip("link", "set", port, "master", "br0", "up")
        host.ip("addr", "add", f"{address}/24", "dev", "eth0")
        host.ip("link", "set", "eth0", "up")

    def down(self) -> None:
        for each in reversed(self.everything):
            each.remove()

    def apply(self, services: list[Service], slices: list[EndpointSlice], *, bridge_netfilter: bool = True) -> None:
        """What the proxier does on every node."""
        for number, node in self.nodes.items():
            facts = NodeFacts(
                name=f"node-{number}",
                cluster_cidr="10.244.0.0/16",
                service_cidr="10.96.0.0/16",
                dns_ip="10.96.0.10",
                pod_cidr=f"10.244.{number}.0/24",
                bridge_netfilter=bridge_netfilter,
            )
            wanted, table = build(services, slices, facts), self.tables[number]
            node.inside(lambda wanted=wanted, table=table: table.apply(wanted))


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    lab = Lab()
    try:
        lab.up()
        yield lab
    finally:
        lab.down()


def service(**spec: Any) -> Service:
    spec.setdefault("ports", [ServicePort(port=80, targetPort=8080)])
    return Service(
        metadata=ObjectMeta(name=spec.pop("name", "web"), namespace="default"),
        spec=ServiceSpec(clusterIP=spec.pop("clusterIP", SERVICE_IP), **spec),
    )


def endpoints(pods: list[Pod], *, service: str = "web", protocol: str = "TCP", **conditions: bool) -> EndpointSlice:
    return EndpointSlice(
        addressType="IPv4",
        metadata=ObjectMeta(
            name=f"{service}-{protocol.lower()}", namespace="default", labels={"kubernetes.io/service-name": service}
        ),
        ports=[EndpointPort(port=Pod.PORT, protocol=protocol)],
        endpoints=[
            Endpoint(
                addresses=[pod.address],
                nodeName=f"node-{pod.node}",
                conditions=EndpointConditions(**{"ready": True, **conditions}),
            )
            for pod in pods
        ],
    )


def clients(lab: Lab) -> dict[str, Namespace]:
    return {"pod": lab.pods[0], "node": lab.nodes[1]}


@pytest.mark.parametrize("client", ["pod", "node"])
def test_600_connections_over_6_endpoints_are_100_each(lab: Lab, client: str) -> None:
    lab.apply([service()], [endpoints(lab.pods)])
    answers = collections.Counter(clients(lab)[client].ask(SERVICE_IP) for _ in range(600))
    assert answers == {pod.pod: 100 for pod in lab.pods}


def test_node_port_from_a_host_outside_goes_round_robin_over_both_nodes(lab: Lab) -> None:
    port = ServicePort(port=80, targetPort=8080, nodePort=NODE_PORT)
    lab.apply([service(type="NodePort", ports=[port])], [endpoints(lab.pods)])
    for address in NODE_IPS.values():
        answers = collections.Counter(lab.outside.ask(address, NODE_PORT) for _ in range(60))
        assert answers == {pod.pod: 10 for pod in lab.pods}, address
    assert lab.nodes[1].ask(NODE_IPS[2], NODE_PORT), "from another node"
    assert lab.nodes[1].ask(NODE_IPS[1], NODE_PORT), "from the node itself"
    assert lab.pods[0].ask(NODE_IPS[1], NODE_PORT), "from a pod"
    assert lab.pods[0].ask(NODE_IPS[2], NODE_PORT), "from a pod to the other node"


def test_a_pod_reaches_itself_through_its_service(lab: Lab) -> None:
    pod = lab.pods[1]
    lab.apply([service()], [endpoints([pod])])
    assert pod.ask(SERVICE_IP) == pod.pod
    assert pod.peer_seen(SERVICE_IP) != pod.address


def test_pods_see_each_others_addresses(lab: Lab) -> None:
    """No NAT between pods, also through a service: on one bridge and between nodes."""
    for server in (lab.pods[1], lab.pods[4]):
        lab.apply([service()], [endpoints([server])])
        assert lab.pods[0].peer_seen(SERVICE_IP) == lab.pods[0].address


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
def test_a_service_without_endpoints_refuses_at_once(lab: Lab, protocol: str) -> None:
    port = ServicePort(port=80, targetPort=8080, nodePort=NODE_PORT, protocol=protocol)
    lab.apply([service(type="NodePort", ports=[port])], [])
    kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
    ways = [(each, SERVICE_IP, 80) for each in clients(lab).values()] + [(lab.outside, NODE_IPS[1], NODE_PORT)]
    for client, address, number in ways:
        # The node's own datagram is refused inside send(): EPERM, as with any local filter.
        with client.socket(kind) as sock, pytest.raises((ConnectionRefusedError, PermissionError)):
            sock.settimeout(5)
            sock.connect((address, number))
            sock.send(b"x")
            sock.recv(10)


def test_a_port_the_service_lacks_refuses_and_an_address_nobody_has_is_dropped(lab: Lab) -> None:
    lab.apply([service()], [endpoints(lab.pods)])
    for client in clients(lab).values():
        with pytest.raises(ConnectionRefusedError):
            client.ask(SERVICE_IP, 81)
        with pytest.raises((TimeoutError, OSError)):
            client.ask("10.96.99.99", 80, timeout=0.3)


def test_a_removed_endpoint_gets_nothing_new_and_no_request_fails_meanwhile(lab: Lab) -> None:
    web = service()
    lab.apply([web], [endpoints(lab.pods)])
    stop, answers, failures = threading.Event(), collections.deque(), []

    def ask(client: Namespace) -> None:
        while not stop.is_set():
            began = time.monotonic()
            try:
                answers.append((began, client.ask(SERVICE_IP)))
            except OSError as error:
                failures.append(error)

    threads = [threading.Thread(target=ask, args=(each,)) for each in (lab.pods[0], lab.pods[3], lab.nodes[1])]
    for thread in threads:
        thread.start()
    removed: dict[str, float] = {}
    try:
        for count in (5, 4, 3, 2, 1):
            lab.apply([web], [endpoints(lab.pods[:count])])
            removed[lab.pods[count].pod] = time.monotonic()
            seen = len(answers)
            while len(answers) < seen + 30:
                assert not failures and threads[0].is_alive()
                time.sleep(0.001)
        lab.apply([web], [endpoints(lab.pods)])
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
    # The last apply put them all back, so only what began before it counts.
    last = max(removed.values())
    late = [(began, name) for began, name in answers if name in removed and removed[name] < began < last]
    assert not late


def test_an_unchanged_service_keeps_its_place_in_the_round(lab: Lab) -> None:
    web, other = service(), service(name="other", clusterIP="10.96.7.8")
    lab.apply([web], [endpoints(lab.pods)])
    answers = []
    for count in range(6):
        answers.append(lab.pods[0].ask(SERVICE_IP))
        lab.apply([web, other], [endpoints(lab.pods), endpoints(lab.pods[: count + 1], service="other")])
    assert sorted(answers) == sorted(pod.pod for pod in lab.pods)


def test_serving_terminating_endpoints_stand_in_when_none_is_ready(lab: Lab) -> None:
    lab.apply([service()], [endpoints(lab.pods[:2], ready=False, serving=True, terminating=True)])
    assert {lab.pods[5].ask(SERVICE_IP) for _ in range(4)} == {"p10", "p11"}


def test_external_traffic_policy_local_keeps_clients_addresses(lab: Lab) -> None:
    port = ServicePort(port=80, targetPort=8080, nodePort=NODE_PORT)
    web = service(type="NodePort", externalTrafficPolicy="Local", ports=[port])
    lab.apply([web], [endpoints(lab.pods[:3])])
    assert lab.outside.peer_seen(NODE_IPS[1], NODE_PORT) == "10.89.77.100"
    assert {lab.outside.ask(NODE_IPS[1], NODE_PORT) for _ in range(6)} == {"p10", "p11", "p12"}
    with pytest.raises(TimeoutError):
        lab.outside.ask(NODE_IPS[2], NODE_PORT, timeout=0.3)
    assert lab.nodes[2].ask(NODE_IPS[2], NODE_PORT), "the node itself may use every endpoint"
    assert lab.pods[5].ask(NODE_IPS[2], NODE_PORT), "and so may its pods"


def test_internal_traffic_policy_local_stays_on_the_node(lab: Lab) -> None:
    lab.apply([service(internalTrafficPolicy="Local")], [endpoints(lab.pods)])
    assert {lab.pods[0].ask(SERVICE_IP) for _ in range(6)} == {"p10", "p11", "p12"}
    lab.apply([service(internalTrafficPolicy="Local")], [endpoints(lab.pods[:3])])
    with pytest.raises(TimeoutError):
        lab.pods[5].ask(SERVICE_IP, timeout=0.3)


def test_external_ips_lead_to_the_service(lab: Lab) -> None:
    lab.outside.ip("route", "replace", "198.51.100.7/32", "via", NODE_IPS[2])
    lab.apply([service(externalIPs=["198.51.100.7"])], [endpoints(lab.pods)])
    assert len({lab.outside.ask("198.51.100.7") for _ in range(6)}) == 6


def test_a_load_balancers_address_is_the_nodes_own_and_for_its_ranges_only(lab: Lab) -> None:
    web = service(type="LoadBalancer", ports=[ServicePort(port=8081, targetPort=8080)])
    points = [LoadBalancerIngress(ip=address) for address in NODE_IPS.values()]
    web.status = ServiceStatus(loadBalancer=LoadBalancerStatus(ingress=points))
    lab.apply([web], [endpoints(lab.pods)])
    for address in NODE_IPS.values():
        assert len({lab.outside.ask(address, 8081) for _ in range(6)}) == 6
    web.spec.loadBalancerSourceRanges = ["192.0.2.0/24"]
    lab.apply([web], [endpoints(lab.pods)])
    with pytest.raises(TimeoutError):
        lab.outside.ask(NODE_IPS[1], 8081, timeout=0.3)
    assert lab.pods[0].ask(SERVICE_IP, 8081), "the Service's own address is not its load balancer's"
    web.spec.loadBalancerSourceRanges = ["192.0.2.0/24", "10.89.77.0/24"]
    lab.apply([web], [endpoints(lab.pods)])
    assert lab.outside.ask(NODE_IPS[1], 8081)


def test_session_affinity_keeps_a_client_on_its_endpoint_across_changes(lab: Lab) -> None:
    web = service(sessionAffinity="ClientIP")
    lab.apply([web], [endpoints(lab.pods)])
    first, second = lab.pods[0].ask(SERVICE_IP), lab.pods[1].ask(SERVICE_IP)
    assert first != second
    assert {lab.pods[0].ask(SERVICE_IP) for _ in range(6)} == {first}
    left = [pod for pod in lab.pods if pod.pod != second]
    lab.apply([web], [endpoints(left)])
    assert {lab.pods[0].ask(SERVICE_IP) for _ in range(6)} == {first}
    assert lab.pods[1].ask(SERVICE_IP) != second
    lab.apply([service()], [endpoints(lab.pods)])
    assert len({lab.pods[0].ask(SERVICE_IP) for _ in range(6)}) == 6


@pytest.mark.parametrize("neighbours", [0, conntrack.MAX_SEARCHES])
def test_a_udp_client_that_keeps_its_port_moves_to_a_living_endpoint(lab: Lab, neighbours: int) -> None:
    """Alone, and among so many changes at once that the kernel's table is read as a whole."""
    dns = service(ports=[ServicePort(port=53, targetPort=8080, protocol="UDP")])
    lab.apply([dns], [endpoints(lab.pods[:1], protocol="UDP")])
    for client in (lab.pods[5], lab.nodes[1]):
        lab.apply([dns], [endpoints(lab.pods[:1], protocol="UDP")])
        with client.socket(socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.connect((SERVICE_IP, 53))
            sock.send(b"?")
            assert sock.recv(100).startswith(b"p10")
            others = [
                service(name=f"dns-{n}", clusterIP=f"10.96.8.{n + 1}", ports=dns.spec.ports) for n in range(neighbours)
            ]
            lab.apply([dns, *others], [endpoints(lab.pods[4:5], protocol="UDP")])
            sock.send(b"?")
            assert sock.recv(100).startswith(b"p21")


def test_tcp_and_udp_of_one_number_are_two_ports(lab: Lab) -> None:
    ports = [
        ServicePort(name="tcp", port=53, targetPort=8080, protocol="TCP"),
        ServicePort(name="udp", port=53, targetPort=8080, protocol="UDP"),
    ]
    tcp, udp = endpoints(lab.pods[:1]), endpoints(lab.pods[1:2], protocol="UDP")
    tcp.ports[0].name, udp.ports[0].name = "tcp", "udp"
    lab.apply([service(ports=ports)], [tcp, udp])
    assert lab.pods[5].ask(SERVICE_IP, 53) == "p10"
    with lab.pods[5].socket(socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.sendto(b"?", (SERVICE_IP, 53))
        assert sock.recv(100).startswith(b"p11")


def test_a_flushed_table_comes_back(lab: Lab) -> None:
    lab.apply([service()], [endpoints(lab.pods)])
    node, table = lab.nodes[1], lab.tables[1]
    node.shell("nft", "flush", "ruleset")
    assert not node.inside(table.check)
    lab.apply([service()], [endpoints(lab.pods)])
    assert node.ask(SERVICE_IP)
    # And without having been asked to check: the failing change becomes a replacement.
    node.shell("nft", "flush", "ruleset")
    lab.apply([service()], [endpoints(lab.pods[:2])])
    assert {node.ask(SERVICE_IP) for _ in range(2)} == {"p10", "p11"}


def test_without_bridge_netfilter_pods_of_one_bridge_still_meet(lab: Lab) -> None:
    for node in lab.nodes.values():
        node.sysctl("net/bridge/bridge-nf-call-iptables", "0")
    try:
        lab.apply([service()], [endpoints(lab.pods[:3])], bridge_netfilter=False)
        assert {lab.pods[0].ask(SERVICE_IP) for _ in range(3)} == {"p10", "p11", "p12"}
    finally:
        for node in lab.nodes.values():
            node.sysctl("net/bridge/bridge-nf-call-iptables", "1")


def test_the_longest_names_fit(lab: Lab) -> None:
    name = "n" * 63
    web = service(name=name, sessionAffinity="ClientIP", ports=[ServicePort(port=65535, targetPort=8080)])
    web.metadata.namespace = "s" * 63
    behind = endpoints(lab.pods, service=name)
    behind.metadata.namespace = "s" * 63
    lab.apply([web], [behind])
    assert lab.pods[0].ask(SERVICE_IP, 65535)


class Control:
    """An API server with its store in memory, and a proxy, both as processes of node 1."""

    READY_SECONDS = 30.0

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.node, self.directory = lab.nodes[1], directory
        self.port = self.node.inside(free_port)
        self.kubeconfig = directory / "kubeconfig"
        self.kubeconfig.write_text(KUBECONFIG % self.port)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.client: Client = self.node.inside(lambda: Client(KubeConfig.from_file(self.kubeconfig), trust_env=False))

    def start(self, module: str, *options: str, path: str = "") -> None:
        command = ["nsenter", f"--net=/run/netns/{self.node.name}", sys.executable, "-m", module, *options]
        with (self.directory / f"{module}.log").open("ab") as log:
            environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}".lstrip(":")}
            self.processes[module] = subprocess.Popen(command, stderr=log, stdout=log, env=environment)

    def start_apiserver(self) -> None:
        self.start("apiserver", "--bind-address", "127.0.0.1", "--secure-port", str(self.port))
        self.wait(lambda: self.http_get(self.port, "/readyz")[0] == 200)

    def start_proxy(self, *, path: str = "") -> None:
        options = ["--kubeconfig", str(self.kubeconfig), "--hostname-override", "node-1", "--upstream-dns", ""]
        self.start("proxy", *options, "--healthz-bind-address", "127.0.0.1:10256", path=path)

    def wait_proxy(self) -> None:
        self.wait(lambda: self.http_get(10256, "/healthz")[0] == 200)

    def http_get(self, port: int, path: str) -> tuple[int, str]:
        """Status and body; status 0 if nobody answers."""
        with self.node.socket() as sock, contextlib.suppress(OSError, IndexError, ValueError):
            sock.settimeout(5)
            sock.connect(("127.0.0.1", port))
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
            return int(answer.split()[1]), answer.partition("\r\n\r\n")[2]
        return 0, ""

    def wait(self, holds: Callable[[], Any]) -> None:
        deadline = time.monotonic() + self.READY_SECONDS
        while not holds():
            for module, process in self.processes.items():
                assert process.poll() is None, (self.directory / f"{module}.log").read_text()
            assert time.monotonic() < deadline, "".join(each.read_text() for each in self.directory.glob("*.log"))
            time.sleep(0.01)

    def end(self, module: str, number: signal.Signals = signal.SIGTERM) -> int:
        process = self.processes.pop(module)
        process.send_signal(number)
        return process.wait()

    def call(self, work: Callable[[Client], Any]) -> Any:
        return self.node.inside(lambda: work(self.client))


KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "http://127.0.0.1:%d"}}]
users: [{name: test, user: {}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
current-context: test
"""


@pytest.fixture
def control(lab: Lab, tmp_path: Path) -> Iterator[Control]:
    control = Control(lab, tmp_path)
    try:
        control.start_apiserver()
        control.start_proxy()
        control.wait_proxy()
        yield control
    finally:
        for module in list(control.processes):
            control.end(module, signal.SIGKILL)
        lab.nodes[1].inside(lambda: link.ensure(service_cidr="10.96.0.0/16", dns_ip="10.96.0.10"))


def served_by(lab: Lab, control: Control, pods: list[Pod]) -> None:
    """Wait until connections go to exactly these pods."""

    def holds() -> bool:
        with contextlib.suppress(OSError):
            return {lab.nodes[1].ask(SERVICE_IP) for _ in pods} == {pod.pod for pod in pods}
        return False

    control.wait(holds)


def test_the_proxy_follows_the_api_server_and_survives_being_killed(lab: Lab, control: Control) -> None:
    control.call(lambda client: client.create(service()))
    stored = control.call(lambda client: client.create(endpoints(lab.pods[:2])))
    served_by(lab, control, lab.pods[:2])

    control.end("proxy", signal.SIGKILL)
    assert lab.pods[0].ask(SERVICE_IP), "the rules are the kernel's, not the process's"
    stored.endpoints = endpoints(lab.pods[:4]).endpoints
    control.call(lambda client: client.replace(stored))
    stop, failures = threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            try:
                lab.nodes[1].ask(SERVICE_IP)
            except OSError as error:
                failures.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        control.start_proxy()
        control.wait_proxy()
        served_by(lab, control, lab.pods[:4])
    finally:
        stop.set()
        thread.join()
    assert not failures

    control.end("apiserver", signal.SIGKILL)
    assert lab.nodes[1].ask(SERVICE_IP)
    assert control.http_get(10256, "/healthz")[0] == 200
    assert control.end("proxy") == 0, "SIGTERM is a clean stop"
    assert lab.nodes[1].ask(SERVICE_IP)

    control.start("proxy", "--cleanup")
    assert control.processes.pop("proxy").wait() == 0
    assert "minik-proxy" not in lab.nodes[1].shell("nft", "list", "tables")
    assert "minik-svc" not in lab.nodes[1].shell("ip", "link")


def test_a_refused_transaction_leaves_the_old_rules_and_is_tried_again(lab: Lab, control: Control) -> None:
    control.call(lambda client: client.create(service()))
    stored = control.call(lambda client: client.create(endpoints(lab.pods[:1])))
    served_by(lab, control, lab.pods[:1])
    control.end("proxy")
    broken = control.directory / "bin"
    broken.mkdir()
    refusing = broken / "refuse"
    refusing.touch()
    (broken / "nft").write_text(f'#!/bin/sh\n[ -e {refusing} ] && echo out of memory >&2 && exit 1\nexec {NFT} "$@"\n')
    (broken / "nft").chmod(0o755)
    stored.endpoints = endpoints(lab.pods[1:2]).endpoints
    control.call(lambda client: client.replace(stored))
    control.start_proxy(path=str(broken))
    control.wait(lambda: "out of memory" in control.http_get(10256, "/healthz")[1])
    assert control.http_get(10256, "/healthz")[0] == 503
    assert lab.nodes[1].ask(SERVICE_IP) == "p10"
    refusing.unlink()
    served_by(lab, control, lab.pods[1:2])
    control.wait_proxy()


def test_a_pod_finds_services_by_name(lab: Lab, control: Control) -> None:
    pod = lab.pods[0]

    def ask(name: str) -> dns.message.Message:
        with pod.socket(socket.SOCK_DGRAM) as sock:
            return dns.query.udp(dns.message.make_query(name, "A"), "10.96.0.10", timeout=5, sock=nonblocking(sock))

    assert ask("web.default.svc.cluster.local").rcode() == dns.rcode.NXDOMAIN
    control.call(lambda client: client.create(service()))
    control.wait(lambda: ask("web.default.svc.cluster.local").answer)
    assert ask("web.default.svc.cluster.local").answer[0][0].to_text() == SERVICE_IP
    assert ask("kubernetes.default.svc.cluster.local").answer[0][0].to_text() == "10.96.0.1"
    assert ask("example.com").rcode() == dns.rcode.SERVFAIL


def nonblocking(sock: socket.socket) -> socket.socket:
    sock.setblocking(False)
    return sock


@pytest.mark.skipif(shutil.which("busybox") is None, reason="needs busybox")
def test_busybox_in_a_pod_resolves_with_its_search_domains(lab: Lab, control: Control, tmp_path: Path) -> None:
    """What a shell in a container does: wget and nslookup, ndots:5, nothing but a short name."""
    control.call(lambda client: client.create(service()))
    control.call(lambda client: client.create(endpoints(lab.pods[4:5])))
    served_by(lab, control, lab.pods[4:5])
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "index.html").write_text("hello from a pod")
    web = endpoints(lab.pods[4:5])
    web.ports[0].port = 8000
    control.call(lambda client: client.replace(web))
    resolv = tmp_path / "resolv.conf"
    resolv.write_text(
        "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
    )

    def in_pod(command: str) -> str:
        mounted = f"mount --bind {resolv} /etc/resolv.conf && {command}"
        return lab.pods[0].shell("unshare", "--mount", "sh", "-c", mounted)

    server = ["nsenter", f"--net=/run/netns/{lab.pods[4].name}", "busybox", "httpd", "-f", "-p", "8000"]
    httpd = subprocess.Popen([*server, "-h", str(tmp_path / "www")])
    try:
        control.wait(lambda: control.node.inside(lambda: reachable(lab.pods[4].address, 8000)))
        control.wait(lambda: lab.nodes[1].inside(lambda: http_text(SERVICE_IP)) == "hello from a pod")
        for name in ("web", "web.default", "web.default.svc.cluster.local"):
            assert in_pod(f"busybox wget -q -O- http://{name}/") == "hello from a pod", name
        assert SERVICE_IP in in_pod("busybox nslookup web.default.svc.cluster.local")
    finally:
        httpd.kill()
        httpd.wait()


def reachable(address: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=5):
        return True
    return False


def http_text(address: str) -> str:
    with contextlib.suppress(OSError), socket.create_connection((address, 80), timeout=5) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: sock.recv(65536), b"")).decode().partition("\r\n\r\n")[2]
    return ""
