"""One active replica at a time, through a Lease (k8s.io/client-go/tools/leaderelection).

Invariants
- The callback runs only while the Lease is held; when it cannot be renewed within the deadline the callback is
  cancelled *before* another replica may take over, and `run` raises `LeadershipLost`: the process ends and its
  supervisor starts a fresh one.
- Another holder's lease is timed by when *we* saw it change, on the monotonic clock, so that clocks that disagree
  or jump do not hand out leadership twice.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx2
from lightkube import ApiError
from lightkube.models.coordination_v1 import LeaseSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.coordination_v1 import Lease

from api import meta
from client.config import Client

log = logging.getLogger("leader")


class LeadershipLost(Exception):
    """The Lease could not be renewed in time, or somebody else holds it."""


@dataclass(frozen=True)
class LeaseTiming:
    """Seconds, as Kubernetes' --leader-elect-lease-duration, -renew-deadline and -retry-period."""

    lease: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not self.lease > self.renew_deadline > self.retry > 0:
            raise ValueError("leader election needs lease duration > renew deadline > retry period > 0")


def new_identity() -> str:
    """Unique for each process: two on one host must never pass for the same holder."""
    return f"{socket.gethostname()}_{uuid.uuid4()}"


class LeaderElector:
    """Competes for the Lease `namespace/name`."""

    def __init__(
        self,
        client: Client,
        *,
        name: str,
        namespace: str = "kube-system",
        identity: str | None = None,
        timing: LeaseTiming | None = None,
    ) -> None:
        self._client = client
        self._name = name
        self._namespace = namespace
        self._identity = identity or new_identity()
        self._timing = timing or LeaseTiming()
        self._seen: tuple[str, float] | None = None  # the foreign lease's resourceVersion and when it was first seen

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait for the Lease, then run `lead` while holding it; cancelled, release it. Raises LeadershipLost."""
        while not await self._try_acquire():  # noqa: ASYNC110 - the other side of the wait is the API server
            await asyncio.sleep(self._timing.retry)
        log.info("%s leads %s", self._identity, self._name)
        work = asyncio.ensure_future(lead())
        renewing = asyncio.ensure_future(self._keep_renewing())
        try:
            await asyncio.wait({work, renewing}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            else:
                renewing.result()
        finally:
            await _end(work)
            await _end(renewing)
            await self._release()

    async def _keep_renewing(self) -> None:
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while True:
            await asyncio.sleep(self._timing.retry)
            try:
                # A request that hangs must not outlive the deadline it is to meet.
                async with asyncio.timeout_at(renewed + self._timing.renew_deadline):
                    if await self._try_acquire():
                        renewed = loop.time()
            except TimeoutError:
                pass
            if loop.time() - renewed >= self._timing.renew_deadline:
                raise LeadershipLost(f"lost the lease {self._namespace}/{self._name}")

    async def _try_acquire(self) -> bool:
        """Take or renew the Lease; False when another replica holds it or the API server is away."""
        try:
            lease = await self._get()
            if lease is None:
                await self._client.create(self._new_lease())
                return True
            if not self._may_take(lease):
                return False
            await self._client.replace(self._held(lease))
        except ApiError as error:
            if error.status.code != 409:
                log.warning("lease %s: %s", self._name, error)
            return False
        except (httpx2.HTTPError, OSError) as error:
            log.warning("lease %s: %s", self._name, str(error) or type(error).__name__)
            return False
        return True

    async def _get(self) -> Lease | None:
        try:
            return await self._client.get(Lease, self._name, namespace=self._namespace)
        except ApiError as error:
            if error.status.code == 404:
                return None
            raise

    def _may_take(self, lease: Lease) -> bool:
        spec = lease.spec or LeaseSpec()
        if not spec.holderIdentity or spec.holderIdentity == self._identity:
            return True
        now = asyncio.get_running_loop().time()
        version = meta.metadata(lease).resourceVersion or ""
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, now)
        # Lease durations are whole seconds on the wire, so ours may ask for less than what is written there.
        return now - self._seen[1] > self._timing.lease

    def _new_lease(self) -> Lease:
        metadata = ObjectMeta(name=self._name, namespace=self._namespace)
        return self._held(Lease(metadata=metadata, spec=LeaseSpec()))

    def _held(self, lease: Lease) -> Lease:
        now = meta.now_micro()
        held = meta.clone(lease)
        spec = held.spec = held.spec or LeaseSpec()
        if spec.holderIdentity != self._identity:
            spec.acquireTime = now
            spec.leaseTransitions = (spec.leaseTransitions or 0) + (1 if spec.holderIdentity is not None else 0)
        spec.holderIdentity = self._identity
        spec.leaseDurationSeconds = max(1, round(self._timing.lease))
        spec.renewTime = now
        return held

    async def _release(self) -> None:
        """Hand over at once instead of letting the others wait; best effort."""
        try:
            async with asyncio.timeout(1.0):
                lease = await self._get()
                if lease is None or lease.spec is None or lease.spec.holderIdentity != self._identity:
                    return
                lease.spec.holderIdentity = ""
                lease.spec.renewTime = meta.now_micro()
                await self._client.replace(lease)
        except (ApiError, httpx2.HTTPError, OSError, TimeoutError):
            log.info("lease %s was not released; it will run out", self._name)


async def _end(task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
