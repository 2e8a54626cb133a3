"""Which addresses Ingresses get."""

from __future__ import annotations

import msgspec
from lightkube.resources.core_v1 import Node

from controllers.ingress import EXCLUDED, addresses


def node(address: str, *, ready: str = "True", labels: dict[str, str] | None = None, external: str = "") -> Node:
    given = [
        {"type": "InternalIP", "address": address},
        *([{"type": "ExternalIP", "address": external}] * bool(external)),
    ]
    status = {"addresses": given, "conditions": [{"type": "Ready", "status": ready}]}
    return msgspec.convert({"metadata": {"name": address, "labels": labels}, "status": status}, Node)


def test_the_addresses_of_nodes_that_answer() -> None:
    nodes = [
        node("10.0.0.12"),
        node("10.0.0.2"),
        node("10.0.0.3", ready="Unknown"),
        node("10.0.0.4", labels={EXCLUDED: ""}),
        node("10.0.0.5", external="192.0.2.5"),
    ]
    assert addresses(nodes) == ["10.0.0.2", "10.0.0.12", "192.0.2.5"]
