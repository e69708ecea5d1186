"""Random sequences of imports and of what the operator does, beside a model in memory: never a difference."""

from __future__ import annotations

import copy
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from importer.settings import StatusSettings
from importer.store import integrity, personal_data
from importer.store.roster import deactivation, history, ids
from importer.store.roster.action import NotPossible
from importer.store.roster.undo import undo
from importer.store.sqlite.damage import database_findings
from tests.engine import CLIENT, Engine
from tests.tables import tables_of

SEQUENCES: Final = 2000 if os.environ.get("ROSTERD_FAULTS") == "full" else 300
PARTS: Final = 10
STEPS: Final = 12
FIELDS: Final = ("first_name", "city", "email", "user_name")
KEYED: Final = ("email", "user_name")
STATUS: Final = "Enrolment"
HEADER: Final = "unique_id,login_source,last_name," + ",".join((*FIELDS, STATUS))

Values = dict[str, str | None]  # of a user: FIELDS and inactive_by
Users = dict[str, Values]


class Model:
    """What the users should be, and what each import and action changed of them: value by value."""

    def __init__(self) -> None:
        self.users: Users = {}
        self.ids: dict[str, int] = {}  # the person behind an id
        self.done: list[
            dict[int, dict[str, tuple[str | None, str | None]]]
        ] = []  # by import: person -> field -> values
        self.made: list[set[int]] = []
        self.people = 0

    def commit(self, before: Users, persons: dict[str, int]) -> None:
        """Note what has become of everybody since."""
        made: set[int] = set()
        changed: dict[int, dict[str, tuple[str | None, str | None]]] = {}
        former = {person: unique_id for unique_id, person in persons.items()}
        for unique_id, person in self.ids.items():
            old_id = former.get(person)
            if old_id is None:
                made.add(person)
                continue
            old, new = {"unique_id": old_id, **before[old_id]}, {"unique_id": unique_id, **self.users[unique_id]}
            if pairs := {name: (old[name], new[name]) for name in new if old[name] != new[name]}:
                changed[person] = pairs
        self.done.append(changed)
        self.made.append(made)

    def holders(self, field: str, value: str | None) -> list[str]:
        """Return the active users who have this value, whatever its case."""
        if not value:
            return []
        return [
            unique_id
            for unique_id, user in self.users.items()
            if user["inactive_by"] is None and (user[field] or "").casefold() == value.casefold()
        ]


def is_sound(users: Users) -> bool:
    """Tell whether no two active users share an address or a user name."""
    for field in KEYED:
        values = [value.casefold() for user in users.values() if user["inactive_by"] is None and (value := user[field])]
        if len(values) != len(set(values)):
            return False
    return True


