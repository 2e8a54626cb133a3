"""Images built for a lab: by the engine of one node, then brought to all others, and kept for those that come later.

The classic builder does it: the steps of a Dockerfile run without a network of their own, as a node has no way out.
Interface: build(lab, tag, ...) -> the image's id.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence

from lab.cluster import Lab
from lab.errors import LabError
from lab.host import Host


def build(lab: Lab, tag: str, arguments: Sequence[str], *, dockerfile: str = "", say: Callable[[str], None]) -> str:
    """Run `docker build` and load the image on all nodes that are up. `dockerfile`: its text, if it is no file.

    Raises LabError with the builder's last lines.
    """
    hosts = [lab.host(each.name) for each in lab.status() if each.role == "node" and each.state == "running"]
    if not hosts:
        raise LabError(f"no node of the lab {lab.name} is running")
    if not shutil.which("docker"):
        raise LabError("building images needs the docker command; on Debian: apt-get install docker-cli")
    _docker(hosts[0], "build", "--tag", tag, *arguments, given=dockerfile)
    found = _docker(hosts[0], "image", "inspect", "--format", "{{.Id}}", tag).strip()
    archive = lab.image_dir / f"{re.sub(r'[^a-zA-Z0-9._-]+', '_', tag)}.tar"
    partial = archive.with_suffix(".partial")
    _docker(hosts[0], "save", "--output", str(partial), tag)
    partial.rename(archive)
    for host in hosts[1:]:
        _docker(host, "load", "--input", str(archive))
    say(f"{tag} is built and on {len(hosts)} nodes")
    return found


def _docker(host: Host, *arguments: str, given: str = "") -> str:
    environment = {**os.environ, "DOCKER_BUILDKIT": "0", "DOCKER_HOST": host.docker_host}
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, input=given, env=environment)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-5:]
        raise LabError(f"docker {arguments[0]} on {host.name} failed: " + "\n  ".join(last))
    return done.stdout
