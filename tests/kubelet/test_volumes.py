"""volumes: what appears in the pods' directories."""

import contextlib
import os
import shutil
import stat
import tempfile
import threading
from pathlib import Path

import msgspec
import pytest
from lightkube.resources.core_v1 import ConfigMap, Secret

from kubelet.pods.env import ConfigError, Reference, Surroundings
from kubelet.volumes import atomic, files
from kubelet.volumes.atomic import File
from kubelet.volumes.files import TOKEN_DIRECTORY
from kubelet.volumes.manager import Volumes
from kubelet.volumes.plugin import TokenRequest, Tokens
from linux import mounts as kernel

TOKENS = Tokens({TokenRequest(): "token-1"}, ca=b"CA")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def volumes(tmp_path):
    yield Volumes(tmp_path / "pods")
    kernel.remove_tree(tmp_path / "pods")


@pytest.fixture
def open_dir():
    """A directory that everybody may write to, and so may this process without its privileges."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o777)
    yield path
    kernel.remove_tree(path)


@contextlib.contextmanager
def unprivileged():
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def place(volumes, make, driver="configmap", name="v"):
    return volumes.directory(make.uid) / "volumes" / f"kubernetes.io~{driver}" / name


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
    directory = place(volumes, make)
    assert mount.source == str(directory) and mount.read_only
    assert (directory / "a").read_text() == "1"
    volumes.prepare(pod, settings(a="3"), None)
    assert (directory / "a").read_text() == "3" and not (directory / "b").is_symlink()


def test_items_and_modes(make, volumes):
    source = {"name": "settings", "items": [{"key": "a", "path": "deep/file", "mode": 0o400}]}
    volumes.prepare(pod_with(make, {"configMap": source}), settings(a="1", b="2"), None)
    file = place(volumes, make) / "deep/file"
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
    Path(mount.source, "kept").touch()
    volumes.prepare(pod, Surroundings(), None)
    assert not mount.read_only and (place(volumes, make, "empty-dir") / "inner/kept").exists()
    volumes.remove(make.uid)
    assert volumes.pod_uids() == []


def test_a_sub_path_stays_inside(make, volumes, tmp_path):
    pod = pod_with(make, {"emptyDir": {}}, {"subPath": "out"})
    volumes.prepare(pod, Surroundings(), None)
    (place(volumes, make, "empty-dir") / "out").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match=r'failed to prepare subPath for volumeMount "v" of container "app": .*leads'):
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
    assert files.tokens(pod) == {TokenRequest()}
    volumes.prepare(pod, Surroundings(), TOKENS)
    (mount,) = mounts(volumes, pod)
    assert mount.target == TOKEN_DIRECTORY and mount.read_only
    directory = place(volumes, make, "projected", "kube-api-access")
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
    directory = place(volumes, make, "projected")
    assert [(directory / name).read_text() for name in ("token", "ca.crt", "namespace")] == ["token-1", "CA", "default"]


def test_unchanged_files_are_left_alone(tmp_path):
    assert atomic.write(tmp_path, {"a": File(b"1")})
    assert not atomic.write(tmp_path, {"a": File(b"1")})
    assert atomic.write(tmp_path, {"a": File(b"1", 0o600)})
    assert atomic.write(tmp_path, {})
    assert [each.name for each in tmp_path.iterdir() if not each.name.startswith("..")] == []


def shown(directory):
    return {each.name: each.read_text() for each in directory.iterdir() if not each.name.startswith("..")}


def test_a_writer_killed_at_any_point_is_survived(tmp_path):
    """Whatever file system call was the last: the next writer finishes, and leaves nothing behind."""
    calls = [f"{module}.{name}" for module in ("os", "pathlib.Path") for name in ("mkdir", "replace", "unlink")]
    calls += ["pathlib.Path.symlink_to", "pathlib.Path.write_bytes", "shutil.rmtree", "os.chown"]
    old, new = {"a": File(b"1"), "b": File(b"1")}, {"b": File(b"2"), "c": File(b"2")}
    cut = 0
    for point in range(40):
        directory = tmp_path / str(point)
        directory.mkdir()
        atomic.write(directory, old)
        cut += killed_at(point, calls, lambda directory=directory: atomic.write(directory, new))
        assert (directory / "b").read_text() in ("1", "2")
        atomic.write(directory, new)
        assert shown(directory) == {"b": "2", "c": "2"}
        assert len([each for each in directory.iterdir() if each.name.startswith("..")]) == 2
    assert cut >= 8


def killed_at(point, calls, act):
    """Run `act` up to its call number `point` of the calls named; returns whether it came so far."""
    left = [point]

    def counted(function):
        def call(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return function(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        for name in calls:
            module, _, attribute = name.rpartition(".")
            owner = {"os": os, "shutil": shutil, "pathlib.Path": Path}[module]
            patch.setattr(owner, attribute, counted(getattr(owner, attribute)))
        act()
        return False
    return True


def test_containers_that_start_together_share_one_volume(make, volumes):
    """Both prepare it at the same time, again and again with other contents; neither ever fails."""
    pod = pod_with(make, {"configMap": {"name": "settings"}})
    failures = []

    def prepare(barrier, number):
        barrier.wait()
        try:
            volumes.prepare(pod, settings(a=str(number)), None)
        except ConfigError as error:
            failures.append(error)

    for number in range(100):
        barrier = threading.Barrier(2)
        threads = [threading.Thread(target=prepare, args=(barrier, number)) for _ in range(2)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert failures == []


def test_memory_is_memory_and_bounded(make, volumes):
    pod = pod_with(make, {"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}, securityContext={"fsGroup": 777})
    volumes.prepare(pod, Surroundings(allocatable={"memory": "1Gi"}), None)
    path = place(volumes, make, "empty-dir")
    about = os.statvfs(path)
    assert kernel.is_mount(path) and about.f_blocks * about.f_frsize == 2**20
    assert path.stat().st_gid == 777 and stat.S_IMODE(path.stat().st_mode) == 0o3777
    (path / "kept").touch()
    volumes.prepare(pod, Surroundings(), None)
    assert (path / "kept").exists()
    volumes.remove(make.uid)
    assert not kernel.is_mount(path) and not path.exists()


def test_what_cannot_be_mounted_leaves_no_directory(make, open_dir):
    pod = pod_with(make, {"emptyDir": {"medium": "Memory"}})
    with unprivileged():
        unlucky = Volumes(open_dir / "pods")
        with pytest.raises(ConfigError, match=r'SetUp failed for volume "v" : .*mount tmpfs on .*not permitted'):
            unlucky.prepare(pod, Surroundings(), None)
        assert not place(unlucky, make, "empty-dir").exists()


def test_what_cannot_be_unmounted_is_not_removed(make, open_dir):
    pod = pod_with(make, {"emptyDir": {"medium": "Memory"}})
    with unprivileged():
        volumes = Volumes(open_dir / "pods")
    volumes.prepare(pod, Surroundings(), None)
    kept = place(volumes, make, "empty-dir") / "kept"
    kept.touch()
    open_dir.joinpath("pods").chmod(0o777)
    with unprivileged(), pytest.raises(PermissionError, match="unmount"):
        volumes.remove(make.uid)
    assert kept.exists()
    volumes.remove(make.uid)
    assert not volumes.directory(make.uid).exists()


def test_secrets_never_reach_a_disk_and_belong_to_the_group(make, volumes):
    secret = msgspec.convert({"data": {"key": "c2ho"}}, Secret)
    around = Surroundings(objects={Reference("Secret", "hidden"): secret})
    source = {"secret": {"secretName": "hidden", "defaultMode": 0o400}}
    volumes.prepare(pod_with(make, source, securityContext={"fsGroup": 777}), around, None)
    path = place(volumes, make, "secret")
    about = (path / "key").stat()
    assert kernel.is_mount(path) and (path / "key").read_text() == "shh"
    assert (about.st_gid, stat.S_IMODE(about.st_mode)) == (777, 0o440)


def test_a_token_is_only_for_whom_it_is_meant(make, volumes):
    sources = [{"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 700}}]
    pod = pod_with(make, {"projected": {"sources": sources}}, securityContext={"runAsUser": 1000})
    (wanted,) = files.tokens(pod)
    assert wanted == TokenRequest("vault", 700)
    volumes.prepare(pod, Surroundings(), Tokens({wanted: "t"}, b""))
    about = (place(volumes, make, "projected") / "token").stat()
    assert (about.st_uid, stat.S_IMODE(about.st_mode)) == (1000, 0o600)


def test_a_sub_path_is_made_with_the_volumes_mode_and_follows_changes(make, volumes):
    pod = pod_with(make, {"emptyDir": {}}, {"subPath": "a/b"})
    volumes.prepare(pod, Surroundings(), None)
    (mount,) = mounts(volumes, pod)
    inner = place(volumes, make, "empty-dir") / "a/b"
    assert stat.S_IMODE(inner.stat().st_mode) == 0o777 and os.path.samefile(mount.source, inner)
    assert mounts(volumes, pod) == [mount], "a restarted container finds the same"
    volumes.remove(make.uid)
    pod = pod_with(make, {"configMap": {"name": "settings"}}, {"subPath": "a"})
    volumes.prepare(pod, settings(a="1"), None)
    assert Path(mounts(volumes, pod)[0].source).read_text() == "1"
    volumes.prepare(pod, settings(a="2"), None)
    assert Path(mounts(volumes, pod)[0].source).read_text() == "2", "the next start sees the present file"


def test_nothing_is_made_after_the_end(make, volumes):
    pod = pod_with(make, {"emptyDir": {}})
    volumes.prepare(pod, Surroundings(), None)
    hold = volumes._holds[make.uid]
    late = threading.Thread(target=volumes.prepare, args=(pod, Surroundings(), None))
    with hold.lock:
        late.start()  # it waits; meanwhile the pod is removed, as `remove` does it
        hold.removed = True
    late.join()
    kernel.remove_tree(volumes.directory(make.uid))
    assert not volumes.directory(make.uid).exists()
