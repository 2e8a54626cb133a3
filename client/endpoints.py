"""Who the API servers are: the endpoints of the Service `kubernetes`, for clients who may outlive the one they joined.

Interface: `follow(servers, slices, kubeconfig)`.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import yaml
from lightkube.resources.discovery_v1 import EndpointSlice

from api import meta
from client.failover import Servers
from client.files import write_atomic
from client.informer import Informer
from client.servers import with_servers

SERVICE = "default/kubernetes"  # its endpoints are in the slice of the same name

log = logging.getLogger("servers")


def follow(servers: Servers, slices: Informer[EndpointSlice], kubeconfig: Path | None = None) -> None:
    """Keep the list true, by an informer whose owner runs it.

    kubeconfig: where to note it, so that after a restart the servers are found again.
    """

    def changed(old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        if new is not None and meta.key(new) == SERVICE and servers.learn(endpoint_urls(new)):
            log.info("the API servers are %s", ", ".join(servers.urls))
            if kubeconfig:
                note = asyncio.get_running_loop().run_in_executor(None, _note, servers.urls, kubeconfig)
                note.add_done_callback(_noted)

    slices.on_change(changed)


def endpoint_urls(endpoints: EndpointSlice) -> list[str]:
    """The servers behind the Service `kubernetes`."""
    return [
        f"https://{address}:{port.port}"
        for port in endpoints.ports or ()
        for endpoint in endpoints.endpoints or ()
        if endpoint.conditions is None or endpoint.conditions.ready is not False
        for address in endpoint.addresses
    ]


def _note(urls: list[str], kubeconfig: Path) -> None:
    config = yaml.safe_load(kubeconfig.read_text())
    for entry in config["clusters"]:
        first = entry["cluster"]["server"].rstrip("/")
        entry["cluster"] = with_servers(entry["cluster"], sorted(urls, key=lambda url: url != first))
    write_atomic(kubeconfig, yaml.safe_dump(config, sort_keys=False))


def _noted(note: asyncio.Future[None]) -> None:
    if not note.cancelled() and (error := note.exception()):
        log.warning("cannot note the API servers: %s", error)
