"""Node selectors and affinity terms against node names and labels."""

from __future__ import annotations

import pytest
from lightkube.models.core_v1 import (
    Affinity,
    Container,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PodSpec,
)

from api.node_affinity import admits

LABELS = {"disk": "ssd", "cores": "8"}


def spec(*terms: NodeSelectorTerm, **more) -> PodSpec:
    required = NodeSelector(nodeSelectorTerms=list(terms))
    affinity = Affinity(nodeAffinity=NodeAffinity(requiredDuringSchedulingIgnoredDuringExecution=required))
    return PodSpec(containers=[Container(name="c")], affinity=affinity if terms else None, **more)


def label(key: str, operator: str, *values: str) -> NodeSelectorTerm:
    return NodeSelectorTerm(matchExpressions=[NodeSelectorRequirement(key, operator, list(values))])


def named(name: str) -> NodeSelectorTerm:
    return NodeSelectorTerm(matchFields=[NodeSelectorRequirement("metadata.name", "In", [name])])


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        (spec(), True),
        (spec(nodeSelector={"disk": "ssd"}), True),
        (spec(nodeSelector={"disk": "hdd"}), False),
        (spec(label("disk", "In", "hdd", "ssd")), True),
        (spec(label("disk", "NotIn", "ssd")), False),
        (spec(label("gpu", "DoesNotExist")), True),
        (spec(label("cores", "Gt", "4")), True),
        (spec(label("cores", "Lt", "4")), False),
        (spec(named("n1")), True),
        (spec(named("n2")), False),
        (spec(named("n2"), label("disk", "Exists")), True),
        (spec(NodeSelectorTerm()), False),
        (spec(label("disk", "Exists"), nodeSelector={"disk": "hdd"}), False),
    ],
)
def test_admits(given: PodSpec, fits: bool) -> None:
    assert admits(given, "n1", LABELS) is fits
