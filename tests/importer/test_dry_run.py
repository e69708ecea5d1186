"""`check`: what would become of a file, and no effect at all."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from importer.dry_run import CheckAnswer, DryRun
from importer.settings import ClientSettings, FeedSettings
from importer.store.places import Place
from importer.store.roster import pauses
from tests import REPOSITORY
from tests.engine import CLIENT, HEADER, UNGUARDED, Engine, unwrapped

GOOD = "S1,OPSCOM,Ann,Lee,ann@example.org,ann"


def check(
    engine: Engine, content: bytes, *, client: ClientSettings | None = None, name: str = "users.csv"
) -> CheckAnswer:
    """Check a file with this content against the users of the engine."""
    path = engine.folder / name
    path.write_bytes(content)
    return dry_run(engine, engine.folder / "rosterd.db").check(path, client or engine.client)


def dry_run(engine: Engine, database: Path) -> DryRun:
    return DryRun(file=engine.limits, reference=engine.reference, database=Place(str(database)))


def test_a_good_file_passes(engine: Engine) -> None:
    """A file of which every row would be applied passes, with its counts."""
    engine.rows(GOOD)
    answer = check(engine, f"{HEADER}\n{GOOD}\nS2,OPSCOM,Bob,Roy,b@example.org,b\n".encode())
    assert (True, 1, 1) == (answer.passes, answer.receipt.tally.created, answer.receipt.tally.unchanged)
    assert "users.csv would be imported We would import both users (1 new, 1 unchanged)." == unwrapped(answer.text)


def test_check_speaks_the_languages_of_the_client(engine: Engine) -> None:
    """The answer to a person is in the client's languages, one for programs in English."""
    engine.settings(language=("fr", "en"))
    answer = check(engine, f"{HEADER}\n{GOOD}\nS2,X,Bob,Roy,b@example.org,b\n".encode())
    french, _, english = unwrapped(answer.text).partition(" For support ")[0].partition(f" {'-' * 72} ")
    assert french.startswith("users.csv : 1 ligne sur 2 est à corriger Nous importerions 1 utilisateur")
    assert english.startswith("users.csv: 1 of 2 rows needs correcting")
    assert '"detail": "login_source is not' in answer.as_json()


def test_check_has_no_effect(engine: Engine) -> None:
    """Users, ledger, mail and the folder of the file are afterwards what they were before."""
    engine.rows(GOOD)
    before = list(engine.store.conn.iterdump())
    check(engine, f"{HEADER}\nS1,OPSCOM,Eve,Lee,eve@example.org,eve\nS2,CAS,,,,\n".encode())
    assert before == list(engine.store.conn.iterdump())
    assert {"rosterd.db", "rosterd.db-wal", "rosterd.db-shm", "users.csv"} == {
        name for name in os.listdir(engine.folder) if not name.startswith(("2026", ".bak"))
    }


def test_check_judges_against_the_users_there_are(engine: Engine) -> None:
    """What belongs to another user, and what a known user may leave blank, is judged as an upload would be now."""
    engine.rows(GOOD)
    answer = check(engine, f"{HEADER}\nS1,OPSCOM,,,,\nS2,OPSCOM,Bob,Roy,ANN@example.org,bob\n".encode())
    assert ("partly", False) == (answer.receipt.outcome, answer.passes)
    assert ["9019"] == [group.code for group in answer.receipt.problems]


def test_check_works_before_there_is_a_database(engine: Engine, tmp_path: Path) -> None:
    """On a client's own machine, without a database, every user is new."""
    path = tmp_path / "mine.csv"
    path.write_text(f"{HEADER}\n{GOOD}\nS2,OPSCOM,,,,\n")
    answer = dry_run(engine, tmp_path / "none.db").check(path, engine.client)
    assert (1, 1) == (answer.receipt.tally.created, answer.receipt.tally.failed)
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (f"{HEADER}\n{GOOD}\nS2,OPS".encode(), "upload.incomplete"),
        (f'{HEADER}\nS1,OPSCOM,"Ann,Lee,a@example.org,\n'.encode(), "upload.incomplete"),
        (b"", "file.empty"),
        (b"%PDF-1.7", "file.not_csv"),
        (b"PK\x03\x04", "upload.incomplete"),
        (b"id,mail\n1,2\n", "header.unknown"),
    ],
)
def test_check_never_waits(engine: Engine, content: bytes, code: str) -> None:
    """What an import would hold is answered as it would be in the end."""
    answer = check(engine, content)
    assert (False, code) == (answer.passes, answer.receipt.refusal.code if answer.receipt.refusal else "")


def test_warnings_do_not_fail_a_check(engine: Engine) -> None:
    """A file with nothing but warnings passes."""
    assert check(engine, f"{HEADER}\n{GOOD}".encode()).passes


