from __future__ import annotations

from pathlib import Path

import pytest

from cli import printers
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
    assert printers.render(printers.parse(output), [POD, WEB], as_list=True) == text


def test_one_object_is_printed_as_itself() -> None:
    text = printers.render(printers.parse("json"), [WEB], as_list=False)
    assert text == (
        '{\n    "apiVersion": "apps/v1",\n    "kind": "Deployment",\n'
        '    "metadata": {\n        "name": "web"\n    }\n}\n'
    )


def test_formats_can_come_from_files(tmp_path: Path) -> None:
    file = tmp_path / "columns"
    file.write_text("NAME          NODE\n.metadata.name .spec.nodeName\n")
    form = printers.parse(f"custom-columns-file={file}")
    assert printers.render(form, [POD], as_list=False) == "NAME   NODE\na      n1\n"


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("xml", 'unable to match a printer suitable for the output format "xml"'),
        ("jsonpath", "template"),
        ("jsonpath-file=/nowhere", "/nowhere"),
    ],
)
def test_a_form_there_is_not(output: str, message: str) -> None:
    with pytest.raises(CliError, match=message):
        printers.parse(output)


def test_columns_without_a_path() -> None:
    with pytest.raises(CliError, match="unexpected custom-columns spec: NAME"):
        printers.render(printers.parse("custom-columns=NAME"), [POD], as_list=False)
