"""`describe node`: conditions, capacity, and what the pods on it ask for. Pure: objects in, lines out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from api import quantity
from api.durations import since
from cli.layout import annotation_lines, labels, lower, maybe, rfc1123, stacked

Object = Mapping[str, Any]
Amounts = dict[str, Decimal]

ROLE_PREFIX = "node-role.kubernetes.io/"
CONDITION_TITLES = ("Type", "Status", "LastHeartbeatTime", "LastTransitionTime", "Reason", "Message")
SYSTEM = (
    ("Machine ID", "machineID"),
    ("System UUID", "systemUUID"),
    ("Boot ID", "bootID"),
    ("Kernel Version", "kernelVersion"),
    ("OS Image", "osImage"),
    ("Operating System", "operatingSystem"),
    ("Architecture", "architecture"),
    ("Container Runtime Version", "containerRuntimeVersion"),
    ("Kubelet Version", "kubeletVersion"),
    ("Kube-Proxy Version", "kubeProxyVersion"),
)
PODS_TITLES = """\
  Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge
  ---------\t----\t\t------------\t----------\t---------------\t-------------\t---"""
ALLOCATED_TITLES = """\
Allocated resources:
  (Total limits may be over 100 percent, i.e., overcommitted.)
  Resource\tRequests\tLimits
  --------\t--------\t------"""


def node_lines(node: Object, *, lease: Object | None, pods: Sequence[Object]) -> list[str]:
    """`pods` are those on the node."""
    meta, spec, status = node["metadata"], node.get("spec") or {}, node.get("status") or {}
    running = [each for each in pods if (each.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]
    roles = sorted(key.removeprefix(ROLE_PREFIX) for key in meta.get("labels") or {} if key.startswith(ROLE_PREFIX))
    return [
        f"Name:\t{meta['name']}",
        f"Roles:\t{','.join(roles) or '<none>'}",
        *labels("Labels", meta.get("labels")),
        *annotation_lines("Annotations", meta.get("annotations")),
        f"CreationTimestamp:\t{rfc1123(meta.get('creationTimestamp'))}",
        *_taints(spec.get("taints") or []),
        f"Unschedulable:\t{lower(spec.get('unschedulable'))}",
        *_lease(meta["name"], lease),
        *_conditions(status.get("conditions") or []),
        "Addresses:",
        *(f"  {each['type']}:\t{each['address']}" for each in status.get("addresses") or []),
        *_amounts("Capacity", status.get("capacity")),
        *_amounts("Allocatable", status.get("allocatable")),
        "System Info:",
        *(f"  {title}:\t{(status.get('nodeInfo') or {}).get(field, '')}" for title, field in SYSTEM),
        *maybe(spec, "podCIDR", "PodCIDR"),
        *maybe({"all": ",".join(spec.get("podCIDRs") or [])}, "all", "PodCIDRs"),
        *maybe(spec, "providerID", "ProviderID"),
        *_pods(running, status.get("allocatable") or status.get("capacity") or {}),
    ]


def _taints(taints: Sequence[Object]) -> list[str]:
    """Those that evict first."""
    ordered = sorted(taints, key=lambda each: (str(each["effect"]), str(each["key"])))
    return stacked(
        "Taints",
        [f"{each['key']}{'=' + each['value'] if each.get('value') else ''}:{each['effect']}" for each in ordered],
    )


def _lease(name: str, lease: Object | None) -> list[str]:
    if lease is None:
        return [f'Lease:\tFailed to get lease: leases.coordination.k8s.io "{name}" not found']
    spec = lease.get("spec") or {}
    return [
        "Lease:",
        f"  HolderIdentity:\t{spec.get('holderIdentity') or '<unset>'}",
        f"  AcquireTime:\t{rfc1123(spec.get('acquireTime'))}",
        f"  RenewTime:\t{rfc1123(spec.get('renewTime'))}",
    ]


def _conditions(conditions: Sequence[Object]) -> list[str]:
    rows = [
        f"  {each['type']} \t{each['status']} \t{rfc1123(each.get('lastHeartbeatTime'))} "
        f"\t{rfc1123(each.get('lastTransitionTime'))} \t{each.get('reason', '')} \t{each.get('message', '')}"
        for each in conditions
    ]
    ruler = "\t".join("-" * len(title) for title in CONDITION_TITLES)
    return ["Conditions:", "  " + "\t".join(CONDITION_TITLES), f"  {ruler}", *rows] if rows else []


def _amounts(title: str, amounts: Mapping[str, str] | None) -> list[str]:
    return [f"{title}:", *(f"  {name}:\t{amount}" for name, amount in sorted((amounts or {}).items()))]


def _pods(pods: Sequence[Object], allocatable: Mapping[str, str]) -> list[str]:
    """What each pod asks for, and all of them together."""
    asked = [{which: pod_amounts(pod, which) for which in ("requests", "limits")} for pod in pods]
    rows = [
        f"  {pod['metadata']['namespace']}\t{pod['metadata']['name']}\t\t"
        + "".join(f"{_share(amounts[w], name, allocatable)}\t" for name in ("cpu", "memory") for w in amounts)
        + since(pod["metadata"].get("creationTimestamp"))
        for pod, amounts in zip(pods, asked, strict=True)
    ]
    totals = [_sum([each[which] for each in asked]) for which in ("requests", "limits")]
    together = [
        f"  {name}\t" + "\t".join(_share(total, name, allocatable) for total in totals)
        for name in ("cpu", "memory", "ephemeral-storage")
    ]
    return [f"Non-terminated Pods:\t({len(pods)} in total)", PODS_TITLES, *rows, ALLOCATED_TITLES, *together]


def pod_amounts(pod: Object, which: str) -> Amounts:
    """What a pod's containers ask for together, or its largest init container if that is more."""
    spec = pod["spec"]
    together = _sum([_parsed(each, which) for each in spec.get("containers") or []])
    for container in spec.get("initContainers") or []:
        for name, amount in _parsed(container, which).items():
            together[name] = max(together.get(name, Decimal(0)), amount)
    return together


def _parsed(container: Object, which: str) -> Amounts:
    amounts = (container.get("resources") or {}).get(which) or {}
    return {name: quantity.parse(str(amount)) for name, amount in amounts.items()}


def _sum(parts: Sequence[Amounts]) -> Amounts:
    total: Amounts = {}
    for part in parts:
        for name, amount in part.items():
            total[name] = total.get(name, Decimal(0)) + amount
    return total


def _share(amounts: Amounts, name: str, allocatable: Mapping[str, str]) -> str:
    """`250m (12%)`: an amount and how much of the node it is."""
    amount = amounts.get(name, Decimal(0))
    whole = quantity.parse(str(allocatable.get(name, "0")))
    return f"{amount_text(amount, name)} ({int(amount * 100 / whole) if whole else 0}%)"


def amount_text(amount: Decimal, name: str) -> str:
    """An amount in the unit people read it in: thousandths of a core, or whole binary units of memory."""
    if name != "cpu":
        for unit, size in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
            if amount and amount % size == 0:
                return f"{int(amount / size)}{unit}"
    return quantity.canonical(format(amount, "f"))
