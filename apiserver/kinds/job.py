"""Jobs: pods that run to their end (https://kubernetes.io/docs/concepts/workloads/controllers/job/)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from lightkube.models.batch_v1 import JobSpec, JobStatus
from lightkube.models.core_v1 import PodTemplateSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.batch_v1 import Job

from api.durations import human_duration
from api.errors import FieldError, invalid, required
from apiserver.kinds import pod_spec
from apiserver.registry import fields, rules
from apiserver.registry.columns import AGE, CONTAINERS, IMAGES, NAME, SELECTOR, Column, Object, condition
from apiserver.registry.defaults import fill, filled
from apiserver.registry.kind import Kind
from apiserver.verbs.status import STATUS

CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
JOB_NAME = "batch.kubernetes.io/job-name"
OLD_LABELS = ("controller-uid", "job-name")
"""What the two were called before; still written, as people select by them."""


def _depending(spec: JobSpec) -> None:
    """Defaults that depend on what else is said, before the others say it."""
    if spec.completions is None and spec.parallelism is None:
        spec.completions = 1
    if spec.backoffLimit is None:
        spec.backoffLimit = 6 if spec.backoffLimitPerIndex is None else 2**31 - 1
    if spec.podReplacementPolicy is None:
        spec.podReplacementPolicy = "TerminatingOrFailed" if spec.podFailurePolicy is None else "Failed"


_DEFAULTS = {
    "parallelism": 1,
    "completionMode": "NonIndexed",
    "suspend": False,
    "podFailurePolicy": {"rules": [{"onPodConditions": [{"status": "True"}]}]},
    "template": pod_spec.TEMPLATE,
}


def spec_defaults(spec: JobSpec) -> None:
    """Also those of a CronJob's template."""
    _depending(spec)
    fill(spec, _DEFAULTS)


def select_own_pods(obj: Any) -> None:
    """A Job selects its pods by its own uid, so no two Jobs can meet; manualSelector: true leaves that to the user."""
    spec = obj.spec
    if spec is None or spec.template is None:
        return
    if spec.manualSelector is None:
        spec.manualSelector = False
    if spec.manualSelector:
        return
    template: PodTemplateSpec = spec.template
    template.metadata = template.metadata or ObjectMeta()
    uid, name = obj.metadata.uid, obj.metadata.name or ""
    own = dict(zip(OLD_LABELS, (uid, name), strict=True)) | {CONTROLLER_UID: uid, JOB_NAME: name}
    template.metadata.labels = {**(template.metadata.labels or {}), **own}
    spec.selector = spec.selector or LabelSelector(matchLabels={CONTROLLER_UID: uid})


def indexed(obj: Any) -> Iterator[FieldError]:
    """What needs completionMode Indexed, and what that needs."""
    spec = obj.spec
    if spec is None:
        return
    if spec.completionMode == "Indexed":
        if spec.completions is None:
            yield required("spec.completions", "when completion mode is Indexed")
        if (spec.parallelism or 0) > 100_000:
            yield invalid("spec.parallelism", spec.parallelism, "must be less than or equal to 100000")
        return
    for field in ("backoffLimitPerIndex", "successPolicy"):
        if getattr(spec, field) is not None:
            yield invalid(f"spec.{field}", rules.shown(getattr(spec, field)), "requires indexed completion mode")


def per_index(obj: Any) -> Iterator[FieldError]:
    spec = obj.spec
    if spec is None or spec.maxFailedIndexes is None:
        return
    if spec.backoffLimitPerIndex is None:
        yield required("spec.backoffLimitPerIndex", "when maxFailedIndexes is specified")
    if spec.completions is not None and spec.maxFailedIndexes > spec.completions:
        yield invalid("spec.maxFailedIndexes", spec.maxFailedIndexes, "must be less than or equal to completions")


