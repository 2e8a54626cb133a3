"""`minikctl why`: what keeps an object from being what it should be, which component decided so, and where in its code.

The reasons are found by workshop/why, from live objects alone; this brings the objects and prints the answer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from cli import layout, objects
from cli.command import Chosen
from cli.errors import CliError
from cli.session import Object, Session


def why(session: Session, chosen: Chosen) -> None:
    """Say why an object is as it is: what keeps it, who decided so, and in which file.

    minikctl why pod/web-1; why svc/web; why node/node-1; why deploy/web
    """
    ref = objects.one(session, chosen)
    answer = _ANSWERS.get(ref.kind.qualified)
    if answer is None:
        raise CliError(f"why knows pods, services, nodes and deployments, not {ref.kind.qualified}")
    found = answer(World(session, ref.namespace), session.get(ref))
    sys.stdout.write(layout.tabulate(found.lines()))


class World:
    """The objects around the one that is asked about."""

    def __init__(self, session: Session, namespace: str) -> None:
        self._session, self._namespace = session, namespace
        self.now = datetime.now(UTC)

    def here(self, kind: str, **params: str) -> list[Object]:
        return self._session.objects(kind, namespace=self._namespace, **params)

    def everywhere(self, kind: str) -> list[Object]:
        return self._session.objects(kind, namespace="")

    def find(self, kind: str, name: str, namespace: str = "") -> Object | None:
        return self._session.find(self._session.ref(kind, name, namespace))


def _pod(world: World, pod: Mapping[str, Any]) -> Any:
    from workshop.why import pod as of

    events = world.here("events", fieldSelector=f"involvedObject.uid={pod['metadata'].get('uid')}")
    bound = pod["spec"].get("nodeName")
    node, verdicts = world.find("nodes", bound) if bound else None, []
    if not bound:
        from workshop.why.placement import verdicts as found

        verdicts = found(pod, world.everywhere("nodes"), world.everywhere("pods"))
    return of.explain(pod, events=events, node=node, verdicts=verdicts, now=world.now)


def _service(world: World, service: Object) -> Any:
    from workshop.why import service as of

    label = f"kubernetes.io/service-name={service['metadata']['name']}"
    return of.explain(
        service,
        pods=world.here("pods"),
        slices=world.here("endpointslices.discovery.k8s.io", labelSelector=label),
        policies=world.here("networkpolicies.networking.k8s.io"),
    )


def _node(world: World, node: Object) -> Any:
    from workshop.why import node as of

    lease = world.find("leases.coordination.k8s.io", node["metadata"]["name"], "kube-node-lease")
    return of.explain(node, lease=lease, now=world.now)


def _deployment(world: World, deployment: Object) -> Any:
    from workshop.why import deployment as of

    sets, pods = world.here("replicasets.apps"), world.here("pods")
    return of.explain(deployment, sets=sets, pods=pods, of_pod=lambda pod: _pod(world, pod))


_ANSWERS: dict[str, Callable[[World, Object], Any]] = {
    "pods": _pod,
    "services": _service,
    "nodes": _node,
    "deployments.apps": _deployment,
}
