"""YAML that remembers its lines.

    read(text, file) -> the documents of a file; mappings are Maps, which know where each key was written
Scalars are read as Compose reads them (YAML 1.2 with octals): `yes` and `22:22` are text, a key given twice is wrong.
Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import yaml

from compose.errors import ComposeError

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Mark(NamedTuple):
    """A line of a file; it prints as editors take it."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.file else ""


NOWHERE = Mark("", 0)


class Map(dict[str, Any]):
    """A mapping whose keys know their lines."""

    def __init__(self, data: Mapping[str, Any] | None = None, *, marks: Mapping[str, Mark] | None = None) -> None:
        super().__init__(data or {})
        self.marks: dict[str, Mark] = dict(marks or {})

    def mark(self, key: str, default: Mark = NOWHERE) -> Mark:
        return self.marks.get(key, default)


@dataclass(frozen=True)
class Tagged:
    """`!reset` (take away what another file says) or `!override` (put in its place, do not merge)."""

    tag: str
    value: Any


class _Loader(_Base):  # type: ignore[misc]
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}
    file = ""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        return super().construct_object(node, deep=True)  # a mapping is complete when it is handed out


def _map(loader: Any, node: Any) -> Map:
    own = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
    if twice := next((each for each in own if own.count(each) > 1), None):
        raise ComposeError(f'{Mark(loader.file, node.start_mark.line + 1)}: mapping key "{twice}" already defined')
    loader.flatten_mapping(node)
    result = Map()
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise ComposeError(f"{Mark(loader.file, key_node.start_mark.line + 1)}: a key must be a plain word")
        result[key_node.value] = loader.construct_object(value_node)
        result.marks[key_node.value] = Mark(loader.file, key_node.start_mark.line + 1)
    return result


def _integer(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node).replace("_", "")
    digits = text.lstrip("+-")
    value = int(digits, 0) if digits[1:2].isalpha() else int(digits, 8 if digits[0] == "0" and digits != "0" else 10)
    return -value if text.startswith("-") else value


def _tagged(loader: Any, node: Any) -> Tagged:
    if isinstance(node, yaml.MappingNode):
        return Tagged(node.tag, _map(loader, node))
    if isinstance(node, yaml.SequenceNode):
        return Tagged(node.tag, loader.construct_sequence(node, deep=True))
    return Tagged(node.tag, loader.construct_scalar(node))


def _resolve(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


_resolve("bool", r"(?:true|True|TRUE|false|False|FALSE)\Z", "tTfF")
_resolve("null", r"(?:~|null|Null|NULL|)\Z", "~nN")
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"\Z"), [""])
_resolve("int", r"[-+]?(?:0o[0-7]+|0[0-7]*|0x[0-9a-fA-F]+|0b[01]+|[1-9][0-9_]*)\Z", "-+0123456789")
_resolve("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z", "-+.0123456789")
_resolve("merge", r"<<\Z", "<")
_Loader.add_constructor("tag:yaml.org,2002:map", _map)
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: float(loader.construct_scalar(node)))
_Loader.add_constructor("!reset", _tagged)
_Loader.add_constructor("!override", _tagged)


def read(text: str, file: str) -> Iterator[Map]:
    """The documents of a Compose file, empty ones left out. Raises ComposeError with file and line."""
    loader = _Loader(text)
    loader.file = file
    try:
        while loader.check_data():
            found = loader.get_data()
            if found is None:
                continue
            if not isinstance(found, Map):
                raise ComposeError(f"{file}: top-level object must be a mapping")
            yield found
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = Mark(file, mark.line + 1) if mark else file
        raise ComposeError(f"{place}: {getattr(error, 'problem', None) or error}") from None
    except (RecursionError, ValueError) as error:
        raise ComposeError(f"{file}: {error}") from None
    finally:
        loader.dispose()


def mapped(value: Any, change: Any) -> Any:
    """The same document with every text changed by `change(text, mark)`."""
    return _mapped(value, change, NOWHERE)


def _mapped(value: Any, change: Any, mark: Mark) -> Any:
    if isinstance(value, Map):
        return Map({k: _mapped(v, change, value.mark(k, mark)) for k, v in value.items()}, marks=value.marks)
    if isinstance(value, list):
        return [_mapped(each, change, mark) for each in value]
    if isinstance(value, Tagged):
        return Tagged(value.tag, _mapped(value.value, change, mark))
    return change(value, mark) if isinstance(value, str) else value
