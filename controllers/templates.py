"""Pod templates of a Deployment: their hash, their equality, the ReplicaSet made from one. Pure.

Kubernetes: the pod-template-hash label (pkg/controller/deployment/util). A template's ReplicaSet is found by comparing
templates, not by name, so ReplicaSets made by another implementation with another hash are recognised.
"""

from __future__ import annotations

import hashlib

import msgspec
from lightkube.models.apps_v1 import ReplicaSetSpec
from lightkube.models.core_v1 import PodTemplateSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import Deployment, ReplicaSet

from api import meta

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

OWN_ANNOTATIONS = (LAST_APPLIED, REVISION, REVISION_HISTORY, DESIRED_REPLICAS, MAX_REPLICAS)
"""Of a Deployment's annotations these are not copied to its ReplicaSets."""

SAFE_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels, so no words; nothing that looks like something else."""

_encode = msgspec.json.Encoder(order="deterministic").encode


def template_hash(template: PodTemplateSpec, collisions: int) -> str:
    """Ten letters that depend on the template and on how often a name was found taken by another template."""
    digest = hashlib.sha256(_encode(template) + (str(collisions).encode() if collisions else b"")).digest()
    number = f"{int.from_bytes(digest[:4], 'big'):010}"
    return "".join(SAFE_ALPHABET[(ord(digit) + place * 7) % len(SAFE_ALPHABET)] for place, digit in enumerate(number))


def equal(one: PodTemplateSpec | None, other: PodTemplateSpec | None) -> bool:
    """Whether two templates make the same pods: all but the hash label is the same."""
    return _encode(_without_hash(one)) == _encode(_without_hash(other))


def _without_hash(template: PodTemplateSpec | None) -> PodTemplateSpec | None:
    if template is None or template.metadata is None:
        return template
    labels = {key: value for key, value in (template.metadata.labels or {}).items() if key != HASH_LABEL}
    metadata = msgspec.structs.replace(template.metadata, labels=labels or None, creationTimestamp=None)
    return msgspec.structs.replace(template, metadata=metadata)


def template_of(owner: Deployment | ReplicaSet) -> PodTemplateSpec:
    return (owner.spec and owner.spec.template) or PodTemplateSpec()


def find(deployment: Deployment, sets: list[ReplicaSet]) -> ReplicaSet | None:
    """The ReplicaSet of the present template: the oldest, should there be several."""
    matching = [each for each in sets if equal(template_of(each), template_of(deployment))]
    return min(matching, key=age, default=None)


def age(obj: ReplicaSet) -> tuple[float, str]:
    """Sorts the oldest first."""
    created = meta.metadata(obj).creationTimestamp
    return (created.timestamp() if created else 0.0, meta.name(obj))


def new_replica_set(deployment: Deployment, *, replicas: int, collisions: int) -> ReplicaSet:
    """The ReplicaSet of the present template, without annotations."""
    template = meta.clone(template_of(deployment))
    hashed = template_hash(template, collisions)
    template.metadata = template.metadata or ObjectMeta()
    template.metadata.labels = {**(template.metadata.labels or {}), HASH_LABEL: hashed}
    selector = meta.clone((deployment.spec and deployment.spec.selector) or LabelSelector())
    selector.matchLabels = {**(selector.matchLabels or {}), HASH_LABEL: hashed}
    return ReplicaSet(
        metadata=ObjectMeta(
            name=f"{meta.name(deployment)}-{hashed}",
            namespace=meta.namespace(deployment),
            labels=template.metadata.labels,
            ownerReferences=[meta.owner_reference(deployment)],
        ),
        spec=ReplicaSetSpec(
            replicas=replicas,
            minReadySeconds=deployment.spec.minReadySeconds if deployment.spec else None,
            selector=selector,
            template=template,
        ),
    )


def revision(obj: Deployment | ReplicaSet) -> int:
    """The number of the rollout, 0 when there is none (or nonsense)."""
    try:
        return int(meta.annotations(obj).get(REVISION, "0"))
    except ValueError:
        return 0


def annotations_for(deployment: Deployment, replica_set: ReplicaSet, *, number: int) -> dict[str, str]:
    """The annotations the current ReplicaSet should have: the Deployment's, the revision, and the revisions before."""
    own = meta.annotations(replica_set)
    kept = {key: value for key, value in own.items() if key in OWN_ANNOTATIONS}
    copied = {key: value for key, value in meta.annotations(deployment).items() if key not in OWN_ANNOTATIONS}
    wanted = {**kept, **copied}
    if number > revision(replica_set):
        if revision(replica_set):
            history = [*own.get(REVISION_HISTORY, "").split(","), str(revision(replica_set))]
            wanted[REVISION_HISTORY] = ",".join(each for each in history if each)
        wanted[REVISION] = str(number)
    return wanted
