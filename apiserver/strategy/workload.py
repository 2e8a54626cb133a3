"""Deployments and ReplicaSets: a number of pods of one template, chosen by a selector that never changes."""

from __future__ import annotations

from typing import Any

import msgspec
from lightkube.models.apps_v1 import DeploymentStrategy as RolloutStrategy
from lightkube.models.apps_v1 import ReplicaSetStatus, RollingUpdateDeployment

from api.errors import FieldError, forbidden, invalid, not_supported, required
from api.selectors import SelectorError, from_label_selector
from apiserver import names
from apiserver.strategy import pod_spec
from apiserver.strategy.base import Strategy

IMMUTABLE = "field is immutable"


class Shown:
    """A structured value in an error message: its JSON."""

    def __init__(self, value: Any) -> None:
        self.text = msgspec.json.encode(value).decode()

    def __str__(self) -> str:
        return self.text


class WorkloadStrategy(Strategy):
    """What both have in common; apps/v1 kinds."""

    counts_generations = True

    def set_defaults(self, obj: Any) -> None:
        spec = obj.spec
        if spec is None:
            return
        if spec.replicas is None:
            spec.replicas = 1
        if spec.template is not None and spec.template.spec is not None:
            pod_spec.set_defaults(spec.template.spec)

    def validate(self, obj: Any) -> list[FieldError]:
        spec = obj.spec
        if spec is None:
            return [required("spec.selector"), required("spec.template")]
        errors: list[FieldError] = []
        for field in ("replicas", "minReadySeconds"):
            at_least_zero(errors, f"spec.{field}", getattr(spec, field))
        errors += self._validate_selector(spec)
        template = spec.template
        if template is None:
            return [*errors, required("spec.template")]
        errors += validate_template(template, "spec.template")
        return errors

    def _validate_selector(self, spec: Any) -> list[FieldError]:
        selector = spec.selector
        if selector is None:
            return [required("spec.selector")]
        errors = names.check_labels(selector.matchLabels, "spec.selector.matchLabels")
        if not selector.matchLabels and not selector.matchExpressions:
            kind = self.kind.kind.lower()
            return [*errors, invalid("spec.selector", Shown(selector), f"empty selector is invalid for {kind}")]
        try:
            matcher = from_label_selector(selector)
        except SelectorError as error:
            return [*errors, invalid("spec.selector", Shown(selector), str(error))]
        labels = (spec.template and spec.template.metadata and spec.template.metadata.labels) or {}
        if spec.template is not None and not matcher.matches(labels):
            why = "`selector` does not match template `labels`"
            errors.append(invalid("spec.template.metadata.labels", Shown(labels), why))
        return errors

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        errors = self.validate(new)
        if new.spec is not None and old.spec is not None and new.spec.selector != old.spec.selector:
            errors.append(invalid("spec.selector", Shown(new.spec.selector), IMMUTABLE))
        return errors

    def validate_status(self, new: Any, old: Any) -> list[FieldError]:
        errors: list[FieldError] = []
        for field in ("replicas", "readyReplicas", "availableReplicas", "updatedReplicas", "observedGeneration"):
            at_least_zero(errors, f"status.{field}", getattr(new.status, field, None))
        return errors


def at_least_zero(errors: list[FieldError], path: str, value: int | None) -> None:
    if value is not None and value < 0:
        errors.append(invalid(path, value, "must be greater than or equal to 0"))


def validate_template(template: Any, path: str) -> list[FieldError]:
    """A pod template of a workload whose pods run for ever."""
    if template.spec is None:
        return [required(f"{path}.spec.containers")]
    errors = names.check_labels(template.metadata and template.metadata.labels, f"{path}.labels")
    errors += pod_spec.validate(template.spec, f"{path}.spec")
    if template.spec.restartPolicy in ("OnFailure", "Never"):
        errors.append(not_supported(f"{path}.spec.restartPolicy", template.spec.restartPolicy, ["Always"]))
    if template.spec.activeDeadlineSeconds is not None:
        errors.append(
            forbidden(f"{path}.spec.activeDeadlineSeconds", "activeDeadlineSeconds in workload is not Supported")
        )
    return errors


