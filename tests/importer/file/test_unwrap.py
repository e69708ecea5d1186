"""What is in an archive is imported like a CSV file; what is not, or is too much, is refused with what to do."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
import pytest

from importer.dry_run import DryRun
from importer.file.unwrap.endings import divided, patterns
from importer.fs import open_folder
from importer.model import Claim, HoldReason, Outcome
from importer.pipeline import Importer
from importer.redact import NotRewritable, Rewriter
from importer.settings import ClientSettings, FileSettings, ReferenceSettings
from importer.store import integrity
from importer.store.places import Place
from operate.folders import opened
from tests.engine import HEADER, Engine
from watcher.inbox.holds import hold_reason_of
from watcher.inbox.settle import Names

ACME = ClientSettings(name="acme", inbox="/srv/sftp/acme")
ANN = "S1,OPSCOM,Ann,Lee,ann@example.org,ann"
CSV = f"{HEADER}\n{ANN}\n".encode()


def zipped(members: dict[str, bytes]) -> bytes:
    """Return a ZIP archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "users.csv.gz": gzip.compress,
    "users.zip": lambda csv: zipped({"users.csv": csv}),
}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Yield an importer on a database of its own."""
    made = Engine(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("name", PACKERS)
def test_what_is_in_an_upload_is_imported(engine: Engine, name: str) -> None:
    """The users come from what is in the upload; hash and size in the ledger are those of the upload itself."""
    upload = PACKERS[name](CSV + b"S2,OPSCOM,Bo,,bo@example.org,bo")
    result = engine.upload(upload, name=name)
    assert Outcome.PARTLY is result.receipt.outcome
    assert ["S1"] == [*engine.users()]
    assert [3] == [*result.codes]
    assert 3 == result.warnings["file.unterminated"].first_line
    stored = engine.store.conn.execute("SELECT sha256, size_bytes FROM imports").fetchone()
    assert (hashlib.sha256(upload).hexdigest(), len(upload)) == stored


@pytest.mark.parametrize("name", PACKERS)
def test_the_content_says_what_an_upload_is(engine: Engine, name: str) -> None:
    """A name that promises another kind than the content has does no harm, either way."""
    assert 1 == engine.upload(PACKERS[name](CSV)).tally.created
    assert 1 == engine.upload(CSV, name=name).tally.unchanged


def test_what_programs_add_to_an_archive_does_not_count(engine: Engine) -> None:
    """Folders, and the files that macOS, Windows and Excel add, are passed over; so is a text beside the users."""
    upload = zipped({"a/": b"", "a/users.csv": CSV, "__MACOSX/a/._users.csv": b"x", "a/.DS_Store": b"", "b.txt": b""})
    assert 1 == engine.upload(upload, name="users.zip").tally.created
    opened_in_excel = zipped({"a/users.csv": CSV, "a/~$users.xlsx": b"\x04Marie"})
    assert 1 == engine.upload(opened_in_excel, name="users.zip").tally.unchanged


def bomb(size_bytes: int) -> bytes:
    """Return a gzip file of so many zeros, made of members."""
    part = gzip.compress(bytes(1 << 20))
    return part * (size_bytes >> 20)


def locked() -> bytes:
    """Return an archive whose member says that it is encrypted."""
    upload = bytearray(zipped({"users.csv": CSV}))
    for at in (upload.index(b"PK\x03\x04") + 6, upload.index(b"PK\x01\x02") + 8):
        upload[at] |= 1
    return bytes(upload)


def damaged(name: str, method: int) -> bytes:
    """Return an archive whose only member is damaged."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr(name, CSV * 50)
    upload = bytearray(out.getvalue())
    begin = 30 + len(name) + 12
    upload[begin : begin + 20] = b"\xff" * 20
    return bytes(upload)


