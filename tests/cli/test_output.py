from __future__ import annotations

import pytest

from cli import output as forms
from cli.errors import CliError

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "managedFields": []}, "spec": {"nodeName": "n1"}}
WEB = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("name", "pod/a\ndeployment.apps/web\n"),
        ("jsonpath={.items[*].kind}", "Pod Deployment"),
        ("custom-columns=N:.metadata.name,NODE:.spec.nodeName", "N     NODE\na     n1\nweb   <none>\n"),
        (
            "yaml",
            "apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: a\n"
            "  spec:\n    nodeName: n1\n"
            "- apiVersion: apps/v1\n  kind: Deployment\n  metadata:\n    name: web\nkind: List\nmetadata:\n"
            '  resourceVersion: ""\n',
        ),
    ],
)
def test_several_objects(output: str, text: str) -> None:
    assert forms.render(forms.parse(output), [POD, WEB], as_list=True) == text


def test_one_object_is_printed_as_itself() -> None:
    text = forms.render(forms.parse("json"), [WEB], as_list=False)
    assert text == (
        '{\n    "apiVersion": "apps/v1",\n    "kind": "Deployment",\n'
        '    "metadata": {\n        "name": "web"\n    }\n}\n'
    )


@pytest.mark.parametrize(
    ("path", "names"),
    [(".n", ["c", "b", "a"]), (".metadata.name", ["a", "b", "c"]), (".q", ["a", "c", "b"])],
)
def test_sorting_by_a_field(path: str, names: list[str]) -> None:
    objects = [
        {"metadata": {"name": "a"}, "n": 10},
        {"metadata": {"name": "b"}, "n": 9, "q": "1Gi"},
        {"metadata": {"name": "c"}, "q": "200Mi"},
    ]
    assert [each["metadata"]["name"] for each in forms.ordered(objects, path)] == names


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("xml", 'unable to match a printer suitable for the output format "xml"'),
        ("jsonpath", "template"),
    ],
)
def test_a_form_there_is_not(output: str, message: str) -> None:
    with pytest.raises(CliError, match=message):
        forms.parse(output)


def test_columns_without_a_path() -> None:
    with pytest.raises(CliError, match="unexpected custom-columns spec: NAME"):
        forms.render(forms.parse("custom-columns=NAME"), [POD], as_list=False)
