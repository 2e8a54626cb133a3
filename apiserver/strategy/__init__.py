"""Rules per kind. `strategy_for(kind)` gives the one of a kind; most kinds have only the common ones."""

from __future__ import annotations

from api.kinds import Kind
from apiserver.strategy.base import Strategy

_STRATEGIES: dict[str, type[Strategy]] = {}


def strategy_for(kind: Kind) -> Strategy:
    return _STRATEGIES.get(kind.qualified, Strategy)(kind)


__all__ = ["Strategy", "strategy_for"]
