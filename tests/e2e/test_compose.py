"""A Compose file on the lab: a web application, its database and its cache, images built on the way."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace
from world import NotInTime, World, ask

from compose.health import WAIT_IMAGE
from lab.builds import build

SHOP = Path(__file__).parent / "shop"
PROGRAMS = {"db": ("redis-server", "redis-cli"), "cache": ("memcached",)}
PORT = 8093


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The folder of the Compose file, with the programs of this machine's packages for its images."""
    folder = tmp_path / "shop"
    shutil.copytree(SHOP, folder)
    for service, programs in PROGRAMS.items():
        for name in programs:
            program = shutil.which(name)
            if program is None:
                pytest.skip(f"{name} is not installed")
            put(Path(program), folder / service / "root" / "bin" / name)
            for word in subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout.split():
                if word.startswith("/"):
                    put(Path(word), folder / service / "root" / word[1:])
    return folder


def put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755)


def test_a_compose_file_runs_and_goes(world: World, namespace: str, shop: Path) -> None:
    world.client.create(Namespace(metadata=ObjectMeta(name=namespace)))
    files = [str(shop / "compose.yaml"), *no_volume(world, shop)]

    def compose(command: str, *options: str) -> str:
        return world.minikctl("compose", command, "-n", namespace, *files, *options).stdout

    said = compose("up")
    assert said.index("deployment.apps/db") < said.index("job.batch/prepare") < said.index("deployment.apps/web")

    # Every node answers on the published port; what is counted is in one database, what was remembered in one cache.
    addresses = list(world.node_addresses.values())
    for address in addresses:
        until(f"http://{address}:{PORT}/motd", lambda answer: answer == "open until 8")
    answers: list[str] = []
    hits = (f"http://{address}:{PORT}/cgi-bin/hits" for address in itertools.cycle(addresses))
    while len(answers) < 3 or len({answer.partition(" by ")[2] for answer in answers}) < 2:
        answers.append(ask(next(hits)))
        assert len(answers) < 100, "one of the two pods never answers"
    counted = [f"hello {42 + index} after {41 + index if index else 'nothing'}" for index in range(len(answers))]
    assert [answer.partition(",")[0] for answer in answers] == counted

    shown = compose("ps")
    assert "running (healthy)" in shown and f"0.0.0.0:{PORT}->80/tcp" in shown and "exited (0)" in shown
    assert "prepared" in compose("logs", "--service", "prepare")

    # What is built anew runs anew; the job runs again; nothing else is touched.
    before = names(world, namespace)
    (shop / "web" / "Dockerfile").write_text((shop / "web" / "Dockerfile").read_text().replace("$GREETING", "welcome"))
    compose("up")
    after = names(world, namespace)
    until(f"http://{addresses[0]}:{PORT}/cgi-bin/hits", lambda answer: answer.startswith("welcome 4"))
    assert before & after == {name for name in before if name.startswith(("db-", "cache-"))}

    compose("down", "--volumes")
    kinds = "all,configmaps,secrets,persistentvolumeclaims,networkpolicies,endpoints,endpointslices"
    found = world.kubectl("get", kinds, "-n", namespace, "-o", "json").stdout
    left = [f"{each['kind']}/{each['metadata']['name']}" for each in json.loads(found)["items"]]
    assert left == ["ConfigMap/kube-root-ca.crt"]
    assert all(not world.uids_running(node, namespace) for node in world.lab_nodes())


def test_converted_manifests_wait_for_each_other(world: World, namespace: str, shop: Path) -> None:
    """All at once by kubectl, and what depends on something waits for it in an init container."""
    world.client.create(Namespace(metadata=ObjectMeta(name=namespace)))
    images = [(WAIT_IMAGE, "FROM minik/busybox:1"), *((f"shop-{name}:latest", "") for name in ("web", "db", "cache"))]
    for tag, dockerfile in images:
        folder = str(shop / tag.partition(":")[0].removeprefix("shop-")) if not dockerfile else str(shop / "web")
        arguments = ["--build-arg", "GREETING=hello", *(["--file", "-"] if dockerfile else []), folder]
        build(world.lab, tag, arguments, dockerfile=dockerfile, say=lambda line: None)
    files = [str(shop / "compose.yaml"), *no_volume(world, shop)]
    manifests = world.minikctl("compose", "convert", *files).stdout
    (shop / "all.yaml").write_text(manifests)
    world.kubectl("apply", "-n", namespace, "-f", str(shop / "all.yaml"))
    world.kubectl("rollout", "status", "-n", namespace, "deployment/web", "--timeout=100s")
    ports = world.kubectl(
        "get", "service", "web-published", "-n", namespace, "-o", "jsonpath={.spec.ports[0].nodePort}"
    )
    until(world.url(int(ports.stdout)) + "cgi-bin/hits", lambda answer: answer.startswith("hello 42 after nothing"))


def no_volume(world: World, shop: Path) -> list[str]:
    """The file that does without a volume, where the cluster has no storage class."""
    found = world.minikctl("get", "storageclasses", check=False).stdout
    return [] if "(default)" in found else [str(shop / "no-volume.yaml")]


def until(url: str, holds: Callable[[str], bool], *, deadline: float = 60) -> None:
    """Until the answer is right; the proxies learn of pods a moment after the API server."""
    end = time.monotonic() + deadline
    answer = ""
    while time.monotonic() < end:
        try:
            if holds(answer := ask(url)):
                return
        except OSError as error:
            answer = repr(error)
        time.sleep(0.1)
    raise NotInTime(f"{url} answered {answer}")


def names(world: World, namespace: str) -> set[str]:
    return {str(pod.metadata.name) for pod in world.pods(namespace) if not pod.metadata.deletionTimestamp}
