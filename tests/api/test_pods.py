import pytest
from lightkube.models.core_v1 import Container, PodCondition, PodSpec, PodStatus, ResourceRequirements
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Pod

from api import durations, meta, pods


def container(cpu: str | None = None, *, memory: str | None = None, restart: str | None = None) -> Container:
    requests = {name: amount for name, amount in (("cpu", cpu), ("memory", memory)) if amount}
    return Container(name="c", resources=ResourceRequirements(requests=requests), restartPolicy=restart)


def test_requests_add_up_and_init_steps_take_the_largest() -> None:
    spec = PodSpec(
        initContainers=[container("2"), container("100m", restart="Always"), container("500m")],
        containers=[container("500m", memory="1Gi"), container("250m", memory="1Mi")],
    )
    assert pods.pod_requests(Pod(spec=spec)) == pods.Requests(2000, 2**30 + 2**20)
    spec.initContainers = [container("100m", restart="Always")]
    assert pods.pod_requests(Pod(spec=spec)).cpu_milli == 850


def test_a_limit_is_a_request() -> None:
    limited = Container(name="c", resources=ResourceRequirements(limits={"cpu": "300m"}))
    assert pods.pod_requests(Pod(spec=PodSpec(containers=[limited]))).cpu_milli == 300


def test_activity_and_readiness() -> None:
    pod = Pod(metadata=ObjectMeta(name="p"), status=PodStatus(phase="Running"))
    assert pods.is_active(pod) and not pods.is_ready(pod)
    pod.status.conditions = [PodCondition(type="Ready", status="True")]
    assert pods.is_ready(pod)
    pod.metadata.deletionTimestamp = meta.now()
    assert not pods.is_active(pod)
    assert pods.is_terminal(Pod(status=PodStatus(phase="Failed")))


@pytest.mark.parametrize(
    ("text", "seconds"), [("40", 40), ("1.5", 1.5), ("40s", 40), ("1m30s", 90), ("500ms", 0.5), ("2h", 7200)]
)
def test_durations(text: str, seconds: float) -> None:
    assert durations.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "1x", "m"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        durations.parse_duration(text)
