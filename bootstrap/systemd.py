"""Who keeps the supervisor: systemd, where it runs; so a machine comes back from a reboot with nothing done by hand.

One unit, minik.service, runs all a machine was set up to be (supervisor.parts) in the foreground. It is for the machine
itself: what lies elsewhere than in DATA_DIR (a lab's hosts, a test) supervises itself, as does everything without
systemd.

Interface: run, remove.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from bootstrap import limits, supervisor
from bootstrap.errors import BootstrapError
from bootstrap.options import DATA_DIR
from client.files import write_atomic

UNIT = "minik.service"
UNIT_FILE = Path("/etc/systemd/system") / UNIT
RUNS = Path("/run/systemd/system")


def unit(data_dir: Path) -> str:
    """The unit file. Its processes are stopped by the supervisor, in order; what serves a container's
    volume is left, as the container is."""
    words = (sys.executable, "-P", "-m", "bootstrap.supervisor", "--foreground", str(data_dir))
    command = " ".join(f'"{word}"'.replace("%", "%%") if " " in word or "%" in word else word for word in words)
    return f"""\
[Unit]
Description=minik: this machine's part of the cluster
Wants=network-online.target
After=network-online.target docker.service containerd.service

[Service]
Type=notify
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
WorkingDirectory=/
Restart=always
RestartSec=1
WatchdogSec={limits.WATCHDOG:g}
KillMode=process
TimeoutStopSec={2 * limits.STOP_TIMEOUT:g}
Delegate=yes
TasksMax=infinity
LimitNOFILE=1048576

[Install]
WantedBy=multi-user.target
"""


def run(directory: Path) -> None:
    """Let what is configured in `directory` run, now and after each boot. Raises BootstrapError."""
    if directory.parent != DATA_DIR or not RUNS.is_dir():
        supervisor.start(directory)
        return
    wanted = unit(DATA_DIR)
    changed = not UNIT_FILE.exists() or UNIT_FILE.read_text() != wanted
    if changed:
        write_atomic(UNIT_FILE, wanted, mode=0o644)
        _systemctl("daemon-reload")
    keeper = supervisor.running(directory)
    if keeper is not None and keeper != _main_pid():
        supervisor.stop(directory)  # one that was started without systemd
    _systemctl("enable", "--quiet", UNIT)
    _systemctl("restart" if changed else "reload-or-restart", UNIT)
    deadline = time.monotonic() + limits.STOP_TIMEOUT
    while supervisor.running(directory) is None:  # a reload is told, not waited for
        if time.monotonic() > deadline:
            raise BootstrapError(f"{UNIT} does not run {directory}; see: journalctl -u {UNIT}")
        time.sleep(limits.RETRY_EVERY)


def remove(data_dir: Path) -> None:
    """Stop and forget the unit, if there is one."""
    if data_dir == DATA_DIR and RUNS.is_dir() and UNIT_FILE.exists():
        _systemctl("disable", "--quiet", "--now", UNIT)
        UNIT_FILE.unlink()
        _systemctl("daemon-reload")


def _main_pid() -> int:
    done = subprocess.run(["systemctl", "show", "--property=MainPID", "--value", UNIT], capture_output=True, text=True)
    return int(done.stdout.strip() or 0)


def _systemctl(*words: str) -> None:
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True)
    if done.returncode:
        why = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[0]
        raise BootstrapError(f"systemctl {' '.join(words)}: {why}")
