"""ServiceAccount: a pod that names no service account runs as `default` of its namespace.

Kubernetes also mounts a token; here pods get one only where they ask for it with a projected volume.
"""

from __future__ import annotations

from typing import Any


def admit(pod: Any) -> None:
    spec = pod.spec
    if spec is None:
        return
    spec.serviceAccountName = spec.serviceAccountName or spec.serviceAccount or "default"
    spec.serviceAccount = spec.serviceAccountName