WRONG = {
    "nothing inside": (zipped({}), "wrap.files"),
    "two files of users": (zipped({"a.csv": CSV, "b.csv": CSV}), "wrap.files"),
    "an archive in an archive": (zipped({"users.zip": zipped({"users.csv": CSV})}), "wrap.files"),
    "an archive in gzip": (gzip.compress(zipped({"users.csv": CSV})), "wrap.files"),
    "gzip in gzip": (gzip.compress(gzip.compress(CSV)), "wrap.files"),
    "many files": (zipped({f"f{number}": b"" for number in range(10_001)}), "wrap.files"),
    "a password": (locked(), "wrap.locked"),
    "gzip that is cut off": (gzip.compress(CSV)[:-20], "upload.incomplete"),
    "an archive that is cut off": (zipped({"users.csv": CSV})[:-30], "upload.incomplete"),
    "gzip with other bytes behind it": (gzip.compress(CSV) + b"junk", "wrap.damaged"),
    "gzip with a wrong sum": (gzip.compress(CSV)[:-8] + bytes(8), "wrap.damaged"),
    "a directory with a wrong sign": (zipped({"users.csv": CSV}).replace(b"PK\x01\x02", b"PK\x01\x03"), "wrap.damaged"),
    "very many zeros in gzip": (bomb(256 << 20), "wrap.limit"),
    "very many zeros in an archive": (zipped({"users.csv": bytes(64 << 20)}), "wrap.limit"),
    "deflate that is damaged": (damaged("users.csv", zipfile.ZIP_DEFLATED), "wrap.damaged"),
    "bzip2 that is damaged": (damaged("users.csv", zipfile.ZIP_BZIP2), "wrap.damaged"),
    "LZMA that is damaged": (damaged("users.csv", zipfile.ZIP_LZMA), "wrap.damaged"),
    "a document whose kind is damaged": (damaged("mimetype", zipfile.ZIP_DEFLATED), "wrap.damaged"),
    "a document whose kind is stored and damaged": (damaged("mimetype", zipfile.ZIP_STORED), "wrap.damaged"),
    "a text document": (zipped({"word/document.xml": b"<x/>"}), "file.not_csv"),
    "an archive with something in front": (
        b"\xef\xbb\xbfFrom the office\r\n" + zipped({"users.csv": CSV}),
        "file.not_csv",
    ),
    "an archive that unpacks itself": (
        b"MZ\x90" + bytes(75) + b"This program cannot be run in DOS mode." + zipped({"users.csv": CSV}),
        "file.not_csv",
    ),
    "an old workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "file.not_csv"),
    "a workbook with a password": (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(5000) + "EncryptedPackage".encode("utf-16-le") + bytes(600),
        "wrap.locked",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_unwrapped_is_refused(engine: Engine, kind: str) -> None:
    """A refusal of the step is answered like any other: with what to do, and nothing is applied."""
    upload, code = WRONG[kind]
    result = engine.upload(upload, name="users.zip")
    assert code == result.code
    assert "What to do" in result.text
    assert {} == engine.users()
    assert hashlib.sha256(upload).hexdigest() == result.receipt.sha256


def test_names_in_an_archive_are_only_text(engine: Engine, tmp_path: Path) -> None:
    """A member that is called like a file elsewhere is written nowhere else, and its name breaks no answer."""
    before = {*tmp_path.rglob("*")}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("../../etc/users.csv", CSV)
    assert 1 == engine.upload(out.getvalue(), name="users.zip").tally.created
    assert not [path for path in {*tmp_path.rglob("*")} - before if path.name == "users.csv"]
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("\u202egnp\r\n.csv", CSV)
    result = engine.upload(out.getvalue(), name="users.zip")
    assert "wrap.files" == result.code
    assert "\u202e" not in result.text


def test_what_an_archive_says_of_its_size_is_not_believed(engine: Engine) -> None:
    """A member that claims to be small is stopped where it is not."""
    upload = bytearray(zipped({"users.csv": bytes(64 << 20)}))
    for sign, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = upload.index(sign) + at
        upload[place : place + 4] = struct.pack("<I", 100)
    assert engine.upload(bytes(upload), name="users.zip").code in {"wrap.limit", "wrap.damaged"}


def test_more_than_may_come_out(engine: Engine) -> None:
    """What comes out of an upload has a limit of its own."""
    engine.limits = FileSettings(max_unpacked_bytes=100)
    result = engine.upload(gzip.compress(CSV + ANN.encode() * 10), name="users.csv.gz")
    assert "wrap.limit" == result.code


@pytest.mark.parametrize(("name", "accept"), [("users.csv.gz", ("zip", "xlsx")), ("users.zip", ("gz", "xlsx"))])
def test_what_is_not_accepted_is_refused_as_before(engine: Engine, name: str, accept: tuple[str, ...]) -> None:
    """Each kind can be turned off; then it is no CSV."""
    engine.limits = msgspec.convert({"accept": accept}, FileSettings)
    assert "file.not_csv" == engine.upload(PACKERS[name](CSV), name=name).code


def test_a_large_upload_is_examined_in_a_process(engine: Engine) -> None:
    """What comes out of a small upload may be large: then the worker process reads it."""
    rows = "".join(
        f"S{number},OPSCOM,Ann,{'Lee' * 15},ann{number}@example.org,ann{number}\n" for number in range(50_000)
    )
    result = engine.upload(gzip.compress(f"{HEADER}\n{rows}".encode()), name="users.csv.gz")
    assert 50_000 == result.tally.created
    assert [] == engine.store.conn.execute("SELECT 1 FROM baselines").fetchall()


def test_what_comes_out_must_have_room(engine: Engine) -> None:
    """Whether the disks have room for an import is asked again once it is known how much came out of an upload."""
    asked: list[int] = []

    def check_room(_: Claim, csv: BinaryIO) -> None:
        asked.append(os.fstat(csv.fileno()).st_size)
        raise OSError(errno.ENOSPC, "no room")

    importer = Importer(
        engine.store,
        file=engine.limits,
        reference=engine.reference,
        mail=engine.mail_settings,
        check_room=check_room,
    )
    with engine.claimed(gzip.compress(CSV)) as claim, pytest.raises(OSError, match="no room"):
        importer.import_file(claim, engine.client)
    assert [len(CSV)] == asked
    assert {} == engine.users()
    with engine.claimed(CSV) as claim:
        assert Outcome.IMPORTED is importer.import_file(claim, engine.client).outcome


def test_a_dry_run_unwraps(tmp_path: Path) -> None:
    """A dry run shows what is in an upload."""
    upload = tmp_path / "users.csv.gz"
    upload.write_bytes(gzip.compress(CSV))
    dry_run = DryRun(file=FileSettings(), reference=ReferenceSettings(), database=Place(str(tmp_path / "rosterd.db")))
    answer = dry_run.check(upload, ACME)
    assert 1 == answer.receipt.tally.created


def test_names_of_each_kind_are_looked_at() -> None:
    """A pattern that takes CSV takes the other kinds, too; an archive keeps the ending of its kind."""
    assert {"acme-*.csv", "acme-*.csv.gz", "acme-*.xlsx", "acme-*.xls", "acme-*.zip"} < {*patterns("acme-*.csv")}
    assert ["acme-*"] == patterns("acme-*")
    names = Names("acme-*.csv")
    assert names.accept(b"acme-users.CSV.GZ")
    assert names.accept(b"acme-users.csv")
    assert not names.accept(b"users.csv.gz")
    assert (b"users", b".csv.gz") == divided(b"users.CSV.gz")
    assert (b"users", b".csv") == divided(b"users.CSV")
    assert (b"users", b".csv") == divided(b"users.txt")


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize(("cut_bytes", "expected"), [(0, HoldReason.NONE), (20, HoldReason.CUT_OFF)])
def test_each_kind_says_whether_it_is_whole(tmp_path: Path, name: str, cut_bytes: int, expected: HoldReason) -> None:
    """Whether an upload looks cut off is for its kind to say; its rows are not counted."""
    upload = PACKERS[name](CSV)
    (tmp_path / name).write_bytes(upload[: len(upload) - cut_bytes])
    client = ClientSettings(name="acme", inbox="/srv/sftp/acme")
    with (tmp_path / name).open("rb") as raw:
        found = hold_reason_of(raw, client, FileSettings(), sidecar=None, is_broken_off=False)
    assert expected is found


def test_no_rows_are_taken_out_of_another_kind(engine: Engine, tmp_path: Path) -> None:
    """An archive that is no CSV is never rewritten: whoever asks is told so, and it stays as it was uploaded."""
    upload = gzip.compress(CSV)
    archive = engine.upload(upload, name="users.csv.gz").receipt.claim.archive
    [record] = integrity.records(engine.store.conn)
    (tmp_path / "work").mkdir()
    rewriter = Rewriter(engine.store, engine.client, engine.limits, lambda: False)
    with (
        open_folder(tmp_path / "work") as work_fd,
        open_folder(tmp_path / ".bak") as bak_fd,
        pytest.raises(NotRewritable),
    ):
        rewriter.take_out("S1", record, work_fd, bak_fd)
    assert upload == (tmp_path / ".bak" / archive.decode()).read_bytes()


def test_a_person_is_found_in_each_kind(tmp_path: Path) -> None:
    """What is searched is the content of an archive; what cannot be unwrapped cannot be searched."""
    bak = tmp_path / ".bak"
    bak.mkdir()
    (bak / "whole.csv.gz").write_bytes(gzip.compress(CSV))
    (bak / "cut.csv.gz").write_bytes(gzip.compress(CSV)[:-20])
    with opened(str(tmp_path)) as folders:
        for name, word, expected in (
            (b"whole.csv.gz", rb"Lee", True),
            (b"whole.csv.gz", rb"Poe", False),
            (b"cut.csv.gz", rb"Lee", None),
        ):
            assert expected is folders.contains(name, re.compile(word), FileSettings())
