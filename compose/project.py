"""From Compose files to one Project: what `docker compose config` prints, with lines. Reads files through `read` alone.

load(files, ...) -> Project     raises ComposeError
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from compose import canonical, merge, schema
from compose.document import Map, Mark, mapped, read
from compose.errors import ComposeError
from compose.interpolate import interpolate, variables_of

Read = Callable[[str], str]
"""The text of a file by its absolute path. Raises FileNotFoundError."""

SECTIONS = ("services", "jobs", "networks", "volumes", "secrets", "configs", "models")
FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
OVERRIDES = tuple(each.replace(".y", ".override.y") for each in FILES)
"""What is read when no file is named: the first of FILES, and the first of OVERRIDES over it."""


@dataclass
class Project:
    """Services and what they use, in canonical form (canonical.py), profiles chosen, variables replaced."""

    name: str
    directory: str
    document: Map
    variables: Mapping[str, str]
    warnings: list[str] = field(default_factory=list)

    def section(self, name: str) -> Map:
        found = self.document.get(name)
        return found if isinstance(found, Map) else Map()

    @property
    def services(self) -> Map:
        return self.section("services")

    def workloads(self) -> Iterator[tuple[str, Map]]:
        """The services and the jobs: what has containers."""
        yield from self.services.items()
        yield from self.section("jobs").items()


def load(
    files: Sequence[str],
    *,
    read: Read,
    environment: Mapping[str, str],
    name: str = "",
    profiles: Sequence[str] = (),
    env_files: Sequence[str] = (),
) -> Project:
    """The project of these files (absolute paths), the later over the earlier. Raises ComposeError."""
    directory = posixpath.dirname(files[0])
    loader = _Loader(read, directory)
    variables = loader.variables(env_files, directory, environment)
    name = name or variables.get("COMPOSE_PROJECT_NAME", "") or loader.name(files, variables)
    name = project_name(name or posixpath.basename(directory))
    variables = {**variables, "COMPOSE_PROJECT_NAME": name}
    document = loader.files(files, directory, variables)
    chosen = {*profiles} or {each for each in variables.get("COMPOSE_PROFILES", "").split(",") if each}
    project = Project(name, directory, document, variables, loader.warnings)
    _choose(project, chosen)
    for _, workload in project.workloads():
        loader.environment_of(workload, variables)
    _keep_used(project)
    return project


def project_name(text: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "", text.lower()).lstrip("_-") or "project"


class _Loader:
    def __init__(self, read: Read, root: str) -> None:
        self._read, self._root = read, root
        self.warnings: list[str] = []

    def shown(self, path: str) -> str:
        """A file as findings and errors name it."""
        return path.removeprefix(f"{self._root}/")

    def text(self, path: str) -> str:
        try:
            return self._read(path)
        except FileNotFoundError:
            raise ComposeError(f"{path}: no such file") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ComposeError(f"{path}: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}") from None

    def variables(self, files: Sequence[str], directory: str, around: Mapping[str, str]) -> dict[str, str]:
        """The .env files' variables, and those around, which count more."""
        found: dict[str, str] = {}
        for path in files or [posixpath.join(directory, ".env")]:
            try:
                text = self.text(path)
            except ComposeError:
                if files:
                    raise
                continue
            found |= variables_of(text, {**found, **around}, file=path)
        return {**found, **around}

    def name(self, files: Sequence[str], variables: Mapping[str, str]) -> str:
        """What the last file that has a `name` says."""
        names = [document.get("name") for file in files for document in read(self.text(file), self.shown(file))]
        return next((interpolate(str(each), variables) for each in reversed(names) if each), "")

    def files(self, files: Sequence[str], directory: str, variables: Mapping[str, str]) -> Map:
        result = Map()
        for file in files:
            for document in self._documents(file, variables):
                own = canonical.document(document, directory)
                included = self._included(own, directory, variables)
                for section in ("services", "jobs"):
                    known = own.get(section) or Map()
                    for name in list(known):
                        known[name] = self._extended(own, section, name, directory, variables, ())
                result = merge.documents(merge.documents(result, included), own)
        return result

    def _documents(self, file: str, variables: Mapping[str, str]) -> list[Map]:
        """A file's documents, variables replaced, fit by the schema."""
        shown = self.shown(file)
        return [self._prepared(document, shown, variables) for document in read(self.text(file), shown)]

    def _prepared(self, document: Map, file: str, variables: Mapping[str, str]) -> Map:
        def change(text: str, mark: Mark) -> str:
            try:
                return interpolate(text, variables, lambda name: self._missing(name))
            except ComposeError as error:
                raise ComposeError(f"{mark}: {error}") from None

        document = mapped(document, change)
        schema.check(document, file)
        return document

    def _missing(self, name: str) -> None:
        text = f'The "{name}" variable is not set. Defaulting to a blank string.'
        if text not in self.warnings:
            self.warnings.append(text)

    def _included(self, document: Map, directory: str, variables: Mapping[str, str]) -> Map:
        """What `include` brings: projects of their own folder and .env."""
        result = Map()
        for each in document.pop("include", None) or []:
            entry = each if isinstance(each, Map) else Map({"path": each})
            paths = entry["path"] if isinstance(entry["path"], list) else [entry["path"]]
            paths = [posixpath.normpath(posixpath.join(directory, str(path))) for path in paths]
            own = entry.get("project_directory")
            folder = posixpath.normpath(posixpath.join(directory, own)) if own else posixpath.dirname(paths[0])
            given = entry.get("env_file") or []
            env = [posixpath.join(directory, path) for path in (given if isinstance(given, list) else [given])]
            found = self.files(paths, folder, self.variables(env, folder, variables))
            for section in SECTIONS:
                known = document.get(section) or Map()
                if twice := [key for key in found.get(section) or {} if key in (result.get(section) or {})]:
                    raise ComposeError(f"{paths[0]}: {section}.{twice[0]} is included twice")
                if twice := [key for key in found.get(section) or {} if key in known and section == "services"]:
                    raise ComposeError(f"{known.mark(twice[0])}: services.{twice[0]} conflicts with an included one")
            found.pop("name", None)
            result = merge.documents(result, found)
        return result

    def _extended(
        self,
        document: Map,
        section: str,
        name: str,
        directory: str,
        variables: Mapping[str, str],
        seen: tuple[str, ...],
    ) -> Any:
        """A service or job with what it extends below it."""
        services = document.get(section) or Map()
        service = services[name]
        if not isinstance(service, Map) or not (extends := service.get("extends")):
            return service
        base, file = extends["service"], extends.get("file", "")
        if (key := f"{file}:{base}") in seen:
            raise ComposeError(f"{services.mark(name)}: {section}.{name}: circular extends")
        where = directory
        if file:
            where = posixpath.dirname(file)
            document = Map()
            for each in self._documents(file, variables):
                document = merge.documents(document, canonical.document(each, where))
        if base not in (document.get(section) or {}):
            raise ComposeError(f"{services.mark(name)}: {section}.{name} extends {base}, which is not there")
        under = self._extended(document, section, base, where, variables, (*seen, key))
        rest = Map({key: value for key, value in service.items() if key != "extends"}, marks=service.marks)
        under = Map({k: v for k, v in under.items() if k != "extends"}, marks=under.marks)
        return merge.merged(under, rest)

    def environment_of(self, service: Map, variables: Mapping[str, str]) -> None:
        """Put env_file and label_file into the service, and the caller's values where only names are given."""
        found: dict[str, str] = {}
        mark = service.mark("env_file")
        for entry in service.pop("env_file", None) or []:
            try:
                text = self.text(entry["path"])
            except ComposeError as error:
                if entry.get("required", True) in (False, "false"):
                    continue
                raise ComposeError(f"{mark}: env file {error}") from None
            raw = entry.get("format") == "raw"
            found |= variables_of(text, {**found, **variables}, file=entry["path"], raw=raw)
        own = service.get("environment") or Map()
        filled = {key: variables.get(key) if value is None else value for key, value in own.items()}
        if found or own:
            marks = {**dict.fromkeys(found, mark), **own.marks}
            kept = {key: value for key, value in {**found, **filled}.items() if value is not None}
            service["environment"] = Map(kept, marks=marks)
        args = (service.get("build") or {}).get("args") or Map()
        args.update({key: variables.get(key) for key, value in args.items() if value is None})
        for path in service.pop("label_file", None) or []:
            labels = variables_of(self.text(path), variables, file=path)
            service["labels"] = Map({**labels, **(service.get("labels") or {})})


