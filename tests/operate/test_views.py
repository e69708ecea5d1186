from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from importer.store import queries
from tests import REPOSITORY
from tests.lab import wait_until
from tests.lab.daemon import Rosterd, make_inboxes

HEADER = "unique_id,login_source,first_name,last_name,email,user_name\n"
ANN = "1,OPSCOM,Ann,Lee,Ann@school.example,AnnLee\n"
ZOE = "S%1,OPSCOM,Zo\u00e9,Lee,zoe@school.example,\n"
BAD = "2,OPSCOM,Bob,,bob\n"
HOSTILE = "evil\x1b[31m.csv"


@pytest.fixture(scope="module")
def rosterd(tmp_path_factory: pytest.TempPathFactory, on_both: Callable[[Rosterd], None]) -> Iterator[Rosterd]:
    """Yield an installation that has imported four files; it does not run."""
    folder = tmp_path_factory.mktemp("views")
    inboxes = make_inboxes(folder)
    with Rosterd(folder, inboxes) as installation:
        for name, content, client in (
            ("good.csv", HEADER + ANN + ZOE, "acme"),
            ("bad.csv", HEADER + BAD, "acme"),
            ("useless.csv", "nonsense\n1\n", "acme"),
            (HOSTILE, HEADER + ANN.replace("1,", "9,", 1), "beta"),
        ):
            installation.drop(name, content, client)
            assert installation.execute("sweep").returncode == 0
        on_both(installation)
        yield installation


def database(rosterd: Rosterd) -> Path:
    return rosterd._state / "rosterd.db"


def answer(rosterd: Rosterd, *command: str) -> Any:  # noqa: ANN401 - whatever JSON it is
    result = rosterd.execute(*command, "--json")
    assert "" == result.stderr
    return json.loads(result.stdout)


def told(result: subprocess.CompletedProcess[str]) -> str:
    """Return what a person reads, which never drives the terminal."""
    assert "\x1b" not in result.stdout
    assert "" == result.stderr
    return result.stdout


def test_imports_are_listed_newest_first(rosterd: Rosterd) -> None:
    """`imports` has each file with its outcome and counts."""
    found = answer(rosterd, "imports")
    assert [
        ("beta", "evil\\x1b[31m.csv", "imported", 1, 0),
        ("acme", "useless.csv", "refused", 0, 0),
        ("acme", "bad.csv", "refused", 0, 1),
        ("acme", "good.csv", "imported", 2, 0),
    ] == [(each["client"], each["file"], each["outcome"], each["created"], each["failed"]) for each in found]


def test_imports_can_be_chosen(rosterd: Rosterd) -> None:
    """`imports` narrows to a client, to failures, to a time, to a number."""
    assert 3 == len(answer(rosterd, "imports", "--client", "acme"))
    assert ["useless.csv", "bad.csv"] == [each["file"] for each in answer(rosterd, "imports", "--failed")]
    assert 4 == len(answer(rosterd, "imports", "--since", "2h"))
    assert [] == answer(rosterd, "imports", "--since", "2999-01-01")
    assert 1 == len(answer(rosterd, "imports", "--limit", "1"))
    assert 2 == rosterd.execute("imports", "--since", "yesterday").returncode


def test_imports_as_a_table(rosterd: Rosterd) -> None:
    """`imports` is a table with a line for each file, whatever its name."""
    lines = told(rosterd.execute("imports")).splitlines()
    assert 5 == len(lines)
    assert "evil\\x1b[31m.csv" in lines[1]
    assert "header.unknown" in lines[2]
    assert "No imports.\n" == told(rosterd.execute("imports", "--since", "2999-01-01"))


@pytest.mark.parametrize("by", ["id", "claim_id"])
def test_one_import_is_told_whole(rosterd: Rosterd, by: str) -> None:
    """`show` has the problems, the files and the mail of an import, by its number or its claim id."""
    [bad] = [row for row in rosterd.imports() if row["file"] == "bad.csv"]
    story = answer(rosterd, "show", str(bad[by]))
    assert "bad.csv" == story["entry"]["file"]
    assert [("9003", 1, 2)] == [(each["code"], each["rows"], each["first_line"]) for each in story["problems"]]
    assert {"there"} == set(story["files"].values())
    assert 3 == len(story["files"])
    assert ["acme"] == [mail["client"] for mail in story["mails"]]

    text = told(rosterd.execute("show", str(bad[by])))
    assert "9003" in text
    assert "failed.csv  there" in text


