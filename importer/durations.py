"""Durations as people write them, such as "90min", "26h" or "8d", and pauses that grow."""

from __future__ import annotations

import re
from typing import Final

_DURATION: Final = re.compile(r"(\d+)\s*(m|min|h|d|w)")
_MOST_DOUBLINGS: Final = 64  # beyond any pause, and no number grows for ever
_UNITS: Final = {
    "m": (60, "minute"),
    "min": (60, "minute"),
    "h": (3600, "hour"),
    "d": (86400, "day"),
    "w": (604_800, "week"),
}


def seconds_of(text: str) -> int | None:
    """Return a duration in seconds, None when the text is not one."""
    match = _DURATION.fullmatch(text)
    return int(match[1]) * _UNITS[match[2]][0] if match else None


def in_words(text: str) -> str:
    """Return a duration as a sentence has it: "26 hours", "1 day"."""
    count, unit = _DURATION.fullmatch(text).groups()  # type: ignore[union-attr]
    return f"{count} {_UNITS[unit][1]}{'' if count == '1' else 's'}"


def back_off_s(failures: int, *, first_s: float, last_s: float) -> float:
    """Return the pause after so many failures in a row: `first_s`, doubled by each further one up to `last_s`."""
    return min(first_s * 2 ** min(failures - 1, _MOST_DOUBLINGS), last_s) if failures else 0.0
