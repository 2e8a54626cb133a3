"""What makes a Compose file unusable. Unknown keys never do."""

from __future__ import annotations


class ComposeError(Exception):
    """A reason to stop, fit for the user as it is: with file and line where there is one."""
