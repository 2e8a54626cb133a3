"""The runtime contract on a Docker engine: the only module that imports the Docker SDK.

The SDK blocks, so every call runs in a thread: short calls in a bounded pool, pulls in a small one of their own, and
events and followed logs in a thread each, which a disconnect ends. What goes both ways (exec, attach) is in hijack.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal as signals
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import docker
import requests
from docker import errors

from kubelet.runtime import docker_config as translate
from kubelet.runtime import pause
from kubelet.runtime.base import (
    Changed,
    ContainerSpec,
    Credentials,
    EngineUnavailable,
    ExecResult,
    Image,
    ImageNotFound,
    LogOptions,
    Lost,
    Observed,
    Runtime,
    RuntimeFailure,
    RuntimeInfo,
    SandboxSpec,
    Stream,
)
from kubelet.runtime.hijack import Hijacked, hijack

T = TypeVar("T")

API_VERSION = "1.41"
CALL_THREADS = 16
PULL_THREADS = 4
CALL_TIMEOUT_SECONDS = 120
RECONNECT_SECONDS = 0.5
EXEC_OUTPUT_BYTES = 10 * 1024
"""As much of a probe's output as Kubernetes reads."""

EXEC_POLL_SECONDS, EXEC_POLLS = 0.02, 100
"""How often, and how many times, the engine is asked what became of a command."""

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_EVENTS = {"type": "container", "event": ["die", "destroy"], "label": [translate.LABEL_UID]}


