"""`minikctl timeline`: the story of an object and all that belongs to it, from the history a lab records."""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime
from typing import Annotated, Any

import typer

from cli import labs, objects
from cli.command import Chosen
from cli.errors import CliError
from cli.session import Session
from cli.tables import Columns
from cli.wait import seconds

TITLES = ["TIME", "ABOUT", "WRITER", "WHAT"]
LOOK_SECONDS = 0.5
"""How often a followed history is looked at: a file tells nobody that it grew."""


def timeline(
    session: Session,
    chosen: Chosen,
    since: Annotated[str, typer.Option(help="Only what happened in the last 10m, 90s, ...")] = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on as more happens.")] = False,
    output: Annotated[str, typer.Option("--output", "-o", metavar="json", help="A JSON object a line.")] = "",
) -> None:
    """Tell what happened to an object, what it owns, its endpoints and nodes: when, what, and who did it.

    minikctl timeline deploy/web; timeline pod/web-1 --since 5m; timeline node/node-1 -w
    """
    if output not in ("", "json"):
        raise CliError(f"--output is json or nothing, not {output}")
    ref = objects.one(session, chosen)
    first = time.time() - seconds(since) if since else 0.0
    told: set[tuple[float, str, str]] = set()
    columns = Columns()
    if not output:
        print("\n".join(columns.render([TITLES])))
    while True:
        for line in _story(ref.kind.kind, ref.namespace, ref.name):
            key = (line.at, line.about, line.text)
            if line.at < first or key in told:
                continue
            told.add(key)
            print(json.dumps(line.as_dict()) if output else "\n".join(columns.render([_row(line)])))
        if not told and not watch:
            print(f"nothing is recorded of {ref.label}", file=sys.stderr)
        if not watch:
            return
        sys.stdout.flush()
        time.sleep(LOOK_SECONDS)


def _story(kind: str, namespace: str, name: str) -> list[Any]:
    from lab import recorder
    from workshop.history.related import related
    from workshop.history.store import History
    from workshop.history.story import about, tell

    lab = labs.lab_name()
    path = recorder.history(lab)
    if not path.exists():
        raise CliError(f"there is no history: it is recorded in labs, and there is no lab {lab}")
    history = History(path)
    revisions = related(history, kind, namespace, name)
    history.close()
    nodes = {about(each) for each in revisions if each.kind == "Node"}
    begins = revisions[0].at if revisions else 0.0
    faults = [each for each in recorder.faults(lab) if f"node/{each['host']}" in nodes and each["at"] >= begins]
    return tell(revisions, faults)


def _row(line: Any) -> list[str]:
    clock = datetime.fromtimestamp(line.at).strftime("%H:%M:%S.%f")[:-3]
    return [clock, line.about, line.writer, line.text]
