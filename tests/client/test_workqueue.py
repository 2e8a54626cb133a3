import asyncio

from client.backoff import Backoff
from client.controller import Controller
from client.workqueue import WorkQueue


async def test_a_key_waits_once() -> None:
    queue = WorkQueue()
    queue.add("a")
    queue.add("a")
    queue.add("b")
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert len(queue) == 0


async def test_a_key_being_worked_on_comes_again_only_when_done() -> None:
    queue = WorkQueue()
    queue.add("a")
    key = await queue.get()
    queue.add("a")
    assert len(queue) == 0
    queue.done(key)
    assert await queue.get() == "a"
    queue.done("a")
    assert len(queue) == 0


async def test_delays_are_kept_in_order_and_the_earliest_counts() -> None:
    queue = WorkQueue()
    queue.add_after("late", 0.05)
    queue.add_after("early", 5)
    queue.add_after("early", 0.01)
    assert [await queue.get(), await queue.get()] == ["early", "late"]
    assert not queue._delayed or queue._delayed[0][2] == "early"


async def test_failures_back_off_until_forgotten() -> None:
    queue = WorkQueue(backoff=Backoff(0.001, 0.004))
    for _ in range(10):
        queue.add_rate_limited("a")
        queue.done(await queue.get())
    assert queue._failures["a"] == 10
    queue.forget("a")
    assert "a" not in queue._failures


async def test_a_controller_retries_what_fails_and_never_overlaps_one_key() -> None:
    tries: dict[str, int] = {}
    running: set[str] = set()
    done = asyncio.Event()

    async def reconcile(key: str) -> None:
        assert key not in running
        running.add(key)
        await asyncio.sleep(0)
        running.discard(key)
        tries[key] = tries.get(key, 0) + 1
        if tries[key] < 3:
            raise OSError("not yet")
        if all(count >= 3 for count in tries.values()):
            done.set()

    controller = Controller("test", reconcile)
    loop = asyncio.ensure_future(controller.run())
    for key in ("a", "b", "c"):
        controller.enqueue(key)
    async with asyncio.timeout(10):
        await done.wait()
    loop.cancel()
    assert tries == {"a": 3, "b": 3, "c": 3}
