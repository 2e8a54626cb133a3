from __future__ import annotations

from typing import Any

import pytest

from cli import paths
from cli.errors import CliError

PODS: dict[str, Any] = {
    "kind": "List",
    "items": [
        {
            "metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "x", "a-b": "1"}},
            "n": 3,
            "ok": True,
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}],
        },
        {"metadata": {"name": "b", "labels": {}}, "n": 5, "ok": False},
    ],
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{.items[*].metadata.name}", "a b"),
        ("{$.kind}", "List"),
        ("{ .kind }", "List"),
        ("{kind}", "List"),
        ("kind is {.kind}!", "kind is List!"),
        ("{.items[0].metadata.labels}", '{"a-b":"1","app.kubernetes.io/name":"x"}'),
        ("{.items[0].metadata.labels.a-b}", "1"),
        (r"{.items[0].metadata.labels.app\.kubernetes\.io/name}", "x"),
        ("{.items[0].metadata.labels['app.kubernetes.io/name']}", "x"),
        ('{.items[0].conditions[?(@.type=="Ready")].status}', "True"),
        ("{.items[?(@.n>3)].metadata.name}", "b"),
        ("{.items[-1].metadata.name}", "b"),
        ("{.items[0,1].n}", "3 5"),
        ("{.items[:1].n}", "3"),
        ("{..name}", "a b"),
        ("{.items[*].ok}", "true false"),
        ("{.missing.entirely}", ""),
        ('{range .items[*]}{.metadata.name}{"\\t"}{.n}{"\\n"}{end}', "a\t3\nb\t5\n"),
        ("{range .items[*]}[{range .conditions[*]}{.type},{end}]{end}.", "[Ready,Other,][]."),
        ("{range .missing[*]}{.x}{end}after", "after"),
        ("{range .items[*]}{$.kind} {end}", "List List "),
        ("", ""),
    ],
)
def test_what_kubectl_makes_of_it(template: str, text: str) -> None:
    assert paths.render(template, PODS) == text


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{.items", "unclosed action"),
        ("{range .items[*]}x", "missing {end}"),
        ("x{end}", "nothing to end"),
        ("{.items[}", "error parsing jsonpath"),
    ],
)
def test_what_makes_no_sense(template: str, message: str) -> None:
    with pytest.raises(CliError, match=message):
        paths.render(template, PODS)
