"""Every exercise is whole: its expressions make sense, its points add up, and each mutant aims at a check it has."""

from __future__ import annotations

import pytest

from workshop import checks
from workshop.exercise import Exercise, load_all

EXERCISES = load_all()


def expressions(exercise: Exercise) -> list[str]:
    of_checks = [
        text for each in exercise.checks for text in (each.holds, each.always, each.since, each.until, each.seen)
    ]
    return [text for text in [exercise.settled, *of_checks] if text]


def test_they_are_numbered_from_one_and_have_ids_of_their_own() -> None:
    assert [each.number for each in EXERCISES] == list(range(1, len(EXERCISES) + 1))
    assert len({each.id for each in EXERCISES}) == len(EXERCISES) >= 4


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda each: each.id)
def test_an_exercise_is_whole(exercise: Exercise) -> None:
    assert sum(each.points for each in exercise.checks) == 100
    seen: list[str] = []
    for check in exercise.checks:
        assert set(check.needs) <= set(seen), check.id
        seen.append(check.id)
    assert {each.failing for each in exercise.hints} <= {*seen, ""}
    assert {name for each in exercise.mutants() for name in each.fails} == set(seen), "each check is tested by a mutant"
    assert exercise.solution.is_file() and list(exercise.setup.glob("*.yaml"))
    assert exercise.text("task.md").startswith(f"# {exercise.number}. {exercise.title}\n")
    assert len(exercise.text("debrief.md")) > 500
    for text in expressions(exercise):
        checks._compiled(text)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda each: each.id)
def test_texts_fit_a_terminal(exercise: Exercise) -> None:
    for name in ("task.md", "debrief.md"):
        assert max(map(len, exercise.text(name).splitlines())) <= 120, name
