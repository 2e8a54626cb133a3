"""Reading: lists and their pages, selectors, versions, forms of answers, discovery, OpenAPI, health."""

from __future__ import annotations

from typing import Any

import pytest

from api.errors import NotAcceptable
from apiserver.http.request import Form, RequestInfo, negotiate
from apiserver.verbs.list import Token

NS = "/api/v1/namespaces/default"


async def make(api: Any, *names: str, **labels: str) -> None:
    for name in names:
        await api.post(f"{NS}/configmaps", {"metadata": {"name": name, "labels": labels}})


def names(answer: Any) -> list[str]:
    return [each["metadata"]["name"] for each in answer.json["items"]]


class TestLists:
    async def test_in_order_with_their_version(self, api):
        await make(api, "b", "a", "c")
        answer = (await api.get(f"{NS}/configmaps")).json
        assert (answer["kind"], answer["apiVersion"]) == ("ConfigMapList", "v1")
        assert [each["metadata"]["name"] for each in answer["items"]] == ["a", "b", "c"]
        assert int(answer["metadata"]["resourceVersion"]) >= int(answer["items"][2]["metadata"]["resourceVersion"])

    async def test_all_namespaces(self, api):
        await make(api, "a")
        await api.post("/api/v1/namespaces/kube-system/configmaps", {"metadata": {"name": "b"}})
        assert names(await api.get("/api/v1/configmaps")) == ["a", "b"]

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("labelSelector=app%3Dweb", ["a", "b"]),
            ("labelSelector=app!%3Dweb", ["c"]),
            ("labelSelector=app", ["a", "b", "c"]),
            ("labelSelector=!app", []),
            ("labelSelector=app+in+(db,x)", ["c"]),
            ("fieldSelector=metadata.name%3Da", ["a"]),
            ("fieldSelector=metadata.name!%3Da", ["b", "c"]),
            ("fieldSelector=metadata.namespace%3Dother", []),
            ("labelSelector=app%3Dweb&fieldSelector=metadata.name%3Db", ["b"]),
        ],
    )
    async def test_selectors(self, api, query, expected):
        await make(api, "a", "b", app="web")
        await make(api, "c", app="db")
        assert names(await api.get(f"{NS}/configmaps?{query}")) == expected

    @pytest.mark.parametrize(
        ("query", "words"),
        [
            ("labelSelector=a%3D%3D%3Db", "unable to parse requirement"),
            ("fieldSelector=spec.foo%3Db", "field label not supported: spec.foo"),
            ("limit=x", "must be a non-negative integer"),
            ("limit=-1", "must be a non-negative integer"),
            ("continue=!", "continue key is not valid"),
            ("continue=" + str(Token(1, "/secrets/default/a")), "continue key is not valid"),
            ("resourceVersion=x", "resourceVersion: Invalid value"),
            ("resourceVersionMatch=Exact", "resourceVersionMatch is forbidden unless resourceVersion is provided"),
            ("resourceVersion=1&resourceVersionMatch=Nearly", "Unsupported value"),
        ],
    )
    async def test_queries_that_make_no_sense(self, api, query, words):
        answer = await api.get(f"{NS}/configmaps?{query}")
        assert (answer.status, words in answer.message) == (400, True), answer.body

    async def test_pages_are_one_consistent_list(self, api):
        await make(api, "a", "b", "c", "d", "e")
        first = await api.get(f"{NS}/configmaps?limit=2")
        metadata = first.json["metadata"]
        assert names(first) == ["a", "b"] and metadata["remainingItemCount"] == 3
        await make(api, "bb")
        await api.delete(f"{NS}/configmaps/d")
        second = await api.get(f"{NS}/configmaps?limit=2&continue={metadata['continue']}")
        assert names(second) == ["c", "d"]
        third = await api.get(f"{NS}/configmaps?limit=2&continue={second.json['metadata']['continue']}")
        assert names(third) == ["e"] and "continue" not in third.json["metadata"]
        assert {each.json["metadata"]["resourceVersion"] for each in (first, second, third)} == {
            metadata["resourceVersion"]
        }

    async def test_pages_of_a_selection_say_no_remainder(self, api):
        await make(api, "a", "c", "e", app="web")
        await make(api, "b", "d", app="db")
        first = await api.get(f"{NS}/configmaps?limit=2&labelSelector=app%3Dweb")
        assert names(first) == ["a", "c"] and "remainingItemCount" not in first.json["metadata"]
        token = first.json["metadata"]["continue"]
        assert names(await api.get(f"{NS}/configmaps?limit=2&labelSelector=app%3Dweb&continue={token}")) == ["e"]

    async def test_an_old_token_has_expired(self, api):
        await make(api, "a", "b", "c")
        token = (await api.get(f"{NS}/configmaps?limit=1")).json["metadata"]["continue"]
        await make(api, "d")
        api.backend.storage.compact(await api.backend.storage.version())
        answer = await api.get(f"{NS}/configmaps?limit=1&continue={token}")
        assert (answer.status, answer.json["reason"]) == (410, "Expired")
        inconsistent = answer.json["metadata"]["continue"]
        assert names(await api.get(f"{NS}/configmaps?continue={inconsistent}")) == ["b", "c", "d"]

    async def test_an_exact_version(self, api):
        await make(api, "a")
        version = (await api.get(f"{NS}/configmaps")).json["metadata"]["resourceVersion"]
        await make(api, "b")
        query = f"resourceVersion={version}&resourceVersionMatch=Exact"
        assert names(await api.get(f"{NS}/configmaps?{query}")) == ["a"]
        assert names(await api.get(f"{NS}/configmaps?resourceVersion={version}")) in (["a"], ["a", "b"])


TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


class TestForms:
    async def test_a_table(self, api):
        await make(api, "a")
        table = (await api.get(f"{NS}/configmaps", accept=TABLE)).json
        assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
        assert [each["name"] for each in table["columnDefinitions"]] == ["Name", "Data", "Age"]
        row = table["rows"][0]
        assert row["cells"][:2] == ["a", 0]
        assert row["object"]["kind"] == "PartialObjectMetadata" and row["object"]["metadata"]["name"] == "a"
        whole = (await api.get(f"{NS}/configmaps/a?includeObject=Object", accept=TABLE)).json
        assert whole["rows"][0]["object"]["kind"] == "ConfigMap"

    async def test_metadata_only(self, api):
        await make(api, "a")
        answer = (await api.get(f"{NS}/configmaps", accept=PARTIAL)).json
        assert answer["kind"] == "PartialObjectMetadataList"
        assert set(answer["items"][0]) == {"kind", "apiVersion", "metadata"}

    async def test_protobuf_alone_cannot_be_had(self, api):
        answer = await api.get(f"{NS}/configmaps", accept="application/vnd.kubernetes.protobuf")
        assert (answer.status, answer.json["reason"]) == (406, "NotAcceptable")

    @pytest.mark.parametrize(
        ("accept", "form"),
        [
            ("", Form()),
            ("*/*", Form()),
            ("application/vnd.kubernetes.protobuf,application/json", Form()),
            ("application/yaml", Form("application/yaml")),
            (TABLE, Form("application/json", "Table", "v1")),
            ("application/json;as=Table;v=v9;g=meta.k8s.io, application/json", Form()),
            ("application/json; stream=watch", Form()),
        ],
    )
    def test_negotiation(self, accept, form):
        assert negotiate(accept) == form

    def test_nothing_acceptable(self):
        with pytest.raises(NotAcceptable):
            negotiate("text/html")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/api/v1/pods", ("list", "", "pods", "", "", "")),
        ("GET", "/api/v1/pods?watch=true", ("watch", "", "pods", "", "", "")),
        ("GET", "/api/v1/pods?watch=0", ("list", "", "pods", "", "", "")),
        ("GET", "/api/v1/namespaces/a/pods/b", ("get", "", "pods", "a", "b", "")),
        ("GET", "/api/v1/namespaces/a/pods/b/log", ("get", "", "pods", "a", "b", "log")),
        ("DELETE", "/api/v1/namespaces/a/pods", ("deletecollection", "", "pods", "a", "", "")),
        ("PUT", "/api/v1/namespaces/a/finalize", ("update", "", "namespaces", "a", "a", "finalize")),
        ("GET", "/api/v1/namespaces/a", ("get", "", "namespaces", "a", "a", "")),
        ("POST", "/apis/apps/v1/namespaces/a/deployments", ("create", "apps", "deployments", "a", "", "")),
        (
            "PATCH",
            "/apis/apps/v1/namespaces/a/deployments/d/scale",
            ("patch", "apps", "deployments", "a", "d", "scale"),
        ),
    ],
)
def test_request_info(method, path, expected):
    path, _, query = path.partition("?")
    info = RequestInfo.parse(method, path, dict(part.split("=") for part in query.split("&") if part))
    assert (info.verb, info.group, info.resource, info.namespace, info.name, info.subresource) == expected


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/api/v2", 404),
        ("GET", "/api/v1/things", 404),
        ("GET", "/apis/none.example.com/v1/things", 404),
        ("GET", "/api/v1/pods/x", 404),
        ("GET", "/api/v1/namespaces/default/pods/x/y", 404),
        ("GET", "/api/v1/namespaces/default/nodes", 404),
        ("POST", "/api/v1/namespaces/default/pods/x", 405),
        ("POST", "/api/v1/pods", 405),
        ("DELETE", "/api/v1/pods", 405),
        ("PUT", "/api/v1/namespaces/default/pods", 405),
        ("POST", "/api/v1", 405),
    ],
)
async def test_paths_and_methods_that_are_not_there(api, method, path, status):
    answer = await api.call(method, path, {} if method in ("POST", "PUT") else None)
    assert (answer.status, answer.json["kind"]) == (status, "Status")


