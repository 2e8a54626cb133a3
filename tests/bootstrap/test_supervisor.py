"""The supervisor on real processes: it starts, restarts, rereads, stops, and leaves nothing."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bootstrap import limits, supervisor, systemd
from bootstrap.errors import BootstrapError
from bootstrap.supervisor import Child

DEADLINE = 20.0  # seconds


def eventually(probe: Callable[[], object]) -> object:
    """Wait for the supervisor's own report files to say what the test expects."""
    end = time.monotonic() + DEADLINE
    while not (value := probe()):
        assert time.monotonic() < end, "the expected state did not come"
        time.sleep(0.02)
    return value


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def shell(name: str, script: str) -> Child:
    return Child(name, ("/bin/sh", "-c", script))


def state_of(directory: Path, name: str) -> supervisor.ChildStatus:
    return next(status for status in supervisor.status(directory) if status.name == name)


def running_pid(directory: Path, name: str) -> int | None:
    status = state_of(directory, name)
    return status.pid if status.state == "running" else None


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    supervisor.stop(tmp_path)


def begin(directory: Path, *children: Child) -> None:
    supervisor.write_config(directory, children)
    supervisor.start(directory)
    for child in children:
        eventually(lambda name=child.name: running_pid(directory, name))


def test_starts_in_the_background_and_stops_everything(directory: Path) -> None:
    begin(directory, shell("one", "sleep 1000"), shell("two", "sleep 1000 & wait"))
    pids = [state_of(directory, name).pid for name in ("one", "two")]
    master = supervisor.running(directory)
    assert master and os.getsid(master) != os.getsid(0)
    assert (directory / "run" / "one.pid").read_text().strip() == str(pids[0])
    supervisor.stop(directory)
    assert supervisor.running(directory) is None
    assert not any(pid and alive(pid) for pid in pids)
    assert state_of(directory, "one").state == "stopped"
    assert not (directory / "run" / "one.pid").exists()


def test_a_killed_child_comes_back(directory: Path) -> None:
    begin(directory, shell("one", "sleep 1000"))
    first = state_of(directory, "one")
    os.kill(first.pid or 0, signal.SIGKILL)
    eventually(lambda: running_pid(directory, "one") not in (None, first.pid))
    second = state_of(directory, "one")
    assert (second.restarts, second.last_exit) == (1, -signal.SIGKILL)


def test_a_failing_child_is_retried_and_seen(directory: Path) -> None:
    supervisor.write_config(directory, [shell("bad", "echo no luck; exit 3"), Child("gone", ("/no/such/program",))])
    supervisor.start(directory)
    eventually(lambda: state_of(directory, "bad").restarts >= 2 and state_of(directory, "gone").restarts >= 2)
    assert state_of(directory, "bad").last_exit == 3
    assert "no luck" in (directory / "logs" / "bad.log").read_text()
    assert "cannot start /no/such/program" in (directory / "logs" / "supervisor.log").read_text()


def test_starting_again_restarts_only_what_changed(directory: Path) -> None:
    begin(directory, shell("same", "sleep 1000"), shell("changed", "sleep 1000"), shell("removed", "sleep 1000"))
    before = {name: state_of(directory, name).pid for name in ("same", "changed", "removed")}
    supervisor.write_config(directory, [shell("same", "sleep 1000"), shell("changed", "sleep 2000")])
    supervisor.start(directory)
    eventually(lambda: running_pid(directory, "changed") not in (None, before["changed"]))
    assert state_of(directory, "same").pid == before["same"]
    assert not alive(before["removed"] or 0)
    assert [status.name for status in supervisor.status(directory)] == ["same", "changed"]


def test_children_die_with_a_killed_supervisor(directory: Path) -> None:
    begin(directory, Child("one", ("/bin/sleep", "1000")))
    child = state_of(directory, "one").pid or 0
    os.kill(supervisor.running(directory) or 0, signal.SIGKILL)
    eventually(lambda: not alive(child))
    assert supervisor.running(directory) is None
    assert state_of(directory, "one").state == "stopped"
    supervisor.start(directory)
    eventually(lambda: running_pid(directory, "one"))


