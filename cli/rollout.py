"""`minikctl rollout`: follow, list, undo, restart, pause and resume the rollouts of Deployments."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from cli import completion
from cli.apply import DRY_RUN_NOTES, DryRun
from cli.arguments import targets
from cli.cluster import JSON_PATCH, MERGE_PATCH, Cluster, Object
from cli.command import cluster as connect
from cli.command import group
from cli.discovery import Kind
from cli.errors import CliError, raise_failures
from cli.waiting import deadline, existing, wait_for

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

Names = Annotated[
    list[str] | None, typer.Argument(metavar="NAME | deployment/NAME...", autocompletion=completion.scalable)
]
Selector = Annotated[str, typer.Option("--selector", "-l", help="Deployments with these labels.")]


def status(
    resources: Names = None,
    watch: Annotated[bool, typer.Option("--watch/--no-watch", "-w", help="Follow until it is done.")] = True,
    timeout: Annotated[str, typer.Option(help="How long to follow at most; 0s follows to the end.")] = "0s",
    revision: Annotated[int, typer.Option(help="Stop when another revision than this is rolled out.")] = 0,
    selector: Selector = "",
) -> None:
    """Follow a rollout until it is done."""
    cluster = connect()
    for kind, name in _deployments(cluster, resources, selector):
        _follow(cluster, kind, name, watch=watch, ends=deadline(timeout), revision=revision)


def _follow(cluster: Cluster, kind: Kind, name: str, *, watch: bool, ends: float, revision: int) -> None:
    said = ""

    def done(obj: Object | None) -> bool:
        nonlocal said
        text, finished = progress(existing(obj, kind, name), revision=revision)
        if text != said:
            print(text, flush=True)
            said = text
        return finished or not watch

    wait_for(cluster, kind, name, done, ends=ends)


def progress(deployment: Object, *, revision: int = 0) -> tuple[str, bool]:
    """How far a rollout is, in a line, and whether it is done. Raises CliError when it has failed. Pure."""
    meta, spec, state = deployment["metadata"], deployment["spec"], deployment.get("status") or {}
    name, wanted = meta["name"], spec.get("replicas", 1)
    current = int((meta.get("annotations") or {}).get(REVISION) or 0)
    if revision and current and revision != current:
        raise CliError(f"desired revision ({revision}) is different from the running revision ({current})")
    if meta.get("generation", 0) > state.get("observedGeneration", 0):
        return "Waiting for deployment spec update to be observed...", False
    conditions = state.get("conditions") or []
    if any(each["type"] == "Progressing" and each.get("reason") == "ProgressDeadlineExceeded" for each in conditions):
        raise CliError(f'deployment "{name}" exceeded its progress deadline')
    updated, total = state.get("updatedReplicas", 0), state.get("replicas", 0)
    available = state.get("availableReplicas", 0)
    waiting = f'Waiting for deployment "{name}" rollout to finish:'
    if updated < wanted:
        return f"{waiting} {updated} out of {wanted} new replicas have been updated...", False
    if total > updated:
        return f"{waiting} {total - updated} old replicas are pending termination...", False
    if available < updated:
        return f"{waiting} {available} of {updated} updated replicas are available...", False
    return f'deployment "{name}" successfully rolled out', True


def history(
    resources: Names = None,
    revision: Annotated[int, typer.Option(help="Show this revision's pod template.")] = 0,
    selector: Selector = "",
) -> None:
    """List the revisions of a Deployment."""
    cluster = connect()
    for kind, name in _deployments(cluster, resources, selector):
        deployment = cluster.get(kind, name)
        revisions = _revisions(cluster, deployment)
        if revision:
            _print_revision(kind, name, revisions, revision)
            continue
        rows = [["REVISION", "CHANGE-CAUSE"]]
        rows += [[str(number), _annotations(each).get(CHANGE_CAUSE) or "<none>"] for number, each in revisions.items()]
        width = max(len(row[0]) for row in rows) + 2
        print(f"{kind.qualified_kind}/{name} ")
        print("".join(f"{number:<{width}}{cause}\n" for number, cause in rows))


def _print_revision(kind: Kind, name: str, revisions: dict[int, Object], revision: int) -> None:
    from cli.describe_pod import template_lines
    from cli.layout import tabulate

    if revision not in revisions:
        raise CliError(f"unable to find the specified revision: {revision}")
    print(f"{kind.qualified_kind}/{name} with revision #{revision}")
    sys.stdout.write(tabulate(template_lines(revisions[revision]["spec"]["template"])))


def undo(
    resources: Names = None,
    to_revision: Annotated[int, typer.Option(help="The revision to go back to; 0 is the one before.")] = 0,
    dry_run: DryRun = "none",
    selector: Selector = "",
) -> None:
    """Go back to an earlier revision."""

    def roll_back(cluster: Cluster, kind: Kind, deployment: Object) -> str:
        if deployment["spec"].get("paused"):
            raise CliError(
                "you cannot rollback a paused deployment; resume it first with 'minikctl rollout resume' and try again"
            )
        number, source = _revision_to_restore(_revisions(cluster, deployment), deployment, to_revision)
        template = restored_template(source)
        if template == restored_template(deployment):
            return f"skipped rollback (current template already matches revision {number})"
        kept = {key: value for key, value in _annotations(deployment).items() if key in NOT_RESTORED}
        back = {key: value for key, value in _annotations(source).items() if key not in NOT_RESTORED}
        body = [
            {"op": "replace", "path": "/spec/template", "value": template},
            {"op": "add", "path": "/metadata/annotations", "value": {**kept, **back}},
        ]
        _patch(cluster, kind, deployment, body, content_type=JSON_PATCH, dry_run=dry_run)
        return "rolled back"

    _each(resources, selector, roll_back, dry_run=dry_run)


def restored_template(owner: Object) -> Object:
    """The pod template without the label that tells ReplicaSets of a Deployment apart. Pure."""
    template: Object = owner["spec"]["template"]
    meta = template.get("metadata") or {}
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key != HASH}
    return {**template, "metadata": {**meta, "labels": labels}}


def _revision_to_restore(revisions: dict[int, Object], deployment: Object, wanted: int) -> tuple[int, Object]:
    name = deployment["metadata"]["name"]
    if wanted < 0:
        raise CliError(f"revision number must be positive: {wanted}")
    if wanted:
        if wanted not in revisions:
            raise CliError(f"unable to find specified revision {wanted} in history")
        return wanted, revisions[wanted]
    if len(revisions) < 2:
        raise CliError(f'no rollout history found for deployment "{name}"')
    number = sorted(revisions)[-2]
    return number, revisions[number]


def restart(resources: Names = None, dry_run: DryRun = "none", selector: Selector = "") -> None:
    """Replace all pods, by a rollout that changes nothing but a timestamp."""

    def start_again(cluster: Cluster, kind: Kind, deployment: Object) -> str:
        name = deployment["metadata"]["name"]
        if deployment["spec"].get("paused"):
            raise CliError(f'{kind.qualified} "{name}" can\'t restart paused deployment (run rollout resume first)')
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        body = {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: now}}}}}
        _patch(cluster, kind, deployment, body, dry_run=dry_run)
        return "restarted"

    _each(resources, selector, start_again, dry_run=dry_run)


def pause(resources: Names = None, dry_run: DryRun = "none", selector: Selector = "") -> None:
    """Stop acting on changes of the pod template."""

    def hold(cluster: Cluster, kind: Kind, deployment: Object) -> str:
        if deployment["spec"].get("paused"):
            raise CliError(f'{kind.qualified} "{deployment["metadata"]["name"]}" is already paused')
        _patch(cluster, kind, deployment, {"spec": {"paused": True}}, dry_run=dry_run)
        return "paused"

    _each(resources, selector, hold, dry_run=dry_run)


def resume(resources: Names = None, dry_run: DryRun = "none", selector: Selector = "") -> None:
    """Act on changes of the pod template again."""

    def go_on(cluster: Cluster, kind: Kind, deployment: Object) -> str:
        if not deployment["spec"].get("paused"):
            raise CliError(f'{kind.qualified} "{deployment["metadata"]["name"]}" is not paused')
        _patch(cluster, kind, deployment, {"spec": {"paused": None}}, dry_run=dry_run)
        return "resumed"

    _each(resources, selector, go_on, dry_run=dry_run)


def _patch(
    cluster: Cluster, kind: Kind, deployment: Object, body: Any, *, content_type: str = MERGE_PATCH, dry_run: str
) -> None:
    if dry_run == "client":
        return
    meta = deployment["metadata"]
    path = cluster.path(kind, meta["name"], namespace=meta["namespace"])
    params = {"fieldManager": "kubectl-rollout"} | ({"dryRun": "All"} if dry_run == "server" else {})
    cluster.call("PATCH", path, params=params, body=body, content_type=content_type)


def _each(
    resources: list[str] | None, selector: str, act: Callable[[Cluster, Kind, Object], str], *, dry_run: str
) -> None:
    """Do something to every Deployment named, and say what was done to each."""
    if dry_run not in DRY_RUN_NOTES:
        raise CliError(f'Invalid dry-run value ({dry_run}). Must be "none", "server", or "client".')
    cluster = connect()
    failures: list[CliError] = []
    for kind, name in _deployments(cluster, resources, selector):
        try:
            what = act(cluster, kind, cluster.get(kind, name))
            print(f"{kind.qualified_kind}/{name} {what}{DRY_RUN_NOTES[dry_run]}", flush=True)
        except CliError as error:
            failures.append(error)
    raise_failures(failures)


def _deployments(cluster: Cluster, resources: list[str] | None, selector: str) -> list[tuple[Kind, str]]:
    """The Deployments meant: `web`, `deployment/web`, `deploy web`, or all with certain labels."""
    if selector and not resources:
        resources = ["deployments"]
    if not resources:
        raise CliError("required resource not specified")
    if len(resources) == 1 and "/" not in resources[0] and not selector:
        found = cluster.kinds.by_name(resources[0])
        if found is None:
            return [(cluster.resolve("deployments.apps"), resources[0])]
    result: list[tuple[Kind, str]] = []
    for target in targets(cluster, resources):
        if target.kind.qualified != "deployments.apps":
            raise CliError(f"no rollouter has been implemented for {target.kind.qualified_kind}")
        names = target.names or tuple(
            each["metadata"]["name"] for each in cluster.objects(target.kind, labelSelector=selector)
        )
        result += [(target.kind, name) for name in names]
    if not result:
        print(f"No resources found in {cluster.namespace} namespace.", file=sys.stderr)
    return result


def _revisions(cluster: Cluster, deployment: Object) -> dict[int, Object]:
    """The Deployment's ReplicaSets by revision, oldest first."""
    uid = deployment["metadata"]["uid"]
    sets = cluster.objects(cluster.resolve("replicasets.apps"), namespace=deployment["metadata"]["namespace"])
    owned = [
        each
        for each in sets
        if any(ref.get("uid") == uid and ref.get("controller") for ref in each["metadata"].get("ownerReferences") or [])
    ]
    numbered = {int(_annotations(each).get(REVISION) or 0): each for each in owned}
    return {number: numbered[number] for number in sorted(numbered) if number}


def _annotations(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def GROUP() -> Any:
    """The `rollout` commands."""
    functions: dict[str, Callable[..., None]] = {
        "status": status,
        "history": history,
        "undo": undo,
        "restart": restart,
        "pause": pause,
        "resume": resume,
    }
    return group(functions, name="rollout", help="Follow, list, undo, restart, pause and resume rollouts.")