def test_more_problems_than_are_recorded(rosterd: Rosterd) -> None:
    """Of a file with very many problems `show` says how many more rows failed than it has problems of."""
    rosterd.drop("many.csv", HEADER + BAD * 30_000, "beta")
    assert 0 == rosterd.execute("sweep").returncode
    [many] = [row for row in rosterd.imports() if row["file"] == "many.csv"]
    story = answer(rosterd, "show", str(many["id"]))
    assert (30_000, 25_000, 5_000) == (many["failed"], story["problems"][0]["rows"], story["more_rows"])
    assert "\n5,000 more rows failed; the result text has all counts\n" in told(
        rosterd.execute("show", str(many["id"]))
    )
    assert 0 == rosterd.execute("verify").returncode


def test_an_import_that_is_not(rosterd: Rosterd) -> None:
    """`show` of an unknown id ends with 2 and says where to look."""
    result = rosterd.execute("show", "99")
    assert (2, "there is no import 99; `rosterd imports` lists all\n") == (result.returncode, result.stderr)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("1", [("acme", "1")]),
        ("9", [("beta", "9")]),
        ("ANN@SCHOOL.EXAMPLE", [("acme", "1"), ("beta", "9")]),
        ("annlee", [("acme", "1"), ("beta", "9")]),
        ("ann le", [("acme", "1"), ("beta", "9")]),
        ("Zo\u00e9", [("acme", "S%1")]),
        ("%", [("acme", "S%1")]),
        ("_", []),
    ],
)
def test_users_are_found(rosterd: Rosterd, query: str, expected: list[tuple[str, str]]) -> None:
    """`users` takes a unique id, an address, a user name; else a part of an id or a name, taken literally."""
    found = answer(rosterd, "users", query)
    assert expected == [(user["client"], user["unique_id"]) for user in found]


def test_users_as_text(rosterd: Rosterd) -> None:
    """`users` shows several users as a table, one with all that is recorded, and says when there is none."""
    assert 3 == len(told(rosterd.execute("users", "annlee")).splitlines())
    assert "login_source    OPSCOM" in told(rosterd.execute("users", "annlee", "--client", "beta"))
    assert "No such user.\n" == told(rosterd.execute("users", "nobody"))


def test_users_are_found_by_index(rosterd: Rosterd) -> None:
    """A search for an id, an address or a user name reads no table from end to end."""
    query = f"EXPLAIN QUERY PLAN SELECT unique_id FROM {queries._IS_CALLED}"  # noqa: S608 - a constant of ours
    with queries.opened(database(rosterd)) as conn:
        plan = conn.execute(query, {"client": None, "query": "1", "key": "1"}).fetchall()
    searches = [step for *_, step in plan if " users" in step]
    assert 4 == len(searches)
    assert all(" AND " in step or "rowid=?" in step for step in searches), searches


def test_status_of_a_daemon_that_is_down(rosterd: Rosterd) -> None:
    """`status` says that the daemon does not run, counts what lies in the inboxes, and ends with 1."""
    rosterd.drop("late.csv", HEADER)
    try:
        result = rosterd.execute("status")
        assert 1 == result.returncode
        assert "The service is not running, so nothing is imported: `systemctl start rosterd`." in told(result)
        summary = answer(rosterd, "status")
        assert [("acme", 1), ("beta", 0)] == [(each["client"], each["waiting"]) for each in summary["clients"]]
        assert "useless.csv" == summary["clients"][0]["last_import"]["file"]
    finally:
        (rosterd._folder / "acme" / "late.csv").unlink()


