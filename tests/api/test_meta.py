from lightkube.models.apps_v1 import DeploymentCondition, ReplicaSetSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import ReplicaSet
from lightkube.resources.core_v1 import Node, Pod

from api import meta


def test_keys() -> None:
    assert meta.key(Pod(metadata=ObjectMeta(name="a", namespace="n"))) == "n/a"
    assert meta.key(Node(metadata=ObjectMeta(name="a"))) == "a"
    assert meta.split_key("n/a") == ("n", "a")
    assert meta.split_key("a") == ("", "a")


def test_micro_time_always_has_a_fraction() -> None:
    assert meta.now_micro().microsecond != 0
    assert meta.now().microsecond == 0


def test_owners() -> None:
    owner = ReplicaSet(
        metadata=ObjectMeta(name="rs", namespace="n", uid="1"), spec=ReplicaSetSpec(selector=LabelSelector())
    )
    pod = Pod(metadata=ObjectMeta(name="p", namespace="n", ownerReferences=[meta.owner_reference(owner)]))
    reference = meta.controller_of(pod)
    assert reference is not None
    assert (reference.apiVersion, reference.kind, reference.name) == ("apps/v1", "ReplicaSet", "rs")
    assert meta.is_controlled_by(pod, owner)


def test_a_clone_shares_nothing() -> None:
    pod = Pod(metadata=ObjectMeta(name="p", labels={"a": "b"}, creationTimestamp=meta.now()))
    copy = meta.clone(pod)
    assert copy == pod
    copy.metadata.labels["a"] = "c"
    assert pod.metadata.labels == {"a": "b"}


def test_a_condition_keeps_its_transition_time_until_its_status_changes() -> None:
    then = meta.now().replace(year=2000)
    conditions = [DeploymentCondition(type="Available", status="True", reason="A", lastTransitionTime=then)]
    same = DeploymentCondition(type="Available", status="True", reason="A", lastTransitionTime=meta.now())
    assert not meta.set_condition(conditions, same)
    reworded = DeploymentCondition(type="Available", status="True", reason="B", lastTransitionTime=meta.now())
    assert meta.set_condition(conditions, reworded)
    assert (conditions[0].reason, conditions[0].lastTransitionTime) == ("B", then)
    flipped = DeploymentCondition(type="Available", status="False", reason="C", lastTransitionTime=meta.now())
    assert meta.set_condition(conditions, flipped)
    assert conditions[0].lastTransitionTime != then
    assert len(conditions) == 1
