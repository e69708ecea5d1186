"""Nights over a limit are no deadlock: whatever comes in between, the newest file waits, and one approval frees it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.lab import wait_until
from tests.lab.daemon import Rosterd

Found = TypeVar("Found")

HEADER = "unique_id,login_source,first_name,last_name,email\n"
SETTINGS: dict[str, dict[str, object]] = {
    "intake": {"quiet_s": 0.1, "unterminated_grace_s": 0.1},
    "guard": {"identity": "10 %", "identity_floor": 2, "attribute": "off", "approve_by": ["operator", "client"]},
}
FEEDS = """
[[client.feed]]
name = "students"
files = "students*.csv"
mode = "snapshot"
dated = "students_%Y%m%d.csv"
[[client.feed]]
name = "staff"
files = "staff*.csv"
mode = "snapshot"
"""


def users(surname: str, *, prefix: str = "S", count: int = 6) -> str:
    """Return a file of users; another surname makes each of them somebody else."""
    rows = (f"{prefix}{n},OPSCOM,Ann,{surname}{n},{surname.lower()}{prefix}{n}@school.example\n" for n in range(count))
    return HEADER + "".join(rows)


@pytest.fixture
def rosterd(tmp_path: Path, folders: dict[str, Path]) -> Iterator[Rosterd]:
    """Yield the running daemon, with the students and the staff of acme."""
    with Rosterd(tmp_path, folders, settings=SETTINGS) as installation:  # type: ignore[arg-type]
        config = installation._config
        config.write_text(
            re.sub(r"(name = \"acme\"\n(?:[^\[\n][^\n]*\n)*)", rf"\1{FEEDS}", config.read_text(), count=1)
        )
        installation.start()
        installation.drop("students_20260901.csv", users("Lee"))
        installation.drop("staff.csv", users("Kim", prefix="T"))
        installation.wait_for_imports(2)
        yield installation


def until(condition: Callable[[], Found]) -> Found:
    return wait_until(condition, "what a night leads to")


def ended(rosterd: Rosterd, name: str) -> str:
    """Wait until a file has ended, or is on hold; return how."""

    def found() -> str:
        return next((f"{row['outcome']} {row['code']}" for row in rosterd.imports() if row["file"] == name), "")

    return until(found).strip()


def codes(rosterd: Rosterd) -> list[str]:
    return [str(row["code"]) for row in rosterd.query("SELECT code FROM on_hold ORDER BY import_id")]


def surnames(rosterd: Rosterd) -> set[str]:
    return {re.sub(r"\d", "", str(user["last_name"])) for user in rosterd.users().values()}


def test_nights_over_the_limit(rosterd: Rosterd) -> None:
    """Each newer file replaces the one on hold; the first night's code approves the last; all else goes on."""
    for night in (2, 3):
        rosterd.drop(f"students_2026090{night}.csv", users("Roy"))
        assert "on_hold guard.identity" == ended(rosterd, f"students_2026090{night}.csv")
    rosterd.drop("staff.csv", users("Kim", prefix="T", count=7))  # the other feed
    until(lambda: len(rosterd.users()) == 13)
    correction = HEADER.replace("\n", ",import_line\n") + "S9,OPSCOM,Eve,Lee9,eve@school.example,9\n"
    rosterd.drop("students_20260903.failed.csv", correction)
    assert "imported" == ended(rosterd, "students_20260903.failed.csv")
    rosterd.kill9()
    rosterd.start()
    rosterd.drop("students_20260904.csv", users("Roy"))
    assert "on_hold guard.identity" == ended(rosterd, "students_20260904.csv")
    until(lambda: "refused guard.superseded" == ended(rosterd, "students_20260903.csv"))
    assert "refused guard.superseded" == ended(rosterd, "students_20260902.csv")
    assert {"Lee", "Kim"} == surnames(rosterd)
    (mailed,) = {*codes(rosterd)}
    rosterd.drop(f"students_20260902.csv.approve-{mailed}", "")
    until(lambda: "imported" == ended(rosterd, "students_20260904.csv"))
    assert {"Roy", "Kim"} == surnames(rosterd) - {"Lee"}
    rosterd.drop("students_20260905.csv", users("Roy"))
    assert "imported" == ended(rosterd, "students_20260905.csv")
    rosterd.drop("students_20260904b.csv", users("Roy"))
    rosterd.drop("students_20260903.csv", users("Lee"))
    until(lambda: any(row["code"] == "order.older" for row in rosterd.imports()))
    until(lambda: not rosterd.in_work() and not [name for name in rosterd.inbox() if not name.startswith(".")])


def test_a_file_of_the_day_before_waits(rosterd: Rosterd) -> None:
    """It does not replace the newer one on hold, status says behind which it waits, and then it is too old."""
    rosterd.drop("students_20260903.csv", users("Roy"))
    assert "on_hold guard.identity" == ended(rosterd, "students_20260903.csv")
    rosterd.drop("students_20260902.csv", users("Lee"))
    waits = r"students_20260902\.csv +behind .*students_20260903\.csv"
    until(lambda: re.search(waits, rosterd.execute("status").stdout))
    assert 0 == rosterd.execute("approve", "students_20260903.csv", "--client", "acme").returncode
    assert "refused order.older" == ended(rosterd, "students_20260902.csv")
    assert {"Roy", "Kim"} == surnames(rosterd)


def test_two_feeds_wait_for_themselves(rosterd: Rosterd) -> None:
    """A file on hold in each feed: deciding on one leaves the other, and the later decision is carried out as well."""
    rosterd.drop("students_20260902.csv", users("Roy"))
    rosterd.drop("staff.csv", users("Fox", prefix="T"))
    assert "on_hold guard.identity" == ended(rosterd, "students_20260902.csv")
    until(lambda: len(codes(rosterd)) == 2)
    assert 0 == rosterd.execute("reject", "staff.csv", "--client", "acme").returncode
    rosterd.wait_for_event("file.refused", code="guard.rejected")
    assert "on_hold guard.identity" == ended(rosterd, "students_20260902.csv")
    assert 0 == rosterd.execute("approve", "students_20260902.csv", "--client", "acme").returncode
    until(lambda: {"Roy", "Kim"} == surnames(rosterd))
