"""The small pure parts: addresses, the sandbox program, engine configuration, limits, admission, flags."""

import struct
import subprocess
import time

import msgspec
import pytest
from lightkube.resources.core_v1 import Node

from kubelet.admission import refusal
from kubelet.images import pull_policy
from kubelet.machine import architecture
from kubelet.main import parse_args, parse_labels, parse_taints
from kubelet.network.host_ports import rules as node_rules
from kubelet.network.ipam import AddressPool, NoAddressLeft
from kubelet.network.links import Peer, host_link, vtep_mac
from kubelet.network.overlay import peers_of
from kubelet.pods.container_spec import ClusterDns, hosts_file, resolv_conf, security
from kubelet.pods.env import ConfigError
from kubelet.pods.resources import container_resources, qos_class
from kubelet.runtime import docker_config, pause
from kubelet.runtime.base import ContainerSpec, Image, PodRef
from kubelet.server import Refused, log_options

# Addresses


def test_a_pod_keeps_its_address_over_a_restart(tmp_path):
    pool = AddressPool(tmp_path)
    pool.configure("10.244.1.0/24")
    assert [pool.allocate("a"), pool.allocate("b"), pool.allocate("a")] == ["10.244.1.2", "10.244.1.3", "10.244.1.2"]
    pool.complete("a", "sandbox")
    again = AddressPool(tmp_path)
    again.configure("10.244.1.0/24")
    assert again.lease("a").sandbox_id == "sandbox" and again.allocate("b") == "10.244.1.3"
    again.release("a")
    assert again.lease("a") is None and not (tmp_path / "10.244.1.2").exists()


def test_an_address_rests_before_it_is_given_again(tmp_path):
    pool = AddressPool(tmp_path)
    pool.configure("10.244.1.0/29")
    first = pool.allocate("a")
    pool.release("a")
    assert pool.allocate("b") != first


def test_a_range_is_used_up_and_no_further(tmp_path):
    pool = AddressPool(tmp_path)
    pool.configure("10.244.1.0/29")
    given = {pool.allocate(str(each)) for each in range(5)}
    assert given == {f"10.244.1.{each}" for each in range(2, 7)}
    with pytest.raises(NoAddressLeft):
        pool.allocate("one too many")


def test_another_range_and_broken_files_are_forgotten(tmp_path):
    pool = AddressPool(tmp_path)
    pool.configure("10.244.1.0/24")
    pool.allocate("a")
    (tmp_path / "10.244.1.9").write_text("{half")
    again = AddressPool(tmp_path)
    again.configure("10.244.2.0/24")
    assert again.allocate("a") == "10.244.2.2"
    assert [each.name for each in tmp_path.iterdir()] == ["10.244.2.2"]


# The network


def test_names_fit_the_kernel_and_follow_from_the_pod():
    assert len(host_link("some-uid")) == 15 and host_link("some-uid") == host_link("some-uid") != host_link("other")
    assert vtep_mac("10.89.0.11") == "02:42:0a:59:00:0b"


def test_masquerading_stops_at_the_cluster():
    *_, rule = node_rules("10.244.1.0/24", "10.244.0.0/16", []).chains["postrouting"]
    assert rule.startswith("ip saddr 10.244.1.0/24 ip daddr != 10.244.0.0/16")


def test_peers_are_the_other_nodes_that_are_complete():
    def node(name, cidr, ip):
        addresses = [{"type": "Hostname", "address": name}] + ([{"type": "InternalIP", "address": ip}] if ip else [])
        document = {"metadata": {"name": name}, "spec": {"podCIDR": cidr}, "status": {"addresses": addresses}}
        return msgspec.convert(document, Node)

    nodes = [
        node("me", "10.244.1.0/24", "10.0.0.1"),
        node("two", "10.244.2.0/24", "10.0.0.2"),
        node("new", None, "10.0.0.3"),
        node("odd", "10.244.4.0/24", ""),
    ]
    assert peers_of(nodes, "me") == {Peer("10.0.0.2", "10.244.2.0/24")}


