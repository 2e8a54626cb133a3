"""The errors of the API, and the one mapping between them and Kubernetes' `Status`.

    ApiStatusError
      BadRequest 400            Unauthorized 401        Forbidden 403         NotFound 404
      MethodNotAllowed 405      NotAcceptable 406       AlreadyExists 409     Conflict 409
      Expired 410               RequestEntityTooLarge 413                     UnsupportedMediaType 415
      UriTooLong 414            HeadersTooLarge 431
      Invalid 422               TooManyRequests 429     InternalError 500     ServiceUnavailable 503
      Timeout 504

Messages and reasons are those of k8s.io/apimachinery/pkg/api/errors, because clients and people match on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lightkube.models.meta_v1 import ListMeta, Status, StatusCause, StatusDetails


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with one field; `kind` is Kubernetes' cause reason (FieldValueInvalid, ...)."""

    path: str
    kind: str
    detail: str
    value: Any = None

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"

    @property
    def message(self) -> str:
        title = _FIELD_TITLES[self.kind]
        shown = f": {_shown(self.value)}" if self.kind in _KINDS_WITH_VALUE else ""
        return f"{title}{shown}" + (f": {self.detail}" if self.detail else "")


_FIELD_TITLES = {
    "FieldValueRequired": "Required value",
    "FieldValueInvalid": "Invalid value",
    "FieldValueNotSupported": "Unsupported value",
    "FieldValueDuplicate": "Duplicate value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueNotFound": "Not found",
    "FieldValueTooLong": "Too long",
    "FieldValueTypeInvalid": "Invalid value",
}
_KINDS_WITH_VALUE = (
    "FieldValueInvalid",
    "FieldValueNotSupported",
    "FieldValueDuplicate",
    "FieldValueNotFound",
    "FieldValueTypeInvalid",
)


def _shown(value: Any) -> str:
    """A value as Go's %#v-ish field errors show it: strings quoted, None as null, the rest plain."""
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def required(path: str, detail: str = "") -> FieldError:
    return FieldError(path, "FieldValueRequired", detail)


def invalid(path: str, value: Any, detail: str) -> FieldError:
    return FieldError(path, "FieldValueInvalid", detail, value)


def not_supported(path: str, value: Any, supported: Sequence[str]) -> FieldError:
    listed = ", ".join(f'"{each}"' for each in sorted(supported))
    return FieldError(path, "FieldValueNotSupported", f"supported values: {listed}", value)


def duplicate(path: str, value: Any) -> FieldError:
    return FieldError(path, "FieldValueDuplicate", "", value)


def forbidden(path: str, detail: str) -> FieldError:
    return FieldError(path, "FieldValueForbidden", detail)


