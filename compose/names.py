"""Names and labels of what a project becomes. Pure."""

from __future__ import annotations

import re
from typing import Any

NAME, PROJECT, MANAGED_BY = "app.kubernetes.io/name", "app.kubernetes.io/part-of", "app.kubernetes.io/managed-by"
MANAGER = "minikctl-compose"
NETWORK = "network.minik.dev/"
"""The prefix of the labels that say which networks a pod is on."""

Object = dict[str, Any]


def dns(text: str) -> str:
    """A name as Services have them: `My_App` is `my-app`, `3proxy` is `x-3proxy`."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return (name if name[:1].isalpha() else f"x-{name}")[:63].rstrip("-")


def label(text: str) -> str:
    """A value a label may have."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:63].strip("-_.")


def selector(project: str, service: str) -> dict[str, str]:
    return {NAME: dns(service), PROJECT: label(project)}


def labels(project: str, service: str = "") -> dict[str, str]:
    own = selector(project, service) if service else {PROJECT: label(project)}
    return {**own, MANAGED_BY: MANAGER}


def query(project: str, service: str = "") -> str:
    """Selector text for all objects of a project, or of one of its services."""
    own = {PROJECT: label(project), MANAGED_BY: MANAGER} | ({NAME: dns(service)} if service else {})
    return ",".join(f"{key}={value}" for key, value in own.items())


def manifest(api_version: str, kind: str, name: str, owner: dict[str, str], **rest: Any) -> Object:
    """An object in the order in which people write one; what is empty is left out."""
    obj = {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "labels": dict(owner)}}
    return obj | {key: value for key, value in rest.items() if value not in (None, {}, [])}


def pruned(obj: Object) -> Object:
    """Without what is empty."""
    return {key: value for key, value in obj.items() if value is not None and value != {} and value != []}
