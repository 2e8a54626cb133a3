"""Questions about who one is and what one may do: created, answered, and not stored.

kubectl auth can-i ...         SelfSubjectAccessReview         can-i --list    SelfSubjectRulesReview
kubectl auth whoami            SelfSubjectReview               webhooks        TokenReview, SubjectAccessReview
https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/
"""

from __future__ import annotations

from typing import Any

from lightkube.models.authentication_v1 import SelfSubjectReviewStatus, TokenReviewStatus, UserInfo
from lightkube.models.authorization_v1 import (
    NonResourceRule,
    ResourceRule,
    SubjectAccessReviewStatus,
    SubjectRulesReviewStatus,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.authentication_v1 import SelfSubjectReview, TokenReview
from lightkube.resources.authorization_v1 import (
    LocalSubjectAccessReview,
    SelfSubjectAccessReview,
    SelfSubjectRulesReview,
    SubjectAccessReview,
)

from api import meta
from api.errors import BadRequest, FieldError, Invalid, invalid
from apiserver.auth import Asked, User
from apiserver.auth.rbac import described
from apiserver.registry.kind import Kind
from apiserver.verbs.call import Call

_NODE_RULES = "node authorizer does not support user rule resolution"


def _about(review: Any) -> Asked:
    """What is asked. Raises Invalid unless it is exactly one thing."""
    resource, path = review.spec.resourceAttributes, review.spec.nonResourceAttributes
    if (resource is None) == (path is None):
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        _refuse(review, invalid("spec.resourceAttributes", None, why))
    if path is not None:
        return Asked(verb=path.verb or "", path=path.path or "", is_resource=False)
    selector = resource.fieldSelector
    exact = {
        each.key: each.values[0]
        for each in (selector and selector.requirements) or ()
        if each.operator == "In" and each.values and len(each.values) == 1
    }
    return Asked(
        verb=resource.verb or "",
        group=resource.group or "",
        resource=resource.resource or "",
        subresource=resource.subresource or "",
        namespace=resource.namespace or "",
        name=resource.name or exact.get("metadata.name", ""),
        fields=exact,
    )


def _refuse(review: Any, error: FieldError) -> None:
    raise Invalid.of(kind=type(review).__name__, group="authorization.k8s.io", name="", errors=[error])


def _decided(call: Call, user: User, review: Any) -> Any:
    decision = call.backend.authorizer.explain(user, _about(review))
    review.status = SubjectAccessReviewStatus(allowed=decision.allowed, reason=decision.reason or None)
    return review


def _spoken_of(review: Any) -> User:
    spec = review.spec
    if not spec.user and not spec.groups:
        _refuse(review, invalid("spec.user", spec.user or "", "at least one of user or group must be specified"))
    extra = {key: tuple(values) for key, values in (spec.extra or {}).items()}
    return User(spec.user or "", tuple(spec.groups or ()), spec.uid or "", extra)


async def _self_access(call: Call, review: Any) -> Any:
    return _decided(call, call.request.user, review)


async def _access(call: Call, review: Any) -> Any:
    return _decided(call, _spoken_of(review), review)


async def _local_access(call: Call, review: Any) -> Any:
    attributes = review.spec.resourceAttributes
    if attributes is None or review.spec.nonResourceAttributes is not None:
        _refuse(review, invalid("spec.nonResourceAttributes", None, "disallowed on this kind of request"))
    if attributes.namespace != call.namespace:
        raise BadRequest(f"spec.resourceAttributes.namespace must match namespace: {call.namespace}")
    return _decided(call, _spoken_of(review), review)


async def _rules(call: Call, review: Any) -> Any:
    namespace = review.spec.namespace
    if not namespace:
        raise BadRequest("no namespace on request")
    user = call.request.user
    resources, paths = described(call.backend.authorizer.roles.of(user).rules(namespace))
    review.status = SubjectRulesReviewStatus(
        incomplete=bool(user.node),
        resourceRules=[ResourceRule(**each) for each in resources],
        nonResourceRules=[NonResourceRule(**each) for each in paths],
        evaluationError=_NODE_RULES if user.node else None,
    )
    return review


def _user_info(user: User) -> UserInfo:
    extra = {key: [*values] for key, values in user.extra.items()}
    return UserInfo(username=user.name, uid=user.uid or None, groups=[*user.groups], extra=extra or None)


async def _self(call: Call, review: Any) -> Any:
    review.metadata = ObjectMeta(creationTimestamp=meta.now())
    review.status = SelfSubjectReviewStatus(_user_info(call.request.user))
    return review


async def _token(call: Call, review: Any) -> Any:
    """Whose token it is. Tokens that are not service accounts' are the API server's own audience alone."""
    token, wanted = review.spec.token, review.spec.audiences
    if not token:
        raise BadRequest("token is required for TokenReview in authentication")
    backend = call.backend
    own = backend.tokens.audiences if backend.tokens else []
    found = backend.tokens.review(token, wanted or own) if backend.tokens else None
    if found is None and backend.authenticator is not None and (not wanted or {*wanted} & {*own}):
        user = backend.authenticator.by_token(token)
        found = (user, [each for each in wanted or own if each in own]) if user else None
    if found is None:
        review.status = TokenReviewStatus(error="[invalid bearer token, Token is not valid]", user=UserInfo())
    else:
        user, audiences = found
        review.status = TokenReviewStatus(authenticated=True, user=_user_info(user), audiences=audiences or None)
    return review


SELF_SUBJECT_ACCESS_REVIEW = Kind(SelfSubjectAccessReview, create=_self_access)
SUBJECT_ACCESS_REVIEW = Kind(SubjectAccessReview, create=_access)
LOCAL_SUBJECT_ACCESS_REVIEW = Kind(LocalSubjectAccessReview, create=_local_access)
SELF_SUBJECT_RULES_REVIEW = Kind(SelfSubjectRulesReview, create=_rules)
SELF_SUBJECT_REVIEW = Kind(SelfSubjectReview, create=_self)
TOKEN_REVIEW = Kind(TokenReview, create=_token)