@pytest.mark.parametrize(
    ("state", "remedy"),
    [
        ("failed", "`systemctl reset-failed rosterd && systemctl start rosterd`"),
        ("inactive", "`systemctl start rosterd`"),
    ],
)
def test_status_of_a_service_that_systemd_gave_up(
    rosterd: Rosterd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, remedy: str
) -> None:
    """After too many failures systemd refuses a start until they are reset: `status` gives the commands that work."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "systemctl").write_text(f"#!/bin/sh\necho ActiveState={state}\n")
    (tmp_path / "bin" / "systemctl").chmod(0o755)
    monkeypatch.setitem(rosterd._environment, "PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    told = f"The service is not running, so nothing is imported: {remedy}."
    assert told in rosterd.execute("status").stdout
    assert (state == "failed") is answer(rosterd, "status")["has_failed"]


def test_nothing_is_changed_by_looking(rosterd: Rosterd) -> None:
    """The commands that look leave the database as it is, byte for byte."""
    before = hashlib.sha256(database(rosterd).read_bytes()).digest()
    for command in (("imports",), ("show", "1"), ("users", "1"), ("status",), ("mail", "list"), ("verify",)):
        rosterd.execute(*command)
    assert before == hashlib.sha256(database(rosterd).read_bytes()).digest()


# With the daemon running


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Rosterd]:
    """Yield a running daemon of two clients; the inbox of beta is missing."""
    (tmp_path / "acme").mkdir()
    with Rosterd(tmp_path, {name: tmp_path / name for name in ("acme", "beta")}) as installation:
        installation.start()
        yield installation


def test_status_of_a_running_daemon(running: Rosterd) -> None:
    """`status` has what only the daemon knows: what is watched, what is held and why, what cannot be used."""
    running.drop("cut.csv", HEADER + ANN[:9])
    running.wait_for_event("file.held")
    summary = wait_until(lambda: _picture_with_files(running), "the status to be written")

    acme, beta = (client["status"] for client in summary["clients"])
    assert (True, False) == (acme["is_watched"], beta["is_watched"])
    assert [("cut.csv", "held")] == [(file["file"], file["state"]) for file in acme["files"]]
    assert {"held": 1} == acme["counts"]
    assert summary["is_running"]
    assert ["acme: 1 file is held: see `rosterd release` and `rosterd refuse`.", "beta: the inbox"] == [
        concern[: 15 if concern.startswith("beta") else None] for concern in summary["concerns"]
    ]
    result = running.execute("status")
    assert 1 == result.returncode
    assert "cut.csv" in result.stdout


def _picture_with_files(rosterd: Rosterd) -> Any:  # noqa: ANN401 - whatever JSON it is
    summary = answer(rosterd, "status")
    return summary if summary["status"] and summary["status"]["clients"][0]["files"] else None


def test_a_file_imported_by_hand(running: Rosterd, tmp_path: Path) -> None:
    """`import` delivers a file, waits for its end, says what became of it, and ends as it ended."""
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text(HEADER + ANN)
    bad.write_text(HEADER + BAD)

    result = running.execute("import", str(good), "--client", "acme")
    assert (0, "") == (result.returncode, result.stderr)
    assert "good.csv: imported: 1 created, 0 updated, 0 unchanged, 0 failed." in result.stdout
    assert 1 == running.execute("import", str(bad), "--client", "acme").returncode
    assert ["bad.csv", "bad.failed.csv", "bad.result.txt", "good.csv", "good.result.txt"] == running.archived()


def test_a_file_by_hand_that_cannot_be_delivered(running: Rosterd, tmp_path: Path) -> None:
    """`import` needs an inbox, a free name there, and a name that is an upload's."""
    (tmp_path / "acme" / "cut.csv").write_text(HEADER + ANN[:9])
    for name in ("cut.csv", "good.txt"):
        (tmp_path / name).write_text(HEADER + ANN)

    taken = running.execute("import", str(tmp_path / "cut.csv"), "--client", "acme")
    assert (2, True) == (taken.returncode, "already contains a file cut.csv" in taken.stderr)
    assert 2 == running.execute("import", str(tmp_path / "cut.csv"), "--client", "beta").returncode
    assert 2 == running.execute("import", str(tmp_path / "good.txt"), "--client", "acme").returncode
    assert ["cut.csv"] == running.inbox()


def test_only_a_regular_file_is_delivered_by_hand(running: Rosterd, tmp_path: Path) -> None:
    """`import` follows no link, by whose name a client would get a copy of any file, and does not wait for a pipe."""
    (tmp_path / "secret").write_text(HEADER + ANN)
    (tmp_path / "link.csv").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe.csv")
    for name, said in (("link.csv", "is a symbolic link"), ("pipe.csv", "is not a regular file")):
        refused = running.execute("import", str(tmp_path / name), "--client", "acme")
        assert (2, True) == (refused.returncode, said in refused.stderr), refused.stderr
    assert ([], []) == (running.inbox(), running.archived())


