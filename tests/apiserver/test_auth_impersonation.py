"""Acting as somebody else."""

from __future__ import annotations

import pytest

from api.errors import BadRequest, Forbidden
from apiserver.auth import Asked, Attributes, Authorizer, Decision, NodeAuthorizer, Roles, User
from apiserver.auth.impersonation import impersonate
from apiserver.auth.users import authenticated

ADMIN = authenticated("admin", ("system:masters",))
ALICE = authenticated("alice")


class Asking(Authorizer):
    """Allows what it is told to, and remembers what it was asked."""

    def __init__(self, *allowed: tuple[str, str]) -> None:
        super().__init__(Roles(), NodeAuthorizer())
        self.allowed = allowed
        self.asked: list[Asked] = []

    def authorize(self, user: User, asked: Attributes) -> Decision:
        assert isinstance(asked, Asked)
        self.asked.append(asked)
        return Decision((asked.resource, asked.name) in self.allowed)


def headers(*pairs: tuple[str, str]) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), *((name.encode(), value.encode()) for name, value in pairs)]


def test_without_headers_everybody_stays_who_they_are() -> None:
    asking = Asking()
    assert impersonate(ALICE, headers(), asking) is ALICE
    assert asking.asked == []


def test_every_claim_is_asked_about_by_itself() -> None:
    asking = Asking(("users", "bob"), ("groups", "devs"), ("groups", "ops"), ("userextras", "blue"), ("uids", "7"))
    wanted = headers(
        ("impersonate-user", "bob"),
        ("impersonate-group", "devs"),
        ("impersonate-group", "ops"),
        ("impersonate-uid", "7"),
        ("impersonate-extra-example.com%2fcolour", "blue"),
    )
    user = impersonate(ALICE, wanted, asking)
    assert user == User("bob", ("devs", "ops", "system:authenticated"), "7", {"example.com/colour": ("blue",)})
    assert [(each.verb, each.group, each.resource, each.subresource, each.name) for each in asking.asked] == [
        ("impersonate", "", "users", "", "bob"),
        ("impersonate", "", "groups", "", "devs"),
        ("impersonate", "", "groups", "", "ops"),
        ("impersonate", "authentication.k8s.io", "userextras", "example.com/colour", "blue"),
        ("impersonate", "authentication.k8s.io", "uids", "", "7"),
    ]
    for missing in range(5):
        with pytest.raises(Forbidden):
            impersonate(ALICE, wanted, Asking(*(each for i, each in enumerate(asking.allowed) if i != missing)))


def test_the_refusal_is_kubernetes() -> None:
    with pytest.raises(Forbidden) as refused:
        impersonate(ALICE, headers(("impersonate-user", "admin")), Asking())
    assert refused.value.message == (
        'users "admin" is forbidden: User "alice" cannot impersonate resource "users" in API group "" '
        "at the cluster scope"
    )


def test_a_service_account_is_asked_about_in_its_namespace_and_has_its_groups() -> None:
    asking = Asking(("serviceaccounts", "web"))
    user = impersonate(ALICE, headers(("impersonate-user", "system:serviceaccount:shop:web")), asking)
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated")
    assert asking.asked[0].namespace == "shop"


def test_anonymous_is_not_authenticated() -> None:
    user = impersonate(ADMIN, headers(("impersonate-user", "system:anonymous")), Asking(("users", "system:anonymous")))
    assert user.groups == ("system:unauthenticated",)


def test_a_group_is_nobody_by_itself() -> None:
    for name in ("impersonate-group", "impersonate-uid", "impersonate-extra-x", "impersonate-nonsense"):
        with pytest.raises(BadRequest):
            impersonate(ADMIN, headers((name, "system:masters")), Asking(("groups", "system:masters")))


def test_nobody_becomes_an_administrator_by_naming_the_user_like_the_group() -> None:
    user = impersonate(ALICE, headers(("impersonate-user", "system:masters")), Asking(("users", "system:masters")))
    assert not Authorizer(Roles(), NodeAuthorizer()).authorize(user, Asked(verb="get", resource="secrets")).allowed
