"""plan: what to do next for a pod."""

from dataclasses import replace
from datetime import timedelta

import pytest

from kubelet.pods.plan import CreateSandbox, Finalize, Kill, ReleaseSandbox, Remove, Start, plan
from kubelet.pods.snapshot import Failure

INIT = {"initContainers": [{"name": "one", "image": "i:1"}, {"name": "two", "image": "i:1"}]}
SIDECAR = {"initContainers": [{"name": "proxy", "image": "p:1", "restartPolicy": "Always"}]}


def kinds(planned):
    return [type(each) for each in planned.actions]


def test_a_new_pod_gets_a_sandbox_first(make):
    assert kinds(plan(make.snapshot(make.pod()))) == [CreateSandbox]


def test_nothing_is_planned_twice(make):
    assert plan(make.snapshot(make.pod(), busy=frozenset({"sandbox"}))).actions == ()


def test_all_containers_start_in_a_sandbox(make):
    pod = make.pod({"containers": [{"name": "a1", "image": "x:1"}, {"name": "b1", "image": "x:1"}]})
    planned = plan(make.snapshot(pod, make.sandbox()))
    assert planned.actions == (
        Start("a1", attempt=0, backoff=0.0, sandbox_id="sandbox-1"),
        Start("b1", attempt=0, backoff=0.0, sandbox_id="sandbox-1"),
    )


def test_a_running_pod_needs_nothing(make):
    pod = make.pod()
    planned = plan(make.snapshot(pod, make.sandbox(), make.container(pod)))
    assert planned.actions == () and planned.wake_at is None


def test_a_sandbox_without_network_is_replaced(make):
    pod = make.pod()
    planned = plan(make.snapshot(pod, make.sandbox(), networked=frozenset()))
    assert planned.actions == (Remove(make.sandbox()),)


@pytest.mark.parametrize(
    ("backoff", "waited", "starts", "next_backoff"),
    [
        (0.0, 0.5, True, 10.0),
        (10.0, 9.0, False, None),
        (10.0, 10.5, True, 20.0),
        (160.0, 161.0, True, 300.0),
        (300.0, 299.0, False, None),
        (300.0, 301.0, True, 300.0),
    ],
)
def test_restarts_back_off(make, backoff, waited, starts, next_backoff):
    pod = make.pod()
    dead = make.container(pod, state="exited", exit_code=1, backoff=backoff, ended=waited, attempt=3)
    dead = replace(dead, started_at=make.ago(waited + 5))
    planned = plan(make.snapshot(pod, make.sandbox(), dead))
    if starts:
        assert planned.actions == (Start("app", attempt=4, backoff=next_backoff, sandbox_id="sandbox-1"),)
    else:
        assert planned.actions == ()
        assert planned.wake_at == dead.finished_at + timedelta(seconds=backoff)


def test_a_long_run_clears_the_backoff(make):
    pod = make.pod()
    dead = make.container(pod, state="exited", exit_code=1, backoff=300.0, attempt=9, started_at=make.ago(700))
    planned = plan(make.snapshot(pod, make.sandbox(), dead))
    assert planned.actions == (Start("app", attempt=10, backoff=10.0, sandbox_id="sandbox-1"),)


