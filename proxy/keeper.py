"""Keeps one nftables table equal to what the cluster wants: behind Services and behind NetworkPolicies.

Interface: `table_keeper(name, table, wanted)` is a Keeper (client/keeper.py).
Invariant: a change is one transaction of the kernel; one that fails leaves the old rules in force.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from client.keeper import Keeper
from linux.nft import Ruleset, Table


def table_keeper(name: str, table: str, wanted: Callable[[], Ruleset], *, min_sync_seconds: float) -> Keeper:
    kernel, log = Table(table), logging.getLogger(name)

    async def sync(suspect: bool) -> None:
        started = time.perf_counter()
        if suspect:
            await asyncio.to_thread(kernel.check)
        rules = wanted()
        if await asyncio.to_thread(kernel.apply, rules):
            took = (time.perf_counter() - started) * 1000
            log.info("in force: %d chains, %d elements (%.0f ms)", len(rules.chains), len(rules.elements), took)

    return Keeper(name, sync, min_sync_seconds=min_sync_seconds)
