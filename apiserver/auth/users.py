"""Users and the names Kubernetes gives to the special ones. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from apiserver.storage.cache import Entry

AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
MASTERS = "system:masters"
NODES = "system:nodes"
BOOTSTRAPPERS = "system:bootstrappers"
SERVICE_ACCOUNTS = "system:serviceaccounts"

NODE_PREFIX = "system:node:"
BOOTSTRAP_PREFIX = "system:bootstrap:"
SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"

Lookup = Callable[[str], Entry | None]
"""An object by its storage key, as the watch cache's `get`."""


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated caller (authentication.k8s.io/v1 UserInfo)."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def node(self) -> str:
        """The node this user is, or nothing."""
        if self.name.startswith(NODE_PREFIX) and NODES in self.groups:
            return self.name.removeprefix(NODE_PREFIX)
        return ""


def authenticated(
    name: str, groups: tuple[str, ...] = (), *, uid: str = "", extra: Mapping[str, tuple[str, ...]] | None = None
) -> User:
    """A user with the group everyone known is in."""
    return User(name, (*groups, AUTHENTICATED), uid, extra or {})


def service_account_groups(name: str) -> tuple[str, ...]:
    """The groups of the service account that is this user."""
    namespace = name.removeprefix(SERVICE_ACCOUNT_PREFIX).partition(":")[0]
    return SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{namespace}"


ANONYMOUS = User("system:anonymous", (UNAUTHENTICATED,))
