"""Undo init and join on this machine, as `kubeadm reset` does: processes, containers, links, rules, files.

It needs no API server and works after a crash half-way; what is not there is not an error. The Node object, if the
cluster still runs elsewhere, is left to `minikctl delete node`.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import httpx2

from bootstrap import apiclient, credentials, discovery, limits, preflight, supervisor, systemd
from bootstrap.commands import ControlPlane, Node
from bootstrap.errors import BootstrapError
from bootstrap.etcd import Membership
from bootstrap.options import DATA_DIR, SECURE_PORT
from linux import mounts, netlink, nft

POD_LABEL = "io.kubernetes.pod.uid"
NFT_TABLES = ("ip minik-proxy", "ip minik-pods")


def reset(
    data_dir: Path = DATA_DIR,
    report: Callable[[str], None] = lambda line: None,
    *,
    docker_host: str = "unix:///var/run/docker.sock",
) -> None:
    """Bring the machine back to before init and join. Raises BootstrapError if something cannot be removed."""
    preflight.require_root("reset")
    was_node = Node(data_dir).directory.exists()
    _leave(ControlPlane(data_dir), report)
    systemd.remove(data_dir)
    for place in (Node(data_dir).directory, ControlPlane(data_dir).directory):
        if supervisor.running(place):
            report(f"stopping what runs in {place}")
        supervisor.stop(place)
    if was_node:
        report("removing pods")
        _remove_containers(docker_host)
        _remove_network()
    for place in (Node(data_dir).directory, ControlPlane(data_dir).directory):
        try:
            mounts.remove_tree(place)
        except OSError as error:
            raise BootstrapError(f"cannot remove {place}: {error}") from None
    with contextlib.suppress(OSError):
        data_dir.rmdir()  # only if nothing else lives there
    report("reset is complete")


def _leave(place: ControlPlane, report: Callable[[str], None]) -> None:
    """If there are other control planes, they go on without this one: etcd's member first, while it can be asked."""
    address = next(
        (child.flag("--name") for child in supervisor.configured(place.directory) if child.name == "etcd"), ""
    )
    if not address or not supervisor.running(place.directory):
        return
    try:
        with apiclient.connect(place.admin_conf) as client, apiclient.one_line_errors():
            discovery.publish(client, place, remove=credentials.server_url(address, SECURE_PORT))
        if Membership.at(place.pki, ["127.0.0.1"]).leave(address):
            report(f"etcd goes on without {address}")
    except (BootstrapError, OSError) as error:
        report(f"the other control planes, if there are any, were not told: {error}")


def _remove_containers(docker_host: str) -> None:
    """Remove the containers of pods. Only kubelet/runtime knows Docker; for these two calls HTTP is enough."""
    path = docker_host.removeprefix("unix://")
    if not os.path.exists(path):
        return
    transport = httpx2.HTTPTransport(uds=path)
    filters = json.dumps({"label": [POD_LABEL]})
    try:
        with httpx2.Client(transport=transport, base_url="http://docker", timeout=limits.ENGINE_TIMEOUT) as engine:
            listing = engine.get("/containers/json", params={"all": "true", "filters": filters})
            for container in listing.raise_for_status().json():
                engine.delete(f"/containers/{container['Id']}", params={"force": "true", "v": "true"})
    except (httpx2.HTTPError, ValueError) as error:
        raise BootstrapError(f"the Docker engine did not remove the pods' containers: {error}") from None


def _remove_network() -> None:
    with netlink.kernel() as kernel:
        for link in preflight.NODE_LINKS:
            netlink.delete(kernel, link)
    for table in NFT_TABLES:
        with contextlib.suppress(nft.NftError):  # without nft there is no table either
            nft.remove(table)
