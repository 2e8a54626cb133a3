"""DaemonSets: a pod on every node (https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightkube.models.apps_v1 import DaemonSetStatus
from lightkube.resources.apps_v1 import DaemonSet

from api.errors import FieldError, invalid
from apiserver.kinds import pod_spec
from apiserver.registry import fields, rules
from apiserver.registry.columns import AGE, CONTAINERS, IMAGES, NAME, SELECTOR, Column, at, map_text, number
from apiserver.registry.defaults import filled, made
from apiserver.registry.kind import Kind
from apiserver.verbs.status import STATUS

_ROLLING = made({"maxUnavailable": 1, "maxSurge": 0}, when=("type", "RollingUpdate"))
DEFAULTS = {
    "template": pod_spec.TEMPLATE,
    "updateStrategy": made({"type": "RollingUpdate", "rollingUpdate": _ROLLING}),
    "revisionHistoryLimit": 10,
}


def rollout(obj: Any) -> Iterator[FieldError]:
    """Exactly one of surge and unavailability moves an update on."""
    rolling, path = fields.get(obj, "spec.updateStrategy.rollingUpdate"), "spec.updateStrategy.rollingUpdate"
    if rolling is None:
        return
    unavailable, surge = (str(each).rstrip("%") != "0" for each in (rolling.maxUnavailable, rolling.maxSurge))
    if not unavailable and not surge:
        yield invalid(f"{path}.maxUnavailable", rolling.maxUnavailable, "cannot be 0 when maxSurge is 0")
    if unavailable and surge:
        yield invalid(f"{path}.maxSurge", rolling.maxSurge, "may not be set when maxUnavailable is non-zero")


DAEMON_SET = Kind(
    DaemonSet,
    short_names=("ds",),
    categories=("all",),
    subresources=(STATUS,),
    columns=(
        NAME,
        number("Desired", "status.desiredNumberScheduled"),
        number("Current", "status.currentNumberScheduled"),
        number("Ready", "status.numberReady"),
        number("Up-to-date", "status.updatedNumberScheduled"),
        number("Available", "status.numberAvailable"),
        Column("Node Selector", lambda obj: map_text(at("spec.template.spec.nodeSelector", {})(obj))),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ),
    counts_generations=True,
    defaults=filled({"spec": DEFAULTS}),
    initial_status=lambda obj: DaemonSetStatus(0, 0, 0, 0),
    rules=(
        rules.selects_template("daemonset"),
        pod_spec.template_rule("spec.template"),
        *rules.not_negative("spec.minReadySeconds", "spec.revisionHistoryLimit"),
        rules.one_of("spec.updateStrategy.type", "RollingUpdate", "OnDelete", needed=True),
        rules.amount("spec.updateStrategy.rollingUpdate.maxUnavailable"),
        rules.amount("spec.updateStrategy.rollingUpdate.maxSurge"),
        rollout,
    ),
    immutable=("spec.selector",),
)
