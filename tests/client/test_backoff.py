import pytest

from client.backoff import Backoff
from client.workqueue import WorkQueue


def test_it_doubles_up_to_its_limit_and_stays_there() -> None:
    backoff = Backoff(0.1, 30.0, jitter=0)
    assert [backoff.delay(failures) for failures in (1, 2, 3, 4)] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert {backoff.delay(failures) for failures in range(10, 5001)} == {30.0}


def test_chance_only_shortens_a_wait() -> None:
    delays = [Backoff(1.0, 8.0).delay(5000) for _ in range(200)]
    assert all(4.0 <= delay <= 8.0 for delay in delays)
    assert len(set(delays)) > 1


async def test_a_key_may_fail_5000_times() -> None:
    queue = WorkQueue(backoff=Backoff(0.0, 0.0))
    for _ in range(5000):
        queue.add_rate_limited("a")
        queue.done(await queue.get())
    assert len(queue) == 0
