"""Nodes: they describe themselves, so their status counts from the first moment."""

from __future__ import annotations

from typing import Any

from lightkube.resources.core_v1 import Node

from api.errors import FieldError, invalid
from apiserver.admission.taint_nodes_by_condition import TaintNodesByCondition
from apiserver.registry import names, rules
from apiserver.registry.columns import AGE, NAME, NONE, Cell, Column, Object, at, condition, listed
from apiserver.registry.facts import Selectable
from apiserver.registry.kind import Kind
from apiserver.verbs.status import STATUS

ROLE = "node-role.kubernetes.io/"


def defaults(obj: Any) -> None:
    spec = obj.spec
    if spec is not None and spec.podCIDR and not spec.podCIDRs:
        spec.podCIDRs = [spec.podCIDR]


def different_taints(obj: Any) -> list[FieldError]:
    errors, seen = [], set()
    for index, taint in enumerate((obj.spec and obj.spec.taints) or ()):
        if (taint.key, taint.effect) in seen:
            why = f"taints must be unique by key and effect pair: {taint.key}:{taint.effect}"
            errors.append(invalid(f"spec.taints[{index}]", taint.key, why))
        seen.add((taint.key, taint.effect))
    return errors


def node_status(node: Object) -> str:
    """Ready, NotReady or Unknown, and whether scheduling is disabled."""
    words = {"True": "Ready", "False": "NotReady", "Unknown": "NotReady"}
    disabled = ",SchedulingDisabled" if node.get("spec", {}).get("unschedulable") else ""
    return words.get(condition(node, "Ready").get("status", ""), "Unknown") + disabled


def node_roles(node: Object) -> str:
    labels = node["metadata"].get("labels") or {}
    roles = {key.removeprefix(ROLE) for key in labels if key.startswith(ROLE) and key != ROLE}
    if labels.get("kubernetes.io/role"):
        roles.add(labels["kubernetes.io/role"])
    return listed(sorted(roles))


def address(type_: str) -> Cell:
    def cell(node: Object) -> str:
        addresses = node.get("status", {}).get("addresses") or []
        return next((str(each["address"]) for each in addresses if each.get("type") == type_), NONE)

    return cell


NODE = Kind(
    Node,
    short_names=("no",),
    subresources=(STATUS,),
    selectable=(Selectable("spec.unschedulable", absent="false"),),
    columns=(
        NAME,
        Column("Status", node_status),
        Column("Roles", node_roles),
        AGE,
        Column("Version", at("status.nodeInfo.kubeletVersion", "")),
        Column("Internal-IP", address("InternalIP"), wide=True),
        Column("External-IP", address("ExternalIP"), wide=True),
        Column("OS-Image", at("status.nodeInfo.osImage", "<unknown>"), wide=True),
        Column("Kernel-Version", at("status.nodeInfo.kernelVersion", "<unknown>"), wide=True),
        Column("Container-Runtime", at("status.nodeInfo.containerRuntimeVersion", "<unknown>"), wide=True),
    ),
    describes_itself=True,
    admission=(TaintNodesByCondition(),),
    defaults=defaults,
    rules=(
        rules.required("spec.taints[*].key"),
        rules.named("spec.taints[*].key", names.qualified_name),
        rules.named("spec.taints[*].value", names.label_value),
        rules.one_of("spec.taints[*].effect", "NoExecute", "NoSchedule", "PreferNoSchedule", needed=True),
        different_taints,
        rules.cidr("spec.podCIDRs[*]"),
    ),
    change_rules=(
        rules.set_once(
            "spec.podCIDR", 'node updates may not change podCIDR except from "" to valid', reported="spec.podCIDRs"
        ),
        rules.set_once("spec.providerID", 'node updates may not change providerID except from "" to valid'),
    ),
)
