from __future__ import annotations

from typing import Any

import pytest

from cli.errors import CliError
from cli.rollout import progress, restored_template


def deployment(wanted: int = 3, generation: int = 2, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "web",
            "generation": generation,
            "annotations": {"deployment.kubernetes.io/revision": "2"},
        },
        "spec": {"replicas": wanted},
        "status": {"observedGeneration": 2, **status},
    }


@pytest.mark.parametrize(
    ("obj", "text", "done"),
    [
        (deployment(generation=3), "Waiting for deployment spec update to be observed...", False),
        (
            deployment(updatedReplicas=1, replicas=4, availableReplicas=3),
            'Waiting for deployment "web" rollout to finish: 1 out of 3 new replicas have been updated...',
            False,
        ),
        (
            deployment(updatedReplicas=3, replicas=4, availableReplicas=3),
            'Waiting for deployment "web" rollout to finish: 1 old replicas are pending termination...',
            False,
        ),
        (
            deployment(updatedReplicas=3, replicas=3, availableReplicas=2),
            'Waiting for deployment "web" rollout to finish: 2 of 3 updated replicas are available...',
            False,
        ),
        (
            deployment(updatedReplicas=3, replicas=3, availableReplicas=3),
            'deployment "web" successfully rolled out',
            True,
        ),
        (deployment(wanted=0), 'deployment "web" successfully rolled out', True),
    ],
)
def test_progress_reads_as_in_kubectl(obj: dict[str, Any], text: str, done: bool) -> None:
    assert progress(obj) == (text, done)


def test_a_rollout_that_takes_too_long_has_failed() -> None:
    late = deployment(conditions=[{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}])
    with pytest.raises(CliError, match='deployment "web" exceeded its progress deadline'):
        progress(late)


def test_another_revision_than_the_one_asked_for() -> None:
    with pytest.raises(CliError, match=r"desired revision \(1\) is different from the running revision \(2\)"):
        progress(deployment(), revision=1)


def test_a_template_goes_back_without_its_hash() -> None:
    template = {"metadata": {"labels": {"app": "web", "pod-template-hash": "abc"}}, "spec": {"containers": []}}
    assert restored_template({"spec": {"template": template}}) == {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": []},
    }
    assert template["metadata"]["labels"]["pod-template-hash"] == "abc"
