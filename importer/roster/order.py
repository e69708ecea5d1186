"""The date in the names of a feed's files, by which they are in order. Pure."""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import Final

from importer.names import as_csv

_A_DAY: Final = datetime(2024, 11, 23, 21, 43, 56)  # noqa: DTZ001 - of a name, in whatever zone


def is_format(dated: str) -> bool:
    """Tell whether names of this format, as strptime reads it, say year, month and day."""
    try:
        return datetime.strptime(_A_DAY.strftime(dated), dated).date() == _A_DAY.date()  # noqa: DTZ007
    except ValueError:
        return False


def date_in(file: str, dated: str) -> str:
    """Return the time that the name of a file says, so that later ones sort later; "" if it says none."""
    for name in (file, as_csv(file)) if dated else ():
        with contextlib.suppress(ValueError):
            return datetime.strptime(name, dated).isoformat()  # noqa: DTZ007
    return ""
