"""
Files on hold: which newer file replaces one, which has to wait behind one, and what approves one. Pure.

A file on hold is claimed and previewed, it is over a limit, and nothing of it is applied.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable, Sequence
from typing import Final

from importer.model import Change, OnHold
from importer.roster import guards
from importer.roster.order import date_in
from importer.settings import ClientSettings

_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # none that is taken for another
_CODE_LETTERS: Final = 6  # 2**30 codes: each guess costs an upload, and is told


def new_code() -> str:
    """Return a random code that approves one preview."""
    return "".join(secrets.choice(_LETTERS) for _ in range(_CODE_LETTERS))


def approval_name(held: OnHold) -> str:
    """Return the name of the file that approves one on hold, whatever is in it."""
    return f"{held.file}.approve-{held.code}"


def approved_by(code: str, files: Iterable[OnHold]) -> OnHold | None:
    """Return the file on hold that a code approves, whatever its case; compared in constant time."""
    given = code.upper().encode()
    return next((each for each in files if hmac.compare_digest(each.code.encode(), given)), None)


def is_superseded(held: OnHold, file: str, client: ClientSettings) -> bool:
    """
    Tell whether a newer file of the same feed, which corrects none, replaces one on hold.

    One whose name has an older date is not newer: it waits, and is refused if the one on hold is approved.
    """
    feed, rule = client.feed_of(file), client.guard.supersede
    is_by_newer = rule == "newer" or (not rule and (feed.is_snapshot or bool(feed.dated)))
    date = date_in(file, feed.dated)
    is_older = bool(date) and date < date_in(held.file, feed.dated)
    return held.feed == feed.name and not is_older and (is_by_newer or held.file == file)


def superseded(
    held: Iterable[OnHold], file: str, client: ClientSettings, *, is_correction: bool, asks_anew: bool = False
) -> list[OnHold]:
    """Return what is on hold and replaced by a newer file of this name; `asks_anew`: it knows who is missing."""
    if is_correction:
        return []
    feed = client.feed_of(file).name
    return [
        each
        for each in held
        if (asks_anew and each.feed == feed if each.is_of_removals else is_superseded(each, file, client))
    ]


def blocking(files: Iterable[OnHold], file: str, client: ClientSettings) -> str:
    """Return the file on hold behind which one of this name has to wait, unless it corrects one; "" for none."""
    files = [each for each in files if not each.is_of_removals]
    if any(is_superseded(each, file, client) for each in files):
        return ""
    feed = client.feed_of(file).name
    return next((each.file for each in files if each.feed == feed and not each.is_correction), "")


def code_for(tripped: Sequence[Change], mailed: Iterable[OnHold]) -> str:
    """Return the code of a preview: that of a file it replaces while it would do about the same, else a new one."""
    return next((each.code for each in mailed if guards.covers(each.tripped, tripped)), "") or new_code()
