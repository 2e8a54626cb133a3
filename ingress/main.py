"""The boot story of a node's ingress: what an Ingress controller with its load balancer is.

    python -m ingress --kubeconfig FILE --data-dir DIR [--hostname-override NAME] ...

1. caches of the cluster: Ingresses, their classes, Services and EndpointSlices (`gateway.py`)
2. as soon as there is an Ingress of our class: ports 80 and 443 (`listeners.py`), and a HAProxy on them (`haproxy.py`)
3. what Ingresses ask for (`routes.py`), as HAProxy reads it (`config.py`), follows every change

It starts with less of the processor than others, because a node's readiness does not wait for it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import shutil
import socket
import sys
from pathlib import Path

from lightkube import ConfigError

from api.durations import parse_duration
from api.process import configure_logging, run_until_signalled
from client.config import connect
from client.events import EventRecorder
from ingress.gateway import Gateway
from ingress.haproxy import HAProxy
from ingress.listeners import Listeners

log = logging.getLogger("ingress")


def main(argv: list[str] | None = None) -> None:
    """Parse, run, and end with exit code 0 on SIGTERM, 1 on what cannot work."""
    options = parse(argv)
    configure_logging(options.v)
    try:
        run_until_signalled(run(options))
    except (ConfigError, OSError) as error:
        log.error("%s", error)
        sys.exit(1)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ingress", description="Ingresses, served by HAProxy.")
    add = parser.add_argument
    add("--kubeconfig", required=True, help="how to reach the API server")
    add("--hostname-override", default=socket.gethostname().lower(), help="the node's name; default: the host's")
    add("--data-dir", type=Path, required=True, help="where HAProxy's configuration is written")
    add("--bind-address", default="0.0.0.0")
    add("--http-port", type=int, default=80)
    add("--https-port", type=int, default=443)
    add("--min-sync-period", type=parse_duration, default=0.05, help="seconds between two changes")
    add("-v", "--v", type=int, default=0, help="verbosity; 4 and up logs details")
    return parser.parse_args(argv)


async def run(options: argparse.Namespace) -> None:
    """The whole ingress, until cancelled."""
    shutil.rmtree(options.data_dir, ignore_errors=True)  # of a life before this one
    client = connect(options.kubeconfig)
    events = EventRecorder(client, "ingress", host=options.hostname_override)
    listeners = Listeners(options.bind_address, {"http": options.http_port, "https": options.https_port})
    haproxy = HAProxy(options.data_dir, died=lambda: gateway.mark())
    gateway = Gateway(
        client,
        node=options.hostname_override,
        listeners=listeners,
        haproxy=haproxy,
        events=events,
        min_sync_seconds=options.min_sync_period,
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(events.run())
        group.create_task(gateway.run())
        await gateway.ingresses.wait_synced()
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, 0)  # what it took less at its start (__main__.py) it gets back
