"""Rulesets into the kernel: one `nft -f -` call, one atomic transaction.

Interface: `Table.apply(ruleset)` makes the kernel hold the ruleset, touching only what changed since the last call;
`transaction` and `replacement` are the pure halves of it. `remove` takes a table away.

Invariants
- A packet sees the old ruleset or the new one, never something between.
- A chain whose rules did not change is not touched, so its round-robin counter and its clients' affinity go on.
- The first apply of a process, and the one after a failure, replaces the whole table: nothing is assumed about what
  is there. The table is left in place when the process ends.
"""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from linux import conntrack
from linux.conntrack import UdpTarget

NFT = "nft"
TIMEOUT_SECONDS = 60.0
ERROR_CHARACTERS = 400
"""How much of nft's complaint goes into a log line: it repeats the whole offending line."""

log = logging.getLogger("nft")


class NftError(OSError):
    """The kernel or nft refused; the message is nft's first complaint."""


@dataclass(frozen=True)
class Ruleset:
    """What is in a table, or a part of it."""

    hooks: Mapping[str, str] = field(default_factory=dict)
    """Chains the kernel calls -> type, hook and priority."""
    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name -> rules."""
    sets: Mapping[str, str] = field(default_factory=dict)
    """Name -> `map`/`set` and its declaration."""
    elements: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(map or set, key) -> verdict; empty in a set."""
    udp_flows: Mapping[UdpTarget, frozenset[UdpTarget]] = field(default_factory=dict)
    """Where UDP clients send -> who may answer: flows of others are forgotten when this changes."""


EMPTY = Ruleset()


def merge(parts: Iterable[Ruleset]) -> Ruleset:
    """All parts as one. Of two that claim the same address and port (by one external IP), the first keeps it."""
    whole = Ruleset()
    for part in parts:
        for name in ("hooks", "chains", "sets", "elements", "udp_flows"):
            mine, theirs = getattr(whole, name), getattr(part, name)
            for key, value in theirs.items():
                mine.setdefault(key, value)
    return whole


class Table:
    """A table as this process last left it, such as `ip minik-proxy`. Blocks; use from one task at a time."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._applied: Ruleset | None = None
        self._flows: Mapping[UdpTarget, frozenset[UdpTarget]] = {}

    def apply(self, wanted: Ruleset) -> bool:
        """Make the kernel hold `wanted`. Returns whether anything had to change; raises NftError."""
        known, self._applied = self._applied, None
        text = replacement(self._name, wanted) if known is None else transaction(self._name, known, wanted)
        try:
            if text:
                _run(text)
        except NftError as error:
            if known is None:
                raise
            # Somebody else changed the table (a firewall's `flush ruleset`): start from nothing, still atomically.
            log.warning("replacing the whole table after: %s", error)
            _run(replacement(self._name, wanted))
        self._applied = wanted
        self._forget_flows(wanted)
        return bool(text)

    def check(self) -> bool:
        """Whether the table is still there; if not, the next apply replaces it."""
        if self._applied is None:
            return False
        try:
            _run("".join(f"list chain {self._name} {chain}\n" for chain in list(self._applied.hooks)[:1]))
        except NftError:
            self._applied = None
            return False
        return True

    def _forget_flows(self, wanted: Ruleset) -> None:
        """Stale UDP flows are a matter of quality: failing to forget them fails nothing else."""
        flows, self._flows = conntrack.changed(self._flows, wanted.udp_flows), wanted.udp_flows
        try:
            if flows:
                log.debug("%d UDP flows forgotten", conntrack.forget(flows))
        except OSError as error:
            log.warning("cannot forget UDP flows: %s", error)


def remove(table: str) -> None:
    """Take the table out of the kernel, if it is there. Raises NftError."""
    _run(_reset(table))


def _reset(table: str) -> str:
    return f"add table {table}\ndelete table {table}\n"


def replacement(table: str, wanted: Ruleset) -> str:
    """The transaction that puts the whole table in place of whatever is there."""
    return f"{_reset(table)}add table {table}\n{transaction(table, EMPTY, wanted)}"


def transaction(table: str, old: Ruleset, new: Ruleset) -> str:
    """The commands that turn one ruleset into the other; empty if they are equal. Base chains must not differ."""
    return "".join(f"{line}\n" for line in _commands(table, old, new))


def _commands(table: str, old: Ruleset, new: Ruleset) -> Iterator[str]:
    """In the order references allow: declare, take elements out, rewrite chains, put elements in, forget."""
    gone_chains = old.chains.keys() - new.chains.keys()
    for name in sorted(new.sets.keys() - old.sets.keys()):
        kind, _, declaration = new.sets[name].partition(" ")
        yield f"add {kind} {table} {name} {declaration}"
    for name in sorted(new.chains.keys() - old.chains.keys()):
        hook = f" {{ {new.hooks[name]}; policy accept; }}" if name in new.hooks else ""
        yield f"add chain {table} {name}{hook}"
    yield from _element_commands(f"delete element {table}", old.elements, new.elements)
    for name in sorted(old.chains.keys()):
        if old.chains[name] and old.chains[name] != new.chains.get(name):
            yield f"flush chain {table} {name}"
    for name, rules in sorted(new.chains.items()):
        if rules != old.chains.get(name):
            for rule in rules:
                yield f"add rule {table} {name} {rule}"
    yield from _element_commands(f"add element {table}", new.elements, old.elements)
    for name in sorted(gone_chains):
        yield f"delete chain {table} {name}"
    for name in sorted(old.sets.keys() - new.sets.keys()):
        yield f"delete set {table} {name}"


def _element_commands(
    command: str, have: Mapping[tuple[str, str], str], other: Mapping[tuple[str, str], str]
) -> Iterable[str]:
    """The command for each element of `have` that `other` lacks or has otherwise, one command per map."""
    changed: dict[str, list[str]] = {}
    for (target, key), verdict in have.items():
        if other.get((target, key)) != verdict:
            changed.setdefault(target, []).append(f"{key} : {verdict}" if verdict else key)
    for target, elements in sorted(changed.items()):
        yield f"{command} {target} {{ {', '.join(sorted(elements))} }}"


def _run(text: str) -> None:
    """Blocks. A process of asyncio's would do, but uvloop's raises when nft ends before it has read its input."""
    try:
        done = subprocess.run([NFT, "-f", "-"], input=text, text=True, capture_output=True, timeout=TIMEOUT_SECONDS)
    except OSError as error:
        raise NftError(f"cannot run {NFT}: {error}") from error
    except subprocess.TimeoutExpired:
        raise NftError(f"no answer within {TIMEOUT_SECONDS:.0f} s") from None
    if done.returncode:
        raise NftError(_first_complaint(done.stderr))


def _first_complaint(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0][:ERROR_CHARACTERS] if lines else "failed without a message"
