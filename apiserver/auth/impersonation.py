"""Acting as somebody else: `kubectl --as`, for those who may `impersonate`.

    Impersonate-User: alice   Impersonate-Group: devs (any number)   Impersonate-Uid: ...   Impersonate-Extra-KEY: ...
    https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation

Interface: `impersonate(user, headers, authorizer)` gives the user to go on as. Each thing that is claimed is a
question to the authorizer: the verb `impersonate` on that user, group, service account, uid or extra value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import unquote

from api.errors import BadRequest, Forbidden
from apiserver.auth.attributes import Asked
from apiserver.auth.authorizer import Authorizer
from apiserver.auth.users import (
    ANONYMOUS,
    AUTHENTICATED,
    SERVICE_ACCOUNT_PREFIX,
    UNAUTHENTICATED,
    User,
    service_account_groups,
)

PREFIX = b"impersonate-"
_EXTRA = b"impersonate-extra-"
_AUTHENTICATION = "authentication.k8s.io"

Headers = Sequence[tuple[bytes, bytes]]


def impersonate(user: User, headers: Headers, authorizer: Authorizer) -> User:
    """The user that `user` wants to be, or `user`. Raises Forbidden, and BadRequest for headers that make no sense."""
    given = [(name, value.decode("latin-1")) for name, value in headers if name.startswith(PREFIX)]
    if not given:
        return user
    wanted = _wanted(given)
    for asked in _questions(wanted):
        decision = authorizer.authorize(user, asked)
        if not decision.allowed:
            qualified = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
            raise Forbidden.of(qualified=qualified, name=asked.name, why=authorizer.refusal(user, asked, decision))
    return User(wanted.name, _with_usual_groups(wanted), wanted.uid, wanted.extra)


def _wanted(given: Iterable[tuple[bytes, str]]) -> User:
    name, uid, groups = "", "", []
    extra: dict[str, tuple[str, ...]] = {}
    for header, value in given:
        if header == b"impersonate-user":
            name = name or value
        elif header == b"impersonate-uid":
            uid = uid or value
        elif header == b"impersonate-group":
            groups.append(value)
        elif header.startswith(_EXTRA) and header != _EXTRA:
            key = unquote(header[len(_EXTRA) :].decode("latin-1"))
            extra[key] = (*extra.get(key, ()), value)
        else:
            raise BadRequest(f"unknown impersonation header {header.decode('latin-1')}")
    if not name:
        raise BadRequest("requested impersonation of groups, uid or extra without impersonating a user")
    return User(name, tuple(groups), uid, extra)


def _questions(wanted: User) -> Iterator[Asked]:
    """What must be allowed, part by part."""
    namespace, colon, account = wanted.name.removeprefix(SERVICE_ACCOUNT_PREFIX).partition(":")
    if wanted.name.startswith(SERVICE_ACCOUNT_PREFIX) and colon:
        yield Asked(verb="impersonate", resource="serviceaccounts", namespace=namespace, name=account)
    else:
        yield Asked(verb="impersonate", resource="users", name=wanted.name)
    for group in wanted.groups:
        yield Asked(verb="impersonate", resource="groups", name=group)
    for key, values in wanted.extra.items():
        for value in values:
            yield Asked(verb="impersonate", group=_AUTHENTICATION, resource="userextras", subresource=key, name=value)
    if wanted.uid:
        yield Asked(verb="impersonate", group=_AUTHENTICATION, resource="uids", name=wanted.uid)


def _with_usual_groups(wanted: User) -> tuple[str, ...]:
    """The groups that authentication would have added."""
    groups = wanted.groups
    if wanted.name == ANONYMOUS.name:
        return groups if UNAUTHENTICATED in groups else (*groups, UNAUTHENTICATED)
    if not groups and wanted.name.startswith(SERVICE_ACCOUNT_PREFIX):
        groups = service_account_groups(wanted.name)
    return groups if {AUTHENTICATED, UNAUTHENTICATED} & {*groups} else (*groups, AUTHENTICATED)
