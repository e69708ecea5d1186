"""When a key or a password ends, as an option takes it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Final

import click

from importer import durations
from operate.output import shown

_NEVER: Final = "never"
_LAST: Final = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


class Expiry(click.ParamType[float]):
    """A duration from now, the last day in UTC, or never, which is 0."""

    name = "expiry"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the moment."""
        if isinstance(value, float):
            return value
        text = str(value)
        if text == _NEVER:
            return 0.0
        if (seconds := durations.seconds_of(text)) is not None:
            return self._future(time.time() + seconds, text, param, ctx)
        try:
            day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError:
            expected = "expected the last day, such as 2027-06-30, a duration, such as 90d, or never"
            self.fail(f"{shown(text)}: {expected}", param, ctx)
        return self._future((day + timedelta(days=1)).timestamp(), text, param, ctx)

    def _future(self, moment: float, text: str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if moment <= time.time():
            self.fail(f"{shown(text)}: is over already, so the key would let nobody in", param, ctx)
        if moment >= _LAST:
            self.fail(f"{shown(text)}: expected a moment before the year 9999, or never", param, ctx)
        return moment
