"""Pulling from a registry: with the pod's pull secret, and what goes wrong inside a pull."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from kubelet_node import busybox_tar, container, event, listen_in, waiting
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Secret

pytest_plugins = ["engine_fixtures"]

PORT = 5055
KEY = "Basic " + base64.b64encode(b"anna:geheim").decode()
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def digest(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Registry(ThreadingHTTPServer):
    """`private/shell:1` for who has the key, and `broken:1`, whose layer is not there."""

    daemon_threads = True

    def __init__(self, listener):
        super().__init__(listener.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        tar = busybox_tar()
        layer = gzip.compress(tar, 1)
        rootfs = {"type": "layers", "diff_ids": [digest(tar)]}
        config = json.dumps(
            {"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"]}, "rootfs": rootfs}
        )
        self.blobs = {digest(layer): layer, digest(config.encode()): config.encode()}
        self.manifests = {
            "private/shell": self._manifest(config.encode(), digest(layer), len(layer)),
            "broken": self._manifest(config.encode(), digest(b"lost"), 4),
        }

    @staticmethod
    def _manifest(config, layer, size):
        about = {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": digest(config)}
        layers = [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "digest": layer, "size": size}]
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {**about, "size": len(config)},
            "layers": layers,
        }
        return json.dumps(document).encode()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name, _, rest = self.path.removeprefix("/v2/").partition("/manifests/")
        guarded = self.path == "/v2/" or "private" in self.path
        if guarded and self.headers.get("Authorization") != KEY:
            self._answer(401, b"{}", ("WWW-Authenticate", 'Basic realm="test"'))
        elif self.path == "/v2/":
            self._answer(200, b"{}")
        elif rest and name in self.server.manifests:
            body = self.server.manifests[name]
            self._answer(200, body, ("Content-Type", MANIFEST), ("Docker-Content-Digest", digest(body)))
        elif self.path.rpartition("/")[2] in self.server.blobs:
            self._answer(200, self.server.blobs[self.path.rpartition("/")[2]])
        else:
            self._answer(404, b'{"errors": [{"code": "BLOB_UNKNOWN", "message": "the layer is lost"}]}')

    do_HEAD = do_GET

    def _answer(self, code, body, *headers):
        self.send_response(code)
        for name, value in (*headers, ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def registry(node):
    server = Registry(listen_in(node.engine.namespace, PORT))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{PORT}"
    server.shutdown()
    server.server_close()


async def test_a_pull_secret_opens_the_registry(node, api, registry):
    shell = {"name": "app", "image": f"{registry}/private/shell:1", "command": ["sleep", "1000"]}
    await api.create("keyless-pull", {"containers": [shell]})
    await api.pod("keyless-pull", lambda pod: waiting(pod) in ("ErrImagePull", "ImagePullBackOff"))
    config = json.dumps({"auths": {registry: {"username": "anna", "password": "geheim"}}})
    secret = Secret(
        metadata=ObjectMeta(name="key", namespace="default"),
        type="kubernetes.io/dockerconfigjson",
        stringData={".dockerconfigjson": config},
    )
    await api.client.create(secret)
    pod = await api.create("keyed-pull", {"containers": [shell], "imagePullSecrets": [{"name": "key"}]})
    await api.ready("keyed-pull")
    await api.delete(pod)


async def test_an_error_inside_a_pull_is_told(node, api, registry):
    broken = {"name": "app", "image": f"{registry}/broken:1", "command": ["sleep", "1000"]}
    await api.create("broken-pull", {"containers": [broken]})
    pod = await api.pod("broken-pull", lambda pod: waiting(pod) in ("ErrImagePull", "ImagePullBackOff"), deadline=60)
    assert f'failed to pull image "{registry}/broken:1": ' in container(pod).state.waiting.message
    await event(api, "broken-pull", "Failed", "Failed to pull image")
