"""What an etcd member is told of the others when it is made."""

from pathlib import Path

from bootstrap import commands, etcd
from bootstrap.commands import ControlPlane
from bootstrap.etcd import Member
from bootstrap.options import InitOptions

FIRST = Member("1", "10.0.0.1", "https://10.0.0.1:23800", "https://10.0.0.1:23790", learner=False)
NEW = Member("2", "", "https://10.0.0.2:23800", "", learner=True)


def etcd_line(data_dir: Path, address: str) -> commands.Child:
    return commands.control_plane(InitOptions(data_dir=data_dir), advertise_address=address)[0]


def test_the_first_member_begins_a_cluster(tmp_path: Path) -> None:
    child = etcd_line(tmp_path, "10.0.0.1")
    assert child.flag("--initial-cluster") == "10.0.0.1=https://10.0.0.1:23800"
    assert child.flag("--initial-cluster-state") == "new"
    assert child.flag("--listen-client-urls") == "https://127.0.0.1:23790,https://10.0.0.1:23790"


def test_a_new_member_has_its_address_for_a_name(tmp_path: Path) -> None:
    known = etcd.initial_cluster([FIRST, NEW], address="10.0.0.2")
    place = ControlPlane(tmp_path)
    place.directory.mkdir()
    place.etcd_initial_cluster.write_text(known)
    child = etcd_line(tmp_path, "10.0.0.2")
    assert child.flag("--initial-cluster") == "10.0.0.1=https://10.0.0.1:23800,10.0.0.2=https://10.0.0.2:23800"
    assert child.flag("--initial-cluster-state") == "existing"
