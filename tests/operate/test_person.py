from __future__ import annotations

import email
import email.policy
import hashlib
import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Needs
from tests.faults.nursery import Nursery
from tests.faults.tracing import Commands, Point
from tests.lab import wait_until
from tests.lab.daemon import STAMP, Rosterd, swept
from tests.lab.host import Host

HEADER = "unique_id,login_source,first_name,last_name,email\n"
ANN = "S-1,OPSCOM,Ann,Zyzzyva,ann@school.example\n"
ANN_AMISS = "S-1,OPSCOM,Ann,Zyzzyva,ann\n"
BOB = "S-11,OPSCOM,Bob,Ray,bob@school.example\n"
PERSON = ("S-1", "--client", "acme")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rosterd]:
    """Yield an installation that knows Ann and Bob, and has answered a file in which Ann was amiss; it is down."""
    files = {"both.csv": ANN + BOB, "bob.csv": BOB, "amiss.csv": ANN_AMISS + BOB}
    uploads = [(name, HEADER + rows) for name, rows in files.items()]
    with swept(tmp_path_factory.mktemp("person"), uploads) as installation:
        yield installation


@pytest.fixture
def rosterd(prepared: Rosterd, tmp_path: Path) -> Iterator[Rosterd]:
    """Yield one like that for this test alone."""
    with prepared.copy(tmp_path) as installation:
        yield installation


def exported(rosterd: Rosterd) -> Any:  # noqa: ANN401 - whatever JSON it is
    return json.loads(rosterd.execute("export", *PERSON).stdout)


def content(rosterd: Rosterd) -> dict[str, str]:
    """Return the archives and failed CSVs by their names without stamps."""
    return {name: rosterd.read_bak(name).decode() for name in rosterd.archived() if name.endswith(".csv")}


def left(stdout: str) -> list[str]:
    """Return the names of the archives that may still contain the person, without stamps."""
    told = [line for line in stdout.splitlines() if line.startswith("may still contain")]
    return [STAMP.sub("", line.rpartition("/")[2]) for line in told]


def test_a_person_is_exported(rosterd: Rosterd) -> None:
    """`export` has the recorded user, the mails with their row, and the archives in which they stand."""
    found = exported(rosterd)
    assert ("S-1", "Zyzzyva") == (found["user"]["unique_id"], found["user"]["last_name"])
    assert [1] == found["mails"]
    assert ["amiss", "amiss", "both"] == [name.partition(".")[0] for name in found["archives"]]
    assert ([], [], []) == (found["problems"], found["unread"], found["waiting"])


def test_a_person_is_found_wherever_they_are(rosterd: Rosterd, tmp_path: Path) -> None:
    """`export` names mail in the Maildir, what is not imported yet, and what cannot be searched, too."""
    rosterd.drop("paper.csv", "%PDF-1.7 a document")
    rosterd.drop("headless.csv", "S-1,Ann,Lee,Toronto\n")
    rosterd.execute("sweep")
    rosterd.drop("held.csv", HEADER + ANN + "S-2,OPS")
    claim = tmp_path / "acme" / ".work" / "20261122T074205Z-0123abcd"
    claim.mkdir()
    (claim / "claimed.csv").write_text(HEADER + ANN)
    (tmp_path / "acme" / "pipe.csv").symlink_to("held.csv")

    found = exported(rosterd)
    assert [5] == found["problems"]
    assert ["paper.csv"] == [STAMP.sub("", name) for name in found["unread"]]
    assert ["held.csv", ".work/20261122T074205Z-0123abcd/claimed.csv"] == found["waiting"]
    assert 1 == len(found["delivered"])
    assert Path(found["delivered"][0]).exists()


def sparse(path: Path, size_bytes: int, *, content: str, at: int = 0) -> None:
    """Make a file of this size, of which only this content takes space."""
    with path.open("wb") as file:
        file.seek(at)
        file.write(content.encode())
        file.truncate(size_bytes)


def test_what_takes_no_space_takes_no_time(rosterd: Rosterd, tmp_path: Path) -> None:
    """Holes of a file are not searched, nor what is larger than any upload, which is named, and not replayed."""
    inbox = tmp_path / "acme"
    sparse(inbox / "huge.csv", 1 << 40, content=ANN)
    assert 0 == rosterd.execute("sweep").returncode
    sparse(inbox / "huge.tmp", 1 << 40, content=ANN)
    for number in range(200):
        sparse(inbox / f"large{number}.tmp", 1 << 30, content=f",{ANN}", at=1 << 29)

    found = exported(rosterd)
    assert ["huge.csv"] == [STAMP.sub("", name) for name in found["unread"]]
    assert (["huge.tmp"], 200) == (found["too_large"], len(found["waiting"]))
    told = rosterd.execute("erase", *PERSON, "--rewrite-archives", "--yes").stdout
    assert f"larger than an upload may be, so not searched: {inbox}/huge.tmp\n" in told
    assert "the limit is 1,073,741,824" in rosterd.execute("replay", "4").stderr


