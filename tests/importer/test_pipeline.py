"""One file, one transaction: what is written before the commit, with it, and when something fails on the way."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from pathlib import Path

import pytest

from importer.durable import SyncFailed, write_durably
from importer.fs import open_file
from importer.model import Interrupted
from importer.names import FAILED_CSV, RESULT_TXT
from importer.store.errors import StoreBusy
from tests.engine import ARCHIVE, CLIENT, HEADER, Engine
from tests.tables import tables_of

pytestmark = pytest.mark.usefixtures("both_databases")

GOOD = "S1,OPSCOM,Ann,Lee,ann@example.org,ann"
BAD = "S2,CAS,Bob,Roy,bob@example.org,bob"
MANY = "\n".join((HEADER, *(f"U{n},OPSCOM,Ann,Lee,u{n}@example.org,u{n}" for n in range(20_000)), "")).encode()
COUNTS = """
    SELECT count(*) FROM users UNION ALL SELECT count(*) FROM imports
    UNION ALL SELECT count(*) FROM import_problems UNION ALL SELECT count(*) FROM outbox"""


def recorded(engine: Engine) -> tuple[int, ...]:
    """Return how many rows each table has for those who read from outside."""
    with contextlib.closing(engine.reader()) as reader:
        return tuple(row[0] for row in reader.execute(COUNTS).fetchall())


def test_everything_about_a_file_is_recorded_together(engine: Engine) -> None:
    """Users, ledger row, problems and mail of a file are there when the import returns."""
    engine.rows(GOOD, BAD)
    assert (1, 1, 1, 1) == recorded(engine)


def test_the_ledger_tells_what_came_and_how_it_ended(engine: Engine) -> None:
    """The row of an import has the file's name, hash, size and identity, its outcome and its counts."""
    content = f"{HEADER}\n{GOOD}\n{GOOD}\n{BAD}\n".encode()
    result = engine.upload(content, name="ré\nsumé.csv")
    (row,) = tables_of(engine.store).query("SELECT * FROM imports")
    claim = result.receipt.claim
    expected = {
        "claim_id": claim.claim_id,
        "client": CLIENT,
        "file": r"ré\nsumé.csv",
        "sha256": result.receipt.sha256,
        "size_bytes": len(content),
        "device": claim.device,
        "inode": claim.inode,
        "outcome": "partly",
        "code": "",
        "created": 1,
        "updated": 0,
        "unchanged": 0,
        "failed": 1,
        "repeated": 1,
        "archive": ARCHIVE,
        "archived_at": None,
    }
    assert expected.items() <= row.items()
    assert row["claimed_at"] <= row["finished_at"]


def test_a_refused_file_is_recorded_too(engine: Engine) -> None:
    """A file failure leaves a ledger row with its code, its problem with the line, and a mail; and no user."""
    result = engine.rows(GOOD, 'S2,OPSCOM,"Bob"by,Roy,b@example.org,b')
    (row,) = tables_of(engine.store).query("SELECT outcome, code, sha256 FROM imports")
    assert {"outcome": "refused", "code": "csv.quoting", "sha256": result.receipt.sha256} == row
    (problem,) = tables_of(engine.store).query("SELECT line, code FROM import_problems")
    assert {"line": 3, "code": "csv.quoting"} == problem
    assert (0, 1, 1, 1) == recorded(engine)
    assert 64 == len(result.receipt.sha256)


@pytest.mark.sqlite
def test_the_views_for_people_answer(engine: Engine) -> None:
    """recent_imports and failing_clients tell of the files that came."""
    engine.rows(GOOD)
    engine.rows(BAD)
    recent = engine.store.conn.execute("SELECT id, client, outcome, failed FROM recent_imports").fetchall()
    assert [(2, CLIENT, "refused", 1), (1, CLIENT, "imported", 0)] == recent
    assert [(CLIENT, 1, 1)] == engine.store.conn.execute(
        "SELECT client, imports_with_failures, failed_rows FROM failing_clients"
    ).fetchall()


def test_drafts_lie_in_the_claim_folder(engine: Engine) -> None:
    """Result and failed CSV are whole files in the claim folder before the archive takes them; nothing else is left."""
    with engine.claimed(f"{HEADER}\n{BAD}\n".encode()) as claim:
        engine.importer().import_file(claim, engine.client)
        assert {"users.csv", FAILED_CSV.decode(), RESULT_TXT.decode()} == set(os.listdir(claim.folder_fd))
        for name in (FAILED_CSV, RESULT_TXT):
            assert 0o640 == os.stat(name, dir_fd=claim.folder_fd).st_mode & 0o777


def test_a_second_try_replaces_the_drafts_of_the_first(engine: Engine) -> None:
    """A failed CSV of an import that was never committed does not stay beside the result of one that was."""
    with engine.claimed(f"{HEADER}\n{GOOD}\n".encode()) as claim:
        write_durably(claim.folder_fd, FAILED_CSV, [b"of an earlier try"])
        engine.importer().import_file(claim, engine.client)
        assert FAILED_CSV.decode() not in os.listdir(claim.folder_fd)


@pytest.mark.parametrize("after", [0, 1, 5])
def test_a_stop_rolls_back_everything(engine: Engine, after: int) -> None:
    """Told to stop in the middle, an import leaves nothing, and the same claim is imported whole later."""
    engine.rows(GOOD)
    before = recorded(engine)
    looks = iter(range(after))
    with engine.claimed(MANY) as claim:
        with pytest.raises(Interrupted):
            engine.importer().import_file(claim, engine.client, stopping=lambda: next(looks, None) is None)
        assert before == recorded(engine)
        assert 20_000 == engine.importer().import_file(claim, engine.client).tally.created


