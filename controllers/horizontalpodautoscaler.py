"""HorizontalPodAutoscaler -> spec.replicas of its target, by what its pods use. The arithmetic is in hpa_plan.py.

Kubernetes: pkg/controller/podautoscaler. A target is anything with a `scale` subresource; usage comes from
metrics.k8s.io. Metrics of other APIs (Pods, Object, External) are refused in the ScalingActive condition, as on a
cluster where no adapter serves them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from lightkube import ApiError
from lightkube.models.autoscaling_v1 import Scale
from lightkube.models.autoscaling_v2 import (
    ContainerResourceMetricSource,
    ContainerResourceMetricStatus,
    HorizontalPodAutoscalerCondition,
    HorizontalPodAutoscalerSpec,
    HorizontalPodAutoscalerStatus,
    MetricSpec,
    MetricStatus,
    MetricValueStatus,
    ResourceMetricSource,
    ResourceMetricStatus,
)
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler
from lightkube.resources.core_v1 import Pod

from api import meta, quantity, selectors
from api.durations import parse_duration
from api.resource import ResourceInfo
from client import discovery, rest
from controllers import hpa_plan, writes
from controllers.hpa_plan import Memory, MetricError, PodUsage, Proposal
from controllers.manager import Manager

Source = ResourceMetricSource | ContainerResourceMetricSource

SYNC_SECONDS = 15.0
LONGEST_MEMORY = timedelta(hours=1)
"""The longest stabilisation window the API allows."""


class HorizontalPodAutoscalerController:
    """Looks at every autoscaler each `period` seconds."""

    def __init__(self, manager: Manager, *, period: float = SYNC_SECONDS, workers: int = 4) -> None:
        self._client = manager.client
        self._events = manager.recorder("horizontal-pod-autoscaler")
        self._scalers = manager.informer(HorizontalPodAutoscaler)
        self._pods = manager.informer(Pod)
        self._period = period
        self._memories: dict[str, Memory] = {}
        self._controller = manager.controller("horizontalpodautoscaler", self.reconcile, workers=workers)
        self._scalers.on_change(self._changed)

    def _changed(self, old: HorizontalPodAutoscaler | None, new: HorizontalPodAutoscaler | None) -> None:
        if old is not None and (new is None or meta.uid(new) != meta.uid(old)):
            self._memories.pop(meta.uid(old), None)
        if new is not None and (old is None or old.spec != new.spec):
            self._controller.enqueue(meta.key(new))

    async def reconcile(self, key: str) -> None:
        cached = self._scalers.get(key)
        if cached is None or meta.is_terminating(cached):
            return
        self._controller.enqueue_after(key, self._period)
        scaler = meta.clone(cached)
        memory = self._memories.setdefault(meta.uid(scaler), Memory())
        memory.forget(meta.now_micro(), LONGEST_MEMORY)
        try:
            await Step(self, scaler, memory).run()
        finally:
            if scaler.status != cached.status:
                await writes.put_status(self._client, scaler)


class Step:
    """One look at one autoscaler; what it finds is left in the object's status."""

    def __init__(self, controller: HorizontalPodAutoscalerController, scaler: Any, memory: Memory) -> None:
        self._client = controller._client
        self._events = controller._events
        self._pods = controller._pods
        self._scaler = scaler
        self._memory = memory
        self._spec: HorizontalPodAutoscalerSpec = scaler.spec
        self._now = meta.now_micro()
        scaler.status = scaler.status or HorizontalPodAutoscalerStatus(desiredReplicas=0)
        self._status: HorizontalPodAutoscalerStatus = scaler.status
        self._status.observedGeneration = meta.metadata(scaler).generation

    async def run(self) -> None:
        try:
            info, scale = await self._scale()
        except (ApiError, MetricError) as error:
            why = f"the HPA controller was unable to get the target's current scale: {error}"
            self._say("AbleToScale", "FailedGetScale", why, "False")
            self._events.event(self._scaler, "Warning", "FailedGetScale", str(error))
            return
        self._say("AbleToScale", "SucceededGetScale", "the HPA controller was able to get the target's current scale")
        current = (scale.spec and scale.spec.replicas) or 0
        self._status.currentReplicas = (scale.status and scale.status.replicas) or 0
        least = 1 if self._spec.minReplicas is None else self._spec.minReplicas
        if current == 0 and least != 0:
            why = "scaling is disabled since the replica count of the target is zero"
            self._say("ScalingActive", "ScalingDisabled", why, "False")
            self._status.desiredReplicas = 0
            return
        if not least <= current <= self._spec.maxReplicas:
            wanted = min(max(current, least), self._spec.maxReplicas)
            side = "below Spec.MinReplicas" if current < least else "above Spec.MaxReplicas"
            why = f"Current number of replicas {side}"
        else:
            found = await self._recommended(scale, current)
            if found is None:
                return
            wanted, why = self._limited(found[0], current, least), found[1]
        self._status.desiredReplicas = wanted
        if wanted != current:
            await self._rescale(info, scale, current, wanted, why)

    # The target

    async def _scale(self) -> tuple[ResourceInfo, Scale]:
        ref = self._spec.scaleTargetRef
        info = await discovery.find(self._client, ref.apiVersion or "v1", ref.kind)
        if info is None:
            group = (ref.apiVersion or "").rpartition("/")[0]
            raise MetricError(f'no matches for kind "{ref.kind}" in group "{group}"')
        path = info.path(meta.namespace(self._scaler), ref.name, "scale")
        return info, msgspec.json.decode(await rest.request(self._client, "GET", path), type=Scale)

    async def _rescale(self, info: ResourceInfo, scale: Scale, current: int, wanted: int, why: str) -> None:
        assert scale.spec is not None
        scale.spec.replicas = wanted
        path = info.path(meta.namespace(self._scaler), self._spec.scaleTargetRef.name, "scale")
        try:
            await rest.request(self._client, "PUT", path, body=scale)
        except ApiError as error:
            failed = f"the HPA controller was unable to update the target scale: {error}"
            self._say("AbleToScale", "FailedUpdateScale", failed, "False")
            message = f"New size: {wanted}; reason: {why}; error: {error}"
            self._events.event(self._scaler, "Warning", "FailedRescale", message)
            raise
        done = f"the HPA controller was able to update the target scale to {wanted}"
        self._say("AbleToScale", "SucceededRescale", done)
        self._events.event(self._scaler, "Normal", "SuccessfulRescale", f"New size: {wanted}; reason: {why}")
        self._status.lastScaleTime = meta.now()
        changes = self._memory.raised if wanted > current else self._memory.lowered
        changes.append((self._now, abs(wanted - current)))

    # The metrics

    async def _recommended(self, scale: Scale, current: int) -> tuple[int, str] | None:
        """The most that any metric wants. None when nothing can be said, or only something smaller than is safe."""
        text = (scale.status and scale.status.selector) or ""
        selector = selectors.parse_label_selector(text)
        owned = [
            pod for pod in self._pods.list(meta.namespace(self._scaler)) if text and selector.matches(meta.labels(pod))
        ]
        proposals: list[tuple[int, str]] = []
        self._status.currentMetrics, failed = [], None
        for metric in self._spec.metrics or []:
            try:
                proposal, name = await self._by_metric(metric, current, owned, text)
                proposals.append((proposal.replicas, name))
            except (MetricError, ApiError) as error:
                failed = failed or (f"FailedGet{metric.type}Metric", str(error))
        if failed is not None and (not proposals or max(proposals)[0] < current):
            why = f"the HPA was unable to compute the replica count: {failed[1]}"
            self._say("ScalingActive", failed[0], why, "False")
            self._events.event(self._scaler, "Warning", failed[0], failed[1])
            return None
        wanted, name = max(proposals, key=lambda each: each[0])
        found = f"the HPA was able to successfully calculate a replica count from {name}"
        self._say("ScalingActive", "ValidMetricFound", found)
        return wanted, f"{name} {'above' if wanted > current else 'below'} target"

    async def _by_metric(
        self, metric: MetricSpec, current: int, owned: list[Pod], selector: str
    ) -> tuple[Proposal, str]:
        source: ResourceMetricSource | ContainerResourceMetricSource | None = (
            metric.resource or metric.containerResource
        )
        if source is None:
            raise MetricError(f"unable to get metrics of type {metric.type}: no custom metrics API is served")
        container = source.container if isinstance(source, ContainerResourceMetricSource) else None
        proposal = hpa_plan.by_resource(
            current,
            source.target,
            source.name,
            owned,
            await self._usage(source.name, selector),
            now=self._now,
            container=container,
            tolerance=self._tolerance(),
        )
        shown = MetricValueStatus(
            averageUtilization=proposal.utilization,
            averageValue=f"{proposal.average}m" if source.name == "cpu" else str(proposal.average),
        )
        shown.averageValue = quantity.canonical(shown.averageValue or "0")
        assert self._status.currentMetrics is not None
        if container is None:
            status = MetricStatus(type=metric.type, resource=ResourceMetricStatus(current=shown, name=source.name))
            what = f"{source.name} resource"
        else:
            of_container = ContainerResourceMetricStatus(container=container, current=shown, name=source.name)
            status = MetricStatus(type=metric.type, containerResource=of_container)
            what = f"{source.name} container resource"
        self._status.currentMetrics.append(status)
        return proposal, f"{what} {'utilization' if proposal.utilization is not None else 'usage'}"

    async def _usage(self, resource: str, selector: str) -> Mapping[str, PodUsage]:
        """By pod name. Raises ApiError when metrics.k8s.io is not served."""
        path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{meta.namespace(self._scaler)}/pods"
        data = await rest.request(self._client, "GET", path, params={"labelSelector": selector})
        return {
            item.metadata.name: PodUsage(
                {
                    each.name: hpa_plan.amount_of(each.usage[resource], resource)
                    for each in item.containers
                    if resource in each.usage
                },
                item.timestamp,
                timedelta(seconds=parse_duration(item.window)),
            )
            for item in msgspec.json.decode(data, type=_PodMetricsList).items
        }

    # Limits

    def _tolerance(self) -> tuple[float, float]:
        behavior = self._spec.behavior
        sides = (behavior and behavior.scaleDown, behavior and behavior.scaleUp)
        given = [side and side.tolerance for side in sides]
        down, up = (hpa_plan.TOLERANCE if each is None else float(quantity.parse(str(each))) for each in given)
        return down, up

    def _limited(self, wanted: int, current: int, least: int) -> int:
        """Steady, paced, and within minReplicas and maxReplicas; the conditions say which of them held it back."""
        behavior = self._spec.behavior
        up = hpa_plan.rules(behavior.scaleUp if behavior else None, hpa_plan.UP)
        down = hpa_plan.rules(behavior.scaleDown if behavior else None, hpa_plan.DOWN)
        steady = hpa_plan.stabilized(wanted, current, self._memory, up, down, self._now)
        self._say("AbleToScale", *_steadiness(wanted, steady, current))
        paced = hpa_plan.paced(steady, current, self._memory, up, down, self._now)
        result = min(max(paced, least), self._spec.maxReplicas)
        self._say("ScalingLimited", *self._limit(steady, paced, result, current, least))
        return result

    def _limit(self, steady: int, paced: int, result: int, current: int, least: int) -> tuple[str, str, str]:
        if paced != steady:
            faster = "the desired replica count is {} faster than the maximum scale rate"
            up = steady > current
            return (
                "ScaleUpLimit" if up else "ScaleDownLimit",
                faster.format("increasing" if up else "decreasing"),
                "True",
            )
        if steady > self._spec.maxReplicas:
            return "TooManyReplicas", "the desired replica count is more than the maximum replica count", "True"
        if steady < least:
            return "TooFewReplicas", "the desired replica count is less than the minimum replica count", "True"
        return "DesiredWithinRange", "the desired count is within the acceptable range", "False"

    def _say(self, type_: str, reason: str, message: str, status: str = "True") -> None:
        conditions = self._status.conditions = self._status.conditions or []
        moment = self._now.replace(microsecond=0)
        meta.set_condition(
            conditions,
            HorizontalPodAutoscalerCondition(
                type=type_, status=status, reason=reason, message=message, lastTransitionTime=moment
            ),
        )


def _steadiness(wanted: int, steady: int, current: int) -> tuple[str, str]:
    """Whether what was recommended lately holds the number where it is."""
    recent = "recent recommendations were {} than current one, applying the {} recent recommendation"
    if steady > wanted:
        return "ScaleDownStabilized", recent.format("higher", "highest")
    if steady < wanted:
        return "ScaleUpStabilized", recent.format("lower", "lowest")
    return "ReadyForNewScale", "recommended size matches current size" if wanted == current else "ready to scale"


class _ContainerMetrics(msgspec.Struct):
    name: str
    usage: dict[str, str]


class _Metadata(msgspec.Struct):
    name: str


class _PodMetrics(msgspec.Struct):
    metadata: _Metadata
    timestamp: datetime
    window: str
    containers: list[_ContainerMetrics]


class _PodMetricsList(msgspec.Struct):
    items: list[_PodMetrics]
