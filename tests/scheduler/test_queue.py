from __future__ import annotations

import asyncio

import pytest

from client.backoff import Backoff
from scheduler import queue as module
from scheduler.facts import PodFacts
from scheduler.queue import SchedulingQueue

A, B = PodFacts(group="a"), PodFacts(group="b")


async def popped(queue: SchedulingQueue) -> list[str]:
    """Everything that is active now."""
    found = []
    while True:
        try:
            async with asyncio.timeout(0.01):
                found.append(await queue.pop())
        except TimeoutError:
            return found


async def test_priority_first_then_who_came_first() -> None:
    queue = SchedulingQueue()
    queue.add("one", A)
    queue.add("two", A)
    queue.add("urgent", A, priority=10)
    assert await popped(queue) == ["urgent", "one", "two"]


async def test_a_pod_being_scheduled_is_nowhere_until_it_changes() -> None:
    queue = SchedulingQueue()
    queue.add("p", A)
    assert await queue.pop() == "p"
    queue.add("p", A)  # its status changed
    assert await popped(queue) == []
    queue.add("p", B)
    assert await popped(queue) == ["p"]
    queue.delete("p")
    assert len(queue) == 0


async def test_only_a_change_that_helps_its_class_wakes_a_pod() -> None:
    queue = SchedulingQueue()
    for key, facts in (("a1", A), ("a2", A), ("b", B)):
        queue.add(key, facts)
        await queue.pop()
        queue.put_unschedulable(key)
    asked: list[PodFacts] = []
    queue.move(lambda facts: asked.append(facts) or facts is A)
    assert asked == [A, B]
    assert await popped(queue) == ["a1", "a2"]


async def test_a_deleted_pod_never_comes_again() -> None:
    queue = SchedulingQueue()
    queue.add("p", A)
    await queue.pop()
    queue.put_unschedulable("p")
    queue.delete("p")
    queue.move(lambda facts: True)
    queue.add("q", A)
    queue.delete("q")
    assert await popped(queue) == []
    queue.back_off("p")
    queue.put_unschedulable("p")
    assert len(queue) == 0


async def test_errors_back_off_longer_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF", Backoff(0.02, 0.05, jitter=0))
    queue = SchedulingQueue()
    queue.add("p", A)
    loop = asyncio.get_running_loop()
    assert await queue.pop() == "p"
    for least in (0.02, 0.04, 0.05, 0.05):
        begun = loop.time()
        queue.back_off("p")
        async with asyncio.timeout(5):
            assert await queue.pop() == "p"
        assert loop.time() - begun >= least - 0.002  # never sooner; how much later is not judged
    queue.delete("p")
    assert await popped(queue) == []
