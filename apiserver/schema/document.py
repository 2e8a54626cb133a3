"""Request bodies to plain data: JSON, YAML and protobuf. Whatever is sent, the work is bounded by the body's size.

Interface: `read_document(body, media_type)` gives a `Document`. Raises BadRequest and UnsupportedMediaType.

Invariants
- The value is a tree at most `MAX_DEPTH` deep: nothing in it is shared, so that a walk costs what the body cost.
- YAML is read event by event, never by recursion (libyaml's composer overflows the stack of C on deep nesting), and
  what aliases and merge keys bring in again is counted: past `MAX_ALIASED` values the document is refused, as go-yaml
  refuses excessive aliasing.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import yaml

from api.errors import BadRequest, UnsupportedMediaType
from apiserver import protobuf

JSON = "application/json"
YAML = "application/yaml"

MAX_DEPTH = 200
"""Objects and arrays inside each other; the deepest built-in field is at about 20."""
MAX_COMPLAINTS = 100
"""How many duplicate fields are named, as in Kubernetes."""
MAX_ALIASED = 10_000
"""Values that aliases and merge keys of one YAML document may repeat together."""


@dataclass
class Document:
    """A parsed body: its value and the duplicate fields the parser would otherwise hide."""

    value: Any
    duplicates: list[str] = field(default_factory=list)


def read_document(body: bytes, media_type: str) -> Document:
    """Parse JSON, YAML or protobuf. Raises BadRequest, and UnsupportedMediaType for any other type."""
    if media_type in ("", JSON) or media_type.endswith("+json"):
        return _read_json(body)
    if media_type in (YAML, "text/yaml") or media_type.endswith("+yaml"):
        return _read_yaml(body)
    if media_type == protobuf.MEDIA_TYPE:
        return _read_protobuf(body)
    raise UnsupportedMediaType(
        f"the body of the request was in an unknown format - accepted media types include: "
        f"{JSON}, {YAML}, {protobuf.MEDIA_TYPE}"
    )


class _TooDeep(ValueError):
    def __init__(self) -> None:
        super().__init__("the document is nested too deeply")


def _refused(form: str, error: Exception) -> BadRequest:
    reason = str(_TooDeep()) if isinstance(error, RecursionError) else " ".join(str(error).split())
    return BadRequest(f"couldn't get version/kind; {form} parse error: {reason}")


def _read_protobuf(body: bytes) -> Document:
    try:
        value = protobuf.read(body)
        _bound_depth(value)
    except (ValueError, RecursionError) as error:
        raise _refused("protobuf", error) from None
    return Document(value)


# --- JSON -------------------------------------------------------------------------------------------------------

_SPACED_COLON = re.compile(rb'"\s+:')
_COLONS = (b" :", b"\n:", b"\r:", b"\t:")


def _read_json(body: bytes) -> Document:
    try:
        value = msgspec.json.decode(body)
        _bound_depth(value, body)
        if not _may_repeat(value, body):
            return Document(value)
        return Document(value, _duplicates(json.loads(body, object_pairs_hook=_Members.of_pairs)))
    except (ValueError, RecursionError) as error:
        raise _refused("json", error) from None


def _bound_depth(value: Any, body: bytes = b"") -> None:
    """Raises when a value is nested too deeply. What `body` opens is the most that can be open at a time."""
    if body and body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise _TooDeep()
        insides = [each.values() if each.__class__ is dict else each for each in level]
        level = [each for inside in insides for each in inside if each.__class__ is dict or each.__class__ is list]


def _may_repeat(value: Any, body: bytes) -> bool:
    """Whether a body may name a member twice. Writing the value again and counting its members is far cheaper than
    parsing twice. No way to write a name or text counts for less than ours, the two left out aside."""
    escaped = b"\\" in body and b'\\\\":' in body
    if escaped or (any(each in body for each in _COLONS) and _SPACED_COLON.search(body)):
        return True
    try:
        return _count_members(body) != _count_members(msgspec.json.encode(value))
    except OverflowError:  # a number beyond 64 bits
        return True


def _count_members(text: bytes) -> int:
    return text.count(b'":') - (text.count(b'\\":') if b"\\" in text else 0)


class _Members(dict[str, Any]):
    """An object that remembers which of its members were given more than once."""

    repeated: list[str]

    @classmethod
    def of_pairs(cls, pairs: list[tuple[str, Any]]) -> _Members:
        self = cls(pairs)
        self.repeated = []
        if len(self) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            self.repeated = [key for key, count in counts.items() if count > 1]
        return self


Steps = tuple[Any, ...]
"""Where a value stands: keys and indexes from the root. Text is made of it only when there is something to say."""


def _duplicates(value: Any) -> list[str]:
    """The paths of duplicate members."""
    found: list[str] = []
    left: list[tuple[Any, Steps]] = [(value, ())]
    while left and len(found) < MAX_COMPLAINTS:
        each, steps = left.pop()
        if isinstance(each, _Members):
            found += [_shown((*steps, key)) for key in each.repeated[:MAX_COMPLAINTS]]
        inside = each.items() if isinstance(each, dict) else enumerate(each) if isinstance(each, list) else ()
        left += [(inner, (*steps, step)) for step, inner in inside if isinstance(inner, dict | list)]
    return found


def _shown(steps: Steps) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step[:100]}" for step in steps)
    return text.removeprefix(".")


# --- YAML -------------------------------------------------------------------------------------------------------


def _read_yaml(body: bytes) -> Document:
    loader = None
    try:
        loader = yaml.CSafeLoader(body)
        value, duplicates = _Builder(loader).document()
    except (yaml.YAMLError, ValueError) as error:
        raise _refused("yaml", error) from None
    finally:
        if loader is not None:
            loader.dispose()
    return Document(value, duplicates)


@dataclass(slots=True)
class _Open:
    """An object or array whose end has not been read yet."""

    value: Any
    anchor: str | None
    key: str | None = None
    own: set[str] = field(default_factory=set)
    """Of an object: the keys it gives itself, which win over those merged in."""
    merging: bool = False


class _Builder:
    """One document from the parser's events, with the rules of YAML 1.1 for scalars, as Kubernetes reads it."""

    def __init__(self, loader: yaml.CSafeLoader) -> None:
        self.loader = loader
        self.open: list[_Open] = []
        self.anchors: dict[str, Any] = {}
        self.duplicates: list[str] = []
        self.aliased = 0
        self.result: Any = None

    def document(self) -> tuple[Any, list[str]]:
        documents = 0
        for event in self._events():
            match event:
                case yaml.DocumentStartEvent():
                    documents += 1
                    if documents > 1:
                        raise ValueError("expected a single document")
                case yaml.ScalarEvent():
                    self._scalar(event)
                case yaml.MappingStartEvent():
                    self._begin({}, event.anchor)
                case yaml.SequenceStartEvent():
                    self._begin([], event.anchor)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    ended = self.open.pop()
                    self._place(ended.value, ended.anchor)
                case yaml.AliasEvent():
                    if event.anchor not in self.anchors:
                        raise ValueError(f"unknown anchor '{event.anchor}' referenced")
                    self._place(self._again(self.anchors[event.anchor], len(self.open)), None)
        return self.result, self.duplicates

    def _events(self) -> Iterator[Any]:
        while self.loader.check_event():
            yield self.loader.get_event()

    def _begin(self, value: Any, anchor: str | None) -> None:
        if len(self.open) >= MAX_DEPTH:
            raise _TooDeep()
        self.open.append(_Open(value, anchor))

    def _scalar(self, event: Any) -> None:
        tag = event.tag
        if tag is None or tag == "!":
            tag = self.loader.resolve(yaml.ScalarNode, event.value, event.implicit)  # type: ignore[no-untyped-call]
        parent = self.open[-1] if self.open else None
        if parent is not None and parent.value.__class__ is dict and parent.key is None and not parent.merging:
            if tag == "tag:yaml.org,2002:merge":
                parent.merging = True
            else:
                self._key(parent, event.value if tag == _TEXT else _name(_plain(self.loader, tag, event.value)))
            return
        self._place(event.value if tag == _TEXT else _plain(self.loader, tag, event.value), event.anchor)

    def _key(self, parent: _Open, key: str) -> None:
        if key in parent.own and len(self.duplicates) < MAX_COMPLAINTS:
            above = [len(each.value) if isinstance(each.value, list) else each.key for each in self.open[:-1]]
            self.duplicates.append(_shown((*above, key)))
        parent.own.add(key)
        parent.key = key

    def _place(self, value: Any, anchor: str | None) -> None:
        """Put a complete value where it belongs."""
        if anchor is not None:
            self.anchors[anchor] = value
        if not self.open:
            self.result = value
            return
        parent = self.open[-1]
        if parent.value.__class__ is list:
            parent.value.append(value)
        elif parent.merging:
            self._merge(parent, value)
            parent.merging = False
        elif parent.key is None:
            self._key(parent, _name(value))
        else:
            parent.value[parent.key] = value
            parent.key = None

    def _merge(self, parent: _Open, value: Any) -> None:
        """`<<`: members of other objects, the first one to have a key wins, and the object's own win over all."""
        for source in value if isinstance(value, list) else [value]:
            if not isinstance(source, dict):
                raise ValueError("map merge requires map or sequence of maps as the value")
            for key, inner in source.items():
                if key not in parent.value:
                    parent.value[key] = self._again(inner, len(self.open))

    def _again(self, value: Any, depth: int) -> Any:
        """A copy of its own, so that nothing is shared, on the document's account."""
        self.aliased += 1
        if self.aliased > MAX_ALIASED:
            raise ValueError("document contains excessive aliasing")
        if depth > MAX_DEPTH:
            raise _TooDeep()
        if value.__class__ is dict:
            return {key: self._again(inner, depth + 1) for key, inner in value.items()}
        return [self._again(inner, depth + 1) for inner in value] if value.__class__ is list else value


_TEXT = "tag:yaml.org,2002:str"
_PREFIX = "tag:yaml.org,2002:"


def _plain(loader: yaml.CSafeLoader, tag: str, text: str) -> Any:
    """A scalar as JSON has it: what JSON has no form for (times, numbers to base 60) stays text."""
    if tag in (f"{_PREFIX}int", f"{_PREFIX}float") and ":" in text:
        return text
    if tag not in _SCALARS:
        return text
    value = loader.construct_object(yaml.ScalarNode(tag, text))
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"unsupported value: {text}")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


_SCALARS = frozenset(f"{_PREFIX}{name}" for name in ("int", "float", "bool", "null", "binary"))


def _name(key: Any) -> str:
    """A key as text; objects and arrays can be none."""
    if isinstance(key, dict | list):
        raise ValueError("a key must be a scalar")
    return key if isinstance(key, str) else json.dumps(key)
