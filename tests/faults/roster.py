"""
What users a ledger leads to: files, snapshots and undos of one client, done again in its order.

It knows of each user what the uploads of `Ground` set: a last name, and whether the user is active.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from tests.faults.ground import MISSES, SNAPSHOTS

Values = tuple[str | None, str | None]  # before and after
Changes = dict[str, dict[str, Values]]  # of one import: unique id -> column -> values

_UNDO = re.compile(r"undo of (\d+)")


@dataclasses.dataclass(kw_only=True)
class Person:
    """One user. `feeds` are those that state it, `misses` how many snapshots in a row lack it."""

    last_name: str
    inactive_by: str | None = None
    feeds: set[str]
    misses: int = 0


class Roster:
    """
    The users of one client. `changes` are those of each import, without the users that it made.

    `asks`: users leave only if their removal is approved.
    """

    def __init__(self, *, asks: bool) -> None:
        self._asks = asks
        self.people: dict[str, Person] = {}
        self.changes: dict[int, Changes] = {}
        self.last_snapshot: int | None = None
        self._made: dict[int, set[str]] = {}

    def follow(self, row: Mapping[str, Any], users: Mapping[str, str]) -> None:
        """Do what a row of the ledger says was done; `users` are the last names in its file."""
        before = copy.deepcopy(self.people)
        if undo := _UNDO.fullmatch(row["file"]):
            self._undo(int(undo[1]))
        elif row["kind"] == "removals":
            for person in self.people.values():
                if person.misses >= MISSES and person.inactive_by is None and person.feeds == {SNAPSHOTS}:
                    person.misses, person.inactive_by = 0, "snapshot"
        elif row["outcome"] in ("imported", "partly"):
            self._state(row["feed"], users)
            if row["feed"] == SNAPSHOTS:
                self.last_snapshot = row["id"]
        self._note(row["id"], before)

    def _state(self, feed: str, users: Mapping[str, str]) -> None:
        for unique_id, name in users.items():
            person = self.people.setdefault(unique_id, Person(last_name=name, feeds={feed}))
            person.last_name = name
            person.feeds.add(feed)
            if person.inactive_by:
                person.inactive_by, person.feeds = None, {feed}
        if feed == SNAPSHOTS:
            for unique_id, person in self.people.items():
                self._count_miss(person, is_present=unique_id in users)

    def _count_miss(self, person: Person, *, is_present: bool) -> None:
        if is_present:
            person.misses = 0
        elif person.inactive_by is None and SNAPSHOTS in person.feeds:
            person.misses += 1
            if person.misses >= MISSES and person.feeds != {SNAPSHOTS}:
                person.misses = 0
                person.feeds.remove(SNAPSHOTS)
            elif person.misses >= MISSES and not self._asks:
                person.misses, person.inactive_by = 0, "snapshot"

    def _undo(self, import_id: int) -> None:
        for unique_id, values in self.changes[import_id].items():
            person = self.people[unique_id]
            for column, (before, after) in values.items():
                if getattr(person, column) == after:
                    setattr(person, column, before)
        for unique_id in self._made[import_id]:
            if self.people[unique_id].inactive_by is None:
                self.people[unique_id].inactive_by = "undo"

    def _note(self, import_id: int, before: Mapping[str, Person]) -> None:
        self._made[import_id] = self.people.keys() - before.keys()
        changes: Changes = {}
        for unique_id, old in before.items():
            pairs = {name: (getattr(old, name), getattr(self.people[unique_id], name)) for name in _COLUMNS}
            if changed := {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}:
                changes[unique_id] = changed
        self.changes[import_id] = changes


_COLUMNS = ("last_name", "inactive_by")
