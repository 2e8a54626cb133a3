"""Which API server to talk to, and as whom: one context of the kubeconfig files, resolved.

Kubernetes: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
The files are an explicit one, else every file of $KUBECONFIG merged (the first to say something wins), else
~/.kube/config. `load` raises errors.ConfigError with one line that says what to do. bootstrap/kubeconfig.py writes.
This reader is for `blocking.py`; importing lightkube's takes longer than a whole command.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from client.errors import ConfigError
from client.servers import listed

DEFAULT_FILE = "~/.kube/config"
EXEC_PLUGIN_SECONDS = 60
"""How long a credential plugin (`users[].user.exec`) may take."""

FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
"""Fields that name a file, relative to the kubeconfig that has them."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """One context: address, credentials in PEM, and the default namespace."""

    context: str
    server: str
    others: tuple[str, ...] = ()
    """More servers of the same cluster, asked when that one does not answer."""
    namespace: str = "default"
    ca: bytes | None = None
    verify: bool = True
    server_name: str | None = None
    certificate: bytes | None = None
    key: bytes | None = None
    token: str | None = None

    @property
    def host(self) -> str:
        """host:port, as messages name the server."""
        return urlsplit(self.server).netloc


def load(explicit: str | None = None, *, context: str | None = None) -> Access:
    """The access the current context (or `context`) describes. Raises ConfigError."""
    return resolve(read(explicit), context=context)


def read(explicit: str | None = None) -> dict[str, Any]:
    """The merged kubeconfig, entries by name, file names in it absolute. Raises ConfigError."""
    listed = [explicit] if explicit else [each for each in os.environ.get("KUBECONFIG", "").split(os.pathsep) if each]
    paths = [Path(each).expanduser() for each in listed or [DEFAULT_FILE]]
    merged: dict[str, Any] = {"clusters": {}, "users": {}, "contexts": {}, "current-context": ""}
    found = [path for path in paths if path.exists()]
    if explicit and not found:
        raise ConfigError(f"stat {explicit}: no such file or directory")
    if not found:
        named = ", ".join(str(path) for path in paths)
        raise ConfigError(
            f"no kubeconfig: {named} does not exist; run `minikctl up`, or set $KUBECONFIG or --kubeconfig"
        )
    for path in found:
        _merge(merged, _read_file(path), path)
    return merged


def resolve(config: Mapping[str, Any], *, context: str | None = None) -> Access:
    """Follow context -> cluster and user. Raises ConfigError for what is named but not there."""
    name = context or config["current-context"]
    if not name:
        raise ConfigError("current-context is not set: name one with --context, or set it in the kubeconfig")
    if name not in config["contexts"]:
        raise ConfigError(f'context "{name}" does not exist')
    chosen = config["contexts"][name]
    cluster = config["clusters"].get(chosen.get("cluster"))
    if not cluster or not cluster.get("server"):
        raise ConfigError(f'cluster "{chosen.get("cluster")}" of context "{name}" does not exist or has no server')
    user = config["users"].get(chosen.get("user")) or {}
    if "exec" in user:
        user = {**user, **_run_plugin(user["exec"])}
    token_file = user.get("tokenFile")
    server, *others = (each.rstrip("/") for each in listed(cluster))
    return Access(
        context=name,
        server=server,
        others=tuple(others),
        namespace=chosen.get("namespace") or "default",
        ca=_pem(cluster, "certificate-authority"),
        verify=not cluster.get("insecure-skip-tls-verify", False),
        server_name=cluster.get("tls-server-name"),
        certificate=_pem(user, "client-certificate"),
        key=_pem(user, "client-key"),
        token=user.get("token") or (_bytes(token_file, "tokenFile").decode().strip() if token_file else None),
    )


def _read_file(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        content = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}
    except OSError as error:
        raise ConfigError(f"cannot read the kubeconfig {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" line {where.line + 1}" if where else ""
        raise ConfigError(
            f'error loading config file "{path}":{line} {getattr(error, "problem", "not YAML")}'
        ) from None
    if not isinstance(content, dict):
        raise ConfigError(f'error loading config file "{path}": it holds no kubeconfig')
    return content


def _merge(merged: dict[str, Any], content: Mapping[str, Any], path: Path) -> None:
    merged["current-context"] = merged["current-context"] or content.get("current-context") or ""
    for plural, singular in (("clusters", "cluster"), ("users", "user"), ("contexts", "context")):
        entries = content.get(plural) or []
        if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
            raise ConfigError(f'error loading config file "{path}": {plural} is not a list of named entries')
        for entry in entries:
            inner = dict(entry.get(singular) or {})
            inner |= {field: str(path.parent / inner[field]) for field in FILES if inner.get(field)}
            merged[plural].setdefault(entry.get("name"), inner)


def _pem(section: Mapping[str, Any], field: str) -> bytes | None:
    """A certificate or key, inline (`<field>-data`, base64) or in a file."""
    if data := section.get(f"{field}-data"):
        try:
            return base64.b64decode(data, validate=True)
        except ValueError:
            raise ConfigError(f"{field}-data in the kubeconfig is not base64") from None
    return _bytes(section[field], field) if section.get(field) else None


def _bytes(name: str, field: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise ConfigError(f"unable to read {field} {name}: {error.strerror}") from None


def _run_plugin(plugin: Mapping[str, Any]) -> dict[str, Any]:
    """Credentials from a client-go credential plugin, in the shape of a kubeconfig user."""
    command = [str(plugin["command"]), *(plugin.get("args") or [])]
    info = {"apiVersion": plugin.get("apiVersion"), "kind": "ExecCredential", "spec": {"interactive": False}}
    env = os.environ | {each["name"]: each["value"] for each in plugin.get("env") or []}
    env["KUBERNETES_EXEC_INFO"] = json.dumps(info)
    try:
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, timeout=EXEC_PLUGIN_SECONDS, check=True)
        status = json.loads(done.stdout)["status"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        raise ConfigError(f"getting credentials: exec: {command[0]}: {error}") from None
    found = {"token": status.get("token")}
    for theirs, ours in (("clientCertificateData", "client-certificate"), ("clientKeyData", "client-key")):
        if status.get(theirs):
            found[f"{ours}-data"] = base64.b64encode(status[theirs].encode()).decode()
    return {key: value for key, value in found.items() if value}
