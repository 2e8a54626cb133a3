"""The OpenAPI documents say what is served, and what they describe is accepted."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from api.resource import ResourceInfo
from apiserver import codec, kinds
from apiserver.openapi import paths
from apiserver.openapi.document import group_document, whole_document
from apiserver.registry.kind import Kind
from apiserver.registry.model import Documents
from apiserver.registry.registry import Registry
from apiserver.verbs.status import STATUS

V2, V3 = "#/definitions/", paths.PREFIX
PODS = "/api/v1/namespaces/{namespace}/pods"
KINDS = kinds.builtin()
CUSTOM = Kind(
    Documents(
        ResourceInfo("lab.minik.dev", "v2", "Widget", "widgets", namespaced=False),
        {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}},
    ),
    subresources=(STATUS,),
)


@cache
def registry() -> Registry:
    return Registry([*KINDS, CUSTOM])


@cache
def v3(group: str, version: str) -> dict[str, Any]:
    return codec.to_document(group_document(registry(), group, version).body)


@cache
def v2() -> dict[str, Any]:
    return codec.to_document(whole_document(registry()).body)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    for each in value if isinstance(value, list) else ():
        yield from references(each)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, members in document["paths"].items():
        for method, operation in members.items():
            if method != "parameters":
                yield path, method, operation


def test_every_reference_resolves() -> None:
    for pair in registry().versions():
        document = v3(*pair)
        for each in references(document):
            assert each.removeprefix(V3) in document["components"]["schemas"], each
    for each in references(v2()):
        assert each.removeprefix(V2) in v2()["definitions"], each


def test_every_operation_has_a_name_of_its_own_and_its_path_parameters() -> None:
    for document in [*(v3(*pair) for pair in registry().versions()), v2()]:
        names = [operation["operationId"] for _, _, operation in operations(document)]
        assert len(names) == len(set(names)) and names
        for path, members in document["paths"].items():
            declared = {each["name"] for each in members["parameters"]}
            assert declared == {name for name in ("namespace", "name") if "{" + name + "}" in path}, path


def minimal(name: str, schemas: dict[str, Any]) -> Any:
    return example({"$ref": V3 + name}, schemas)


def example(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """The smallest value that a schema allows."""
    if "allOf" in schema:
        schema = schema["allOf"][0]
    if "$ref" in schema:
        schema = schemas[schema["$ref"].removeprefix(V3)]
    match schema.get("type"):
        case "object":
            return {key: example(schema["properties"][key], schemas) for key in schema.get("required", ())}
        case "array":
            return [example(schema["items"], schemas)]
        case "integer" | "number":
            return 1
        case "boolean":
            return True
        case "string" if schema.get("format") == "date-time":
            return "2026-01-01T00:00:00Z"
        case "string":
            return "1"
    return {}


@pytest.mark.parametrize("kind", [*KINDS, CUSTOM], ids=lambda kind: f"{kind.qualified}-{kind.version}")
def test_a_minimal_object_of_each_kind_can_be_read(kind: Kind) -> None:
    schemas = v3(kind.group, kind.version)["components"]["schemas"]
    schema = schemas[paths.schema_name(kind)]
    assert schema["x-kubernetes-group-version-kind"] == [
        {"group": kind.group, "version": kind.version, "kind": kind.kind}
    ]
    assert isinstance(kind.objects, Documents) or schema["description"]
    value = minimal(paths.schema_name(kind), schemas) | {"apiVersion": kind.api_version, "kind": kind.kind}
    value.setdefault("metadata", {})["name"] = "x"
    decoded = kind.read(codec.Document(value), codec.FieldValidation.STRICT)
    assert decoded.obj.metadata.name == "x" and not decoded.warnings


def test_lists_watches_and_patches_say_what_they_are() -> None:
    found = v3("", "v1")["paths"]
    for path in (PODS, "/api/v1/pods"):
        answer = found[path]["get"]["responses"]["200"]["content"]
        assert answer["application/json"]["schema"]["$ref"] == f"{V3}io.k8s.api.core.v1.PodList"
        assert answer["application/json;stream=watch"]["schema"]["$ref"].endswith(".WatchEvent")
        names = {each["name"] for each in found[path]["get"]["parameters"]}
        assert {"labelSelector", "limit", "continue", "watch", "resourceVersionMatch"} <= names
    assert "post" not in found["/api/v1/pods"]
    patch = found[f"{PODS}/{{name}}"]["patch"]
    assert set(patch["requestBody"]["content"]) == {
        "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    }  # fmt: skip
    assert {"force", "dryRun", "fieldManager", "fieldValidation"} == {each["name"] for each in patch["parameters"]}
    post = found[PODS]["post"]
    assert set(post["responses"]) == {"200", "201", "202", "401", "default"}
    assert post["requestBody"]["content"]["application/json"]["schema"]["$ref"] == f"{V3}io.k8s.api.core.v1.Pod"
    assert set(found[f"{PODS}/{{name}}/log"]) == {"get", "parameters"}
    scale = v3("apps", "v1")["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]
    assert scale["get"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith(".v1.Scale")
    widgets = v3("lab.minik.dev", "v2")["paths"]["/apis/lab.minik.dev/v2/widgets/{name}"]
    assert "application/strategic-merge-patch+json" not in widgets["patch"]["requestBody"]["content"]


def test_what_is_only_asked_has_no_other_operations() -> None:
    for kind in KINDS:
        if kind.create is not None:
            found = v3(kind.group, kind.version)["paths"]
            mine = [path for path in found if f"/{kind.plural}" in path]
            assert [set(found[path]) - {"parameters"} for path in mine] == [{"post"}]


def test_v2_says_the_same() -> None:
    paths_v3 = {path for pair in registry().versions() for path in v3(*pair)["paths"]}
    assert set(v2()["paths"]) == paths_v3
    pod = v2()["definitions"]["io.k8s.api.core.v1.Pod"]
    assert pod["properties"]["spec"]["$ref"] == f"{V2}io.k8s.api.core.v1.PodSpec"
    assert pod["properties"]["spec"]["description"].startswith("Specification of the desired behavior")
    post = v2()["paths"][PODS]["post"]
    (body,) = (each for each in post["parameters"] if each["in"] == "body")
    assert body["schema"] == {"$ref": f"{V2}io.k8s.api.core.v1.Pod"} and body["required"]
    quantity = v2()["definitions"]["io.k8s.apimachinery.pkg.api.resource.Quantity"]
    assert quantity["type"] == "string" and "oneOf" not in quantity


async def test_documents_may_be_kept_by_their_hash(api: Any) -> None:
    url = (await api.get("/openapi/v3")).json["paths"]["apis/apps/v1"]["serverRelativeURL"]
    answer = await api.get(url)
    headers = dict(answer.headers)
    assert headers["cache-control"] == "public, immutable" and "expires" in headers
    assert url.endswith(headers["etag"].strip('"'))
    plain = await api.get("/openapi/v3/apis/apps/v1")
    assert plain.body == answer.body and "cache-control" not in dict(plain.headers)
    old = await api.get("/openapi/v3/apis/apps/v1?hash=00")
    assert (old.status, dict(old.headers)["location"]) == (301, url)


@pytest.mark.parametrize("path", ["/openapi/v2", "/openapi/v3", "/openapi/v3/api/v1"])
async def test_forms(api: Any, path: str) -> None:
    protobuf = "application/com.github.proto-openapi.spec.v{}@v1.0+protobuf"
    assert (await api.get(path, accept=protobuf.format(3))).status == 406
    assert (await api.get(path, accept=f"{protobuf.format(3)},*/*")).status == 200
    assert (await api.get(path)).json
    answer = await api.get(path, accept=protobuf.format(2))
    if path.endswith("v2"):
        assert dict(answer.headers)["content-type"] == protobuf.format(2).replace("@", ".")  # Go reads no "@"
        assert answer.body.startswith(b"\x0a\x032.0") and len(answer.body) > 300_000
    else:
        assert answer.status == 406
