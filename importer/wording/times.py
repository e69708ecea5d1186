"""Times as people at a place read them."""

from __future__ import annotations

import zoneinfo
from datetime import datetime

from importer.model import Message, message
from importer.wording.terms import TERMS


def local_day(at: datetime, timezone: str) -> str:
    """Return the day of a time at a place; "" for the zone of this host."""
    return f"{at.astimezone(zoneinfo.ZoneInfo(timezone) if timezone else None):%Y-%m-%d}"


def local_time(at: datetime, timezone: str) -> Message:
    """Return a time as people at a place read it, with the name of its zone; "" for the zone of this host."""
    local = at.astimezone(zoneinfo.ZoneInfo(timezone) if timezone else None)
    zone = local.tzname() or ""
    key = f"zone/{zone.lower()}{local:%z}"  # with the offset: China has a CST as well
    shown = zone if zone[:1].isalpha() else f"UTC{zone}"
    return message("time", at=f"{local:%Y-%m-%d %H:%M}", zone=Message(key) if key in TERMS else shown)
