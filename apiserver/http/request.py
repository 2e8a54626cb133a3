"""What a request asks for: which resource, which verb, which options, which form of answer. Pure.

Interface: `RequestInfo.parse(method, path, query)`, `Request` (everything a handler gets), `negotiate(accept)`.
Kubernetes: k8s.io/apiserver/pkg/endpoints/request (RequestInfo) and handlers/negotiation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl

from api.errors import BadRequest, NotAcceptable
from api.selectors import SelectorError, parse_field_selector
from apiserver.codec import JSON, YAML, FieldValidation

_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_NAMESPACE_SUBRESOURCES = ("status", "finalize")
_SELECTING = ("list", "watch", "deletecollection")
_NO_FIELDS: Mapping[str, str] = MappingProxyType({})


@dataclass(slots=True)
class RequestInfo:
    """A request in the API's own terms; what authorization decides about.

    `is_resource` is False for paths like /healthz or /apis; then only `verb` (lower-case method) and `path` count.
    """

    verb: str
    path: str
    is_resource: bool = False
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    scoped: bool = False
    """Whether the path goes through a namespace (`namespaces/x` itself does not)."""
    tail: tuple[str, ...] = ()
    """What follows the subresource in the path, as in pods/x/proxy/<tail>."""
    fields: Mapping[str, str] = field(default_factory=lambda: _NO_FIELDS)
    """What a list, watch or deletecollection is limited to by field selector; `metadata.name` is its `name` too."""

    @property
    def qualified(self) -> str:
        return f"{self.resource}.{self.group}" if self.group else self.resource

    @classmethod
    def parse(cls, method: str, path: str, query: Mapping[str, str]) -> RequestInfo:
        info = cls(verb=method.lower(), path=path)
        parts = [each for each in path.split("/") if each]
        if len(parts) >= 3 and parts[0] == "api":
            info.version, rest = parts[1], parts[2:]
        elif len(parts) >= 4 and parts[0] == "apis":
            info.group, info.version, rest = parts[1], parts[2], parts[3:]
        else:
            return info
        info.is_resource = True
        if rest[0] == "namespaces" and len(rest) > 1 and not info.group:
            info._namespace_path(rest)
        elif rest[0] == "namespaces" and len(rest) > 2:
            info.namespace, info.scoped = rest[1], True
            info._resource_path(rest[2:])
        else:
            info._resource_path(rest)
        info.verb = _VERBS.get(method, method.lower())
        if not info.name:
            info.verb = _collection_verb(info.verb, query)
            if "fieldSelector" in query and info.verb in _SELECTING:
                info.fields = _exact_fields(query["fieldSelector"])
                info.name = info.fields.get("metadata.name", "")
        return info

    def _namespace_path(self, rest: list[str]) -> None:
        self.namespace = rest[1]
        if len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
            self.scoped = True
            self._resource_path(rest[2:])
        else:
            self._resource_path(rest)

    def _resource_path(self, rest: list[str]) -> None:
        self.resource = rest[0]
        self.name = rest[1] if len(rest) > 1 else ""
        self.subresource = rest[2] if len(rest) > 2 else ""
        self.tail = tuple(rest[3:])


def _collection_verb(verb: str, query: Mapping[str, str]) -> str:
    if verb == "get":
        return "watch" if truth(query.get("watch")) else "list"
    return "deletecollection" if verb == "delete" else verb


def _exact_fields(text: str) -> dict[str, str]:
    """The fields that must have one value. A selector that cannot be read limits nothing; the handler refuses it."""
    with contextlib.suppress(SelectorError):
        conditions = parse_field_selector(text).conditions
        return {path: value for path, equal, value in conditions if equal}
    return {}


def truth(text: str | None) -> bool:
    """A boolean query parameter as Go's clients write it; present but empty counts as true."""
    return text is not None and text.lower() not in ("0", "false", "f")


@dataclass(slots=True)
class Request:
    """One call of the resource API, read in full."""

    info: RequestInfo
    query: Mapping[str, str]
    headers: Mapping[bytes, bytes]
    body: bytes = b""
    raw_query: bytes = b""
    subprotocols: Sequence[str] | None = None
    """Those a WebSocket offers; None: the request is no WebSocket."""
    user: Any = None
    authorize: Callable[[str, str], None] = lambda verb, name: None
    """`(verb, name)`: ask again when the object's name is known, or turns out to be created. Raises Forbidden."""

    @property
    def media_type(self) -> str:
        return self.headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()

    @property
    def accept(self) -> str:
        return self.headers.get(b"accept", b"").decode("latin-1")

    @property
    def dry_run(self) -> bool:
        return is_dry_run(self.query.get("dryRun"))

    @property
    def field_validation(self) -> FieldValidation:
        text = self.query.get("fieldValidation") or FieldValidation.WARN
        try:
            return FieldValidation(text)
        except ValueError:
            raise BadRequest(
                f'fieldValidation: Unsupported value: "{text}": supported values: "Ignore", "Strict", "Warn"'
            ) from None

    @property
    def field_manager(self) -> str:
        """Who writes: the fieldManager parameter, or the client program's name, as in Kubernetes."""
        agent = self.headers.get(b"user-agent", b"").decode("latin-1")
        return self.query.get("fieldManager") or agent.partition("/")[0] or "unknown"

    def integer(self, name: str) -> int | None:
        """A non-negative whole number among the query parameters. Raises BadRequest."""
        text = self.query.get(name)
        if not text:
            return None
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise BadRequest(f'{name}: Invalid value: "{text}": must be a non-negative integer')
        return int(text)


def is_dry_run(text: str | None) -> bool:
    if not text:
        return False
    if text != "All":
        raise BadRequest(f'dryRun: Unsupported value: "{text}": supported values: "All"')
    return True


def parse_query(raw: bytes) -> dict[str, str]:
    """Query parameters; of one given twice the first counts, as with Go's `Values.Get`."""
    if not raw:
        return {}
    result: dict[str, str] = {}
    for key, value in parse_qsl(raw.decode("latin-1"), keep_blank_values=True):
        result.setdefault(key, value)
    return result


# --- the form of the answer -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Form:
    """How the client wants objects: `transform` is "", Table or PartialObjectMetadata."""

    media_type: str = JSON
    transform: str = ""
    version: str = ""


_ANY_JSON = ("*/*", "application/*", JSON)
_TRANSFORMS = {
    "Table": "Table",
    "PartialObjectMetadata": "PartialObjectMetadata",
    "PartialObjectMetadataList": "PartialObjectMetadata",
}


@lru_cache(maxsize=256)
def negotiate(accept: str) -> Form:
    """The first acceptable form. Raises NotAcceptable, naming what there is."""
    if not accept:
        return Form()
    for option in accept.split(","):
        media, *pairs = (part.strip() for part in option.split(";"))
        parameters = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        if media not in (*_ANY_JSON, YAML):
            continue
        wanted = parameters.get("as")
        if wanted is None:
            return Form(YAML if media == YAML else JSON)
        if wanted in _TRANSFORMS and parameters.get("g") == "meta.k8s.io" and parameters.get("v") in ("v1", "v1beta1"):
            return Form(YAML if media == YAML else JSON, _TRANSFORMS[wanted], parameters["v"])
    raise NotAcceptable(f"only the following media types are accepted: {JSON}, {YAML}")
