"""StatefulSets: pods with names of their own (https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/)."""

from __future__ import annotations

from lightkube.models.apps_v1 import (
    StatefulSetStatus,
)
from lightkube.resources.apps_v1 import StatefulSet

from apiserver.kinds.persistentvolumeclaim import claim_defaults
from apiserver.kinds.workloads import COUNTS, REPLICA_RULES, REPLICAS
from apiserver.registry import rules
from apiserver.registry.columns import AGE, CONTAINERS, IMAGES, NAME, Column, at
from apiserver.registry.defaults import filled, made
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


_ROLLING = made({"partition": 0}, when=("type", "RollingUpdate"))
DEFAULTS = {
    **REPLICAS,
    "podManagementPolicy": "OrderedReady",
    "updateStrategy": made({"type": "RollingUpdate", "rollingUpdate": _ROLLING}),
    "revisionHistoryLimit": 10,
    "persistentVolumeClaimRetentionPolicy": made({"whenDeleted": "Retain", "whenScaled": "Retain"}),
    "volumeClaimTemplates": [claim_defaults],
}


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
    defaults=filled({"spec": DEFAULTS}),
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
