"""`serviceaccounts/token`: a signed token for a service account, optionally bound to a pod (TokenRequest API)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightkube.models.authentication_v1 import TokenRequest, TokenRequestSpec, TokenRequestStatus
from lightkube.models.meta_v1 import ObjectMeta

from api.errors import BadRequest, Conflict, FieldError, Invalid, NotFound, invalid
from apiserver import codec
from apiserver.auth.service_accounts import Reference
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
    pod = await _bound_pod(api, spec.boundObjectRef, namespace)
    tokens = api.backend.tokens
    if tokens is None:
        raise NotFound.path()
    try:
        token, expiry = tokens.issue(
            namespace,
            Reference(name, account.metadata.uid),
            seconds=seconds,
            audiences=spec.audiences or (),
            pod=pod,
        )
    except ValueError:
        raise NotFound.path() from None
    wanted.metadata = ObjectMeta(name=name, namespace=namespace, creationTimestamp=account.metadata.creationTimestamp)
    spec.expirationSeconds = seconds
    wanted.status = TokenRequestStatus(token=token, expirationTimestamp=expiry)
    return Response(codec.encode_object(wanted), 201).warn(decoded.warnings)


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


async def _bound_pod(api: ResourceApi, bound: Any, namespace: str) -> Reference | None:
    if bound is None:
        return None
    if bound.kind != "Pod":
        raise BadRequest(f"cannot bind token to object of type {bound.kind}")
    store = api.stores["pods"]
    record = await api.backend.find("pods", namespace, bound.name or "")
    if record is None:
        raise store.not_found(bound.name or "")
    uid = store.decode(record.value).metadata.uid
    if bound.uid and bound.uid != uid:
        why = f"the UID in the bound object reference ({bound.uid}) does not match the UID in record ({uid})"
        raise Conflict.of(qualified="pods", name=bound.name or "", why=why)
    return Reference(bound.name, uid)
