from __future__ import annotations

import pytest
from lightkube.models.core_v1 import Taint, Toleration

from api import taints

EXECUTE = Taint(key="k", value="v", effect="NoExecute")


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        (Toleration(key="k", value="v", effect="NoExecute"), True),
        (Toleration(key="k", operator="Equal", value="v"), True),
        (Toleration(key="k", value="other"), False),
        (Toleration(key="k"), False),
        (Toleration(key="k", operator="Exists"), True),
        (Toleration(key="other", operator="Exists"), False),
        (Toleration(operator="Exists"), True),
        (Toleration(operator="Exists", effect="NoSchedule"), False),
        (Toleration(), False),
    ],
)
def test_tolerates(toleration: Toleration, tolerated: bool) -> None:
    assert taints.tolerates(toleration, EXECUTE) is tolerated


def lasting(key: str, seconds: int | None) -> Toleration:
    return Toleration(key=key, operator="Exists", tolerationSeconds=seconds)


OTHER = Taint(key="o", effect="NoExecute")


@pytest.mark.parametrize(
    ("present", "tolerations", "seconds"),
    [
        ([], [], None),
        ([EXECUTE], [], 0),
        ([EXECUTE], [lasting("k", None)], None),
        ([EXECUTE], [lasting("k", 30)], 30),
        ([EXECUTE], [lasting("k", -5)], 0),
        ([EXECUTE, OTHER], [lasting("k", 30)], 0),
        ([EXECUTE, OTHER], [lasting("k", 30), lasting("o", 10)], 10),
        ([EXECUTE, OTHER], [lasting("k", 30), lasting("o", None)], 30),
        ([EXECUTE], [lasting("k", 30), lasting("k", None)], 30),
    ],
)
def test_seconds_tolerated(present: list[Taint], tolerations: list[Toleration], seconds: float | None) -> None:
    assert taints.seconds_tolerated(present, tolerations) == seconds
