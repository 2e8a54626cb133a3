"""`minikctl compose convert|up|down|ps|logs`: what a Compose file describes, on a cluster.

compose/ turns files into manifests; this finds the files, talks to the cluster and waits in the order of `depends_on`
(`compose_up.py`). A project is what carries its label, in the namespace commands act in.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from api.durations import since
from cli.command import group
from cli.errors import CliError
from cli.session import Object, Session
from cli.tables import Columns
from compose.names import NAME, query

Files = Annotated[
    list[str] | None, typer.Argument(metavar="[FILE...]", help="Compose files, the later over the earlier.")
]
ProjectName = Annotated[
    str, typer.Option("--project-name", "-p", help="The project's name, if not the file's or folder's.")
]
Profiles = Annotated[list[str] | None, typer.Option("--profile", help="A profile whose services are wanted, too.")]
EnvFiles = Annotated[list[str] | None, typer.Option("--env-file", help="Variables for the files, instead of .env.")]
Strict = Annotated[bool, typer.Option("--strict", help="What has no counterpart is an error.")]


class Disk:
    """The files that bind mounts, configs and secrets name."""

    def folder(self, path: str) -> Mapping[str, bytes] | None:
        place = Path(path)
        if place.is_file():
            return {place.name: place.read_bytes()}
        if not place.is_dir():
            return None
        inside = sorted(place.iterdir())
        plain = all(each.is_file() and each.stat().st_size < 1 << 20 for each in inside)
        return {each.name: each.read_bytes() for each in inside} if plain and inside else None


def load(files: list[str] | None, project_name: str, profiles: list[str] | None, env_files: list[str] | None) -> Any:
    """The project of the files named, or of those found as Compose finds them. Raises CliError."""
    from compose import project
    from compose.errors import ComposeError

    paths = [str(Path(each).absolute()) for each in files or _found()]
    try:
        loaded = project.load(
            paths,
            read=lambda path: Path(path).read_text("utf-8-sig"),
            environment=os.environ,
            name=project_name,
            profiles=profiles or [],
            env_files=[str(Path(each).absolute()) for each in env_files or []],
        )
    except ComposeError as error:
        raise CliError(str(error)) from None
    for warning in loaded.warnings:
        print(f"Warning: {warning}", file=sys.stderr)
    return loaded


def _found() -> list[str]:
    from compose.project import FILES, OVERRIDES

    if given := os.environ.get("COMPOSE_FILE"):
        return given.split(os.environ.get("COMPOSE_PATH_SEPARATOR", ":"))
    for folder in (Path.cwd(), *Path.cwd().parents):
        if main := next((folder / each for each in FILES if (folder / each).is_file()), None):
            over = next((folder / each for each in OVERRIDES if (folder / each).is_file()), None)
            return [str(main), *([str(over)] if over else [])]
    raise CliError(f"no configuration file here: name one, or have one of {', '.join(FILES)}")


def converted(loaded: Any, *, waits: bool, strict: bool) -> Any:
    """The manifests; what is not exact is told on stderr. Raises CliError."""
    from compose.convert import convert
    from compose.errors import ComposeError
    from compose.report import EXACT, IGNORED

    try:
        result = convert(loaded, Disk(), waits=waits)
    except ComposeError as error:
        raise CliError(str(error)) from None
    counts: dict[str, int] = {}
    for finding in result.findings:
        counts[finding.grade] = counts.get(finding.grade, 0) + 1
        if finding.grade != EXACT:
            print(finding, file=sys.stderr)
    print(
        f"{loaded.name}: " + ", ".join(f"{count} {grade}" for grade, count in sorted(counts.items())), file=sys.stderr
    )
    if strict and counts.get(IGNORED):
        raise CliError(f"{counts[IGNORED]} keys have no counterpart (--strict)")
    return result


def convert(
    files: Files = None,
    project_name: ProjectName = "",
    profile: Profiles = None,
    env_file: EnvFiles = None,
    strict: Strict = False,
) -> None:
    """Print Compose files as Kubernetes manifests, and what became of each key on stderr.

    minikctl compose convert > shop.yaml; compose convert compose.yaml compose.prod.yaml | kubectl apply -f -
    """
    from compose.render import render

    result = converted(load(files, project_name, profile, env_file), waits=True, strict=strict)
    sys.stdout.write(render(result))


def up(
    session: Session,
    files: Files = None,
    project_name: ProjectName = "",
    profile: Profiles = None,
    env_file: EnvFiles = None,
    strict: Strict = False,
    remove_orphans: Annotated[bool, typer.Option("--remove-orphans", help="Remove what left the file.")] = False,
    timeout: Annotated[str, typer.Option(help="How long to wait for all of it at most.")] = "5m",
) -> None:
    """Bring the services of Compose files up on the cluster, each after those it depends on, and wait for them.

    minikctl compose up; minikctl compose up -n shop compose.yaml compose.prod.yaml
    """
    from cli.compose_up import Up

    loaded = load(files, project_name, profile, env_file)
    Up(session, converted(loaded, waits=False, strict=strict), timeout=timeout).run(remove_orphans=remove_orphans)


def down(
    session: Session,
    files: Files = None,
    project_name: ProjectName = "",
    volumes: Annotated[bool, typer.Option("--volumes", "-v", help="Remove the named volumes, too.")] = False,
    timeout: Annotated[str, typer.Option(help="How long to wait at most.")] = "2m",
) -> None:
    """Remove what `up` made, and wait until it is gone. Named volumes stay, unless -v is given."""
    from cli.compose_up import remove

    remove(session, _name(files, project_name), volumes=volumes, timeout=timeout)


def _name(files: list[str] | None, project_name: str) -> str:
    return project_name if project_name and not files else str(load(files, project_name, None, None).name)


def ps(session: Session, files: Files = None, project_name: ProjectName = "") -> None:
    """List the containers of the project."""
    project = _name(files, project_name)
    ports = _published(session, project)
    rows = [["NAME", "IMAGE", "SERVICE", "CREATED", "STATUS", "NODE", "PORTS"]]
    for pod in session.objects("pods", labelSelector=query(project)):
        service = pod["metadata"]["labels"].get(NAME, "")
        created = since(pod["metadata"]["creationTimestamp"])
        image, node = pod["spec"]["containers"][0]["image"], pod["spec"].get("nodeName", "")
        name = pod["metadata"]["name"]
        rows.append([name, image, service, created, _status(pod), node, ", ".join(ports.get(service, []))])
    print("\n".join(Columns().render(rows)))


def _status(pod: Object) -> str:
    """`running (healthy)`, `exited (0)`, `waiting: ImagePullBackOff`: Docker's words for a pod's container."""
    found = ((pod.get("status") or {}).get("containerStatuses") or [{}])[0]
    state = found.get("state") or {}
    if ended := state.get("terminated"):
        return f"exited ({ended.get('exitCode')})"
    if "running" in state:
        probed = "readinessProbe" in pod["spec"]["containers"][0]
        return "running" + (f" ({'healthy' if found.get('ready') else 'unhealthy'})" if probed else "")
    return f"waiting: {(state.get('waiting') or {}).get('reason') or pod.get('status', {}).get('phase')}"


def _published(session: Session, project: str) -> dict[str, list[str]]:
    """Service -> what is published, as Compose shows it: `0.0.0.0:8080->80/tcp`."""
    found: dict[str, list[str]] = {}
    for service in session.objects("services", labelSelector=query(project)):
        name, spec = service["metadata"]["labels"].get(NAME, ""), service["spec"]
        for port in spec.get("ports") or [] if spec.get("type") in ("NodePort", "LoadBalancer") else []:
            outside = port["port"] if spec["type"] == "LoadBalancer" else port.get("nodePort")
            found.setdefault(name, []).append(f"0.0.0.0:{outside}->{port['targetPort']}/{port['protocol'].lower()}")
    return found


def logs(
    session: Session,
    files: Files = None,
    project_name: ProjectName = "",
    service: Annotated[list[str] | None, typer.Option("--service", help="Only this service; may be repeated.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as more is written.")] = False,
    tail: Annotated[int, typer.Option(help="Only so many lines from the end; -1 is all.")] = -1,
    timestamps: Annotated[bool, typer.Option("--timestamps", "-t", help="Put the time before each line.")] = False,
) -> None:
    """Show what the containers of the project wrote."""
    from cli.logs import Source, show, sources_of

    project = _name(files, project_name)
    sources: list[Source] = []
    for name in service or [""]:
        for pod in session.objects("pods", labelSelector=query(project, name)):
            ref = replace(session.ref("pods", pod["metadata"]["name"]), obj=pod)
            sources += sources_of(ref, "", every=False)
    params = {"tailLines": str(tail)} if tail >= 0 else {}
    params |= {name: "true" for name, on in (("follow", follow), ("timestamps", timestamps)) if on}
    show(session, sources, params, prefix=True)


def GROUP() -> Any:
    """The `compose` commands."""
    functions: dict[str, Callable[..., None]] = {"convert": convert, "up": up, "down": down, "ps": ps, "logs": logs}
    return group(functions, name="compose", help="Compose files on a cluster: convert them, run them.")
