"""status_of: what is reported of a pod."""

from dataclasses import replace

import pytest
from lightkube.models.core_v1 import PodStatus

from api import meta
from kubelet.pods.snapshot import Failure
from kubelet.pods.status import status_of, wakes_at


def status(snapshot, previous=None):
    return status_of(snapshot, previous or PodStatus())


def condition(result, type_):
    found = meta.get_condition(result.conditions, type_)
    return found.status, found.reason, found.message


def only(result):
    (container,) = result.containerStatuses
    return container


def test_a_new_pod_is_pending(make):
    result = status(make.snapshot(make.pod(), ip=""))
    assert result.phase == "Pending"
    assert result.podIP is None and result.hostIP == "10.0.0.1"
    assert result.startTime == make.now and result.qosClass == "BestEffort"
    assert only(result).state.waiting.reason == "ContainerCreating"
    assert only(result).restartCount == 0 and only(result).ready is False
    assert condition(result, "PodScheduled") == ("True", None, None)
    assert condition(result, "Initialized") == ("True", None, None)
    message = "containers with unready status: [app]"
    assert condition(result, "Ready") == ("False", "ContainersNotReady", message)
    assert condition(result, "ContainersReady") == ("False", "ContainersNotReady", message)
    assert condition(result, "PodReadyToStartContainers") == ("False", None, None)


def test_a_running_pod_is_ready(make):
    pod = make.pod()
    result = status(make.snapshot(pod, make.sandbox(), make.container(pod)))
    assert result.phase == "Running"
    assert result.podIP == "10.244.1.7" and result.podIPs[0].ip == "10.244.1.7"
    assert condition(result, "Ready") == ("True", None, None)
    assert condition(result, "PodReadyToStartContainers") == ("True", None, None)
    container = only(result)
    assert container.ready and container.started
    assert container.state.running.startedAt == make.ago(90)
    assert container.containerID == "docker://app-0" and container.imageID == "docker://sha256:1"


def test_not_ready_until_the_probe_says_so(make):
    pod = make.pod()
    result = status(make.snapshot(pod, make.sandbox(), make.container(pod), ready=frozenset()))
    assert result.phase == "Running" and not only(result).ready
    assert condition(result, "Ready")[0] == "False"


def test_the_time_of_a_condition_is_that_of_its_last_change(make):
    pod = make.pod()
    first = status(make.snapshot(pod, make.sandbox(), make.container(pod)))
    later = replace(make.snapshot(pod, make.sandbox(), make.container(pod), ready=frozenset()), now=make.ago(-60))
    second = status(later, first)
    times = {each.type: each.lastTransitionTime for each in second.conditions}
    assert times["Ready"] == make.ago(-60) and times["PodScheduled"] == make.now
    assert second.startTime == first.startTime


def crash(make, pod, **fields):
    fields = {"state": "exited", "exit_code": 1, "backoff": 10.0, "attempt": 1, "ended": 3.0, **fields}
    return make.container(pod, **fields)


def test_crash_loop(make):
    pod = make.pod()
    result = status(make.snapshot(pod, make.sandbox(), crash(make, pod)))
    container = only(result)
    assert container.state.waiting.reason == "CrashLoopBackOff"
    assert container.state.waiting.message == (
        f"back-off 10s restarting failed container=app pod=web_default({make.uid})"
    )
    assert container.lastState.terminated.exitCode == 1
    assert container.lastState.terminated.reason == "Error"
    assert container.restartCount == 1
    assert result.phase == "Running"


@pytest.mark.parametrize(("backoff", "text"), [(20.0, "20s"), (80.0, "1m20s"), (160.0, "2m40s"), (300.0, "5m0s")])
def test_backoff_is_told_as_go_tells_durations(make, backoff, text):
    pod = make.pod()
    result = status(make.snapshot(pod, make.sandbox(), crash(make, pod, backoff=backoff, started_at=make.ago(5))))
    assert only(result).state.waiting.message.startswith(f"back-off {text} restarting")


def test_a_first_crash_is_shown_as_such(make):
    pod = make.pod()
    result = status(make.snapshot(pod, make.sandbox(), crash(make, pod, backoff=0.0, attempt=0)))
    assert only(result).state.terminated.exitCode == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"exit_code": 0}, "Completed"),
        ({"exit_code": 3}, "Error"),
        ({"exit_code": 137, "oom_killed": True}, "OOMKilled"),
    ],
)
def test_reasons_of_ends(make, fields, reason):
    pod = make.pod({"restartPolicy": "Never"})
    result = status(make.snapshot(pod, make.sandbox(), crash(make, pod, **fields)))
    assert only(result).state.terminated.reason == reason
    assert result.phase == ("Succeeded" if reason == "Completed" else "Failed")


