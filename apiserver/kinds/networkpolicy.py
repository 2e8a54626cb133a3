"""NetworkPolicies: who may talk to whom (https://kubernetes.io/docs/concepts/services-networking/network-policies/)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from lightkube.resources.networking_v1 import NetworkPolicy

from api.errors import FieldError, forbidden, invalid, required
from api.selectors import SelectorError, from_label_selector
from apiserver.kinds.pod_spec import port_name
from apiserver.registry import fields, rules
from apiserver.registry.columns import AGE, NAME, Column, Object, listed, map_text
from apiserver.registry.kind import Kind


def defaults(obj: Any) -> None:
    spec = obj.spec
    if spec is None:
        return
    if spec.policyTypes is None:
        spec.policyTypes = ["Ingress", *(["Egress"] if spec.egress else [])]
    for rule in (*(spec.ingress or []), *(spec.egress or [])):
        for port in rule.ports or []:
            port.protocol = port.protocol or "TCP"


def selector(value: Any) -> Iterator[str]:
    try:
        from_label_selector(value)
    except SelectorError as error:
        yield str(error)


def peers(path: str) -> rules.Rule:
    """A peer is pods, namespaces, both together, or a block of addresses with holes that lie in it."""

    def rule(obj: Any) -> Iterator[FieldError]:
        for here, peer in fields.find(obj, path):
            others = peer.podSelector is not None or peer.namespaceSelector is not None
            if peer.ipBlock is None:
                if not others:
                    yield required(here, "must specify a peer")
            elif others:
                yield forbidden(here, "may not specify both ipBlock and another peer")
            else:
                yield from _block(peer.ipBlock, f"{here}.ipBlock")

    return rule


def _block(block: Any, path: str) -> Iterator[FieldError]:
    whole = _network(block.cidr)
    if whole is None:
        yield invalid(f"{path}.cidr", block.cidr, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")
        return
    for index, text in enumerate(block.except_ or []):
        hole, here = _network(text), f"{path}.except[{index}]"
        if hole is None:
            yield invalid(here, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")
        elif hole.version != whole.version or not hole.subnet_of(whole) or hole == whole:  # type: ignore[arg-type]
            yield invalid(here, text, f"must be a strict subset of `cidr` ({block.cidr})")


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None


def ports(path: str) -> rules.Rule:
    def rule(obj: Any) -> Iterator[FieldError]:
        for here, each in fields.find(obj, path):
            if isinstance(each.port, str):
                yield from (invalid(f"{here}.port", each.port, why) for why in port_name(each.port))
            elif each.port is not None and not 1 <= each.port <= 65535:
                yield invalid(f"{here}.port", each.port, "must be between 1 and 65535, inclusive")
            if each.endPort is None:
                continue
            if not isinstance(each.port, int):
                yield invalid(f"{here}.endPort", each.endPort, "may not be specified when `port` is not a number")
            elif each.endPort < each.port or each.endPort > 65535:
                yield invalid(f"{here}.endPort", each.endPort, "must be greater than or equal to `port`")

    return rule


def types(obj: Any) -> Iterator[FieldError]:
    given = (obj.spec and obj.spec.policyTypes) or []
    if len(given) > 2:
        yield invalid("spec.policyTypes", listed(given), "may not specify more than two policyTypes")


def pod_selector(obj: Object) -> str:
    wanted = obj.get("spec", {}).get("podSelector") or {}
    expressions = [f"{each['key']} {each['operator']}" for each in wanted.get("matchExpressions") or []]
    return listed([*filter(lambda text: text != "<none>", [map_text(wanted.get("matchLabels"))]), *expressions])


NETWORK_POLICY = Kind(
    NetworkPolicy,
    short_names=("netpol",),
    columns=(NAME, Column("Pod-Selector", pod_selector), AGE),
    counts_generations=True,
    defaults=defaults,
    rules=(
        rules.check("spec.podSelector", selector),
        rules.one_of("spec.policyTypes[*]", "Ingress", "Egress"),
        types,
        peers("spec.ingress[*].from[*]"),
        peers("spec.egress[*].to[*]"),
        *(
            rules.check(f"spec.{side}[*].{field}", selector)
            for side in ("ingress[*].from", "egress[*].to")
            for field in ("podSelector", "namespaceSelector")
        ),
        ports("spec.ingress[*].ports[*]"),
        ports("spec.egress[*].ports[*]"),
        rules.one_of("spec.ingress[*].ports[*].protocol", "TCP", "UDP", "SCTP"),
        rules.one_of("spec.egress[*].ports[*].protocol", "TCP", "UDP", "SCTP"),
    ),
)
