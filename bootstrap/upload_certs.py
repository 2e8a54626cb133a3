"""How the keys of a cluster reach another control plane: encrypted, through the cluster itself.

Kubernetes: `kubeadm init --upload-certs`. The Secret kube-system/kubeadm-certs may be read by whoever has a join token,
and understood by whoever has the certificate key, which is printed once and kept nowhere. It is owned by a token of its
own that expires after two hours; the garbage collector then takes it away.

Interface: upload, download. Each file is sealed with AES-256-GCM under its own name, so none can take another's place.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from lightkube import ApiError, Client
from lightkube.models.meta_v1 import ObjectMeta, OwnerReference
from lightkube.resources.core_v1 import Secret

from bootstrap import apiclient, tokens
from bootstrap.errors import BootstrapError, TokenError
from client.files import write_atomic

NAME, NAMESPACE = "kubeadm-certs", "kube-system"
FILES = ("ca.crt", "ca.key", "sa.key", "sa.pub", "etcd/ca.crt", "etcd/ca.key")
LIFETIME = 2 * 3600.0
DESCRIPTION = "Proxy for managing TTL for the kubeadm-certs secret"
KEY_BYTES, NONCE_BYTES = 32, 12
KEY_FORMAT = re.compile(rf"[0-9a-f]{{{2 * KEY_BYTES}}}")


def upload(client: Client, pki: Path) -> str:
    """Put the keys into the cluster; returns the certificate key that opens them, from now on the only one."""
    key = secrets.token_bytes(KEY_BYTES)
    data = {_entry(name): _seal(key, name, (pki / name).read_bytes()) for name in FILES if (pki / name).exists()}
    token = tokens.secret(tokens.generate(), ttl=LIFETIME, description=DESCRIPTION, usages=False)
    owner = client.create(token)
    assert owner.metadata and owner.metadata.name and owner.metadata.uid
    reference = OwnerReference(apiVersion="v1", kind="Secret", name=owner.metadata.name, uid=owner.metadata.uid)
    metadata = ObjectMeta(name=NAME, namespace=NAMESPACE, ownerReferences=[reference])
    apiclient.create_or_replace(client, Secret(metadata=metadata, data=data))
    return key.hex()


def download(client: Client, key: str, pki: Path) -> None:
    """Write the keys of the cluster that `client` talks to. Raises BootstrapError, before anything is written."""
    if not KEY_FORMAT.fullmatch(key):
        raise TokenError("the certificate key must be 64 hexadecimal digits, as init --upload-certs prints it")
    try:
        found = client.get(Secret, NAME, namespace=NAMESPACE)
    except ApiError as error:
        if error.status.code == 404:
            raise BootstrapError(
                "the cluster's certificates are not there any more (two hours); on a control plane, run: "
                "minikctl init --upload-certs"
            ) from None
        raise
    data = found.data or {}
    opened = {name: _open(bytes.fromhex(key), name, data[_entry(name)]) for name in FILES if _entry(name) in data}
    if "etcd/ca.key" not in opened:
        raise BootstrapError("this cluster's etcd runs elsewhere (--etcd-servers): no control plane can join")
    for name, content in opened.items():
        if (path := pki / name).exists() and path.read_bytes() != content:
            raise BootstrapError(f"{path} is of another cluster; undo that first with: minikctl reset")
    for name, content in opened.items():
        write_atomic(pki / name, content, mode=0o600 if name.endswith(".key") else 0o644)


def _entry(name: str) -> str:
    return name.replace("/", "-")


def _seal(key: bytes, name: str, content: bytes) -> str:
    nonce = os.urandom(NONCE_BYTES)
    return base64.b64encode(nonce + AESGCM(key).encrypt(nonce, content, name.encode())).decode()


def _open(key: bytes, name: str, sealed: str) -> bytes:
    data = base64.b64decode(sealed)
    try:
        return AESGCM(key).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], name.encode())
    except InvalidTag:
        raise TokenError("the certificate key opens nothing: it is wrong, or init --upload-certs ran again") from None
