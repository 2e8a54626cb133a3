"""Namespaces and nodes."""

from __future__ import annotations

import ipaddress
from typing import Any

from lightkube.models.core_v1 import NamespaceSpec, NamespaceStatus

from api.errors import FieldError, forbidden, invalid, not_supported, required
from apiserver import names
from apiserver.strategy.base import Strategy

EFFECTS = ("NoExecute", "NoSchedule", "PreferNoSchedule")


class NamespaceStrategy(Strategy):
    """A namespace is held by the finalizer `kubernetes` in its spec until the controller has emptied it."""

    def name_rule(self, text: str) -> list[str]:
        return names.dns_label(text)

    def set_defaults(self, obj: Any) -> None:
        if obj.metadata.name:
            obj.metadata.labels = {**(obj.metadata.labels or {}), "kubernetes.io/metadata.name": obj.metadata.name}

    def prepare_for_create(self, obj: Any) -> None:
        super().prepare_for_create(obj)
        others = [each for each in (obj.spec and obj.spec.finalizers) or [] if each != "kubernetes"]
        obj.spec = NamespaceSpec(finalizers=[*others, "kubernetes"])

    def initial_status(self, obj: Any) -> NamespaceStatus:
        return NamespaceStatus(phase="Active")

    def prepare_for_update(self, new: Any, old: Any) -> None:
        super().prepare_for_update(new, old)
        new.spec = old.spec

    def prepare_status(self, new: Any, old: Any) -> None:
        super().prepare_status(new, old)
        if old.metadata.deletionTimestamp is None and new.status is not None:
            new.status.phase = "Active"

    def begin_deletion(self, obj: Any) -> None:
        obj.status = obj.status or NamespaceStatus()
        obj.status.phase = "Terminating"

    def is_held(self, obj: Any) -> bool:
        return bool(obj.spec and obj.spec.finalizers)


class NodeStrategy(Strategy):
    """A node describes itself, so its status counts from the first moment."""

    def prepare_for_create(self, obj: Any) -> None:
        return

    def set_defaults(self, obj: Any) -> None:
        spec = obj.spec
        if spec is not None and spec.podCIDR and not spec.podCIDRs:
            spec.podCIDRs = [spec.podCIDR]

    def validate(self, obj: Any) -> list[FieldError]:
        errors: list[FieldError] = []
        if obj.spec is None:
            return errors
        seen = set()
        for index, taint in enumerate(obj.spec.taints or ()):
            path = f"spec.taints[{index}]"
            if not taint.key:
                errors.append(required(f"{path}.key"))
            else:
                errors += names.check(f"{path}.key", taint.key, names.qualified_name)
            errors += names.check(f"{path}.value", taint.value or "", names.label_value)
            if taint.effect not in EFFECTS:
                errors.append(
                    not_supported(f"{path}.effect", taint.effect, EFFECTS)
                    if taint.effect
                    else required(f"{path}.effect")
                )
            if (taint.key, taint.effect) in seen:
                why = f"taints must be unique by key and effect pair: {taint.key}:{taint.effect}"
                errors.append(invalid(path, taint.key, why))
            seen.add((taint.key, taint.effect))
        for index, cidr in enumerate(obj.spec.podCIDRs or ()):
            try:
                ipaddress.ip_network(cidr)
            except ValueError:
                errors.append(
                    invalid(f"spec.podCIDRs[{index}]", cidr, "must be a valid CIDR value, (e.g. 10.9.8.0/24)")
                )
        return errors

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        errors = self.validate(new)
        before = old.spec.podCIDR if old.spec else None
        if before and (new.spec is None or new.spec.podCIDR != before):
            errors.append(forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid'))
        before = old.spec.providerID if old.spec else None
        if before and (new.spec is None or new.spec.providerID != before):
            errors.append(
                forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid')
            )
        return errors
