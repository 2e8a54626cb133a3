"""What is asked for: the terms in which every authorizer decides. Pure.

`Attributes` is what an authorizer reads; the server's own `RequestInfo` has it, and `Asked` is for questions that are
no requests of their own: access reviews, impersonation, and checks inside a write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class Attributes(Protocol):
    """A request in the API's own terms. Paths that are no resources have a `verb` and a `path` only."""

    @property
    def verb(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def is_resource(self) -> bool: ...
    @property
    def group(self) -> str: ...
    @property
    def resource(self) -> str: ...
    @property
    def subresource(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str:
        """Also the one that a list or watch is limited to by `metadata.name=`."""

    @property
    def fields(self) -> Mapping[str, str]:
        """What a list or watch is limited to by its field selector: `spec.nodeName` -> `n1`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Attributes that somebody asks about."""

    verb: str
    path: str = ""
    is_resource: bool = True
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


def resource_with_subresource(asked: Attributes) -> str:
    """`pods/log`, as rules name it."""
    return f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource


def refusal(user: str, asked: Attributes, reason: str = "") -> str:
    """Kubernetes' words, after `pods "x" is forbidden: `."""
    if asked.is_resource:
        where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
        what = f'resource "{resource_with_subresource(asked)}" in API group "{asked.group}" {where}'
    else:
        what = f'path "{asked.path}"'
    return f'User "{user}" cannot {asked.verb} {what}' + (f": {reason}" if reason else "")
