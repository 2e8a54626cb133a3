"""PriorityClasses and what pods get from them."""

from __future__ import annotations

from typing import Any

import pytest

CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture(autouse=True)
async def system(api):
    """Without the boot story there are none; these are as it makes them."""
    for name, value in (("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)):
        answer = await api.post(CLASSES, {"metadata": {"name": name}, "value": value})
        assert answer.status in (201, 409)


async def make_class(api: Any, name: str, value: int, **more: Any) -> Any:
    made = await api.post(CLASSES, {"metadata": {"name": name}, "value": value, **more})
    await api.get(CLASSES)  # defaults are looked up in the cache, as Kubernetes does
    return made


async def make_pod(api: Any, name: str = "p", **spec: Any) -> Any:
    spec = {"containers": [{"name": "c", "image": "i"}], **spec}
    return await api.post(PODS, {"metadata": {"name": name}, "spec": spec})


def priority(answer: Any) -> tuple[Any, ...]:
    spec = answer.json["spec"]
    return spec.get("priorityClassName"), spec["priority"], spec["preemptionPolicy"]


async def test_a_pod_gets_what_its_class_says(api):
    await make_class(api, "polite", 7, preemptionPolicy="Never")
    assert priority(await make_pod(api, "a")) == (None, 0, "PreemptLowerPriority")
    assert priority(await make_pod(api, "b", priorityClassName="polite")) == ("polite", 7, "Never")
    await make_class(api, "usual", 3, globalDefault=True)
    made = await make_pod(api, "c")
    assert priority(made) == ("usual", 3, "PreemptLowerPriority")
    sent = made.json
    del sent["spec"]["priority"], sent["spec"]["preemptionPolicy"]
    assert priority(await api.put(f"{PODS}/c", sent)) == ("usual", 3, "PreemptLowerPriority")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"priorityClassName": "none"}, "no PriorityClass with name none was found"),
        ({"priority": 5}, "the integer value of priority (5) must not be provided in pod spec"),
        ({"preemptionPolicy": "Never"}, "the string value of PreemptionPolicy (Never) must not be provided"),
    ],
)
async def test_nobody_gives_himself_a_priority(api, spec, message):
    answer = await make_pod(api, **spec)
    assert answer.status == 403 and message in answer.message


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"metadata": {"name": "system-mine"}, "value": 1}, 422, "prefix are reserved for system use only"),
        ({"metadata": {"name": "big"}, "value": 1_000_000_001}, 422, "maximum allowed value"),
        ({"metadata": {"name": "odd"}, "value": 1, "preemptionPolicy": "Maybe"}, 422, "preemptionPolicy"),
        (
            {"metadata": {"name": "second"}, "value": 1, "globalDefault": True},
            403,
            "first is already marked as default",
        ),
    ],
)
async def test_what_is_no_class_is_refused(api, body, code, message):
    await make_class(api, "first", 1, globalDefault=True)
    answer = await api.post(CLASSES, body)
    assert answer.status == code and message in answer.message


async def test_a_class_keeps_its_value(api):
    made = (await make_class(api, "mine", 1)).json
    answer = await api.put(f"{CLASSES}/mine", {**made, "value": 2})
    assert answer.status == 422 and "value: Forbidden: may not be changed in an update." in answer.message
    assert (await api.put(f"{CLASSES}/mine", {**made, "description": "ours"})).status == 200
    assert (await api.delete(f"{CLASSES}/system-node-critical")).status == 403
