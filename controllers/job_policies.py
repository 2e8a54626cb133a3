"""What one failed pod means for its Job, and which successes are enough: podFailurePolicy and successPolicy. Pure.

Kubernetes: pkg/controller/job (pod_failure_policy.go, success_policy.go);
https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from lightkube.models.batch_v1 import JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule
from lightkube.models.core_v1 import ContainerStatus
from lightkube.resources.core_v1 import Pod

from api import meta
from controllers import job_indexes


@dataclass(frozen=True, slots=True)
class Judgement:
    """`action` is Count (towards backoffLimit), Ignore, FailIndex or FailJob; `message` says why the Job fails."""

    action: str = "Count"
    message: str = ""


def judge(spec: JobSpec, pod: Pod) -> Judgement:
    """The first rule that matches decides; without a match a failure counts."""
    rules = spec.podFailurePolicy.rules if spec.podFailurePolicy else []
    for index, rule in enumerate(rules):
        cause = _match(rule, pod)
        if cause:
            return Judgement(rule.action, f"{cause} matching {rule.action} rule at index {index}")
    return Judgement()


def _match(rule: PodFailurePolicyRule, pod: Pod) -> str:
    """How the pod fits the rule, in words; empty when it does not."""
    name = f"{meta.namespace(pod)}/{meta.name(pod)}"
    if rule.onExitCodes is not None:
        container = _exited(rule.onExitCodes, pod)
        if container is None:
            return ""
        code = container.state.terminated.exitCode if container.state and container.state.terminated else 0
        return f"Container {container.name} for pod {name} failed with exit code {code}"
    conditions = (pod.status and pod.status.conditions) or []
    for pattern in rule.onPodConditions or []:
        condition = meta.get_condition(conditions, pattern.type)
        if condition is not None and condition.status == (pattern.status or "True"):
            return f"Pod {name} has condition {pattern.type}"
    return ""


def _exited(requirement: PodFailurePolicyOnExitCodesRequirement, pod: Pod) -> ContainerStatus | None:
    status = pod.status
    statuses = [*((status and status.containerStatuses) or []), *((status and status.initContainerStatuses) or [])]
    for each in statuses:
        if requirement.containerName and each.name != requirement.containerName:
            continue
        ended = each.state.terminated if each.state else None
        # Success never matches, whatever NotIn says.
        if ended is None or ended.exitCode == 0:
            continue
        if (ended.exitCode in requirement.values) == (requirement.operator == "In"):
            return each
    return None


def success_rule(spec: JobSpec, succeeded: Collection[int]) -> int | None:
    """The first rule of successPolicy that the succeeded indexes meet."""
    rules = spec.successPolicy.rules if spec.successPolicy else []
    for place, rule in enumerate(rules):
        wanted = job_indexes.parse(rule.succeededIndexes) if rule.succeededIndexes else None
        counted = len(wanted & set(succeeded)) if wanted is not None else len(succeeded)
        needed = rule.succeededCount if rule.succeededCount is not None else len(wanted or ())
        if counted >= needed and (wanted is not None or rule.succeededCount is not None):
            return place
    return None
