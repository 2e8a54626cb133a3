"""`minikctl workshop`: exercises on a running lab, graded by what happened.

An exercise lives in a namespace of its own, whose annotations remember how it goes (since when, tries, hints). What is
remembered when it is reset, the best scores, lies in the ConfigMap `scores` of the namespace `workshop`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import labs, manifests
from cli.apply import apply_one
from cli.command import Chosen, Write, group
from cli.errors import CliError, StatusError
from cli.session import GIVEN, MERGE_PATCH, Object, Session
from cli.tables import Columns
from cli.wait import until_gone
from client import kubeconfig
from workshop.exercise import Exercise, load_all

LABEL = "workshop.minik/exercise"
STARTED, TRIES, HINTS = "workshop.minik/started", "workshop.minik/tries", "workshop.minik/hints"
BOOK = "workshop"
SETTLE_SECONDS = 120.0
RECORD_SECONDS = 5.0
"""How long a check waits for the recorder to have seen the present."""

Which = Annotated[str, typer.Argument(metavar="[EXERCISE]", help="Number or id; left out: what is started.")]


def list_exercises(session: Session) -> None:
    """List the exercises and what you have reached in each."""
    best, running = _scores(session), _running(session)
    rows = [["NO", "ID", "TITLE", "MINUTES", "LEVEL", "NODES", "STATE"]]
    for each in load_all():
        state = "started" if each.id in running else ""
        state = f"{best[each.id]['best']} of 100" + (", started" if state else "") if each.id in best else state or "-"
        level = "*" * each.difficulty
        rows.append([str(each.number), each.id, each.title, str(each.minutes), level, str(each.nodes), state])
    print("\n".join(Columns().render(rows)))


def start(session: Session, which: Which = "1") -> None:
    """Set up an exercise and show what to do. Once it is started, just show it again."""
    exercise = _find(which)
    if exercise.id not in _running(session):
        _check_needs(session, exercise)
        _ensure(session, "namespaces", exercise.namespace, labels={LABEL: exercise.id})
        session.namespace = exercise.namespace
        for ref in manifests.load(session, Chosen(filename=[str(exercise.setup)])):
            apply_one(session, ref, Write().params)
        _settle(session, exercise)
        _annotate(session, exercise, {STARTED: f"{time.time():.3f}", TRIES: "0", HINTS: "0"})
    print(exercise.text("task.md").rstrip())
    print(f"\nEverything is in the namespace {exercise.namespace}. To work there from now on:")
    print(f"  kubectl config set-context --current --namespace {exercise.namespace}")


def check(session: Session, which: Which = "") -> None:
    """See how far you are: what is expected, what was seen, and the points. Exit code 1 below 100."""
    exercise = _find(which or _the_running_one(session))
    notes = _notes(session, exercise)
    _annotate(session, exercise, {TRIES: str(int(notes.get(TRIES, 0)) + 1)})
    results = _judge(session, exercise)
    points = sum(each.points for each in results)
    _remember_score(session, exercise, points)
    for each in results:
        print(f"{'ok ' if each.passed else 'NO '} {each.points:>3} of {each.check.points:<3} {each.check.title}")
        if not each.passed:
            print(f"      expected  {each.check.expect}\n      seen      {each.seen}")
    print(f"\n{points} of 100 points")
    if points < 100:
        print(f"minikctl workshop hint {exercise.number}")
        raise typer.Exit(1)
    print(f"\n{exercise.text('debrief.md').rstrip()}")


def hint(session: Session, which: Which = "") -> None:
    """Get the next hint that is due: some come with time, with tries, or while a check fails."""
    exercise = _find(which or _the_running_one(session))
    failing = {each.check.id for each in _judge(session, exercise) if not each.passed}
    if not failing:
        print("Nothing is missing.")
        return
    notes = _notes(session, exercise)
    given, tries = int(notes.get(HINTS, 0)), int(notes.get(TRIES, 0))
    minutes = (time.time() - float(notes[STARTED])) / 60
    for number, each in enumerate(exercise.hints[given:], start=given):
        if each.failing and each.failing not in failing:
            continue
        if tries < each.tries or minutes < each.minutes:
            waits = [f"after {each.tries} checks"] if tries < each.tries else []
            waits += [f"after {each.minutes:g} minutes"] if minutes < each.minutes else []
            print(f"The next hint comes {' and '.join(waits)}.")
            return
        _annotate(session, exercise, {HINTS: str(number + 1)})
        print(each.text.rstrip())
        return
    print(f"There are no more hints. minikctl workshop solution {exercise.number}")


def solution(
    session: Session,
    which: Which = "",
    run: Annotated[bool, typer.Option("--run", help="Do it instead of showing it.")] = False,
) -> None:
    """Show what would solve it."""
    exercise = _find(which or _the_running_one(session))
    if run:
        run_script(exercise.id, exercise.solution)
    else:
        print(exercise.solution.read_text().rstrip())


def run_script(which: Which, script: Path) -> None:
    """Run a script as the student would: in the exercise's namespace, with this minikctl."""
    exercise = _find(which)
    with _kubeconfig_in(exercise.namespace) as config:
        paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        environment = {**os.environ, "KUBECONFIG": config, "PATH": paths, "MINIK_LAB": labs.lab_name()}
        command = ["bash", "-euo", "pipefail", str(script.absolute())]
        done = subprocess.run(command, env=environment, cwd=exercise.folder)
    if done.returncode:
        raise typer.Exit(done.returncode)


