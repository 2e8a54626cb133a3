"""`minikctl rollout`: follow, list, undo, restart, pause and resume the rollouts of Deployments."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from cli import objects
from cli.command import Chosen, Write, group
from cli.errors import CliError, collected
from cli.session import JSON_PATCH, MERGE_PATCH, Object, Ref, Session
from cli.tables import Columns
from cli.wait import deadline, existing, wait_for

REVISION = "deployment.kubernetes.io/revision"
CHANGE_CAUSE = "kubernetes.io/change-cause"
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
HASH = "pod-template-hash"
NOT_RESTORED = (
    REVISION,
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to",
    "kubectl.kubernetes.io/last-applied-configuration",
)
"""Annotations of a ReplicaSet that say something about the ReplicaSet itself and do not go back into the Deployment."""

Change = tuple[Any, str]
"""A patch, or None, and what it does in a word."""


def _deployments(session: Session, chosen: Chosen) -> Iterator[Ref]:
    for ref in objects.refs(session, chosen, alone="deployments.apps"):
        if ref.kind.qualified != "deployments.apps":
            raise CliError(f"no rollouter has been implemented for {ref.kind.qualified_kind}")
        yield ref


def status(
    session: Session,
    chosen: Chosen,
    watch: Annotated[bool, typer.Option("--watch/--no-watch", "-w", help="Follow until it is done.")] = True,
    timeout: Annotated[str, typer.Option(help="How long to follow at most; 0s follows to the end.")] = "0s",
    revision: Annotated[int, typer.Option(help="Stop when another revision than this is rolled out.")] = 0,
) -> None:
    """Follow a rollout until it is done."""
    for ref in _deployments(session, chosen):
        said = ""

        def done(obj: Object | None, ref: Ref = ref) -> bool:
            nonlocal said
            text, finished = progress(existing(obj, ref), revision=revision)
            if text != said:
                print(text, flush=True)
                said = text
            return finished or not watch

        wait_for(session, ref, done, ends=deadline(timeout))


def progress(deployment: Object, *, revision: int = 0) -> tuple[str, bool]:
    """How far a rollout is, in a line, and whether it is done. Raises CliError when it has failed. Pure."""
    meta, spec, state = deployment["metadata"], deployment["spec"], deployment.get("status") or {}
    name, wanted = meta["name"], spec.get("replicas", 1)
    current = int(_annotations(deployment).get(REVISION) or 0)
    if revision and current and revision != current:
        raise CliError(f"desired revision ({revision}) is different from the running revision ({current})")
    if meta.get("generation", 0) > state.get("observedGeneration", 0):
        return "Waiting for deployment spec update to be observed...", False
    if any(each.get("reason") == "ProgressDeadlineExceeded" for each in state.get("conditions") or []):
        raise CliError(f'deployment "{name}" exceeded its progress deadline')
    updated, total, available = (state.get(f"{each}eplicas", 0) for each in ("updatedR", "r", "availableR"))
    waiting = f'Waiting for deployment "{name}" rollout to finish:'
    if updated < wanted:
        return f"{waiting} {updated} out of {wanted} new replicas have been updated...", False
    if total > updated:
        return f"{waiting} {total - updated} old replicas are pending termination...", False
    if available < updated:
        return f"{waiting} {available} of {updated} updated replicas are available...", False
    return f'deployment "{name}" successfully rolled out', True


def history(
    session: Session,
    chosen: Chosen,
    revision: Annotated[int, typer.Option(help="Show this revision's pod template.")] = 0,
) -> None:
    """List the revisions of a Deployment."""
    from cli.documents import to_yaml

    for ref in _deployments(session, chosen):
        revisions = _revisions(session, session.get(ref))
        if not revision:
            rows = [[str(n), _annotations(each).get(CHANGE_CAUSE) or "<none>"] for n, each in revisions.items()]
            lines = Columns(padding=2).render([["REVISION", "CHANGE-CAUSE"], *rows])
            print("\n".join([f"{ref.label} ", *lines, ""]))
        elif revision in revisions:
            template = to_yaml({"template": revisions[revision]["spec"]["template"]})
            print(f"{ref.label} with revision #{revision}\n{template}", end="")
        else:
            raise CliError(f"unable to find the specified revision: {revision}")


def undo(
    session: Session,
    chosen: Chosen,
    write: Write,
    to_revision: Annotated[int, typer.Option(help="The revision to go back to; 0 is the one before.")] = 0,
) -> None:
    """Go back to an earlier revision."""

    def roll_back(deployment: Object) -> Change:
        name, revisions = deployment["metadata"]["name"], _revisions(session, deployment)
        if deployment["spec"].get("paused"):
            resume = "resume it first with 'minikctl rollout resume' and try again"
            raise CliError(f"you cannot rollback a paused deployment; {resume}")
        if to_revision < 0:
            raise CliError(f"revision number must be positive: {to_revision}")
        if to_revision and to_revision not in revisions:
            raise CliError(f"unable to find specified revision {to_revision} in history")
        if not to_revision and len(revisions) < 2:
            raise CliError(f'no rollout history found for deployment "{name}"')
        number = to_revision or sorted(revisions)[-2]
        template = restored_template(revisions[number])
        if template == restored_template(deployment):
            return None, f"skipped rollback (current template already matches revision {number})"
        back = {key: value for key, value in _annotations(revisions[number]).items() if key not in NOT_RESTORED}
        back |= {key: value for key, value in _annotations(deployment).items() if key in NOT_RESTORED}
        return [
            {"op": "replace", "path": "/spec/template", "value": template},
            {"op": "add", "path": "/metadata/annotations", "value": back},
        ], "rolled back"

    _each(session, chosen, write, roll_back)


def restored_template(owner: Object) -> Object:
    """The pod template without the label that tells ReplicaSets of a Deployment apart. Pure."""
    template: Object = owner["spec"]["template"]
    meta = template.get("metadata") or {}
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key != HASH}
    return {**template, "metadata": {**meta, "labels": labels}}


def restart(session: Session, chosen: Chosen, write: Write) -> None:
    """Replace all pods, by a rollout that changes nothing but a timestamp."""

    def start_again(deployment: Object) -> Change:
        if deployment["spec"].get("paused"):
            name = deployment["metadata"]["name"]
            raise CliError(f'deployments.apps "{name}" can\'t restart paused deployment (run rollout resume first)')
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: now}}}}}, "restarted"

    _each(session, chosen, write, start_again)


def pause(session: Session, chosen: Chosen, write: Write) -> None:
    """Stop acting on changes of the pod template."""
    _each(session, chosen, write, lambda deployment: _paused(deployment, True))


def resume(session: Session, chosen: Chosen, write: Write) -> None:
    """Act on changes of the pod template again."""
    _each(session, chosen, write, lambda deployment: _paused(deployment, False))


def _paused(deployment: Object, wanted: bool) -> Change:
    if bool(deployment["spec"].get("paused")) == wanted:
        state = "is already paused" if wanted else "is not paused"
        raise CliError(f'deployments.apps "{deployment["metadata"]["name"]}" {state}')
    return {"spec": {"paused": wanted or None}}, "paused" if wanted else "resumed"


def _each(session: Session, chosen: Chosen, write: Write, change: Callable[[Object], Change]) -> None:
    """Change every Deployment named, and say what was done to each."""
    with collected() as failures:
        for ref in _deployments(session, chosen):
            with failures:
                body, what = change(session.get(ref))
                if body:
                    content_type = JSON_PATCH if isinstance(body, list) else MERGE_PATCH
                    write.send(session, "PATCH", ref.path(), body, content_type=content_type)
                write.say(ref.label, what)


def _revisions(session: Session, deployment: Object) -> dict[int, Object]:
    """The Deployment's ReplicaSets by revision, oldest first."""
    meta = deployment["metadata"]
    owned = [
        each
        for each in session.objects("replicasets.apps", namespace=meta["namespace"])
        if any(ref.get("uid") == meta["uid"] for ref in each["metadata"].get("ownerReferences") or [])
    ]
    numbered = {int(_annotations(each).get(REVISION) or 0): each for each in owned}
    return {number: numbered[number] for number in sorted(numbered) if number}


def _annotations(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def GROUP() -> Any:
    """The `rollout` commands."""
    functions = {each.__name__: each for each in (status, history, undo, restart, pause, resume)}
    return group(functions, name="rollout", help="Follow, list, undo, restart, pause and resume rollouts.")
