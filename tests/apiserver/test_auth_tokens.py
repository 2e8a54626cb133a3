"""Bearer tokens: the token file, bootstrap tokens, service accounts; and what the authenticator makes of them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from api.errors import Unauthorized
from api.tls import Subject, parse_subject
from apiserver.auth import ANONYMOUS, Authenticator, BootstrapTokens, ServiceAccountTokens, StaticTokens
from apiserver.auth.service_accounts import Reference, load_public_key
from apiserver.storage.base import Record, stamp
from apiserver.storage.cache import Entry

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class Objects(dict[str, Entry]):
    """Stands in for the cache's `get`."""

    def put(self, key: str, value: dict[str, Any]) -> None:
        self[key] = Entry(Record(key, stamp(json.dumps(value, separators=(",", ":")).encode(), 1), 1), ({}, {}))


# The token file


def test_a_token_file_names_user_uid_and_groups() -> None:
    tokens = StaticTokens(["# comment", "", 'secret,alice,7,"dev, ops"', "other,bob,8"])
    alice = tokens("secret")
    assert alice is not None
    assert (alice.name, alice.uid, alice.groups) == ("alice", "7", ("dev", "ops", "system:authenticated"))
    bob = tokens("other")
    assert bob is not None and bob.groups == ("system:authenticated",)
    assert tokens("secre") is None
    assert tokens("") is None


@pytest.mark.parametrize("line", ["onlytoken", "token,user", ",user,1", "token,,1"])
def test_a_malformed_token_file_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="token file"):
        StaticTokens([line])


# Bootstrap tokens


def bootstrap_secret(**changes: str | None) -> dict[str, Any]:
    data = {
        "token-id": "abcdef",
        "token-secret": "0123456789abcdef",
        "expiration": "2030-01-02T00:00:00Z",
        "usage-bootstrap-authentication": "true",
    }
    merged = {key: value for key, value in {**data, **changes}.items() if value is not None}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in merged.items()}
    return {"metadata": {}, "type": "bootstrap.kubernetes.io/token", "data": encoded}


def bootstrap(secret: dict[str, Any], token: str = "abcdef.0123456789abcdef") -> Any:
    objects = Objects()
    objects.put("/secrets/kube-system/bootstrap-token-abcdef", secret)
    return BootstrapTokens(objects.get, now=lambda: NOW)(token)


def test_a_bootstrap_token_is_a_bootstrapper() -> None:
    user = bootstrap(bootstrap_secret())
    assert user.name == "system:bootstrap:abcdef"
    assert user.groups == ("system:bootstrappers", "system:authenticated")


def test_a_bootstrap_token_without_expiration_stays() -> None:
    assert bootstrap(bootstrap_secret(expiration=None)) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"expiration": "2029-12-31T23:59:59Z"},
        {"expiration": "soon"},
        {"usage-bootstrap-authentication": "false"},
        {"usage-bootstrap-authentication": None},
        {"token-id": "fedcba"},
        {"token-secret": "0123456789abcdeX"},
        {"token-secret": None},
    ],
)
def test_a_bootstrap_token_that_is_not_valid(changes: dict[str, str | None]) -> None:
    assert bootstrap(bootstrap_secret(**changes)) is None


@pytest.mark.parametrize("token", ["abcdef.0123456789abcdeg", "abcdeg.0123456789abcdef", "abcdef", "../x.y", ""])
def test_a_wrong_bootstrap_token_is_nobody(token: str) -> None:
    assert bootstrap(bootstrap_secret(), token) is None


def test_a_secret_of_another_type_is_no_bootstrap_token() -> None:
    assert bootstrap({**bootstrap_secret(), "type": "Opaque"}) is None


def test_a_damaged_secret_is_no_bootstrap_token() -> None:
    assert bootstrap({**bootstrap_secret(), "data": {"token-secret": "?"}}) is None


def test_a_bootstrap_token_grants_no_other_groups() -> None:
    user = bootstrap(bootstrap_secret(**{"auth-extra-groups": "system:bootstrappers:lab,system:masters"}))
    assert user.groups == ("system:bootstrappers", "system:bootstrappers:lab", "system:authenticated")


# Service accounts


@pytest.fixture(params=["rsa", "ec"])
def signing_key(request: pytest.FixtureRequest) -> Any:
    return rsa.generate_private_key(65537, 2048) if request.param == "rsa" else ec.generate_private_key(ec.SECP256R1())


POD, SECRET, NODE = Reference("web-1", "p1", "Pod"), Reference("s", "s1", "Secret"), Reference("n1", "n1", "Node")


class ServiceAccounts:
    """A token authenticator with a clock, an account, and what tokens may be bound to."""

    def __init__(self, key: Any) -> None:
        self.objects = Objects()
        self.objects.put("/serviceaccounts/default/web", {"metadata": {"uid": "u1"}})
        self.objects.put("/pods/default/web-1", {"metadata": {"uid": "p1"}})
        self.objects.put("/secrets/default/s", {"metadata": {"uid": "s1"}})
        self.objects.put("/nodes/n1", {"metadata": {"uid": "n1"}})
        self.time = 1_000_000.0
        self.tokens = ServiceAccountTokens(
            self.objects.get, issuer="https://minik", public_keys=[], signing_key=key, now=lambda: self.time
        )

    def issue(self, **more: Any) -> str:
        return self.tokens.issue("default", Reference("web", "u1"), **more)[0]


