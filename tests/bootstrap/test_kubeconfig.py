"""The user's kubeconfig is shared with other clusters: they must never notice minik."""

import stat
from pathlib import Path

import pytest
import yaml

from bootstrap import kubeconfig
from bootstrap.errors import BootstrapError

ADMIN = kubeconfig.build(server="https://10.0.0.1:6443", ca=b"CA", user="kubernetes-admin", certificate=b"C", key=b"K")
FOREIGN = """\
apiVersion: v1
kind: Config
clusters: [{name: work, cluster: {server: "https://work:6443"}}]
users: [{name: me, user: {token: secret}}]
contexts: [{name: work, context: {cluster: work, user: me, namespace: dev}}]
current-context: work
preferences: {colors: true}
"""


@pytest.fixture
def admin_conf(tmp_path: Path) -> Path:
    kubeconfig.write(tmp_path / "admin.conf", ADMIN)
    return tmp_path / "admin.conf"


def test_merge_into_nothing_gives_a_private_file(tmp_path: Path, admin_conf: Path) -> None:
    target = tmp_path / "home" / ".kube" / "config"
    kubeconfig.merge(admin_conf, target, context="minik")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    config = yaml.safe_load(target.read_text())
    assert config["current-context"] == "minik"
    assert config["contexts"] == [{"name": "minik", "context": {"cluster": "minik", "user": "minik"}}]
    assert kubeconfig.cluster_of(config) == ("https://10.0.0.1:6443", b"CA")


def test_merge_keeps_everything_else_and_remove_brings_it_back(tmp_path: Path, admin_conf: Path) -> None:
    target = tmp_path / "config"
    target.write_text(FOREIGN)
    kubeconfig.merge(admin_conf, target, context="minik")
    kubeconfig.merge(admin_conf, target, context="minik")  # twice changes nothing
    config = yaml.safe_load(target.read_text())
    assert [context["name"] for context in config["contexts"]] == ["work", "minik"]
    assert config["preferences"] == {"colors": True}
    kubeconfig.remove(target, context="minik")
    assert yaml.safe_load(target.read_text()) == yaml.safe_load(FOREIGN)


def test_remove_takes_the_file_when_nothing_else_is_in_it(tmp_path: Path, admin_conf: Path) -> None:
    target = tmp_path / "config"
    kubeconfig.merge(admin_conf, target, context="minik")
    kubeconfig.remove(target, context="minik")
    assert not target.exists()
    kubeconfig.remove(target, context="minik")


def test_remove_leaves_a_file_without_the_context_untouched(tmp_path: Path) -> None:
    target = tmp_path / "config"
    target.write_text(FOREIGN)
    kubeconfig.remove(target, context="minik")
    assert target.read_text() == FOREIGN


def test_a_symbolic_link_stays_one(tmp_path: Path, admin_conf: Path) -> None:
    (tmp_path / "real").write_text(FOREIGN)
    (tmp_path / "config").symlink_to(tmp_path / "real")
    kubeconfig.merge(admin_conf, tmp_path / "config", context="minik")
    assert (tmp_path / "config").is_symlink()
    assert "minik" in (tmp_path / "real").read_text()


@pytest.mark.parametrize("text", ["- just\n- a list\n", "{unclosed", "\x00"])
def test_a_file_that_is_no_kubeconfig_is_refused_and_kept(tmp_path: Path, admin_conf: Path, text: str) -> None:
    target = tmp_path / "config"
    target.write_text(text)
    with pytest.raises(BootstrapError) as raised:
        kubeconfig.merge(admin_conf, target, context="minik")
    assert "\n" not in str(raised.value)
    assert target.read_text() == text


def test_empty_parts_are_no_obstacle(tmp_path: Path, admin_conf: Path) -> None:
    target = tmp_path / "config"
    target.write_text(
        'apiVersion: v1\nkind: Config\nclusters: null\nusers: null\ncontexts: null\ncurrent-context: ""\n'
    )
    kubeconfig.merge(admin_conf, target, context="minik")
    assert yaml.safe_load(target.read_text())["current-context"] == "minik"


def test_user_kubeconfigs_follows_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", f":{tmp_path}/a:{tmp_path}/b")
    assert kubeconfig.user_kubeconfigs() == [tmp_path / "a"]
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert kubeconfig.user_kubeconfigs() == [tmp_path / ".kube" / "config"]


def test_render_names_everything_after_the_context(admin_conf: Path) -> None:
    config = yaml.safe_load(kubeconfig.render(admin_conf, "lab"))
    assert config["current-context"] == config["clusters"][0]["name"] == config["users"][0]["name"] == "lab"