def _choose(project: Project, profiles: set[str]) -> None:
    """Leave only the services of no profile or a chosen one; complete their dependencies and networks."""
    services = project.services
    for section in (services, project.section("jobs")):
        for name, service in list(section.items()):
            wanted = set(service.get("profiles") or [])
            if wanted and "*" not in profiles and not wanted & profiles:
                del section[name]
    for name, service in project.workloads():
        _depend(service)
        for other, how in list((service.get("depends_on") or {}).items()):
            if other in services:
                continue
            if how.get("required", True):
                raise ComposeError(f'{services.mark(name)}: service "{name}" depends on undefined service "{other}"')
            del service["depends_on"][other]
        if "scale" in service:
            service.setdefault("deploy", Map())["replicas"] = service["scale"]
        if "network_mode" not in service and not service.get("networks"):
            service["networks"] = Map({"default": None})
        if not service.get("image") and "build" not in service and "provider" not in service:
            raise ComposeError(f'{services.mark(name)}: service "{name}" has neither an image nor a build context')


def _depend(service: Map) -> None:
    """What needs another service waits for it, said or not: links, shared namespaces and volumes."""
    needed = [link.partition(":")[0] for link in service.get("links") or []]
    needed += [
        each.partition(":")[0] for each in service.get("volumes_from") or [] if not each.startswith("container:")
    ]
    modes = [str(service.get(key) or "") for key in ("network_mode", "ipc", "pid")]
    needed += [each.removeprefix("service:") for each in modes if each.startswith("service:")]
    for each in needed:
        depends = service.setdefault("depends_on", Map())
        if each not in depends:
            depends[each] = Map({"condition": "service_started", "restart": True, "required": True})


def _keep_used(project: Project) -> None:
    """Leave out what no service uses, and complain of what is used and not there."""
    used: dict[str, dict[str, Mark]] = {section: {} for section in ("networks", "volumes", "secrets", "configs")}
    for _, service in project.workloads():
        used["networks"] |= {name: service.mark("networks") for name in service.get("networks") or {}}
        mounts = [each for each in service.get("volumes") or [] if each.get("type") == "volume" and each.get("source")]
        used["volumes"] |= {each["source"]: service.mark("volumes") for each in mounts}
        for section in ("secrets", "configs"):
            used[section] |= {each["source"]: service.mark(section) for each in service.get(section) or []}
    for section, names in used.items():
        known = project.section(section)
        for name, mark in names.items():
            if name not in known and not (section == "networks" and name == "default"):
                raise ComposeError(f"{mark}: undefined {section.removesuffix('s')} {name}")
        kept = {name: known.get(name) or Map() for name in [*known, *names] if name in names}
        project.document[section] = Map(kept, marks=known.marks)
