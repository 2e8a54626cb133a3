"""The lab's memory: names, numbers, addresses."""

from pathlib import Path

import pytest

from lab import state
from lab.errors import LabError
from lab.state import LabState


def lab(nodes: int = 0) -> LabState:
    made = LabState("tlab", "10.80.0.0/24")
    for _ in range(nodes):
        made.add()
    return made


def test_addresses_follow_from_numbers() -> None:
    three = lab(3)
    assert three.hosts == ["control", "node-1", "node-2", "node-3"]
    assert [three.address(host) for host in three.hosts] == ["10.80.0.10", "10.80.0.11", "10.80.0.12", "10.80.0.13"]


def test_the_highest_number_is_not_given_again_while_in_use() -> None:
    three = lab(3)
    del three.nodes["node-1"]
    assert three.add() == "node-4"


def test_a_node_can_have_a_name_of_its_own() -> None:
    one = lab(1)
    assert one.add("gpu") == "gpu"
    assert one.address("gpu") == "10.80.0.12"


@pytest.mark.parametrize("name", ["control", "node-1"])
def test_names_are_taken_once(name: str) -> None:
    with pytest.raises(LabError, match=f"there is a host {name} already"):
        lab(1).add(name)


@pytest.mark.parametrize("name", ["switch", "uplink", "images", "recorder"])
def test_names_of_the_labs_own(name: str) -> None:
    with pytest.raises(LabError, match=f"{name} is a name of the lab's own"):
        lab().add(name)


@pytest.mark.parametrize("name", ["UPPER", "-x", "x-", "a.b", "a-name-too-long"])
def test_bad_host_names(name: str) -> None:
    with pytest.raises(LabError, match="no host name"):
        lab().add(name)


def test_a_subnet_can_be_full() -> None:
    small = LabState("tlab", "10.80.0.0/27")
    with pytest.raises(LabError, match="no address left"):
        for _ in range(32):
            small.add()
    assert small.address(small.hosts[-1]) == "10.80.0.30"


@pytest.mark.parametrize("name", ["", "has-dash", "Upper", "1st", "elevenchars"])
def test_bad_lab_names(name: str) -> None:
    with pytest.raises(LabError, match="no lab name"):
        state.check(name, "10.80.0.0/24")


@pytest.mark.parametrize("subnet", ["10.80.0.0/28", "10.80.0.1/24", "fd00::/64", "x"])
def test_bad_subnets(subnet: str) -> None:
    with pytest.raises(LabError, match="subnet"):
        state.check("tlab", subnet)


def test_more_control_planes_are_numbered_downwards() -> None:
    three = lab(1)
    three.control_planes = 3
    assert three.hosts == ["control", "control-2", "control-3", "node-1"]
    assert [three.address(host) for host in three.hosts] == ["10.80.0.10", "10.80.0.9", "10.80.0.8", "10.80.0.11"]
    with pytest.raises(LabError, match="control-4 is the name of a control plane"):
        three.add("control-4")


def test_saved_and_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(state, "LABS", tmp_path)
    assert state.load("tlab") is None
    two = lab(2)
    two.kubeconfigs = ["/root/.kube/config"]
    state.save(two)
    assert state.load("tlab") == two
    (tmp_path / "tlab" / "lab.json").write_text("{")
    with pytest.raises(LabError, match="minikctl down"):
        state.load("tlab")
