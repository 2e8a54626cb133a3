"""What is read of a Compose file is what `docker compose config` reads of it: ten files of the kinds people have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from compose.project import FILES, OVERRIDES, Project, load

FILES_FOLDER = Path(__file__).parent / "files"
KINDS = sorted(each.name for each in FILES_FOLDER.iterdir())
ENVIRONMENT = {"GRAFANA_PASSWORD": "hidden", "EXPORTED": "yes", "HOME": "/root", "FROM_SHELL": "here"}
ORACLE = Path(sys.executable).with_name("docker-compose")


def named(folder: Path) -> list[str]:
    return [str(folder / each) for names in (FILES, OVERRIDES) for each in names if (folder / each).exists()]


def project(files: list[str], environment: dict[str, str], **options: Any) -> Project:
    return load(files, read=lambda path: Path(path).read_text(), environment=environment, **options)


def oracle(files: list[str], environment: dict[str, str], *options: str) -> dict[str, Any]:
    """The same by Docker Compose."""
    arguments = [each for file in files for each in ("-f", file)]
    command = [str(ORACLE), *arguments, *options, "config", "--format", "json"]
    env = {"PATH": os.environ["PATH"], **environment}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def compared(found: Project) -> dict[str, Any]:
    """A document without what only one of the two writes down."""
    document = json.loads(json.dumps(found.document))
    for section in ("networks", "volumes", "configs", "secrets"):
        for each in document.get(section, {}).values():
            if not each.get("external"):
                each.pop("name", None)
            each.pop("ipam", None)
    for each in document.get("jobs", {}).values():
        each.pop("name", None)
    document.pop("name", None), document.pop("version", None)
    return _without_empty(document)


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = sorted({*ours, *theirs})
        return [text for key in keys for text in differences(ours.get(key), theirs.get(key), f"{path}.{key}")]
    return [] if ours == theirs else [f"{path}: {ours!r}, by docker compose {theirs!r}"]


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _without_empty(each) for key, each in value.items()}
        kept = {key: each for key, each in kept.items() if not key.startswith("x-") and key != "develop"}
        return {key: each for key, each in kept.items() if each not in (None, {}, [], False)}
    return [_without_empty(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_read_as_docker_compose_reads_it(kind: str, tmp_path: Path) -> None:
    files = named(FILES_FOLDER / kind)
    ours = project(files, ENVIRONMENT)
    theirs = oracle(files, ENVIRONMENT)
    (tmp_path / "theirs.json").write_text(json.dumps(theirs))
    again = project([str(tmp_path / "theirs.json")], {})
    assert ours.name == again.name
    assert differences(compared(ours), compared(again)) == []
