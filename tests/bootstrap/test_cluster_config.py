"""What the machines of a cluster agree on, as a document."""

from pathlib import Path

import pytest

from bootstrap import cluster_config
from bootstrap.cluster_config import ClusterConfig
from bootstrap.errors import BootstrapError
from bootstrap.options import Timing
from cli.machines import _init_options

HEAD = "apiVersion: minik.dev/v1\nkind: ClusterConfig\n"


def test_written_and_read_it_is_the_same() -> None:
    config = ClusterConfig(pod_cidr="10.50.0.0/16", service_cidr="10.51.0.0/16", timing=Timing.evicting_after(12))
    assert cluster_config.read(cluster_config.render(config), origin="x") == config


def test_the_dns_follows_the_services() -> None:
    assert ClusterConfig().cluster_dns == "10.96.0.10"
    assert ClusterConfig(service_cidr="10.51.0.0/16").cluster_dns == "10.51.0.10"


@pytest.mark.parametrize(
    "text, why",
    [
        ("kind: Pod", "is no ClusterConfig"),
        ("a: [", "cannot be used"),
        (HEAD + "networking: {podSubnet: 10.0.0.1/16}", "host bits set"),
        (HEAD + "timing: {nodeLeaseDuration: soon}", "could not convert"),
        (HEAD + "timing: {nodeLease: 3}", "unknown field 'nodeLease'"),
        (HEAD + "network: {}", "unknown field 'network'"),
    ],
)
def test_what_it_cannot_mean_is_refused(text: str, why: str) -> None:
    with pytest.raises(BootstrapError, match=why):
        cluster_config.read(text, origin="the file")


def test_init_again_without_flags_changes_nothing(tmp_path: Path) -> None:
    place = tmp_path / "control-plane"
    place.mkdir()
    made = _init_options(data_dir=tmp_path, pod_cidr="10.50.0.0/16", pod_eviction_timeout=12.0)
    (place / "cluster.yaml").write_text(cluster_config.render(cluster_config.of(made)))
    assert _init_options(data_dir=tmp_path) == made
    assert _init_options(data_dir=tmp_path, service_cidr="10.51.0.0/16").pod_cidr == "10.50.0.0/16"


def test_pods_of_a_dead_machine_are_given_up_in_that_time() -> None:
    timing = Timing.evicting_after(12)
    assert timing.node_monitor_grace_period + timing.default_toleration == 12
    assert timing.node_lease_duration < timing.node_monitor_grace_period