def test_what_a_child_left_behind_is_killed_before_its_restart(directory: Path) -> None:
    begin(directory, shell("parent", f"sleep 1000 & echo $! > {directory}/grandchild; wait"))
    grandchild = int(
        str(eventually(lambda: (directory / "grandchild").exists() and (directory / "grandchild").read_text()))
    )
    os.kill(state_of(directory, "parent").pid or 0, signal.SIGKILL)
    eventually(lambda: not alive(grandchild))


def test_orphans_are_reaped_so_that_no_successor_takes_them_for_alive(directory: Path) -> None:
    script = f"setsid sh -c 'echo $$ > {directory}/orphan; exec sleep 1000' & wait"
    begin(directory, shell("parent", script))
    orphan = int(str(eventually(lambda: (directory / "orphan").exists() and (directory / "orphan").read_text())))
    os.kill(state_of(directory, "parent").pid or 0, signal.SIGKILL)
    eventually(lambda: state_of(directory, "parent").restarts)
    os.kill(orphan, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{orphan}").exists())


def test_stop_is_harmless_without_a_supervisor(tmp_path: Path) -> None:
    supervisor.stop(tmp_path)
    assert supervisor.status(tmp_path) == []


def test_a_broken_config_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "supervisor.json").write_text("{")
    with pytest.raises(BootstrapError, match="cannot start the supervisor") as raised:
        supervisor.start(tmp_path)
    assert "\n" not in str(raised.value)


def test_logs_are_rotated_while_the_child_writes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOG_LIMIT", 10)
    (tmp_path / "logs").mkdir()
    runner = supervisor._Runner(shell("one", "true"), tmp_path)
    with open(runner.log, "ab", buffering=0) as log:
        log.write(b"a long first line\n")
        runner.rotate()
        log.write(b"second\n")
    assert runner.log.read_text() == "second\n"
    assert runner.log.with_suffix(".log.1").read_text() == "a long first line\n"


def test_imports_stay_light() -> None:
    """One supervisor runs per host, so it may not pull in the API's types or asyncio."""
    code = "import sys, json, bootstrap.supervisor; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert not {"lightkube", "msgspec", "asyncio", "cryptography", "yaml"} & set(json.loads(done.stdout))


def test_in_the_foreground_it_runs_all_parts_of_a_machine_and_tells_systemd(tmp_path: Path) -> None:
    part, later, notices = tmp_path / "control-plane", tmp_path / "node", tmp_path / "notify"
    supervisor.write_config(part, [shell("one", f"echo ${{NOTIFY_SOCKET:-nobody}} > {tmp_path}/told; sleep 1000")])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(notices))
        listener.settimeout(DEADLINE)
        command = [sys.executable, "-P", "-m", "bootstrap.supervisor", "--foreground", str(tmp_path)]
        process = subprocess.Popen(command, env={**os.environ, "NOTIFY_SOCKET": str(notices)}, cwd="/")
        try:
            assert listener.recv(100) == b"READY=1"
            assert supervisor.running(part) == process.pid
            eventually((tmp_path / "told").exists)
            supervisor.write_config(later, [shell("two", "sleep 1000")])
            process.send_signal(signal.SIGHUP)
            eventually(lambda: running_pid(later, "two"))
            pids = [state_of(part, "one").pid, state_of(later, "two").pid]
        finally:
            process.terminate()
        assert process.wait(DEADLINE) == 0
        assert b"STOPPING=1" in iter(lambda: listener.recv(100), None)
    assert (tmp_path / "told").read_text() == "nobody\n", "children do not speak for the supervisor"
    assert not any(pid and alive(pid) for pid in pids)


def test_the_unit_of_a_checkout_with_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/srv/my 100% code/.venv/bin/python")
    line = next(each for each in systemd.unit(Path("/var/lib/minik")).splitlines() if each.startswith("ExecStart="))
    assert line.startswith('ExecStart="/srv/my 100%% code/.venv/bin/python" -P -m bootstrap.supervisor --foreground ')
