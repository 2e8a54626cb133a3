"""Bootstrap tokens: what a machine shows when it asks to join.

A token is `<id>.<secret>`: six and sixteen characters of [a-z0-9]. It lives as the Secret
kube-system/bootstrap-token-<id> (type bootstrap.kubernetes.io/token); the API server accepts it until its expiration.

Pure: generate, parse, secret, command. With I/O: create, list_tokens, delete, join_command.
"""

from __future__ import annotations

import re
import secrets
import string
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Secret

from bootstrap import apiclient, kubeconfig, pki
from bootstrap.errors import TokenError
from bootstrap.options import TOKEN_TTL

ALPHABET = string.ascii_lowercase + string.digits
ID_LENGTH, SECRET_LENGTH = 6, 16
SECRET_TYPE = "bootstrap.kubernetes.io/token"
NAMESPACE = "kube-system"
NAME_PREFIX = "bootstrap-token-"
FORMAT = re.compile(rf"([a-z0-9]{{{ID_LENGTH}}})\.([a-z0-9]{{{SECRET_LENGTH}}})")


@dataclass(frozen=True)
class TokenInfo:
    """A token as `token list` shows it. expires None: never."""

    token: str
    expires: datetime | None
    description: str


def generate() -> str:
    """A new random token."""
    return ".".join("".join(secrets.choice(ALPHABET) for _ in range(length)) for length in (ID_LENGTH, SECRET_LENGTH))


def parse(token: str) -> tuple[str, str]:
    """(id, secret). Raises TokenError, without repeating the secret."""
    if not (match := FORMAT.fullmatch(token)):
        raise TokenError("the token must look like abcdef.0123456789abcdef (6 and 16 of a-z and 0-9)")
    return match[1], match[2]


def secret(token: str, *, ttl: float, description: str = "", usages: bool = True) -> Secret:
    """The Secret that makes `token` valid for `ttl` seconds (0: for ever). Without usages it only stands for a time."""
    token_id, token_secret = parse(token)
    data = {
        "token-id": token_id,
        "token-secret": token_secret,
    }
    if usages:
        data |= {
            "usage-bootstrap-authentication": "true",
            "usage-bootstrap-signing": "true",
            "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
        }
    if description:
        data["description"] = description
    if ttl:
        data["expiration"] = (datetime.now(UTC) + timedelta(seconds=ttl)).strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata = ObjectMeta(name=f"{NAME_PREFIX}{token_id}", namespace=NAMESPACE)
    return Secret(
        metadata=metadata, type=SECRET_TYPE, data={key: apiclient.base64_text(value) for key, value in data.items()}
    )


def command(server: str, *, token: str, ca_cert_hash: str) -> str:
    """The line to paste on the machine that shall join. server: URL or HOST:PORT."""
    host = server.removeprefix("https://")
    return f"minikctl join {host} --token {token} --discovery-token-ca-cert-hash {ca_cert_hash}"


def create(
    admin_conf: Path, *, ttl: float = TOKEN_TTL, token: str | None = None, description: str = "", replace: bool = False
) -> str:
    """Make a token known to the cluster and return it. replace: an existing one of that id is renewed."""
    token = token or generate()
    wanted = secret(token, ttl=ttl, description=description)
    with apiclient.connect(admin_conf) as client, apiclient.one_line_errors():
        if replace:
            apiclient.create_or_replace(client, wanted)
        else:
            client.create(wanted)
    return token


def list_tokens(admin_conf: Path) -> list[TokenInfo]:
    with apiclient.connect(admin_conf) as client, apiclient.one_line_errors():
        found = client.list(Secret, namespace=NAMESPACE, fields={"type": SECRET_TYPE})
        return [info for each in found if (info := _info(each))]


def delete(admin_conf: Path, token_id: str) -> None:
    """Withdraw a token, named by its id or in full."""
    with apiclient.connect(admin_conf) as client, apiclient.one_line_errors():
        client.delete(Secret, f"{NAME_PREFIX}{token_id.split('.')[0]}", namespace=NAMESPACE)


def join_command(admin_conf: Path, token: str) -> str:
    """The join line for the cluster of `admin_conf`."""
    server, ca = kubeconfig.cluster_of(kubeconfig.load(admin_conf))
    return command(server, token=token, ca_cert_hash=pki.ca_hash(x509.load_pem_x509_certificate(ca)))


def _info(found: Secret) -> TokenInfo | None:
    data = {key: apiclient.from_base64(value) for key, value in (found.data or {}).items()}
    if "token-id" not in data or "token-secret" not in data:
        return None
    expiration = data.get("expiration")
    expires = datetime.fromisoformat(expiration) if expiration else None
    return TokenInfo(f"{data['token-id']}.{data['token-secret']}", expires, data.get("description", ""))
