from __future__ import annotations

from typing import Any

import pytest

from cli.tables import Columns, View, cell_text, header, rows

TABLE: dict[str, Any] = {
    "kind": "Table",
    "columnDefinitions": [
        {"name": "Name", "type": "string", "format": "name", "priority": 0},
        {"name": "Ready", "type": "string", "priority": 0},
        {"name": "IP", "type": "string", "priority": 1},
    ],
    "rows": [
        {
            "cells": ["web-1", "1/1", "10.244.1.2"],
            "object": {"metadata": {"namespace": "shop", "labels": {"b": "2", "app": "web"}}},
        },
        {"cells": ["a-longer-name", "0/1", None], "object": {"metadata": {"namespace": "shop"}}},
    ],
}


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (View(), ["NAME            READY", "web-1           1/1", "a-longer-name   0/1"]),
        (
            View(wide=True),
            ["NAME            READY   IP", "web-1           1/1     10.244.1.2", "a-longer-name   0/1     "],
        ),
        (
            View(namespace=True),
            [
                "NAMESPACE   NAME            READY",
                "shop        web-1           1/1",
                "shop        a-longer-name   0/1",
            ],
        ),
        (
            View(kind_prefix="pod"),
            ["NAME                READY", "pod/web-1           1/1", "pod/a-longer-name   0/1"],
        ),
        (
            View(show_labels=True),
            [
                "NAME            READY   LABELS",
                "web-1           1/1     app=web,b=2",
                "a-longer-name   0/1     <none>",
            ],
        ),
        (
            View(label_columns=["app"]),
            ["NAME            READY   APP", "web-1           1/1     web", "a-longer-name   0/1     "],
        ),
    ],
)
def test_tables_look_as_in_kubectl(view: View, expected: list[str]) -> None:
    assert Columns().render([header(TABLE, view), *rows(TABLE, view)]) == expected


def test_rows_that_come_later_stand_under_the_earlier_ones() -> None:
    columns = Columns()
    assert columns.render([["NAME", "X"], ["long-name", "1"]]) == ["NAME        X", "long-name   1"]
    assert columns.render([["a", "2"]]) == ["a           2"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (3, "3"), (True, "true"), ("plain", "plain"), ("two\nlines", "two..."), ("\x1b[31m", "^[[31m")],
)
def test_a_cell_is_one_harmless_line(value: Any, text: str) -> None:
    assert cell_text(value) == text
