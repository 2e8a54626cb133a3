"""Authentication and authorization in front of the endpoints.

Interface: `Guard` (admits a request or raises Unauthorized or Forbidden) and `Open` (everybody may do everything;
tests and development without TLS).
"""

from __future__ import annotations

from typing import Protocol

from lightkube.models.meta_v1 import StatusDetails
from starlette.types import Scope

from api.errors import Forbidden
from apiserver.auth import Asked, Attributes, Authenticator, Authorizer, User
from apiserver.auth.impersonation import impersonate
from apiserver.http.request import RequestInfo


class Guard(Protocol):
    """Who may pass."""

    def admit(self, scope: Scope, info: RequestInfo) -> User:
        """The user of a request. Raises Unauthorized, or Forbidden in Kubernetes' words."""

    def recheck(self, user: User, info: RequestInfo, verb: str, name: str) -> None:
        """Decide again when the object's name is known, or turns out to be created. Raises Forbidden."""


class Open:
    """No authentication: everybody is an administrator."""

    user = User("minik:insecure", ("system:masters", "system:authenticated"))

    def admit(self, scope: Scope, info: RequestInfo) -> User:
        return self.user

    def recheck(self, user: User, info: RequestInfo, verb: str, name: str) -> None:
        return


class AuthGuard:
    """The real one: who it is, whom it wants to act as, and whether that one may."""

    def __init__(self, authenticator: Authenticator, authorizer: Authorizer) -> None:
        self._authenticator = authenticator
        self._authorizer = authorizer

    def admit(self, scope: Scope, info: RequestInfo) -> User:
        user = self._authenticator.authenticate(scope)
        user = impersonate(user, scope["headers"], self._authorizer)
        decision = self._authorizer.authorize(user, info)
        if not decision.allowed:
            raise forbidden(info, self._authorizer.refusal(user, info, decision))
        return user

    def recheck(self, user: User, info: RequestInfo, verb: str, name: str) -> None:
        named = Asked(
            verb=verb,
            group=info.group,
            resource=info.resource,
            subresource=info.subresource,
            namespace=info.namespace,
            name=name,
        )
        decision = self._authorizer.authorize(user, named)
        if not decision.allowed:
            raise forbidden(named, self._authorizer.refusal(user, named, decision))


def forbidden(asked: Attributes, why: str) -> Forbidden:
    """The 403 of a no."""
    if not asked.is_resource:
        return Forbidden(f"forbidden: {why}", details=StatusDetails())
    qualified = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    error = Forbidden.of(qualified=qualified, name=asked.name, why=why)
    return error if asked.name else Forbidden(f"{qualified} is forbidden: {why}", details=error.details)