@pytest.mark.parametrize("running", [True, False], ids=["by the daemon", "in its place"])
def test_a_person_is_erased(rosterd: Rosterd, tmp_path: Path, *, running: bool) -> None:
    """`erase` leaves nothing of a person in the database files or the log, nobody else out, and names the archives."""
    if running:
        rosterd.start()
    result = rosterd.execute("erase", *PERSON, "--yes")
    assert (0, "") == (result.returncode, result.stderr)
    assert "removed: users 1, mails 1\n" in result.stdout
    assert 3 == result.stdout.count("may still contain the person")
    rosterd.stop()

    assert ["S-11"] == list(rosterd.users())
    assert b"Zyzzyva" not in b"".join(path.read_bytes() for path in (tmp_path / "state").glob("rosterd.db*"))
    assert "S-1" not in rosterd.log()
    found = exported(rosterd)
    assert (None, [], []) == (found["user"], found["mails"], found["problems"])
    assert 0 == rosterd.execute("verify").returncode


def test_a_person_nobody_knows(rosterd: Rosterd) -> None:
    """`erase` and `export` of an unknown id end with 2 and the nearest one; without a yes nothing is done."""
    for command in (("export",), ("erase", "--yes"), ("erase", "--yes", "--rewrite-archives")):
        result = rosterd.execute(command[0], "s-1", "--client", "acme", *command[1:])
        assert (2, "") == (result.returncode, result.stdout)
        expected = 'acme: no user with this unique id is recorded or mentioned; did you mean "S-1"?\n'
        assert expected == result.stderr
    assert "did you mean" not in rosterd.execute("export", "%\\_x", "--client", "acme").stderr
    assert 1 == rosterd.execute("erase", *PERSON).returncode
    assert ["S-1", "S-11"] == list(rosterd.users())


def without_clients(text: str) -> str:
    return text.partition("[[client]]")[0]


@pytest.mark.parametrize("running", [True, False], ids=["by the daemon", "in its place"])
def test_a_person_of_a_client_that_was_removed(rosterd: Rosterd, *, running: bool) -> None:
    """`export` and `erase` work for a client that was removed; an unknown client is a usage error."""
    rosterd.reload(without_clients)
    if running:
        rosterd.start()
    assert ("S-1", [1]) == (exported(rosterd)["user"]["unique_id"], exported(rosterd)["mails"])
    result = rosterd.execute("erase", *PERSON, "--yes")
    assert (0, "removed: users 1, mails 1") == (result.returncode, result.stdout.splitlines()[0])
    assert ["S-11"] == list(rosterd.users())
    unknown = rosterd.execute("erase", "S-11", "--client", "acne", "--yes")
    assert (2, True) == (unknown.returncode, 'did you mean "acme"?' in unknown.stderr)


def test_the_archives_of_a_client_that_was_removed(needs: Needs) -> None:
    """What `client remove` leaves in the client's folder is searched and named, and is not rewritten."""
    needs("sshd", "unshare", "nsenter", "useradd", "systemd-sysusers", "systemd-tmpfiles", root=True)
    with Host() as host:
        host.rosterd("client", "add", "acme", "--email", "it@acme.example", "--apply")
        host.path("/srv/users.csv").write_text(HEADER + ANN_AMISS + BOB)
        host.rosterd("import", "/srv/users.csv", "--client", "acme")
        host.rosterd("sweep")
        host.rosterd("client", "remove", "acme", "--apply")
        found = json.loads(host.rosterd("export", "S-11", "--client", "acme").stdout)
        assert ["users.csv"] == [STAMP.sub("", name) for name in found["archives"]]
        done = host.rosterd("erase", "S-11", "--client", "acme", "--yes", "--rewrite-archives", check=False)
        assert 1 == done.returncode
        assert "removed: users 1, mails 0" in done.stdout
        assert "may still contain the person: /srv/sftp/acme/upload/.bak/users." in done.stdout
        assert "no longer configured, so its archives are not rewritten; delete them" in done.stderr


# Out of the archives, too


