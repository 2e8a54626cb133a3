"""volumes: what appears in the pods' directories."""

import msgspec
import pytest
from lightkube.resources.core_v1 import ConfigMap

from kubelet.pods.env import ConfigError, Reference, Surroundings
from kubelet.volumes.manager import TOKEN_DIRECTORY, File, Tokens, Volumes, audiences, write_atomically

TOKENS = Tokens({"": "token-1"}, ca=b"CA")


@pytest.fixture
def volumes(tmp_path):
    return Volumes(tmp_path / "pods")


def settings(**data):
    return Surroundings(objects={Reference("ConfigMap", "settings"): msgspec.convert({"data": data}, ConfigMap)})


def pod_with(make, volume, mount=None, **spec):
    mounts = [{"name": "v", "mountPath": "/v", **(mount or {})}]
    containers = [{"name": "app", "image": "x", "volumeMounts": mounts}]
    base = {"automountServiceAccountToken": False}
    return make.pod({**base, "containers": containers, "volumes": [{"name": "v", **volume}], **spec})


def mounts(volumes, pod):
    return list(volumes.mounts(pod, pod.spec.containers[0], {}))


def test_a_config_map_is_a_directory_that_follows_it(make, volumes):
    pod = pod_with(make, {"configMap": {"name": "settings"}})
    volumes.prepare(pod, settings(a="1", b="2"), None)
    (mount,) = mounts(volumes, pod)
    directory = volumes.directory(make.uid) / "volumes/v"
    assert mount.source == str(directory) and mount.read_only
    assert (directory / "a").read_text() == "1"
    volumes.prepare(pod, settings(a="3"), None)
    assert (directory / "a").read_text() == "3" and not (directory / "b").is_symlink()


def test_items_and_modes(make, volumes):
    source = {"name": "settings", "items": [{"key": "a", "path": "deep/file", "mode": 0o400}]}
    volumes.prepare(pod_with(make, {"configMap": source}), settings(a="1", b="2"), None)
    file = volumes.directory(make.uid) / "volumes/v/deep/file"
    assert file.read_text() == "1" and file.stat().st_mode & 0o777 == 0o400


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ({"configMap": {"name": "no"}}, 'MountVolume.SetUp failed for volume "v" : configmap "no" not found'),
        ({"secret": {"secretName": "no"}}, 'MountVolume.SetUp failed for volume "v" : secret "no" not found'),
        (
            {"configMap": {"name": "settings", "items": [{"key": "z", "path": "z"}]}},
            'MountVolume.SetUp failed for volume "v" : configmap references non-existent configmap key: z',
        ),
        (
            {"configMap": {"name": "settings", "items": [{"key": "a", "path": "../a"}]}},
            "MountVolume.SetUp failed for volume \"v\" : path '../a' must stay inside the volume",
        ),
        (
            {"nfs": {"server": "x", "path": "/"}},
            'MountVolume.SetUp failed for volume "v" : this type of volume is not supported',
        ),
    ],
)
def test_what_cannot_be_made_is_named(make, volumes, volume, message):
    with pytest.raises(ConfigError) as caught:
        volumes.prepare(pod_with(make, volume), settings(a="1"), None)
    assert str(caught.value) == message


def test_an_empty_dir_is_the_pods_own_until_it_goes(make, volumes):
    pod = pod_with(make, {"emptyDir": {}}, {"subPath": "inner"})
    volumes.prepare(pod, Surroundings(), None)
    (mount,) = mounts(volumes, pod)
    (volumes.directory(make.uid) / "volumes/v/inner/kept").touch()
    volumes.prepare(pod, Surroundings(), None)
    assert mount.source.endswith("/volumes/v/inner") and not mount.read_only
    assert (volumes.directory(make.uid) / "volumes/v/inner/kept").exists()
    volumes.remove(make.uid)
    assert volumes.pod_uids() == []


def test_a_sub_path_stays_inside(make, volumes, tmp_path):
    pod = pod_with(make, {"emptyDir": {}}, {"subPath": "out"})
    volumes.prepare(pod, Surroundings(), None)
    (volumes.directory(make.uid) / "volumes/v/out").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="leads out of the volume"):
        mounts(volumes, pod)


@pytest.mark.parametrize(
    ("kind", "fine"), [("", True), ("DirectoryOrCreate", True), ("Directory", False), ("File", False)]
)
def test_host_paths(make, volumes, tmp_path, kind, fine):
    pod = pod_with(make, {"hostPath": {"path": str(tmp_path / "new"), "type": kind}})
    if fine:
        volumes.prepare(pod, Surroundings(), None)
        assert mounts(volumes, pod)[0].source == str(tmp_path / "new") and (tmp_path / "new").is_dir()
    else:
        with pytest.raises(ConfigError, match="hostPath type check failed"):
            volumes.prepare(pod, Surroundings(), None)


def test_the_token_comes_by_itself(make, volumes):
    pod = make.pod()
    assert audiences(pod) == {""}
    volumes.prepare(pod, Surroundings(), TOKENS)
    (mount,) = mounts(volumes, pod)
    assert mount.target == TOKEN_DIRECTORY and mount.read_only
    directory = volumes.directory(make.uid) / "volumes/kube-api-access"
    contents = {name: (directory / name).read_text() for name in ("token", "ca.crt", "namespace")}
    assert contents == {"token": "token-1", "ca.crt": "CA", "namespace": "default"}


def test_a_projected_token(make, volumes):
    sources = [
        {"serviceAccountToken": {"path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    pod = pod_with(make, {"projected": {"sources": sources}}, {"mountPath": TOKEN_DIRECTORY})
    volumes.prepare(pod, Surroundings(), TOKENS)
    directory = volumes.directory(make.uid) / "volumes/v"
    assert [(directory / name).read_text() for name in ("token", "ca.crt", "namespace")] == ["token-1", "CA", "default"]


def test_unchanged_files_are_left_alone(tmp_path):
    assert write_atomically(tmp_path / "v", {"a": File(b"1")})
    assert not write_atomically(tmp_path / "v", {"a": File(b"1")})
    assert write_atomically(tmp_path / "v", {})
    assert [each.name for each in (tmp_path / "v").iterdir() if not each.name.startswith("..")] == []
