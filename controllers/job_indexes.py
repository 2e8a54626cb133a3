"""The indexes of an Indexed Job as its status writes them: `1,3-5,7`. Pure.

Kubernetes: https://kubernetes.io/docs/concepts/workloads/controllers/job/#completion-mode
"""

from __future__ import annotations

from collections.abc import Iterable

from lightkube.resources.core_v1 import Pod

from api import meta

INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES_OF_INDEX = "batch.kubernetes.io/job-index-failure-count"


def parse(text: str | None) -> set[int]:
    """The numbers in `text`; parts that are no numbers are left out, as a status may have been edited by hand."""
    found: set[int] = set()
    for part in (text or "").split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            found.update(range(int(first), int(last or first) + 1))
    return found


def show(indexes: Iterable[int]) -> str:
    """Runs of three and more become a range, as in Kubernetes' own form (two stay `1,2` there, too)."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(_run(first, last) for first, last in runs)


def _run(first: int, last: int) -> str:
    if last - first < 2:
        return ",".join(map(str, range(first, last + 1)))
    return f"{first}-{last}"


def of(pod: Pod) -> int | None:
    """The index a pod works on; None for a pod without (or with a damaged) annotation."""
    text = meta.annotations(pod).get(INDEX, "")
    return int(text) if text.isdecimal() else None


def failures_of(pod: Pod) -> int:
    """How often the pod's index had failed before this pod."""
    text = meta.annotations(pod).get(FAILURES_OF_INDEX, "")
    return int(text) if text.isdecimal() else 0
