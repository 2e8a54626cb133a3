"""YAML and JSON as kubectl reads and writes them.

YAML here is what Kubernetes' own reader makes of it, not what PyYAML would: dates and times of day stay strings,
`1e3` is a number, a key given twice is an error. Written YAML has sorted keys and Kubernetes' quoting. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, ClassVar

import yaml
from yaml.constructor import ConstructorError

from cli.errors import CliError

_BaseLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BaseDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

_INTEGER = re.compile(r"[-+]?(?:0b[01]+|0o?[0-7]+|0x[0-9a-fA-F]+|0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z|[-+]?\.inf\Z|\.nan\Z", re.IGNORECASE)


class Loader(_BaseLoader):  # type: ignore[misc]
    """Reads scalars by the rules of Kubernetes' YAML library."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {
        first: [(tag, pattern) for tag, pattern in entries if tag.rpartition(":")[2] in ("bool", "null", "merge")]
        for first, entries in _BaseLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node.value, str) else repr(key_node.value)
            if key in seen and key_node.tag != "tag:yaml.org,2002:merge":
                raise ConstructorError(None, None, f'key "{key}" already set in map', key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_number(self, node: Any) -> Any:
        text = self.construct_scalar(node)
        digits = text.lstrip("+-").lower()
        base = 0 if digits.startswith(("0x", "0b", "0o")) else 8 if len(digits) > 1 and digits[0] == "0" else 10
        return int(digits, base) * (-1 if text.startswith("-") else 1)

    def construct_decimal(self, node: Any) -> Any:
        value = float(self.construct_scalar(node).lower().replace(".inf", "inf").replace(".nan", "nan"))
        return int(value) if value.is_integer() and abs(value) < 2**53 else value


Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INTEGER, list("-+0123456789"))
Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_number)
Loader.add_constructor("tag:yaml.org,2002:float", Loader.construct_decimal)


class Dumper(_BaseDumper):  # type: ignore[misc]
    """Writes strings that would be read as something else in double quotes, several lines as a block."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_string(dumper: Any, text: str) -> Any:
    style = "|" if "\n" in text else '"' if _reads_as_other(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _reads_as_other(text: str) -> bool:
    """Whether a plain scalar of this text is no string to some YAML reader: a number, a date, yes, null, 1:30."""
    if text in ("", "~", "y", "Y", "n", "N", "<<", "=") or _INTEGER.match(text) or _FLOAT.match(text):
        return True
    resolvers = _BaseLoader.yaml_implicit_resolvers.get(text[0], [])
    return any(pattern.match(text) for tag, pattern in resolvers if not tag.endswith(":yaml"))


Dumper.add_representer(str, _represent_string)


def read(text: str, *, source: str) -> Iterator[Any]:
    """The documents of a YAML or JSON text, empty ones left out. Raises CliError naming source and line."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            return iter([json.loads(text)])
        except ValueError:
            pass  # Several documents, or YAML in flow style: for YAML to judge.
    try:
        return iter([each for each in yaml.load_all(text, Loader=Loader) if each is not None])
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise CliError(f"error parsing {source}: error converting YAML to JSON: yaml: {line}{problem}") from None
    except (ValueError, RecursionError) as error:
        raise CliError(f"error parsing {source}: {error}") from None


def to_yaml(value: Any) -> str:
    return str(yaml.dump(value, Dumper=Dumper, default_flow_style=False, sort_keys=True, allow_unicode=True))


def to_json(value: Any) -> str:
    return json.dumps(value, indent=4, sort_keys=True, ensure_ascii=False) + "\n"
