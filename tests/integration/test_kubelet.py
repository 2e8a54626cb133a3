"""The kubelet on a real engine and a real API server."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest
from control_plane import until
from kubelet_node import (
    NODE,
    SLEEP,
    WEB,
    container,
    event,
    eventually,
    is_ready,
    logs,
    phase_is,
    shell,
    waiting,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import ConfigMap, Node, Pod, Secret

from api import meta, pods
from client import rest
from kubelet.network.links import host_link

pytest_plugins = ["engine_fixtures"]


async def test_the_node_registers_with_a_lease(node, api):
    found = await api.client.get(Node, NODE)
    assert is_ready(found)
    assert {each.type: each.address for each in found.status.addresses}["InternalIP"] == "10.89.99.1"
    assert int(found.status.allocatable["pods"]) == 110
    assert found.status.nodeInfo.containerRuntimeVersion.startswith("docker://")
    first = await api.client.get(Lease, NODE, namespace="kube-node-lease")

    def renewed(leases):
        return any(meta.name(each) == NODE and each.spec.renewTime > first.spec.renewTime for each in leases)

    await until(api.client, Lease, renewed, namespace="kube-node-lease")


async def test_a_pod_runs_and_is_reached_by_its_address(node, api):
    probe = {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1}
    ports = [{"containerPort": 80, "hostPort": 8088}]
    await api.create("web", {"containers": [{**WEB, "readinessProbe": probe, "ports": ports}, SLEEP]})
    pod = await api.ready("web")
    assert pod.status.podIP.startswith("10.244.9.") and pod.status.hostIP == "10.89.99.1"
    for address in (pod.status.podIP, "10.89.99.1:8088", "127.0.0.1:8088"):
        answer = await asyncio.to_thread(node.inside, "busybox", "wget", "-q", "-O-", f"http://{address}/")
        assert answer.stdout == "web\n", address
    for reason in ("Pulled", "Created", "Started"):
        await event(api, "web", reason)
    await api.delete(pod)
    assert node.containers(pod) == []
    assert host_link(meta.uid(pod)) not in node.inside("ip", "link").stdout
    assert list((node.data_dir / "addresses").glob(pod.status.podIP)) == []
    assert not (node.data_dir / "pods" / meta.uid(pod)).exists()


async def test_pods_reach_each_other_and_containers_share_the_loopback(node, api):
    await api.create("server", {"containers": [WEB]})
    server = await api.ready("server")
    script = f"wget -q -O- http://{server.status.podIP}/"
    for name, containers in (
        ("other", [shell(script)]),
        ("same", [WEB, shell("sleep 1; wget -q -O- http://127.0.0.1/")]),
    ):
        await api.create(name, {"containers": containers, "restartPolicy": "OnFailure"})
        await api.pod(name, lambda pod: container(pod) and container(pod).state.terminated)
    assert await logs(node, "other") == (200, "server\n")
    assert await logs(node, "same") == (200, "same\n")


async def test_a_killed_container_comes_back_then_backs_off(node, api):
    await api.create("crash", {"containers": [SLEEP]})
    pod = await api.ready("crash")
    await asyncio.to_thread(node.kill_process, pod, "app")
    pod = await api.pod("crash", lambda pod: container(pod).restartCount == 1 and pods.is_ready(pod))
    assert container(pod).lastState.terminated.exitCode == 137
    await asyncio.to_thread(node.kill_process, pod, "app")
    pod = await api.pod("crash", lambda pod: waiting(pod) == "CrashLoopBackOff")
    message = container(pod).state.waiting.message
    assert message == f"back-off 10s restarting failed container=app pod=crash_default({meta.uid(pod)})"
    assert not pods.is_ready(pod) and pods.phase(pod) == "Running"
    await event(api, "crash", "BackOff", "Back-off restarting failed container app in pod crash_default")


@pytest.mark.parametrize(("code", "phase"), [(0, "Succeeded"), (3, "Failed")])
async def test_a_pod_that_ends(node, api, code, phase):
    name = f"end-{code}"
    await api.create(name, {"containers": [shell(f"echo bye; exit {code}")], "restartPolicy": "Never"})
    pod = await api.pod(name, phase_is(phase))
    assert container(pod).state.terminated.exitCode == code
    assert await logs(node, name) == (200, "bye\n")


async def test_a_restarted_kubelet_adopts_what_runs(node, api):
    probe = {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1}
    await api.create("adopted", {"containers": [{**WEB, "readinessProbe": probe}, SLEEP]})
    pod = await api.ready("adopted")
    await asyncio.to_thread(node.kill_process, pod, "app")
    pod = await api.pod("adopted", lambda pod: container(pod).restartCount == 1 and pods.is_ready(pod))
    before = {each["Id"] for each in node.containers(pod, all_=False)}
    node.kill_kubelet()
    node.start_kubelet()
    # What comes now is done by the new kubelet, which has looked at the old pod before.
    await api.create("after", {"containers": [SLEEP]})
    await api.ready("after")
    assert {each["Id"] for each in node.containers(pod, all_=False)} == before
    again = await api.client.get(Pod, "adopted", namespace="default")
    assert container(again).restartCount == 1 and pods.is_ready(again)
    assert again.status.podIP == pod.status.podIP
    ready = meta.get_condition(pod.status.conditions, "Ready"), meta.get_condition(again.status.conditions, "Ready")
    assert ready[0].lastTransitionTime == ready[1].lastTransitionTime, "it was never unready meanwhile"


async def test_what_was_deleted_while_the_kubelet_was_away_is_removed(node, api):
    await api.create("forced", {"containers": [SLEEP]})
    await api.create("asked", {"containers": [SLEEP]})
    forced, asked = await api.ready("forced"), await api.ready("asked")
    node.kill_kubelet()
    await api.delete(forced, grace_seconds=0)
    await api.client.delete(Pod, "asked", namespace="default")
    assert node.containers(forced) and node.containers(asked)
    node.start_kubelet()
    await api.gone("asked")
    assert node.containers(asked) == []
    await api.create("later", {"containers": [SLEEP]})
    await api.ready("later")
    await eventually(lambda: not node.containers(forced))
    assert host_link(meta.uid(forced)) not in node.inside("ip", "link").stdout


async def test_a_dead_sandbox_means_a_new_pod_in_the_old_name(node, api):
    await api.create("boxed", {"containers": [SLEEP]})
    pod = await api.ready("boxed")
    sandbox = next(each for each in node.containers(pod) if "POD" in each["Names"][0])
    await asyncio.to_thread(node.engine.client().kill, sandbox["Id"])
    again = await api.pod("boxed", lambda pod: container(pod).restartCount == 1 and pods.is_ready(pod))
    assert again.status.podIP == pod.status.podIP
    assert len(node.containers(pod, all_=False)) == 2


async def test_liveness_restarts_and_readiness_only_tells(node, api):
    script = "touch /alive /ready; exec sleep 1000"
    probes = {
        "livenessProbe": {"exec": {"command": ["cat", "/alive"]}, "periodSeconds": 1, "failureThreshold": 1},
        "readinessProbe": {"exec": {"command": ["cat", "/ready"]}, "periodSeconds": 1, "failureThreshold": 1},
    }
    await api.create("probed", {"containers": [shell(script, **probes)]})
    pod = await api.ready("probed")
    app = next(each["Id"] for each in node.containers(pod) if "k8s_app" in each["Names"][0])

    def inside(command: str) -> None:
        client = node.engine.client()
        client.exec_start(client.exec_create(app, ["sh", "-c", command])["Id"])

    await asyncio.to_thread(inside, "rm /ready")
    unready = await api.pod("probed", lambda pod: not pods.is_ready(pod))
    assert container(unready).restartCount == 0 and container(unready).state.running
    await event(api, "probed", "Unhealthy", "Readiness probe failed")
    await asyncio.to_thread(inside, "touch /ready; rm /alive")
    await api.pod("probed", lambda pod: container(pod).restartCount == 1 and pods.is_ready(pod))
    await event(api, "probed", "Killing", "Container app failed liveness probe, will be restarted")


async def test_startup_gates_readiness(node, api):
    probes = {
        "startupProbe": {"exec": {"command": ["cat", "/go"]}, "periodSeconds": 1, "failureThreshold": 60},
        "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1},
    }
    await api.create("slow", {"containers": [shell("exec sleep 1000", **probes)]})
    pod = await api.pod("slow", lambda pod: container(pod) and container(pod).state.running)
    assert container(pod).started is False and not container(pod).ready
    app = next(each["Id"] for each in node.containers(pod) if "k8s_app" in each["Names"][0])
    client = node.engine.client()
    await asyncio.to_thread(client.exec_start, client.exec_create(app, ["touch", "/go"])["Id"])
    assert container(await api.ready("slow")).started is True


@pytest.mark.parametrize(
    ("name", "image", "policy", "reason", "text"),
    [
        ("never", "minik/nope:1", "Never", "ErrImageNeverPull", "is not present with pull policy of Never"),
        ("refused", "127.0.0.1:1/nope:1", "IfNotPresent", "ErrImagePull", 'failed to pull image "127.0.0.1:1/nope:1"'),
    ],
)
async def test_images_that_cannot_be_had(node, api, name, image, policy, reason, text):
    pod = await api.create(name, {"containers": [{**SLEEP, "image": image, "imagePullPolicy": policy}]})
    pod = await api.pod(name, lambda pod: waiting(pod) == reason)
    assert text in container(pod).state.waiting.message
    await event(api, name, "Failed", f"Error: {reason}")
    if reason == "ErrImagePull":
        pod = await api.pod(name, lambda pod: waiting(pod) == "ImagePullBackOff")
        code, body = await logs(node, name)
        assert code == 400
        assert body == f'container "app" in pod "{name}" is waiting to start: trying and failing to pull image'
    await api.delete(pod)


async def test_configuration_is_waited_for(node, api):
    script = 'echo "$GREETING $NAME $BOTH $(cat /config/file) $(cat /secret/key)"'
    env = [
        {"name": "GREETING", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "greeting"}}},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "BOTH", "value": "$(GREETING)-$(NAME)-$$(NAME)"},
    ]
    mounts = [{"name": "config", "mountPath": "/config"}, {"name": "secret", "mountPath": "/secret"}]
    volumes = [
        {"name": "config", "configMap": {"name": "settings", "items": [{"key": "greeting", "path": "file"}]}},
        {"name": "secret", "secret": {"secretName": "hidden"}},
    ]
    spec = {"containers": [shell(script, env=env, volumeMounts=mounts)], "volumes": volumes, "restartPolicy": "Never"}
    await api.create("configured", spec)
    await event(api, "configured", "FailedMount", 'configmap "settings" not found')
    await api.client.create(
        ConfigMap(metadata=ObjectMeta(name="settings", namespace="default"), data={"greeting": "hello"})
    )
    await api.client.create(Secret(metadata=ObjectMeta(name="hidden", namespace="default"), stringData={"key": "shh"}))
    await api.pod("configured", phase_is("Succeeded"))
    assert await logs(node, "configured") == (200, "hello configured hello-configured-$(NAME) hello shh\n")


async def test_a_missing_key_is_named(node, api):
    env = [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "absent", "key": "x"}}}]
    await api.create("keyless", {"containers": [shell("true", env=env)]})
    pod = await api.pod("keyless", lambda pod: waiting(pod) == "CreateContainerConfigError")
    assert container(pod).state.waiting.message == 'configmap "absent" not found'


async def test_init_containers_prepare_a_shared_volume(node, api):
    mount = [{"name": "shared", "mountPath": "/shared"}]
    first = {**shell("echo prepared > /shared/file", volumeMounts=mount), "name": "first"}
    spec = {
        "initContainers": [first],
        "containers": [shell("cat /shared/file", volumeMounts=mount)],
        "volumes": [{"name": "shared", "emptyDir": {}}],
        "restartPolicy": "Never",
    }
    await api.create("prepared", spec)
    await api.pod("prepared", phase_is("Succeeded"))
    assert await logs(node, "prepared") == (200, "prepared\n")


async def test_a_command_that_does_not_exist(node, api):
    await api.create("typo", {"containers": [{**SLEEP, "command": ["no-such-program"]}]})
    pod = await api.pod("typo", lambda pod: waiting(pod) == "CrashLoopBackOff")
    assert "no-such-program" in container(pod).lastState.terminated.message
    assert container(pod).lastState.terminated.reason == "StartError"


async def test_grace_lets_a_pod_end_well(node, api):
    script = 'trap "echo cleaned up > /out/file; exit 0" TERM; touch /out/up; while :; do sleep 0.1; done'
    volumes = [{"name": "out", "hostPath": {"path": str(node.directory / "out"), "type": "DirectoryOrCreate"}}]
    mounts = [{"name": "out", "mountPath": "/out"}]
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook > /out/hook"]}}}
    spec = {
        "containers": [shell(script, volumeMounts=mounts, lifecycle=hook)],
        "volumes": volumes,
        "terminationGracePeriodSeconds": 20,
    }
    await api.create("graceful", spec)
    pod = await api.ready("graceful")
    await eventually((node.directory / "out/up").exists)
    await api.delete(pod)
    assert (node.directory / "out/file").read_text() == "cleaned up\n"
    assert (node.directory / "out/hook").read_text() == "hook\n"


async def test_logs(node, api):
    await api.create("talker", {"containers": [shell("for i in 1 2 3; do echo line $i; done; exec sleep 1000")]})
    pod = await api.ready("talker")
    deadline = time.monotonic() + 20
    while await logs(node, "talker", query="tailLines=1") != (200, "line 3\n"):  # Ready says nothing of what is written
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert await logs(node, "talker", query="limitBytes=4") == (200, "line")
    _, stamped = await logs(node, "talker", query="timestamps=true&tailLines=1")
    assert stamped.endswith("Z line 3\n")
    code, body = await logs(node, "talker", query="previous=true")
    assert (code, body) == (400, 'previous terminated container "app" in pod "talker" not found')
    await asyncio.to_thread(node.kill_process, pod, "app")
    await api.pod("talker", lambda pod: container(pod).restartCount == 1 and pods.is_ready(pod))
    assert await logs(node, "talker", query="previous=true&tailLines=1") == (200, "line 3\n")
    assert (await logs(node, "talker", query="tailLines=x"))[0] == 400
    assert (await logs(node, "talker", "nobody"))[0] == 400
    assert (await logs(node, "nobody"))[0] == 404
    code, _ = await asyncio.to_thread(lambda: node.get("/healthz", certificate=""))
    assert code == 0, "without a certificate nobody gets in"
    code, why = await asyncio.to_thread(lambda: node.get("/pods", certificate="kubelet"))
    assert code == 403 and "user=system:node:node-1" in why, "a node reads no other node's logs"


async def test_a_pod_that_does_not_fit_is_refused(node, api):
    await api.create("huge", {"containers": [{**SLEEP, "resources": {"requests": {"cpu": "1000"}}}]})
    pod = await api.pod("huge", phase_is("Failed"))
    assert pod.status.reason == "OutOfcpu"
    assert "Node didn't have enough resource: cpu, requested: 1000000" in pod.status.message


async def test_host_network_and_limits(node, api):
    resources = {"limits": {"memory": "64Mi", "cpu": "500m"}}
    await api.create("hosted", {"hostNetwork": True, "containers": [{**SLEEP, "resources": resources}]})
    pod = await api.ready("hosted")
    assert pod.status.podIP == pod.status.hostIP
    app = next(each for each in node.containers(pod) if "k8s_app" in each["Names"][0])
    limits = node.engine.client().inspect_container(app["Id"])["HostConfig"]
    assert (limits["Memory"], limits["CpuQuota"], limits["CpuShares"]) == (64 * 2**20, 50000, 512)


async def test_many_at_once(node, api):
    await asyncio.gather(*(api.create(f"many-{index}", {"containers": [SLEEP]}) for index in range(8)))
    running = [await api.ready(f"many-{index}") for index in range(8)]
    assert len({each.status.podIP for each in running}) == 8
    await asyncio.gather(*(api.delete(each) for each in running))
    assert [node.containers(each) for each in running] == [[]] * 8


async def test_what_somebody_else_said_of_a_pod_is_put_right(node, api):
    """As the node controller does when the node does not answer: once it does, its own word counts again."""
    await api.create("slandered", {"containers": [SLEEP]})
    await api.ready("slandered")
    slander = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    path = "/api/v1/namespaces/default/pods/slandered/status"
    headers = {"Content-Type": "application/strategic-merge-patch+json"}
    answer = await rest.request(api.client, "PATCH", path, body=slander, headers=headers)
    assert not pods.is_ready(msgspec.json.decode(answer, type=Pod))
    await api.ready("slandered")
