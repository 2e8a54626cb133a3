"""A kind added while the server runs: plain data under a JSON schema, used in every way, and gone again."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from lightkube.resources.core_v1 import Pod

from api.resource import ResourceInfo
from apiserver.registry import rules
from apiserver.registry.columns import AGE, NAME, Column, at
from apiserver.registry.kind import Conversion, Kind, Selectable
from apiserver.registry.model import Documents
from apiserver.storage.cache import Gone
from apiserver.verbs.scale import Scaling, scaled
from apiserver.verbs.status import STATUS

SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "A widget of the workshop.",
    "properties": {
        "spec": {
            "type": "object",
            "description": "What is wanted.",
            "properties": {
                "size": {"type": "integer", "description": "How many there should be."},
                "colour": {"type": "string"},
                "parts": {"type": "array", "items": {"type": "string"}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        },
        "status": {"type": "object", "properties": {"size": {"type": "integer"}, "selector": {"type": "string"}}},
    },
}


def widget_kind(version: str = "v2", conversion: Conversion | None = None) -> Kind:
    info = ResourceInfo("lab.minik.dev", version, "Widget", "widgets", namespaced=True)
    return Kind(
        Documents(info, SCHEMA),
        short_names=("wd",),
        categories=("all",),
        subresources=(STATUS, scaled(Scaling("spec.size", "status.size", "status.selector"))),
        selectable=("spec.colour", Selectable("big", "spec.free.big", absent="false")),
        columns=(NAME, Column("Size", at("spec.size"), "integer"), AGE),
        counts_generations=True,
        rules=(rules.at_least("spec.size", 0), rules.one_of("spec.colour", "red", "blue")),
        immutable=("spec.colour",),
        conversion=conversion,
    )


ROOT = "/apis/lab.minik.dev/v2"
WIDGETS = f"{ROOT}/namespaces/default/widgets"


def widget(name: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"app": name}}
    return {"apiVersion": "lab.minik.dev/v2", "kind": "Widget", "metadata": metadata, "spec": spec}


@pytest.fixture
def kind(api) -> Kind:
    kind = widget_kind()
    api.backend.registry.add(kind)
    return kind


class TestObjects:
    async def test_create_get_and_list_by_selectors(self, api, kind):
        made = await api.post(WIDGETS, widget("a", size=2, colour="red", free={"big": True, "deep": {"x": [1]}}))
        assert made.status == 201, made.message
        assert made.json["metadata"]["generation"] == 1 and made.json["spec"]["free"] == {
            "big": True,
            "deep": {"x": [1]},
        }
        assert (await api.get(f"{WIDGETS}/a")).json == made.json
        await api.post(WIDGETS, widget("b", size=1, colour="blue"))
        for query in ("labelSelector=app%3Da", "fieldSelector=spec.colour%3Dred", "fieldSelector=big%3Dtrue"):
            found = (await api.get(f"{ROOT}/widgets?{query}")).json
            assert found["kind"] == "WidgetList" and [each["metadata"]["name"] for each in found["items"]] == ["a"]

    async def test_what_is_wrong_is_refused(self, api, kind):
        answer = await api.post(WIDGETS, widget("a", size=-1, colour="green"))
        assert answer.status == 422
        assert "spec.size: Invalid value: -1" in answer.message
        assert 'spec.colour: Unsupported value: "green"' in answer.message
        answer = await api.post(f"{WIDGETS}?fieldValidation=Strict", widget("a", sise=1))
        assert (answer.status, "sise" in answer.message) == (400, True)
        await api.post(WIDGETS, widget("a", colour="red"))
        answer = await api.patch(f"{WIDGETS}/a", {"spec": {"colour": "blue"}}, "merge-patch+json")
        assert answer.status == 422 and "field is immutable" in answer.message

    @pytest.mark.parametrize(
        ("kind_of_patch", "body"),
        [
            ("merge-patch+json", {"spec": {"size": 5}}),
            ("json-patch+json", [{"op": "replace", "path": "/spec/size", "value": 5}]),
            ("apply-patch+yaml", {"apiVersion": "lab.minik.dev/v2", "kind": "Widget", "spec": {"size": 5}}),
        ],
    )
    async def test_patches(self, api, kind, kind_of_patch, body):
        await api.post(WIDGETS, widget("a", size=2, parts=["x"]))
        query = "?fieldManager=me&force=true" if kind_of_patch.startswith("apply") else ""
        answer = await api.patch(f"{WIDGETS}/a{query}", body, kind_of_patch)
        assert answer.status == 200, answer.message
        assert answer.json["spec"] == {"size": 5, "parts": ["x"]} and answer.json["metadata"]["generation"] == 2

    async def test_strategic_merge_is_not_for_kinds_without_a_class(self, api, kind):
        await api.post(WIDGETS, widget("a", size=2))
        assert (await api.patch(f"{WIDGETS}/a", {"spec": {"size": 5}})).status == 415

    async def test_scale_and_status_are_apart(self, api, kind):
        await api.post(WIDGETS, widget("a", size=2) | {"status": {"size": 9}})
        body = await api.get(f"{WIDGETS}/a")
        assert "status" not in body.json
        status = {"status": {"size": 1, "selector": "app=a"}, "spec": {"size": 77}}
        assert (await api.patch(f"{WIDGETS}/a/status", status, "merge-patch+json")).json["spec"] == {"size": 2}
        scale = (await api.get(f"{WIDGETS}/a/scale")).json
        assert (scale["spec"], scale["status"]) == ({"replicas": 2}, {"replicas": 1, "selector": "app=a"})
        scale["spec"]["replicas"] = 7
        assert (await api.put(f"{WIDGETS}/a/scale", scale)).json["spec"] == {"replicas": 7}
        assert (await api.get(f"{WIDGETS}/a")).json["spec"] == {"size": 7}

    async def test_a_deletion_waits_for_finalizers(self, api, kind):
        held = widget("a")
        held["metadata"]["finalizers"] = ["lab.minik.dev/hold"]
        await api.post(WIDGETS, held)
        assert "deletionTimestamp" in (await api.delete(f"{WIDGETS}/a")).json["metadata"]
        await api.patch(f"{WIDGETS}/a", {"metadata": {"finalizers": None}}, "merge-patch+json")
        assert (await api.get(f"{WIDGETS}/a")).status == 404


class TestViews:
    async def test_a_table(self, api, kind):
        await api.post(WIDGETS, widget("a", size=2))
        table = (await api.get(WIDGETS, accept="application/json;as=Table;g=meta.k8s.io;v=v1")).json
        assert [each["name"] for each in table["columnDefinitions"]] == ["Name", "Size", "Age"]
        assert table["rows"][0]["cells"][:2] == ["a", 2]

    async def test_discovery_in_both_forms(self, api, kind):
        listed = (await api.get(ROOT)).json["resources"]
        assert {each["name"] for each in listed} == {"widgets", "widgets/status", "widgets/scale"}
        scale = next(each for each in listed if each["name"] == "widgets/scale")
        assert (scale["group"], scale["version"], scale["kind"]) == ("autoscaling", "v1", "Scale")
        accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        groups = (await api.get("/apis", accept=accept)).json["items"]
        assert "lab.minik.dev" in {each["metadata"]["name"] for each in groups}

    async def test_explain_reads_its_schema(self, api, kind):
        document = (await api.get("/openapi/v3/apis/lab.minik.dev/v2")).json
        schema = document["components"]["schemas"]["dev.minik.lab.v2.Widget"]
        assert schema["x-kubernetes-group-version-kind"][0]["kind"] == "Widget"
        assert schema["properties"]["spec"]["properties"]["size"]["description"] == "How many there should be."
        assert WIDGETS.replace("default", "{namespace}") in document["paths"]

    async def test_a_watch_sees_objects_begin_and_cease_to_match(self, api, kind):
        start = (await api.get(WIDGETS)).json["metadata"]["resourceVersion"]
        path = f"{WIDGETS}?watch=1&resourceVersion={start}&timeoutSeconds=1&fieldSelector=big%3Dtrue"
        watching = asyncio.create_task(api.get(path))
        await api.post(WIDGETS, widget("a", free={"big": True}))
        await api.patch(f"{WIDGETS}/a", {"spec": {"free": {"big": False}}}, "merge-patch+json")
        events = [json.loads(line) for line in (await watching).body.splitlines()]
        assert [each["type"] for each in events] == ["ADDED", "DELETED"]


class TestComingAndGoing:
    async def test_a_kind_that_is_removed_is_gone_everywhere(self, api, kind):
        await api.post(WIDGETS, widget("a", colour="red"))
        cache = api.backend.cache
        watcher = cache.watch(kind.qualified, since=await cache.fresh())
        asking, watching = asyncio.create_task(api.get(f"{WIDGETS}?watch=1")), asyncio.create_task(watcher.next())
        await asyncio.sleep(0)
        api.backend.registry.remove(kind)
        async with asyncio.timeout(5):
            with pytest.raises(Gone):
                await watching
            assert (await asking).status == 404  # it had not begun yet
        for path in (WIDGETS, f"{WIDGETS}/a", f"{WIDGETS}/a/scale", ROOT, "/openapi/v3/apis/lab.minik.dev/v2"):
            assert (await api.get(path)).status == 404, path
        assert (await api.post(WIDGETS, widget("b"))).status == 404

    async def test_what_was_stored_is_there_again_with_the_kind(self, api, kind):
        await api.post(WIDGETS, widget("a", colour="red"))
        await api.get(WIDGETS)  # the cache has it
        api.backend.registry.remove(kind)
        api.backend.registry.add(kind)
        found = (await api.get(f"{WIDGETS}?fieldSelector=spec.colour%3Dred")).json["items"]
        assert [each["metadata"]["name"] for each in found] == ["a"]

    async def test_two_kinds_cannot_be_in_one_place(self, api, kind):
        with pytest.raises(ValueError, match="is served already"):
            api.backend.registry.add(widget_kind())
        assert api.backend.registry.of(Pod).plural == "pods"

    async def test_another_version_of_a_kind_shows_the_same_objects(self, api, kind):
        def renamed(document: dict[str, Any], version: str, was: str, now: str) -> dict[str, Any]:
            spec = dict(document.get("spec") or {})
            if was in spec:
                spec[now] = spec.pop(was)
            return (
                {"apiVersion": f"lab.minik.dev/{version}"}
                | document
                | {
                    "apiVersion": f"lab.minik.dev/{version}",
                    "spec": spec,
                }
            )

        old_schema = json.loads(
            json.dumps(SCHEMA).replace('"size": {"type": "integer", "desc', '"count": {"type": "integer", "desc')
        )
        info = ResourceInfo("lab.minik.dev", "v1", "Widget", "widgets", namespaced=True)
        old = Kind(
            Documents(info, old_schema),
            conversion=Conversion(
                kind,
                to_stored=lambda document: renamed(document, "v2", "count", "size"),
                from_stored=lambda document: renamed(document, "v1", "size", "count"),
            ),
        )
        api.backend.registry.add(old)
        older = WIDGETS.replace("v2", "v1")
        made = await api.post(older, widget("a", count=3) | {"apiVersion": "lab.minik.dev/v1"})
        assert (made.json["apiVersion"], made.json["spec"]) == ("lab.minik.dev/v1", {"count": 3})
        assert (await api.get(f"{WIDGETS}/a")).json["spec"] == {"size": 3}
        patched = await api.patch(f"{older}/a", {"spec": {"count": 4}}, "merge-patch+json")
        assert patched.json["spec"] == {"count": 4}
        assert (await api.get(older)).json["items"][0]["spec"] == {"count": 4}
        preferred = (await api.get("/apis/lab.minik.dev")).json["preferredVersion"]["version"]
        assert preferred == "v2"
        refused = await api.post(older, widget("b", count=-1) | {"apiVersion": "lab.minik.dev/v1"})
        assert refused.status == 422
