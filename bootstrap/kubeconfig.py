"""Kubeconfig files: those init and join write for components, and the user's own that gets the context `minik`.

Interface: build, write, read_cluster; merge, remove, user_kubeconfigs, render.

Invariants: keys and certificates are embedded, so a kubeconfig can be copied to another machine; files are 0600 and
replaced in one step; merge and remove leave every other context, cluster and user as it was.
"""

from __future__ import annotations

import base64
import os
import pwd
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from bootstrap.errors import BootstrapError
from client.files import write_atomic
from client.servers import listed, with_servers

Config = dict[str, Any]


def build(
    *,
    server: str,
    others: Iterable[str] = (),
    ca: bytes,
    user: str = "",
    certificate: bytes | None = None,
    key: bytes | None = None,
    token: str | None = None,
    cluster: str = "kubernetes",
) -> Config:
    """A kubeconfig with one context. Without certificate and token it has no user (the cluster-info form).

    others: more API servers of the cluster.
    """
    described = with_servers({"certificate-authority-data": _encode(ca)}, [server, *others])
    config: Config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": described}],
        "users": [],
        "contexts": [],
    }
    credentials: dict[str, str] = {}
    if certificate and key:
        credentials = {"client-certificate-data": _encode(certificate), "client-key-data": _encode(key)}
    elif token:
        credentials = {"token": token}
    if credentials:
        context = f"{user}@{cluster}"
        config["users"] = [{"name": user, "user": credentials}]
        config["contexts"] = [{"name": context, "context": {"cluster": cluster, "user": user}}]
        config["current-context"] = context
    return config


def write(path: Path, config: Mapping[str, Any]) -> None:
    write_atomic(path, dump(config))


def dump(config: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(config), sort_keys=False)


def load(path: Path) -> Config:
    """The file's content; an empty kubeconfig if it is not there. Raises BootstrapError if it is not one."""
    try:
        config = yaml.safe_load(path.read_text()) or {}
    except FileNotFoundError:
        config = {}
    except (yaml.YAMLError, UnicodeDecodeError):
        raise BootstrapError(f"{path} is not readable as YAML; fix or remove it") from None
    if not isinstance(config, dict):
        raise BootstrapError(f"{path} is not a kubeconfig; fix or remove it")
    for part in ("clusters", "users", "contexts"):
        config[part] = config.get(part) or []
    return {"apiVersion": "v1", "kind": "Config", **config}


def cluster_of(config: Mapping[str, Any]) -> tuple[str, bytes]:
    """(server URL, CA as PEM) of the first cluster. Raises ValueError if that is not in it."""
    try:
        cluster = config["clusters"][0]["cluster"]
        return str(cluster["server"]), base64.b64decode(cluster["certificate-authority-data"], validate=True)
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"no cluster in it: {error}") from None


def servers_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Every API server of the first cluster."""
    return listed(config["clusters"][0]["cluster"])


def user_certificate(config: Mapping[str, Any]) -> bytes:
    """The client certificate (PEM) of the first user. Raises ValueError if there is none."""
    try:
        return base64.b64decode(config["users"][0]["user"]["client-certificate-data"], validate=True)
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"no client certificate in it: {error}") from None


def renamed(admin: Mapping[str, Any], context: str) -> Config:
    """The one-context kubeconfig `admin` with its cluster, user and context all called `context`."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": admin["clusters"][0]["cluster"]}],
        "users": [{"name": context, "user": admin["users"][0]["user"]}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
    }


def merged(existing: Mapping[str, Any], addition: Mapping[str, Any]) -> Config:
    """`existing` with the entries of `addition` added or replaced by name, and its current-context."""
    result = dict(existing)
    for part in ("clusters", "users", "contexts"):
        new = {entry["name"] for entry in addition[part]}
        kept = [entry for entry in existing.get(part) or [] if entry.get("name") not in new]
        result[part] = [*kept, *addition[part]]
    result["current-context"] = addition["current-context"]
    return result


def without(existing: Mapping[str, Any], context: str) -> Config:
    """`existing` without the entries called `context`. If it was the current context, another one becomes it."""
    result = dict(existing)
    for part in ("clusters", "users", "contexts"):
        result[part] = [entry for entry in existing.get(part) or [] if entry.get("name") != context]
    if result.get("current-context") == context:
        result["current-context"] = result["contexts"][0]["name"] if result["contexts"] else ""
    return result


def set_servers(path: Path, servers: Iterable[str]) -> None:
    """Let the file lead to these API servers, the one it led to first if it is among them."""
    config = load(path)
    first = cluster_of(config)[0]
    entry = config["clusters"][0]
    entry["cluster"] = with_servers(entry["cluster"], sorted(servers, key=lambda server: server != first))
    write(path, config)


def render(admin_conf: Path, context: str) -> str:
    """The kubeconfig of `admin_conf` as text, with everything named `context`."""
    return dump(renamed(load(admin_conf), context))


def merge(admin_conf: Path, target: Path, *, context: str) -> None:
    """Put `admin_conf` into the user's kubeconfig as `context` and make it the current one."""
    _write_owned(target, dump(merged(load(target), renamed(load(admin_conf), context))))


def remove(target: Path, *, context: str) -> None:
    """Take `context` out of the user's kubeconfig; a file in which nothing else remains is removed."""
    if not target.exists():
        return
    existing = load(target)
    result = without(existing, context)
    if result == existing:
        return
    if not (result["clusters"] or result["users"] or result["contexts"]):
        target.unlink()
    else:
        _write_owned(target, dump(result))


def user_kubeconfigs() -> list[Path]:
    """Where the user's contexts live: the first file of $KUBECONFIG, else ~/.kube/config.

    Under sudo both root and the user who called it get the context, so that any shell of theirs works.
    """
    if first := next((part for part in os.environ.get("KUBECONFIG", "").split(":") if part), None):
        return [Path(first)]
    homes = [Path.home()]
    if invoker := _sudo_user():
        homes.append(Path(invoker.pw_dir))
    return list(dict.fromkeys(home / ".kube" / "config" for home in homes))


def _sudo_user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(int(os.environ["SUDO_UID"])) if os.geteuid() == 0 else None
    except (KeyError, ValueError):
        return None


def _write_owned(target: Path, text: str) -> None:
    """Write the file as its owner would: what sudo makes in a user's home must belong to that user."""
    target = target.resolve()  # a symbolic link stays one
    made = [parent for parent in (target.parent, *target.parent.parents) if not parent.exists()]
    owner = target.stat() if target.exists() else None
    write_atomic(target, text)
    if owner:
        os.chown(target, owner.st_uid, owner.st_gid)
    elif (invoker := _sudo_user()) and target.is_relative_to(invoker.pw_dir):
        for path in (target, *made):
            os.chown(path, invoker.pw_uid, invoker.pw_gid)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
