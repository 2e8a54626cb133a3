"""Deployments, ReplicaSets, ReplicationControllers and PodTemplates: pods of one template, and how many of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightkube.models.apps_v1 import ReplicaSetStatus
from lightkube.models.core_v1 import ReplicationControllerStatus
from lightkube.resources.apps_v1 import Deployment, ReplicaSet
from lightkube.resources.core_v1 import PodTemplate, ReplicationController

from api.errors import FieldError, forbidden, invalid, required
from api.selectors import from_map
from apiserver.kinds import pod_spec
from apiserver.registry import fields, rules
from apiserver.registry.columns import AGE, CONTAINERS, IMAGES, NAME, SELECTOR, Column, at, map_text, number
from apiserver.registry.defaults import filled, made
from apiserver.registry.kind import Kind
from apiserver.verbs.scale import SCALE
from apiserver.verbs.status import STATUS

COUNTS = tuple(f"status.{each}" for each in ("replicas", "readyReplicas", "availableReplicas", "observedGeneration"))


REPLICAS = {"replicas": 1, "template": pod_spec.TEMPLATE}
"""The defaults of what keeps so many pods of a template."""


# --- ReplicaSets ------------------------------------------------------------------------------------------------


REPLICA_RULES = (
    *rules.not_negative("spec.replicas", "spec.minReadySeconds"),
    pod_spec.template_rule("spec.template"),
)

REPLICA_SET = Kind(
    ReplicaSet,
    short_names=("rs",),
    categories=("all",),
    subresources=(STATUS, SCALE),
    selectable=("status.replicas",),
    columns=(
        NAME,
        number("Desired", "spec.replicas"),
        number("Current", "status.replicas"),
        number("Ready", "status.readyReplicas"),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ),
    counts_generations=True,
    defaults=filled({"spec": REPLICAS}),
    initial_status=lambda obj: ReplicaSetStatus(replicas=0),
    rules=(rules.selects_template("replicaset"), *REPLICA_RULES),
    immutable=("spec.selector",),
    status_rules=(rules.status_not_negative(*COUNTS),),
)


# --- Deployments ------------------------------------------------------------------------------------------------


_ROLLING = made({"maxUnavailable": "25%", "maxSurge": "25%"}, when=("type", "RollingUpdate"))
DEPLOYMENT_DEFAULTS = {
    **REPLICAS,
    "strategy": made({"type": "RollingUpdate", "rollingUpdate": _ROLLING}),
    "revisionHistoryLimit": 10,
    "progressDeadlineSeconds": 600,
}


def count_annotations(new: Any, old: Any) -> None:
    """Annotations carry over to the replica sets, so they count as a change of what is wanted."""
    if new.metadata.generation == old.metadata.generation and new.metadata.annotations != old.metadata.annotations:
        new.metadata.generation += 1


def deadline(obj: Any) -> Iterator[FieldError]:
    spec = obj.spec
    if spec is not None and (spec.progressDeadlineSeconds or 0) <= (spec.minReadySeconds or 0):
        path = "spec.progressDeadlineSeconds"
        yield invalid(path, spec.progressDeadlineSeconds, "must be greater than minReadySeconds")


def rollout(obj: Any) -> Iterator[FieldError]:
    """`spec.strategy`: what a rolling update may do is said in it, in counts or percentages."""
    strategy, path = fields.get(obj, "spec.strategy"), "spec.strategy.rollingUpdate"
    update = strategy and strategy.rollingUpdate
    if strategy is None or strategy.type not in ("Recreate", "RollingUpdate"):
        return
    if strategy.type == "Recreate":
        if update is not None:
            yield forbidden(path, "may not be specified when strategy `type` is 'Recreate'")
        return
    if update is None:
        yield required(path, "this should be defaulted and never be nil")
        return
    if _is_zero(update.maxUnavailable) and _is_zero(update.maxSurge):
        yield invalid(f"{path}.maxUnavailable", update.maxUnavailable, "may not be 0 when `maxSurge` is 0")
    percent = str(update.maxUnavailable).removesuffix("%")
    if isinstance(update.maxUnavailable, str) and percent.isdigit() and int(percent[:9]) > 100:
        yield invalid(f"{path}.maxUnavailable", update.maxUnavailable, "must not be greater than 100%")


def _is_zero(amount: int | str | None) -> bool:
    return str(amount).removesuffix("%").strip("0") == "" and amount is not None


DEPLOYMENT = Kind(
    Deployment,
    short_names=("deploy",),
    categories=("all",),
    subresources=(STATUS, SCALE),
    columns=(
        NAME,
        Column("Ready", lambda obj: f"{at('status.readyReplicas', 0)(obj)}/{at('spec.replicas', 0)(obj)}"),
        number("Up-to-date", "status.updatedReplicas"),
        number("Available", "status.availableReplicas"),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ),
    counts_generations=True,
    defaults=filled({"spec": DEPLOYMENT_DEFAULTS}),
    prepare_update=count_annotations,
    rules=(
        rules.selects_template("deployment"),
        *REPLICA_RULES,
        *rules.not_negative("spec.revisionHistoryLimit", "spec.progressDeadlineSeconds"),
        deadline,
        rules.one_of("spec.strategy.type", "Recreate", "RollingUpdate", needed=True),
        rules.amount("spec.strategy.rollingUpdate.maxUnavailable"),
        rules.amount("spec.strategy.rollingUpdate.maxSurge"),
        rollout,
    ),
    immutable=("spec.selector",),
    status_rules=(rules.status_not_negative(*COUNTS, "status.updatedReplicas"),),
)


# --- the older ones ---------------------------------------------------------------------------------------------


def controller_defaults(obj: Any) -> None:
    """A ReplicationController selects by its template's labels when it says nothing else, and is labelled so."""
    labels = fields.get(obj, "spec.template.metadata.labels")
    if labels:
        obj.spec.selector = obj.spec.selector or {**labels}
        obj.metadata.labels = obj.metadata.labels or {**labels}


def selects_its_template(obj: Any) -> Iterator[FieldError]:
    selector = fields.get(obj, "spec.selector")
    if not selector:
        yield required("spec.selector")
    else:
        yield from rules.template_labels(obj, from_map(selector).matches)


REPLICATION_CONTROLLER = Kind(
    ReplicationController,
    short_names=("rc",),
    categories=("all",),
    subresources=(STATUS, SCALE),
    selectable=("status.replicas",),
    columns=REPLICA_SET.columns,
    counts_generations=True,
    defaults=filled({"spec": REPLICAS}, controller_defaults),
    initial_status=lambda obj: ReplicationControllerStatus(replicas=0),
    rules=(rules.labels("spec.selector"), selects_its_template, *REPLICA_RULES),
    status_rules=(rules.status_not_negative(*COUNTS),),
)


POD_TEMPLATE = Kind(
    PodTemplate,
    columns=(
        NAME,
        Column("Containers", CONTAINERS.cell),
        Column("Images", IMAGES.cell),
        Column("Pod Labels", lambda obj: map_text(at("template.metadata.labels", {})(obj))),
    ),
    counts_generations=True,
    specification=lambda obj: obj.template,
    defaults=filled({"template": pod_spec.TEMPLATE}),
    rules=(pod_spec.template_rule("template", restart=()),),
    returns_deleted=True,
)
