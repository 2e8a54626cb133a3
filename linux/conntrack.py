"""Forgetting UDP flows whose endpoint is gone.

The kernel translates only the first packet of a flow by the rules and remembers the answer. A UDP client that keeps
its source port would send to a vanished pod for as long as it keeps sending, so those memories are deleted when a
service's endpoints change. TCP needs none of this: a dead peer resets or times out.

Interface: `changed` (pure) says what to look at, `forget` does it. Both know only what `nft.Ruleset.udp_flows` holds.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator, Mapping
from typing import Any

from pyroute2 import NFCTSocket
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple

UdpTarget = tuple[str, int]
"""An address and a port; the address is empty for a port of every address of the node."""

MAX_SEARCHES = 20
"""Up to so many targets are looked up one by one, in the kernel; for more, all UDP flows are read once. A busy node
has thousands of them: each connection between nodes is a flow of the tunnel."""

log = logging.getLogger("conntrack")

Flows = Mapping[UdpTarget, frozenset[UdpTarget]]


def changed(old: Flows, new: Flows) -> dict[UdpTarget, frozenset[UdpTarget]]:
    """The targets whose endpoints are not what they were -> who may answer now; nobody, for a service that is gone."""
    targets = {target for target in old.keys() | new.keys() if old.get(target) != new.get(target)}
    return {target: new.get(target, frozenset()) for target in targets}


def forget(flows: Flows) -> int:
    """Delete the kernel's entries of UDP flows to these targets that somebody else answers. Returns how many.

    Blocks. Raises OSError if connection tracking cannot be reached.
    """
    count = 0
    with NFCTSocket() as kernel:
        searches = [_search(*target) for target in flows] if len(flows) <= MAX_SEARCHES else [_search("", 0)]
        stale = [entry for search in searches for entry in _entries(kernel, search) if _is_stale(entry, flows)]
        for sent, _ in stale:
            try:
                kernel.entry("del", tuple_orig=sent)
                count += 1
            except NetlinkError as error:
                log.debug("a UDP flow to %s ended by itself: %s", sent.daddr, error)
    return count


def _is_stale(entry: tuple[NFCTAttrTuple, NFCTAttrTuple], flows: Flows) -> bool:
    sent, answered = entry
    to = flows.get((sent.daddr, sent.dport), flows.get(("", sent.dport)))
    return to is not None and (answered.saddr, answered.sport) not in to


def _search(address: str, port: int) -> NFCTAttrTuple:
    """UDP flows to this address and port; empty and 0 stand for any."""
    wanted = {"daddr": address, "dport": port}
    return NFCTAttrTuple(proto=socket.IPPROTO_UDP, **{name: value for name, value in wanted.items() if value})


def _entries(kernel: NFCTSocket, search: NFCTAttrTuple) -> Iterator[tuple[NFCTAttrTuple, NFCTAttrTuple]]:
    """(as sent, as answered) of the flows found: the reply's source is the endpoint the rules chose."""
    for message in list(kernel.dump(tuple_orig=search)):
        sent, answered = _tuple(message, "CTA_TUPLE_ORIG"), _tuple(message, "CTA_TUPLE_REPLY")
        if sent is not None and answered is not None:
            yield sent, answered


def _tuple(message: Any, name: str) -> NFCTAttrTuple | None:
    part = message.get_attr(name)
    addresses = part.get_attr("CTA_TUPLE_IP") if part else None
    ports = part.get_attr("CTA_TUPLE_PROTO") if part else None
    if not addresses or not ports or ports.get_attr("CTA_PROTO_NUM") != socket.IPPROTO_UDP:
        return None
    return NFCTAttrTuple(
        saddr=addresses.get_attr("CTA_IP_V4_SRC"),
        daddr=addresses.get_attr("CTA_IP_V4_DST"),
        proto=socket.IPPROTO_UDP,
        sport=ports.get_attr("CTA_PROTO_SRC_PORT"),
        dport=ports.get_attr("CTA_PROTO_DST_PORT"),
    )