def test_a_completed_pod_is_not_ready_and_says_why(make):
    pod = make.pod({"restartPolicy": "Never"})
    result = status(make.snapshot(pod, crash(make, pod, exit_code=0)))
    assert condition(result, "Ready") == ("False", "PodCompleted", None)
    assert condition(result, "Initialized")[:2] == ("True", "PodCompleted")


def test_a_restarted_container_remembers_its_last_end(make):
    pod = make.pod()
    before, now = crash(make, pod, attempt=0), make.container(pod, attempt=1)
    container = only(status(make.snapshot(pod, make.sandbox(), before, now)))
    assert container.restartCount == 1 and container.ready
    assert container.lastState.terminated.containerID == "docker://app-0"


def test_a_container_being_made_does_not_hide_the_one_before(make):
    pod = make.pod()
    before, half = crash(make, pod, attempt=0), make.container(pod, state="created", attempt=1)
    container = only(status(make.snapshot(pod, make.sandbox(), before, half, busy=frozenset({"start/app"}))))
    assert container.lastState.terminated.exitCode == 1 and container.restartCount == 1


def test_a_failed_pull_is_an_error_first_and_a_wait_then(make):
    pod = make.pod()
    failure = Failure(
        "ErrImagePull",
        "refused",
        at=make.ago(1),
        retry_at=make.ago(-9),
        backoff_reason="ImagePullBackOff",
        backoff_message='Back-off pulling image "app:1"',
    )
    snapshot = make.snapshot(pod, make.sandbox(), failures={"app": failure})
    assert only(status(snapshot)).state.waiting.reason == "ErrImagePull"
    assert wakes_at(snapshot) == make.ago(-1)
    later = replace(snapshot, now=make.ago(-1))
    assert only(status(later)).state.waiting.reason == "ImagePullBackOff"
    assert wakes_at(later) is None


def test_a_refused_start(make):
    pod = make.pod()
    refused = make.container(pod, state="created", error="exec: not found", exit_code=127, backoff=10.0)
    refused = replace(refused, created_at=make.ago(1))
    result = status(make.snapshot(pod, make.sandbox(), refused))
    assert only(result).state.waiting.reason == "RunContainerError"
    assert only(result).state.waiting.message == "exec: not found"
    later = replace(make.snapshot(pod, make.sandbox(), refused), now=make.ago(-3))
    assert only(status(later)).state.waiting.reason == "CrashLoopBackOff"
    assert only(status(later)).lastState.terminated.reason == "StartError"


def test_init_containers(make):
    pod = make.pod({"initContainers": [{"name": "one", "image": "i:1"}]})
    result = status(make.snapshot(pod, make.sandbox(), make.container(pod, "one")))
    assert result.phase == "Pending"
    message = "containers with incomplete status: [one]"
    assert condition(result, "Initialized") == ("False", "ContainersNotInitialized", message)
    assert only(result).state.waiting.reason == "PodInitializing"
    done = status(make.snapshot(pod, make.sandbox(), make.container(pod, "one", "exited"), make.container(pod)))
    assert done.initContainerStatuses[0].ready and done.phase == "Running"


def test_a_stopped_pod_keeps_what_its_containers_did(make):
    stamp = make.now.isoformat()
    pod = make.pod(metadata={"deletionTimestamp": stamp, "deletionGracePeriodSeconds": 5})
    ended = status(make.snapshot(pod, make.sandbox(), crash(make, pod, exit_code=137)))
    assert ended.phase == "Failed" and only(ended).state.terminated.exitCode == 137
    cleared = status(make.snapshot(pod), ended)
    assert only(cleared).state.terminated.exitCode == 137


def test_a_refused_pod_fails_with_the_reason(make):
    result = status(make.snapshot(make.pod(), rejected=("OutOfcpu", "Pod was rejected: no")))
    assert (result.phase, result.reason, result.message) == ("Failed", "OutOfcpu", "Pod was rejected: no")
    assert result.containerStatuses is None


def test_past_the_deadline(make):
    pod = make.pod({"activeDeadlineSeconds": 5}, startTime=make.ago(60).isoformat())
    result = status(make.snapshot(pod, make.sandbox(), make.container(pod)), pod.status)
    assert (result.phase, result.reason) == ("Failed", "DeadlineExceeded")


def test_readiness_gates(make):
    pod = make.pod({"readinessGates": [{"conditionType": "lb"}]})
    containers = make.sandbox(), make.container(pod)
    assert condition(status(make.snapshot(pod, *containers)), "Ready")[:2] == ("False", "ReadinessGatesNotReady")
    open_gate = [{"type": "lb", "status": "True"}]
    pod = make.pod({"readinessGates": [{"conditionType": "lb"}]}, conditions=open_gate)
    assert condition(status(make.snapshot(pod, *containers)), "Ready")[0] == "True"
