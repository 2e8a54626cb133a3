"""Rulesets into the kernel: one `nft -f -` call, one atomic transaction.

Interface: `Nft.apply(ruleset)` makes the kernel hold the ruleset, touching only what changed since the last call;
`transaction` and `replacement` are the pure halves of it.

Invariants
- A packet sees the old ruleset or the new one, never something between.
- A chain whose rules did not change is not touched, so its round-robin counter and its clients' affinity go on.
- The first apply of a process, and the one after a failure, replaces the whole table: nothing is assumed about what
  is there. The table is left in place when the process ends.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
from collections.abc import Iterable, Iterator, Mapping

from proxy.rules import TABLE, Ruleset

NFT = "nft"
TIMEOUT_SECONDS = 60.0
ERROR_CHARACTERS = 400
"""How much of nft's complaint goes into a log line: it repeats the whole offending line."""

log = logging.getLogger("nft")

EMPTY = Ruleset()


class NftError(Exception):
    """The kernel or nft refused; the message is nft's first complaint."""


class Nft:
    """The node's table, as this process last left it. Use from one task at a time."""

    def __init__(self) -> None:
        self._applied: Ruleset | None = None

    async def apply(self, wanted: Ruleset) -> bool:
        """Make the kernel hold `wanted`. Returns whether anything had to change; raises NftError."""
        text = replacement(wanted) if self._applied is None else transaction(self._applied, wanted)
        if not text:
            return False
        self._applied, known = None, self._applied
        try:
            await asyncio.to_thread(_run, text)
        except NftError as error:
            if known is None:
                raise
            # Somebody else changed the table (a firewall's `flush ruleset`): start from nothing, still atomically.
            log.warning("replacing the whole table after: %s", error)
            await asyncio.to_thread(_run, replacement(wanted))
        self._applied = wanted
        return True

    async def check(self) -> bool:
        """Whether the table is still there; if not, the next apply replaces it."""
        if self._applied is None:
            return False
        try:
            await asyncio.to_thread(_run, f"list chain {TABLE} services\n")
        except NftError:
            self._applied = None
            return False
        return True


def remove() -> None:
    """Take the table out of the kernel, if it is there. Raises NftError."""
    _run(_RESET)


_RESET = f"add table {TABLE}\ndelete table {TABLE}\n"


def replacement(wanted: Ruleset) -> str:
    """The transaction that puts the whole table in place of whatever is there."""
    return f"{_RESET}add table {TABLE}\n{transaction(EMPTY, wanted)}"


def transaction(old: Ruleset, new: Ruleset) -> str:
    """The commands that turn one ruleset into the other; empty if they are equal. Base chains must not differ."""
    return "".join(f"{line}\n" for line in _commands(old, new))


def _commands(old: Ruleset, new: Ruleset) -> Iterator[str]:
    """In the order references allow: declare, take elements out, rewrite chains, put elements in, forget."""
    gone_chains = old.chains.keys() - new.chains.keys()
    for name in sorted(new.sets.keys() - old.sets.keys()):
        kind, _, declaration = new.sets[name].partition(" ")
        yield f"add {kind} {TABLE} {name} {declaration}"
    for name in sorted(new.chains.keys() - old.chains.keys()):
        hook = f" {{ {new.hooks[name]}; policy accept; }}" if name in new.hooks else ""
        yield f"add chain {TABLE} {name}{hook}"
    yield from _element_commands("delete", old.elements, new.elements)
    for name in sorted(old.chains.keys()):
        if old.chains[name] and old.chains[name] != new.chains.get(name):
            yield f"flush chain {TABLE} {name}"
    for name, rules in sorted(new.chains.items()):
        if rules != old.chains.get(name):
            for rule in rules:
                yield f"add rule {TABLE} {name} {rule}"
    yield from _element_commands("add", new.elements, old.elements)
    for name in sorted(gone_chains):
        yield f"delete chain {TABLE} {name}"
    for name in sorted(old.sets.keys() - new.sets.keys()):
        yield f"delete set {TABLE} {name}"


def _element_commands(
    verb: str, have: Mapping[tuple[str, str], str], other: Mapping[tuple[str, str], str]
) -> Iterable[str]:
    """`verb` on each element of `have` that `other` lacks or has otherwise, one command per map."""
    changed: dict[str, list[str]] = {}
    for (target, key), verdict in have.items():
        if other.get((target, key)) != verdict:
            changed.setdefault(target, []).append(f"{key} : {verdict}" if verdict else key)
    for target, elements in sorted(changed.items()):
        yield f"{verb} element {TABLE} {target} {{ {', '.join(sorted(elements))} }}"


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
