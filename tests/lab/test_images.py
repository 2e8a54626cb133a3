"""The images of the lab, as docker-archives."""

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from bootstrap.errors import PreflightError
from lab import images
from lab.images import File, Image


def read(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {
            entry.name: (found.read() if (found := tar.extractfile(entry)) else b"") for entry in tar if entry.isfile()
        }


BASE = images.layer([File("bin/busybox", b"binary")])
TOP = images.layer([File("bin/web", b"script")])
TWO = [Image("minik/busybox:1", (BASE,), ("sh",)), Image("minik/web:1", (BASE, TOP), ("/bin/web",), ("A=b",), 8080)]


def test_the_archive_holds_each_layer_once_and_names_it_rightly() -> None:
    files = read(images.docker_archive(TWO))
    manifest = json.loads(files["manifest.json"])
    assert [entry["RepoTags"] for entry in manifest] == [["minik/busybox:1"], ["minik/web:1"]]
    assert len([name for name in files if name.endswith("layer.tar")]) == 2
    for entry, image in zip(manifest, TWO, strict=True):
        config = json.loads(files[entry["Config"]])
        diff_ids = [f"sha256:{hashlib.sha256(files[name]).hexdigest()}" for name in entry["Layers"]]
        assert config["rootfs"]["diff_ids"] == diff_ids
        assert images.image_id(image) == f"sha256:{hashlib.sha256(files[entry['Config']]).hexdigest()}"


def test_what_an_image_runs() -> None:
    config = json.loads(images._config(TWO[1]))["config"]
    assert config["Cmd"] == ["/bin/web"]
    assert config["Env"] == ["PATH=/bin", "A=b"]
    assert config["ExposedPorts"] == {"8080/tcp": {}}


def test_building_twice_gives_the_same_bytes() -> None:
    assert images.docker_archive(TWO) == images.docker_archive(TWO)


def test_ensure_keeps_a_good_archive(tmp_path: Path) -> None:
    archive = images.ensure(tmp_path)
    made = archive.stat().st_mtime_ns
    assert images.ensure(tmp_path).stat().st_mtime_ns == made
    archive.unlink()
    assert images.ensure(tmp_path).exists()


def test_a_busybox_with_libraries_is_not_good_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert images._is_static(images.find_busybox())
    assert not images._is_static(Path("/bin/sh"))
    (tmp_path / "busybox").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PreflightError, match="busybox-static"):
        images.find_busybox()


def test_the_web_script_is_valid_shell() -> None:
    subprocess.run(["/bin/sh", "-n"], input=images.WEB_SCRIPT, text=True, check=True)