class Sequence:
    """An installation and the model beside it, and what comes next by the dice."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self.engine = engine
        self.dice = random.Random(seed)  # noqa: S311 - dice
        self.model = Model()
        self.told: list[object] = []
        self.has_status = self.dice.random() < 0.5
        self.protected = self.dice.choice(((), (), ("email",), ("first_name", "user_name")))
        self.protected_ids = self.dice.sample([f"S{number}" for number in range(8)], self.dice.choice((0, 0, 1, 3)))
        self._set_up()

    def _set_up(self) -> None:
        """Give the client its settings."""
        path = self.engine.folder / "protected"
        path.write_text("".join(f"{each}\n" for each in self.protected_ids))
        self.engine.settings(
            status=StatusSettings(column=STATUS, active=("A",), inactive=("I",))
            if self.has_status
            else StatusSettings(),
            columns={} if self.has_status else {STATUS: ""},
            protected_fields=self.protected,
            protected_users=str(path) if self.protected_ids else "",
        )

    def step(self) -> None:
        """Do one thing in both; compare."""
        events: dict[Callable[[], None], int] = {
            self.upload: 6,
            self.take_back: 4,
            self.rekey: 2,
            self.set_state: 2,
            self.erase: 1,
        }
        [event] = self.dice.choices([*events], [*events.values()])
        event()
        assert self.recorded() == self.model.users, self.told
        assert [] == [*integrity.ledger_findings(self.engine.store.conn, quick=False)], self.told

    def recorded(self) -> Users:
        """Return the users as the database has them."""
        rows = tables_of(self.engine.store).query("SELECT * FROM users")
        return {row["unique_id"]: {name: row[name] for name in (*FIELDS, "inactive_by")} for row in rows}

    # -- files

    def upload(self) -> None:
        """Import a file of some users, known and new; what it does is learnt from the database, if it is sound."""
        rows = {f"S{self.dice.randrange(8)}": self._values() for _ in range(self.dice.randint(1, 3))}
        self.told.append(("upload", rows))
        lines = [f"{unique_id},OPSCOM,Lee," + ",".join(values.values()) for unique_id, values in rows.items()]
        before, persons = copy.deepcopy(self.model.users), dict(self.model.ids)
        result = self.engine.rows(*lines, header=HEADER)
        failed = {row["unique_id"] for row in result.failed_rows}
        for unique_id, values in rows.items():
            if unique_id in failed:
                continue
            self._apply(unique_id, values)
        assert is_sound(self.model.users)
        self.model.commit(before, persons)

    def _apply(self, unique_id: str, values: dict[str, str]) -> None:
        """Let a row that did not fail change the model."""
        if is_new := unique_id not in self.model.ids:
            self.model.people += 1
            self.model.ids[unique_id] = self.model.people
            self.model.users[unique_id] = {**dict.fromkeys(FIELDS), "inactive_by": None}
        elif unique_id in self.protected_ids:
            return
        user, status = self.model.users[unique_id], values[STATUS] if self.has_status else "A"
        user.update({name: values[name] for name in FIELDS if values[name] and (is_new or name not in self.protected)})
        if user["inactive_by"] == "operator" or (not status and user["inactive_by"] == "status"):
            return
        user["inactive_by"] = "status" if status == "I" else None

    def _values(self) -> dict[str, str]:
        number = self.dice.randrange(5)
        return {
            "first_name": self.dice.choice(("Ann", "Bob", "Zoé")),
            "city": self.dice.choice(("", "Hull", "Ottawa")),
            "email": self.dice.choice(("", f"{self.dice.choice('uU')}{number}@example.org")),
            "user_name": self.dice.choice(("", f"n{self.dice.randrange(8)}")),
            STATUS: self.dice.choice(("A", "A", "I", "")),
        }

    # -- the operator

    def take_back(self) -> None:
        """Undo one of the imports, mostly the last."""
        if not self.model.done:
            return
        number = len(self.model.done) - (1 if self.dice.random() < 0.5 else self.dice.randint(1, len(self.model.done)))
        self.told.append(("undo", number + 1))
        before, persons = copy.deepcopy(self.model.users), dict(self.model.ids)
        try:
            tried = undo(self.engine.store, number + 1, is_applied=False)
        except NotPossible:
            return
        assert self.recorded() == before
        undone = undo(self.engine.store, number + 1, is_applied=True)
        assert (tried.done.users, tried.values, tried.listed) == (undone.done.users, undone.values, undone.listed)
        kept = {(conflict.unique_id, conflict.field) for conflict in undone.listed}
        taken = {(conflict.unique_id, conflict.field) for conflict in undone.listed if conflict.is_taken}
        self._set_back(number, kept, taken, is_last=number + 1 == len(self.model.done))
        if undone.done.import_id:
            assert undone.done.import_id == len(self.model.done) + 1
            self.model.commit(before, persons)
        assert is_sound(self.model.users)

    def _set_back(self, number: int, kept: set[tuple[str, str]], taken: set[tuple[str, str]], *, is_last: bool) -> None:
        """Set back what still has the value of that import, but what is another's; all of it after the last one."""
        here = {person: unique_id for unique_id, person in self.model.ids.items()}
        plan = {person: dict(pairs) for person, pairs in self.model.done[number].items()}
        for person in self.model.made[number]:
            state = self._state_since(number, person, here.get(person))
            plan[person] = {} if state not in (None, "status") else {"inactive_by": ("undo", state)}
        moved: dict[str, str] = {}
        expected: set[tuple[str, str]] = set()
        for person, pairs in plan.items():
            if (unique_id := here.get(person)) is None:
                continue
            user = {"unique_id": unique_id, **self.model.users[unique_id]}
            new_id = unique_id
            for name, (old, new) in pairs.items():
                if user[name] == new and (unique_id, name) not in taken:
                    if name == "unique_id":
                        new_id = str(old)
                    else:
                        self.model.users[unique_id][name] = old
                elif user[name] not in (old, new):
                    expected.add((unique_id, name))
            moved[unique_id] = new_id
        told = {(moved.get(unique_id, unique_id), name) for unique_id, name in expected}
        assert told == kept - taken, self.told
        if is_last:
            assert not kept, self.told
        self._move({old: new for old, new in moved.items() if old != new})

    def _state_since(self, number: int, person: int, unique_id: str | None) -> str | None:
        """Return who says that somebody whom an import made is inactive; "" for what was changed since, or erased."""
        state = "" if unique_id is None else self.model.users[unique_id]["inactive_by"]
        is_other = any("inactive_by" in changed.get(person, {}) for changed in self.model.done[number + 1 :])
        return "" if state == "status" and is_other else state

    def _move(self, moves: dict[str, str]) -> None:
        self.model.users = {moves.get(each, each): user for each, user in self.model.users.items()}
        self.model.ids = {moves.get(each, each): person for each, person in self.model.ids.items()}

    def rekey(self) -> None:
        """Give some users new ids, free ones or each other's; refused as a whole when one is taken."""
        chosen = self.dice.sample(sorted(self.model.users), min(len(self.model.users), self.dice.randint(1, 3)))
        news = self.dice.sample([f"S{number}" for number in range(10)], len(chosen))
        if self.dice.random() < 0.5:
            news = chosen[1:] + chosen[:1]
        pairs = {old: new for old, new in zip(chosen, news, strict=True) if old != new}
        self.told.append(("rekey", pairs))
        is_free = not ({*pairs.values()} & (self.model.users.keys() - pairs.keys()))
        before, persons = copy.deepcopy(self.model.users), dict(self.model.ids)
        try:
            done = ids.rekey(self.engine.store, CLIENT, pairs.items(), is_applied=True)
        except NotPossible:
            assert not is_free
            return
        assert is_free
        assert done.users == len(pairs)
        self._move(pairs)
        if pairs:
            self.model.commit(before, persons)

    def set_state(self) -> None:
        """Deactivate or reactivate a user."""
        if not self.model.users:
            return
        unique_id = self.dice.choice(sorted(self.model.users))
        before, persons = copy.deepcopy(self.model.users), dict(self.model.ids)
        user = self.model.users[unique_id]
        if self.dice.random() < 0.5:
            self.told.append(("deactivate", unique_id))
            done = deactivation.deactivate(self.engine.store, CLIENT, [unique_id])
            user["inactive_by"] = "operator"
        else:
            self.told.append(("reactivate", unique_id))
            is_taken = user["inactive_by"] and any(self.model.holders(field, user[field]) for field in KEYED)
            try:
                done = deactivation.reactivate(self.engine.store, CLIENT, [unique_id])
            except NotPossible:
                assert is_taken
                return
            assert not is_taken
            user["inactive_by"] = None
        if done.import_id:
            self.model.commit(before, persons)

    def erase(self) -> None:
        """Erase a user; nothing is left but that the id was erased."""
        if not self.model.users:
            return
        unique_id = self.dice.choice(sorted(self.model.users))
        self.told.append(("erase", unique_id))
        personal_data.erase(self.engine.store, CLIENT, unique_id)
        del self.model.users[unique_id]
        person = self.model.ids.pop(unique_id)
        self.model.done.append({})
        self.model.made.append(set())
        for changed in self.model.done:
            changed.pop(person, None)
        assert [] == history.of_person(self.engine.store.conn, CLIENT, unique_id)


@pytest.mark.parametrize("part", range(PARTS))
def test_sequences(tmp_path: Path, part: int) -> None:
    """After each step the users are those of the model: what was undone is back, what was changed since stays."""
    engine = Engine(tmp_path)
    engine.store.conn.execute("PRAGMA synchronous = OFF")
    for seed in range(part * SEQUENCES // PARTS, (part + 1) * SEQUENCES // PARTS):
        for table in ("baselines", "import_problems", "imports", "users", "user_changes", "outbox"):
            tables_of(engine.store).table(table).delete_where()
        sequence = Sequence(engine, seed)
        for _ in range(STEPS):
            sequence.step()
        assert [] == [*database_findings(engine.store.conn)]
    engine.close()