class DockerRuntime(Runtime):
    """See base.Runtime for what each call promises."""

    def __init__(self, host: str, *, sandbox_image: str = "", cgroup_parent: str = "", negative_oom: bool = True):
        self._api = docker.APIClient(
            host, timeout=CALL_TIMEOUT_SECONDS, max_pool_size=CALL_THREADS * 2, version=API_VERSION
        )
        # Streams live as long as they like.
        self._stream_api = docker.APIClient(host, timeout=None, max_pool_size=CALL_THREADS * 2, version=API_VERSION)  # type: ignore[arg-type]
        self._calls = ThreadPoolExecutor(CALL_THREADS, "docker")
        self._pulls = ThreadPoolExecutor(PULL_THREADS, "docker-pull")
        self._host = host
        self._sandbox_image = sandbox_image
        self._cgroup_parent = cgroup_parent
        self._negative_oom = negative_oom

    async def _call(self, function: Callable[[], T], pool: ThreadPoolExecutor | None = None) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool or self._calls, _translating_errors, function)

    async def close(self) -> None:
        self._calls.shutdown(wait=False, cancel_futures=True)
        self._pulls.shutdown(wait=False, cancel_futures=True)
        self._api.close()
        self._stream_api.close()

    # The engine

    async def info(self) -> RuntimeInfo:
        answer = await self._call(self._api.info)
        return RuntimeInfo(
            name="docker",
            version=answer["ServerVersion"],
            operating_system=answer["OperatingSystem"],
            architecture=_ARCHITECTURES.get(answer["Architecture"], answer["Architecture"]),
            kernel_version=answer["KernelVersion"],
            cpus=answer["NCPU"],
            memory_bytes=answer["MemTotal"],
            root_dir=answer["DockerRootDir"],
        )

    async def events(self) -> AsyncIterator[Changed | Lost]:
        while True:
            with contextlib.suppress(RuntimeFailure):
                async for event in _pump(lambda: self._stream_api.events(decode=True, filters=_EVENTS)):
                    yield event if isinstance(event, Lost) else _changed(event)
            await asyncio.sleep(RECONNECT_SECONDS)

    # Containers

    async def list(self) -> Sequence[Observed]:
        filters = {"label": translate.LABEL_UID}
        briefs = await self._call(lambda: self._api.containers(all=True, filters=filters))
        full = await asyncio.gather(*(self.inspect(each["Id"]) for each in briefs))
        return [each for each in full if each is not None]

    async def inspect(self, container_id: str) -> Observed | None:
        try:
            return translate.observed(await self._call(lambda: self._api.inspect_container(container_id)))
        except _Gone:
            return None

    async def create_sandbox(self, spec: SandboxSpec) -> str:
        image = self._sandbox_image or await self._own_sandbox_image()
        config = translate.sandbox_config(
            spec, image=image, cgroup_parent=self._cgroup_parent, negative_oom=self._negative_oom
        )
        if not spec.host_network and self._sandbox_image:
            await self._ensure_image(self._sandbox_image)
        return await self._create(config, translate.container_name(spec.pod, "POD", spec.attempt))

    async def create_container(self, spec: ContainerSpec) -> str:
        config = translate.container_config(spec, cgroup_parent=self._cgroup_parent, negative_oom=self._negative_oom)
        return await self._create(config, translate.container_name(spec.pod, spec.name, spec.attempt))

    async def _create(self, config: dict[str, Any], name: str) -> str:
        def create() -> str:
            return str(self._api.create_container_from_config(config, name)["Id"])  # type: ignore[no-untyped-call]

        try:
            return await self._call(create)
        except _NameTaken:
            await self._remove_unless_running(name)
            return await self._call(create)

    async def _remove_unless_running(self, name: str) -> None:
        with contextlib.suppress(_Gone):
            await self._call(lambda: self._api.remove_container(name, v=True))

    async def start_container(self, container_id: str) -> Observed:
        def start() -> Observed | None:
            self._api.start(container_id)
            return translate.observed(self._api.inspect_container(container_id))

        started = await self._call(start)
        if started is None:
            raise RuntimeFailure(f"container {container_id} is not ours")
        return started

    async def signal(self, container_id: str, signal: str) -> None:
        with contextlib.suppress(_Gone, _NameTaken):
            await self._call(lambda: self._api.kill(container_id, signal))

    async def remove(self, container_id: str) -> None:
        with contextlib.suppress(_Gone, _NameTaken):
            await self._call(lambda: self._api.remove_container(container_id, force=True, v=True))

    async def exec(self, container_id: str, command: Sequence[str], *, seconds: float | None) -> ExecResult:
        """Nobody waits in a thread: commands that hang hold up nothing but themselves."""
        stream, output = await self.open_exec(container_id, command), b""
        try:
            async with asyncio.timeout(seconds):
                while data := (await stream.read())[1]:
                    output = (output + data)[:EXEC_OUTPUT_BYTES]
                return ExecResult(await stream.exit_code(), output.decode(errors="replace").rstrip())
        finally:
            await asyncio.shield(asyncio.ensure_future(stream.close()))

    async def open_exec(
        self, container_id: str, command: Sequence[str], *, stdin: bool = False, stderr: bool = True, tty: bool = False
    ) -> Stream:
        exec_id = await self._call(
            lambda: str(self._api.exec_create(container_id, [*command], stdin=stdin, stderr=stderr, tty=tty)["Id"])
        )
        path = f"/v{API_VERSION}/exec/{exec_id}/start"
        try:
            reader, writer = await hijack(self._host, path, {"Detach": False, "Tty": tty})
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.ensure_future(self.end_exec(exec_id)))
            raise
        return _Exec(self, exec_id, reader, writer, tty=tty)

    async def open_attach(self, container_id: str, *, stdin: bool, stderr: bool, tty: bool) -> Stream:
        query = f"stream=1&stdout=1&stdin={int(stdin)}&stderr={int(stderr)}"
        path = f"/v{API_VERSION}/containers/{container_id}/attach?{query}"
        reader, writer = await hijack(self._host, path)
        return _Attached(self, container_id, reader, writer, tty=tty)

    async def logs(self, container_id: str, options: LogOptions) -> AsyncIterator[bytes]:
        def read() -> Iterator[bytes]:
            since: Any = options.since.timestamp() if options.since else None
            answer = self._stream_api.logs(
                container_id,
                stream=True,
                follow=options.follow,
                timestamps=options.timestamps,
                tail="all" if options.tail is None else options.tail,
                since=since,
            )
            return cast(Iterator[bytes], answer)

        async for chunk in _pump(read):
            if not isinstance(chunk, Lost):
                yield chunk

    async def exec_state(self, exec_id: str) -> dict[str, Any]:
        return await self._call(lambda: self._api.exec_inspect(exec_id))

    async def end_exec(self, exec_id: str) -> None:
        """Kill what was started, if it still runs; it may only just be on its way."""
        for _ in range(EXEC_POLLS):
            try:
                state = await self.exec_state(exec_id)
            except RuntimeFailure:
                return  # the container is gone, and its processes with it
            if not state["Running"] and state["ExitCode"] is not None:
                return
            if state["Pid"]:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(state["Pid"], signals.SIGKILL)  # the engine makes it the leader of a session
                return
            await asyncio.sleep(EXEC_POLL_SECONDS)

    async def resize(self, call: Callable[[Any], object]) -> None:
        """The engine refuses until the process has a terminal, a moment after its stream."""
        for _ in range(EXEC_POLLS):
            with contextlib.suppress(RuntimeFailure):
                await self._call(lambda: call(self._api))
                return
            await asyncio.sleep(EXEC_POLL_SECONDS)

    # Images

    async def image(self, name: str) -> Image | None:
        try:
            answer = await self._call(lambda: self._api.inspect_image(name))  # type: ignore[no-untyped-call]
        except (_Gone, ImageNotFound):
            return None
        return Image(answer["Id"], answer["Size"], (answer.get("Config") or {}).get("User") or "")

    async def pull(self, name: str, credentials: Credentials | None = None) -> Image:
        repository, tag = _repository_and_tag(name)
        auth = {"username": credentials.username, "password": credentials.password} if credentials else None

        def pull() -> None:
            for each in self._api.pull(repository, tag=tag, auth_config=auth, stream=True, decode=True):
                if "error" in each:  # the answer was 200 long before this was known
                    raise RuntimeFailure(str(each["error"]))

        await self._call(pull, self._pulls)
        image = await self.image(name)
        if image is None:
            raise ImageNotFound(f"image {name!r} was pulled but is not there")
        return image

    async def load_images(self, path: str) -> None:
        def load() -> None:
            with open(path, "rb") as archive:
                for _ in self._api.load_image(archive):  # type: ignore[no-untyped-call]
                    pass

        await self._call(load, self._pulls)

    async def _ensure_image(self, name: str) -> None:
        if await self.image(name) is None:
            await self.pull(name)

    async def _own_sandbox_image(self) -> str:
        """Import the sandbox image unless it is there; asked for once."""
        if await self.image(pause.SANDBOX_IMAGE) is None:
            data = pause.image_tar((await self.info()).architecture)
            repository, tag = _repository_and_tag(pause.SANDBOX_IMAGE)
            changes = ['ENTRYPOINT ["/pause"]']
            await self._call(
                lambda: self._api.import_image_from_data(data, repository=repository, tag=tag, changes=changes)
            )
        self._sandbox_image = pause.SANDBOX_IMAGE
        return self._sandbox_image


