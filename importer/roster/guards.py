"""
Guards: from what a file changes to whether somebody has to approve it. Pure; `store/roster/counts` counts.

A limit is a share and a floor, and is exceeded only above both. Above the share alone there is a warning.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from importer.model import NAMED_LINES, Change, FileWarning, Message, OnHold, ProblemGroup, message
from importer.settings import GuardSettings

# The attributes that tell who somebody is; a guard counts those of which two change, or one and the same.
PERSONAL: Final = ("first_name", "last_name", "email", "user_name", "date_of_birth")

# Whose limits can be paused by name.
GUARDS: Final = ("identity", "attribute", "created", "deactivated", "fewer_rows", "undone")
UNLIMITED: Final = GuardSettings(
    identity="off", attribute="off", created="off", deactivated="off", undone="off", fewer_rows="off"
)

_MIN_WARNED: Final = 3  # users: a share of fewer says nothing
_GROWTH_PERCENT: Final = 10  # by which an approved change may have grown meanwhile
_WARNINGS: Final = {"reassigned": ("id.reassigned", "unique_id"), "exchanged": ("name.exchanged", "first_name")}


class Limit(msgspec.Struct, frozen=True):
    """What one file may change unasked: up to `floor`, or up to `share` percent, and not above `ceiling`."""

    share: int
    floor: int
    ceiling: int

    def is_share_exceeded(self, count: int, of: int) -> bool:
        """Tell whether so many of so many are above the share."""
        return count * 100 > of * self.share

    def is_exceeded(self, count: int, of: int) -> bool:
        """Tell whether so many of so many are above share and floor, or above the ceiling alone."""
        return count > self.ceiling or (count > self.floor and self.is_share_exceeded(count, of))


def limit_of(guard: str, settings: GuardSettings) -> Limit | None:
    """Return the limit of a guard; None if the guard is off, or no guard limits this kind of change."""
    share = getattr(settings, guard, "off")
    if share == "off":
        return None
    ceiling = getattr(settings, f"{guard}_ceiling", sys.maxsize)
    return Limit(int(share.rstrip(" %")), getattr(settings, f"{guard}_floor"), ceiling)


def tripped(changes: Iterable[Change], settings: GuardSettings, paused: Collection[str] = ()) -> tuple[Change, ...]:
    """Return the changes that are above their limit, but for those of which the guard is paused."""
    return tuple(
        each
        for each in changes
        if each.guard not in paused
        and (limit := limit_of(each.guard, settings))
        and limit.is_exceeded(each.count, each.of)
    )


def covers(approved: Sequence[Change], now: Iterable[Change]) -> bool:
    """Tell whether an approval of these changes is good for those: the same guards, none grown by more than a tenth."""
    counts = {(each.guard, each.field): each.count for each in approved}
    return all(each.count * 100 <= counts.get((each.guard, each.field), 0) * (100 + _GROWTH_PERCENT) for each in now)


def may_matter(changed: Mapping[tuple[str, ...], int], known: int, settings: GuardSettings) -> bool:
    """
    Tell whether it is worth to count what a file changes of known users, by the columns that it wrote of how many.

    To count takes a few percent of an import that changes many: where one attribute of a small share changes, as each
    night, nothing can come of it.
    """
    of_each = Counter[str]()
    for columns, rows in changed.items():
        of_each.update(dict.fromkeys({*columns}.intersection(PERSONAL), rows))
    several = sum(rows for columns, rows in changed.items() if len({*columns}.intersection(PERSONAL)) > 1)
    most = {"identity": several, "attribute": max(of_each.values(), default=0)}
    is_renamed = any({"first_name", "last_name"}.issubset(columns) for columns in changed)
    limits = {name: limit for name in most if (limit := limit_of(name, settings))}
    return is_renamed or any(limit.is_share_exceeded(most[name], known) for name, limit in limits.items())


def told(change: Change) -> Message:
    """Return what is said of a change, whether it is above a limit or not."""
    if change.guard in _WARNINGS:
        return message(_WARNINGS[change.guard][0])
    return _counted(f"changes.many/{change.guard}{'_status' if _is_by_status(change) else ''}", change)


def _is_by_status(change: Change) -> bool:
    """Tell whether it is about users who leave by a column of the file, not because they are missing from it."""
    return change.guard == "deactivated" and bool(change.field)


def _counted(key: str, change: Change) -> Message:
    column = {"column": change.field} if change.field else {}
    return message(key, count=change.count, total=change.of, **column)


def problems(held: OnHold | None) -> Iterator[ProblemGroup]:
    """Yield what is to be approved of a file on hold; nothing of another one."""
    for each in held.tripped if held else ():
        reason = _counted(f"guard.{each.guard}{'/status' if _is_by_status(each) else ''}", each)
        rows = each.count if each.lines else 0  # what is missing from a file is on no line of it
        yield ProblemGroup(field=each.field, reason=reason, rows=rows, lines=each.lines[:NAMED_LINES])


def warnings(changes: Iterable[Change], settings: GuardSettings) -> Iterator[FileWarning]:
    """Yield what is seen below the limits: a share alone, ids of other people, exchanged names."""
    for each in changes:
        lines = each.lines[:NAMED_LINES]
        if each.guard in _WARNINGS:
            field = _WARNINGS[each.guard][1]
            yield FileWarning(reason=told(each), field=field, rows=each.count, lines=lines)
        elif _is_share_alone(each, settings):
            rows = each.count if each.lines else 0
            yield FileWarning(reason=told(each), field=each.field, rows=rows, lines=lines)


def _is_share_alone(change: Change, settings: GuardSettings) -> bool:
    limit = limit_of(change.guard, settings)
    if limit is None or change.count < _MIN_WARNED:
        return False
    return limit.is_share_exceeded(change.count, change.of) and not limit.is_exceeded(change.count, change.of)
