"""Opaque bearer tokens: those of a file, and bootstrap tokens kept as Secrets.

Interface: a token authenticator is a function `(token) -> User | None`; None means "not mine, or not valid".
Secrets are compared in constant time.
"""

from __future__ import annotations

import base64
import binascii
import csv
import hmac
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from apiserver.auth.users import BOOTSTRAP_PREFIX, BOOTSTRAPPERS, Lookup, User, authenticated
from apiserver.storage.base import resource_key

TokenAuthenticator = Callable[[str], User | None]

BOOTSTRAP_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
BOOTSTRAP_TYPE = "bootstrap.kubernetes.io/token"


class StaticTokens:
    """A file of `token,user,uid,"group1,group2"` lines (kube-apiserver --token-auth-file)."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._users: list[tuple[bytes, User]] = []
        for row in csv.reader(lines, skipinitialspace=True):
            if not row or row[0].startswith("#"):
                continue
            if len(row) < 3 or not row[0] or not row[1]:
                raise ValueError("a token file has lines of: token,user,uid[,groups]")
            groups = tuple(filter(None, (group.strip() for group in row[3].split(",")))) if len(row) > 3 else ()
            self._users.append((row[0].encode(), authenticated(row[1], groups, uid=row[2])))

    @classmethod
    def from_file(cls, path: str) -> StaticTokens:
        """Raises OSError or ValueError."""
        return cls(Path(path).read_text().splitlines())

    def __call__(self, token: str) -> User | None:
        given = token.encode()
        found = None
        for known, user in self._users:  # all of them, so that the time tells nothing
            if hmac.compare_digest(known, given):
                found = user
        return found


class _Secret(msgspec.Struct):
    type: str = ""
    data: dict[str, str] = msgspec.field(default_factory=dict)


_secret_decoder = msgspec.json.Decoder(_Secret)


class BootstrapTokens:
    """Tokens by which nodes join: Secrets kube-system/bootstrap-token-<id>, valid until they expire.

    https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/
    """

    def __init__(self, lookup: Lookup, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._lookup = lookup
        self._now = now

    def __call__(self, token: str) -> User | None:
        match = BOOTSTRAP_TOKEN.fullmatch(token)
        if match is None:
            return None
        identity, secret = match.groups()
        entry = self._lookup(resource_key("secrets", "kube-system", f"bootstrap-token-{identity}"))
        data = _bootstrap_data(entry.value) if entry else None
        if data is None or not hmac.compare_digest(data.get("token-secret", ""), secret):
            return None
        if data.get("token-id") != identity or data.get("usage-bootstrap-authentication") != "true":
            return None
        if not self._is_current(data.get("expiration", "")):
            return None
        extra = tuple(group for group in data.get("auth-extra-groups", "").split(",") if group)
        return authenticated(BOOTSTRAP_PREFIX + identity, (BOOTSTRAPPERS, *_bootstrap_groups(extra)))

    def _is_current(self, expiration: str) -> bool:
        if not expiration:
            return True
        try:
            moment = datetime.fromisoformat(expiration)
        except ValueError:
            return False
        return moment.replace(tzinfo=moment.tzinfo or UTC) > self._now()


def _bootstrap_groups(groups: tuple[str, ...]) -> list[str]:
    """Kubernetes lets a token name only groups of this prefix: it must not make its bearer an administrator."""
    return [group for group in groups if group.startswith(BOOTSTRAPPERS + ":")]


def _bootstrap_data(value: bytes) -> dict[str, str] | None:
    try:
        secret = _secret_decoder.decode(value)
        data = {key: base64.b64decode(text, validate=True).decode("ascii") for key, text in secret.data.items()}
    except (msgspec.DecodeError, binascii.Error, UnicodeDecodeError):
        return None
    return data if secret.type == BOOTSTRAP_TYPE else None
