"""The whole API server on a store in memory, called without sockets. Watch streams are tested in tests/integration."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from apiserver import admission, boot, kinds
from apiserver.backend import Backend
from apiserver.config import Config
from apiserver.http.gateway import Gateway, create_app
from apiserver.http.guard import Open
from apiserver.registry.registry import Registry
from apiserver.storage.memory import MemoryStorage


@dataclass
class Answer:
    status: int
    body: bytes
    headers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json["message"])

    @property
    def warnings(self) -> list[str]:
        return [value for name, value in self.headers if name == "warning"]


class Api:
    """Speaks ASGI to the gateway."""

    def __init__(self, gateway: Gateway, backend: Backend) -> None:
        self.gateway = gateway
        self.backend = backend

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        path, _, query = path.partition("?")
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        named = {"content-type": "application/json", **{key.replace("_", "-"): value for key, value in headers.items()}}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(key.encode(), value.encode()) for key, value in named.items()],
        }
        sent: list[Any] = []

        body_is_sent = False

        async def receive() -> Any:
            nonlocal body_is_sent
            if body_is_sent:
                await asyncio.Event().wait()  # the client stays
            body_is_sent = True
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.gateway(scope, receive, send)
        head = [(key.decode(), value.decode()) for key, value in sent[0]["headers"]]
        return Answer(sent[0]["status"], b"".join(each.get("body", b"") for each in sent[1:]), head)

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.call("GET", path, **headers)

    async def post(self, path: str, body: Any, **headers: str) -> Answer:
        return await self.call("POST", path, body, **headers)

    async def put(self, path: str, body: Any, **headers: str) -> Answer:
        return await self.call("PUT", path, body, **headers)

    async def patch(self, path: str, body: Any, kind: str = "strategic-merge-patch+json") -> Answer:
        return await self.call("PATCH", path, body, content_type=f"application/{kind}")

    async def delete(self, path: str, body: Any = None) -> Answer:
        return await self.call("DELETE", path, body)


@pytest.fixture
def api_class() -> type[Api]:
    """For tests that make a server of their own."""
    return Api


@pytest.fixture
def config() -> Config:
    return Config()


@pytest.fixture
async def api(config: Config) -> AsyncIterator[Api]:
    storage = MemoryStorage()
    backend = Backend.over(storage, Registry(kinds.builtin()), config)
    backend.plugins = admission.PLUGINS
    gateway = create_app(backend, Open())
    following = asyncio.create_task(backend.cache.run())
    await boot.create_boot_objects(backend)
    yield Api(gateway, backend)
    following.cancel()
