"""`serviceaccounts/token`: a signed token for a service account, optionally bound to an object (TokenRequest API)."""

from __future__ import annotations

from typing import Any

from lightkube.models.authentication_v1 import TokenRequest, TokenRequestSpec, TokenRequestStatus
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Node

from api.errors import BadRequest, Conflict, FieldError, Forbidden, Invalid, NotFound, invalid
from apiserver.admission import node_restriction
from apiserver.auth.service_accounts import BOUND, Reference
from apiserver.http.responses import Response
from apiserver.registry.kind import Subresource
from apiserver.verbs.call import Call, object_answer

DEFAULT_SECONDS = 3600
LEAST_SECONDS = 600
MOST_SECONDS = 1 << 32


async def create(call: Call) -> Response:
    """Raises NotFound where the server has no signing key."""
    decoded = call.read_as(TokenRequest)
    wanted: TokenRequest = decoded.obj
    spec = wanted.spec = wanted.spec or TokenRequestSpec()
    name, namespace = call.name, call.namespace
    seconds = _checked_seconds(spec, name)
    account = call.store.kind.model.decode(await call.stored())
    bound, obj = await _bound(call, spec)
    if call.request.user.node:
        why = node_restriction.token_complaint(call.request.user.node, spec, obj, seconds=seconds)
        if why:
            raise Forbidden.of(qualified="serviceaccounts", name=name, why=why)
    tokens = call.backend.tokens
    if tokens is None:
        raise NotFound.path()
    try:
        token, expiry = tokens.issue(
            namespace,
            Reference(name, account.metadata.uid),
            seconds=seconds,
            audiences=spec.audiences or (),
            bound=bound,
            node=await _node_of(call, obj) if bound and bound.kind == "Pod" else None,
        )
    except ValueError:
        raise NotFound.path() from None
    wanted.metadata = ObjectMeta(name=name, namespace=namespace, creationTimestamp=account.metadata.creationTimestamp)
    spec.expirationSeconds = seconds
    wanted.status = TokenRequestStatus(token=token, expirationTimestamp=expiry)
    return object_answer(wanted, call, 201).warn(decoded.warnings)


async def _node_of(call: Call, pod: Any) -> Reference | None:
    """Where the pod runs, for the token to tell."""
    nodes, name = call.backend.registry.of(Node), pod.spec.nodeName
    record = await call.backend.find(nodes, "", name) if name else None
    return Reference(name, nodes.model.decode(record.value).metadata.uid) if record else None


def _checked_seconds(spec: TokenRequestSpec, name: str) -> int:
    seconds = spec.expirationSeconds or DEFAULT_SECONDS
    errors: list[FieldError] = []
    if seconds < LEAST_SECONDS:
        errors.append(invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes"))
    if seconds > MOST_SECONDS:
        errors.append(invalid("spec.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds"))
    if errors:
        raise Invalid.of(kind="TokenRequest", group="authentication.k8s.io", name=name, errors=errors)
    return seconds


async def _bound(call: Call, spec: TokenRequestSpec) -> tuple[Reference | None, Any]:
    """What the token is to be bound to, and that object. Raises BadRequest, NotFound, Conflict."""
    wanted, name = spec.boundObjectRef, call.name
    if wanted is None:
        return None, None
    kind, called = wanted.kind or "", wanted.name or ""
    bound = call.backend.registry.stored(BOUND.get(kind, ""))
    if bound is None or wanted.apiVersion not in (None, "", "v1"):
        what = f"{wanted.apiVersion or 'v1'}, Kind={kind}"
        raise BadRequest(f'cannot bind token for serviceaccount "{name}" to object of type "{what}"')
    record = await call.backend.find(bound, call.namespace if bound.namespaced else "", called)
    if record is None:
        raise NotFound.of(qualified=bound.qualified, name=called)
    obj = bound.model.decode(record.value)
    uid = obj.metadata.uid
    if wanted.uid and wanted.uid != uid:
        why = (
            f"the UID in the bound object reference ({wanted.uid}) does not match the UID in record. The object might "
            "have been deleted and then recreated"
        )
        raise Conflict.of(qualified=bound.qualified, name=called, why=why)
    if kind == "Pod" and obj.spec.serviceAccountName != name:
        raise BadRequest(
            f'cannot bind token for serviceaccount "{name}" to pod running with different serviceaccount name.'
        )
    return Reference(called, uid, kind), obj


TOKEN = Subresource("token", {"create": create}, takes=TokenRequest)
