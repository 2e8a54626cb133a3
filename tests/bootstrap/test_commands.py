"""The command lines init and join write must be ones the components understand."""

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest

from bootstrap import commands
from bootstrap.cluster_config import ClusterConfig
from bootstrap.options import InitOptions, JoinOptions, Timing
from bootstrap.supervisor import Child

INIT = InitOptions(data_dir=Path("/data"))
JOIN = JoinOptions(server="10.0.0.1:6443", token="abcdef.0123456789abcdef")


def parser_of(component: str) -> Callable[[list[str]], object]:
    """The component's own argument parser, whatever its main.py calls it."""
    main = importlib.import_module(f"{component}.main")
    for name in ("parse_args", "parse"):
        if hasattr(main, name):
            return getattr(main, name)  # type: ignore[no-any-return]
    return main.parser().parse_args  # type: ignore[no-any-return]


def children(**changes: object) -> dict[str, Child]:
    options = InitOptions(data_dir=Path("/data"), **changes)  # type: ignore[arg-type]
    started = commands.control_plane(options, advertise_address="10.0.0.1")
    return {child.name: child for child in started}


def test_starting_order_is_the_order_of_need() -> None:
    assert list(children()) == ["etcd", "apiserver", "scheduler", "controllers", "storage"]


def test_an_existing_etcd_is_used_instead_of_an_own_one() -> None:
    started = children(etcd_servers=("https://a:2379", "https://b:2379"), etcd_cafile=Path("/etc/etcd/ca.crt"))
    assert "etcd" not in started
    arguments = started["apiserver"].argv
    assert "--etcd-servers=https://a:2379,https://b:2379" in arguments
    assert "--etcd-cafile=/etc/etcd/ca.crt" in arguments
    assert not any(word.startswith("--etcd-certfile") for word in arguments)


@pytest.mark.parametrize("component", ["apiserver", "scheduler", "controllers", "storage"])
def test_control_plane_components_understand_their_lines(component: str) -> None:
    fast = Timing(node_monitor_grace_period=4.5, default_toleration=2, leader_retry_period=0.5)
    argv = children(timing=fast)[component].argv
    assert argv[1:4] == ("-P", "-m", component)
    parser_of(component)(list(argv[4:]))


@pytest.mark.parametrize("component", ["kubelet", "proxy", "ingress"])
def test_node_components_understand_their_lines(component: str) -> None:
    options = JoinOptions(
        server="10.0.0.1:6443",
        token="abcdef.0123456789abcdef",
        sandbox_image="pause:1",
        image_dir=Path("/images"),
        cgroup_parent="/minik/lab/n1",
        node_labels={"zone": "a", "disk": "ssd"},
        taints=("dedicated=x:NoSchedule",),
    )
    cluster = ClusterConfig(timing=Timing(node_lease_duration=4))
    started = {child.name: child for child in commands.node(options, cluster, node_name="n1", node_ip="10.0.0.2")}
    assert list(started) == ["kubelet", "proxy", "ingress"]
    parser_of(component)(list(started[component].argv[4:]))


def test_extra_arguments_go_to_their_component_only() -> None:
    started = children(extra_args={"scheduler": ("-v=4",)})
    assert started["scheduler"].argv[-1] == "-v=4"
    assert "-v=4" not in started["apiserver"].argv


def test_etcd_keeps_what_it_acknowledged() -> None:
    assert not any("fsync" in word for word in children()["etcd"].argv)


def test_the_service_kubernetes_has_the_first_address() -> None:
    assert commands.service_ip("10.96.0.0/16") == "10.96.0.1"
