"""What every handler shares: the kinds, the store and its cache, the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from apiserver.auth import Authenticator, Authorizer, ServiceAccountTokens
from apiserver.config import Config
from apiserver.kubelet_client import KubeletClient
from apiserver.registry.kind import Kind
from apiserver.registry.plugin import Plugin
from apiserver.registry.registry import Registry
from apiserver.storage.base import Record, Storage, resource_key
from apiserver.storage.cache import Entry, WatchCache


@dataclass
class Backend:
    """The store and what goes with it."""

    registry: Registry
    storage: Storage
    cache: WatchCache
    authorizer: Authorizer
    config: Config = field(default_factory=Config)
    plugins: Sequence[Plugin] = ()
    """Admission, in the order of their turns; a kind's own come after."""
    kubelets: KubeletClient | None = None
    tokens: ServiceAccountTokens | None = None
    authenticator: Authenticator | None = None
    booted: bool = False
    """Whether the objects every cluster has are there."""

    @classmethod
    def over(cls, storage: Storage, registry: Registry, config: Config | None = None) -> Backend:
        """With a cache that knows the kinds, whichever come and go, and an authorizer that follows the cache."""
        cache = WatchCache(storage, registry.facts)
        registry.listen(cache.renew)
        return cls(registry, storage, cache, Authorizer.over(cache), config or Config())

    async def find(self, kind: Kind, namespace: str, name: str) -> Entry | Record | None:
        """One object for the server's own decisions: from the cache, and when absent there, from the store."""
        key = resource_key(kind.qualified, namespace, name)
        return self.cache.get(key) or await self.storage.get(key)