def failure_policy(obj: Any) -> Iterator[FieldError]:
    spec, path = obj.spec, "spec.podFailurePolicy"
    if spec is None or spec.podFailurePolicy is None:
        return
    if fields.get(spec, "template.spec.restartPolicy") != "Never":
        policy = fields.get(spec, "template.spec.restartPolicy") or ""
        why = 'only "Never" is supported when podFailurePolicy is specified'
        yield invalid("spec.template.spec.restartPolicy", policy, why)
    for index, rule in enumerate(spec.podFailurePolicy.rules):
        here = f"{path}.rules[{index}]"
        if (rule.onExitCodes is None) == (not rule.onPodConditions):
            yield invalid(here, rules.shown(rule), "specifying one of OnExitCodes and OnPodConditions is required")
        if rule.action == "FailIndex" and spec.backoffLimitPerIndex is None:
            yield invalid(f"{here}.action", "FailIndex", "requires the backoffLimitPerIndex to be set")
        codes = rule.onExitCodes
        if codes is not None and codes.operator == "In" and 0 in codes.values:
            yield invalid(f"{here}.onExitCodes.values", 0, "must not be 0 for the In operator")


def success_policy(obj: Any) -> Iterator[FieldError]:
    policy = fields.get(obj, "spec.successPolicy")
    for index, rule in enumerate((policy and policy.rules) or []):
        if rule.succeededCount is None and not rule.succeededIndexes:
            why = "at least one of succeededCount or succeededIndexes must be specified"
            yield required(f"spec.successPolicy.rules[{index}]", why)


def spec_rules(prefix: str) -> tuple[rules.Rule, ...]:
    """The rules that hold for a Job and for the template of a CronJob, whose fields begin at `prefix`."""
    numbers = ("parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished")
    return (
        *rules.not_negative(*(f"{prefix}.{each}" for each in (*numbers, "backoffLimitPerIndex", "maxFailedIndexes"))),
        rules.one_of(f"{prefix}.completionMode", "NonIndexed", "Indexed"),
        rules.one_of(f"{prefix}.podReplacementPolicy", "TerminatingOrFailed", "Failed"),
        rules.one_of(f"{prefix}.podFailurePolicy.rules[*].action", "Count", "FailIndex", "FailJob", "Ignore"),
        rules.one_of(f"{prefix}.podFailurePolicy.rules[*].onExitCodes.operator", "In", "NotIn"),
        pod_spec.template_rule(f"{prefix}.template", restart=("OnFailure", "Never")),
    )


def template_changes(new: Any, old: Any) -> Iterator[FieldError]:
    """A suspended Job that has not started may still change where its pods go (Kueue and its like rely on that)."""
    if new.spec is None or old.spec is None or new.spec.template == old.spec.template:
        return
    if old.spec.suspend and not (old.status and old.status.startTime):
        return
    yield invalid("spec.template", rules.shown(new.spec.template), rules.IMMUTABLE)


# --- columns ----------------------------------------------------------------------------------------------------


def state(obj: Object) -> str:
    if condition(obj, "Complete").get("status") == "True":
        return "Complete"
    if condition(obj, "Failed").get("status") == "True":
        return "Failed"
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for type_, shown in (("Suspended", "Suspended"), ("FailureTarget", "FailureTarget"), ("SuccessCriteriaMet",) * 2):
        if condition(obj, type_).get("status") == "True":
            return shown
    return "Running"


def completions(obj: Object) -> str:
    spec, done = obj.get("spec", {}), obj.get("status", {}).get("succeeded", 0)
    if spec.get("completions") is not None:
        return f"{done}/{spec['completions']}"
    parallelism = spec.get("parallelism", 1)
    return f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"


def duration(obj: Object) -> str:
    status = obj.get("status", {})
    start, end = status.get("startTime"), status.get("completionTime")
    if not start:
        return ""
    until = datetime.fromisoformat(end) if end else datetime.now().astimezone()
    return human_duration((until - datetime.fromisoformat(start)).total_seconds())


JOB = Kind(
    Job,
    categories=("all",),
    subresources=(STATUS,),
    selectable=("status.successful",),
    columns=(
        NAME,
        Column("Status", state),
        Column("Completions", completions),
        Column("Duration", duration),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ),
    counts_generations=True,
    defaults=filled({"spec": spec_defaults}),
    prepare_create=select_own_pods,
    initial_status=lambda obj: JobStatus(),
    rules=(
        rules.required("spec"),
        rules.selects_template("job"),
        *spec_rules("spec"),
        indexed,
        per_index,
        failure_policy,
        success_policy,
    ),
    immutable=(
        "spec.selector",
        "spec.completionMode",
        "spec.podFailurePolicy",
        "spec.successPolicy",
        "spec.backoffLimitPerIndex",
        "spec.managedBy",
    ),
    change_rules=(template_changes,),
    status_rules=(rules.status_not_negative("status.active", "status.succeeded", "status.failed"),),
)
