"""Probes and lifecycle hooks of running pods, on a real engine and a real API server."""

from __future__ import annotations

from control_plane import until
from kubelet_node import SLEEP, container, event, eventually, shell
from lightkube.resources.core_v1 import Pod

from api import meta
from client import rest

pytest_plugins = ["engine_fixtures"]

HANGING = 24


def out(node, name):
    """A directory of the node, as volume and mount, and where it is."""
    path = node.directory / name
    return {"name": "out", "hostPath": {"path": str(path), "type": "DirectoryOrCreate"}}, path


MOUNT = [{"name": "out", "mountPath": "/out"}]


async def test_hanging_exec_probes_starve_nobody(node, api):
    """More of them than there are threads: a healthy pod's liveness probe is still asked in time, and succeeds."""
    hanging = {"exec": {"command": ["sleep", "55"]}, "timeoutSeconds": 30, "periodSeconds": 30}
    names = [f"c{number}" for number in range(HANGING)]
    stuck = [{**SLEEP, "name": each, "readinessProbe": hanging} for each in names]
    pod = await api.create("hanging", {"containers": stuck})
    await api.pod("hanging", lambda pod: all(container(pod, each) and container(pod, each).started for each in names))
    probe = {"exec": {"command": ["true"]}, "timeoutSeconds": 5, "periodSeconds": 1, "failureThreshold": 1}
    await api.create("healthy", {"containers": [{**SLEEP, "livenessProbe": probe, "readinessProbe": probe}]})
    ready = await api.ready("healthy")
    assert container(ready).restartCount == 0
    await api.delete(pod, grace_seconds=0)


async def test_a_liveness_probe_may_have_a_grace_of_its_own(node, api):
    """The pod's would hold up the restart for ten minutes."""
    script = "trap '' TERM; while :; do sleep 1; done"
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
    app = shell(script, livenessProbe={**probe, "terminationGracePeriodSeconds": 1})
    pod = await api.create("stubborn", {"containers": [app], "terminationGracePeriodSeconds": 600})
    await api.pod("stubborn", lambda pod: container(pod) and container(pod).restartCount == 1)
    await api.delete(pod, grace_seconds=0)


async def test_post_start_takes_its_time_but_not_a_deleted_pods(node, api):
    """Longer than the grace period of one second it may run; but a pod that has to go does not wait for it."""
    volume, path = out(node, "post-start")
    done = {"exec": {"command": ["sh", "-c", "sleep 3; touch /out/done"]}}
    spec = {"containers": [{**SLEEP, "volumeMounts": MOUNT, "lifecycle": {"postStart": done}}], "volumes": [volume]}
    await api.create("patient", spec)
    await api.ready("patient")
    assert (path / "done").exists()
    hung = {"postStart": {"exec": {"command": ["sh", "-c", "touch /out/hung; sleep 1000"]}}}
    spec = {"containers": [{**SLEEP, "volumeMounts": MOUNT, "lifecycle": hung}], "volumes": [volume]}
    pod = await api.create("hung", spec)
    await eventually((path / "hung").exists)
    await api.delete(pod)


async def test_hooks_that_fail_are_told(node, api):
    http = {"httpGet": {"path": "/", "port": 1}}
    fails = {"exec": {"command": ["false"]}}
    await api.create("unhooked", {"containers": [{**SLEEP, "lifecycle": {"postStart": http}}]})
    await event(api, "unhooked", "FailedPostStartHook", "PostStartHook failed")
    pod = await api.create("unstopped", {"containers": [{**SLEEP, "lifecycle": {"preStop": fails}}]})
    await api.ready("unstopped")
    await api.delete(pod)
    await event(api, "unstopped", "FailedPreStopHook", "PreStopHook failed")


async def test_pre_stop_ends_with_a_shortened_grace(node, api):
    lifecycle = {"preStop": {"sleep": {"seconds": 500}}}
    pod = await api.create(
        "slow", {"containers": [{**SLEEP, "lifecycle": lifecycle}], "terminationGracePeriodSeconds": 600}
    )
    await api.ready("slow")
    await rest.delete(api.client, pod)
    await until(api.client, Pod, lambda all_: any(meta.is_terminating(each) for each in all_), namespace="default")
    await event(api, "slow", "Killing")
    await api.delete(pod, grace_seconds=1)


async def test_last_words(node, api):
    """From the file, from the log where asked for, and never more than 4096 bytes."""
    wordy = shell("yes word | head -c 9999 > /dev/termination-log; exit 3")
    silent = {**shell("echo only logged; exit 4"), "terminationMessagePolicy": "FallbackToLogsOnError", "name": "log"}
    content = {**shell("echo logged; exit 0"), "terminationMessagePolicy": "FallbackToLogsOnError", "name": "fine"}
    own = {
        **shell("echo here > /tmp/x"),
        "terminationMessagePath": "/tmp/x",
        "name": "own",
        "securityContext": {"runAsUser": 1000},
    }
    await api.create("last-words", {"containers": [wordy, silent, content, own], "restartPolicy": "Never"})

    def all_said(pod):
        said = {each.name: each.state.terminated for each in (pod.status.containerStatuses or []) if each.state}
        return len(said) == 4 and all(said.values()) and said["log"].message and said

    found = all_said(await api.pod("last-words", all_said))
    assert len(found["app"].message) == 4096 and found["app"].message.startswith("word\nword")
    assert (found["log"].message, found["fine"].message, found["own"].message) == ("only logged\n", None, "here\n")
