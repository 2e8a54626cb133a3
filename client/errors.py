"""Why there is no conversation with an API server, in a line fit for a user. Pure."""

from __future__ import annotations


class ConfigError(Exception):
    """The kubeconfig says nothing usable."""

    def line(self) -> str:
        return f"error: {self}"


class Unreachable(Exception):
    """No answer came. The text is the whole line, as kubectl words it."""

    def line(self) -> str:
        return str(self)
