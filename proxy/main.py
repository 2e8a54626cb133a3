"""The boot story of a node's proxy: what kube-proxy and a node's DNS cache are.

    python -m proxy --kubeconfig FILE [--hostname-override NAME] ...

1. the link `minik-svc` (route of the service range, address of the cluster DNS)
2. caches of the cluster: Services and EndpointSlices; policies, pods and namespaces
3. the kernel's rules follow them (`proxier.py`, `policer.py`), the DNS answers from them (`dns.py`), /healthz tells

SIGTERM stops the process and leaves rules and link in place, so that a restart is not noticed by any connection.
`--cleanup` removes both.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import logging
import socket
import sys

from lightkube import ConfigError

from api.durations import parse_duration
from api.process import configure_logging, run_until_signalled
from client.config import connect
from client.endpoints import follow
from linux import nft, sysctl
from proxy import healthz, link, policies
from proxy.dns import RESOLV_CONF, DnsServer, Upstream, node_name_servers
from proxy.policer import Policer
from proxy.proxier import Proxier
from proxy.records import Zone
from proxy.rules import TABLE, NodeFacts
from proxy.view import ClusterView

log = logging.getLogger("proxy")

RETRY_SECONDS = 1.0


def main(argv: list[str] | None = None) -> None:
    """Parse, run, and end with exit code 0 on SIGTERM, 1 on what cannot work."""
    options = parse(argv)
    configure_logging(options.v)
    logging.getLogger("pyroute2").setLevel(logging.INFO)  # at DEBUG it writes out every netlink message
    try:
        if options.cleanup:
            cleanup()
        else:
            run_until_signalled(run(options))
    except (ConfigError, OSError) as error:
        log.error("%s", error)
        sys.exit(1)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="proxy", description="Services as kernel rules, and the cluster's DNS.")
    add = parser.add_argument
    add("--kubeconfig", help="how to reach the API server (needed unless --cleanup)")
    add("--hostname-override", default=socket.gethostname().lower(), help="the node's name; default: the host's")
    add("--cluster-cidr", type=_network, default="10.244.0.0/16", help="range of all pods; others are masqueraded")
    add("--service-cluster-ip-range", type=_network, default="10.96.0.0/16", help="range of all services")
    add("--cluster-dns", type=_address, default="10.96.0.10", help='address of the DNS server; "" for none')
    add("--cluster-domain", default="cluster.local")
    add("--upstream-dns", default=None, help="name servers for other names; default: the node's resolv.conf")
    add("--min-sync-period", type=parse_duration, default=0.05, help="seconds between two changes of the rules")
    add("--masquerade-all", action="store_true", help="hide clients' addresses from every service endpoint")
    add("--healthz-bind-address", default="0.0.0.0:10256", help='host:port; "" for none')
    add("--cleanup", action="store_true", help="remove the rules and the link, then exit")
    add("-v", "--v", type=int, default=0, help="verbosity; 4 and up logs details")
    options = parser.parse_args(argv)
    if not options.kubeconfig and not options.cleanup:
        parser.error("--kubeconfig is needed")
    return options


async def run(options: argparse.Namespace) -> None:
    """The whole node proxy, until cancelled."""
    await _link(options)
    facts = NodeFacts(
        name=options.hostname_override,
        cluster_cidr=options.cluster_cidr,
        service_cidr=options.service_cluster_ip_range,
        dns_ip=options.cluster_dns,
        bridge_netfilter=sysctl.bridge_netfilter(),
        masquerade_all=options.masquerade_all,
    )
    if not facts.bridge_netfilter:
        log.warning("no bridge netfilter: services between pods of this node are masqueraded")
    client = connect(options.kubeconfig, agent="kube-proxy")
    proxier = Proxier(client, facts, min_sync_seconds=options.min_sync_period)
    follow(client.servers, proxier.slices)
    async with asyncio.TaskGroup() as group:
        if options.cluster_dns:
            group.create_task(_dns(options, proxier).serve(options.cluster_dns))
        if options.healthz_bind_address:
            group.create_task(_healthz(options, proxier))
        group.create_task(proxier.run())
        group.create_task(Policer(client, facts.name, min_sync_seconds=options.min_sync_period).run())


async def _link(options: argparse.Namespace) -> None:
    while True:
        try:
            await asyncio.to_thread(
                link.ensure, service_cidr=options.service_cluster_ip_range, dns_ip=options.cluster_dns
            )
        except OSError as error:
            log.warning("the link %s: %s", link.LINK, error)
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return


def _dns(options: argparse.Namespace, proxier: Proxier) -> DnsServer:
    view = ClusterView(proxier.services, proxier.slices)
    zone = Zone(
        view.view(),
        domain=options.cluster_domain,
        networks=[options.cluster_cidr, options.service_cluster_ip_range],
        dns_ip=options.cluster_dns,
    )
    servers = (options.upstream_dns or "").replace(",", " ").split()
    if options.upstream_dns is None:
        with contextlib.suppress(OSError):
            servers = node_name_servers(RESOLV_CONF.read_text(), but=options.cluster_dns)
    server = DnsServer(zone, Upstream(servers), is_ready=view.is_ready)
    view.on_change(server.forget)
    return server


async def _healthz(options: argparse.Namespace, proxier: Proxier) -> None:
    """Health is told, not vital: a taken port does not stop traffic from being served."""
    host, _, port = options.healthz_bind_address.rpartition(":")
    while True:
        try:
            await healthz.serve(proxier.health, host, int(port))
        except OSError as error:
            log.warning("no /healthz on %s: %s", options.healthz_bind_address, error)
            await asyncio.sleep(RETRY_SECONDS * 10)


def cleanup() -> None:
    """What a proxy leaves in the kernel, gone."""
    nft.remove(TABLE)
    nft.remove(policies.TABLE)
    link.remove()


def _network(text: str) -> str:
    return str(ipaddress.IPv4Network(text)) if text else ""


def _address(text: str) -> str:
    return str(ipaddress.IPv4Address(text)) if text else ""
