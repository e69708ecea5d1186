"""`max_inbox_bytes`: told by status, log, metric and one mail; new files are refused, and nothing else is touched."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from importer.model import HoldReason
from tests.lab import wait_until
from tests.lab.daemon import Rosterd, Setting
from watcher.inbox.entries import staying_bytes
from watcher.inbox.layout import opened
from watcher.inbox.settle import Names
from watcher.model import Waiting

HEADER = "unique_id,login_source,first_name,last_name,email\n"
ANN = "1,OPSCOM,Ann,Lee,ann@school.example\n"
LIMIT = 100_000
JUNK = os.urandom(LIMIT + 1)


@pytest.fixture
def rosterd(tmp_path: Path, folders: dict[str, Path]) -> Iterator[Rosterd]:
    """Yield the running daemon of two clients with a limit; it sweeps all the time, and can mail the operator."""
    settings: dict[str, dict[str, Setting]] = {
        "service": {"sweep_interval_s": 0.3},
        "mail": {"operator": ["ops@host.example"]},
    }
    with Rosterd(tmp_path, folders, settings=settings, client_settings={"max_inbox_bytes": LIMIT}) as installation:
        installation.start()
        yield installation


def is_full(rosterd: Rosterd) -> bool:
    return "acme: 100.0 KB of files stay in the inbox; max_inbox_bytes is 100.0 KB" in rosterd.execute("status").stdout


def metric(rosterd: Rosterd, name: str) -> str | None:
    lines = rosterd.execute("metrics").stdout.splitlines()
    return next((line.split()[1] for line in lines if line.startswith(f'rosterd_{name}{{client="acme"}}')), None)


def test_a_full_inbox_is_told_and_new_files_are_refused(rosterd: Rosterd, folders: dict[str, Path]) -> None:
    """What stays is reported everywhere, with one mail to the operator; a new file is answered, nothing is deleted."""
    (folders["acme"] / "old").mkdir()
    junk = folders["acme"] / "old" / "backup.iso"
    junk.write_bytes(JUNK)
    rosterd.wait_for_event("inbox.full", client="acme")
    rosterd.drop("users.csv", HEADER + ANN)
    assert "limit.inbox" == rosterd.wait_for_event("file.refused", client="acme")["code"]
    rosterd.wait_for_event("file.archived", client="acme")
    wait_until(lambda: is_full(rosterd), "the status")
    assert 1 == rosterd.execute("status").returncode
    assert (str(float(len(JUNK))), str(float(LIMIT))) == (
        metric(rosterd, "inbox_bytes"),
        metric(rosterd, "inbox_limit_bytes"),
    )
    result = b" ".join(rosterd.read_bak("users.result.txt").split())
    assert b"Other files in it have 98 KB" in result
    assert b"Delete from it what you do not need" in result
    rosterd.drop("beta.csv", HEADER + ANN, client="beta")
    rosterd.wait_for_event("file.imported", client="beta")
    wait_until(lambda: len(rosterd.mails()) == 2, "a mail to the client, and one to the operator")
    subjects = {mail["To"]: mail["Subject"] for mail in rosterd.mails()}
    assert "inbox.full acme" in subjects["ops@host.example"]
    assert JUNK == junk.read_bytes()
    assert 1 == len(rosterd.events("inbox.full"))


def test_an_emptied_inbox_takes_files_again(rosterd: Rosterd, folders: dict[str, Path]) -> None:
    """Once the client has deleted enough, that is logged, status is well, and the same file is imported."""
    junk = folders["acme"] / "backup.iso"
    junk.write_bytes(JUNK)
    rosterd.wait_for_event("inbox.full")
    rosterd.drop("users.csv", HEADER + ANN)
    rosterd.wait_for_event("file.refused")
    junk.unlink()
    rosterd.wait_for_event("inbox.emptied")
    rosterd.drop("users.csv", HEADER + ANN)
    rosterd.wait_for_event("file.imported")
    wait_until(lambda: not is_full(rosterd), "the status")
    assert "0.0" == metric(rosterd, "inbox_bytes")


def test_what_is_being_written_is_not_touched(rosterd: Rosterd, folders: dict[str, Path]) -> None:
    """A file that a client still writes stays where it is, however full the inbox is; closed, it is refused."""
    (folders["acme"] / "backup.iso").write_bytes(JUNK)
    rosterd.wait_for_event("inbox.full")
    upload = folders["acme"] / "users.csv"
    with upload.open("w") as file:
        file.write(HEADER)
        file.flush()
        rosterd.drop("other.csv", HEADER + ANN)
        rosterd.wait_for_event("file.refused", file="other.csv")
        assert upload.exists()
        file.write(ANN)
    assert "limit.inbox" == rosterd.wait_for_event("file.refused", file="users.csv")["code"]
    rosterd.wait_for_event("file.archived", file="users.csv")
    assert (HEADER + ANN).encode() == rosterd.read_bak("users.csv")


def test_many_files_at_once_are_imported(rosterd: Rosterd) -> None:
    """Files that are decided on soon do not fill the inbox: each counts alone, however many come at once."""
    rows = "".join(f"{n},OPSCOM,Ann,Lee,a{n}@school.example\n" for n in range(1500))
    assert LIMIT / 2 < len(HEADER + rows) < LIMIT
    for number in range(6):
        rosterd.drop(f"users{number}.csv", HEADER + rows)
    rosterd.wait_for_imports(6)
    assert [] == rosterd.events("file.refused") + rosterd.events("inbox.full")


def test_a_file_above_the_limit_is_refused(rosterd: Rosterd) -> None:
    """A file that alone has more bytes than may be in the inbox is refused, too, and the inbox is not full."""
    rosterd.drop("users.csv", HEADER + "".join(f"{n},OPSCOM,Ann,Lee,a{n}@school.example\n" for n in range(5000)))
    assert "limit.inbox" == rosterd.wait_for_event("file.refused")["code"]
    rosterd.wait_for_event("file.archived")
    assert [] == rosterd.events("inbox.full")


def test_what_the_operator_releases_is_imported(rosterd: Rosterd, folders: dict[str, Path]) -> None:
    """A held file counts as one that stays; released by the operator it is imported, full or not."""
    (folders["acme"] / "backup.iso").write_bytes(JUNK)
    rosterd.wait_for_event("inbox.full")
    rosterd.drop("cut.csv", HEADER + ANN + '2,OPSCOM,"Bob')
    rosterd.wait_for_event("file.held")
    assert 0 == rosterd.execute("release", "cut.csv", "--client", "acme").returncode
    rosterd.wait_for_event("file.archived", file="cut.csv")
    assert "limit.inbox" not in {event["code"] for event in rosterd.events("file.refused")}


def test_a_restart_knows_it_again(rosterd: Rosterd, folders: dict[str, Path]) -> None:
    """Killed while the inbox is full, the next start reports and refuses as before."""
    (folders["acme"] / "backup.iso").write_bytes(JUNK)
    rosterd.wait_for_event("inbox.full")
    rosterd.kill9()
    rosterd.drop("users.csv", HEADER + ANN)
    rosterd.start()
    assert "limit.inbox" == rosterd.wait_for_event("file.refused")["code"]
    wait_until(lambda: len(rosterd.events("inbox.full")) == 2, "the report of the second start")


def test_without_a_limit_nothing_is_measured(tmp_path: Path, folders: dict[str, Path]) -> None:
    """By default the size of an inbox is not limited, and no metric reports the limit."""
    with Rosterd(tmp_path, folders) as rosterd:
        (folders["acme"] / "backup.iso").write_bytes(JUNK)
        rosterd.start()
        rosterd.drop("users.csv", HEADER + ANN)
        rosterd.wait_for_event("file.imported")
        assert None is metric(rosterd, "inbox_bytes")
        assert not is_full(rosterd)


def test_no_tree_of_a_client_keeps_the_service(folders: dict[str, Path]) -> None:
    """Folders below folders, more than a path can name, and links are measured to a bound, and followed nowhere."""
    inbox = folders["acme"]
    for name in (".work", ".bak"):
        (inbox / name).mkdir(mode=0o700)
        (inbox / name / "x").write_bytes(b"x" * 1000)
    (inbox / "seen").write_bytes(b"x" * 7)
    (inbox / "link").symlink_to("/etc")
    for name in ("cut.csv", "soon.csv"):
        (inbox / name).write_bytes(b"x" * 500)
    fd = os.open(inbox, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    cut = Waiting(
        name=b"cut.csv",
        size_bytes=500,
        quiet_since=0,
        due_at=0,
        in_writing=False,
        held=True,
        ignored=False,
        hold_reason=HoldReason.CUT_OFF,
    )
    try:
        with opened("acme", str(inbox)) as folder:
            accept = Names("*.csv").accept
            assert 7 == staying_bytes(folder, accept, [])
            assert 7 + 500 == staying_bytes(folder, accept, [cut])
    finally:
        subprocess.run(["rm", "-rf", inbox / "d"], check=True)