def test_a_file_by_hand_while_the_daemon_is_down(running: Rosterd, tmp_path: Path) -> None:
    """`import` leaves the file in the inbox for the next start, and says so."""
    running.stop()
    (tmp_path / "good.csv").write_text(HEADER + ANN)
    result = running.execute("import", str(tmp_path / "good.csv"), "--client", "acme")
    assert 0 == result.returncode
    assert "is not running" in result.stdout
    assert ["good.csv"] == running.inbox()


def test_a_file_replayed(running: Rosterd, tmp_path: Path) -> None:
    """`replay` imports what lies in the archive once more, under its name, and leaves the archive as it was."""
    running.drop("users.csv", HEADER + ANN)
    running.wait_for_imports(1)
    running.wait_for_event("file.archived")

    result = running.execute("replay", "1")
    assert (0, "") == (result.returncode, result.stderr)
    assert "users.csv: imported: 0 created, 0 updated, 1 unchanged, 0 failed." in result.stdout
    assert ["users.csv", "users.csv", "users.result.txt", "users.result.txt"] == running.archived()
    assert 2 == running.execute("replay", "99").returncode

    for archive in (tmp_path / "acme" / ".bak").glob("*Z*.csv"):
        archive.unlink()
    assert "cannot be read from .bak" in running.execute("replay", "1").stderr


@pytest.mark.parametrize("command", ["release", "refuse"])
def test_the_end_of_a_hold(running: Rosterd, command: str) -> None:
    """`release` and `refuse` end the hold of a file at once, and of no other."""
    running.drop("cut.csv", HEADER + ANN + ANN[:9])
    running.wait_for_event("file.held")
    assert 1 == running.execute(command, "other.csv", "--client", "acme").returncode
    assert ["cut.csv"] == running.inbox()
    assert 0 == running.execute(command, "cut.csv", "--client", "acme").returncode
    [row] = running.wait_for_imports(1)
    # Released, the file is taken as it is: its whole row is recorded, the broken one comes back.
    assert ("cut.csv", "refused" if command == "refuse" else "partly") == (row["file"], row["outcome"])


def test_a_hold_while_the_daemon_is_down(running: Rosterd) -> None:
    """Without the daemon nobody knows what is held."""
    running.stop()
    result = running.execute("release", "cut.csv", "--client", "acme")
    assert (1, True) == (result.returncode, "is not running" in result.stderr)


def test_a_held_file_by_hand(running: Rosterd, tmp_path: Path) -> None:
    """`import` does not wait for a file that is held."""
    (tmp_path / "cut.csv").write_text(HEADER + ANN[:9])
    result = running.execute("import", str(tmp_path / "cut.csv"), "--client", "acme")
    assert 1 == result.returncode
    assert "cut.csv is held (cut off)" in result.stderr


def test_a_file_by_hand_for_whom_the_service_does_not_look(running: Rosterd, tmp_path: Path) -> None:
    """`import` ends with 2 and a sentence when the service does not know the client, or cannot use its inbox."""
    (tmp_path / "good.csv").write_text(HEADER + ANN)
    (tmp_path / "beta").mkdir()
    (tmp_path / "beta" / ".work").write_text("no folder")
    unusable = running.execute("import", str(tmp_path / "good.csv"), "--client", "beta")
    assert (2, True) == (unusable.returncode, "which the service cannot use" in unusable.stderr)

    (tmp_path / "gamma").mkdir()
    with running._config.open("a") as file:
        file.write(f'[[client]]\nname = "gamma"\ninbox = "{tmp_path}/gamma"\n')
    unknown = running.execute("import", str(tmp_path / "good.csv"), "--client", "gamma")
    assert (2, True) == (unknown.returncode, "the service does not know gamma" in unknown.stderr)


def test_a_held_file_among_many(running: Rosterd, tmp_path: Path) -> None:
    """`import` sees that its file is held however many are."""
    for number in range(25):
        running.drop(f"cut{number}.csv", HEADER + ANN[:9])
    wait_until(lambda: len(running.events("file.held")) == 25, "the files to be held")
    (tmp_path / "last.csv").write_text(HEADER + ANN[:9])
    result = running.execute("import", str(tmp_path / "last.csv"), "--client", "acme")
    assert (1, True) == (result.returncode, "last.csv is held (cut off)" in result.stderr)