class ApiStatusError(Exception):
    """An answer of the API that is not success; `to_status()` is what the client gets to see."""

    code: ClassVar[int] = 500
    reason: ClassVar[str] = "InternalError"

    def __init__(self, message: str, *, details: StatusDetails | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def to_status(self) -> Status:
        return Status(
            apiVersion="v1",
            kind="Status",
            metadata=ListMeta(),
            status="Failure",
            message=self.message,
            reason=self.reason,
            details=self.details,
            code=self.code,
        )


class BadRequest(ApiStatusError):
    """The request makes no sense: malformed body, wrong type, unknown parameter."""

    code = 400
    reason = "BadRequest"


class Unauthorized(ApiStatusError):
    """No or wrong credentials."""

    code = 401
    reason = "Unauthorized"

    def __init__(self, message: str = "Unauthorized") -> None:
        super().__init__(message)


class Forbidden(ApiStatusError):
    """Known, but not allowed."""

    code = 403
    reason = "Forbidden"

    @classmethod
    def of(cls, *, qualified: str, name: str, why: str) -> Forbidden:
        plural, _, group = qualified.partition(".")
        subject = f'{qualified} "{name}" is forbidden: {why}'
        return cls(subject, details=StatusDetails(name=name or None, group=group or None, kind=plural))


class NotFound(ApiStatusError):
    """No such object, kind or path."""

    code = 404
    reason = "NotFound"

    @classmethod
    def of(cls, *, qualified: str, name: str) -> NotFound:
        plural, _, group = qualified.partition(".")
        details = StatusDetails(name=name, group=group or None, kind=plural)
        return cls(f'{qualified} "{name}" not found', details=details)

    @classmethod
    def path(cls) -> NotFound:
        return cls("the server could not find the requested resource", details=StatusDetails())


class MethodNotAllowed(ApiStatusError):
    code = 405
    reason = "MethodNotAllowed"

    def __init__(self, message: str = "the server does not allow this method on the requested resource") -> None:
        super().__init__(message, details=StatusDetails())


class NotAcceptable(ApiStatusError):
    """None of the media types the client accepts can be produced."""

    code = 406
    reason = "NotAcceptable"


class AlreadyExists(ApiStatusError):
    code = 409
    reason = "AlreadyExists"

    @classmethod
    def of(cls, *, qualified: str, name: str) -> AlreadyExists:
        plural, _, group = qualified.partition(".")
        details = StatusDetails(name=name, group=group or None, kind=plural)
        return cls(f'{qualified} "{name}" already exists', details=details)


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


class Conflict(ApiStatusError):
    """The object is not at the version, or not the one (uid), the writer expected."""

    code = 409
    reason = "Conflict"

    @classmethod
    def of(cls, *, qualified: str, name: str, why: str = MODIFIED) -> Conflict:
        plural, _, group = qualified.partition(".")
        details = StatusDetails(name=name, group=group or None, kind=plural)
        return cls(f'Operation cannot be fulfilled on {qualified} "{name}": {why}', details=details)


class Expired(ApiStatusError):
    """The resourceVersion or continue token is older than the history kept: list again."""

    code = 410
    reason = "Expired"


class RequestEntityTooLarge(ApiStatusError):
    code = 413
    reason = "RequestEntityTooLarge"

    @classmethod
    def over(cls, limit_bytes: int) -> RequestEntityTooLarge:
        return cls(f"Request entity too large: limit is {limit_bytes}")


class UriTooLong(ApiStatusError):
    code = 414
    reason = "RequestURITooLong"


class HeadersTooLarge(ApiStatusError):
    code = 431
    reason = "RequestHeaderFieldsTooLarge"


class UnsupportedMediaType(ApiStatusError):
    code = 415
    reason = "UnsupportedMediaType"


class Invalid(ApiStatusError):
    """Well-formed but wrong, with every field that is: HTTP 422."""

    code = 422
    reason = "Invalid"

    @classmethod
    def of(cls, *, kind: str, group: str, name: str, errors: Sequence[FieldError]) -> Invalid:
        texts = [str(each) for each in errors]
        listed = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
        qualified = f"{kind}.{group}" if group else kind
        causes = [StatusCause(reason=each.kind, message=each.message, field=each.path) for each in errors]
        details = StatusDetails(name=name or None, group=group or None, kind=kind, causes=causes)
        return cls(f'{qualified} "{name}" is invalid: {listed}', details=details)


class TooManyRequests(ApiStatusError):
    """Try again later, for example because an eviction would break a disruption budget."""

    code = 429
    reason = "TooManyRequests"


class InternalError(ApiStatusError):
    code = 500
    reason = "InternalError"

    @classmethod
    def of(cls, message: str) -> InternalError:
        details = StatusDetails(causes=[StatusCause(message=message)])
        return cls(f"Internal error occurred: {message}", details=details)


class ServiceUnavailable(ApiStatusError):
    """The store is away; nothing was changed as far as the server knows."""

    code = 503
    reason = "ServiceUnavailable"


class Timeout(ApiStatusError):
    """The outcome could not be learned in time."""

    code = 504
    reason = "Timeout"
