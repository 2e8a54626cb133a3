from __future__ import annotations

from typing import Any

import pytest

from cli.jsonpath import PathError, find, render

PODS: dict[str, Any] = {
    "kind": "List",
    "items": [
        {
            "metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "web"}},
            "spec": {"containers": [{"name": "x", "image": "i1"}, {"name": "y", "image": "i2"}]},
            "status": {"ready": True, "restarts": 0, "conditions": [{"type": "Ready", "status": "True"}]},
        },
        {
            "metadata": {"name": "b"},
            "spec": {"containers": [{"name": "z", "image": "i3"}]},
            "status": {"ready": False, "restarts": 7, "conditions": [{"type": "Ready", "status": "False"}]},
        },
    ],
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{.items[*].metadata.name}", "a b"),
        ("{$.items[0].metadata.name}", "a"),
        ("{.items[-1].metadata.name}", "b"),
        ("{.items[0:1].metadata.name}", "a"),
        ("{.items[*].spec.containers[*].image}", "i1 i2 i3"),
        ("{.items[0].spec.containers[0,1].name}", "x y"),
        ("{..image}", "i1 i2 i3"),
        ('{range .items[*]}{.metadata.name}{"\\t"}{.status.restarts}{"\\n"}{end}', "a\t0\nb\t7\n"),
        ("{range .items[*]}{range .spec.containers[*]}{.name},{end};{end}", "x,y,;z,;"),
        ('{.items[?(@.metadata.name=="b")].status.restarts}', "7"),
        ('{.items[?(@.status.conditions[0].status=="True")].metadata.name}', "a"),
        ("{.items[?(@.status.restarts>3)].metadata.name}", "b"),
        ("{.items[?(@.status.ready==true)].metadata.name}", "a"),
        ("{.items[?(@.metadata.labels)].metadata.name}", "a"),
        (r"{.items[0].metadata.labels.app\.kubernetes\.io/name}", "web"),
        ("{.items[0].metadata.labels['app.kubernetes.io/name']}", "web"),
        ("{.items[0].metadata['name']}", "a"),
        ("{.items[0].spec.containers[0]}", '{"image":"i1","name":"x"}'),
        ("{.items[0].status.ready}", "true"),
        ("name: {.items[0].metadata.name}!", "name: a!"),
        ("{.items[0].nothing}", ""),
        ("", ""),
    ],
)
def test_templates(template: str, text: str) -> None:
    assert render(template, PODS) == text


@pytest.mark.parametrize("template", ["{.items[*", "{range .items[*]}x", "{end}", "{.items[x]}", "{.a[?(@.b==c)]}"])
def test_a_template_that_cannot_be_read_is_one_error(template: str) -> None:
    with pytest.raises(PathError):
        render(template, {"items": [1], "a": [{"b": 1}]})


def test_a_missing_field_can_be_an_error() -> None:
    assert find(".status.nothing", PODS["items"][0]) == []
    with pytest.raises(PathError, match="nothing is not found"):
        find(".status.nothing", PODS["items"][0], allow_missing=False)
