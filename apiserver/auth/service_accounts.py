"""Service account tokens: JWTs that the API server signs for pods and recognises when they come back.

Interface: `ServiceAccountTokens` is a token authenticator, `issue` makes tokens (the TokenRequest API), `review` looks
at one that was made for others (the TokenReview API).
https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/

Invariants
- A token is good only while its ServiceAccount, and the Pod, Secret or Node it is bound to, exist with the same uid.
- A token for another audience is nobody here.
- A signature is checked once per token; expiry and existence each time.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.x509 import load_pem_x509_certificate

from apiserver.auth.users import SERVICE_ACCOUNT_PREFIX, Lookup, User, authenticated, service_account_groups
from apiserver.storage.base import resource_key

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey
PublicKey = RSAPublicKey | EllipticCurvePublicKey

REMEMBERED_TOKENS = 4096  # signatures found good
CLAIM = "kubernetes.io"
BOUND = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}
"""What a token may be bound to: kind -> resource. Its claim is the kind in lower case."""
EXTRA = "authentication.kubernetes.io/"
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


class _Metadata(msgspec.Struct):
    uid: str = ""


class _Object(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


_decoder = msgspec.json.Decoder(_Object)


@dataclass(frozen=True, slots=True)
class Reference:
    """An object by name and uid, and by kind where that is not plain."""

    name: str
    uid: str
    kind: str = ""


class ServiceAccountTokens:
    """Issues and verifies. Without a signing key it only verifies."""

    def __init__(
        self,
        lookup: Lookup,
        *,
        issuer: str,
        public_keys: Sequence[PublicKey],
        signing_key: PrivateKey | None = None,
        audiences: Sequence[str] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._lookup = lookup
        self._issuer = issuer
        self.audiences = [*audiences] or [issuer]
        self._signing_key = signing_key
        self._now = now
        keys = [*public_keys, *([signing_key.public_key()] if signing_key else [])]
        self._keys = {key_id(key): key for key in keys}
        self._good: dict[bytes, dict[str, Any]] = {}  # sha256 of a token -> its claims

    @classmethod
    def from_files(
        cls, lookup: Lookup, *, issuer: str, key_files: Sequence[str], signing_key_file: str = ""
    ) -> ServiceAccountTokens:
        """`key_files` hold PEM public keys, private keys or certificates. Raises OSError or ValueError."""
        public = [load_public_key(Path(path).read_bytes()) for path in key_files]
        signing = load_private_key(Path(signing_key_file).read_bytes()) if signing_key_file else None
        return cls(lookup, issuer=issuer, public_keys=public, signing_key=signing)

    def issue(
        self,
        namespace: str,
        account: Reference,
        *,
        seconds: int = 3600,
        audiences: Sequence[str] = (),
        bound: Reference | None = None,
        node: Reference | None = None,
    ) -> tuple[str, datetime]:
        """A token and its expiry; `node` is where its pod runs. Raises ValueError without a signing key."""
        if self._signing_key is None:
            raise ValueError("no service account signing key")
        now = int(self._now())
        binding: dict[str, Any] = {
            "namespace": namespace,
            "serviceaccount": {"name": account.name, "uid": account.uid},
        }
        for kind, reference in ((bound.kind if bound else "", bound), ("Node", node)):
            if reference is not None:
                binding[kind.lower()] = {"name": reference.name, "uid": reference.uid}
        claims = {
            "iss": self._issuer,
            "sub": f"{SERVICE_ACCOUNT_PREFIX}{namespace}:{account.name}",
            "aud": [*audiences] or self.audiences,
            "jti": str(uuid.uuid4()),
            "iat": now,
            "nbf": now,
            "exp": now + seconds,
            CLAIM: binding,
        }
        headers = {"kid": key_id(self._signing_key.public_key())}
        token = jwt.encode(claims, self._signing_key, algorithm=algorithm(self._signing_key), headers=headers)
        return token, datetime.fromtimestamp(now + seconds, UTC)

    def __call__(self, token: str) -> User | None:
        found = self.review(token, self.audiences)
        return found[0] if found else None

    def review(self, token: str, audiences: Sequence[str]) -> tuple[User, list[str]] | None:
        """Whose token it is, and which of `audiences` it is for; None: not ours, not good, or for none of them."""
        if token.count(".") != 2:
            return None
        digest = hashlib.sha256(token.encode()).digest()
        claims = self._good.get(digest)
        if claims is None:
            claims = self._verified(token)
            if claims is None:
                return None
            if len(self._good) >= REMEMBERED_TOKENS:
                self._good.clear()
            self._good[digest] = claims
        made_for = claims["aud"] if isinstance(claims.get("aud"), list) else [claims.get("aud")]
        matching = [each for each in audiences if each in made_for]
        user = self._user(claims) if matching else None
        return (user, matching) if user else None

    def _verified(self, token: str) -> dict[str, Any] | None:
        try:
            wanted = jwt.get_unverified_header(token).get("kid")
        except jwt.InvalidTokenError:
            return None
        for identity, key in self._keys.items():
            if wanted in (None, identity):
                with contextlib.suppress(jwt.InvalidTokenError):
                    return self._decode(token, key)
        return None

    def _decode(self, token: str, key: PublicKey) -> dict[str, Any]:
        # Times are checked in `_user`, against our own clock and on every use; the audience in `review`.
        unchecked = ("verify_exp", "verify_nbf", "verify_iat", "verify_aud")
        options: Any = {"require": ["exp", "iat", "sub", "aud"], **dict.fromkeys(unchecked, False)}
        claims: dict[str, Any] = jwt.decode(
            token, key, algorithms=[algorithm(key)], issuer=self._issuer, options=options
        )
        return claims

    def _user(self, claims: dict[str, Any]) -> User | None:
        try:
            binding = claims[CLAIM]
            namespace, account = binding["namespace"], binding["serviceaccount"]
            name, uid = account["name"], account["uid"]
            if not claims.get("nbf", 0) <= self._now() < claims["exp"]:
                return None
            if claims["sub"] != f"{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}":
                return None
            if not self._exists("serviceaccounts", namespace, account) or not self._holds(binding, namespace):
                return None
            extra = {
                f"{EXTRA}{kind}-{part}": (str(binding[kind][part]),)
                for kind in ("pod", "node")
                if kind in binding
                for part in ("name", "uid")
            }
        except (KeyError, TypeError, AttributeError):
            return None
        if "jti" in claims:
            extra[f"{EXTRA}credential-id"] = (f"JTI={claims['jti']}",)
        return authenticated(claims["sub"], service_account_groups(claims["sub"]), uid=uid, extra=extra)

    def _holds(self, binding: dict[str, Any], namespace: str) -> bool:
        """Whether what the token is bound to is still there. The node of a bound pod is only told, it goes with it."""
        return all(
            self._exists(resource, "" if kind == "Node" else namespace, binding[kind.lower()])
            for kind, resource in BOUND.items()
            if kind.lower() in binding and not (kind == "Node" and "pod" in binding)
        )

    def _exists(self, resource: str, namespace: str, reference: dict[str, str]) -> bool:
        entry = self._lookup(resource_key(resource, namespace, reference["name"]))
        return entry is not None and _decoder.decode(entry.value).metadata.uid == reference["uid"]


def algorithm(key: PrivateKey | PublicKey) -> str:
    """The JWS algorithm of a key. Raises ValueError for an unusual curve."""
    if isinstance(key, RSAPrivateKey | RSAPublicKey):
        return "RS256"
    try:
        return _CURVES[key.curve.name]
    except KeyError:
        raise ValueError(f"service account keys on curve {key.curve.name} are not supported") from None


def key_id(key: PublicKey) -> str:
    """Kubernetes' `kid`: the hash of the public key."""
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.urlsafe_b64encode(hashlib.sha256(spki).digest()).rstrip(b"=").decode()


def load_private_key(pem: bytes) -> PrivateKey:
    """Raises ValueError for anything but an RSA or EC key."""
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey):
        raise ValueError("a service account key is RSA or EC")
    return key


def load_public_key(pem: bytes) -> PublicKey:
    """The public key of a public key, private key or certificate file. Raises ValueError."""
    if b"PRIVATE KEY" in pem:
        return load_private_key(pem).public_key()
    if b"CERTIFICATE" in pem:
        key = load_pem_x509_certificate(pem).public_key()
    else:
        key = serialization.load_pem_public_key(pem)  # type: ignore[assignment]
    if not isinstance(key, RSAPublicKey | EllipticCurvePublicKey):
        raise ValueError("a service account key is RSA or EC")
    return key
