"""minikctl and kubectl beside each other, on a control plane of real processes with pretended kubelets."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from control_plane import ControlPlane, FakeKubelets

from client.config import connect

ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 60
MINIKCTL = [sys.executable, "-m", "cli"]
KUBECTL = shutil.which("kubectl")

AGE = re.compile(r"\b(?:\d+[smhdy])?\d+[smhdy]\b *")


class Shell:
    """Runs one of the two programs as a user does. `{ns}` in arguments and expectations is the namespace."""

    def __init__(self, kubeconfig: Path, home: Path, *, program: list[str], namespace: str) -> None:
        self.program = program
        self.namespace = namespace
        self.home = home
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "KUBECONFIG": str(kubeconfig),
            "PYTHONPATH": str(ROOT),
            "TZ": "UTC",
        }

    def run(self, *args: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [*self.program, *args, "-n", self.namespace] if "-n" not in args else [*self.program, *args]
        return subprocess.run(
            command, env=self.env, input=stdin, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, cwd=self.home
        )

    def says(self, *args: str, stdin: str | None = None) -> tuple[int, str]:
        """Exit code and everything said, with ages and the namespace's name made comparable."""
        done = self.run(*args, stdin=stdin)
        return done.returncode, self.comparable(done.stdout + done.stderr)

    def ok(self, *args: str, stdin: str | None = None) -> str:
        done = self.run(*args, stdin=stdin)
        assert done.returncode == 0, f"{args}: {done.stdout}{done.stderr}"
        return done.stdout

    def make_namespace(self) -> None:
        manifest = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {self.namespace}}}"
        self.ok("apply", *(["--server-side"] if self.program != MINIKCTL else []), "-f", "-", stdin=manifest)

    def comparable(self, text: str) -> str:
        text = AGE.sub("<age> ", text.replace(self.namespace, "{ns}").replace("minikctl", "kubectl"))
        return "\n".join(line.rstrip() for line in text.splitlines())

    @contextmanager
    def following(self, *args: str) -> Iterator[subprocess.Popen[str]]:
        """A command that does not end by itself, with its output to read line by line."""
        command = [*self.program, *args, "-n", self.namespace]
        process = subprocess.Popen(
            command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.home
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


@contextmanager
def pretended_nodes(plane: ControlPlane, *names: str) -> Iterator[None]:
    """Nodes whose kubelets report every pod Running and Ready, in a thread of their own."""
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    failures: list[BaseException] = []

    async def live() -> None:
        client = connect(str(plane.kubeconfig("admin")))
        async with FakeKubelets(client).running() as kubelets:
            for name in names:
                await kubelets.add(name)
            ready.set()
            await stop.wait()
        await client.close()

    def run() -> None:
        try:
            loop.run_until_complete(live())
        except BaseException as error:
            failures.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait(TIMEOUT_SECONDS)
    assert not failures, failures
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(TIMEOUT_SECONDS)