# The sandbox program


@pytest.mark.parametrize(("architecture", "machine"), [("amd64", 62), ("arm64", 183)])
def test_the_program_is_an_elf_of_a_few_hundred_bytes(architecture, machine):
    program = pause.elf(architecture)
    assert program[:4] == b"\x7fELF" and len(program) < 300
    assert struct.unpack_from("<H", program, 18) == (machine,)


def test_the_program_sleeps_until_it_is_killed(tmp_path):
    path = tmp_path / "pause"
    path.write_bytes(pause.elf(architecture()))
    path.chmod(0o755)
    process = subprocess.Popen([path])
    time.sleep(0.05)  # it would have crashed by now
    assert process.poll() is None
    process.kill()
    assert process.wait() == -9


def test_no_program_for_other_machines():
    with pytest.raises(ValueError, match="--sandbox-image"):
        pause.elf("riscv64")


# What the engine is told


def spec(**fields):
    base = {"pod": PodRef("ns", "web", "uid"), "name": "app", "attempt": 2, "image": "sha256:1", "image_name": "app:1"}
    return ContainerSpec(**{**base, "sandbox_id": "box", "spec_hash": "h", "backoff": 20.0, **fields})


def test_a_container_joins_its_sandbox():
    config = docker_config.container_config(spec(command=["a"], args=["b"]), cgroup_parent="/x", negative_oom=True)
    host = config["HostConfig"]
    assert host["NetworkMode"] == host["IpcMode"] == "container:box" and host["PidMode"] == ""
    assert (config["Entrypoint"], config["Cmd"]) == (["a"], ["b"])
    assert host["CgroupParent"] == "/x"
    assert config["Labels"]["minik.dev/restart-backoff-seconds"] == "20"
    assert config["Labels"]["io.kubernetes.container.restartCount"] == "2"
    assert docker_config.container_name(PodRef("ns", "web", "uid"), "app", 2) == "k8s_app_web_ns_uid_2"


def test_the_images_own_command_is_left_in_place():
    config = docker_config.container_config(spec(), cgroup_parent="", negative_oom=True)
    assert "Entrypoint" not in config and "Cmd" not in config


@pytest.mark.parametrize(("allowed", "score"), [(True, -997), (False, 0)])
def test_negative_oom_scores_only_where_they_work(make, allowed, score):
    resources = {"limits": {"cpu": "1", "memory": "1Gi"}}
    pod = make.pod({"containers": [{"name": "app", "image": "x", "resources": resources}]})
    wanted = container_resources(pod, pod.spec.containers[0], node_memory_bytes=2**34)
    config = docker_config.container_config(spec(resources=wanted), cgroup_parent="", negative_oom=allowed)
    assert config["HostConfig"]["OomScoreAdj"] == score


@pytest.mark.parametrize(
    ("resources", "quality", "shares", "quota", "memory", "oom"),
    [
        ({}, "BestEffort", 2, 0, 0, 1000),
        ({"requests": {"cpu": "250m"}}, "Burstable", 256, 0, 0, 999),
        ({"requests": {"memory": "512Mi"}}, "Burstable", 2, 0, 0, 500),
        ({"limits": {"cpu": "500m", "memory": "64Mi"}}, "Guaranteed", 512, 50000, 64 * 2**20, -997),
    ],
)
def test_resources_and_quality_of_service(make, resources, quality, shares, quota, memory, oom):
    pod = make.pod({"containers": [{"name": "app", "image": "x", "resources": resources}]})
    result = container_resources(pod, pod.spec.containers[0], node_memory_bytes=2**30)
    assert qos_class(pod) == quality
    assert (result.cpu_shares, result.cpu_quota, result.memory_bytes, result.oom_score_adj) == (
        shares,
        quota,
        memory,
        oom,
    )


# The pod's own files