@pytest.mark.parametrize("running", [True, False], ids=["by the daemon", "in its place"])
def test_a_person_is_taken_out_of_the_archives(rosterd: Rosterd, tmp_path: Path, *, running: bool) -> None:
    """With --rewrite-archives their rows are gone, all other bytes stay, and `verify` is content."""
    before = {path: path.stat() for path in (tmp_path / "acme" / ".bak").iterdir()}
    uploaded = {row["file"]: row["sha256"] for row in rosterd.imports()}
    if running:
        rosterd.start()
    result = rosterd.execute("erase", *PERSON, "--rewrite-archives", "--yes")
    assert (0, "", []) == (result.returncode, result.stderr, left(result.stdout))

    told = content(rosterd)
    assert {"both.csv": HEADER + BOB, "bob.csv": HEADER + BOB, "amiss.csv": HEADER + BOB}.items() <= told.items()
    assert "S-1" not in told["amiss.failed.csv"]
    after = {path: path.stat() for path in before}
    assert {path: (s.st_uid, s.st_gid, s.st_mode, s.st_mtime_ns) for path, s in before.items()} == {
        path: (s.st_uid, s.st_gid, s.st_mode, s.st_mtime_ns) for path, s in after.items()
    }
    assert [] == rosterd.in_work()
    assert 0 == rosterd.execute("verify").returncode
    # What was uploaded stays known by its hash, what lies there now as well.
    now = hashlib.sha256((HEADER + BOB).encode()).hexdigest()
    for row in (each for each in rosterd.imports() if each["kind"] == "file"):
        assert uploaded[row["file"]] == row["sha256"]
        assert (None if row["file"] == "bob.csv" else now) == row["rewritten_sha256"]
    if running:
        events = rosterd.events("archive.rewritten")
        assert [uploaded["both.csv"], uploaded["amiss.csv"]] == [event["sha256_before"] for event in events]
        assert [now, now] == [event["sha256"] for event in events]
        assert "S-1" not in rosterd.log()


def test_others_can_be_taken_out_later(rosterd: Rosterd) -> None:
    """An archive can be rewritten again and again; the hash recorded is that of the last."""
    for unique_id in ("S-1", "S-11"):
        result = rosterd.execute("erase", unique_id, "--client", "acme", "--rewrite-archives", "--yes")
        assert (0, []) == (result.returncode, left(result.stdout))
    assert {HEADER} == {text for name, text in content(rosterd).items() if "failed" not in name}
    assert 0 == rosterd.execute("verify").returncode


def test_what_is_to_be_rewritten_is_shown_first(rosterd: Rosterd) -> None:
    """Without a yes the archives are named, and nothing is changed."""
    result = rosterd.execute("erase", *PERSON, "--rewrite-archives")
    assert 1 == result.returncode
    assert 3 == result.stdout.count("will be rewritten without their rows: ")
    assert "The files of 2 imports will no longer be as uploaded." in result.stdout
    assert HEADER + ANN + BOB == content(rosterd)["both.csv"]
    assert ["S-1", "S-11"] == list(rosterd.users())


def test_an_id_within_another_column_stays(rosterd: Rosterd) -> None:
    """A row in which the id stands elsewhere is somebody else's: it stays, and its archive is named."""
    rosterd.drop("other.csv", HEADER + "S-3,OPSCOM,S-1,Ray,cat@school.example\n")
    rosterd.execute("sweep")
    result = rosterd.execute("erase", *PERSON, "--rewrite-archives", "--yes")
    assert (0, ["other.csv"]) == (result.returncode, left(result.stdout))
    assert 0 == rosterd.execute("verify").returncode


def test_a_row_that_was_taken_for_a_header(rosterd: Rosterd) -> None:
    """What the answers to a file without a header quote of a person goes with them, and so does that file."""
    rosterd.drop("headless.csv", "S-1,Ann,Lee,Toronto\n")
    rosterd.execute("sweep")
    assert "S-1" in str(rosterd.query("SELECT detail FROM import_problems WHERE import_id = 4"))

    result = rosterd.execute("erase", *PERSON, "--rewrite-archives", "--yes")
    assert (0, []) == (result.returncode, left(result.stdout))
    assert "it is not a table (header.unknown)" in result.stdout
    assert {"headless.csv", "headless.result.txt"}.isdisjoint(rosterd.archived())
    assert [] == rosterd.query("SELECT detail FROM import_problems WHERE detail LIKE '%S-1%'")
    assert 0 == rosterd.execute("verify").returncode


def test_a_person_who_was_only_quoted(rosterd: Rosterd) -> None:
    """Where an answer quotes a person whom nothing else names, `erase` says that this was removed, and ends with 0."""
    rosterd.drop("headless.csv", "S-9,Kim,Lee,Toronto\n")
    rosterd.execute("sweep")
    rosterd.change("UPDATE outbox SET body = x''")  # the text of mail is not kept as long
    result = rosterd.execute("erase", "S-9", "--client", "acme", "--yes")
    assert (0, "removed: users 0, mails 0, quotations of a row 1") == (result.returncode, result.stdout.splitlines()[0])
    assert [] == rosterd.query("SELECT detail FROM import_problems WHERE detail LIKE '%S-9%'")


