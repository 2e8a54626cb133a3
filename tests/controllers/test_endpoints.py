from __future__ import annotations

from datetime import UTC, datetime

import pytest
from lightkube.models.core_v1 import (
    Container,
    ContainerPort,
    EndpointAddress,
    EndpointSubset,
    PodCondition,
    PodSpec,
    PodStatus,
    ServicePort,
    ServiceSpec,
)
from lightkube.models.core_v1 import EndpointPort as CoreEndpointPort
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Endpoints, Pod, Service
from lightkube.resources.discovery_v1 import EndpointSlice

from controllers import endpoints, endpointslicemirroring, slicing


def service(*ports: ServicePort, **spec) -> Service:
    given = {"selector": {"app": "web"}, "ports": list(ports) or [ServicePort(port=80)], **spec}
    metadata = ObjectMeta(name="web", namespace="ns", uid="s", labels={"team": "x"})
    return Service(metadata=metadata, spec=ServiceSpec(**given))


def pod(
    number: int, *, ready: bool = True, going: bool = False, port: tuple[str, int] = ("http", 8080), **status
) -> Pod:
    given = {
        "podIP": f"10.244.{number // 250}.{number % 250}",
        "phase": "Running",
        "conditions": [PodCondition(type="Ready", status=str(ready))],
        **status,
    }
    container = Container(name="c", ports=[ContainerPort(name=port[0], containerPort=port[1])])
    return Pod(
        metadata=ObjectMeta(
            name=f"p{number:04}",
            namespace="ns",
            uid=f"u{number}",
            deletionTimestamp=datetime.now(UTC) if going else None,
        ),
        spec=PodSpec(containers=[container], nodeName="n"),
        status=PodStatus(**given),
    )


def apply(present: list[EndpointSlice], plan: slicing.Plan) -> list[EndpointSlice]:
    """The slices after the plan's writes."""
    by_name = {each.metadata.name: each for each in [*present, *plan.create, *plan.update]}
    for each in plan.delete:
        del by_name[each.metadata.name]
    return list(by_name.values())


def names(slices: list[EndpointSlice]) -> list[str]:
    return sorted(each.targetRef.name for one in slices for each in one.endpoints or [])


@pytest.mark.parametrize(
    ("given", "anyway", "conditions"),
    [
        (pod(1), False, (True, True, False)),
        (pod(1, ready=False), False, (False, False, False)),
        (pod(1, going=True), False, (False, True, True)),
        (pod(1, ready=False, going=True), False, (False, False, True)),
        (pod(1, ready=False), True, (True, False, False)),
    ],
)
def test_conditions(given: Pod, anyway: bool, conditions: tuple[bool, bool, bool]) -> None:
    (made,) = endpoints.plan(service(publishNotReadyAddresses=anyway), [given], []).create
    (one,) = made.endpoints
    assert (one.conditions.ready, one.conditions.serving, one.conditions.terminating) == conditions
    assert (one.addresses, one.nodeName, one.targetRef.uid) == (["10.244.0.1"], "n", "u1")


@pytest.mark.parametrize("status", [{"phase": "Succeeded"}, {"phase": "Failed"}, {"podIP": None}, {"podIP": "fd00::1"}])
def test_pods_that_cannot_serve_are_left_out(status: dict[str, str]) -> None:
    (made,) = endpoints.plan(service(), [pod(1, **status)], []).create
    assert made.endpoints == []


@pytest.mark.parametrize(
    ("port", "number"),
    [
        (ServicePort(port=80), 80),
        (ServicePort(port=80, targetPort=81), 81),
        (ServicePort(port=80, targetPort="81"), 81),
        (ServicePort(port=80, targetPort="http"), 8080),
        (ServicePort(port=80, targetPort="other"), None),
        (ServicePort(port=80, targetPort="http", protocol="UDP"), None),
    ],
)
def test_target_port(port: ServicePort, number: int | None) -> None:
    assert endpoints.target_port(port, pod(1)) == number


def test_pods_whose_named_port_differs_get_slices_of_their_own() -> None:
    wanted = service(ServicePort(name="http", port=80, targetPort="http"))
    plan = endpoints.plan(wanted, [pod(1), pod(2, port=("http", 9090)), pod(3)], [])
    found = {tuple(port.port for port in each.ports): names([each]) for each in plan.create}
    assert found == {(8080,): ["p0001", "p0003"], (9090,): ["p0002"]}


def test_what_is_right_is_not_written_again() -> None:
    pods = [pod(n) for n in range(3)]
    slices = apply([], endpoints.plan(service(), pods, []))
    assert endpoints.plan(service(), pods, slices) == slicing.Plan()


def test_two_who_write_the_same_write_the_same_name() -> None:
    plans = [endpoints.plan(service(), [pod(1)], []) for _ in range(2)]
    assert plans[0].create[0].metadata.name == plans[1].create[0].metadata.name


def test_labels_say_whose_slice_it_is() -> None:
    (made,) = endpoints.plan(service(clusterIP="None"), [], []).create
    assert made.metadata.labels == {
        "team": "x",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "service.kubernetes.io/headless": "",
    }
    assert made.metadata.ownerReferences[0].uid == "s"


