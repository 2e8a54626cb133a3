"""StatefulSets: pods with names of their own (https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/)."""

from __future__ import annotations

from typing import Any

from lightkube.models.apps_v1 import (
    RollingUpdateStatefulSetStrategy,
    StatefulSetPersistentVolumeClaimRetentionPolicy,
    StatefulSetStatus,
    StatefulSetUpdateStrategy,
)
from lightkube.resources.apps_v1 import StatefulSet

from apiserver.kinds.persistentvolumeclaim import claim_defaults
from apiserver.kinds.workloads import COUNTS, REPLICA_RULES, replicas_defaults
from apiserver.registry import rules
from apiserver.registry.columns import AGE, CONTAINERS, IMAGES, NAME, Column, at
from apiserver.registry.kind import Kind
from apiserver.verbs.scale import SCALE
from apiserver.verbs.status import STATUS

CHANGEABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)


def defaults(obj: Any) -> None:
    replicas_defaults(obj)
    spec = obj.spec
    if spec is None:
        return
    spec.podManagementPolicy = spec.podManagementPolicy or "OrderedReady"
    strategy = spec.updateStrategy = spec.updateStrategy or StatefulSetUpdateStrategy()
    strategy.type = strategy.type or "RollingUpdate"
    if strategy.type == "RollingUpdate":
        rolling = strategy.rollingUpdate = strategy.rollingUpdate or RollingUpdateStatefulSetStrategy()
        rolling.partition = rolling.partition or 0
    spec.revisionHistoryLimit = 10 if spec.revisionHistoryLimit is None else spec.revisionHistoryLimit
    policy = spec.persistentVolumeClaimRetentionPolicy = (
        spec.persistentVolumeClaimRetentionPolicy or StatefulSetPersistentVolumeClaimRetentionPolicy()
    )
    policy.whenDeleted, policy.whenScaled = policy.whenDeleted or "Retain", policy.whenScaled or "Retain"
    for template in spec.volumeClaimTemplates or []:
        claim_defaults(template)


STATEFUL_SET = Kind(
    StatefulSet,
    short_names=("sts",),
    categories=("all",),
    subresources=(STATUS, SCALE),
    columns=(
        NAME,
        Column("Ready", lambda obj: f"{at('status.readyReplicas', 0)(obj)}/{at('spec.replicas', 0)(obj)}"),
        AGE,
        CONTAINERS,
        IMAGES,
    ),
    counts_generations=True,
    defaults=defaults,
    initial_status=lambda obj: StatefulSetStatus(replicas=0),
    rules=(
        rules.selects_template("statefulset"),
        *REPLICA_RULES,
        *rules.not_negative(
            "spec.revisionHistoryLimit", "spec.ordinals.start", "spec.updateStrategy.rollingUpdate.partition"
        ),
        rules.one_of("spec.podManagementPolicy", "OrderedReady", "Parallel"),
        rules.one_of("spec.updateStrategy.type", "RollingUpdate", "OnDelete", needed=True),
        rules.one_of("spec.persistentVolumeClaimRetentionPolicy.whenDeleted", "Retain", "Delete"),
        rules.one_of("spec.persistentVolumeClaimRetentionPolicy.whenScaled", "Retain", "Delete"),
        rules.absent("spec.updateStrategy.rollingUpdate.maxUnavailable", "is not supported"),
    ),
    change_rules=(rules.only_changes("spec", "statefulset", CHANGEABLE),),
    status_rules=(rules.status_not_negative(*COUNTS, "status.currentReplicas", "status.updatedReplicas"),),
)