def test_an_archive_that_is_no_table_any_more(rosterd: Rosterd) -> None:
    """What was imported by settings that the client has no more is left as it is, told, and ends with 1."""
    rosterd.reload(lambda text: f'{text}columns = {{ first_name = "nothing" }}\n'.replace("nothing", "last_name"))
    rosterd.reload(lambda text: text.replace("first_name = ", "unique_id = "))
    result = rosterd.execute("erase", *PERSON, "--rewrite-archives", "--yes")
    assert 1 == result.returncode
    assert 2 == result.stderr.count("its archive was not changed: cannot be read by the settings of today (header.")
    assert HEADER + ANN + BOB == content(rosterd)["both.csv"]
    assert 0 == rosterd.execute("verify").returncode


@pytest.mark.parametrize("call", ["renameat", "unlinkat"])
def test_an_erasure_that_is_killed(rosterd: Rosterd, tmp_path: Path, call: str, needs: Needs) -> None:
    """Killed at any of its steps, the same command again brings it to its end."""
    needs("strace")
    files = [*(tmp_path / "state").glob("rosterd.db*"), *(tmp_path / "acme" / ".bak").iterdir()]
    before = {path: path.read_bytes() for path in files}
    command = ("erase", *PERSON, "--rewrite-archives", "--yes")
    number = 1
    with Nursery() as nursery:
        commands = Commands(nursery, rosterd._config, tmp_path / "told")
        while commands.killed_at(Point(call, number), *command):
            assert [] == left(commands.run(*command)[1])
            assert [HEADER + BOB] * 3 == [content(rosterd)[name] for name in ("both.csv", "bob.csv", "amiss.csv")]
            assert "S-1" not in content(rosterd)["amiss.failed.csv"]
            assert ["S-11"] == list(rosterd.users())
            assert 0 == commands.run("sweep")[0]
            assert [] == rosterd.in_work()
            assert 0 == commands.run("verify")[0]
            for path, whole in before.items():
                path.write_bytes(whole)
            number += 1
    assert number > 1


def test_uploads_to_come_are_told(rosterd: Rosterd) -> None:
    """An upload that waits would record the person anew: it is named."""
    rosterd.start()
    rosterd.drop("held.csv", HEADER + ANN + "S-2,OPS")
    wait_until(lambda: rosterd.events("file.held"), "the file to be held")
    assert "will record the person again: " in rosterd.execute("erase", *PERSON, "--yes").stdout


# Ids as they come: each with the form in which a file without a header has it.
IDS = {
    "a blank": ("Anna Lena", "Anna Lena"),
    "several blanks": ("Anna  Maria von Lee", "Anna  Maria von Lee"),
    "decomposed": ("Zoe\u0308 L", "Zoe\u0308 L"),
    "guarded": ("=1 2", "'=1 2"),
    "a quotation mark": ('A"B c', '"A""B c"'),
    "long": ("x y " * 30 + "z", "x y " * 30 + "z"),
}


@pytest.mark.parametrize(("unique_id", "cell"), IDS.values(), ids=IDS)
def test_an_id_is_found_where_a_line_is_broken_in_it(tmp_path: Path, unique_id: str, cell: str) -> None:
    """What mails and answers quote of a person is found and goes, wherever in the id a line of them was broken."""
    (tmp_path / "acme").mkdir()
    with Rosterd(tmp_path, {"acme": tmp_path / "acme"}) as rosterd:
        for pad in range(0, 96, 3):
            rosterd.drop(f"{pad}.csv", f"{'q' * pad}x,Bertha,{cell},Mueller Lang,Koeln\nb,c,d,e,f\n")
        assert 0 == rosterd.execute("sweep").returncode
        rosterd.change("UPDATE outbox SET state = 'waiting'")  # as if the Maildir had not been there
        normal = unicodedata.normalize("NFC", unique_id)
        person = (normal, "--client", "acme")

        exported = json.loads(rosterd.execute("export", *person).stdout)
        assert 32 == len(exported["problems"])
        assert 2 * 32 == len(exported["archives"])  # upload and result text
        assert [] != exported["delivered"]

        result = rosterd.execute("erase", *person, "--rewrite-archives", "--yes")
        assert 0 == result.returncode, result.stderr
        assert [] == left(result.stdout)
        bodies = rosterd.query("SELECT hex(body) AS body FROM outbox WHERE length(body) > 0")
        assert [] == [row for row in bodies if "Bertha" in parsed(bytes.fromhex(str(row["body"])))]
        assert [] == rosterd.query("SELECT detail FROM import_problems WHERE detail LIKE '%Bertha%'")


def parsed(body: bytes) -> str:
    message = email.message_from_bytes(body, policy=email.policy.default)
    part = message.get_body(("plain",))
    return "" if part is None else str(part.get_content())
