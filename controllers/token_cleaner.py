"""Expired bootstrap token -> deleted.

Kubernetes: pkg/controller/bootstrap/tokencleaner.go. The API server refuses expired tokens anyway; this removes them.
"""

from __future__ import annotations

import base64
import binascii
import logging
from datetime import UTC, datetime

from lightkube.resources.core_v1 import Secret

from api import meta
from controllers import writes
from controllers.manager import Manager

NAMESPACE = "kube-system"
TYPE = "bootstrap.kubernetes.io/token"
LONGEST_WAIT_SECONDS = 3600.0
"""The expiry is wall-clock time, so it is looked at again in case the clock was set."""

log = logging.getLogger("token-cleaner")


class TokenCleaner:
    """Deletes bootstrap tokens when their time is over."""

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._secrets = manager.informer(Secret)
        self._controller = manager.controller("token-cleaner", self.reconcile, workers=1)
        self._secrets.on_change(self._secret_changed)

    def _secret_changed(self, old: Secret | None, new: Secret | None) -> None:
        if new is not None and new.type == TYPE and meta.namespace(new) == NAMESPACE:
            self._controller.enqueue(meta.key(new))

    async def reconcile(self, key: str) -> None:
        secret = self._secrets.get(key)
        if secret is None:
            return
        left = seconds_left(secret, datetime.now(UTC))
        if left is None:
            return
        if left > 0:
            self._controller.enqueue_after(key, min(left + 0.1, LONGEST_WAIT_SECONDS))
            return
        log.info("%s: the token has expired", key)
        await writes.delete_quietly(self._client, secret)


def seconds_left(secret: Secret, now: datetime) -> float | None:
    """Until the token expires; None for never. An expiry nobody can read counts as over, as in Kubernetes. Pure."""
    encoded = (secret.data or {}).get("expiration")
    if encoded is None:
        return None
    try:
        expiry = datetime.fromisoformat(base64.b64decode(encoded, validate=True).decode())
    except (ValueError, binascii.Error):
        return 0.0
    if expiry.tzinfo is None:
        return 0.0
    return max(0.0, (expiry - now).total_seconds())
