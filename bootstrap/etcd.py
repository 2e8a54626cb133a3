"""Who belongs to the cluster's etcd: members are added as learners, promoted when they have caught up, and removed.

Kubernetes: kubeadm's stacked etcd (https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/ha-topology/).
The few calls go through etcd's JSON gateway with the API server's client certificate, so no etcd library is needed.

Interface: `Membership`, `member_url`, `initial_cluster`. A member is known by the address of its machine, which is its
name and stands in its peer URL.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from bootstrap import apiclient, limits
from bootstrap.errors import BootstrapError
from bootstrap.options import ETCD_CLIENT_PORT, ETCD_PEER_PORT


@dataclass(frozen=True)
class Member:
    """One member. name is empty until it has started for the first time."""

    id: str
    name: str
    peer: str
    client: str
    learner: bool


class EtcdError(BootstrapError):
    """etcd refused, or does not answer."""


def member_url(address: str, port: int) -> str:
    return f"https://[{address}]:{port}" if ":" in address else f"https://{address}:{port}"


def initial_cluster(members: Iterable[Member], *, address: str) -> str:
    """etcd's --initial-cluster for the member on `address`."""
    own = member_url(address, ETCD_PEER_PORT)
    return ",".join(f"{address if each.peer == own else each.name}={each.peer}" for each in members)


class Membership:
    """etcd, through whichever of its client URLs answers first. `pki`: where etcd/ca.crt and our client key are."""

    def __init__(self, pki: Path, urls: Iterable[str]) -> None:
        context = ssl.create_default_context(cafile=str(pki / "etcd/ca.crt"))
        context.load_cert_chain(pki / "apiserver-etcd-client.crt", pki / "apiserver-etcd-client.key")
        self._http = httpx2.Client(verify=context, trust_env=False, timeout=limits.ANSWER_TIMEOUT)
        self._urls = list(urls)

    @classmethod
    def at(cls, pki: Path, hosts: Iterable[str]) -> Membership:
        return cls(pki, [member_url(host, ETCD_CLIENT_PORT) for host in hosts])

    def members(self) -> list[Member]:
        return [
            Member(
                str(each["ID"]),
                each.get("name", ""),
                (each.get("peerURLs") or [""])[0],
                (each.get("clientURLs") or [""])[0],
                bool(each.get("isLearner")),
            )
            for each in self._ask("list", {})["members"]
        ]

    def enlist(self, address: str, *, has_data: bool, deadline: float) -> str:
        """Make the machine on `address` a learner; returns its --initial-cluster. Run again, it goes on where it was.

        has_data: the machine holds data of a member. Without, a member that has run there is dead, and replaced.
        """
        peer = member_url(address, ETCD_PEER_PORT)
        own = next((each for each in self.members() if each.peer == peer), None)
        if own and own.name and not has_data:
            self.remove(own.id)
            own = None
        if own is None:
            self._insist(lambda: self._ask("add", {"peerURLs": [peer], "isLearner": True}), deadline)
        return initial_cluster(self.members(), address=address)

    def promote(self, address: str, *, deadline: float) -> int:
        """Wait until the member on `address` has a vote; returns how many have one then."""
        peer = member_url(address, ETCD_PEER_PORT)

        def attempt() -> None:
            own = next((each for each in self.members() if each.peer == peer), None)
            if own is None:
                raise BootstrapError(f"etcd has no member {address} any more: somebody removed it")
            if own.learner:
                self._ask("promote", {"ID": own.id})

        self._insist(attempt, deadline)
        return sum(not each.learner for each in self.members())

    def remove(self, member: str) -> None:
        self._ask("remove", {"ID": member})

    def leave(self, address: str) -> bool:
        """Remove the member on `address`, by the others; whether there were others."""
        members, peer = self.members(), member_url(address, ETCD_PEER_PORT)
        own = next((each for each in members if each.peer == peer), None)
        others = [each.client for each in members if each.peer != peer and each.client and not each.learner]
        if own is None or not others:
            return False
        self._urls = others
        self.remove(own.id)
        return True

    def correct(self, address: str) -> None:
        """Let a member that is alone be reached at `address`: it was made for another one."""
        members, peer = self.members(), member_url(address, ETCD_PEER_PORT)
        if len(members) == 1 and members[0].peer != peer:
            self._ask("update", {"ID": members[0].id, "peerURLs": [peer]})

    def _ask(self, call: str, body: dict[str, Any]) -> dict[str, Any]:
        problem = "it has no address"
        for url in self._urls:
            try:
                response = self._http.post(f"{url}/v3/cluster/member/{call}", json=body)
                answer: dict[str, Any] = response.json()
            except (httpx2.HTTPError, ValueError) as error:
                problem = apiclient.reason(error)
                continue
            if response.status_code == 200:
                return answer
            problem = str(answer.get("error") or answer.get("message") or response.status_code)
        raise EtcdError(f"etcd: member {call}: {problem}")

    def _insist(self, attempt: Callable[[], object], deadline: float) -> None:
        """Until it is done: another machine may be joining, or this one has not caught up yet."""
        while True:
            try:
                attempt()
                return
            except EtcdError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(limits.ASK_EVERY)
