"""The authorizer: may this user do this? A node is asked about by node, everybody by role.

    group system:masters -> yes; a node -> node.py; and then rbac.py. Nothing says yes: no.

Interface: `Authorizer.authorize(user, asked)` -> `Decision`. No I/O.
"""

from __future__ import annotations

from dataclasses import dataclass

from apiserver.auth.attributes import Attributes, refusal
from apiserver.auth.node import Cache, NodeAuthorizer
from apiserver.auth.rbac import Roles
from apiserver.auth.users import MASTERS, User


@dataclass(frozen=True, slots=True)
class Decision:
    """Yes, or no with what there is to say about it."""

    allowed: bool
    reason: str = ""


_YES = Decision(True)


class Authorizer:
    """Node authorizer and RBAC, in this order."""

    def __init__(self, roles: Roles, nodes: NodeAuthorizer) -> None:
        self.roles = roles
        self.nodes = nodes

    @classmethod
    def over(cls, cache: Cache) -> Authorizer:
        """That decides by what the watch cache has."""
        roles, nodes = Roles(), NodeAuthorizer()
        roles.follow(cache)
        nodes.follow(cache)
        return cls(roles, nodes)

    def authorize(self, user: User, asked: Attributes) -> Decision:
        why: str | None = ""
        if MASTERS in user.groups:
            return _YES
        if user.node:
            why = self.nodes.why_not(user.node, asked)
            if why is None:
                return _YES
        grants = self.roles.of(user)
        if grants.allows(asked):
            return _YES
        problems = grants.problems(asked.namespace if asked.is_resource else "")
        return Decision(False, "\n".join(filter(None, (why, problems))))

    def explain(self, user: User, asked: Attributes) -> Decision:
        """As `authorize`, with the reason of a yes too."""
        decision = self.authorize(user, asked)
        return Decision(True, self.roles.of(user).reason(asked)) if decision.allowed else decision

    def refusal(self, user: User, asked: Attributes, decision: Decision) -> str:
        """The message of a no."""
        return refusal(user.name, asked, decision.reason)
