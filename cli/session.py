"""The conversation with one API server, in Kubernetes' terms: kinds, objects, lists, watches.

    connect()      the session the command line and the kubeconfig name, one per run
    Session        calls; failure Statuses become errors.StatusError, the server's warnings are printed
    Ref            one object: kind, name, namespace
Objects are plain dicts. `client/blocking.py` carries the bytes.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from cli import discovery
from cli.discovery import Kind, Kinds
from cli.errors import CliError, StatusError
from client import kubeconfig
from client.blocking import Answer, Transport
from client.errors import Unreachable
from client.kubeconfig import Access

Object = dict[str, Any]

JSON = "application/json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
PAGE = "500"
"""Objects per answer of a long list, as kubectl asks for."""

RECONNECT_SECONDS = 1.0
"""A server that ends watches faster than this is given a moment."""

PATIENCE_SECONDS = 30.0
"""How long a command that follows something puts up with a server that is away."""

GIVEN: dict[str, str | None] = {}
"""--kubeconfig, --context, --namespace, --server and --token, as far as the command line has them."""

_WARNING = re.compile(r'\d{3} \S+ "((?:[^"\\]|\\.)*)"')


@lru_cache(maxsize=1)
def connect() -> Session:
    """The API server to talk to. Raises ConfigError when no kubeconfig says which."""
    return Session(chosen_access(), namespace=GIVEN.get("namespace"))


def chosen_access() -> Access:
    """The kubeconfig's context as the command line has it. Raises ConfigError."""
    access = kubeconfig.load(GIVEN.get("kubeconfig"), context=GIVEN.get("context"))
    if server := GIVEN.get("server"):
        access = replace(access, server=server.rstrip("/"))
    if token := GIVEN.get("token"):
        access = replace(access, token=token, certificate=None, key=None)
    return access


@dataclass(frozen=True)
class Ref:
    """One object. `source` and `obj` are the file it was named by and what stands there, or what a list brought."""

    kind: Kind
    name: str
    namespace: str = ""
    source: str = ""
    obj: Object | None = None

    @property
    def label(self) -> str:
        """`deployment.apps/web`, as output names it."""
        return f"{self.kind.qualified_kind}/{self.name}"

    def path(self, subresource: str = "") -> str:
        path = self.kind.path(self.namespace, _segment(self.name))
        return f"{path}/{subresource}" if subresource else path


