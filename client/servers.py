"""Several API servers in one kubeconfig: its format, and how soon a connection to one that is gone is given up.

A kubeconfig names one server; ours adds the others as an extension of the cluster (kubectl passes over those), so one
file works for every client. Light: `minikctl` imports it for every command. The clients' part is client/failover.py.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from typing import Any

EXTENSION = "minik.dev/servers"
CONNECT_SECONDS = 2.0  # for a connection while there is another server to try
SILENCE_MS = 3000  # data unconfirmed for so long: the connection is dead

# Quicker than what servers ask of a client (api/keepalive.py): there is somewhere else to go. A client sends little, so
# TCP_USER_TIMEOUT, which also ends what the other end does not read, ends nothing of it that lives.
SOCKET_OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 2),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_MS),
)


def listed(cluster: Mapping[str, Any]) -> tuple[str, ...]:
    """Every server (URL) of a kubeconfig's cluster, the one all clients know first."""
    first = str(cluster.get("server") or "")
    for each in cluster.get("extensions") or ():
        if each.get("name") == EXTENSION:
            return tuple(dict.fromkeys([first, *map(str, (each.get("extension") or {}).get("servers") or ())]))
    return (first,)


def with_servers(cluster: Mapping[str, Any], servers: Iterable[str]) -> dict[str, Any]:
    """The cluster with exactly these servers."""
    first, *others = dict.fromkeys(servers)
    kept = [each for each in cluster.get("extensions") or () if each.get("name") != EXTENSION]
    if others:
        kept.append({"name": EXTENSION, "extension": {"servers": [first, *others]}})
    result = {key: value for key, value in cluster.items() if key != "extensions"} | {"server": first}
    return result | {"extensions": kept} if kept else result
