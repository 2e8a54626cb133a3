"""The pods of an owner: which are its own, making more, deleting some, without ever counting on a stale cache.

Kubernetes: PodControl, ControllerRefManager and slowStartBatch (pkg/controller). Every loop that owns pods (ReplicaSet,
ReplicationController, StatefulSet, DaemonSet, Job) has one.

Invariants
- The cache is trusted only when everything this loop wrote is in it (expectations.py).
- Pods of others are never touched, and nothing is adopted on the word of a cache (adoption.py).
- Failing creations are tried with slowly growing batches, so that a broken template costs one call, not hundreds.
- A change of a pod, or of its owner, brings the owner's key back to the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from lightkube.core.resource import Resource
from lightkube.resources.core_v1 import Pod

from api import meta, selectors
from client.controller import Controller
from client.informer import Informer
from controllers import adoption, writes
from controllers.expectations import Expectations
from controllers.manager import Manager

O = TypeVar("O", bound=Resource)  # noqa: E741 -- an owner

BURST = 500
"""The most pods created or deleted in one go."""


class PodControl(Generic[O]):
    """Pods of the owners of one kind; `component` is who events are from."""

    def __init__(
        self,
        manager: Manager,
        kind: type[O],
        *,
        component: str,
        workers: int,
        reconcile: Callable[[str], Awaitable[None]],
    ) -> None:
        self._client = manager.client
        self._kind = kind
        self._events = manager.recorder(component)
        self.owners: Informer[O] = manager.informer(kind)
        self.pods = manager.informer(Pod)
        self.pods.add_index("controller", controller_uid)
        self.pods.add_index("orphan", _orphan_namespace)
        self._expectations = Expectations()
        self.loop: Controller = manager.controller(kind.__name__.lower(), reconcile, workers=workers)
        self.owners.on_change(self._owner_changed)
        self.pods.on_change(self._pod_changed)

    # What changed

    def _owner_changed(self, old: O | None, new: O | None) -> None:
        if old is not None and (new is None or meta.uid(new) != meta.uid(old)):
            self._expectations.forget(meta.key(old))
        changed = new or old
        if changed is not None:
            self.loop.enqueue(meta.key(changed))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        for pod in (old, new):
            owner = meta.controller_of(pod) if pod is not None else None
            if pod is not None and owner is not None and owner.kind == self._kind.__name__:
                key = f"{meta.namespace(pod)}/{owner.name}"
                # Both a creation and the beginning (or end) of a deletion show in what the cache holds now.
                if new is None or meta.is_terminating(new) or old is None:
                    self._expectations.observe(key, meta.uid(pod))
                self.loop.enqueue(key)
        if new is not None and meta.controller_of(new) is None:
            for candidate in self.owners.list(meta.namespace(new)):  # an orphan may be adopted by whoever selects it
                selector = selector_of(candidate)
                if selector and selector.matches(meta.labels(new)):
                    self.loop.enqueue(meta.key(candidate))

    # Reading

    def is_up_to_date(self, owner: O) -> bool:
        """Whether the cache shows everything that this loop did for the owner. Ask before `claim`."""
        return self._expectations.satisfied(meta.key(owner))

    async def claim(self, owner: O, accept: Callable[[Pod], bool] = lambda pod: True) -> list[Pod]:
        """The owner's pods; adopts matching orphans and releases what no longer matches. Raises lightkube.ApiError."""
        candidates = self.pods.by_index("controller", meta.uid(owner))
        candidates += self.pods.by_index("orphan", meta.namespace(owner))
        selector = selector_of(owner)
        if selector is None:
            return []
        return await adoption.claim(self._client, owner, selector, [pod for pod in candidates if accept(pod)])

    # Acting

    async def create(self, owner: O, wanted: Sequence[Pod]) -> None:
        """In batches of 1, 2, 4, ...: the first batch with a failure is the last, and its error is raised."""
        wanted, batch = wanted[:BURST], 1
        while wanted:
            await all_or_first_error([self._create(owner, pod) for pod in wanted[:batch]])
            wanted, batch = wanted[batch:], batch * 2

    async def _create(self, owner: O, pod: Pod) -> None:
        try:
            created = await self._client.create(pod)
        except Exception as error:
            if writes.namespace_is_going(error):
                return  # the namespace is going, and so will the owner
            self._events.event(owner, "Warning", "FailedCreate", f"Error creating: {error}")
            raise
        key = meta.key(created)
        self._expectations.expect(meta.key(owner), meta.uid(created), is_done=lambda: self.pods.get(key) is not None)
        self._events.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {meta.name(created)}")

    async def delete(self, owner: O, victims: Iterable[Pod]) -> None:
        """Exactly these pods, by uid. Raises the first error after all were tried."""
        await all_or_first_error([self._delete(owner, pod) for pod in victims])

    async def _delete(self, owner: O, pod: Pod) -> None:
        try:
            deleted = await writes.delete_quietly(self._client, pod)
        except Exception as error:
            self._events.event(owner, "Warning", "FailedDelete", f"Error deleting: {error}")
            raise
        if deleted:
            self._expectations.expect(meta.key(owner), meta.uid(pod), is_done=lambda: self._is_going(pod))
            self._events.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {meta.name(pod)}")

    def _is_going(self, pod: Pod) -> bool:
        present = self.pods.get(meta.key(pod))
        return present is None or meta.uid(present) != meta.uid(pod) or meta.is_terminating(present)

    async def save_status(self, owner: O, status: Any) -> None:
        """Write the status if it differs from the one that was read; an owner that has gone needs none."""
        if status == owner.status:  # type: ignore[attr-defined]
            return
        updated = meta.clone(owner)
        updated.status = status  # type: ignore[attr-defined]
        await writes.put_status(self._client, updated)


def selector_of(owner: Any) -> selectors.LabelSelector | None:
    """What an owner selects; a ReplicationController's selector is a plain map. None for one that selects nothing."""
    selector = owner.spec.selector if owner.spec is not None else None
    if selector is None:
        return None
    return selectors.from_map(selector) if isinstance(selector, dict) else selectors.from_label_selector(selector)


def controller_uid(obj: Any) -> list[str]:
    """Index: the uid of the managing controller."""
    ref = meta.controller_of(obj)
    return [ref.uid] if ref is not None else []


def _orphan_namespace(pod: Pod) -> list[str]:
    return [meta.namespace(pod)] if meta.controller_of(pod) is None else []


async def all_or_first_error(work: Sequence[Awaitable[None]]) -> None:
    """Run all to their end; then raise the first error, if any."""
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
