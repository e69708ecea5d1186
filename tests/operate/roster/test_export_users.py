"""`rosterd export users`: all users of a client, for spreadsheets and for programs."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import REPOSITORY
from tests.lab.daemon import Rosterd, make_inboxes

HEADER = "unique_id,login_source,first_name,last_name,email\n"
ROWS = 'S-1,OPSCOM,Zoé,\'+Lee,zoe@school.example\nS-2,OPSCOM,"Max, the first",Roy,max@school.example\n'
NOBODY = 65534
Needs = Callable[..., None]


@pytest.fixture
def tmp_path() -> Iterator[Path]:  # pytest's own is closed to other users
    """Yield a folder that everybody may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def rosterd(tmp_path: Path) -> Iterator[Rosterd]:
    """Yield an installation with two users of acme, one of them inactive, and one of beta; it is down."""
    with Rosterd(tmp_path, make_inboxes(tmp_path), settings={"service": {"read_copy": "readers/users.db"}}) as made:
        made.drop("users.csv", HEADER + ROWS)
        made.drop("users.csv", HEADER + "B-1,OPSCOM,Eve,Roy,eve@school.example\n", "beta")
        assert 0 == made.execute("sweep").returncode
        assert 0 == made.execute("users", "deactivate", "S-2", "--client", "acme").returncode
        yield made


def test_csv_is_safe_to_open(rosterd: Rosterd) -> None:
    """The CSV has a byte order mark, the active users alone, and no cell that a spreadsheet runs."""
    done = rosterd.execute("export", "users", "--client", "acme")
    assert 0 == done.returncode, done.stderr
    assert done.stdout.startswith("\ufeff")
    (row,) = csv.DictReader(done.stdout.removeprefix("\ufeff").splitlines())
    assert ("S-1", "Zoé", "'+Lee") == (row["unique_id"], row["first_name"], row["last_name"])
    assert "S-2" in rosterd.execute("export", "users", "--client", "acme", "--with-former").stdout


def test_json_has_the_values(rosterd: Rosterd) -> None:
    """JSON lines have the values as they are, one user on each line."""
    done = rosterd.execute("export", "users", "--client", "acme", "--format", "jsonl", "--with-former")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [("S-1", "+Lee", None), ("S-2", "Roy", "operator")] == [
        (each["unique_id"], each["last_name"], each["inactive_by"]) for each in found
    ]


def test_an_unknown_client_is_a_usage_error(rosterd: Rosterd) -> None:
    """Without a client, or with one that nobody knows, the command ends with 2."""
    assert 2 == rosterd.execute("export", "users").returncode
    assert 2 == rosterd.execute("export", "users", "--client", "nobody").returncode


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_output_that_nobody_reads_ends_it_quietly(rosterd: Rosterd, form: str) -> None:
    """As with `| head -n 1`: a write to a pipe without a reader is no error to tell of."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "operate.cli", "export", "users", "--client", "acme", "--format", form, "--config"]
    with os.fdopen(writing, "wb") as output:
        done = subprocess.run(
            [*command, rosterd._config], stdout=output, stderr=subprocess.PIPE, text=True, check=False, cwd=REPOSITORY
        )
    assert "" == done.stderr


def test_readers_get_the_read_copy(rosterd: Rosterd, tmp_path: Path, needs: Needs) -> None:
    """Who may not read the database gets the users of the read copy; without one it is not permitted."""
    needs(root=True)
    (tmp_path / "readers").mkdir(mode=0o755)
    rosterd._config.chmod(0o644)
    command = [sys.executable, "-m", "operate.cli", "export", "users", "--client", "acme", "--config"]

    def exported() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, str(rosterd._config)],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
        )

    missing = exported()
    assert (2, True) == (missing.returncode, "users.db: does not exist; the service makes it" in missing.stderr)
    rosterd.start()
    rosterd.wait_for_event("copy.made")
    (tmp_path / "readers" / "users.db").chmod(0o644)
    done = exported()
    assert (0, 1) == (done.returncode, done.stdout.count("S-1")), done.stderr
    (tmp_path / "readers" / "users.db").chmod(0o600)
    assert 77 == exported().returncode
