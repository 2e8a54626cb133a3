"""DefaultIngressClass and its like: a new object that names no class gets the one that is marked as the default.

Kubernetes: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#defaultingressclass
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from apiserver.registry import fields
from apiserver.registry.plugin import Plugin
from apiserver.registry.write import Write


@dataclass(frozen=True)
class DefaultClass(Plugin):
    """`classes`: the resource of the classes. `field`: where an object names one. `annotation` marks the default;
    `instead` is an older annotation by which an object may name a class too."""

    classes: str
    field: str
    annotation: str
    instead: str = ""

    async def admit(self, write: Write) -> None:
        named = self.instead in (write.new.metadata.annotations or {})
        if write.old is None and write.new.spec is not None and not named and fields.get(write.new, self.field) is None:
            fields.put(write.new, self.field, self._default(write))

    def _default(self, write: Write) -> str | None:
        """Of several defaults the newest, and of equally old ones the first by name."""
        found = [msgspec.json.decode(entry.value)["metadata"] for entry in write.backend.cache.list(self.classes)]
        marked = [each for each in found if (each.get("annotations") or {}).get(self.annotation) == "true"]
        marked.sort(key=lambda each: str(each["name"]))
        marked.sort(key=lambda each: str(each.get("creationTimestamp", "")), reverse=True)
        return marked[0]["name"] if marked else None
