"""What several kinds fill in in the same way. Pure."""

from __future__ import annotations

from datetime import datetime


def micro_time(moment: datetime | None) -> datetime | None:
    """A MicroTime as Go reads it: it demands the fraction, which a whole second would be written without."""
    return moment.replace(microsecond=1) if moment is not None and not moment.microsecond else moment
