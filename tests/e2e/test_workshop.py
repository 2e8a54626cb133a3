"""Every exercise of the workshop, on the real lab: untouched it scores 0, its solution scores 100, each mutant fails at
the check that is to see through it, and a reset leaves nothing."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
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
        _, shown = self.check()
        for check in self._exercise.checks:
            if check.id in names:
                _, there, after = shown.partition(f"NO    0 of {check.points:<3} {check.title}\n")
                assert there, f"{check.id} does not fail: {shown}"
                assert "seen      comes after" not in after.partition("\n\n")[0].partition("NO ")[0], shown


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


def test_exercises_grade_what_happened(world) -> None:
    """Side by side, each in its namespace."""
    before = traces(world)
    gentle = [each for each in EXERCISES if not each.faults]
    with ThreadPoolExecutor(len(gentle)) as pool:
        for proof in [pool.submit(prove, world, each) for each in gentle]:
            proof.result()
    assert traces(world) == before
    scores = world.minikctl("workshop", "score").stdout
    assert all(re.search(rf"^{each.number} +{each.title} +100 ", scores, re.MULTILINE) for each in gentle), scores
    world.minikctl("workshop", "reset", "--all")
    assert "workshop" not in {meta.name(each) for each in world.client.list(Namespace)}


@pytest.mark.parametrize("exercise", [each for each in EXERCISES if each.faults], ids=lambda each: each.id)
def test_exercises_that_break_hosts(world, exercise: Exercise) -> None:
    before = traces(world)
    prove(world, exercise)
    assert traces(world) == before
