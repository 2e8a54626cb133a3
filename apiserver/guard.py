"""Authentication and authorization in front of the endpoints.

Interface: `Guard` (admits a request or raises Unauthorized or Forbidden) and `Open` (everybody may do everything;
tests and development without TLS).
"""

from __future__ import annotations

from typing import Protocol

from lightkube.models.meta_v1 import StatusDetails
from starlette.types import Scope

from api.errors import Forbidden
from apiserver.auth import Authenticator, Authorizer, User
from apiserver.request import RequestInfo


class Guard(Protocol):
    """Who may pass."""

    def admit(self, scope: Scope, info: RequestInfo) -> User:
        """The user of a request. Raises Unauthorized, or Forbidden in Kubernetes' words."""

    def created(self, user: User, info: RequestInfo, name: str) -> None:
        """Decide again about a create when the object's name is known. Raises Forbidden."""


class Open:
    """No authentication: everybody is an administrator."""

    user = User("minik:insecure", ("system:masters", "system:authenticated"))

    def admit(self, scope: Scope, info: RequestInfo) -> User:
        return self.user

    def created(self, user: User, info: RequestInfo, name: str) -> None:
        return


class AuthGuard:
    """The real one."""

    def __init__(self, authenticator: Authenticator, authorizer: Authorizer) -> None:
        self._authenticator = authenticator
        self._authorizer = authorizer

    def admit(self, scope: Scope, info: RequestInfo) -> User:
        user = self._authenticator.authenticate(scope)
        decision = self._authorizer.authorize(user, info)
        if not decision.allowed:
            raise _forbidden(info, info.name, decision.reason)
        return user

    def created(self, user: User, info: RequestInfo, name: str) -> None:
        decision = self._authorizer.authorize(user, info, created=name)
        if not decision.allowed:
            raise _forbidden(info, name, decision.reason)


def _forbidden(info: RequestInfo, name: str, why: str) -> Forbidden:
    if info.is_resource:
        subresource = f"/{info.subresource}" if info.subresource else ""
        error = Forbidden.of(qualified=info.qualified, name=name, why=why)
        if not name:
            error = Forbidden(f"{info.qualified}{subresource} is forbidden: {why}", details=error.details)
        return error
    return Forbidden(f"forbidden: {why}", details=StatusDetails())
