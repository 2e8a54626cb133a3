"""What can go wrong while a machine becomes part of a cluster.

Every error a user can cause or meet is one BootstrapError whose text is one line that says what to do.
The CLI prints that line and exits with 1; nobody else catches it.
"""


class BootstrapError(Exception):
    """A one-line, printable reason why init, join or reset stopped."""


class PreflightError(BootstrapError):
    """This machine is not ready: not root, a port is busy, a program or the Docker socket is missing."""


class DiscoveryError(BootstrapError):
    """The cluster cannot be reached, or is not the one the CA hash describes."""


class TokenError(BootstrapError):
    """The bootstrap token is malformed, wrong or expired."""
