"""ControllerRevisions: what a StatefulSet's or DaemonSet's template was before."""

from __future__ import annotations

from lightkube.resources.apps_v1 import ControllerRevision

from apiserver.registry import rules
from apiserver.registry.columns import AGE, NAME, Column, Object, at
from apiserver.registry.kind import Kind


def controller(obj: Object) -> str:
    references = obj["metadata"].get("ownerReferences") or []
    owner = next((each for each in references if each.get("controller")), None)
    if owner is None:
        return "<none>"
    group = owner["apiVersion"].rpartition("/")[0]
    return f"{owner['kind'].lower()}{'.' + group if group else ''}/{owner['name']}"


CONTROLLER_REVISION = Kind(
    ControllerRevision,
    columns=(NAME, Column("Controller", controller), Column("Revision", at("revision", 0), "integer"), AGE),
    rules=rules.not_negative("revision"),
    immutable=("data",),
)
