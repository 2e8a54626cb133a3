"""Why a Deployment does not have the pods it wants: paused, refused, stuck, or still at it. Pure.

    explain(deployment, sets=..., pods=..., of_pod=...) -> Answer

What holds a rollout up is nearly always a pod of the new ReplicaSet; `of_pod` explains that one (pod.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from workshop.why.finding import (
    DEPLOYMENT,
    DEPLOYMENT_STATUS,
    REPLICASET,
    YOU,
    Answer,
    Finding,
    Object,
    condition,
    is_ready,
    name,
    spec,
    status,
)

REVISION = "deployment.kubernetes.io/revision"


def explain(
    deployment: Object, *, sets: Sequence[Object], pods: Sequence[Object], of_pod: Callable[[Object], Answer]
) -> Answer:
    """All ReplicaSets and pods of its namespace."""
    state, own = status(deployment), owned_by(deployment, sets)
    wanted = int(spec(deployment).get("replicas", 1))
    current = max(own, key=_revision, default=None)
    numbers = (
        f"deploy/{name(deployment)} wants {wanted} pods, has {state.get('replicas', 0)}: "
        f"{state.get('updatedReplicas', 0)} of the new template, {state.get('availableReplicas', 0)} available"
    )
    found = [*_held(deployment), *_refused(deployment, own)]
    if current is not None:
        found += _stuck(deployment, current, owned_by(current, pods), of_pod)
    others = [pod for each in own if each is not current for pod in owned_by(each, pods)]
    ending = [pod for pod in others if pod["metadata"].get("deletionTimestamp")]
    if ending and not found:
        what = f"{len(ending)} old pods are still ending"
        advice = f"minikctl why pod/{name(ending[0])}"
        found.append(Finding(what, DEPLOYMENT, "pods: metadata.deletionTimestamp", advice=advice))
    if not wanted and not found:
        found.append(
            Finding(
                "It wants no pods", YOU, "spec.replicas = 0", advice=f"minikctl scale {name(deployment)} --replicas 1"
            )
        )
    return Answer(numbers, found)


def owned_by(owner: Object, objects: Sequence[Object]) -> list[Object]:
    """The objects whose controller it is."""
    uid = owner["metadata"].get("uid")
    return [
        each
        for each in objects
        if any(ref.get("uid") == uid and ref.get("controller") for ref in each["metadata"].get("ownerReferences") or [])
    ]


def _revision(replica_set: Object) -> int:
    return int((replica_set["metadata"].get("annotations") or {}).get(REVISION, 0))


def _held(deployment: Object) -> Iterator[Finding]:
    meta, seen = deployment["metadata"], status(deployment).get("observedGeneration", 0)
    if spec(deployment).get("paused"):
        advice = f"minikctl rollout resume deploy/{meta['name']}"
        yield Finding(
            "It is paused: changes of the template are not rolled out", YOU, "spec.paused = true", advice=advice
        )
    if seen < meta.get("generation", 0):
        field = f"status.observedGeneration = {seen}, metadata.generation = {meta['generation']}"
        what = "The controller has not seen the last change of its spec"
        yield Finding(what, DEPLOYMENT, field, advice="do the controllers run? minikctl status")


def _refused(deployment: Object, sets: Sequence[Object]) -> Iterator[Finding]:
    """Pods the API server does not let a ReplicaSet create: quota, admission, a missing service account."""
    for each in (*sets, deployment):
        failure = condition(each, "ReplicaFailure")
        if failure.get("status") == "True":
            field = f"replicaset/{name(each)}: status.conditions[ReplicaFailure].reason = {failure.get('reason')}"
            what = "Its ReplicaSet is not allowed to create the pods"
            advice = "a quota is shown by: minikctl describe quota"
            yield Finding(what, REPLICASET, field, str(failure.get("message") or ""), advice=advice)
            return


def _stuck(
    deployment: Object, current: Object, pods: Sequence[Object], of_pod: Callable[[Object], Answer]
) -> Iterator[Finding]:
    progress = condition(deployment, "Progressing")
    late = progress.get("reason") == "ProgressDeadlineExceeded"
    unready = [each for each in pods if not is_ready(each) and not each["metadata"].get("deletionTimestamp")]
    if late:
        what = f"The rollout made no progress for {spec(deployment).get('progressDeadlineSeconds', 600)} s"
        field = "status.conditions[Progressing].reason = ProgressDeadlineExceeded"
        advice = f"mend the template, or go back: minikctl rollout undo deploy/{name(deployment)}"
        yield Finding(what, DEPLOYMENT_STATUS, field, str(progress.get("message") or ""), advice=advice)
    if unready:
        answer = of_pod(unready[0])
        what = f"{len(unready)} of {len(pods)} pods of {name(current)} are not Ready. The first: {answer.state}"
        yield Finding(what, REPLICASET, f"replicaset/{name(current)}: status.readyReplicas")
        yield from answer.findings
