"""Which objects did the user name: `pods`, `pods,svc`, `pod a b`, `deploy/web svc/web`, -f FILE, -l, --all, -A.

    targets(session, chosen)     kinds and names as they were given; no names means all of the kind
    refs(session, chosen)        every single object
Both take a kind for names that stand alone (`scale web`), and raise CliError in kubectl's words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from cli.command import Chosen
from cli.discovery import Kind
from cli.errors import CliError, Collected
from cli.session import Ref, Session

MIXED = (
    "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form "
    "(e.g. 'kubectl get resource/<resource_name>' instead of 'kubectl get resource resource/<resource_name>'"
)


@dataclass(frozen=True)
class Target:
    """A kind, the names the user gave (none means all of them), and where; "" is in all namespaces."""

    kind: Kind
    names: tuple[str, ...]
    namespace: str


def targets(session: Session, chosen: Chosen, *, alone: str = "") -> list[Target]:
    """The kinds and names of the command line, in the order given. Raises CliError."""
    if chosen.all_namespaces:
        session.namespace = ""
    if chosen.filename:
        from cli import manifests

        items = manifests.load(session, chosen)
        return [Target(each.kind, (each.name,), each.namespace) for each in items]
    args = chosen.resources
    if alone and not args and chosen.selects:
        args = [alone]
    elif alone and len(args) == 1 and "/" not in args[0] and not chosen.selects:
        args = [f"{alone}/{args[0]}"]
    if not args:
        raise CliError("You must specify the type of resource, or a file with -f. Kinds: minikctl api-resources")
    if any("/" in each for each in args):
        found = _slashed(session, args)
    else:
        found = [Target(kind, tuple(args[1:]), session.namespace) for kind in kinds(session, args[0])]
    if chosen.selects and any(each.names for each in found):
        what = "--all" if chosen.all_ else "a selector"
        raise CliError(f"name cannot be provided when {what} is specified")
    if not session.namespace and any(each.names and each.kind.namespaced for each in found):
        raise CliError("a resource cannot be retrieved by name across all namespaces")
    return found


def refs(session: Session, chosen: Chosen, *, alone: str = "", failures: Collected | None = None) -> Iterator[Ref]:
    """Every object named. With `failures`, a document of a file that cannot be read is noted there and the others
    go on."""
    if chosen.filename:
        from cli import manifests

        yield from manifests.load(session, chosen, failures=failures)
        return
    for target in targets(session, chosen, alone=alone):
        if target.names:
            yield from (session.ref(target.kind, name) for name in target.names)
        elif not (chosen.selects or chosen.all_namespaces):
            raise CliError("resource(s) were provided, but no name was specified")
        else:
            yield from matching(session, target, chosen)


def matching(session: Session, target: Target, chosen: Chosen) -> Iterator[Ref]:
    """The objects of a kind that the selectors choose."""
    selectors = {"labelSelector": chosen.selector, "fieldSelector": chosen.field_selector}
    for obj in session.objects(target.kind, namespace=target.namespace, **selectors):
        meta = obj["metadata"]
        yield Ref(target.kind, meta["name"], meta.get("namespace", ""), obj=obj)


def one(session: Session, chosen: Chosen, *, alone: str = "") -> Ref:
    """Exactly one object. Raises CliError."""
    found = list(refs(session, chosen, alone=alone))
    if len(found) != 1:
        raise CliError(f"exactly one object may be named here, got {len(found)}")
    return found[0]


def kinds(session: Session, text: str) -> list[Kind]:
    """`pods,svc` or a category such as `all`."""
    found: list[Kind] = []
    for name in text.split(","):
        if not name:
            raise CliError("arguments in resource/name form must have a single resource and name")
        members = [] if "." in name else session.kinds.in_category(name)
        found += [each for each in members or [session.resolve(name)] if each not in found]
    return found


def nothing_found(session: Session, found: list[Target]) -> str:
    """What to say when there is nothing of a kind."""
    if session.namespace and all(each.kind.namespaced for each in found):
        return f"No resources found in {session.namespace} namespace."
    return "No resources found"


def _slashed(session: Session, args: list[str]) -> list[Target]:
    found: list[Target] = []
    for arg in args:
        type_, slash, name = arg.partition("/")
        if not slash:
            raise CliError(MIXED)
        if "/" in name:
            raise CliError("arguments in resource/name form may not have more than one slash")
        if not type_ or not name or "," in type_:
            raise CliError("arguments in resource/name form must have a single resource and name")
        kind = session.resolve(type_)
        if found and found[-1].kind == kind:
            found[-1] = replace(found[-1], names=(*found[-1].names, name))
        else:
            found.append(Target(kind, (name,), session.namespace))
    return found
