"""Sends a pod's status to the API server: only changes, always the newest, until it has arrived.

What matters to others at once (phase, readiness, an end) goes at once; mere progress waits a moment for company.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx2
import msgspec
from lightkube import ApiError
from lightkube.models.core_v1 import PodStatus
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Pod

from api import meta
from api.resource import resource_info
from client import rest
from client.config import Client
from kubelet import limits

log = logging.getLogger("status")


_STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
_LOST_CAUSES = (400, 404, 409, 422)
"""The pod is gone or another, or the API server will never take this status: trying again is no use."""


class _Answer(msgspec.Struct):
    metadata: ObjectMeta


class Reporter:
    """The status of one pod."""

    def __init__(self, client: Client, pod: Pod, lane: asyncio.Semaphore) -> None:
        self._client = client
        self._lane = lane
        self._pod = pod
        self._sent = _wire(pod.status or PodStatus())
        self.latest = meta.clone(pod.status) if pod.status else PodStatus()
        """What was last handed in; times of conditions are taken from here."""
        self._wanted = self._sent
        self._news = asyncio.Event()
        self._version = 0
        """Of the pod after the last write of ours."""
        self._arrived = asyncio.Event()
        self._arrived.set()
        self._task: asyncio.Task[None] | None = None

    def report(self, status: PodStatus) -> None:
        """Make this the pod's status; returns at once."""
        wire = _wire(status)
        self.latest = status
        if wire == self._wanted:
            return
        self._wanted = wire
        self._arrived.clear()
        if _urgent(self._sent, wire):
            self._news.set()
        self._start()

    def shown(self, pod: Pod) -> None:
        """What the API server has. If it is not what was sent, somebody else spoke for us: it is sent again.

        The node controller does when the node does not answer; a healed partition must end with the pod Ready.
        """
        if self._sent != self._wanted or _version(pod) < self._version or pod.status is None:
            return  # being sent anyway, or older than our own write
        if not _agrees(self._sent, _wire(pod.status)):
            self._sent = {}
            self._arrived.clear()
            self._news.set()
            self._start()

    def _start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._send())

    async def flush(self) -> None:
        """Wait until the newest status has arrived, or never can."""
        self._news.set()
        await self._arrived.wait()

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _send(self) -> None:
        failures = 0
        while self._wanted != self._sent:
            if not self._news.is_set():
                await _wait(self._news, limits.PROGRESS_DELAY_SECONDS)
            self._news.clear()
            try:
                async with self._lane:
                    wanted = self._wanted
                    await self._patch(wanted)
            except (ApiError, httpx2.HTTPError, OSError) as error:
                if not _is_lost_cause(error):
                    failures += 1
                    await asyncio.sleep(limits.STATUS_RETRY.delay(failures))
                    continue
                log.info("%s: status not taken: %s", meta.key(self._pod), error)
            failures = 0
            self._sent = wanted
        self._arrived.set()

    async def _patch(self, status: dict[str, Any]) -> None:
        pod = self._pod
        path = resource_info(Pod).path(meta.namespace(pod), meta.name(pod)) + "/status"
        # The uid keeps the status of an old pod from reaching a new one of the same name.
        body = {"metadata": {"uid": meta.uid(pod)}, "status": status}
        answer = await rest.request(self._client, "PATCH", path, body=body, headers=_STRATEGIC)
        self._version = _version(msgspec.json.decode(answer, type=_Answer))


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


def _version(pod: Pod | _Answer) -> int:
    """Versions of one object can be compared (KEP 5504)."""
    text = (pod.metadata and pod.metadata.resourceVersion) or "0"
    return int(text) if text.isdigit() else 0


def _agrees(sent: dict[str, Any], shown: dict[str, Any]) -> bool:
    """In what others act upon; texts and times may be written differently."""
    return _essence(sent) <= _essence(shown)


def _essence(status: dict[str, Any]) -> set[tuple[Any, ...]]:
    told: set[tuple[Any, ...]] = {("phase", status.get("phase")), ("podIP", status.get("podIP"))}
    told |= {(each["type"], each["status"]) for each in status.get("conditions") or []}
    for each in status.get("containerStatuses") or []:
        told.add((each["name"], each["ready"], each["restartCount"], each.get("containerID")))
    return told


def _is_lost_cause(error: Exception) -> bool:
    return isinstance(error, ApiError) and error.status.code in _LOST_CAUSES


def _wire(status: PodStatus) -> dict[str, Any]:
    """As it is sent. A merge keeps what is not mentioned, so a condition's absent texts are sent as null."""
    wire: dict[str, Any] = msgspec.to_builtins(status)
    for condition in wire.get("conditions") or []:
        condition.setdefault("reason", None)
        condition.setdefault("message", None)
    return wire


def _urgent(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return old.get("phase") != new.get("phase") or _ready_of(old) != _ready_of(new) or _ends(old) != _ends(new)


def _ready_of(status: dict[str, Any]) -> list[str]:
    return [each["status"] for each in status.get("conditions") or [] if each["type"] in ("Ready", "ContainersReady")]


def _ends(status: dict[str, Any]) -> list[str]:
    """What each container is doing, without the details."""
    return [next(iter(each.get("state") or {}), "") for each in status.get("containerStatuses") or []]