def reset(
    session: Session,
    which: Which = "",
    all_: Annotated[bool, typer.Option("--all", help="All exercises, and the scores with them.")] = False,
) -> None:
    """Remove an exercise from the cluster, and mend what was broken for it. The best score stays."""
    running = _running(session)
    wanted = load_all() if all_ else [_find(which or _the_running_one(session))]
    for exercise in wanted:
        if exercise.id in running:
            if exercise.faults:
                _mend(since=float(_notes(session, exercise).get(STARTED, 0)))
            _forget_labels(session, exercise)
            _remove_namespace(session, exercise.namespace)
            print(f"exercise {exercise.number} is removed")
    if all_ and session.find(session.ref("namespaces", BOOK)):
        _remove_namespace(session, BOOK)


def score(session: Session) -> None:
    """Show the points of every exercise."""
    best, exercises = _scores(session), load_all()
    rows = [["NO", "TITLE", "POINTS", "CHECKS RUN"]]
    for each in exercises:
        found = best.get(each.id, {})
        rows.append([str(each.number), each.title, str(found.get("best", "-")), str(found.get("tries", "-"))])
    print("\n".join(Columns().render(rows)))
    print(f"\n{sum(each['best'] for each in best.values())} of {100 * len(exercises)} points")


# Exercises


def _find(which: str) -> Exercise:
    for each in load_all():
        if which in (str(each.number), each.id, each.folder.name):
            return each
    raise CliError(f'there is no exercise "{which}"; see: minikctl workshop list')


def _running(session: Session) -> set[str]:
    found = session.objects("namespaces", labelSelector=LABEL)
    metas = [each["metadata"] for each in found if STARTED in (each["metadata"].get("annotations") or {})]
    return {meta["labels"][LABEL] for meta in metas}


def _the_running_one(session: Session) -> str:
    running = sorted(_running(session))
    if len(running) != 1:
        what = f"several are started ({', '.join(running)})" if running else "none is started"
        raise CliError(f"name the exercise: {what}")
    return running[0]


def _check_needs(session: Session, exercise: Exercise) -> None:
    nodes = [each for each in session.objects("nodes") if _is_ready(each)]
    if len(nodes) < exercise.nodes:
        raise CliError(f"exercise {exercise.number} needs {exercise.nodes} Ready nodes, there are {len(nodes)}")


def _is_ready(node: Object) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"].get("conditions") or [])


def _settle(session: Session, exercise: Exercise) -> None:
    """Wait until the setup is what the exercise starts from."""
    from workshop.checks import holds

    pods, ends = session.resolve("pods"), time.monotonic() + SETTLE_SECONDS
    version = session.list_all(pods)["metadata"]["resourceVersion"]
    while not holds(exercise.settled, _facts(session, exercise, start=time.time()).now()):
        if time.monotonic() > ends:
            raise CliError(f"the setup does not settle; see: kubectl get all -n {exercise.namespace}")
        for _, obj in session.watch_once(pods, version=version, timeoutSeconds="2"):
            version = obj["metadata"]["resourceVersion"]
            break


def _judge(session: Session, exercise: Exercise) -> list[Any]:
    from workshop.checks import judge

    notes = _notes(session, exercise)
    if STARTED not in notes:
        raise CliError(f"exercise {exercise.number} is not started: minikctl workshop start {exercise.number}")
    return judge(exercise, _facts(session, exercise, start=float(notes[STARTED])))


def _facts(session: Session, exercise: Exercise, *, start: float) -> Any:
    from lab import recorder
    from workshop.facts import LISTS, Facts
    from workshop.history.store import History

    name = labs.lab_name()
    live: dict[str, Any] = {kind: session.objects(kind, namespace=exercise.namespace) for kind in LISTS}
    live["nodes"] = session.objects("nodes")
    if not recorder.history(name).exists():
        raise CliError(f"there is no lab {name}: exercises are graded by the history a lab keeps")
    history = History(recorder.history(name))
    _until_recorded(session, history)
    of_it = history.revisions("namespace = ? OR (namespace = '' AND kind = 'Node')", exercise.namespace)
    return Facts(live=live, history=list(of_it), faults=recorder.faults(name), start=start, at=time.time())


