"""Which of several API servers a client asks."""

from __future__ import annotations

import httpx2
import pytest

from client.failover import Failover, Servers
from client.servers import listed, with_servers

A, B, C = "https://10.0.0.1:6443", "https://10.0.0.2:6443", "https://10.0.0.3:6443"


class Network(httpx2.BaseTransport):
    """Servers that answer, refuse or break, by host name."""

    def __init__(self, **behaviour: int | type[httpx2.TransportError]) -> None:
        self.behaviour = {f"10.0.0.{'abc'.index(name) + 1}": does for name, does in behaviour.items()}
        self.asked: list[str] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request.headers["Host"])
        does = self.behaviour[request.url.host]
        if isinstance(does, int):
            return httpx2.Response(does)
        raise does("broken")


def client(network: Network) -> tuple[httpx2.Client, Servers]:
    servers = Servers([A, B, C])
    return httpx2.Client(base_url=A, transport=Failover(network, servers)), servers


def test_the_next_server_is_asked_and_stays_the_one() -> None:
    network = Network(a=httpx2.ConnectError, b=200, c=200)
    http, servers = client(network)
    assert http.post("/x", content=b"{}").status_code == 200, "what was never sent may go elsewhere"
    assert http.get("/x").status_code == 200
    assert network.asked == ["10.0.0.1:6443", "10.0.0.2:6443", "10.0.0.2:6443"]
    assert servers.urls == [B, C, A]


def test_a_write_that_may_have_arrived_is_not_repeated() -> None:
    network = Network(a=httpx2.ReadError, b=200, c=200)
    http, _ = client(network)
    with pytest.raises(httpx2.ReadError):
        http.put("/x", content=b"{}")
    assert network.asked == ["10.0.0.1:6443"]
    assert http.put("/x", content=b"{}").status_code == 200, "but the next request goes elsewhere"
    assert network.asked[1:] == ["10.0.0.2:6443"]


@pytest.mark.parametrize("trouble", [httpx2.ReadError, httpx2.ReadTimeout, 503])
def test_a_read_is_repeated_elsewhere(trouble: int | type[httpx2.TransportError]) -> None:
    network = Network(a=trouble, b=trouble, c=200)
    http, _ = client(network)
    assert http.get("/x").status_code == 200
    assert len(network.asked) == 3


def test_each_server_is_asked_once_when_all_are_away() -> None:
    network = Network(a=httpx2.ConnectError, b=httpx2.ConnectTimeout, c=503)
    http, _ = client(network)
    assert http.get("/x").status_code == 503
    assert len(network.asked) == 3


def test_a_list_of_the_living_is_taken_over() -> None:
    servers = Servers([A, B])
    assert servers.learn([B, C]) and servers.urls == [B, C, A]
    assert not servers.learn([C, B]), "nothing new"
    assert not servers.learn(["https://192.0.2.1:6443"]), "a list without any that we know is of another network"
    assert servers.urls == [B, C, A]


def test_a_kubeconfig_holds_them_where_kubectl_does_not_mind() -> None:
    one = {"certificate-authority-data": "x", "extensions": [{"name": "other", "extension": {}}]}
    several = with_servers(one, [A, B])
    assert several["server"] == A and listed(several) == (A, B)
    assert [each["name"] for each in several["extensions"]] == ["other", "minik.dev/servers"]
    assert listed(with_servers(several, [C])) == (C,)
    assert listed({"server": A}) == (A,)