async def test_a_body_of_ten_megabytes(api, caplog):
    answer = await api.post(f"{NS}/configmaps", b"x" * 10_000_000)
    assert (answer.status, answer.json["reason"]) == (413, "RequestEntityTooLarge")
    assert not caplog.records


async def test_an_unknown_media_type(api):
    answer = await api.post(f"{NS}/configmaps", b"<a/>", content_type="text/xml")
    assert (answer.status, answer.json["reason"]) == (415, "UnsupportedMediaType")


class TestDiscovery:
    async def test_by_group(self, api):
        assert (await api.get("/api")).json["versions"] == ["v1"]
        groups = (await api.get("/apis")).json["groups"]
        assert {"apps", "coordination.k8s.io"} <= {each["name"] for each in groups}
        resources = {each["name"]: each for each in (await api.get("/apis/apps/v1")).json["resources"]}
        assert resources["deployments"]["shortNames"] == ["deploy"]
        assert resources["deployments/scale"]["kind"] == "Scale"

    async def test_all_at_once(self, api):
        accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
        answer = await api.get("/apis", accept=accept)
        assert answer.json["kind"] == "APIGroupDiscoveryList"
        assert dict(answer.headers)["content-type"] == accept.split(",")[0]
        assert "apps" in [each["metadata"]["name"] for each in answer.json["items"]]

    async def test_openapi_describes_fields_and_how_they_merge(self, api):
        assert "apis/apps/v1" in (await api.get("/openapi/v3")).json["paths"]
        schemas = (await api.get("/openapi/v3/api/v1")).json["components"]["schemas"]
        spec = schemas["io.k8s.api.core.v1.PodSpec"]
        assert spec["required"] == ["containers"]
        assert spec["properties"]["containers"]["x-kubernetes-patch-merge-key"] == "name"
        assert spec["properties"]["nodeName"]["description"].startswith("NodeName indicates")
        assert "**" not in schemas["io.k8s.api.core.v1.Pod"]["description"]


class TestHealth:
    @pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/readyz/ping"])
    async def test_ok(self, api, path):
        answer = await api.get(path)
        assert (answer.status, answer.body) == (200, b"ok")

    async def test_verbose(self, api):
        assert b"[+]etcd ok\n" in (await api.get("/readyz?verbose")).body

    async def test_unknown_check(self, api):
        assert (await api.get("/readyz/nothing")).status == 404

    async def test_version(self, api):
        assert (await api.get("/version")).json["gitVersion"].startswith("v1.32.0")
