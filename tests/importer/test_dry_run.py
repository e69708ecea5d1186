"""`check`: what would become of a file, and no effect at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from importer.dry_run import CheckAnswer, check_file
from importer.settings import ClientSettings
from tests import REPOSITORY
from tests.engine import HEADER, Engine, unwrapped

GOOD = "S1,OPSCOM,Ann,Lee,ann@example.org,ann"


def check(
    engine: Engine, content: bytes, *, client: ClientSettings | None = None, name: str = "users.csv"
) -> CheckAnswer:
    """Check a file with this content against the users of the engine."""
    path = engine.folder / name
    path.write_bytes(content)
    return check_file(
        path,
        client or engine.client,
        file=engine.limits,
        reference=engine.reference,
        database=engine.folder / "rosterd.db",
        progress=lambda _: None,
    )


def test_a_good_file_passes(engine: Engine) -> None:
    """A file of which every row would be applied passes, with its counts."""
    engine.rows(GOOD)
    answer = check(engine, f"{HEADER}\n{GOOD}\nS2,OPSCOM,Bob,Roy,b@example.org,b\n".encode())
    assert (True, 1, 1) == (answer.passes, answer.receipt.tally.created, answer.receipt.tally.unchanged)
    assert unwrapped(answer.text).startswith("IMPORTED if uploaded now: users.csv 2 rows below the header: 1 created")


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
    answer = check_file(
        path,
        engine.client,
        file=engine.limits,
        reference=engine.reference,
        database=tmp_path / "none.db",
        progress=lambda _: None,
    )
    assert (1, 1) == (answer.receipt.tally.created, answer.receipt.tally.failed)
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (f"{HEADER}\n{GOOD}\nS2,OPS".encode(), "upload.incomplete"),
        (f'{HEADER}\nS1,OPSCOM,"Ann,Lee,a@example.org,\n'.encode(), "upload.incomplete"),
        (b"", "file.empty"),
        (b"PK\x03\x04", "file.not_csv"),
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
    check_file(
        path,
        engine.client,
        file=engine.limits,
        reference=engine.reference,
        database=engine.folder / "rosterd.db",
        progress=told.append,
    )
    assert 3 < len(told)
    assert path.stat().st_size >= max(told) > 0
