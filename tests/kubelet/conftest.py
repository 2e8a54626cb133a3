"""A pod and its containers, made up; used by the tests of the pure parts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from lightkube.resources.core_v1 import Pod

from kubelet.pods.snapshot import Snapshot, spec_hash
from kubelet.runtime.base import Observed, PodRef

NOW = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)
UID = "11111111-2222-3333-4444-555555555555"
REF = PodRef("default", "web", UID)
SANDBOX = "sandbox-1"


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def make_pod(spec: dict[str, Any] | None = None, *, metadata: dict[str, Any] | None = None, **status: Any) -> Pod:
    spec = {"containers": [{"name": "app", "image": "app:1"}], **(spec or {})}
    base = {"name": "web", "namespace": "default", "uid": UID}
    document = {"metadata": {**base, **(metadata or {})}, "spec": spec, "status": status}
    return msgspec.convert(document, Pod)


def make_sandbox(state: str = "running", **fields: Any) -> Observed:
    fields = {"id": SANDBOX, "sandbox_id": SANDBOX, "created_at": ago(100), "pid": 7, **fields}
    return Observed(pod=REF, name="", attempt=0, state=state, **fields)  # type: ignore[arg-type]


def make_container(pod: Pod, name: str = "app", state: str = "running", **fields: Any) -> Observed:
    """A container of that pod as the engine would show it."""
    assert pod.spec is not None
    specs = [*(pod.spec.initContainers or []), *pod.spec.containers]
    hash_ = next((spec_hash(each) for each in specs if each.name == name), "")
    attempt = fields.pop("attempt", 0)
    defaults = {
        "id": f"{name}-{attempt}",
        "sandbox_id": SANDBOX,
        "created_at": ago(91),
        "started_at": None if state == "created" else ago(90),
        "finished_at": ago(fields.pop("ended", 1.0)) if state == "exited" else None,
        "spec_hash": hash_,
        "image_id": "sha256:1",
    }
    return Observed(pod=REF, name=name, attempt=attempt, state=state, **{**defaults, **fields})  # type: ignore[arg-type]


def make_snapshot(pod: Pod, *containers: Observed, **fields: Any) -> Snapshot:
    """With every sandbox networked and every running container started and ready, unless told otherwise."""
    running = frozenset(each.id for each in containers if each.is_running and not each.is_sandbox)
    defaults = {
        "networked": frozenset(each.id for each in containers if each.is_sandbox),
        "ready": running,
        "started": running,
        "ip": "10.244.1.7",
        "host_ip": "10.0.0.1",
    }
    return Snapshot(pod=pod, now=NOW, containers=tuple(containers), **{**defaults, **fields})


class Make:
    """The helpers above, as one fixture."""

    now = NOW
    uid = UID
    ago = staticmethod(ago)
    pod = staticmethod(make_pod)
    sandbox = staticmethod(make_sandbox)
    container = staticmethod(make_container)
    snapshot = staticmethod(make_snapshot)


@pytest.fixture
def make() -> Callable[..., Any] | Make:
    return Make()
