"""Every exercise of the workshop, on the real lab: untouched it scores 0, its solution scores 100, each mutant fails at
the check that is to see through it, and a reset leaves nothing."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from lightkube.resources.core_v1 import Namespace, Node

from api import meta
from workshop.exercise import Exercise, load_all

EXERCISES = load_all()
SOLVED_SECONDS = 60.0


class Player:
    """One exercise, played as a student does, with the commands he has."""

    def __init__(self, world, exercise: Exercise) -> None:
        self._world, self._exercise, self._which = world, exercise, str(exercise.number)

    def command(self, *args: str) -> str:
        return self._world.minikctl("workshop", *args).stdout

    def check(self) -> tuple[int, str]:
        """The points, and what was printed."""
        done = self._world.minikctl("workshop", "check", self._which, check=False)
        found = re.search(r"^(\d+) of 100 points$", done.stdout, re.MULTILINE)
        assert found, f"{done.stdout}{done.stderr}"
        points = int(found[1])
        assert done.returncode == (0 if points == 100 else 1)
        return points, done.stdout

    def play(self, script: Path) -> None:
        done = self._world.minikctl("workshop", "run", self._which, str(script), check=False)
        assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"

    def untouched(self) -> None:
        points, shown = self.check()
        assert points == 0, shown

    def solved(self) -> None:
        """At once, or soon: pods that end and rules that spread take their time."""
        ends = time.monotonic() + SOLVED_SECONDS
        while (checked := self.check())[0] < 100 and time.monotonic() < ends:
            time.sleep(0.5)
        assert checked[0] == 100, checked[1]

    def failing(self, names: tuple[str, ...]) -> None:
        """At once, or soon: a probe that kills takes a few periods to do it."""
        ends = time.monotonic() + SOLVED_SECONDS
        while (passing := self._passing(names, shown := self.check()[1])) and time.monotonic() < ends:
            time.sleep(0.5)
        assert not passing, f"{passing} do not fail: {shown}"

    def _passing(self, names: tuple[str, ...], shown: str) -> list[str]:
        """Those of the checks that do not fail by themselves."""
        passing = []
        for check in self._exercise.checks:
            _, there, after = shown.partition(f"NO    0 of {check.points:<3} {check.title}\n")
            only_after = "seen      comes after" in after.partition("\n\n")[0].partition("NO ")[0]
            if check.id in names and (not there or only_after):
                passing.append(check.id)
        return passing


def prove(world, exercise: Exercise) -> None:
    player = Player(world, exercise)
    for number, mutant in enumerate(exercise.mutants()):
        player.command("start", str(exercise.number))
        if not number:
            player.untouched()
        player.play(mutant.path)
        player.failing(mutant.fails)
        player.command("reset", str(exercise.number))
    player.command("start", str(exercise.number))
    player.play(exercise.solution)
    player.solved()
    player.command("reset", str(exercise.number))


def traces(world) -> tuple[set[str], dict[str, object]]:
    """What a reset must leave as it was."""
    namespaces = {meta.name(each) for each in world.client.list(Namespace)}
    return namespaces - {"workshop"}, {meta.name(each): meta.labels(each) for each in world.client.list(Node)}


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda each: each.id)
def test_an_exercise_grades_what_happened(world, exercise: Exercise) -> None:
    before = traces(world)
    prove(world, exercise)
    assert traces(world) == before


def test_the_scores_are_told_and_reset_leaves_nothing(world) -> None:
    scores = world.minikctl("workshop", "score").stdout
    assert all(re.search(rf"^{each.number} +{each.title} +100 ", scores, re.MULTILINE) for each in EXERCISES), scores
    world.minikctl("workshop", "reset", "--all")
    assert "workshop" not in {meta.name(each) for each in world.client.list(Namespace)}
