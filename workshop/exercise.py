"""An exercise as it lies in its folder: `workshop/exercises/NN-name/`.

    exercise.yaml    what it is about, when its setup has settled, and the checks with their points
    task.md          what to do            debrief.md     what it was about, to read afterwards
    setup/           manifests, applied into the exercise's namespace
    solution/        solve.sh, what a good student types
    mutants/         NAME.sh, what others type; the line `# fails: CHECK, ...` says which checks see through it

Every script runs in the exercise's namespace. Fields of exercise.yaml that are not known here are errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

FOLDER = Path(__file__).parent / "exercises"
PREFIX = "ws-"
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Check(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Something that has to be so, or has to have happened. All but `always` are expressions about now (checks.py).

    `always` has to hold at every recorded revision from the first one on for which `since` holds, and up to the first
    one after it for which `until` does. `needs` names checks that come first: there is nothing to judge before.
    """

    id: str
    points: int
    title: str
    expect: str
    seen: str
    holds: str = "true"
    always: str = ""
    since: str = "true"
    until: str = "false"
    needs: list[str] = []


class Hint(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Given after so many tries or minutes, and while a check fails; at once if nothing is said."""

    text: str
    tries: int = 0
    minutes: float = 0
    failing: str = ""


class Exercise(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    id: str
    title: str
    objectives: list[str]
    concepts: list[str]
    minutes: int
    difficulty: int
    """1 to 3."""
    nodes: int = 1
    """How many Ready nodes it needs."""
    node_labels: list[str] = []
    """Labels its solution puts on nodes; a reset takes them off."""
    faults: bool = False
    """Whether it breaks hosts, so that nothing else goes on beside it."""
    settled: str
    checks: list[Check]
    hints: list[Hint]
    number: int = 0
    folder: Path = FOLDER

    @property
    def namespace(self) -> str:
        return PREFIX + self.id

    @property
    def setup(self) -> Path:
        return self.folder / "setup"

    @property
    def solution(self) -> Path:
        return self.folder / "solution" / "solve.sh"

    def text(self, name: str) -> str:
        return (self.folder / name).read_text()

    def mutants(self) -> list[Mutant]:
        return [Mutant.read(path) for path in sorted((self.folder / "mutants").glob("*.sh"))]


@dataclass(frozen=True)
class Mutant:
    """A way to do it wrong, and the check that has to notice."""

    path: Path
    fails: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> Mutant:
        lines = (line.removeprefix("# fails:").strip() for line in path.read_text().splitlines() if "# fails:" in line)
        return cls(path, tuple(each.strip() for each in next(lines).split(",")))


def load(folder: Path) -> Exercise:
    """Raises msgspec.ValidationError, which names the field."""
    exercise = msgspec.convert(yaml.load((folder / "exercise.yaml").read_text(), Loader), Exercise)
    exercise.folder, exercise.number = folder, int(folder.name.partition("-")[0])
    return exercise


def load_all(root: Path = FOLDER) -> list[Exercise]:
    return [load(path.parent) for path in sorted(root.glob("*/exercise.yaml"))]