def test_the_answer_for_programs(engine: Engine) -> None:
    """As JSON the answer has outcome, counts, problems and warnings by their codes."""
    answer = json.loads(check(engine, f"{HEADER}\n{GOOD}\nS2,CAS,A,B,b@example.org,".encode()).as_json())
    assert {
        "file": "users.csv",
        "client": "acme",
        "passes": False,
        "outcome": "partly",
        "rows": 2,
        "created": 1,
        "updated": 0,
        "unchanged": 0,
        "failed": 1,
        "repeated": 0,
        "refusal": None,
    }.items() <= answer.items()
    (problem,) = answer["problems"]
    assert ("9015", "login_source", 1, 3) == tuple(problem[key] for key in ("code", "field", "rows", "first_line"))
    assert ["file.unterminated"] == [each["code"] for each in answer["warnings"]]
    refused = json.loads(check(engine, b"id\n1\n").as_json())
    assert ("header.unknown", 1) == (refused["refusal"]["code"], refused["refusal"]["line"])


def test_the_fields_of_the_answer_are_documented(engine: Engine) -> None:
    """The document names every field of the answer, of its problems and of its warnings."""
    answer = json.loads(check(engine, f"{HEADER}\nS2,CAS,A,B,b@example.org,".encode()).as_json())
    refusal = json.loads(check(engine, b"id\n1\n").as_json())["refusal"]
    text = (REPOSITORY / "docs" / "check.md").read_text()
    names = {*answer, *answer["problems"][0], *answer["warnings"][0], *refusal}
    assert set() == {name for name in names if f"`{name}`" not in text}


def test_progress_is_told_on_the_way(engine: Engine) -> None:
    """Long work tells how far in the file it is."""
    path = engine.folder / "large.csv"
    path.write_text("\n".join((HEADER, *(f"U{n},OPSCOM,Ann,Lee,u{n}@example.org,u{n}" for n in range(30_000)), "")))
    told: list[int] = []
    reporting = msgspec.structs.replace(dry_run(engine, engine.folder / "rosterd.db"), progress=told.append)
    reporting.check(path, engine.client)
    assert 3 < len(told)
    assert path.stat().st_size >= max(told) > 0


# What a file is compared with, apart from the users


def snapshot(*numbers: int) -> bytes:
    rows = (f"S{n},OPSCOM,Ann,Lee{n},s{n}@example.org,u{n}" for n in numbers)
    return "\n".join((HEADER, *rows, "")).encode()


@pytest.fixture
def students(engine: Engine) -> Engine:
    """Return an engine of which a snapshot has a hundred users, after nine have left this week."""
    dated = FeedSettings(name="students", files="students*", mode="snapshot", dated="students_%Y%m%d.csv")
    engine.settings(feed=(dated,), guard=msgspec.structs.replace(UNGUARDED, fewer_rows="50 %"))
    engine.upload(snapshot(*range(109)), name="students_20261127.csv")
    engine.upload(snapshot(*range(100)), name="students_20261128.csv")
    return engine


def test_who_left_this_week_counts(students: Engine) -> None:
    """Those whom the file lacks, and whom the snapshots of the last 7 days lacked, are told together."""
    answer = check(students, snapshot(*range(92)), name="students_20261129.csv")
    assert "8 of 100 users are not in the file. With those of the last 7 days they are 17." in unwrapped(answer.text)
    assert "students_20261129.csv would be imported, but 8 users are missing from it" in unwrapped(answer.text)
    assert "that has to be approved once the file is uploaded" in unwrapped(answer.text)
    assert 8 == json.loads(answer.as_json())["removals_on_hold"]


def test_rows_that_are_missing_count(students: Engine) -> None:
    """A file with far fewer rows than the last one of its feed would be on hold."""
    answer = check(students, snapshot(*range(40)), name="students_20261129.csv")
    assert "The file has 60 rows fewer than your last one, which had 100." in unwrapped(answer.text)


def test_rows_that_are_missing_count_after_weeks(students: Engine) -> None:
    """However long ago the last file of the feed came, the next one is compared with it."""
    students.store.conn.execute("UPDATE imports SET finished_at = '2020-01-01T00:00:00Z'")
    answer = check(students, snapshot(*range(40)), name="students_20261129.csv")
    assert "The file has 60 rows fewer than your last one, which had 100." in unwrapped(answer.text)


def test_the_date_in_a_name_counts(students: Engine) -> None:
    """A name with an older date than the last one would be refused."""
    answer = check(students, snapshot(*range(100)), name="students_20261127.csv")
    assert "a file of 2026-11-28, which is later" in unwrapped(answer.text)


def test_a_freeze_counts_but_for_a_preview(students: Engine) -> None:
    """A file would be refused while its feed is frozen; one on hold came before, and what it changes is shown."""
    now = datetime.now(UTC)
    pauses.freeze(students.store.conn, CLIENT, "students", now - timedelta(days=1), now + timedelta(days=1), now)
    answer = check(students, snapshot(*range(99)), name="students_20261129.csv")
    assert answer.receipt.refusal is not None
    assert "feed.frozen" == answer.receipt.refusal.code
    path = students.folder / "students_20261129.csv"
    with path.open("rb") as raw:
        judge = dry_run(students, students.folder / "rosterd.db")
        changes = [*judge.changed_values(raw, os.fsencode(path.name), students.client)]
    assert [("S99", "deactivated", "name", "Ann Lee99")] == [(c.unique_id, c.kind, c.field, c.old) for c in changes]
