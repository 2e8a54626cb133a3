"""PodDisruptionBudgets: how many of an application's pods may be evicted at once.

https://kubernetes.io/docs/concepts/workloads/pods/disruptions/. controllers/disruption.py keeps the count,
verbs/eviction.py spends it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightkube.models.policy_v1 import PodDisruptionBudgetStatus
from lightkube.resources.policy_v1 import PodDisruptionBudget

from api.errors import FieldError, invalid
from api.selectors import SelectorError, from_label_selector
from apiserver.registry import rules
from apiserver.registry.columns import AGE, NAME, Column, at
from apiserver.registry.kind import Kind
from apiserver.verbs.status import STATUS


def one_bound(obj: Any) -> Iterator[FieldError]:
    if obj.spec and obj.spec.minAvailable is not None and obj.spec.maxUnavailable is not None:
        yield invalid("spec", "", "minAvailable and maxUnavailable cannot be both set")


def at_most_all(value: int | str) -> Iterator[str]:
    percent = str(value).removesuffix("%")
    if isinstance(value, str) and percent.isdigit() and int(percent[:9]) > 100:
        yield "must not be greater than 100%"


def selector(value: Any) -> Iterator[str]:
    try:
        from_label_selector(value)
    except SelectorError as error:
        yield str(error)


def initial_status(obj: Any) -> PodDisruptionBudgetStatus:
    return PodDisruptionBudgetStatus(currentHealthy=0, desiredHealthy=0, disruptionsAllowed=0, expectedPods=0)


POD_DISRUPTION_BUDGET = Kind(
    PodDisruptionBudget,
    short_names=("pdb",),
    subresources=(STATUS,),
    columns=(
        NAME,
        Column("Min Available", at("spec.minAvailable", "N/A"), description="The least number of healthy pods."),
        Column("Max Unavailable", at("spec.maxUnavailable", "N/A"), description="The most pods that may be missing."),
        Column("Allowed Disruptions", at("status.disruptionsAllowed", 0), type="integer"),
        AGE,
    ),
    counts_generations=True,
    initial_status=initial_status,
    rules=(
        one_bound,
        rules.amount("spec.minAvailable"),
        rules.amount("spec.maxUnavailable"),
        rules.check("spec.minAvailable", at_most_all),
        rules.check("spec.maxUnavailable", at_most_all),
        rules.one_of("spec.unhealthyPodEvictionPolicy", "IfHealthyBudget", "AlwaysAllow"),
        rules.check("spec.selector", selector),
    ),
    status_rules=(
        rules.status_not_negative(
            "status.currentHealthy", "status.desiredHealthy", "status.disruptionsAllowed", "status.expectedPods"
        ),
    ),
)
