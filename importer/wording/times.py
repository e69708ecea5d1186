"""Times as people at a place read them."""

from __future__ import annotations

from datetime import datetime, tzinfo

from importer.model import Message, message
from importer.wording.terms import TERMS


def local_day(at: datetime, timezone: str) -> str:
    """Return the day of a time at a place; "" for the zone of this host."""
    return f"{at.astimezone(_zone(timezone)):%Y-%m-%d}"


def local_time(at: datetime, timezone: str) -> Message:
    """Return a time as people at a place read it, with the name of its zone; "" for the zone of this host."""
    local = at.astimezone(_zone(timezone))
    zone = local.tzname() or ""
    key = f"zone/{zone.lower()}{local:%z}"  # with the offset: China has a CST as well
    shown = zone if zone[:1].isalpha() else f"UTC{zone}"
    return message("time", at=f"{local:%Y-%m-%d %H:%M}", zone=Message(key) if key in TERMS else shown)


def _zone(timezone: str) -> tzinfo | None:
    if not timezone:
        return None
    from zoneinfo import ZoneInfo  # 3 ms, and most hosts have their own zone

    return ZoneInfo(timezone)
