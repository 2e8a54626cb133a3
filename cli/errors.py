"""What can go wrong in a command, and the line a user reads about it. Pure.

    CliError           the command makes no sense or cannot be done; printed as `error: ...`
      StatusError      the API server answered with a Status; printed as `Error from server (NotFound): ...`
      Unreachable      there is no conversation with an API server at all
    Failures           several of them, a line each

Wording and exit code (1) are kubectl's, because people and scripts match on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class CliError(Exception):
    """A reason to stop, fit for the user as it is."""

    exit_code = 1

    def line(self) -> str:
        text = str(self)
        return text if text.startswith("error: ") else f"error: {text}"

    def listed(self) -> str:
        """The line when it is one of several errors."""
        return self.line()


class Unreachable(CliError):
    """No answer came. The text is the whole line, as kubectl words it."""

    def line(self) -> str:
        return str(self)


class StatusError(CliError):
    """A failure Status of the API server. `context` says what was being done, as in `error when creating "x.yaml"`."""

    def __init__(self, status: Mapping[str, Any], *, context: str = "") -> None:
        self.status = status
        self.context = context
        super().__init__(self.message)

    @property
    def code(self) -> int:
        return int(self.status.get("code") or 500)

    @property
    def reason(self) -> str:
        return str(self.status.get("reason") or "")

    @property
    def message(self) -> str:
        return str(self.status.get("message") or "unknown")

    def within(self, context: str) -> StatusError:
        """The same error, saying what was being done."""
        return StatusError(self.status, context=context)

    def line(self) -> str:
        if self.reason == "Invalid":
            return _invalid(self.status)
        if self.reason == "Unauthorized":
            return f"error: You must be logged in to the server ({self.reason})"
        return self.listed()

    def listed(self) -> str:
        text = f"{self.context}: {self.message}" if self.context else self.message
        return f"Error from server ({self.reason}): {text}" if self.reason else f"Error from server: {text}"


class Failures(CliError):
    """Several objects failed; the others were done."""

    def __init__(self, errors: Sequence[CliError]) -> None:
        super().__init__("; ".join(str(each) for each in errors))
        self.errors = errors

    def line(self) -> str:
        return "\n".join(each.listed() for each in self.errors)


def raise_failures(errors: Sequence[CliError]) -> None:
    """Raise what was collected while going through several objects, if anything."""
    if errors:
        raise errors[0] if len(errors) == 1 else Failures(errors)


def not_found(qualified: str, name: str) -> StatusError:
    """The answer an API server gives for an object it does not have."""
    message = f'{qualified} "{name}" not found'
    return StatusError({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": message})


def _invalid(status: Mapping[str, Any]) -> str:
    """The fields of a 422: on the same line when there is one, a list below when there are more."""
    details = status.get("details") or {}
    causes = details.get("causes") or []
    subject = "The request is invalid"
    if details.get("kind") or details.get("name"):
        subject = f'The {details.get("kind", "")} "{details.get("name", "")}" is invalid'
    elif status.get("message") and not causes:
        subject += f": {status['message']}"
    texts = list(dict.fromkeys(f"{each['field']}: {each['message']}" for each in causes if each.get("field")))
    if not texts:
        return subject
    if len(texts) == 1:
        return f"{subject}: {texts[0]}"
    return f"{subject}: \n" + "\n".join(f"* {text}" for text in texts)
