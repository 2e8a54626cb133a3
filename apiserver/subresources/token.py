"""`serviceaccounts/token`: a signed token for a service account, optionally bound to an object (TokenRequest API)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightkube.models.authentication_v1 import TokenRequest, TokenRequestSpec, TokenRequestStatus
from lightkube.models.meta_v1 import ObjectMeta

from api.errors import BadRequest, Conflict, FieldError, Forbidden, Invalid, NotFound, invalid
from apiserver import codec
from apiserver.admission import node_restriction
from apiserver.auth.service_accounts import BOUND, Reference
from apiserver.request import Request
from apiserver.responses import Response
from apiserver.store import ObjectStore

if TYPE_CHECKING:
    from apiserver.resources import ResourceApi

DEFAULT_SECONDS = 3600
LEAST_SECONDS = 600
MOST_SECONDS = 1 << 32


async def create(api: ResourceApi, store: ObjectStore, request: Request) -> Response:
    """Raises NotFound where the server has no signing key."""
    decoded = api.decode(request, TokenRequest)
    wanted: TokenRequest = decoded.obj
    spec = wanted.spec = wanted.spec or TokenRequestSpec()
    name, namespace = request.info.name, request.info.namespace
    seconds = _checked_seconds(spec, name)
    account = store.decode(await api.read(store, request))
    bound, obj = await _bound(api, request, spec)
    if request.user.node:
        why = node_restriction.token_complaint(request.user.node, spec, obj, seconds=seconds)
        if why:
            raise Forbidden.of(qualified="serviceaccounts", name=name, why=why)
    tokens = api.backend.tokens
    if tokens is None:
        raise NotFound.path()
    try:
        token, expiry = tokens.issue(
            namespace,
            Reference(name, account.metadata.uid),
            seconds=seconds,
            audiences=spec.audiences or (),
            bound=bound,
            node=await _node_of(api, obj) if bound and bound.kind == "Pod" else None,
        )
    except ValueError:
        raise NotFound.path() from None
    wanted.metadata = ObjectMeta(name=name, namespace=namespace, creationTimestamp=account.metadata.creationTimestamp)
    spec.expirationSeconds = seconds
    wanted.status = TokenRequestStatus(token=token, expirationTimestamp=expiry)
    return Response(codec.encode_object(wanted), 201).warn(decoded.warnings)


async def _node_of(api: ResourceApi, pod: Any) -> Reference | None:
    """Where the pod runs, for the token to tell."""
    record = await api.backend.find("nodes", "", pod.spec.nodeName) if pod.spec.nodeName else None
    return Reference(pod.spec.nodeName, api.stores["nodes"].decode(record.value).metadata.uid) if record else None


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


async def _bound(api: ResourceApi, request: Request, spec: TokenRequestSpec) -> tuple[Reference | None, Any]:
    """What the token is to be bound to, and that object. Raises BadRequest, NotFound, Conflict."""
    wanted, name = spec.boundObjectRef, request.info.name
    if wanted is None:
        return None, None
    kind, called = wanted.kind or "", wanted.name or ""
    if kind not in BOUND or wanted.apiVersion not in (None, "", "v1"):
        what = f"{wanted.apiVersion or 'v1'}, Kind={kind}"
        raise BadRequest(f'cannot bind token for serviceaccount "{name}" to object of type "{what}"')
    store = api.stores[BOUND[kind]]
    record = await api.backend.find(BOUND[kind], request.info.namespace if store.kind.namespaced else "", called)
    if record is None:
        raise store.not_found(called)
    obj = store.decode(record.value)
    uid = obj.metadata.uid
    if wanted.uid and wanted.uid != uid:
        why = (
            f"the UID in the bound object reference ({wanted.uid}) does not match the UID in record. The object might "
            "have been deleted and then recreated"
        )
        raise Conflict.of(qualified=BOUND[kind], name=called, why=why)
    if kind == "Pod" and obj.spec.serviceAccountName != name:
        raise BadRequest(
            f'cannot bind token for serviceaccount "{name}" to pod running with different serviceaccount name.'
        )
    return Reference(called, uid, kind), obj
