"""`undo`, `rekey`, `history`, `changes`, `users`: through the running service and without it."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import REPOSITORY
from tests.conftest import Needs
from tests.faults.nursery import Nursery
from tests.faults.tracing import Commands, Point
from tests.lab.daemon import Rosterd, make_inboxes, swept

HEADER = "unique_id,login_source,first_name,last_name,email\n"
ANN, BOB = "S1,OPSCOM,Ann,Lee,ann@example.org\n", "S2,OPSCOM,Bob,Roy,bob@example.org\n"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rosterd]:
    """Yield an installation whose second file has given Ann another surname and made a third user; it is down."""
    second = ANN.replace("Lee", "Roy") + "S3,OPSCOM,Cas,Poe,cas@example.org\n"
    uploads = [("users.csv", HEADER + rows) for rows in (ANN + BOB, second)]
    with swept(tmp_path_factory.mktemp("roster"), uploads) as installation:
        yield installation


@pytest.fixture
def with_sqlite(prepared: Rosterd, tmp_path: Path) -> Iterator[Rosterd]:
    """Yield one like that for this test alone."""
    with prepared.copy(tmp_path) as installation:
        yield installation


@pytest.fixture
def rosterd(with_sqlite: Rosterd, on_both: Callable[[Rosterd], None]) -> Rosterd:
    """Return it with a database of each kind in turn."""
    on_both(with_sqlite)
    return with_sqlite


def test_an_undo_goes_through_the_running_service(rosterd: Rosterd) -> None:
    """While the service runs it tries, and then does, what it is told; the next upload is imported as ever."""
    rosterd.start()
    tried = rosterd.execute("undo", "2")
    assert "undo of import 2 of acme: 2 users\n  1 value goes back to what it was\n  1 user becomes inactive\n" in (
        tried.stdout
    )
    assert "Nothing was changed" in tried.stdout
    assert 2 == len(rosterd.imports())
    assert re.search(r"2 users \(import \d\)", rosterd.execute("undo", "2", "--apply").stdout)
    assert ["Lee", "Roy", "Poe"] == [user["last_name"] for user in rosterd.users().values()]
    rosterd.drop("users.csv", HEADER + ANN)
    rosterd.wait_for_imports(4)
    assert "nothing is left to undo of import 2" in rosterd.execute("undo", "2", "--apply").stderr
    assert rosterd.execute("verify").returncode == 0


def test_history_and_changes(rosterd: Rosterd) -> None:
    """One person's story has file, line and values; the feed ends with its cursor."""
    rosterd.execute("undo", "2", "--apply")
    lines = rosterd.execute("history", "S1").stdout.splitlines()
    assert ["created", "updated", "undone"] == [line.split()[2] for line in lines[1:]]
    assert lines[2].split()[4:] == ["2", "last_name:", "Lee", "->", "Roy"]
    told = rosterd.execute("changes", "--since", "1", "--json").stdout.splitlines()
    *users, cursor = map(json.loads, told)
    assert [("S1", "Lee"), ("S3", "Poe")] == [(each["unique_id"], each["user"]["last_name"]) for each in users]
    assert {"cursor": 3} == cursor
    assert rosterd.execute("changes", "--since", "9").returncode == 2
    assert rosterd.execute("history", "S9").returncode == 2


def test_the_consumer_of_the_document(rosterd: Rosterd, tmp_path: Path) -> None:
    """The program that the document shows keeps a copy that is right after an erasure and a new id."""
    (program,) = re.findall(
        r"^```python\n(.*?)^```", (REPOSITORY / "docs" / "history.md").read_text(), re.MULTILINE | re.DOTALL
    )
    command = json.dumps(rosterd._command("changes", "--json"))[1:-1]
    program = program.replace('"rosterd", "changes", "--json"', command)
    ids = tmp_path / "ids.csv"
    ids.write_text("old_unique_id,new_unique_id\nS1,N1\n")
    for actions in ([], [("erase", "S2", "--yes"), ("rekey", str(ids), "--apply"), ("users", "deactivate", "N1")]):
        for action in actions:
            assert rosterd.execute(*action).returncode == 0
        subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
        with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
            copied = copy.execute("SELECT unique_id, user FROM users").fetchall()
        recorded = {each: user["inactive_by"] for each, user in rosterd.users().items()}
        assert recorded == {each: json.loads(user)["inactive_by"] for each, user in copied}
    assert {"N1": "operator", "S3": None} == recorded


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("old_unique_id,new_unique_id\nS1,N1\nS1,N2\nS3,N2\n", "S1: is listed 2 times in old_unique_id"),
        ("old_unique_id,new_unique_id\nS1,S2\nS9,N9\n", "S2: is recorded for another user"),
        ("old_unique_id,new_unique_id\nS1,\n", "new_unique_id is blank in 1 row\n"),
        ("old_unique_id,new_unique_id\nS1,\nS9,N9\n", "S9: is not recorded"),
        ("old_unique_id;new_unique_id\nS1;S2\n", "S2: is recorded for another user"),
        ("old,new\nS1,N1\n", "expected two columns, and on the first line old_unique_id,new_unique_id"),
    ],
)
def test_new_ids_that_cannot_be(rosterd: Rosterd, tmp_path: Path, content: str, told: str) -> None:
    """A file with anything wrong gives nobody a new id, and says what it is."""
    (tmp_path / "ids.csv").write_text(content)
    result = rosterd.execute("rekey", str(tmp_path / "ids.csv"), "--apply")
    assert told in result.stderr
    assert result.returncode != 0
    assert {"S1", "S2", "S3"} == rosterd.users().keys()


