"""The supervisor: keeps the processes of one directory running, as an init system would.

    DIR/supervisor.json        {"children": [{"name": ..., "argv": [...]}, ...]}, in starting order
    DIR/run/<name>.json        pid, restarts, started (Unix time), state, last_exit; DIR/run/<name>.pid beside it
    DIR/logs/<name>.log        output of the child, rotated by size; supervisor.log tells of starts and exits

Interface: write_config, start, stop, status; `python -m bootstrap.supervisor DIR` is the process itself. With
`--foreground DATA_DIR` it stays with whoever started it, runs every part of a machine that was set up there, and tells
systemd that it is ready and alive (sd_notify; see systemd.py).

Invariants:
- One supervisor per directory: it holds a lock on DIR/run/supervisor.lock for as long as it lives, so a stale pid
  file is never believed.
- A child that exits is started again after a delay that doubles from 0.2 s to 10 s and is forgotten after 10 s of
  health. Whether a child is *ready* is not the supervisor's business.
- Children never outlive it: SIGTERM stops them in reverse order; if it is killed, the kernel tells them (PDEATHSIG).
- SIGHUP reads supervisor.json again and restarts only what changed.

One thread, one loop around sigtimedwait: nothing to lock, nothing to poll. Only light modules are imported, because
one of these runs per host.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bootstrap import limits
from bootstrap.errors import BootstrapError
from client.files import write_atomic

CONFIG = "supervisor.json"
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


@dataclass(frozen=True)
class Child:
    """One program to keep running."""

    name: str
    argv: tuple[str, ...]

    def flag(self, name: str) -> str:
        """The value of a flag in its command line; empty without."""
        return next((word.partition("=")[2] for word in self.argv if word.startswith(f"{name}=")), "")


@dataclass(frozen=True)
class ChildStatus:
    """What run/<name>.json says. state: running, backoff or stopped. started: Unix time, seconds."""

    name: str
    state: str = "stopped"
    pid: int | None = None
    restarts: int = 0
    started: float | None = None
    last_exit: int | None = None


# --- from outside ---------------------------------------------------------------------------------------------------


def write_config(directory: Path, children: Iterable[Child]) -> None:
    """Say what is to run in `directory`. Takes effect with start()."""
    config = {"children": [{"name": child.name, "argv": list(child.argv)} for child in children]}
    write_atomic(directory / CONFIG, json.dumps(config, indent=2) + "\n")


def read_config(directory: Path) -> list[Child]:
    config = json.loads((directory / CONFIG).read_text())
    return [Child(child["name"], tuple(child["argv"])) for child in config["children"]]


def configured(directory: Path) -> list[Child]:
    """What is to run in `directory`; nothing where nothing was set up."""
    try:
        return read_config(directory)
    except (OSError, ValueError, KeyError, TypeError):
        return []


def parts(data_dir: Path) -> list[Path]:
    """What a machine was set up to be: the directories with something to run."""
    return [each for name in ("control-plane", "node") if (each := data_dir / name) and (each / CONFIG).exists()]


def start(directory: Path) -> None:
    """Start the supervisor of `directory`, detached from this process; if it runs already, make it read its config."""
    command = [sys.executable, "-P", "-m", "bootstrap.supervisor", str(directory)]
    for _ in range(3):
        if pid := running(directory):
            os.kill(pid, signal.SIGHUP)
            return
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd="/")
        if done.returncode == 0:
            return
    raise BootstrapError(f"cannot start the supervisor of {directory}: {done.stderr.strip() or 'unknown reason'}")


def stop(directory: Path, *, timeout: float = limits.STOP_TIMEOUT) -> None:
    """Stop the supervisor and everything it runs; returns when all of it is gone."""
    pid = running(directory)
    if pid is None:
        return
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        if not poller.poll(timeout * 1000):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            for child in status(directory):
                _kill_group(child.pid)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def running(directory: Path) -> int | None:
    """The pid of the supervisor of `directory`, or None."""
    try:
        lock = os.open(directory / "run" / "supervisor.lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        try:
            return int((directory / "run" / "supervisor.pid").read_text())
        except (FileNotFoundError, ValueError):
            return None
    finally:
        os.close(lock)


def status(directory: Path) -> list[ChildStatus]:
    """What the children of `directory` are doing, in starting order."""
    names = [child.name for child in configured(directory)]
    alive = running(directory) is not None
    return [_read_status(directory, name, alive=alive) for name in names]


def _read_status(directory: Path, name: str, *, alive: bool) -> ChildStatus:
    try:
        saved = ChildStatus(**json.loads((directory / "run" / f"{name}.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return ChildStatus(name)
    return saved if alive else ChildStatus(name, restarts=saved.restarts, last_exit=saved.last_exit)


# --- the process ----------------------------------------------------------------------------------------------------


class _Runner:
    """One child over its restarts."""

    def __init__(self, child: Child, directory: Path) -> None:
        self.child = child
        self.directory = directory
        self.process: subprocess.Popen[bytes] | None = None
        self.restarts = 0
        self.started = 0.0
        self.last_exit: int | None = None
        self.backoff = 0.0
        self.due = time.monotonic()

    @property
    def log(self) -> Path:
        return self.directory / "logs" / f"{self.child.name}.log"

    def launch(self) -> None:
        # The child appends to the file itself: the supervisor can die, or truncate the file, without breaking a pipe.
        with open(self.log, "ab") as log:
            try:
                self.process = subprocess.Popen(
                    self.child.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    process_group=0,
                    preexec_fn=_prepare_child(os.getpid()),
                )
            except OSError as error:
                _say(f"{self.child.name}: cannot start {self.child.argv[0]}: {error.strerror}")
                self.exited(127)
                return
        self.started = time.time()
        self.due = time.monotonic()
        _say(f"{self.child.name}: started, pid {self.process.pid}")
        self.save("running")

    def reap(self) -> None:
        if self.process is None or (code := self.process.poll()) is None:
            return
        _kill_group(self.process.pid)  # what the child itself started must not run beside its successor
        _say(f"{self.child.name}: pid {self.process.pid} exited with {code}")
        self.process = None
        self.exited(code)

    def exited(self, code: int) -> None:
        if time.monotonic() - self.due > limits.HEALTHY_AFTER:
            self.backoff = 0.0
        self.backoff = min(max(self.backoff * 2, limits.BACKOFF_FIRST), limits.BACKOFF_LIMIT)
        self.last_exit = code
        self.restarts += 1
        self.due = time.monotonic() + self.backoff
        self.save("backoff")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.last_exit = self.process.wait(limits.STOP_GRACE)
            except subprocess.TimeoutExpired:
                _say(f"{self.child.name}: did not stop within {limits.STOP_GRACE:g} s, killed")
            _kill_group(self.process.pid)
            self.process.wait()
            self.process = None
        self.save("stopped")

    def save(self, state: str) -> None:
        run = self.directory / "run"
        pid = self.process.pid if self.process else None
        facts = ChildStatus(self.child.name, state, pid, self.restarts, self.started if pid else None, self.last_exit)
        write_atomic(run / f"{self.child.name}.json", json.dumps(asdict(facts)) + "\n", mode=0o644)
        if pid:
            write_atomic(run / f"{self.child.name}.pid", f"{pid}\n", mode=0o644)
        else:
            (run / f"{self.child.name}.pid").unlink(missing_ok=True)

    def rotate(self) -> None:
        # Copy and truncate: the child keeps its open file, and because it appends, it goes on at the new end.
        if self.log.exists() and self.log.stat().st_size > limits.LOG_LIMIT:
            shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
            os.truncate(self.log, 0)


class Supervisor:
    """The loop: start what is due, sleep until a signal or the next due time."""

    def __init__(self, find: Callable[[], list[Path]], *, held: Mapping[Path, int] | None = None) -> None:
        """find: the directories to run, asked again at each SIGHUP. held: those whose locks were taken already."""
        self.find = find
        self.locks = dict(held or {})
        self.notifier = _Notifier()
        self.runners: list[_Runner] = []
        self.next_log_check = time.monotonic() + limits.LOG_CHECK

    def run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        # What a dying child leaves becomes ours, and is reaped at once. Left to a slow init, a zombie looks alive to
        # the successor: dockerd waits 15 s for the containerd of a killed dockerd.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self.reload()
        self.launch_due()
        self.notifier.tell("READY=1")
        while True:
            self.launch_due()
            received = signal.sigtimedwait(_SIGNALS, self.patience())
            self.reap()
            if received and received.si_signo in (signal.SIGTERM, signal.SIGINT):
                break
            if received and received.si_signo == signal.SIGHUP:
                self.reload()
            self.rotate_logs()
            self.notifier.tell("WATCHDOG=1")
        self.notifier.tell("STOPPING=1")
        for runner in reversed(self.runners):
            runner.stop()
        _say("stopped")

    def reload(self) -> None:
        """Take over each supervisor.json: unchanged children go on undisturbed."""
        wanted = [(directory, child) for directory in self.find() for child in self.wanted(directory)]
        for runner in reversed(self.runners):
            if (runner.directory, runner.child) not in wanted:
                runner.stop()
        kept = {(runner.directory, runner.child): runner for runner in self.runners}
        self.runners = [kept.get(each) or _Runner(each[1], each[0]) for each in wanted]

    def wanted(self, directory: Path) -> list[Child]:
        if directory not in self.locks:
            lock = _take_lock(directory)
            if lock is None:
                _say(f"another supervisor is running in {directory}")
                return []
            self.locks[directory] = lock
            write_atomic(directory / "run" / "supervisor.pid", f"{os.getpid()}\n", mode=0o644)
        try:
            return read_config(directory)
        except (OSError, ValueError, KeyError, TypeError) as error:
            _say(f"{directory}/supervisor.json is not readable, going on with what runs: {error}")
            return [runner.child for runner in self.runners if runner.directory == directory]

    def reap(self) -> None:
        """Bury every dead process below us; note the deaths of children."""
        with contextlib.suppress(ChildProcessError):
            while dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                for runner in self.runners:
                    if runner.process is not None and runner.process.pid == dead.si_pid:
                        runner.reap()
                        break
                else:
                    os.waitpid(dead.si_pid, 0)

    def launch_due(self) -> None:
        for runner in self.runners:
            if runner.process is None and runner.due <= time.monotonic():
                runner.launch()

    def patience(self) -> float:
        """Seconds until something is due."""
        due = [runner.due for runner in self.runners if runner.process is None]
        return max(0.0, min([*due, self.next_log_check]) - time.monotonic())

    def rotate_logs(self) -> None:
        if time.monotonic() >= self.next_log_check:
            self.next_log_check = time.monotonic() + limits.LOG_CHECK
            for runner in self.runners:
                runner.rotate()


class _Notifier:
    """Tells systemd how it goes (https://www.freedesktop.org/software/systemd/man/sd_notify.html), where there is one.

    Its variables are taken out of the environment: children must not answer for us (etcd would).
    """

    def __init__(self) -> None:
        for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
            os.environ.pop(name, None)
        path = os.environ.pop("NOTIFY_SOCKET", "")
        self.address = f"\0{path[1:]}" if path.startswith("@") else path

    def tell(self, state: str) -> None:
        if self.address:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.sendto(state.encode(), self.address)


def _prepare_child(parent: int):  # type: ignore[no-untyped-def]
    libc = ctypes.CDLL(None, use_errno=True)

    def prepare() -> None:  # runs in the child between fork and exec
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the supervisor died before the line above
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())

    return prepare


def _kill_group(pid: int | None) -> None:
    if pid:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def _say(text: str) -> None:
    print(time.strftime("%Y-%m-%d %H:%M:%S"), text, file=sys.stderr, flush=True)


def _take_lock(directory: Path) -> int | None:
    for name in ("run", "logs"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    lock = os.open(directory / "run" / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def main(argv: list[str] | None = None) -> int:
    """Check, take the lock, then go on in the background: the caller sees errors, the lock outlives the fork."""
    *flags, target = sys.argv[1:] if argv is None else argv
    directory = Path(target)
    if flags == ["--foreground"]:
        Supervisor(lambda: parts(directory)).run()
        return 0
    try:
        read_config(directory)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(error, file=sys.stderr)
        return 2
    if (held := _take_lock(directory)) is None:
        print("another supervisor is running there", file=sys.stderr)
        return 3
    if pid := os.fork():
        write_atomic(directory / "run" / "supervisor.pid", f"{pid}\n", mode=0o644)
        os._exit(0)
    os.setsid()
    log = os.open(directory / "logs" / "supervisor.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)
    Supervisor(lambda: [directory], held={directory: held}).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
