from __future__ import annotations

import json
from typing import Any

import pytest

from cli.documents import read, to_json, to_yaml
from cli.errors import CliError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 2020-01-01", "2020-01-01"),
        ("a: 2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z"),
        ("a: 10:30", "10:30"),
        ("a: 1e3", 1000),
        ("a: 1.5", 1.5),
        ("a: 0777", 511),
        ("a: 0x10", 16),
        ("a: -3", -3),
        ("a: yes", True),
        ("a: 'yes'", "yes"),
        ("a: ~", None),
        ("a: 100m", "100m"),
        ("a: 1_000", "1_000"),
        ("a: 1.2.3", "1.2.3"),
        ("a: =", "="),
    ],
)
def test_yaml_is_read_as_kubernetes_reads_it(text: str, value: Any) -> None:
    assert list(read(text, source="x")) == [{"a": value}]


def test_documents_of_a_file() -> None:
    assert list(read("---\na: 1\n---\n# nothing\n---\nb: 2\n", source="x")) == [{"a": 1}, {"b": 2}]
    assert list(read('{"a":\t1}', source="x")) == [{"a": 1}]
    assert list(read("", source="x")) == []


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", 3, "did not find"),
        ("a: b: c\n", 1, "mapping values are not allowed"),
        ("a: 1\n\tb: 2\n", 2, "tab character"),
        ("a: 1\nb: 2\na: 3\n", 3, 'key "a" already set'),
        ("a: *nothing\n", 1, "undefined alias"),
        ('{"a": 1\n', 2, "did not find"),
    ],
)
def test_a_broken_document_names_file_and_line(text: str, line: int, problem: str) -> None:
    with pytest.raises(CliError) as caught:
        read(text, source="web.yaml")
    message = str(caught.value)
    assert "web.yaml" in message and f"line {line}:" in message and problem in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "a: plain\n"),
        ("8080", 'a: "8080"\n'),
        ("yes", 'a: "yes"\n'),
        ("null", 'a: "null"\n'),
        ("", 'a: ""\n'),
        ("1e3", 'a: "1e3"\n'),
        ("2020-01-01", 'a: "2020-01-01"\n'),
        ("x\ny\n", "a: |\n  x\n  y\n"),
        ("a: b", "a: 'a: b'\n"),
        ("*", "a: '*'\n"),
        ([{"b": 1}], "a:\n- b: 1\n"),
        ({}, "a: {}\n"),
        (True, "a: true\n"),
        (None, "a: null\n"),
    ],
)
def test_written_yaml_has_kubernetes_quoting(value: Any, text: str) -> None:
    assert to_yaml({"a": value}) == text


@pytest.mark.parametrize(
    "value", ["on", "1.0", "0x1f", "2020-01-01T00:00:00Z", "12:30", "~", " x", "- a", "a\n\nb", "ü"]
)
def test_what_is_written_is_read_back(value: str) -> None:
    assert list(read(to_yaml({"a": value}), source="x")) == [{"a": value}]
    assert json.loads(to_json({"a": value})) == {"a": value}
