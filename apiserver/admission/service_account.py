"""ServiceAccount: a pod that names no service account runs as `default` of its namespace.

Kubernetes also mounts a token; here pods get one only where they ask for it with a projected volume.
"""

from __future__ import annotations

from apiserver.auth.node import MIRROR
from apiserver.registry.plugin import Plugin
from apiserver.registry.write import Write


class ServiceAccountName(Plugin):
    async def admit(self, write: Write) -> None:
        spec = write.new.spec
        mirrored = MIRROR in (write.new.metadata.annotations or {})  # runs already, as nobody of the cluster
        if write.old is None and spec is not None and not mirrored:
            spec.serviceAccountName = spec.serviceAccountName or spec.serviceAccount or "default"
            spec.serviceAccount = spec.serviceAccountName