@pytest.mark.parametrize(
    ("policy", "exit_code", "restarted"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_restart_policy(make, policy, exit_code, restarted):
    pod = make.pod({"restartPolicy": policy})
    planned = plan(make.snapshot(pod, make.sandbox(), make.container(pod, state="exited", exit_code=exit_code)))
    assert kinds(planned) == ([Start] if restarted else [ReleaseSandbox])


def test_a_refused_start_counts_as_a_crash(make):
    pod = make.pod()
    refused = make.container(pod, state="created", exit_code=127, error="no such file", attempt=1, backoff=10.0)
    refused = replace(refused, created_at=make.ago(3))
    planned = plan(make.snapshot(pod, make.sandbox(), refused))
    assert planned.actions == () and planned.wake_at == refused.created_at + timedelta(seconds=10)


def test_a_half_made_container_is_removed(make):
    pod = make.pod()
    half = make.container(pod, state="created")
    assert plan(make.snapshot(pod, make.sandbox(), half)).actions == (Remove(half),)
    assert plan(make.snapshot(pod, make.sandbox(), half, busy=frozenset({"start/app"}))).actions == ()


def test_old_attempts_are_removed_but_one(make):
    pod = make.pod()
    old = [make.container(pod, state="exited", exit_code=1, attempt=each) for each in range(3)]
    planned = plan(make.snapshot(pod, make.sandbox(), *old, make.container(pod, attempt=3)))
    assert {each.container.attempt for each in planned.actions} == {0, 1}
    assert set(kinds(planned)) == {Remove}


def test_init_containers_run_one_after_the_other(make):
    pod = make.pod(INIT)
    sandbox = make.sandbox()
    assert [each.name for each in plan(make.snapshot(pod, sandbox)).actions] == ["one"]
    assert plan(make.snapshot(pod, sandbox, make.container(pod, "one"))).actions == ()
    one = make.container(pod, "one", "exited")
    assert [each.name for each in plan(make.snapshot(pod, sandbox, one)).actions] == ["two"]
    two = make.container(pod, "two", "exited")
    assert [each.name for each in plan(make.snapshot(pod, sandbox, one, two)).actions] == ["app"]


def test_a_failing_init_container_is_retried_or_ends_the_pod(make):
    failed = {"state": "exited", "exit_code": 1}
    always = make.pod(INIT)
    planned = plan(make.snapshot(always, make.sandbox(), make.container(always, "one", **failed)))
    assert [each.name for each in planned.actions] == ["one"]
    never = make.pod({**INIT, "restartPolicy": "Never"})
    planned = plan(make.snapshot(never, make.sandbox(), make.container(never, "one", **failed)))
    assert kinds(planned) == [ReleaseSandbox]


def test_a_finished_init_container_is_not_missed_once_the_pod_runs(make):
    pod = make.pod(INIT)
    assert plan(make.snapshot(pod, make.sandbox(), make.container(pod))).actions == ()


def test_a_sidecar_starts_before_and_ends_after_the_main_container(make):
    pod = make.pod({**SIDECAR, "restartPolicy": "Never"})
    sandbox, proxy = make.sandbox(), make.container(pod, "proxy")
    assert [each.name for each in plan(make.snapshot(pod, sandbox)).actions] == ["proxy"]
    assert plan(make.snapshot(pod, sandbox, proxy, started=frozenset())).actions == ()
    assert [each.name for each in plan(make.snapshot(pod, sandbox, proxy)).actions] == ["app"]
    ended = make.container(pod, state="exited")
    assert [each.container.name for each in plan(make.snapshot(pod, sandbox, proxy, ended)).actions] == ["proxy"]


def test_a_changed_image_replaces_the_container(make):
    pod = make.pod()
    stale = make.container(pod, spec_hash="other")
    (action,) = plan(make.snapshot(pod, make.sandbox(), stale)).actions
    assert action.message == "Container app definition changed, will be restarted"


def test_a_failed_liveness_probe_kills(make):
    pod = make.pod()
    (action,) = plan(make.snapshot(pod, make.sandbox(), make.container(pod), condemned={"app-0": "liveness"})).actions
    assert action.message == "Container app failed liveness probe, will be restarted"
    assert action.grace_seconds == 30.0


def test_a_dead_sandbox_takes_everything_with_it(make):
    pod = make.pod()
    dead, app = make.sandbox("exited", finished_at=make.ago(1)), make.container(pod)
    assert kinds(plan(make.snapshot(pod, dead, app))) == [Kill]
    app = make.container(pod, state="exited", exit_code=137, backoff=40.0)
    assert kinds(plan(make.snapshot(pod, dead, app))) == [Remove]
    assert kinds(plan(make.snapshot(pod, app))) == [CreateSandbox]
    fresh = make.sandbox(id="sandbox-2", sandbox_id="sandbox-2")
    planned = plan(make.snapshot(pod, fresh, app))
    assert planned.actions == (Start("app", attempt=1, backoff=40.0, sandbox_id="sandbox-2"),)


def test_a_pod_that_must_not_restart_ends_with_its_sandbox(make):
    pod = make.pod({"restartPolicy": "Never"})
    app = make.container(pod, state="exited", exit_code=137)
    assert kinds(plan(make.snapshot(pod, make.sandbox("exited"), app))) == [ReleaseSandbox]
    assert plan(make.snapshot(pod, app)).actions == ()


def test_a_failure_waits_for_its_time(make):
    pod = make.pod()
    failure = Failure("ErrImagePull", "no", at=make.ago(5), retry_at=make.ago(-5))
    planned = plan(make.snapshot(pod, make.sandbox(), failures={"app": failure}))
    assert planned.actions == () and planned.wake_at == failure.retry_at
    late = replace(failure, retry_at=make.ago(0))
    assert kinds(plan(make.snapshot(pod, make.sandbox(), failures={"app": late}))) == [Start]
    planned = plan(make.snapshot(pod, failures={"": failure}))
    assert planned.actions == () and planned.wake_at == failure.retry_at


# Ending


def deleted(make, spec=None, grace=5):
    stamp = make.now.isoformat()
    return make.pod(spec, metadata={"deletionTimestamp": stamp, "deletionGracePeriodSeconds": grace})


def test_a_deleted_pod_ends_step_by_step(make):
    pod = deleted(make)
    app = make.container(pod)
    planned = plan(make.snapshot(pod, make.sandbox(), app))
    assert planned.actions == (Kill(app, "Stopping container app", 5.0),)
    assert kinds(plan(make.snapshot(pod, make.sandbox(), make.container(pod, state="exited")))) == [Finalize]
    assert kinds(plan(make.snapshot(pod))) == [Finalize]


def test_what_is_being_started_is_waited_for(make):
    pod = deleted(make)
    assert plan(make.snapshot(pod, make.sandbox(), busy=frozenset({"start/app"}))).actions == ()


def test_sidecars_are_killed_last(make):
    pod = deleted(make, SIDECAR)
    app, proxy = make.container(pod), make.container(pod, "proxy")
    assert [each.container for each in plan(make.snapshot(pod, make.sandbox(), app, proxy)).actions] == [app]
    assert [each.container for each in plan(make.snapshot(pod, make.sandbox(), proxy)).actions] == [proxy]


def test_a_pod_the_api_server_lost_is_ended_quickly(make):
    pod = make.pod()
    (action,) = plan(make.snapshot(pod, make.sandbox(), make.container(pod), gone=True)).actions
    assert action.grace_seconds == 1.0


def test_a_refused_pod_is_never_started(make):
    assert plan(make.snapshot(make.pod(), rejected=("OutOfcpu", "too much"))).actions == ()


def test_a_pod_that_ended_before_is_not_started_again(make):
    assert plan(make.snapshot(make.pod(phase="Succeeded"))).actions == ()


def test_the_active_deadline_ends_a_pod(make):
    pod = make.pod({"activeDeadlineSeconds": 60}, startTime=make.ago(50).isoformat())
    planned = plan(make.snapshot(pod, make.sandbox(), make.container(pod)))
    assert planned.actions == () and planned.wake_at == make.ago(-10)
    pod = make.pod({"activeDeadlineSeconds": 60}, startTime=make.ago(60).isoformat())
    assert kinds(plan(make.snapshot(pod, make.sandbox(), make.container(pod)))) == [Kill]
    dead = make.container(pod, state="exited", exit_code=137)
    assert kinds(plan(make.snapshot(pod, make.sandbox(), dead))) == [ReleaseSandbox]


def test_attempts_the_engine_lost_are_counted_on(make):
    known = {
        "name": "app",
        "image": "app:1",
        "imageID": "",
        "ready": True,
        "restartCount": 4,
        "containerID": "docker://x",
    }
    (action,) = plan(make.snapshot(make.pod(containerStatuses=[known]), make.sandbox())).actions
    assert action.attempt == 5


@pytest.mark.parametrize(("inits", "begun"), [([], ["app"]), (["first", "second"], ["first"])])
def test_the_first_containers_are_made_while_the_sandbox_is_connected(make, inits, begun):
    pod = make.pod({"initContainers": [{"name": each, "image": "x"} for each in inits]})
    snapshot = make.snapshot(pod, busy={"sandbox"}, coming="new")
    assert [(each.name, each.sandbox_id) for each in plan(snapshot).actions] == [(each, "new") for each in begun]


def test_a_restarted_pod_waits_for_its_sandbox(make):
    pod = make.pod()
    dead = make.container(pod, state="exited")
    assert plan(make.snapshot(pod, dead, busy={"sandbox"}, coming="new")).actions == ()
