"""NamespaceLifecycle: objects are created only in namespaces that exist and are not being deleted."""

from __future__ import annotations

import msgspec
from lightkube.models.meta_v1 import StatusCause, StatusDetails
from lightkube.resources.core_v1 import Namespace

from api.errors import Forbidden, NotFound
from apiserver.registry.kind import Kind
from apiserver.registry.plugin import Plugin
from apiserver.registry.write import Write


class _Phase(msgspec.Struct):
    phase: str = ""


class _Namespace(msgspec.Struct):
    status: _Phase = msgspec.field(default_factory=_Phase)


_decoder = msgspec.json.Decoder(_Namespace)


class NamespaceLifecycle(Plugin):
    """Raises NotFound for a namespace that does not exist, Forbidden for one that is going."""

    async def admit(self, write: Write) -> None:
        if write.old is not None or not write.kind.namespaced:
            return
        record = await write.backend.find(write.backend.registry.of(Namespace), "", write.namespace)
        if record is None:
            raise NotFound.of(qualified="namespaces", name=write.namespace)
        if b'"Terminating"' in record.value and _decoder.decode(record.value).status.phase == "Terminating":
            raise _terminating(write.kind, write.new.metadata.name or "", write.namespace)


def _terminating(kind: Kind, name: str, namespace: str) -> Forbidden:
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    error = Forbidden.of(qualified=kind.qualified, name=name, why=why)
    cause = StatusCause(
        reason="NamespaceTerminating", message=f"namespace {namespace} is being terminated", field="metadata.namespace"
    )
    details = error.details or StatusDetails()
    details.causes = [cause]
    return error
