"""HorizontalPodAutoscalers: v2 is stored, v1 is another view of it.

Kubernetes: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from lightkube.models.autoscaling_v2 import (
    HorizontalPodAutoscalerStatus,
    HPAScalingPolicy,
    HPAScalingRules,
    MetricSpec,
    MetricTarget,
    ResourceMetricSource,
)
from lightkube.resources.autoscaling_v1 import HorizontalPodAutoscaler as OldAutoscaler
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler

from api.errors import FieldError, invalid, required
from apiserver.registry import fields, rules
from apiserver.registry.columns import AGE, NAME, Column, Object, at, number
from apiserver.registry.kind import Conversion, Kind
from apiserver.verbs.status import STATUS

METRICS = ("Resource", "ContainerResource", "Pods", "Object", "External")
LONGEST_WINDOW_SECONDS = 3600
LONGEST_PERIOD_SECONDS = 1800
DEFAULT_UTILIZATION = 80

DOWN_POLICIES = [{"type": "Percent", "value": 100, "periodSeconds": 15}]
UP_POLICIES = [{"type": "Pods", "value": 4, "periodSeconds": 15}, *DOWN_POLICIES]


def defaults(obj: Any) -> None:
    spec = obj.spec
    if spec is None:
        return
    spec.minReplicas = 1 if spec.minReplicas is None else spec.minReplicas
    if not spec.metrics:
        target = MetricTarget(type="Utilization", averageUtilization=DEFAULT_UTILIZATION)
        spec.metrics = [MetricSpec(type="Resource", resource=ResourceMetricSource(name="cpu", target=target))]
    if spec.behavior is not None:
        spec.behavior.scaleUp = _behavior(spec.behavior.scaleUp, 0, UP_POLICIES)
        spec.behavior.scaleDown = _behavior(spec.behavior.scaleDown, None, DOWN_POLICIES)


def _behavior(given: HPAScalingRules | None, window: int | None, policies: list[Any]) -> HPAScalingRules:
    result = given or HPAScalingRules()
    result.selectPolicy = result.selectPolicy or "Max"
    if result.stabilizationWindowSeconds is None:
        result.stabilizationWindowSeconds = window
    if result.policies is None:
        result.policies = msgspec.convert(policies, list[HPAScalingPolicy])
    return result


def limits(obj: Any) -> Iterator[FieldError]:
    spec = obj.spec
    if spec is None:
        yield required("spec")
    elif spec.minReplicas is not None and spec.maxReplicas < spec.minReplicas:
        why = "must be greater than or equal to `minReplicas`"
        yield invalid("spec.maxReplicas", spec.maxReplicas, why)


def metrics(obj: Any) -> Iterator[FieldError]:
    """Each metric has the one source its type names, and a target of that type."""
    for path, metric in fields.find(obj, "spec.metrics[*]"):
        if metric.type not in METRICS:
            continue
        name = metric.type[0].lower() + metric.type[1:]
        source = getattr(metric, name)
        if source is None:
            yield required(f"{path}.{name}", "must populate information for the given metric source")
            continue
        target = source.target
        if target.type == "Utilization" and not target.averageUtilization:
            yield invalid(f"{path}.{name}.target.averageUtilization", target.averageUtilization, "must be positive")
        elif target.type == "AverageValue" and target.averageValue is None:
            yield required(f"{path}.{name}.target.averageValue", "must specify a positive target averageValue")
        elif target.type == "Value" and metric.type in ("Resource", "ContainerResource", "Pods"):
            yield required(f"{path}.{name}.target.averageUtilization", "must specify an average target")


def targets(obj: Object) -> str:
    """`cpu: 23%/50%`, one after the other."""
    present = {_name(each): each for each in obj.get("status", {}).get("currentMetrics") or []}
    shown = []
    for metric in obj.get("spec", {}).get("metrics") or []:
        source = _source(metric)
        wanted, current = source.get("target", {}), _source(present.get(_name(metric), {})).get("current", {})
        if wanted.get("averageUtilization") is not None:
            value = current.get("averageUtilization")
            now = "<unknown>" if value is None else f"{value}%"
            shown.append(f"{_name(metric)}: {now}/{wanted['averageUtilization']}%")
        else:
            field = "averageValue" if "averageValue" in wanted else "value"
            shown.append(f"{_name(metric)}: {current.get(field, '<unknown>')}/{wanted.get(field, '')}")
    return ", ".join(shown[:2]) + (f" + {len(shown) - 2} more..." if len(shown) > 2 else "") or "<none>"


def _source(metric: Object) -> Object:
    type_ = metric.get("type", "")
    source: Object = metric.get(type_[:1].lower() + type_[1:]) or {}
    return source


def _name(metric: Object) -> str:
    source = _source(metric)
    return str(source.get("name") or source.get("metric", {}).get("name", ""))


def reference(obj: Object) -> str:
    target = obj.get("spec", {}).get("scaleTargetRef", {})
    return f"{target.get('kind', '')}/{target.get('name', '')}"


HORIZONTAL_POD_AUTOSCALER = Kind(
    HorizontalPodAutoscaler,
    short_names=("hpa",),
    categories=("all",),
    subresources=(STATUS,),
    columns=(
        NAME,
        Column("Reference", reference),
        Column("Targets", targets),
        Column("MinPods", at("spec.minReplicas", "<unset>")),
        number("MaxPods", "spec.maxReplicas"),
        number("Replicas", "status.currentReplicas"),
        AGE,
    ),
    counts_generations=True,
    defaults=defaults,
    initial_status=lambda obj: HorizontalPodAutoscalerStatus(desiredReplicas=0),
    rules=(
        limits,
        rules.required("spec.scaleTargetRef.kind"),
        rules.required("spec.scaleTargetRef.name"),
        rules.at_least("spec.minReplicas", 1),
        rules.at_least("spec.maxReplicas", 1),
        rules.one_of("spec.metrics[*].type", *METRICS, needed=True),
        metrics,
        *(
            rule
            for side in ("scaleUp", "scaleDown")
            for rule in (
                rules.between(f"spec.behavior.{side}.stabilizationWindowSeconds", 0, LONGEST_WINDOW_SECONDS),
                rules.one_of(f"spec.behavior.{side}.selectPolicy", "Max", "Min", "Disabled"),
                rules.one_of(f"spec.behavior.{side}.policies[*].type", "Pods", "Percent", needed=True),
                rules.above(f"spec.behavior.{side}.policies[*].value", 0),
                rules.between(f"spec.behavior.{side}.policies[*].periodSeconds", 1, LONGEST_PERIOD_SECONDS),
            )
        ),
    ),
)


# --- autoscaling/v1: one metric, the utilisation of cpu ---------------------------------------------------------------


def from_v1(old: dict[str, Any]) -> dict[str, Any]:
    spec, status = {**(old.get("spec") or {})}, {**(old.get("status") or {})}
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    if percent is not None:
        target = {"type": "Utilization", "averageUtilization": percent}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    status.pop("currentCPUUtilizationPercentage", None)
    return old | {"apiVersion": "autoscaling/v2", "spec": spec} | ({"status": status} if status else {})


def to_v1(new: dict[str, Any]) -> dict[str, Any]:
    spec, status = {**(new.get("spec") or {})}, {**(new.get("status") or {})}
    for metric in spec.pop("metrics", None) or []:
        if _name(metric) == "cpu" and _source(metric)["target"].get("averageUtilization"):
            spec["targetCPUUtilizationPercentage"] = _source(metric)["target"]["averageUtilization"]
    spec.pop("behavior", None)
    for metric in status.pop("currentMetrics", None) or []:
        if _name(metric) == "cpu" and _source(metric)["current"].get("averageUtilization") is not None:
            status["currentCPUUtilizationPercentage"] = _source(metric)["current"]["averageUtilization"]
    status.pop("conditions", None)
    status.setdefault("currentReplicas", 0)
    return new | {"apiVersion": "autoscaling/v1", "spec": spec, "status": status}


OLD_AUTOSCALER = Kind(
    OldAutoscaler,
    short_names=("hpa",),
    categories=("all",),
    subresources=(STATUS,),
    columns=HORIZONTAL_POD_AUTOSCALER.columns,
    conversion=Conversion(HORIZONTAL_POD_AUTOSCALER, from_v1, to_v1),
)
