"""hostPath: a file or directory of the node, as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lightkube.models.core_v1 import Volume

from kubelet.pods.env import ConfigError
from kubelet.volumes.plugin import Request

_CHECKS: dict[str, tuple[Callable[[Path], bool], str]] = {
    "Directory": (Path.is_dir, "directory"),
    "DirectoryOrCreate": (Path.is_dir, "directory"),
    "File": (Path.is_file, "file"),
    "FileOrCreate": (Path.is_file, "file"),
    "Socket": (Path.is_socket, "socket file"),
    "CharDevice": (Path.is_char_device, "character device"),
    "BlockDevice": (Path.is_block_device, "block device"),
}


class HostPath:
    name = "host-path"
    read_only = False

    def setup(self, request: Request) -> None:
        source = request.volume.hostPath
        assert source is not None
        path, kind = Path(source.path), source.type or ""
        if not path.exists() and kind in ("", "DirectoryOrCreate"):
            path.mkdir(parents=True, mode=0o755)
        elif not path.exists() and kind == "FileOrCreate":
            path.touch(mode=0o644)
        if kind:
            holds, what = _CHECKS[kind]
            if not holds(path):
                raise ConfigError(f"hostPath type check failed: {path} is not a {what}")

    def location(self, volume: Volume, path: Path) -> Path:
        assert volume.hostPath is not None
        return Path(volume.hostPath.path)

    def teardown(self, path: Path) -> None:
        """Nothing here is ours."""