def test_hosts_and_resolv_conf(make):
    dns = ClusterDns("10.96.0.10", "cluster.local")
    pod = make.pod({"hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]})
    assert hosts_file(pod, "10.244.1.7", dns).splitlines()[-2:] == ["10.244.1.7\tweb", "1.2.3.4\ta\tb"]
    assert resolv_conf(pod, dns, "nameserver 9.9.9.9\n") == (
        "nameserver 10.96.0.10\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"
    )
    own = "nameserver 9.9.9.9\nsearch example.org\n"
    assert resolv_conf(make.pod({"dnsPolicy": "Default"}), dns, own) == own
    assert resolv_conf(make.pod({"hostNetwork": True}), dns, own) == own
    custom = make.pod({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "options": [{"name": "edns0"}]}})
    assert resolv_conf(custom, dns, own) == "nameserver 1.1.1.1\noptions edns0\n"


def test_security(make):
    context = {"runAsUser": 1000, "runAsGroup": 2000, "capabilities": {"drop": ["ALL"]}}
    containers = [{"name": "app", "image": "x", "securityContext": context}]
    pod = make.pod({"containers": containers, "securityContext": {"runAsUser": 5, "fsGroup": 7, "runAsNonRoot": True}})
    result = security(pod, pod.spec.containers[0], Image("i", 0))
    assert (result.user, result.groups, result.drop_capabilities) == ("1000:2000", ("7",), ("ALL",))
    pod = make.pod({"securityContext": {"runAsNonRoot": True}})
    with pytest.raises(ConfigError, match="image will run as root"):
        security(pod, pod.spec.containers[0], Image("i", 0))


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("app", "Always"),
        ("app:latest", "Always"),
        ("app:1", "IfNotPresent"),
        ("host:5000/app", "Always"),
        ("host:5000/app:1", "IfNotPresent"),
        ("app@sha256:abc", "IfNotPresent"),
    ],
)
def test_default_pull_policies(make, image, policy):
    pod = make.pod({"containers": [{"name": "app", "image": image}]})
    assert pull_policy(pod.spec.containers[0]) == policy


# Admission, flags, queries


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({}, None),
        ({"nodeSelector": {"disk": "ssd"}}, "NodeAffinity"),
        ({"containers": [{"name": "a", "image": "x", "resources": {"requests": {"cpu": "2"}}}]}, "OutOfcpu"),
        ({"containers": [{"name": "a", "image": "x", "resources": {"requests": {"memory": "2Gi"}}}]}, "OutOfmemory"),
    ],
)
def test_admission(make, spec, reason):
    node = msgspec.convert({"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "2", "memory": "1Gi"}}}, Node)
    half = make.pod({"containers": [{"name": "a", "image": "x", "resources": {"requests": {"cpu": "500m"}}}]})
    verdict = refusal(make.pod(spec), node, [half])
    assert (verdict and verdict[0]) == reason


def test_flags():
    required = ["--kubeconfig=k", "--hostname-override=n", "--node-ip=10.0.0.1"]
    args = parse_args([*required, "--node-lease-duration-seconds=1.5", "--node-status-update-frequency=1m"])
    assert (args.node_lease_duration_seconds, args.node_status_update_frequency) == (1.5, 60.0)
    with pytest.raises(SystemExit):
        parse_args([*required, "--tls-cert-file=c"])
    assert parse_labels("a=b,c=d=e,") == {"a": "b", "c": "d=e"}
    assert [(each.key, each.value, each.effect) for each in parse_taints("a=b:NoSchedule,c:NoExecute")] == [
        ("a", "b", "NoSchedule"),
        ("c", None, "NoExecute"),
    ]


def test_log_queries():
    options = log_options({"follow": "true", "tailLines": "5", "sinceSeconds": "10"})
    assert options.follow and options.tail == 5 and options.since is not None
    assert log_options({}).tail is None
    with pytest.raises(Refused, match="invalid tailLines: -1"):
        log_options({"tailLines": "-1"})
