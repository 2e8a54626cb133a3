"""pods/eviction and PodDisruptionBudgets: a budget is spent once, and says why it refuses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

NS = "/api/v1/namespaces/default"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


async def make_pod(api: Any, name: str, status: dict[str, Any] = READY) -> None:
    spec = {"containers": [{"name": "web", "image": "x"}], "nodeName": "n1"}
    made = (await api.post(f"{NS}/pods", {"metadata": {"name": name, "labels": {"app": "web"}}, "spec": spec})).json
    assert (await api.put(f"{NS}/pods/{name}/status", {**made, "status": status})).status == 200


async def make_budget(
    api: Any, *, allowed: int, name: str = "web", healthy: int = 3, seen: int = 1, **spec: Any
) -> None:
    """A budget of two healthy pods, in the state in which the disruption controller left it."""
    spec = {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}, **spec}
    made = (await api.post(BUDGETS, {"metadata": {"name": name}, "spec": spec})).json
    counts = {"currentHealthy": healthy, "desiredHealthy": 2, "expectedPods": 3, "disruptionsAllowed": allowed}
    made["status"] = {**counts, "observedGeneration": seen}
    assert (await api.put(f"{BUDGETS}/{name}/status", made)).status == 200


async def evict(api: Any, name: str, query: str = "", **options: Any) -> Any:
    body = {"metadata": {"name": name}, "deleteOptions": options}
    return await api.post(f"{NS}/pods/{name}/eviction{query}", body)


async def is_going(api: Any, name: str) -> bool:
    return "deletionTimestamp" in (await api.get(f"{NS}/pods/{name}")).json["metadata"]


async def budget_status(api: Any) -> dict[str, Any]:
    return (await api.get(f"{BUDGETS}/web")).json["status"]


async def test_evictions_that_race_for_one_place_do_not_share_it(api):
    names = [f"p{n}" for n in range(16)]
    for name in names:
        await make_pod(api, name)
    await make_budget(api, allowed=1, healthy=16)
    answers = await asyncio.gather(*(evict(api, name) for name in names))
    assert sorted(each.status for each in answers) == [201] + [429] * 15
    assert [await is_going(api, name) for name in names] == [each.status == 201 for each in answers]
    status = await budget_status(api)
    (evicted,) = status["disruptedPods"]
    assert status["disruptionsAllowed"] == 0 and await is_going(api, evicted)


async def test_a_refusal_says_why_and_leaves_the_retry_to_the_person(api):
    await make_pod(api, "p")
    await make_budget(api, allowed=0, healthy=2)
    answer = await evict(api, "p")
    assert (answer.status, answer.message) == (429, "Cannot evict pod as it would violate the pod's disruption budget.")
    (cause,) = answer.json["details"]["causes"]
    assert cause["reason"] == "DisruptionBudget"
    assert cause["message"] == "The disruption budget web needs 2 healthy pods and has 2 currently"
    assert "retry-after" not in dict(answer.headers), "client-go would wait in silence"
    assert not await is_going(api, "p")


async def test_a_budget_that_was_not_counted_yet_is_waited_for(api):
    await make_pod(api, "p")
    await make_budget(api, allowed=1, seen=0)
    answer = await evict(api, "p")
    assert (answer.status, dict(answer.headers)["retry-after"]) == (429, "10")
    assert "still being processed" in answer.json["details"]["causes"][0]["message"]


async def test_a_dry_run_spends_nothing(api):
    await make_pod(api, "p")
    await make_budget(api, allowed=1)
    assert (await evict(api, "p", dryRun=["All"])).status == 201
    assert (await evict(api, "p", "?dryRun=All")).status == 201
    assert (await budget_status(api))["disruptionsAllowed"] == 1 and not await is_going(api, "p")


async def test_two_budgets_for_one_pod_are_too_many(api):
    await make_pod(api, "p")
    await make_budget(api, allowed=1)
    await make_budget(api, allowed=1, name="other")
    answer = await evict(api, "p")
    assert answer.status == 500 and "more than one PodDisruptionBudget" in answer.message
    assert not await is_going(api, "p")


@pytest.mark.parametrize("phase", ["Pending", "Succeeded", "Failed"])
async def test_pods_that_serve_nobody_need_no_budget(api, phase):
    await make_pod(api, "p", {"phase": phase})
    await make_budget(api, allowed=0, healthy=2)
    assert (await evict(api, "p")).status == 201
    assert "disruptedPods" not in await budget_status(api)


@pytest.mark.parametrize(
    ("policy", "healthy", "code"),
    [("IfHealthyBudget", 2, 201), ("IfHealthyBudget", 1, 429), (None, 2, 201), ("AlwaysAllow", 1, 201)],
)
async def test_a_pod_that_is_not_ready(api, policy, healthy, code):
    await make_pod(api, "p", {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]})
    await make_budget(api, allowed=0, healthy=healthy, unhealthyPodEvictionPolicy=policy)
    assert (await evict(api, "p")).status == code


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"minAvailable": 1, "maxUnavailable": 1}, "minAvailable and maxUnavailable cannot be both set"),
        ({"minAvailable": -1}, "spec.minAvailable: Invalid value: -1: must be greater than or equal to 0"),
        ({"maxUnavailable": "half"}, 'spec.maxUnavailable: Invalid value: "half"'),
        ({"maxUnavailable": "101%"}, "must not be greater than 100%"),
        ({"unhealthyPodEvictionPolicy": "Never"}, "spec.unhealthyPodEvictionPolicy: Unsupported value"),
        ({"selector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}, "spec.selector"),
    ],
)
async def test_what_is_no_budget_is_refused(api, spec, message):
    answer = await api.post(BUDGETS, {"metadata": {"name": "web"}, "spec": spec})
    assert answer.status == 422 and message in answer.message
