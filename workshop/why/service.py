"""Why a Service answers or does not: selector, pods, ports, endpoints, policies, as a request needs them. Pure.

explain(service, pods=..., slices=..., policies=..., namespaces=...) -> Answer
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from lightkube.models import meta_v1

from api.selectors import LabelSelector, from_label_selector, from_map
from workshop.why.finding import (
    ENDPOINTSLICE,
    POLICIES,
    PROXY,
    SLICE_CONTENT,
    YOU,
    Answer,
    Finding,
    Object,
    is_ready,
    labels,
    name,
    spec,
    status,
)

SHOWN = 5
"""Objects named of a long list."""


def explain(
    service: Object, *, pods: Sequence[Object], slices: Sequence[Object], policies: Sequence[Object] = ()
) -> Answer:
    """All of the Service's namespace; `slices` are those of the Service."""
    title, selector = f"svc/{name(service)}", spec(service).get("selector") or {}
    if spec(service).get("type") == "ExternalName":
        target = spec(service).get("externalName")
        what = f"Nothing is forwarded: its name in the cluster's DNS is another name for {target}"
        return Answer(f"{title} is a name", [Finding(what, PROXY, f"spec.externalName = {target}")])
    ready, unready = _addresses(slices, ready=True), _addresses(slices, ready=False)
    if not selector:
        what = "It selects no pods: somebody else has to write its EndpointSlices"
        state = f"{title} has {len(ready)} endpoints, none of them by a selector"
        return Answer(state, [Finding(what, YOU, "spec.selector is empty")])
    chosen = [each for each in pods if from_map(selector).matches(labels(each)) and not _ended(each)]
    blocks = list(_policies(service, chosen, policies))
    if not ready:
        found = [_nothing_selected(selector, pods)] if not chosen else list(_none_usable(service, chosen, unready))
        return Answer(f"{title} has no endpoints: connections to it are refused", [*found, *blocks])
    state = f"{title} has {len(ready)} ready endpoints: {', '.join(ready[:SHOWN])}"
    waiting = [each for each in chosen if not is_ready(each)]
    partly = [_unready(waiting, len(chosen))] if waiting else []
    return Answer(state, [*partly, *_undeclared(service, chosen), *blocks])


def _ended(pod: Object) -> bool:
    return status(pod).get("phase") in ("Succeeded", "Failed")


def _addresses(slices: Sequence[Object], *, ready: bool) -> list[str]:
    """`10.244.1.3:8080` of what the slices offer."""
    found = []
    for each in slices:
        for endpoint in each.get("endpoints") or []:
            if (endpoint.get("conditions") or {}).get("ready", True) is ready:
                ports = [str(port.get("port")) for port in each.get("ports") or []]
                found += [f"{address}:{','.join(ports)}" for address in endpoint.get("addresses") or [] if ports]
    return sorted(found)


# Who is behind it


def _nothing_selected(selector: Mapping[str, str], pods: Sequence[Object]) -> Finding:
    field = f"spec.selector = {_text(selector)}"
    # Those that come nearest first: what differs is most likely what was mistyped.
    missed = {name(pod): [key for key, value in selector.items() if labels(pod).get(key) != value] for pod in pods}
    related = [pod for pod in pods if not _ended(pod) and any(key in labels(pod) for key in selector)]
    related.sort(key=lambda pod: len(missed[name(pod)]))
    near = [
        (f"pod {name(pod)}", f"has {_text({key: labels(pod).get(key, '(nothing)') for key in missed[name(pod)]})}")
        for pod in related
    ]
    advice = "make them the same; labels of pods come from their Deployment's spec.template.metadata.labels"
    what = "The selector matches no pod of the namespace"
    return Finding(what, SLICE_CONTENT, field, details=tuple(near[:SHOWN]), advice=advice)


def _none_usable(service: Object, chosen: Sequence[Object], unready: Sequence[str]) -> Iterator[Finding]:
    waiting = [each for each in chosen if not is_ready(each)]
    if len(waiting) == len(chosen):
        yield _unready(waiting, len(chosen))
        return
    unnamed = list(_no_such_name(service, chosen))
    yield from unnamed
    if not unnamed:
        what = "Pods are Ready and the EndpointSlices do not show them (yet)"
        yield Finding(what, ENDPOINTSLICE, "", advice="do the controllers run? minikctl status")


def _unready(waiting: Sequence[Object], number: int) -> Finding:
    what = f"{len(waiting)} of the {number} selected pods are not Ready, and only Ready pods get requests"
    details = tuple((f"pod {name(each)}", status(each).get("phase") or "Pending") for each in waiting[:SHOWN])
    field = "pods: status.conditions[Ready]"
    return Finding(what, SLICE_CONTENT, field, details=details, advice=f"minikctl why pod/{name(waiting[0])}")


