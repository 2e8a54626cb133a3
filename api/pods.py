"""Facts about a pod that several components need. Pure.

Kubernetes: pod lifecycle (https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/) and the effective
request of a pod (https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers).
"""

from __future__ import annotations

from dataclasses import dataclass

from lightkube.models.core_v1 import Container, PodSpec
from lightkube.resources.core_v1 import Pod

from api import meta, quantity

TERMINAL_PHASES = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Requests:
    """What a pod asks for: thousandths of a core and bytes."""

    cpu_milli: int = 0
    memory_bytes: int = 0


def phase(pod: Pod) -> str:
    """The pod's phase; a pod nobody reported on yet is Pending."""
    return (pod.status and pod.status.phase) or "Pending"


def node_name(pod: Pod) -> str:
    """The node the pod is bound to, or the empty string."""
    return (pod.spec and pod.spec.nodeName) or ""


def is_terminal(pod: Pod) -> bool:
    """Whether all containers have ended for good."""
    return phase(pod) in TERMINAL_PHASES


def is_active(pod: Pod) -> bool:
    """Whether the pod counts as a replica: neither ended nor being deleted."""
    return not is_terminal(pod) and not meta.is_terminating(pod)


def is_ready(pod: Pod) -> bool:
    """Whether the pod's Ready condition is True."""
    condition = meta.get_condition(pod.status.conditions if pod.status else None, "Ready")
    return condition is not None and condition.status == "True"


def pod_requests(pod: Pod) -> Requests:
    """The amount the scheduler must find: the sum of the containers or the largest init step, plus overhead."""
    spec = pod.spec
    if spec is None:
        return Requests()
    return Requests(_effective(spec, "cpu", quantity.milli_cpu), _effective(spec, "memory", quantity.bytes_))


def _effective(spec: PodSpec, resource: str, amount: quantity.Amount) -> int:
    """Restartable init containers (sidecars) run on beside everything that starts after them."""
    sidecars = 0
    largest_step = 0
    for container in spec.initContainers or []:
        request = _request(container, resource, amount)
        if container.restartPolicy == "Always":
            sidecars += request
            largest_step = max(largest_step, sidecars)
        else:
            largest_step = max(largest_step, sidecars + request)
    running = sidecars + sum(_request(each, resource, amount) for each in spec.containers)
    return max(running, largest_step) + amount(str((spec.overhead or {}).get(resource, "0")))


def _request(container: Container, resource: str, amount: quantity.Amount) -> int:
    """A limit without a request is a request too."""
    resources = container.resources
    if resources is None:
        return 0
    text = (resources.requests or {}).get(resource) or (resources.limits or {}).get(resource)
    return amount(str(text)) if text is not None else 0
