"""A kubelet whose engine does not tell what it has."""

import asyncio

from client.backoff import Backoff
from kubelet import limits
from kubelet.kubelet import Kubelet
from kubelet.runtime.base import Lost, RuntimeFailure


class Engine:
    """Fails the first lists."""

    def __init__(self, failures):
        self.failures = failures

    async def events(self):
        yield Lost()
        await asyncio.Event().wait()

    async def list(self):
        self.failures -= 1
        if self.failures >= 0:
            raise RuntimeFailure("no space left on device")
        return []


class Nothing:
    """No pods, no nodes."""

    def on_change(self, callback):
        pass

    def list(self):
        return []

    async def run(self):
        pass

    async def wait_synced(self):
        pass


class Host:
    def __init__(self, runtime):
        self.runtime = runtime
        self.volumes = type("Volumes", (), {"pod_uids": staticmethod(list)})


async def test_a_failed_first_list_is_tried_again(monkeypatch):
    monkeypatch.setattr(limits, "ENGINE_RETRY", Backoff(0.001, 0.002))
    kubelet = Kubelet(Host(Engine(failures=3)), "node-1", Nothing(), Nothing())
    told = []
    task = asyncio.create_task(kubelet.run())
    async with asyncio.timeout(10):
        while not kubelet.runtime_ready.is_set():
            told.append(kubelet.engine_trouble)
            await asyncio.sleep(0)
    assert "PLEG is not healthy: no space left on device" in told and kubelet.engine_trouble == ""
    task.cancel()