# Ports


def _ports(service: Object) -> Iterator[tuple[str, Any]]:
    for index, port in enumerate(spec(service).get("ports") or []):
        yield f"spec.ports[{port.get('name') or index}].targetPort", port.get("targetPort", port.get("port"))


def _container_ports(pod: Object) -> list[tuple[str, int]]:
    declared = (port for each in spec(pod).get("containers") or [] for port in each.get("ports") or [])
    return [(str(port.get("name") or ""), int(port["containerPort"])) for port in declared]


def _no_such_name(service: Object, chosen: Sequence[Object]) -> Iterator[Finding]:
    """A port that is named must be the name of a container's port."""
    for field, target in _ports(service):
        offered = {port for pod in chosen for port in _container_ports(pod)}
        if isinstance(target, str) and target not in {each for each, _ in offered}:
            listed = ", ".join(sorted(f"{each or '(no name)'} = {number}" for each, number in offered)) or "none"
            what = f"No container of the selected pods has a port called {target}"
            yield Finding(what, SLICE_CONTENT, f"{field} = {target}", details=(("they have", listed),))


def _undeclared(service: Object, chosen: Sequence[Object]) -> Iterator[Finding]:
    """A number is taken as it is; when containers say that they listen elsewhere, it is most likely wrong."""
    for field, target in _ports(service):
        numbers = {number for pod in chosen for _, number in _container_ports(pod)}
        if isinstance(target, int) and numbers and target not in numbers:
            what = f"Requests go to port {target} of the pods, and no container says that it listens there"
            listed = ", ".join(map(str, sorted(numbers)))
            advice = "a port nobody listens on refuses every connection: make targetPort the container's"
            yield Finding(what, PROXY, f"{field} = {target}", details=(("they declare", listed),), advice=advice)


# Policies


def _policies(service: Object, chosen: Sequence[Object], policies: Sequence[Object]) -> Iterator[Finding]:
    """What of the selected pods may be reached, and by whom, if a policy says so."""
    pod = next((each for each in chosen if is_ready(each)), next(iter(chosen), None))
    if pod is None:
        return
    selecting = [
        each for each in policies if _is_ingress(each) and _selects(spec(each).get("podSelector"), labels(pod))
    ]
    rules = [rule for each in selecting for rule in spec(each).get("ingress") or []]
    names = ", ".join(name(each) for each in selecting)
    for _, target in _ports(service):
        number = next((number for each, number in _container_ports(pod) if each == target), target)
        fitting = [rule for rule in rules if _has_port(rule, number, target)]
        if selecting and not fitting:
            what = f"A network policy lets nobody reach port {target} of its pods"
            field = f"networkpolicy/{names}: spec.ingress"
            yield Finding(what, POLICIES, field, advice="add an ingress rule for the clients and the port")
        elif selecting and all(rule.get("from") for rule in fitting):
            what = f"A network policy lets only these reach port {target} of its pods; others time out"
            peers = [_peer(peer) for rule in fitting for peer in rule["from"]]
            field = f"networkpolicy/{names}: spec.ingress[*].from"
            yield Finding(what, POLICIES, field, details=(("allowed", "; ".join(dict.fromkeys(peers))),))


def _is_ingress(policy: Object) -> bool:
    return "Ingress" in (spec(policy).get("policyTypes") or ["Ingress"])


def _selects(selector: Any, of: Mapping[str, str]) -> bool:
    return _selector(selector).matches(of)


def _selector(selector: Any) -> LabelSelector:
    return from_label_selector(msgspec.convert(selector or {}, meta_v1.LabelSelector, strict=False))


def _has_port(rule: Object, number: Any, target: Any) -> bool:
    for port in rule.get("ports") or []:
        first = port.get("port")
        if first is None or first in (number, target):
            return True
        if isinstance(first, int) and isinstance(number, int) and first <= number <= port.get("endPort", first):
            return True
    return not rule.get("ports")


def _peer(peer: Object) -> str:
    if block := peer.get("ipBlock"):
        return f"addresses in {block.get('cidr')}"
    pods = f"pods {_selector(peer['podSelector']) or '(all)'}" if "podSelector" in peer else "all pods"
    if "namespaceSelector" not in peer:
        return f"{pods} of this namespace"
    return f"{pods} of namespaces {_selector(peer['namespaceSelector']) or '(all)'}"


def _text(of: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(of.items())) or "no labels"
