"""The keys of a cluster on their way to another control plane."""

from pathlib import Path
from typing import Any

import pytest
from lightkube.resources.core_v1 import Secret

from bootstrap import pki, upload_certs
from bootstrap.errors import BootstrapError, TokenError


class Api:
    """Keeps the last Secret of each name."""

    def __init__(self) -> None:
        self.secrets: dict[str, Any] = {}

    def create(self, secret: Secret) -> Secret:
        assert secret.metadata and secret.metadata.name
        secret.metadata.uid = "1"
        self.secrets[secret.metadata.name] = secret
        return secret

    def get(self, kind: type, name: str, *, namespace: str) -> Any:
        return self.secrets[name]


@pytest.fixture
def first(tmp_path: Path) -> Path:
    pki.ensure_control_plane(tmp_path / "first", apiserver_names=["a"], etcd_names=["10.0.0.1"])
    return tmp_path / "first"


def test_they_arrive_as_they_were(first: Path, tmp_path: Path) -> None:
    api: Any = Api()
    key = upload_certs.upload(api, first)
    upload_certs.download(api, key, tmp_path / "second")
    for name in upload_certs.FILES:
        there = tmp_path / "second" / name
        assert there.read_bytes() == (first / name).read_bytes()
        assert there.stat().st_mode & 0o777 == (0o600 if name.endswith(".key") else 0o644)
    upload_certs.download(api, key, tmp_path / "second")  # again: nothing to refuse


def test_nothing_is_readable_without_the_key(first: Path, tmp_path: Path) -> None:
    api: Any = Api()
    old = upload_certs.upload(api, first)
    upload_certs.upload(api, first)
    secret = api.secrets[upload_certs.NAME]
    assert "PRIVATE" not in str(secret.data)
    assert secret.metadata.ownerReferences[0].name.startswith("bootstrap-token-"), "it goes with its token"
    for wrong in (old, "0" * 64):
        with pytest.raises(TokenError, match="opens nothing"):
            upload_certs.download(api, wrong, tmp_path / "second")
    with pytest.raises(TokenError, match="64 hexadecimal digits"):
        upload_certs.download(api, "short", tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_another_clusters_machine_is_left_alone(first: Path, tmp_path: Path) -> None:
    api: Any = Api()
    key = upload_certs.upload(api, first)
    pki.ensure_control_plane(tmp_path / "other", apiserver_names=["a"], etcd_names=["10.0.0.9"])
    with pytest.raises(BootstrapError, match=r"ca.crt is of another cluster; .*minikctl reset"):
        upload_certs.download(api, key, tmp_path / "other")