def _until_recorded(session: Session, history: Any) -> None:
    """Wait until the recorder has seen what is done by now: it is some tenths of a second behind."""
    _ensure(session, "namespaces", BOOK, labels={})
    path = session.ref("namespaces", BOOK).path()
    note = {"metadata": {"annotations": {"workshop.minik/looked": f"{time.time():.6f}"}}}
    marked = session.call("PATCH", path, body=note, content_type=MERGE_PATCH)["metadata"]
    ends = time.monotonic() + RECORD_SECONDS
    while not any(history.revisions("uid = ? AND version = ?", marked["uid"], marked["resourceVersion"])):
        if time.monotonic() > ends:
            print("the recorder is behind: what happened last may be missing", file=sys.stderr)
            return
        time.sleep(0.05)  # a file tells nobody that it grew


@contextmanager
def _kubeconfig_in(namespace: str) -> Iterator[str]:
    """The way to this cluster as a file whose current namespace is the one given."""
    merged = kubeconfig.read(GIVEN.get("kubeconfig"))
    current = GIVEN.get("context") or merged["current-context"]
    content: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "current-context": current}
    for kind in ("cluster", "user", "context"):
        content[f"{kind}s"] = [{"name": name, kind: entry} for name, entry in merged[f"{kind}s"].items()]
    for each in content["contexts"]:
        each["context"] = {**each["context"], "namespace": namespace}
    with tempfile.NamedTemporaryFile("w", suffix=".kubeconfig") as file:
        json.dump(content, file)
        file.flush()
        yield file.name


# What is remembered


def _ensure(session: Session, kind: str, name: str, namespace: str = "", *, labels: dict[str, str]) -> None:
    found = session.resolve(kind)
    meta = {"name": name, "labels": labels}
    try:
        session.call("POST", found.path(namespace), body={"kind": found.kind, "metadata": meta})
    except StatusError as error:
        if error.reason != "AlreadyExists":
            raise


def _remove_namespace(session: Session, name: str) -> None:
    ref = session.ref("namespaces", name)
    gone = session.call("DELETE", ref.path())
    until_gone(session, ref, uid=gone["metadata"].get("uid", ""))


def _notes(session: Session, exercise: Exercise) -> dict[str, str]:
    found = session.find(session.ref("namespaces", exercise.namespace))
    return (found["metadata"].get("annotations") or {}) if found else {}


def _annotate(session: Session, exercise: Exercise, notes: dict[str, str]) -> None:
    path = session.ref("namespaces", exercise.namespace).path()
    session.call("PATCH", path, body={"metadata": {"annotations": notes}}, content_type=MERGE_PATCH)


def _scores(session: Session) -> dict[str, Any]:
    found = session.find(session.ref("configmaps", "scores", BOOK))
    return {key: json.loads(value) for key, value in ((found or {}).get("data") or {}).items()}


def _remember_score(session: Session, exercise: Exercise, points: int) -> None:
    before = _scores(session).get(exercise.id, {"best": 0, "tries": 0})
    entry = {"best": max(points, before["best"]), "tries": before["tries"] + 1}
    _ensure(session, "namespaces", BOOK, labels={})
    _ensure(session, "configmaps", "scores", BOOK, labels={})
    path = session.ref("configmaps", "scores", BOOK).path()
    session.call("PATCH", path, body={"data": {exercise.id: json.dumps(entry)}}, content_type=MERGE_PATCH)


def _forget_labels(session: Session, exercise: Exercise) -> None:
    """Take off the nodes what the exercise had put there."""
    for node in session.objects("nodes") if exercise.node_labels else []:
        if any(each in (node["metadata"].get("labels") or {}) for each in exercise.node_labels):
            path = session.ref("nodes", node["metadata"]["name"]).path()
            none = {"metadata": {"labels": dict.fromkeys(exercise.node_labels)}}
            session.call("PATCH", path, body=none, content_type=MERGE_PATCH)


def _mend(*, since: float) -> None:
    """Put plugs and cables back that were pulled since the start."""
    from lab import recorder

    lab = labs.lab("")
    touched = {each["host"] for each in recorder.faults(lab.name) if each["at"] >= since}
    with labs.told():
        for host in lab.status():
            if host.name in touched and host.state == "stopped":
                lab.start(host.name)
            elif host.name in touched and host.state != "running":
                lab.heal(host.name)


def GROUP() -> Any:
    """The `workshop` commands."""
    functions: dict[str, Callable[..., None]] = {"list": list_exercises, "start": start, "check": check, "hint": hint}
    functions |= {"solution": solution, "run": run_script, "reset": reset, "score": score}
    return group(functions, name="workshop", help="Exercises on this lab, graded by what happened.")