class Session:
    """An API server and the namespace commands act in."""

    def __init__(self, access: Access, *, namespace: str | None = None) -> None:
        self.access = access
        self.namespace = namespace or access.namespace
        self._transport = Transport(access)
        self._kinds: Kinds | None = None
        self._fresh = False

    # Kinds

    @property
    def kinds(self) -> Kinds:
        if self._kinds is None:
            self._kinds = discovery.load(self.access.host, self._discover)
        return self._kinds

    def _discover(self, path: str) -> Object:
        found: Object = self.call("GET", path, accept=discovery.ACCEPT)
        return found

    def resolve(self, name: str) -> Kind:
        """The kind a user named. Raises CliError for one the server does not have."""
        kind = self._find_kind(lambda kinds: kinds.by_name(name))
        if kind is None:
            raise CliError(f'the server doesn\'t have a resource type "{name}"')
        return kind

    def kind_of(self, obj: Mapping[str, Any]) -> Kind | None:
        """The kind an object says it is, if the server has it."""
        return self._find_kind(lambda kinds: kinds.by_kind(str(obj.get("apiVersion")), str(obj.get("kind"))))

    def _find_kind(self, look: Callable[[Kinds], Kind | None]) -> Kind | None:
        """Look in the cached kinds, and once more in fresh ones."""
        found = look(self.kinds)
        if found is None and not self._fresh:
            self._fresh = True
            self._kinds = discovery.load(self.access.host, self._discover, fresh=True)
            found = look(self._kinds)
        return found

    def ref(self, kind: str | Kind, name: str, namespace: str | None = None) -> Ref:
        """An object by kind and name, in the namespace commands act in if none is given."""
        kind = self.resolve(kind) if isinstance(kind, str) else kind
        return Ref(kind, name, (self.namespace if namespace is None else namespace) if kind.namespaced else "")

    # Objects

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> Any:
        """One request; the decoded answer. Raises StatusError."""
        content = None if body is None else json.dumps(body).encode()
        headers = {"Accept": accept} | ({"Content-Type": content_type} if content is not None else {})
        answer = self._transport.request(method, path, params=params, body=content, headers=headers)
        warn(answer)
        if answer.status >= 400:
            raise StatusError(as_status(answer.status, answer.body))
        try:
            return json.loads(answer.body)
        except ValueError:
            raise CliError(f"the server's answer to {method} {path} is not JSON") from None

    def get(self, ref: Ref, subresource: str = "") -> Object:
        found: Object = self.call("GET", ref.path(subresource))
        return found

    def find(self, ref: Ref) -> Object | None:
        """Like get, but None for an object that is not there."""
        try:
            return self.get(ref)
        except StatusError as error:
            if error.reason == "NotFound":
                return None
            raise

    def list_all(self, kind: Kind, *, namespace: str | None = None, accept: str = JSON, **params: str) -> Object:
        """The whole list, page by page. `namespace` None is this session's own, "" all of them.

        With `accept` TABLE, the answer is a Table and its rows are what is put together.
        """
        path = kind.path(self.namespace if namespace is None else namespace)
        query = {"limit": PAGE, **{key: value for key, value in params.items() if value}}
        whole: Object = self.call("GET", path, params=query, accept=accept)
        page = whole
        while token := (page.get("metadata") or {}).get("continue"):
            page = self.call("GET", path, params={**query, "continue": token}, accept=accept)
            for field in ("items", "rows"):
                if field in whole:
                    whole[field] += page.get(field) or []
            whole["metadata"]["resourceVersion"] = page["metadata"].get("resourceVersion")
        return whole

    def objects(self, kind: str | Kind, *, namespace: str | None = None, **params: str) -> list[Object]:
        """The items of a list, each with its apiVersion and kind, which lists leave out."""
        kind = self.resolve(kind) if isinstance(kind, str) else kind
        items = self.list_all(kind, namespace=namespace, **params).get("items") or []
        return [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in items]

    # Watches and streams

    def watch(
        self, kind: Kind, *, version: str, namespace: str | None = None, accept: str = JSON, **params: str
    ) -> Iterator[tuple[str, Object]]:
        """Events (type, object) after a resourceVersion, for as long as the caller listens.

        A stream the server ends is taken up where it stopped. Raises StatusError, among others 410 when the version
        has become too old.
        """
        while True:
            started = time.monotonic()
            self.patiently()
            for type_, obj in self.watch_once(kind, version=version, namespace=namespace, accept=accept, **params):
                version = _version_of(obj) or version
                if type_ != "BOOKMARK":
                    yield type_, obj
            if time.monotonic() - started < RECONNECT_SECONDS:
                time.sleep(RECONNECT_SECONDS)

    def patiently(self) -> None:
        """Return when the server answers: one that is being restarted ends no watch. Raises Unreachable in the end."""
        ends = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                if self._transport.request("GET", "/readyz").status < 500 or time.monotonic() > ends:
                    return
            except Unreachable:
                if time.monotonic() > ends:
                    raise
            time.sleep(RECONNECT_SECONDS / 4)

    def watch_once(
        self, kind: Kind, *, version: str, namespace: str | None = None, accept: str = JSON, **params: str
    ) -> Iterator[tuple[str, Object]]:
        """Events, bookmarks among them, until the server ends the stream. Raises StatusError."""
        path = kind.path(self.namespace if namespace is None else namespace)
        query = {key: value for key, value in params.items() if value}
        query |= {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version}
        for line in self.lines(path, params=query, accept=accept):
            event = json.loads(line)
            if event["type"] == "ERROR":
                raise StatusError(event["object"])
            yield event["type"], event["object"]

    def lines(self, path: str, *, params: Mapping[str, str] | None = None, accept: str = "*/*") -> Iterator[bytes]:
        """The lines of a streamed answer as they come. A broken stream just ends. Raises StatusError."""
        with self._transport.stream(path, params=params, headers={"Accept": accept}) as response:
            if response.status >= 400:
                raise StatusError(as_status(response.status, response.read()))
            yield from response


def _version_of(obj: Mapping[str, Any]) -> str:
    """The resourceVersion an event brings, also when it comes as a Table of one row."""
    found = (obj.get("metadata") or {}).get("resourceVersion")
    if obj.get("kind") == "Table" and obj.get("rows"):
        inner = (obj["rows"][-1].get("object") or {}).get("metadata") or {}
        found = inner.get("resourceVersion") or found
    return str(found or "")


def as_status(code: int, body: bytes) -> Mapping[str, Any]:
    """The Status in a failed answer, or one made up for an answer that brings none."""
    try:
        status = json.loads(body)
        if isinstance(status, dict) and status.get("kind") == "Status":
            return status
    except ValueError:
        pass
    text = body.decode(errors="replace").strip().splitlines()
    return {"kind": "Status", "code": code, "message": text[0] if text else f"the server answered with HTTP {code}"}


def warn(answer: Answer) -> None:
    """Show the warnings the API server sends along, as kubectl does."""
    for header in answer.headers.get_all("Warning") or []:
        for text in _WARNING.findall(header):
            print("Warning: " + text.replace('\\"', '"').replace("\\\\", "\\"), file=sys.stderr)


def _segment(name: str) -> str:
    """A name as one segment of a path, whatever the user typed."""
    from urllib.parse import quote

    if not name:
        raise CliError("resource name may not be empty")
    if "/" in name or "%" in name or name in (".", ".."):
        raise CliError(f"invalid resource name \"{name}\": [may not contain '/' or '%', may not be '.' or '..']")
    return quote(name)
