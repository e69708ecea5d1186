"""The date in the names of a feed's files, by which they are in order. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Final

_A_DAY: Final = datetime(2024, 11, 23, 21, 43, 56)  # noqa: DTZ001 - of a name, in whatever zone


def is_format(dated: str) -> bool:
    """Tell whether names of this format, as strptime reads it, say year, month and day."""
    try:
        return datetime.strptime(_A_DAY.strftime(dated), dated).date() == _A_DAY.date()  # noqa: DTZ007
    except ValueError:
        return False


def date_in(file: str, dated: str) -> str:
    """Return the time that the name of a file says, so that later ones sort later; "" if it says none."""
    if not dated:
        return ""
    try:
        return datetime.strptime(file, dated).isoformat()  # noqa: DTZ007
    except ValueError:
        return ""
