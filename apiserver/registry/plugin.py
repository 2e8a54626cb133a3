"""Admission plug-ins: what is added to an object, or refused, in view of the rest of the cluster.

Each has the name it has in Kubernetes (https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/)
and gets the whole `Write` (registry/write.py).
"""

from __future__ import annotations

from typing import Any


class Plugin:
    """Looks at every write; a plug-in that only cares for some looks at `write.kind` and `write.subresource`."""

    async def admit(self, write: Any) -> None:
        """May change `write.new`. Raises an ApiStatusError to refuse. Not asked about deletions."""

    async def validate(self, write: Any) -> None:
        """May only refuse; sees what will be stored, and deletions, whose `new` is None."""
