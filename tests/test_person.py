from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.daemon import Rosterd

HEADER = "unique_id,login_source,first_name,last_name,email\n"
ANN = "S-1,OPSCOM,Ann,Zyzzyva,ann@school.example\n"
ANN_AMISS = "S-1,OPSCOM,Ann,Zyzzyva,ann\n"
BOB = "S-11,OPSCOM,Bob,Ray,bob@school.example\n"
PERSON = ("S-1", "--client", "acme")


@pytest.fixture
def rosterd(tmp_path: Path) -> Iterator[Rosterd]:
    """Yield an installation that knows Ann and Bob, and has answered a file in which Ann was amiss; it is down."""
    (tmp_path / "acme").mkdir()
    with Rosterd(tmp_path, {"acme": tmp_path / "acme"}) as installation:
        for name, content in (("both.csv", ANN + BOB), ("bob.csv", BOB), ("amiss.csv", ANN_AMISS + BOB)):
            installation.drop(name, HEADER + content)
            assert installation.execute("sweep").returncode == 0
        yield installation


def exported(rosterd: Rosterd) -> Any:  # noqa: ANN401 - whatever JSON it is
    return json.loads(rosterd.execute("export", *PERSON).stdout)


def test_a_person_is_exported(rosterd: Rosterd) -> None:
    """`export` has the recorded user, the mails with their row, and the archives in which they stand."""
    found = exported(rosterd)
    assert ("S-1", "Zyzzyva") == (found["user"]["unique_id"], found["user"]["last_name"])
    assert [1] == found["mails"]
    assert ["amiss", "amiss", "both"] == [name.partition(".")[0] for name in found["archives"]]


@pytest.mark.parametrize("running", [True, False], ids=["by the daemon", "in its place"])
def test_a_person_is_erased(rosterd: Rosterd, tmp_path: Path, *, running: bool) -> None:
    """`erase` leaves nothing of a person in the database files or the log, nobody else out, and names the archives."""
    if running:
        rosterd.start()
    result = rosterd.execute("erase", *PERSON, "--yes")
    assert (0, "") == (result.returncode, result.stderr)
    assert "removed: users 1, mails 1\n" in result.stdout
    assert 3 == result.stdout.count("may still hold the person")
    rosterd.stop()

    assert ["S-11"] == list(rosterd.users())
    assert b"Zyzzyva" not in b"".join(path.read_bytes() for path in (tmp_path / "state").glob("rosterd.db*"))
    assert "S-1" not in rosterd.log()
    assert {"user": None, "mails": []} == {key: value for key, value in exported(rosterd).items() if key != "archives"}
    assert 0 == rosterd.execute("verify").returncode


def test_a_person_nobody_knows(rosterd: Rosterd) -> None:
    """`erase` of an unknown id ends with 1; without a yes nothing is done."""
    assert 1 == rosterd.execute("erase", "S-9", "--client", "acme", "--yes").returncode
    assert 1 == rosterd.execute("erase", *PERSON).returncode
    assert ["S-1", "S-11"] == list(rosterd.users())
