from __future__ import annotations

from typing import Any

import pytest

from cli.errors import CliError, Failures, StatusError, not_found


def status(reason: str, message: str, **more: Any) -> StatusError:
    return StatusError({"kind": "Status", "reason": reason, "message": message, **more})


DETAILS = {
    "name": "web",
    "kind": "Deployment",
    "group": "apps",
    "causes": [{"field": "spec.replicas", "message": "Invalid value: -1: must be greater than or equal to 0"}],
}


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (CliError("no"), "error: no"),
        (CliError("error: no"), "error: no"),
        (not_found("pods", "x"), 'Error from server (NotFound): pods "x" not found'),
        (status("", "odd"), "Error from server: odd"),
        (status("Unauthorized", "Unauthorized"), "error: You must be logged in to the server (Unauthorized)"),
        (
            status("BadRequest", "no").within('error when creating "x.yaml"'),
            'Error from server (BadRequest): error when creating "x.yaml": no',
        ),
        (
            status("Invalid", "long", details=DETAILS),
            'The Deployment "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0',
        ),
        (
            status(
                "Invalid", "long", details={**DETAILS, "causes": [*DETAILS["causes"], {"field": "a", "message": "b"}]}
            ),
            'The Deployment "web" is invalid: \n'
            "* spec.replicas: Invalid value: -1: must be greater than or equal to 0\n* a: b",
        ),
        (
            status("Invalid", "the server rejected our request"),
            "The request is invalid: the server rejected our request",
        ),
        (
            Failures([CliError("a"), not_found("pods", "x")]),
            'error: a\nError from server (NotFound): pods "x" not found',
        ),
    ],
)
def test_errors_read_as_in_kubectl(error: CliError, line: str) -> None:
    assert error.line() == line
