"""What can go wrong in a command, and the line a user reads about it. Pure.

    CliError           the command makes no sense or cannot be done; printed as `error: ...`
      StatusError      the API server answered with a Status; printed as `Error from server (NotFound): ...`
      Failures         several of them, a line each

Wording and exit code (1) are kubectl's, because people and scripts match on them. client/errors.py has two more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any


class CliError(Exception):
    """A reason to stop, fit for the user as it is."""

    def line(self) -> str:
        text = str(self)
        return text if text.startswith("error: ") else f"error: {text}"

    listed = line
    """The line when it is one of several errors."""


class StatusError(CliError):
    """A failure Status of the API server. `context` says what was being done, as in `error when deleting "x.yaml"`."""

    def __init__(self, status: Mapping[str, Any], *, context: str = "") -> None:
        self.status, self.context = status, context
        super().__init__(self.message)

    @property
    def reason(self) -> str:
        return str(self.status.get("reason") or "")

    @property
    def message(self) -> str:
        return str(self.status.get("message") or "unknown")

    @property
    def causes(self) -> list[Mapping[str, Any]]:
        """The fields that are wrong or contested."""
        return (self.status.get("details") or {}).get("causes") or []

    def within(self, context: str) -> StatusError:
        """The same error, saying what was being done."""
        return StatusError(self.status, context=context)

    def line(self) -> str:
        if self.reason == "Invalid":
            return _invalid(self)
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


class Collected(list[CliError]):
    """Errors of a command that goes on with the next object: `with failures: ...` around each."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, type_: object, error: BaseException | None, traceback: object) -> bool:
        if isinstance(error, CliError):
            self.append(error)
            return True
        return False


@contextmanager
def collected() -> Iterator[Collected]:
    """Raise in the end what was collected on the way, if anything."""
    failures = Collected()
    yield failures
    if failures:
        raise failures[0] if len(failures) == 1 else Failures(failures)


def not_found(qualified: str, name: str) -> StatusError:
    """The answer an API server gives for an object it does not have."""
    message = f'{qualified} "{name}" not found'
    return StatusError({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": message})


def _invalid(error: StatusError) -> str:
    """The fields of a 422: on the same line when there is one, a list below when there are more."""
    details = error.status.get("details") or {}
    subject = "The request is invalid"
    if details.get("kind") or details.get("name"):
        subject = f'The {details.get("kind", "")} "{details.get("name", "")}" is invalid'
    elif error.status.get("message") and not error.causes:
        subject += f": {error.message}"
    texts = list(dict.fromkeys(f"{each['field']}: {each['message']}" for each in error.causes if each.get("field")))
    if len(texts) < 2:
        return ": ".join([subject, *texts])
    return f"{subject}: \n" + "\n".join(f"* {text}" for text in texts)
