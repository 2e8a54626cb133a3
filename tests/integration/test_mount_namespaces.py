"""Mount namespaces that share one directory with their machine, also in a change of root."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

BOTH_WAYS = """
import sys
from lab.tasks import spawn
from linux import mounts
shared, other = map(mounts.Path, sys.argv[1:])
mounts.share(shared)
for name in ("ours", "theirs"):
    (shared / name).mkdir()

def inside():
    mounts.separate(shared=shared)
    mounts.mount_tmpfs(shared / "theirs", mode=0o700)
    mounts.mount_tmpfs(other, mode=0o700)
    go_on = yield
    yield [mounts.is_mount(each) for each in (shared / "ours", shared / "theirs", other)]

import queue
asked, answered = queue.Queue(), queue.Queue()

def thread():
    steps = inside()
    answered.put(next(steps))
    asked.get()
    answered.put(next(steps))

spawn(thread)
answered.get(timeout=20)
mounts.mount_tmpfs(shared / "ours", mode=0o700)
asked.put(None)
print(answered.get(timeout=20), [mounts.is_mount(each) for each in (shared / "ours", shared / "theirs", other)])
"""

CHANGED_ROOT = """
import os, sys
from linux import mounts
os.chroot(sys.argv[1])
os.chdir("/")
shared = mounts.Path("/tmp/shared")
shared.mkdir(parents=True)
mounts.share(shared)
mounts.separate(shared=shared)
mounts._leave_changed_root()
print(os.listdir("/tmp"))
"""


def run(*arguments: str, script: str, before: str = "true") -> str:
    """The script's output, in a machine of its own as far as mounts are concerned."""
    shell = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", f'{before}; exec "$@"', "sh"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*shell, sys.executable, "-c", script, *arguments], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_mounts_below_the_shared_directory_are_seen_on_both_sides_and_others_on_one(tmp_path: Path) -> None:
    for name in ("shared", "other"):
        (tmp_path / name).mkdir()
    seen = run(str(tmp_path / "shared"), str(tmp_path / "other"), script=BOTH_WAYS)
    assert seen == "[True, True, True] [True, True, False]"


def test_in_a_change_of_root_whoever_enters_the_namespace_finds_that_root(tmp_path: Path) -> None:
    before = f"mkdir {tmp_path}/root; mount --rbind / {tmp_path}/root; mount -t tmpfs none {tmp_path}/root/tmp"
    assert run(str(tmp_path / "root"), script=CHANGED_ROOT, before=before) == "['shared']"
