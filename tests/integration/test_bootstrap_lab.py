"""The lab on the real kernel: cables, engines, faults; and that nothing of it ever stays behind."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from bootstrap import supervisor
from lab import cgroups, faults, images, netns, network, processes, state
from lab.cluster import Lab
from lab.errors import LabError
from lab.host import Host

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab needs root")

NAME, SUBNET = "tlab", "10.86.0.0/24"
OTHER, OTHER_SUBNET = "tother", "10.86.1.0/24"


def shell(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True).stdout


def remains(name: str) -> list[str]:
    """Everything on this machine that still bears the lab's name."""
    found = [f"namespace {each}" for each in netns.names(f"{name}-")]
    found += [f"link {line}" for line in shell("ip", "-o", "link").splitlines() if f" {name}-" in line]
    found += [f"mount {line}" for line in shell("cat", "/proc/mounts").splitlines() if f"/{name}/" in line]
    found += [f"folder {each}" for each in (state.lab_dir(name), state.run_dir(name)) if each.exists()]
    found += [f"cgroup {each}" for top in ("", "*/") for each in cgroups.ROOT.glob(f"{top}minik/{name}")]
    return found + [f"process {each}" for each in processes.find([host.owner for host in Lab(name)._all_hosts()])]


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab without control plane: its hosts are enough here, and start within a second."""
    made = Lab(NAME, SUBNET)
    made.down()
    saved = state.LabState(NAME, SUBNET)
    for _ in range(2):
        saved.add()
    state.save(saved)
    network.create_switch(NAME, saved.network)
    for name in saved.nodes:
        made.host(name).plug()
    yield made
    made.down()
    assert remains(NAME) == []


@pytest.fixture
def node(lab: Lab) -> Host:
    """node-1 with a running engine that knows the lab's images."""
    host = lab.host("node-1")
    host.start_engine()
    host.wait_engine()
    docker(host, "load", "--input", str(images.ensure(lab.image_dir)))
    return host


