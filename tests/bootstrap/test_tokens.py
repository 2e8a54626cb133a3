"""Bootstrap tokens as kubeadm has them."""

import base64
from datetime import UTC, datetime, timedelta

import pytest

from bootstrap import tokens
from bootstrap.errors import TokenError


def decoded(token: str, **options: object) -> dict[str, str]:
    found = tokens.secret(token, **options)  # type: ignore[arg-type]
    return {key: base64.b64decode(value).decode() for key, value in (found.data or {}).items()}


def test_a_generated_token_has_the_form_it_is_checked_for() -> None:
    token = tokens.generate()
    assert tokens.parse(token) == (token[:6], token[7:])
    assert tokens.generate() != token


@pytest.mark.parametrize(
    "text",
    ["", "abcdef", "abcdef.0123", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcdef\n", "abcdef-0123456789abcdef"],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(TokenError, match="must look like"):
        tokens.parse(text)


def test_the_secret_says_what_the_token_is_for_and_until_when() -> None:
    found = tokens.secret("abcdef.0123456789abcdef", ttl=3600)
    assert found.metadata and (found.metadata.namespace, found.metadata.name) == (
        "kube-system",
        "bootstrap-token-abcdef",
    )
    assert found.type == "bootstrap.kubernetes.io/token"
    data = decoded("abcdef.0123456789abcdef", ttl=3600)
    assert (data["token-id"], data["token-secret"]) == ("abcdef", "0123456789abcdef")
    assert data["usage-bootstrap-authentication"] == "true"
    left = datetime.fromisoformat(data["expiration"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)


def test_a_token_can_live_for_ever() -> None:
    assert "expiration" not in decoded("abcdef.0123456789abcdef", ttl=0)


def test_the_join_line() -> None:
    line = tokens.command("https://10.0.0.1:6443", token="abcdef.0123456789abcdef", ca_cert_hash="sha256:00")
    assert line == (
        "minikctl join 10.0.0.1:6443 --token abcdef.0123456789abcdef --discovery-token-ca-cert-hash sha256:00"
    )