def test_a_service_account_token_comes_back_as_its_account(signing_key: Any) -> None:
    accounts = ServiceAccounts(signing_key)
    token, expires = accounts.tokens.issue("default", Reference("web", "u1"), seconds=600, bound=POD)
    assert expires.timestamp() == 1_000_600
    for _ in range(2):  # the second time from memory
        user = accounts.tokens(token)
        assert user is not None
        assert user.name == "system:serviceaccount:default:web" and user.uid == "u1"
        assert user.groups == (
            "system:serviceaccounts",
            "system:serviceaccounts:default",
            "system:authenticated",
        )
        assert user.extra["authentication.kubernetes.io/pod-name"] == ("web-1",)


def test_a_service_account_token_ends(signing_key: Any) -> None:
    accounts = ServiceAccounts(signing_key)
    token = accounts.issue(seconds=600, bound=POD)
    assert accounts.tokens(token) is not None
    accounts.time += 600
    assert accounts.tokens(token) is None
    accounts.time -= 600
    accounts.objects.put("/pods/default/web-1", {"metadata": {"uid": "p2"}})
    assert accounts.tokens(token) is None
    token = accounts.issue()
    assert accounts.tokens(token) is not None
    del accounts.objects["/serviceaccounts/default/web"]
    assert accounts.tokens(token) is None


@pytest.mark.parametrize(
    ("bound", "key"), [(POD, "/pods/default/web-1"), (SECRET, "/secrets/default/s"), (NODE, "/nodes/n1")]
)
def test_a_token_goes_with_what_it_is_bound_to(bound: Reference, key: str, signing_key: Any) -> None:
    accounts = ServiceAccounts(signing_key)
    token = accounts.issue(bound=bound)
    assert accounts.tokens(token) is not None
    accounts.objects.put(key, {"metadata": {"uid": "made anew"}})
    assert accounts.tokens(token) is None
    del accounts.objects[key]
    assert accounts.tokens(token) is None


def test_a_pods_token_tells_its_node(signing_key: Any) -> None:
    accounts = ServiceAccounts(signing_key)
    user = accounts.tokens(accounts.issue(bound=POD, node=NODE))
    assert user is not None and user.extra["authentication.kubernetes.io/node-name"] == ("n1",)


def test_a_review_tells_for_whom_a_token_was_made(signing_key: Any) -> None:
    accounts = ServiceAccounts(signing_key)
    token = accounts.issue(audiences=["vault", "other"])
    found = accounts.tokens.review(token, ["vault", "third"])
    assert found is not None and found[0].name == "system:serviceaccount:default:web" and found[1] == ["vault"]
    assert accounts.tokens.review(token, ["third"]) is None
    assert accounts.tokens.review(token, []) is None
    assert accounts.tokens(token) is None, "a remembered signature is no remembered audience"


def test_a_token_for_another_audience_or_issuer_or_key_is_nobody(signing_key: Any) -> None:
    accounts = ServiceAccounts(signing_key)
    assert accounts.tokens(accounts.issue(audiences=["vault"])) is None
    assert accounts.tokens(ServiceAccounts(ec.generate_private_key(ec.SECP256R1())).issue()) is None
    accounts.tokens._issuer = "https://other"
    token = accounts.issue()
    accounts.tokens._issuer = "https://minik"
    assert accounts.tokens(token) is None


def test_an_unsigned_or_mangled_token_is_nobody(signing_key: Any) -> None:
    accounts = ServiceAccounts(signing_key)
    token = accounts.issue()
    claims = jwt.decode(token, options={"verify_signature": False})
    unsigned = jwt.encode(claims, None, algorithm="none")
    symmetric = jwt.encode(claims, "k" * 32, algorithm="HS256")
    for wrong in [unsigned, symmetric, token[:-4] + "AAAA", "a.b.c", "..", token + ".x"]:
        assert accounts.tokens(wrong) is None


def test_keys_load_from_their_usual_files(signing_key: Any) -> None:
    private = signing_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = signing_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert load_public_key(private) == load_public_key(public) == signing_key.public_key()


# The authenticator


def scope(authorization: str | None = None, subject: Subject | None = None) -> dict[str, Any]:
    headers = [(b"host", b"x")] + ([(b"authorization", authorization.encode("latin-1"))] if authorization else [])
    return {"headers": headers, "state": {"client_certificate": subject} if subject else {}}


TOKENS = [StaticTokens(["secret,alice,7,dev"])]


def test_certificate_then_token_then_anonymous() -> None:
    authenticator = Authenticator(TOKENS)
    subject = Subject("system:node:n1", ("system:nodes",))
    assert authenticator.authenticate(scope(subject=subject)).node == "n1"
    assert authenticator.authenticate(scope("Bearer secret", subject)).name == "system:node:n1"
    assert authenticator.authenticate(scope("Bearer secret")).name == "alice"
    assert authenticator.authenticate(scope("bearer  secret ")).name == "alice"
    assert authenticator.authenticate(scope()) == ANONYMOUS


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer ", "Bearer", "Basic c2VjcmV0", "secret", "Bearer \xe4"])
def test_wrong_credentials_are_unauthorized_never_anonymous(header: str) -> None:
    with pytest.raises(Unauthorized):
        Authenticator(TOKENS).authenticate(scope(header))


def test_anonymous_can_be_disabled() -> None:
    with pytest.raises(Unauthorized):
        Authenticator(TOKENS, anonymous=False).authenticate(scope())


def test_subjects_in_the_form_of_getpeercert() -> None:
    certificate = {
        "subject": (
            (("organizationName", "a"), ("organizationName", "b")),
            (("organizationName", "c"),),
            (("commonName", "x"),),
        )
    }
    assert parse_subject(certificate) == Subject("x", ("a", "b", "c"))
    assert parse_subject({}) is None
    assert parse_subject(None) is None
    assert parse_subject({"subject": ((("organizationName", "a"),),)}) is None
