"""When what could not be sent is tried again, and when it is given up. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from importer.durations import back_off_s

_FIRST_RETRY_S: Final = 60
LAST_RETRY_S: Final = 3600
_LIFE: Final = timedelta(days=7)
# Age alone must not end the retries, or a clock that jumps or a week switched off would: ten attempts take 4 h.
_MIN_ATTEMPTS: Final = 10


def retry_delay(attempts: int, *, permanent: bool) -> timedelta:
    """Return the pause after `attempts` failures: 1 min doubling to 1 h, or 1 h at once if refused for good."""
    if permanent:
        return timedelta(seconds=LAST_RETRY_S)
    return timedelta(seconds=back_off_s(attempts, first_s=_FIRST_RETRY_S, last_s=LAST_RETRY_S))


def is_spent(attempts: int, created_at: datetime, now: datetime) -> bool:
    """Return whether something of that age, which failed again, is given up."""
    return attempts >= _MIN_ATTEMPTS and now - created_at >= _LIFE
