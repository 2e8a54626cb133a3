"""What the user named on the command line: `pods`, `pods,svc`, `pod a b`, `deploy/web svc/web`.

    targets(cluster, args) -> list[Target]
Raises CliError in kubectl's words for a mixture that makes no sense.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cli.cluster import Cluster
from cli.discovery import Kind
from cli.errors import CliError

MIXED = (
    "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form "
    "(e.g. 'kubectl get resource/<resource_name>' instead of 'kubectl get resource resource/<resource_name>'"
)


@dataclass(frozen=True)
class Target:
    """A kind, and the names the user gave; none means all of them."""

    kind: Kind
    names: tuple[str, ...] = ()
    namespace: str | None = None
    """Where a file says the object is; None is the namespace the command acts in."""


def targets(cluster: Cluster, args: Sequence[str]) -> list[Target]:
    """The kinds and names of the arguments, in the order given. Raises CliError."""
    if not args:
        raise CliError("Required resource not specified.")
    if any("/" in each for each in args):
        return _slashed(cluster, args)
    return [Target(kind, tuple(args[1:])) for kind in kinds(cluster, args[0])]


def kinds(cluster: Cluster, text: str) -> list[Kind]:
    """`pods,svc` or a category such as `all`."""
    found: list[Kind] = []
    for name in text.split(","):
        if not name:
            raise CliError("arguments in resource/name form must have a single resource and name")
        members = [] if "." in name else cluster.kinds.in_category(name)
        found += [each for each in members or [cluster.resolve(name)] if each not in found]
    return found


def _slashed(cluster: Cluster, args: Sequence[str]) -> list[Target]:
    found: list[Target] = []
    for arg in args:
        type_, slash, name = arg.partition("/")
        if not slash:
            raise CliError(MIXED)
        if "/" in name:
            raise CliError("arguments in resource/name form may not have more than one slash")
        if not type_ or not name or "," in type_:
            raise CliError("arguments in resource/name form must have a single resource and name")
        kind = cluster.resolve(type_)
        if found and found[-1].kind == kind:
            found[-1] = replace(found[-1], names=(*found[-1].names, name))
        else:
            found.append(Target(kind, (name,)))
    return found


def one(cluster: Cluster, args: Sequence[str], *, default: str = "") -> tuple[Kind, str]:
    """Exactly one object: `deploy/web`, `deploy web`, or, where a kind goes without saying, `web`."""
    if default and len(args) == 1 and "/" not in args[0]:
        return cluster.resolve(default), args[0]
    found = [(target.kind, name) for target in targets(cluster, args) for name in target.names]
    if not found:
        raise CliError("resource(s) were provided, but no name was specified")
    if len(found) > 1:
        raise CliError("only one resource may be named here")
    return found[0]