@contextlib.contextmanager
def importing(rosterd: Rosterd, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Yield a `rosterd import` that waits for the end of its file, while the daemon stands still."""
    command = [*rosterd._command("import", str(path), "--client", "acme")]
    with (
        rosterd.stopped(),
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Queued;")
        yield process


def test_a_file_by_hand_and_a_service_that_ends(running: Rosterd, tmp_path: Path) -> None:
    """`import` ends with 2 and a sentence when the service ends before the file is imported."""
    (tmp_path / "good.csv").write_text(HEADER + ANN)
    with importing(running, tmp_path / "good.csv") as process:
        running._process.kill()  # type: ignore[union-attr]
        running._process.wait()  # type: ignore[union-attr]
        _, told = process.communicate(timeout=120)
    running.kill9()
    assert (2, "good.csv: the service stopped before importing it; it will be imported at the next start\n") == (
        process.returncode,
        told,
    )


def test_a_file_by_hand_that_somebody_takes_away(running: Rosterd, tmp_path: Path) -> None:
    """`import` ends with 2 and a sentence when the file vanishes from the inbox."""
    (tmp_path / "good.csv").write_text(HEADER + ANN)
    with importing(running, tmp_path / "good.csv") as process:
        (tmp_path / "acme" / "good.csv").unlink()
        running._process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]
        _, told = process.communicate(timeout=120)
    assert (2, "good.csv: was removed from the inbox of acme before it was imported\n") == (process.returncode, told)


def test_before_the_first_start(tmp_path: Path) -> None:
    """Without a database the commands that look end with 2 and a sentence."""
    with Rosterd(tmp_path, {"acme": tmp_path / "acme"}) as installation:
        for command in (("status",), ("imports",), ("verify",), ("mail", "list"), ("mail", "drop", "1")):
            result = installation.execute(*command)
            assert 2 == result.returncode, command
            assert "does not exist yet" in result.stderr
            assert "Traceback" not in result.stderr


def test_a_database_that_is_none(tmp_path: Path) -> None:
    """A database that cannot be read ends the commands with 2 and a sentence."""
    with Rosterd(tmp_path, {"acme": tmp_path / "acme"}) as installation:
        database(installation).write_bytes(b"not a database" * 100)
        for command in (("status",), ("imports",), ("verify",), ("mail", "list"), ("mail", "drop", "1")):
            result = installation.execute(*command)
            assert 2 == result.returncode, command
            assert "not a database" in result.stderr
            assert "Traceback" not in result.stderr


def test_status_tells_of_mail_that_does_not_get_through(rosterd: Rosterd) -> None:
    """Mail that was tried in vain is a concern, with what the server or the network said last."""
    rosterd.change(
        "UPDATE outbox SET state = 'waiting', attempts = 2, last_error = 'ConnectionRefusedError' WHERE id = 1"
    )
    expected = "1 mail was not delivered and will be retried: ConnectionRefusedError. See `rosterd mail list`."
    assert expected in answer(rosterd, "status")["concerns"]


def test_status_counts_why_mail_does_not_get_through(rosterd: Rosterd) -> None:
    """Each cause is named with how many mails it holds up, the most frequent first."""
    rosterd.change("UPDATE outbox SET state = 'waiting', last_error = 'a' WHERE id = 1")
    for number, error in enumerate(("535 5.7.8 bad", "ENETUNREACH", "ENETUNREACH", "b", "c")):
        rosterd.change(
            f"""INSERT INTO outbox
                 (message_id, client, claim_id, sender, recipients, subject, created_at, due_at, last_error, body)
               SELECT 'm{number}', '', '', '', '[]', '', '2026-11-22T07:42:05Z', '2999-11-22T07:42:05Z', '{error}', body
               FROM outbox WHERE id = 1"""  # noqa: S608 - texts of ours
        )
    try:
        told = answer(rosterd, "status")
    finally:
        rosterd.change("DELETE FROM outbox WHERE message_id LIKE 'm_'")
    causes = "2 because of ENETUNREACH; 1 because of c; 1 because of b; 2 for other reasons"
    expected = f"6 mails were not delivered and will be retried: {causes}. See `rosterd mail list`."
    assert (expected in told["concerns"], 2) == (True, told["mail_causes"]["ENETUNREACH"])
