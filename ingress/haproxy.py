"""The HAProxy of a node: one process a generation, and no request lost between two.

Interface: `HAProxy(directory, ...)`, `await apply(configuration)`, `await stop()`.

- A change of pods alone is told to the running generation over its admin socket: it holds before `apply` returns.
- Any other change starts a new generation with the same listening sockets. Once it answers, the old one is told to
  finish what it has (SIGUSR1); connections waiting in the sockets are taken by the new one. What finishes takes no more
  orders: a connection that was kept alive gets one more answer from it, and then is closed.

Invariants
- A generation that does not start changes nothing: the one before it goes on, and knows which pods there are.
- At most MAX_FINISHING old generations live, each for at most DRAIN_SECONDS.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ingress.config import CONFIG, SOCKET, Configuration

START_SECONDS = 10.0
ASK_EVERY_SECONDS = 0.01
COMMAND_SECONDS = 5.0
STOP_SECONDS = 3.0
"""For requests under way when all of it is to end."""
DRAIN_SECONDS = 300.0
"""How long an old generation may go on with its connections (WebSockets, downloads)."""
MAX_FINISHING = 8
COMMANDS_A_LINE = 100

FINE = {"", "New server registered."}

log = logging.getLogger("haproxy")


class HAProxyError(OSError):
    """It did not start, or did not do what it was told."""


@dataclass(eq=False)
class _Generation:
    process: asyncio.subprocess.Process
    directory: Path
    configuration: Configuration
    servers: dict[str, set[str]]
    """By backend, those that get requests."""
    parked: dict[str, set[str]] = field(default_factory=dict)
    """Those that do not any more, and are removed when their last connection is."""
    last_words: str = ""

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    def tell(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)


class HAProxy:
    """What runs below `directory`. `died` is called when the current generation ends by itself."""

    def __init__(self, directory: Path, *, died: Callable[[], None] = lambda: None) -> None:
        self._directory = directory
        self._died = died
        self._numbers = itertools.count(1)
        self._current: _Generation | None = None
        self._finishing: list[_Generation] = []
        self._watchers: set[asyncio.Task[None]] = set()
        self.generations = 0
        """How many were started."""

    async def apply(self, wanted: Configuration, sockets: Iterable[int]) -> None:
        """Serve this from now on, on these listening descriptors. Raises HAProxyError."""
        current = self._current if self._current is not None and self._current.alive else None
        told = current is not None and await self._tell(current, wanted)
        if current is not None and told and current.configuration.files == wanted.files:
            return
        started = await self._start(wanted, tuple(sockets))
        if current is not None:
            self._retire(current)
        self._current = started
        if not started.alive:
            self._died()

    async def stop(self) -> None:
        """End all generations, after what they are answering just now."""
        generations = [*self._finishing, *([self._current] if self._current else [])]
        self._current, self._finishing = None, []
        for each in generations:
            each.tell(signal.SIGUSR1)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await asyncio.gather(*(each.process.wait() for each in generations))
        for each in generations:
            each.tell(signal.SIGKILL)
        await asyncio.gather(*self._watchers)

    # Generations

    async def _start(self, wanted: Configuration, sockets: tuple[int, ...]) -> _Generation:
        directory = self._directory / str(next(self._numbers))
        await asyncio.to_thread(_write, directory, wanted)
        try:
            process = await asyncio.create_subprocess_exec(
                *("haproxy", "-db", "-C", str(directory), "-f", CONFIG),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=sockets,
            )
        except FileNotFoundError:
            raise HAProxyError("haproxy is not installed; on Debian and Ubuntu: apt-get install haproxy") from None
        generation = _Generation(process, directory, wanted, {name: set(each) for name, each in wanted.servers.items()})
        self.generations += 1
        watcher = asyncio.create_task(self._watch(generation))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await _answers(directory):
                    if not generation.alive:
                        await watcher
                        raise HAProxyError(f"haproxy does not start: {generation.last_words}")
                    await asyncio.sleep(ASK_EVERY_SECONDS)
        except TimeoutError:
            generation.tell(signal.SIGKILL)
            raise HAProxyError(f"haproxy did not start within {START_SECONDS:g} s") from None
        except asyncio.CancelledError:
            generation.tell(signal.SIGKILL)
            raise
        return generation

    def _retire(self, generation: _Generation) -> None:
        generation.tell(signal.SIGUSR1)
        self._finishing.append(generation)
        while len(self._finishing) > MAX_FINISHING:
            self._finishing.pop(0).tell(signal.SIGKILL)

    async def _watch(self, generation: _Generation) -> None:
        """Log what it says, and bury it."""
        stderr = generation.process.stderr
        assert stderr is not None
        while line := (await stderr.readline()).decode(errors="replace").strip():
            log.info("%d: %s", generation.process.pid, line)
            if "[ALERT]" in line:
                generation.last_words = line
        await generation.process.wait()
        await asyncio.to_thread(shutil.rmtree, generation.directory, ignore_errors=True)
        if generation in self._finishing:
            self._finishing.remove(generation)
        elif generation is self._current:
            log.warning("haproxy ended by itself with %s", generation.process.returncode)
            self._died()

    # Servers

    async def _tell(self, generation: _Generation, wanted: Configuration) -> bool:
        """Tell one generation which pods there are; whether it knows now. It may lack backends that are new."""
        commands: list[str] = []
        removals: list[str] = []
        for name, servers in generation.servers.items():
            new, parked = set(wanted.servers.get(name, ())), generation.parked.setdefault(name, set())
            options = generation.configuration.options[name]
            for each in sorted(new - servers - parked):
                commands.append(f"add server {name}/{each} {each}{options}")
            commands += [f"set server {name}/{each} state ready" for each in sorted(new - servers)]
            commands += [f"set server {name}/{each} state maint" for each in sorted(servers - new)]
            generation.servers[name], generation.parked[name] = new, (parked | servers) - new
            removals += [f"del server {name}/{each}" for each in sorted(generation.parked[name])]
        try:
            answers = [line for line in await _ask(generation.directory, commands) if line not in FINE]
            if answers:
                log.warning("haproxy %d: %s", generation.process.pid, answers[0])
            if removals:
                await self._remove(generation, removals)
            return not answers
        except (OSError, TimeoutError) as error:
            if generation.alive:
                log.warning("haproxy %d does not listen: %s", generation.process.pid, str(error) or "too late")
            return False

    async def _remove(self, generation: _Generation, removals: list[str]) -> None:
        """A server goes when it has no connection left; until then it stays parked."""
        for command in removals:
            if "Server deleted." in await _ask(generation.directory, [command]):
                name, _, address = command.split()[-1].partition("/")
                generation.parked[name].discard(address)


def _write(directory: Path, wanted: Configuration) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, mode=0o700)
    for name, text in {**wanted.files, CONFIG: wanted.text()}.items():
        with open(os.open(directory / name, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(text)


async def _answers(directory: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(directory / SOCKET)
    except OSError:
        return False
    writer.close()
    return True


async def _ask(directory: Path, commands: list[str]) -> list[str]:
    """The lines it answers to the commands. Raises OSError and TimeoutError."""
    answers: list[str] = []
    for first in range(0, len(commands), COMMANDS_A_LINE):
        async with asyncio.timeout(COMMAND_SECONDS):
            reader, writer = await asyncio.open_unix_connection(directory / SOCKET)
            try:
                writer.write("; ".join(commands[first : first + COMMANDS_A_LINE]).encode() + b"\n")
                answers += (await reader.read()).decode(errors="replace").splitlines()
            finally:
                writer.close()
    return [line.strip() for line in answers]
