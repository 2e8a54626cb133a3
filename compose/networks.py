"""Names and ports of a service -> Services; networks -> NetworkPolicies. Pure.

A service is reached as under Compose: by its name at the ports of its containers from inside (Service), at its
published ports from outside on every node (a second Service, `NAME-published`). One without ports gets a headless
Service: its name is the pods' addresses.
"""

from __future__ import annotations

from collections.abc import Iterator

from compose.names import NETWORK, PROJECT, Object, dns, label, labels, manifest, pruned, selector
from compose.pods import ports_of
from compose.project import Project
from compose.report import Keys, Report

NODE_PORTS = range(30000, 32768)
ANY = 0
"""The node port of a port published wherever there is room."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def services(service: Keys, project: str, name: str) -> Iterator[Object]:
    owner, chosen = labels(project, name), selector(project, name)
    ports = [_port(port, protocol) for port, protocol in ports_of(service)]
    if len(ports) > 1:
        ports = [{"name": f"{(each.get('protocol') or 'tcp').lower()}-{each['port']}", **each} for each in ports]
    headless = not ports or service.sub("deploy").get("endpoint_mode") == "dnsrr"
    spec = pruned({"clusterIP": "None" if headless else None, "selector": chosen, "ports": ports})
    for alias in dict.fromkeys([dns(name), *_aliases(service)]):
        yield manifest("v1", "Service", alias, owner, spec=spec)
    if published := list(_published(service)):
        kind = "NodePort" if all("nodePort" in each for each in published) else "LoadBalancer"
        published = [{key: value for key, value in each.items() if value != ANY} for each in published]
        spec = {"type": kind, "selector": chosen, "ports": published}
        yield manifest("v1", "Service", f"{dns(name)}-published", owner, spec=spec)


def _port(port: int, protocol: str) -> Object:
    return pruned({"port": port, "protocol": None if protocol == "TCP" else protocol})


def _aliases(service: Keys) -> Iterator[str]:
    """The other names by which others know a service."""
    found = [service.get("container_name", "")]
    networks = service.sub("networks")
    for network in networks.data:
        found += networks.sub(network).get("aliases", [])
    for alias in found:
        if alias and dns(alias) == alias:
            yield alias
        elif alias:
            service.ignored("networks", f"the alias {alias} is no name Kubernetes allows")


def linked(service: Keys) -> Iterator[tuple[str, str]]:
    """(service, alias) of its links: names that only this service knows, and that all know in Kubernetes."""
    for link in service.get("links", []):
        target, _, alias = link.partition(":")
        if alias and alias != target:
            service.approximate("links", f"{alias} is a Service, which every pod may ask for")
            yield target, alias


def _published(service: Keys) -> Iterator[Object]:
    """The ports of the Service that answers from outside."""
    for each in service.items("ports"):
        target, published, protocol = each.get("target"), each.get("published", ""), each.get("protocol", "tcp")
        each.get("name"), each.get("app_protocol")
        first = published.partition("-")[0]
        if each.get("mode") == "host" and first.isdigit():
            continue  # the container's hostPort
        if (address := each.get("host_ip", "")) in LOOPBACK:
            each.approximate(
                "", f"only inside the cluster; to you alone by: minikctl port-forward svc/... {first}:{target}"
            )
            continue
        if address not in ("", "0.0.0.0", "::"):
            each.approximate("host_ip", "published on every node's address")
        if "-" in published:
            each.approximate("published", f"the first of the range, {first}")
        name = f"{protocol}-{first or target}"
        port = int(first) if first else int(target)
        node_port = ANY if not first else port if port in NODE_PORTS else None
        if not first:
            each.approximate("", "at a node port of the cluster's choice")
        other = None if protocol == "tcp" else protocol.upper()
        yield pruned({"name": name, "port": port, "targetPort": target, "protocol": other, "nodePort": node_port})


def members(service: Keys) -> dict[str, str]:
    """The labels of a pod that say which networks of the file it is on."""
    networks = service.sub("networks")
    for name in networks.data:
        keys = networks.sub(name)
        keys.get("aliases"), keys.get("priority"), keys.get("gw_priority"), keys.get("interface_name")
    return {f"{NETWORK}{label(name)}": "" for name in networks.data if name != "default" or len(networks.data) > 1}


def policies(project: Project, report: Report) -> Iterator[Object]:
    """Who may talk to whom: those on one network, and the world to published ports. None where all are on one."""
    keys = Keys(project.section("networks"), "networks", report)
    owner = labels(project.name)
    for name in keys.data:
        network = keys.sub(name)
        network.get("name"), network.get("labels"), network.get("attachable")
        if network.get("driver") in ("bridge", "overlay"):
            network.approximate("driver", "the cluster's own network")
        if network.get("external"):
            network.approximate("external", "the cluster's own network; others on it are not known here")
    named = {name for _, service in project.workloads() for name in service.get("networks") or {}}
    if named <= {"default"} and not (keys.data.get("default") or {}).get("internal"):
        yield from _unconnected(project, owner)
        return
    for name in sorted(named):
        on_it = {"matchLabels": {PROJECT: owner[PROJECT], f"{NETWORK}{label(name)}": ""}}
        spec: Object = {"podSelector": on_it, "policyTypes": ["Ingress"]}
        spec["ingress"] = [{"from": [{"podSelector": on_it}]}]
        yield manifest("networking.k8s.io/v1", "NetworkPolicy", f"network-{dns(name)}", owner, spec=spec)
        if keys.sub(name).get("internal"):
            keys.sub(name).approximate("internal", "pods on this network reach pods of it, DNS, and nothing else")
            dns_ports = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
            others = [name for name in sorted(named) if not keys.sub(name).get("internal")]
            out = [{"to": [{"podSelector": on_it}]}, {"ports": dns_ports}]
            alone = {
                "matchExpressions": [{"key": f"{NETWORK}{label(each)}", "operator": "DoesNotExist"} for each in others]
            }
            spec = {"podSelector": on_it | pruned(alone if others else {}), "policyTypes": ["Egress"], "egress": out}
            yield manifest("networking.k8s.io/v1", "NetworkPolicy", f"internal-{dns(name)}", owner, spec=spec)
    for name, service in project.services.items():
        ports = [
            pruned({"port": each["target"], "protocol": each["protocol"].upper()})
            for each in service.get("ports") or []
        ]
        if ports and service.get("networks"):
            spec = {"podSelector": {"matchLabels": selector(project.name, name)}, "policyTypes": ["Ingress"]}
            spec["ingress"] = [{"ports": ports}]
            yield manifest("networking.k8s.io/v1", "NetworkPolicy", f"published-{dns(name)}", owner, spec=spec)
    yield from _unconnected(project, owner)


def _unconnected(project: Project, owner: dict[str, str]) -> Iterator[Object]:
    for name, service in project.services.items():
        if service.get("network_mode") == "none":
            chosen = {"matchLabels": selector(project.name, name)}
            spec = {"podSelector": chosen, "policyTypes": ["Ingress", "Egress"]}
            yield manifest("networking.k8s.io/v1", "NetworkPolicy", f"none-{dns(name)}", owner, spec=spec)
