from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Node, Pod

from api.resource import resource_info


def test_the_paths_of_a_kind() -> None:
    info = resource_info(Deployment)
    assert (info.api_version, info.kind, info.qualified, info.namespaced) == (
        "apps/v1",
        "Deployment",
        "deployments.apps",
        True,
    )
    assert info.path() == "/apis/apps/v1/deployments"
    assert info.path("n") == "/apis/apps/v1/namespaces/n/deployments"
    assert info.path("n", "a", "scale") == "/apis/apps/v1/namespaces/n/deployments/a/scale"
    assert resource_info(Pod).path("n", "a") == "/api/v1/namespaces/n/pods/a"
    assert resource_info(Node).path("ignored", "a", "status") == "/api/v1/nodes/a/status"