class ReplicaSetStrategy(WorkloadStrategy):
    def initial_status(self, obj: Any) -> ReplicaSetStatus:
        return ReplicaSetStatus(replicas=0)


class DeploymentStrategy(WorkloadStrategy):
    def set_defaults(self, obj: Any) -> None:
        super().set_defaults(obj)
        spec = obj.spec
        if spec is None:
            return
        strategy = spec.strategy = spec.strategy or RolloutStrategy()
        strategy.type = strategy.type or "RollingUpdate"
        if strategy.type == "RollingUpdate":
            update = strategy.rollingUpdate = strategy.rollingUpdate or RollingUpdateDeployment()
            update.maxUnavailable = "25%" if update.maxUnavailable is None else update.maxUnavailable
            update.maxSurge = "25%" if update.maxSurge is None else update.maxSurge
        if spec.revisionHistoryLimit is None:
            spec.revisionHistoryLimit = 10
        if spec.progressDeadlineSeconds is None:
            spec.progressDeadlineSeconds = 600

    def prepare_for_update(self, new: Any, old: Any) -> None:
        super().prepare_for_update(new, old)
        # Annotations carry over to the replica sets, so they count as a change of what is wanted.
        if new.metadata.generation == old.metadata.generation and new.metadata.annotations != old.metadata.annotations:
            new.metadata.generation += 1

    def validate(self, obj: Any) -> list[FieldError]:
        errors = super().validate(obj)
        spec = obj.spec
        if spec is None:
            return errors
        for field in ("revisionHistoryLimit", "progressDeadlineSeconds"):
            at_least_zero(errors, f"spec.{field}", getattr(spec, field))
        if (spec.progressDeadlineSeconds or 0) <= (spec.minReadySeconds or 0):
            errors.append(
                invalid(
                    "spec.progressDeadlineSeconds", spec.progressDeadlineSeconds, "must be greater than minReadySeconds"
                )
            )
        return errors + _validate_rollout(spec.strategy)


def _validate_rollout(strategy: RolloutStrategy | None) -> list[FieldError]:
    if strategy is None:
        return []
    path = "spec.strategy"
    if strategy.type not in ("Recreate", "RollingUpdate"):
        return [not_supported(f"{path}.type", strategy.type, ["Recreate", "RollingUpdate"])]
    update = strategy.rollingUpdate
    if strategy.type == "Recreate":
        why = "may not be specified when strategy `type` is 'Recreate'"
        return [forbidden(f"{path}.rollingUpdate", why)] if update is not None else []
    if update is None:
        return [required(f"{path}.rollingUpdate", "this should be defaulted and never be nil")]
    errors: list[FieldError] = []
    unavailable = _amount(errors, f"{path}.rollingUpdate.maxUnavailable", update.maxUnavailable)
    surge = _amount(errors, f"{path}.rollingUpdate.maxSurge", update.maxSurge)
    if not errors and unavailable == 0 and surge == 0:
        why = "may not be 0 when `maxSurge` is 0"
        errors.append(invalid(f"{path}.rollingUpdate.maxUnavailable", update.maxUnavailable, why))
    if isinstance(update.maxUnavailable, str) and (unavailable or 0) > 100:
        errors.append(
            invalid(f"{path}.rollingUpdate.maxUnavailable", update.maxUnavailable, "must not be greater than 100%")
        )
    return errors


def _amount(errors: list[FieldError], path: str, value: int | str | None) -> int | None:
    """A count or the number of a percentage."""
    if isinstance(value, int):
        at_least_zero(errors, path, value)
        return value
    text = (value or "").removesuffix("%")
    if value is None or not value.endswith("%") or not text.isascii() or not text.isdigit() or len(text) > 9:
        why = (
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex "
            "used for validation is '[0-9]+%')"
        )
        errors.append(invalid(path, value, why))
        return None
    return int(text)