def test_a_hundred_to_a_slice_and_a_change_touches_one() -> None:
    pods = [pod(n) for n in range(250)]
    slices = apply([], endpoints.plan(service(), pods, []))
    assert sorted(len(each.endpoints) for each in slices) == [50, 100, 100]
    plan = endpoints.plan(service(), pods[1:], slices)
    assert (len(plan.create), len(plan.update), len(plan.delete)) == (0, 1, 0)
    slices = apply(slices, plan)
    plan = endpoints.plan(service(), [*pods[1:], pod(900)], slices)
    assert (len(plan.create), len(plan.update), len(plan.delete)) == (0, 1, 0)
    slices = apply(slices, plan)
    assert names(slices) == sorted(each.metadata.name for each in [*pods[1:], pod(900)])
    slices = apply(slices, endpoints.plan(service(), pods[:10], slices))
    assert names(slices) == [each.metadata.name for each in pods[:10]]
    slices = apply(slices, endpoints.plan(service(), [], slices))
    assert names(slices) == []
    assert len(slices) == 1


@pytest.mark.parametrize(
    ("given", "wanted"),
    [(service(), True), (service(selector=None), False), (service(type="ExternalName"), False)],
)
def test_wants_slices(given: Service, wanted: bool) -> None:
    assert endpoints.wants_slices(given) is wanted


# Endpoints


def test_the_endpoints_object_shows_ready_and_other_pods_by_their_ports() -> None:
    web = service(ServicePort(name="http", port=80, targetPort="http"))
    found = [pod(1), pod(2, ready=False), pod(3, port=("http", 9090)), pod(4, going=True), pod(5, port=("other", 1))]
    made = endpoints.endpoints_object(web, found, None)
    assert made is not None
    assert (made.metadata.name, made.metadata.namespace) == ("web", "ns")
    assert made.metadata.labels == {"team": "x", "endpoints.kubernetes.io/managed-by": "endpoint-controller"}
    shown = {
        each.ports[0].port: (
            [(one.ip, one.nodeName, one.targetRef.name) for one in each.addresses or []],
            [one.ip for one in each.notReadyAddresses or []],
        )
        for each in made.subsets
    }
    assert shown == {8080: ([("10.244.0.1", "n", "p0001")], ["10.244.0.2"]), 9090: ([("10.244.0.3", "n", "p0003")], [])}
    assert endpoints.endpoints_object(web, found, made) is None
    fewer = endpoints.endpoints_object(web, found[:2], made)
    assert fewer is not None
    assert [each.ports[0].port for each in fewer.subsets] == [8080]


def test_endpoints_end_at_a_thousand_and_say_so() -> None:
    made = endpoints.endpoints_object(service(), [pod(n, ready=n % 2 == 0) for n in range(1100)], None)
    assert made is not None
    (subset,) = made.subsets
    assert (len(subset.addresses), len(subset.notReadyAddresses)) == (550, 450)
    assert made.metadata.annotations == {"endpoints.kubernetes.io/over-capacity": "truncated"}
    again = endpoints.endpoints_object(service(), [pod(1)], made)
    assert again is not None
    assert not again.metadata.annotations


def hand_made(**metadata) -> Endpoints:
    subset = EndpointSubset(
        addresses=[EndpointAddress(ip="192.0.2.1", hostname="one"), EndpointAddress(ip="2001:db8::1")],
        notReadyAddresses=[EndpointAddress(ip="192.0.2.2")],
        ports=[CoreEndpointPort(name="http", port=8080)],
    )
    return Endpoints(metadata=ObjectMeta(name="web", namespace="ns", uid="e", **metadata), subsets=[subset])


def test_hand_made_endpoints_are_mirrored_by_address_family() -> None:
    last = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "yes"}
    made = endpointslicemirroring.plan(hand_made(labels={"a": "b"}, annotations=last), []).create
    shown = {
        each.addressType: [(one.addresses, one.conditions.ready, one.hostname) for one in each.endpoints]
        for each in made
    }
    assert shown == {
        "IPv4": [(["192.0.2.1"], True, "one"), (["192.0.2.2"], False, None)],
        "IPv6": [(["2001:db8::1"], True, None)],
    }
    metadata = made[0].metadata
    assert metadata.annotations == {"kept": "yes"}
    assert metadata.labels == {
        "a": "b",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
    }
    assert [(ref.kind, ref.name) for ref in metadata.ownerReferences] == [("Endpoints", "web")]
    assert endpointslicemirroring.plan(hand_made(labels={"a": "b"}, annotations=last), made) == slicing.Plan()


@pytest.mark.parametrize(
    ("selector", "metadata", "mirrored"),
    [
        (None, {}, True),
        ({"app": "web"}, {}, False),
        (None, {"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}, False),
        (None, {"annotations": {"control-plane.alpha.kubernetes.io/leader": "{}"}}, False),
    ],
)
def test_what_is_mirrored(selector, metadata, mirrored: bool) -> None:
    assert endpointslicemirroring.wants_mirror(hand_made(**metadata), service(selector=selector)) is mirrored
