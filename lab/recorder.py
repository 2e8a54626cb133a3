"""The lab's observer: it keeps the history of the cluster, and of what was done to the lab's hosts.

    <lab>/recorder/history.sqlite     every revision of every object (workshop/history), written by a process of its own
    <lab>/recorder/faults.jsonl       a line for each plug and cable: at (Unix time, seconds), host, what

Interface: start, stop, note, faults, history. The process stands beside the hosts, so none of their faults touches it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from bootstrap import supervisor
from bootstrap.supervisor import Child
from lab import state

DIRECTORY = "recorder"
MODULE = "workshop.history.recorder"


def directory(lab: str) -> Path:
    return state.lab_dir(lab) / DIRECTORY


def history(lab: str) -> Path:
    return directory(lab) / "history.sqlite"


def start(lab: str, kubeconfig: Path) -> None:
    """Have the recorder run. It goes on where it stopped."""
    argv = (sys.executable, "-P", "-m", MODULE, "--kubeconfig", str(kubeconfig), "--file", str(history(lab)))
    for each in ("run", "logs"):
        (directory(lab) / each).mkdir(parents=True, exist_ok=True)
    supervisor.write_config(directory(lab), [Child("recorder", argv)])
    supervisor.start(directory(lab))


def stop(lab: str) -> None:
    supervisor.stop(directory(lab))


def note(lab: str, host: str, what: str) -> None:
    """Write down what is being done to a host; the cluster itself is not told."""
    if directory(lab).is_dir():
        with open(directory(lab) / "faults.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({"at": time.time(), "host": host, "what": what}) + "\n")


def faults(lab: str) -> list[dict[str, Any]]:
    """What was done to the hosts, oldest first."""
    try:
        text = (directory(lab) / "faults.jsonl").read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines()]