@pytest.mark.sqlite
def test_an_error_of_the_check_is_not_lost_in_sqlite(engine: Engine) -> None:
    """What goes wrong while SQLite itself asks whether to stop rises as it is, and nothing is recorded."""
    before = recorded(engine)

    def fail() -> bool:
        raise ZeroDivisionError

    # An open file is read without asking, so that only SQLite asks.
    with engine.claimed(MANY) as claim, open_file(claim.name, claim.folder_fd) as raw:
        with pytest.raises(ZeroDivisionError):
            engine.importer().import_from(raw, claim, engine.client, stopping=fail)
        assert before == recorded(engine)
        assert 20_000 == engine.importer().import_file(claim, engine.client).tally.created


@pytest.mark.parametrize("name", [RESULT_TXT, FAILED_CSV])
def test_a_disk_that_refuses_rolls_back_everything(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, name: bytes
) -> None:
    """When a draft cannot be written the host's error rises, nothing is recorded, and the next try is whole."""
    content = f"{HEADER}\n{GOOD}\n{BAD}\n".encode()
    rename = os.rename

    def refuse(source: bytes, target: bytes, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        if target == name:
            raise OSError(28, "No space left on device")
        rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    with engine.claimed(content) as claim:
        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", refuse)
            with pytest.raises(OSError, match="No space left"):
                engine.importer().import_file(claim, engine.client)
        assert (0, 0, 0, 0) == recorded(engine)
        assert not [each for each in os.listdir(claim.folder_fd) if each.startswith(".new-")]
        assert 1 == engine.importer().import_file(claim, engine.client).tally.created


@pytest.mark.sqlite
def test_a_locked_database_is_the_hosts_trouble(engine: Engine) -> None:
    """While another program holds the database locked the import raises, and goes through afterwards."""
    engine.store.conn.execute("PRAGMA busy_timeout = 20")
    other = sqlite3.connect(engine.folder / "rosterd.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with engine.claimed(f"{HEADER}\n{GOOD}\n".encode()) as claim:
        with pytest.raises(StoreBusy, match="locked"):
            engine.importer().import_file(claim, engine.client)
        other.execute("ROLLBACK")
        assert 1 == engine.importer().import_file(claim, engine.client).tally.created
    other.close()


def test_a_link_in_the_claim_folder_is_not_followed(engine: Engine) -> None:
    """Only what was claimed is read."""
    with engine.claimed(b"x") as claim:
        os.unlink(claim.name, dir_fd=claim.folder_fd)
        os.symlink("/etc/hostname", claim.name, dir_fd=claim.folder_fd)
        with pytest.raises(OSError, match="symbolic links"):
            engine.importer().import_file(claim, engine.client)


def test_files_follow_each_other_in_one_connection(engine: Engine) -> None:
    """What one file needs while it is imported is gone before the next: outcomes do not depend on what came before."""
    first = engine.rows(GOOD, BAD, "S3,OPSCOM,A,B,ann@example.org,")
    engine.upload(b"%PDF-1.7")
    engine.rows("", header="")
    again = engine.rows(GOOD, BAD, "S3,OPSCOM,A,B,ann@example.org,")
    assert {2: "9019", 3: "9015", 4: "9019"} == first.codes
    assert first.codes == again.codes


# -- durable files -------------------------------------------------------------------------------------------------


def test_a_durable_file_is_synced_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content is synced, then the name given, then the folder synced: a power cut leaves all of it or nothing."""
    steps: list[str] = []
    fsync, rename = os.fsync, os.rename

    def note_sync(fd: int) -> None:
        steps.append("folder" if os.path.isdir(f"/proc/self/fd/{fd}") else "file")
        fsync(fd)

    def note_name(source: bytes, target: bytes, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        steps.append("name")
        rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "rename", note_name)
    folder_fd = os.open(tmp_path, os.O_RDONLY)
    write_durably(folder_fd, b"name", [b"some ", b"content"], mode=0o600)
    os.close(folder_fd)
    assert ["file", "name", "folder"] == steps
    assert (b"some content", 0o600) == ((tmp_path / "name").read_bytes(), (tmp_path / "name").stat().st_mode & 0o777)


def test_a_durable_file_replaces_a_link_and_does_not_follow_it(tmp_path: Path) -> None:
    """A link where the file goes is replaced; what it points to stays as it was."""
    (tmp_path / "target").write_text("mine")
    (tmp_path / "name").symlink_to("target")
    folder_fd = os.open(tmp_path, os.O_RDONLY)
    write_durably(folder_fd, b"name", [b"content"])
    os.close(folder_fd)
    assert ("mine", "content") == ((tmp_path / "target").read_text(), (tmp_path / "name").read_text())


def test_a_durable_file_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """When the content fails on the way no part of it stays."""

    def pieces() -> object:
        yield b"some"
        raise RuntimeError

    folder_fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(RuntimeError):
        write_durably(folder_fd, b"name", pieces())  # type: ignore[arg-type]
    os.close(folder_fd)
    assert [] == os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("code", "raised"), [(errno.EIO, SyncFailed), (errno.ENOSPC, OSError), (errno.EDQUOT, OSError)]
)
def test_a_sync_that_fails_is_told_from_a_full_disk(
    code: int, raised: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an I/O error no second try is believed, and no handler of an OSError makes one; a full disk passes."""

    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    folder_fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(raised):
        write_durably(folder_fd, b"name", [b"content"])
    os.close(folder_fd)
    assert [] == os.listdir(tmp_path)
    assert not issubclass(SyncFailed, OSError)
