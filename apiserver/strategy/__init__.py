"""Rules per kind. `strategy_for(kind)` gives the one of a kind; most kinds have only the common ones."""

from __future__ import annotations

from api.kinds import Kind
from apiserver.strategy.base import Strategy
from apiserver.strategy.certificate import CertificateSigningRequestStrategy
from apiserver.strategy.cluster import NamespaceStrategy, NodeStrategy
from apiserver.strategy.config import ConfigMapStrategy, SecretStrategy
from apiserver.strategy.pod import PodStrategy
from apiserver.strategy.records import EndpointSliceStrategy, EventStrategy, LeaseStrategy
from apiserver.strategy.service import ServiceStrategy
from apiserver.strategy.workload import DeploymentStrategy, ReplicaSetStrategy

_STRATEGIES: dict[str, type[Strategy]] = {
    "namespaces": NamespaceStrategy,
    "nodes": NodeStrategy,
    "pods": PodStrategy,
    "services": ServiceStrategy,
    "configmaps": ConfigMapStrategy,
    "secrets": SecretStrategy,
    "events": EventStrategy,
    "leases.coordination.k8s.io": LeaseStrategy,
    "endpointslices.discovery.k8s.io": EndpointSliceStrategy,
    "deployments.apps": DeploymentStrategy,
    "replicasets.apps": ReplicaSetStrategy,
    "certificatesigningrequests.certificates.k8s.io": CertificateSigningRequestStrategy,
}


def strategy_for(kind: Kind) -> Strategy:
    return _STRATEGIES.get(kind.qualified, Strategy)(kind)


__all__ = ["Strategy", "strategy_for"]
