"""`namespaces/finalize`: the namespace controller says that a namespace is empty by removing its spec.finalizers."""

from __future__ import annotations

from typing import Any

from lightkube.models.core_v1 import NamespaceSpec

from apiserver.http.responses import Response
from apiserver.registry.kind import Subresource
from apiserver.registry.store import Stored
from apiserver.registry.write import Part
from apiserver.verbs.call import Call


async def update(call: Call) -> Response:
    decoded = call.read()
    sent = decoded.obj
    version = sent.metadata.resourceVersion if sent.metadata else None

    def change(old: Any, current: Stored) -> Any:
        if version and version != str(current.version):
            raise call.store.conflict(call.name)
        old.spec = NamespaceSpec(finalizers=(sent.spec and sent.spec.finalizers) or None)
        return old

    return call.written(await call.store.update(call.write(part=Part.INTERNAL), change), decoded.warnings)


FINALIZE = Subresource("finalize", {"update": update})