def docker(host: Host, *words: str) -> str:
    done = subprocess.run(["docker", "-H", host.docker_host, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def until(holds: Callable[[], bool], *, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def reaches(host: Host, address: str) -> bool:
    return host.run(["busybox", "ping", "-c", "1", "-W", "1", address]).returncode == 0


def test_hosts_see_each_other_and_this_machine(lab: Lab) -> None:
    one = lab.host("node-1")
    assert reaches(one, "10.86.0.12") and reaches(one, "10.86.0.1")
    assert "default" not in one.run(["ip", "route"]).stdout, "nothing leaves the machine"


def test_bridge_netfilter_is_off_in_the_switch(lab: Lab) -> None:
    switch = network.switch_name(NAME)
    read = lambda: shell("cat", "/proc/sys/net/bridge/bridge-nf-call-iptables").strip()  # noqa: E731
    assert netns.call(switch, read) in ("0", "")


def test_a_cut_cable_and_its_healing(lab: Lab) -> None:
    one = lab.host("node-1")
    faults.cut(one)
    assert not reaches(one, "10.86.0.12")
    assert network.cable_is_cut(NAME, "node-1")
    one.plug()
    assert network.cable_is_cut(NAME, "node-1"), "what was pulled out on purpose stays out"
    faults.heal(one)
    until(lambda: reaches(one, "10.86.0.12"))


def test_containers_of_a_host_run_pause_and_die_with_it(lab: Lab, node: Host) -> None:
    container = docker(node, "run", "--detach", "--network", "none", "minik/busybox:1", "sleep", "1000")
    pid = int(docker(node, "inspect", "--format", "{{.State.Pid}}", container))
    assert pid in {process.pid for process in processes.find([node.owner])}
    faults.pause(node)
    assert node.status().state == "paused"
    faults.resume(node)
    assert node.status().state == "running"
    faults.stop(node)
    assert node.status().state == "stopped"
    assert processes.find([node.owner]) == []
    assert not netns.exists(node.namespace), "memory is lost: links, rules and all"

    faults.start(node)
    node.wait_engine()
    states = docker(node, "ps", "--all", "--format", "{{.State}}")
    assert states == "exited", "the disk remembers the container, which does not run"


def test_a_killed_engine_comes_back(lab: Lab, node: Host) -> None:
    pid = faults.kill(node, "dockerd")
    until(lambda: supervisor.status(node.engine_directory)[0].pid not in (pid, None))
    node.wait_engine()
    assert docker(node, "images", "--quiet", "minik/web:1")


def test_killing_what_is_not_there(lab: Lab, node: Host) -> None:
    with pytest.raises(LabError, match="node-1 runs no kubelet; it has dockerd"):
        faults.kill(node, "kubelet")


def test_the_web_image_answers_with_its_hostname_and_stops_in_time(lab: Lab, node: Host) -> None:
    run = ("run", "--detach", "--network", "none", "--env", "DRAIN_SECONDS=0", "--hostname")
    names = {"minik/web:1": "web-abc", "minik/web:2": "web-abc v2"}
    for image, answer in names.items():
        container = docker(node, *run, "web-abc", image)
        ask = (
            "until wget -q -O- http://127.0.0.1:8080/; do usleep 20000; done; wget -q -O- http://127.0.0.1:8080/healthz"
        )
        assert docker(node, "exec", container, "sh", "-c", ask) == f"{answer}\nok"
        docker(node, "stop", "--time", "60", container)
        assert docker(node, "inspect", "--format", "{{.State.ExitCode}}", container) == "0", "it ended by itself"


def test_docker_gives_the_images_the_ids_we_expect(lab: Lab, node: Host) -> None:
    for image in images.lab_images(images.find_busybox()):
        assert docker(node, "image", "inspect", "--format", "{{.Id}}", image.tag) == images.image_id(image)


def test_down_finds_everything_without_its_notes(lab: Lab, node: Host) -> None:
    """As after a crash: the notes are lost, the supervisor is dead, a mount is left, containers still run."""
    docker(node, "run", "--detach", "--network", "none", "minik/busybox:1", "sleep", "1000")
    os.kill(supervisor.running(node.engine_directory) or 0, 9)
    (state.lab_dir(NAME) / "lab.json").unlink()
    left = node.directory / "left"
    left.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(left)], check=True)
    lab.down()
    assert remains(NAME) == []


def test_down_finds_processes_whose_namespace_has_lost_its_name(lab: Lab, node: Host) -> None:
    netns.delete(node.namespace)
    assert processes.find([node.owner])
    lab.down()
    assert remains(NAME) == []


def test_damaged_notes_are_no_obstacle_for_down(lab: Lab) -> None:
    (state.lab_dir(NAME) / "lab.json").write_text("{")
    with pytest.raises(LabError, match="minikctl down"):
        lab.status()
    lab.down()
    assert remains(NAME) == []


def test_a_reboot_leaves_a_lab_of_stopped_hosts(lab: Lab, node: Host) -> None:
    """What a reboot does: no process, no namespace, no /run; only the disk."""
    for host in (node, lab.host("node-2")):
        host.pull_plug()
    network.delete_switch(NAME, last=False)
    shutil.rmtree(state.run_dir(NAME), ignore_errors=True)
    assert [host.state for host in lab.status()] == ["stopped"] * 3


def test_two_labs_share_what_protects_this_machine(lab: Lab) -> None:
    def protected() -> bool:
        routes = shell("ip", "route", "show", "type", "unreachable")
        return "10.244.0.0/16" in routes and "10.96.0.0/16" in routes

    other = Lab(OTHER, OTHER_SUBNET)
    network.create_switch(OTHER, ipaddress.IPv4Network(OTHER_SUBNET))
    assert protected()
    other.down()
    assert remains(OTHER) == []
    assert protected(), "the first lab still needs the routes"


def test_a_subnet_that_is_in_use(lab: Lab) -> None:
    with pytest.raises(LabError, match="already has a route"):
        network.create_switch(OTHER, ipaddress.IPv4Network(SUBNET))
    network.delete_switch(OTHER, last=False)


def test_names_that_do_not_exist(lab: Lab) -> None:
    with pytest.raises(LabError, match="there is no host nobody; the lab has control, node-1, node-2"):
        lab.stop("nobody")
    with pytest.raises(LabError, match=f"there is no lab {OTHER}"):
        Lab(OTHER).stop("node-1")
    with pytest.raises(LabError, match="control is a control plane"):
        lab.remove_node("control")


def test_the_notes_are_readable_by_people(lab: Lab) -> None:
    notes = json.loads((state.lab_dir(NAME) / "lab.json").read_text())
    assert notes["nodes"] == {"node-1": 1, "node-2": 2}
