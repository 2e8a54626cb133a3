"""Pods: born Pending, deleted gracefully, with a spec that hardly changes."""

from __future__ import annotations

from typing import Any

from lightkube.models.core_v1 import PodStatus

from api.errors import FieldError, required
from apiserver.strategy import pod_spec
from apiserver.strategy.base import Strategy


class PodStrategy(Strategy):
    def set_defaults(self, obj: Any) -> None:
        if obj.spec is None:
            return
        pod_spec.set_defaults(obj.spec)
        pod_spec.set_requests(obj.spec)
        if obj.spec.enableServiceLinks is None:
            obj.spec.enableServiceLinks = True

    def initial_status(self, obj: Any) -> PodStatus:
        return PodStatus(phase="Pending", qosClass=pod_spec.qos_class(obj.spec) if obj.spec else None)

    def prepare_status(self, new: Any, old: Any) -> None:
        super().prepare_status(new, old)
        if new.status is not None and new.status.qosClass is None:
            new.status.qosClass = old.status.qosClass if old.status else None

    def validate(self, obj: Any) -> list[FieldError]:
        return pod_spec.validate(obj.spec, "spec") if obj.spec else [required("spec.containers")]

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        if new.spec is None:
            return [required("spec.containers")]
        if new.spec == old.spec:
            return []
        return self.validate(new) + pod_spec.validate_change(new.spec, old.spec, "spec")

    def grace_seconds(self, obj: Any, requested: int | None) -> int:
        """As asked for, or as the pod says; none for a pod that no kubelet runs."""
        phase = obj.status.phase if obj.status else None
        if not obj.spec.nodeName or phase in ("Succeeded", "Failed"):
            return 0
        seconds = requested if requested is not None else obj.spec.terminationGracePeriodSeconds
        if seconds is None:
            seconds = 30
        return 1 if seconds < 0 else int(seconds)
