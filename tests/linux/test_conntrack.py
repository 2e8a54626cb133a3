from linux.conntrack import changed

A, B = ("10.244.1.2", 53), ("10.244.1.3", 53)
TARGET = ("10.96.0.5", 53)


def test_only_targets_whose_endpoints_changed_are_looked_at() -> None:
    same = ("10.96.0.6", 53)
    old = {TARGET: frozenset({A}), same: frozenset({B})}
    new = {TARGET: frozenset({B}), same: frozenset({B})}
    assert changed(old, new) == {TARGET: frozenset({B})}


def test_a_service_that_is_gone_is_answered_by_nobody() -> None:
    assert changed({TARGET: frozenset({A})}, {}) == {TARGET: frozenset()}


def test_a_new_service_matters_too() -> None:
    """Flows that began before its rules were in force lead nowhere."""
    assert changed({}, {TARGET: frozenset({A})}) == {TARGET: frozenset({A})}