def test_the_history_of_a_former_id(rosterd: Rosterd, tmp_path: Path) -> None:
    """Whoever asks for the id of before is told the one of now; the file may be one of Excel in French."""
    (tmp_path / "ids.csv").write_bytes(b"\xef\xbb\xbfold_unique_id;new_unique_id\r\nS1;N1\r\n")
    assert 0 == rosterd.execute("rekey", str(tmp_path / "ids.csv"), "--apply").returncode
    assert "S1 was given the unique id N1: `rosterd history N1`" in rosterd.execute("history", "S1").stderr


def test_users_is_short_for_users_find(rosterd: Rosterd) -> None:
    """`users WORD` searches for WORD unless it is a subcommand; `users find` searches for any word."""
    for words in (("users", "S1"), ("users", "--client", "acme", "S1"), ("users", "find", "S1")):
        assert "ann@example.org" in rosterd.execute(*words).stdout
    assert "No such user." in rosterd.execute("users", "find", "deactivate").stdout
    assert "deactivated: 1 user (import 3)" in rosterd.execute("users", "deactivate", "S1").stdout
    assert "operator" in rosterd.execute("users", "S1").stdout


def state(rosterd: Rosterd) -> list[object]:
    """Return users, ledger and history, without times."""
    queries = (
        "SELECT unique_id, last_name, inactive_by, import_id FROM users ORDER BY 1",
        "SELECT claim_id, kind FROM imports ORDER BY id",
        "SELECT import_id, unique_id, changes FROM user_changes ORDER BY 1, 2",
    )
    return [[tuple(row.values()) for row in map(dict, rosterd.query(query))] for query in queries]


@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
@pytest.mark.parametrize(
    "command",
    [("undo", "2", "--apply"), ("rekey", "ids.csv", "--apply"), ("users", "deactivate", "S1", "S2")],
    ids=["undo", "rekey", "deactivate"],
)
def test_killed_at_any_step(
    with_sqlite: Rosterd, tmp_path: Path, call: str, command: tuple[str, ...], needs: Needs
) -> None:
    """Wherever it is killed, everything was done or nothing, in users, ledger and history alike."""
    needs("strace")
    rosterd = with_sqlite
    (tmp_path / "ids.csv").write_text("old_unique_id,new_unique_id\nS1,S2\nS2,S1\n")
    words = [str(tmp_path / word) if word.endswith(".csv") else word for word in command]
    database = {path: path.read_bytes() for path in (tmp_path / "state").glob("rosterd.db*")}

    def put_back() -> None:
        for path in (tmp_path / "state").glob("rosterd.db*"):
            path.unlink()
        for path, content in database.items():
            path.write_bytes(content)

    before = state(rosterd)
    assert rosterd.execute(*words).returncode == 0
    after, number = state(rosterd), 1
    put_back()
    with Nursery() as nursery:
        commands = Commands(nursery, rosterd._config, tmp_path / "told")
        while commands.killed_at(Point(call, number), *words):
            assert state(rosterd) in (before, after)
            assert commands.run("verify")[0] == 0
            put_back()
            number += 1
    assert number > 1
    assert before != after


def test_inactive_users_are_listed(rosterd: Rosterd) -> None:
    """With --inactive only they are found, all of them without a query."""
    assert "expected QUERY, or --inactive" in rosterd.execute("users").stderr
    assert "No such user." in rosterd.execute("users", "--inactive").stdout
    rosterd.execute("users", "deactivate", "S1", "S3", "--client", "acme")
    assert {"S1", "S3"} == {
        user["unique_id"] for user in json.loads(rosterd.execute("users", "--inactive", "--json").stdout)
    }
    assert "S3" in rosterd.execute("users", "find", "Poe", "--inactive").stdout
    assert "No such user." in rosterd.execute("users", "find", "S2", "--inactive").stdout


@pytest.mark.parametrize(
    "command",
    [("status",), ("imports",), ("feed", "list"), ("approve", "1", "--client", "acme"), ("check", "users.csv")],
    ids=" ".join,
)
def test_a_database_of_an_earlier_build(tmp_path: Path, command: tuple[str, ...]) -> None:
    """What only reads says in a sentence what to do, and changes nothing."""
    with Rosterd(tmp_path, make_inboxes(tmp_path)) as installation:
        database = tmp_path / "state" / "rosterd.db"
        shutil.copy(REPOSITORY / "tests" / "data" / "rosterd-0.1.0.db", database)
        before = database.read_bytes()
        (tmp_path / "users.csv").write_text(HEADER + ANN)
        arguments = [str(tmp_path / each) if each == "users.csv" else each for each in command]
        more = ("--client", "acme") if command[0] == "check" else ()
        done = installation.execute(*arguments, *more)
        assert (2, True) == (
            done.returncode,
            "it was made by an earlier rosterd; `systemctl restart rosterd` brings it up to date" in done.stderr,
        ), done.stderr
        assert before == database.read_bytes()
