"""How many users the snapshots of a feed may deactivate unasked, and what is on hold if there are more. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from importer.model import Change
from importer.roster.guards import covers, limit_of
from importer.settings import GuardSettings

GUARD: Final = "deactivated"
DAYS: Final = 7  # of which the snapshots count together: a little less than the share each night must not pass


def matters(count: int, settings: GuardSettings) -> bool:
    """Tell whether so many may be too many at all."""
    limit = limit_of(GUARD, settings)
    return limit is not None and count > min(limit.floor, limit.ceiling)


def is_told(change: Change, settings: GuardSettings) -> bool:
    """Tell whether so many may be too many, or are a share above the limit of a feed with few users."""
    limit = limit_of(GUARD, settings)
    return limit is not None and (matters(change.count, settings) or limit.is_share_exceeded(change.count, change.of))


def most_counted(count: int, settings: GuardSettings) -> int:
    """Return how many active users it takes to tell so much of this number: of more it is no share; -1: count all."""
    limit = limit_of(GUARD, settings)
    if limit is None:
        return 0
    return count * 100 // limit.share + 1 if limit.share and not matters(count, settings) else -1


def is_over(change: Change, settings: GuardSettings, approved: Sequence[Change]) -> bool:
    """Tell whether somebody has to be asked, who has not approved of it already."""
    limit = limit_of(GUARD, settings)
    return limit is not None and limit.is_exceeded(change.count, change.of) and not covers(approved, [change])


def are_all(tripped: Sequence[Change], settings: GuardSettings) -> bool:
    """Tell whether the file is applied, and only whom it lacks stay until somebody decides."""
    return settings.hold == "removals" and all(each.guard == GUARD and not each.field for each in tripped)
