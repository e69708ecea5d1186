"""Durations as people write them: "90min", "26h", "8d"."""

from __future__ import annotations

import re
from typing import Final

_DURATION: Final = re.compile(r"(\d+)\s*(m|min|h|d|w)")
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
