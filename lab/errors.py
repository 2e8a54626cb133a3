"""What can go wrong in a lab: one line, like every error of bootstrap, which the CLI prints."""

from bootstrap.errors import BootstrapError


class LabError(BootstrapError):
    """A one-line, printable reason why the lab cannot do something."""
