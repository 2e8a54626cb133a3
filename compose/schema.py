"""The official JSON schema of Compose files, which compose-spec.json beside this file is (Apache-2.0).

    check(document, file)    raises ComposeError for what no Compose would read

Unknown keys pass: they are reported as ignored, as a newer Compose may know them.
It is schema/compose-spec.json of github.com/compose-spec/compose-go, as the PyPI package check-jsonschema 0.39 has it.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from compose.document import NOWHERE, Map, Mark, Tagged
from compose.errors import ComposeError


def check(document: Map, file: str) -> None:
    from jsonschema.exceptions import best_match

    error = best_match(_validator().iter_errors(plain(document)))
    if error is None:
        return
    path = [str(each) for each in error.absolute_path]
    mark = _mark(document, path) or Mark(file, 1)
    raise ComposeError(f"{mark}: {'.'.join(path) or 'the file'}: {_short(error)}")


def _short(error: Any) -> str:
    """The validator's words, without the value it may quote at length."""
    if error.validator == "type":
        wanted = error.validator_value
        return f"must be {wanted if isinstance(wanted, str) else ' or '.join(wanted)}"
    text = str(error.message)
    return text if len(text) < 200 else f"does not fit the specification ({error.validator})"


def _mark(value: Any, path: list[str]) -> Mark | None:
    """The line of the last key on the path that has one."""
    found = None
    for step in path:
        if isinstance(value, Map):
            found = value.mark(step) if value.mark(step) is not NOWHERE else found
            value = value.get(step)
        elif isinstance(value, list):
            value = value[int(step)]
    return found


def plain(value: Any) -> Any:
    """Without marks and tags: what the schema is about."""
    if isinstance(value, Tagged):
        return None if value.tag == "!reset" else plain(value.value)
    if isinstance(value, dict):
        kept = {key: each for key, each in value.items() if not (isinstance(each, Tagged) and each.tag == "!reset")}
        return {key: plain(each) for key, each in kept.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


@lru_cache(maxsize=1)
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(_tolerant(json.loads(Path(__file__).with_name("compose-spec.json").read_text())))


def _tolerant(schema: Any) -> Any:
    """The schema without what forbids unknown keys."""
    if isinstance(schema, list):
        return [_tolerant(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    forbidding = ("additionalProperties", "unevaluatedProperties")
    kept = {key: each for key, each in schema.items() if not (key in forbidding and each is False)}
    return {"anyOf" if key == "oneOf" else key: _tolerant(each) for key, each in kept.items()}
