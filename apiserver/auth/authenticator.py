"""The authenticator: a request's scope in, a `User` out, or Unauthorized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from api.errors import Unauthorized
from api.tls import subject_of
from apiserver.auth.tokens import TokenAuthenticator
from apiserver.auth.users import ANONYMOUS, User, authenticated


class Authenticator:
    """Certificate first, then token, then anonymous. See the package."""

    def __init__(self, tokens: Sequence[TokenAuthenticator] = (), *, anonymous: bool = True) -> None:
        self._tokens = [*tokens]
        self._anonymous = anonymous

    def authenticate(self, scope: Mapping[str, Any]) -> User:
        """The user behind an ASGI scope. Raises `api.errors.Unauthorized`."""
        subject = subject_of(scope)
        if subject is not None:
            return authenticated(subject.common_name, subject.organizations)
        header = _authorization(scope["headers"])
        if header is not None:
            return self._by_token(header)
        if self._anonymous:
            return ANONYMOUS
        raise Unauthorized()

    def _by_token(self, header: bytes) -> User:
        scheme, _, token = header.decode("latin-1").strip().partition(" ")
        user = self.by_token(token.strip()) if scheme.lower() == "bearer" else None
        if user is None:
            raise Unauthorized()
        return user

    def by_token(self, token: str) -> User | None:
        """Whose bearer token it is; None: nobody's."""
        if not token.isascii():
            return None
        return next((user for known in self._tokens if (user := known(token)) is not None), None)


def _authorization(headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    for name, value in headers:
        if name == b"authorization":
            return value
    return None
