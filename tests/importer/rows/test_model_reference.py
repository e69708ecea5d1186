"""The engine against a model of what it promises: users and counts over any sequence of files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from importer.model import Tally
from importer.rows import delta
from importer.settings import ReferenceSettings
from importer.store.sqlite.rows import new_users, recorder
from tests.conftest import unsynced
from tests.engine import Engine, User, table

CLEAR = "CLEAR"
REQUIRED = {"email": "9016", "first_name": "9017"}
LOGIN_SOURCE = {"login_source": "9014"}
UNIQUE = {"email": "9019", "user_name": "9020"}
CELLS = {
    "unique_id": st.sampled_from(["1", "2", "3", "4", "5", "a", "A", ""]),
    "email": st.sampled_from(["a@example.org", "A@example.org", "b@example.org", "c@example.org", "bad", "", CLEAR]),
    "user_name": st.sampled_from(["u", "U", "v", "w", "", CLEAR]),
    "first_name": st.sampled_from(["Ann", "Bob", "Ann", "Bob", "", CLEAR]),
    "city": st.sampled_from(["Hull", "", CLEAR]),
    "login_source": st.sampled_from(["OPSCOM", "LDAP", "OPSCOM", "LDAP", "", CLEAR]),
}
# Of each way and default. PostgreSQL takes ten times as long for a small file.
SEQUENCES = {"sqlite": 300, "postgresql": int(os.environ.get("ROSTERD_SEQUENCES", "25"))}
File = tuple[Sequence[str], Sequence[Sequence[str]]]  # names of columns, rows
NAMES = st.sampled_from(["staff.csv", "students.csv"])
Failures = dict[int, set[str]]  # line -> codes


# Each takes the address of the one before, and the first cannot leave its own: all fail, one after the other.
HOLDERS: File = (
    ("unique_id", "email", "first_name"),
    (("1", "a@example.org", "Ann"), ("2", "b@example.org", "Bob"), ("3", "c@example.org", "Ann")),
)
CHAIN: File = (("unique_id", "email"), (("3", "b@example.org"), ("2", "a@example.org"), ("1", "bad")))
# The address of a user in a row that has no id: both are told.
NAMELESS: File = (("unique_id", "email"), (("", "a@example.org"),))


class Model:
    """Users by id, and what a file does to them."""

    def __init__(self, default: str) -> None:
        self.users: dict[str, User] = {}
        self._default = default
        self._required = REQUIRED if default else REQUIRED | LOGIN_SOURCE

    def apply(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[Tally, Failures]:
        """Import a file; return its counts and the codes of its failed rows."""
        said = {line: dict(zip(columns, row, strict=True)) for line, row in enumerate(rows, 2) if any(row)}
        ids = {line: row["unique_id"] for line, row in said.items()}
        contents = {line: tuple(sorted(row.items())) for line, row in said.items()}
        repeated = {line for line in said if ids[line] and contents[line] in [contents[n] for n in said if n < line]}
        clashing = {line for line in said if ids[line] and len({contents[n] for n in said if ids[n] == ids[line]}) > 1}
        failures = {line: self._own_problems(row) for line, row in said.items() if line not in repeated - clashing}
        for line in clashing:
            failures[line].add("9022")
        for line, codes in failures.items():
            if not codes and ids[line] not in self.users:
                codes |= self._lacks(columns, said[line])  # noqa: PLW2901 - the set in the dict
        before, at = self.users, {ids[line]: line for line in failures if not failures[line]}
        self.users = before | {each: _merged(before.get(each, self._new()), said[line]) for each, line in at.items()}
        while claims := self._claims(before, at):
            for each, codes in claims.items():
                failures[at.pop(each)] |= codes
            self.users = before | {each: self.users[each] for each in at}
        failed = {line: codes for line, codes in failures.items() if codes}
        for line, codes in failed.items():
            codes |= self._more_problems(columns, said[line])  # noqa: PLW2901 - the set in the dict
        changed = Counter("new" if each not in before else before[each] != self.users[each] for each in at)
        tally = Tally(
            created=changed["new"],
            updated=changed[True],
            unchanged=changed[False],
            failed=len(failed),
            repeated=len(repeated - clashing),
        )
        return tally, failed

    def _own_problems(self, row: User) -> set[str]:
        cleared = {code for name, code in (REQUIRED | LOGIN_SOURCE).items() if row.get(name) == CLEAR}
        return (
            cleared | ({"9013"} if not row["unique_id"] else set()) | ({"9033"} if row.get("email") == "bad" else set())
        )

    def _claims(self, before: dict[str, User], applied: dict[str, int]) -> dict[str, set[str]]:
        """Return the users of this file that took what another user has as well."""
        claims: dict[str, set[str]] = {}
        for name, code in UNIQUE.items():
            holders = Counter(_key(user, name) for user in self.users.values())
            for each in applied:
                value = _key(self.users[each], name)
                if value and holders[value] > 1 and value != _key(before.get(each, {}), name):
                    claims.setdefault(each, set()).add(code)
        return claims

    def _more_problems(self, columns: Sequence[str], row: User) -> set[str]:
        """Return what the state after the file says against a row that failed."""
        others = [user for each, user in self.users.items() if each != row["unique_id"]]
        taken = {
            code for n, code in UNIQUE.items() if _key(row, n) and _key(row, n) in [_key(each, n) for each in others]
        }
        return taken if row["unique_id"] in self.users else taken | self._lacks(columns, row)

    def _lacks(self, columns: Sequence[str], row: User) -> set[str]:
        known = set(columns) if not row["unique_id"] else set(self._required)
        return {code for name, code in self._required.items() if name in known and row.get(name, "") in ("", CLEAR)}

    def _new(self) -> User:
        return {"login_source": self._default} if self._default else {}


def _merged(old: User, row: User) -> User:
    merged = old | {name: value for name, value in row.items() if value}
    return {name: value for name, value in merged.items() if value != CLEAR}


def _key(user: User, name: str) -> str:
    return user.get(name, "").casefold()


@st.composite
def files(draw: st.DrawFn) -> File:
    """Draw a file: some columns in some order, some rows."""
    others = st.sampled_from(["email", "user_name", "first_name", "city", "login_source"])
    columns = ["unique_id", *draw(st.lists(others, unique=True))]
    return columns, draw(st.lists(st.tuples(*(CELLS[name] for name in columns)), max_size=7))


@st.composite
def sequences(draw: st.DrawFn) -> list[File]:
    """Draw files of which some repeat most of the one before: lines changed, added, removed, in another order."""
    sequence = [draw(files())]
    for _ in range(draw(st.integers(0, 3))):
        columns, rows = draw(st.sampled_from(sequence)) if draw(st.booleans()) else draw(files())
        rows = list(rows)
        for _ in range(draw(st.integers(0, 2))):
            place, length = draw(st.integers(0, len(rows))), draw(st.integers(0, 3))
            rows[place : place + length] = draw(st.lists(st.tuples(*(CELLS[name] for name in columns)), max_size=2))
        sequence.append((columns, draw(st.permutations(rows)) if draw(st.integers(0, 9)) == 0 else rows))
    return sequence


WAYS: dict[str, dict[tuple[ModuleType, str], object]] = {
    "small files": {},
    "large files": {(recorder, "_ROWS_PER_PROBE"): 1 << 30, (new_users, "_LOAD_MIN_BYTES"): 0},
    "files that are compared": {(delta, "MIN_BYTES"): 0},
    "files that are compared narrowly": {
        (delta, "MIN_BYTES"): 0,
        (delta, "_ABREAST"): 2,
        (delta, "_DIVERGED"): bytes(1),
        (delta, "_SEARCHED_LINES"): (2, 3),
        (delta, "_AHEAD_BYTES"): 1,
    },
}


@pytest.fixture(params=["OPSCOM", ""], ids=["default", "no default"])
def default(request: pytest.FixtureRequest) -> str:
    """Return the login source of new users whose row says none."""
    return str(request.param)


@pytest.fixture(params=WAYS.values(), ids=list(WAYS))
def shared(
    request: pytest.FixtureRequest, fleeting: Path, monkeypatch: pytest.MonkeyPatch, default: str
) -> Iterator[Engine]:
    """Yield an engine for all examples, which treats small files in each of the ways it has."""
    request.getfixturevalue("both_databases")
    for (module, name), value in request.param.items():
        monkeypatch.setattr(module, name, value)
    engine = Engine(fleeting, login_source=default, required=tuple(REQUIRED), clear_token=CLEAR)
    engine.reference = ReferenceSettings(login_sources=("LDAP",))
    with unsynced(engine.settings(failed_import_email=())):
        yield engine


@pytest.mark.no_cover  # the tracer makes it twice as long; what it covers, other tests cover, too
def test_any_sequence_of_files(shared: Engine, both_databases: str) -> None:
    """Counts, codes of failed rows and the users that result are those of the model, file after file."""

    @settings(max_examples=SEQUENCES[both_databases], suppress_health_check=[*HealthCheck])
    @given(sequence=sequences(), names=st.lists(NAMES, min_size=4, max_size=4))
    @example(sequence=[HOLDERS, CHAIN], names=["staff.csv"] * 4)
    @example(sequence=[HOLDERS, NAMELESS], names=["staff.csv"] * 4)
    def check(sequence: list[File], names: list[str]) -> None:
        check_sequence(shared.emptied(), sequence, names)

    check()


def check_sequence(engine: Engine, sequence: list[File], names: list[str]) -> None:
    """Import files of these names one after the other. Raises AssertionError where the model has it otherwise."""
    model = Model(engine.client.login_source)
    for name, (columns, rows) in zip(names, sequence, strict=False):
        result = engine.upload(table([columns, *rows], line_end="\n").encode(), name=name)
        tally, failures = model.apply(columns, rows)
        assert tally == result.tally
        assert failures == {line: set(codes.split("; ")) for line, codes in result.codes.items()}
        assert {each: user | {"unique_id": each} for each, user in model.users.items()} == engine.users()
