"""The scheduler's boot story.

    python -m scheduler --kubeconfig FILE [--leader-elect true|false]

Durations are seconds (fractions allowed) or Go's notation (`1m30s`).
"""

from __future__ import annotations

import argparse
import logging
import sys

from lightkube import ConfigError

from api.durations import parse_duration
from api.process import configure_logging, run_until_signalled
from client.config import connect
from client.leader import LeaderElector, LeadershipLost, LeaseTiming
from scheduler.scheduler import DEFAULT_SCHEDULER, Scheduler

LEASE_NAME = "kube-scheduler"


def main(argv: list[str] | None = None) -> None:
    options = parse(argv)
    configure_logging(options.v)
    try:
        run_until_signalled(run(options))
    except (LeadershipLost, ConfigError) as error:
        logging.getLogger("scheduler").error("%s", error)
        sys.exit(1)


async def run(options: argparse.Namespace) -> None:
    """Connect, become leader, schedule."""
    client = connect(options.kubeconfig, agent="kube-scheduler")
    scheduler = Scheduler(client, name=options.scheduler_name)
    if not options.leader_elect:
        await scheduler.run()
        return
    timing = LeaseTiming(
        lease=options.leader_elect_lease_duration,
        renew_deadline=options.leader_elect_renew_deadline,
        retry=options.leader_elect_retry_period,
    )
    await LeaderElector(client, name=LEASE_NAME, timing=timing).run(scheduler.run)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scheduler", description="Places pods on nodes.")
    parser.add_argument("--kubeconfig", required=True, help="how to reach the API server")
    parser.add_argument("--scheduler-name", default=DEFAULT_SCHEDULER, help="the schedulerName this one answers to")
    parser.add_argument("--leader-elect", type=_boolean, nargs="?", const=True, default=True)
    parser.add_argument("--leader-elect-lease-duration", type=parse_duration, default=15.0)
    parser.add_argument("--leader-elect-renew-deadline", type=parse_duration, default=10.0)
    parser.add_argument("--leader-elect-retry-period", type=parse_duration, default=2.0)
    parser.add_argument("-v", type=int, default=0, help="log verbosity; 4 and up is debug")
    return parser.parse_args(argv)


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError("true or false expected")
    return text.lower() == "true"