class _Gone(RuntimeFailure):
    """No such container."""


class _NameTaken(RuntimeFailure):
    """409: the name is in use, or the container is not in a state for this."""


def _translating_errors(function: Callable[[], T]) -> T:
    try:
        return function()
    except errors.ImageNotFound as error:
        raise ImageNotFound(_explanation(error)) from error
    except errors.NotFound as error:
        if "image" in _explanation(error).lower():
            raise ImageNotFound(_explanation(error)) from error
        raise _Gone(_explanation(error)) from error
    except errors.APIError as error:
        kind = _NameTaken if error.status_code == 409 else RuntimeFailure
        raise kind(_explanation(error)) from error
    except errors.DockerException as error:
        raise RuntimeFailure(str(error)) from error
    except TimeoutError:
        raise
    except (requests.exceptions.RequestException, OSError) as error:
        raise EngineUnavailable(f"the Docker engine does not answer: {error}") from error


class _Exec(Hijacked):
    """A command inside a container."""

    def __init__(self, runtime: DockerRuntime, exec_id: str, *ends: Any, tty: bool) -> None:
        super().__init__(*ends, tty=tty)
        self._runtime, self._id = runtime, exec_id

    async def resize(self, *, columns: int, rows: int) -> None:
        await self._runtime.resize(lambda api: api.exec_resize(self._id, height=rows, width=columns))

    async def exit_code(self) -> int:
        for _ in range(EXEC_POLLS):
            state = await self._runtime.exec_state(self._id)
            if not state["Running"]:
                return int(state["ExitCode"] or 0)
            await asyncio.sleep(EXEC_POLL_SECONDS)  # the engine tells a moment after the stream has ended
        raise RuntimeFailure("the command closed its output and runs on")

    async def close(self) -> None:
        await super().close()
        await self._runtime.end_exec(self._id)


class _Attached(Hijacked):
    """A container's own process."""

    def __init__(self, runtime: DockerRuntime, container_id: str, *ends: Any, tty: bool) -> None:
        super().__init__(*ends, tty=tty)
        self._runtime, self._id = runtime, container_id

    async def resize(self, *, columns: int, rows: int) -> None:
        await self._runtime.resize(lambda api: api.resize(self._id, height=rows, width=columns))

    async def exit_code(self) -> int:
        return 0


def _explanation(error: errors.APIError) -> str:
    explanation = error.explanation
    return (explanation.decode() if isinstance(explanation, bytes) else explanation) or str(error)


def _changed(event: dict[str, Any]) -> Changed:
    actor = event["Actor"]
    pod = translate.pod_ref(actor["Attributes"])
    assert pod is not None, "the filter lets only our containers through"
    return Changed(pod, actor["ID"], gone=event["Action"] == "destroy")


def _repository_and_tag(name: str) -> tuple[str, str]:
    """`repo:tag` or `repo@digest`; a colon before the last slash belongs to a port."""
    if "@" in name:
        repository, _, digest = name.partition("@")
        return repository, digest
    head, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    return head + slash + last, tag or "latest"


async def _pump(connect: Callable[[], Iterator[Any]]) -> AsyncIterator[Any]:
    """Items of a blocking stream, read in a thread of its own; first Lost, once connected.

    Leaving the loop closes the stream, which ends the thread.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
    opened: list[Any] = []

    def tell(kind: str, item: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            loop.call_soon_threadsafe(queue.put_nowait, (kind, item))

    def read() -> None:
        try:
            stream = _translating_errors(connect)
            opened.append(stream)
            tell("item", Lost())
            for item in stream:
                tell("item", item)
            tell("end", None)
        except RuntimeFailure as error:
            tell("error", error)
        except Exception as error:  # a closed socket surfaces as almost anything
            tell("error", EngineUnavailable(str(error)))

    threading.Thread(target=read, name="docker-stream", daemon=True).start()
    try:
        while True:
            kind, item = await queue.get()
            if kind == "end":
                return
            if kind == "error":
                raise item
            yield item
    finally:
        for stream in opened:
            with contextlib.suppress(Exception):
                stream.close()
