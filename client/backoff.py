"""How long to wait before the next try (k8s.io/apimachinery/pkg/util/wait.Backoff).

One rule for every retry of the project: the wait doubles with each failure in a row up to a limit, and is shortened at
random so that those who failed together do not come back together. Pure, up to the dice.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Waits of `base` to `maximum` seconds; `jitter` is the largest part of a wait that chance takes off."""

    base: float
    maximum: float
    jitter: float = 0.5

    def delay(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row, of which the first is 1."""
        # Further doublings could not change the result, but a float cannot hold a thousand of them.
        doublings = min(max(failures - 1, 0), 60)
        return min(self.base * 2.0**doublings, self.maximum) * random.uniform(1 - self.jitter, 1)
