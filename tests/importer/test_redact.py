"""A file without the rows of one person: every other byte stays."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from importer.model import Interrupted
from importer.redact import NotRewritable, Rewriter
from importer.store import integrity
from tests.engine import ARCHIVE, Engine

COLUMNS = "unique_id,login_source,first_name,last_name,email"
ANN = "7,OPSCOM,Ann,Lee,ann@school.example"
BOB = "8,OPSCOM,Bob,Ray,bob@school.example"


class Archives:
    """An importer, and folders in place of `.work` and `.bak`."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.bak = folder / "bak"
        self.work = folder / "work"
        for made in (self.bak, self.work):
            made.mkdir()

    def add(self, content: bytes) -> None:
        """Import a file and archive it."""
        result = self.engine.upload(content)
        (self.bak / os.fsdecode(ARCHIVE)).write_bytes(content)
        if result.failed:
            (self.bak / "users.20261122T074205Z.failed.csv").write_bytes(result.failed)

    def without(self, unique_id: str, *, stopping: bool = False) -> bytes:
        """Take a person out of the newest import, and return the archive."""
        record = integrity.records(self.engine.store.conn)[-1]
        rewriter = Rewriter(self.engine.store, self.engine.client, self.engine.limits, lambda: stopping)
        work_fd, bak_fd = (os.open(folder, os.O_RDONLY | os.O_DIRECTORY) for folder in (self.work, self.bak))
        try:
            self.told = rewriter.take_out(unique_id, record, work_fd, bak_fd)
        finally:
            os.close(work_fd)
            os.close(bak_fd)
            assert [] == list(self.work.iterdir())
        return self.content

    @property
    def content(self) -> bytes:
        """Return the archive."""
        return (self.bak / os.fsdecode(ARCHIVE)).read_bytes()


@pytest.fixture
def archives(engine: Engine, tmp_path: Path) -> Archives:
    return Archives(engine, tmp_path)


@pytest.mark.parametrize(
    ("before", "theirs", "after"),
    [
        (f"{COLUMNS}\n", f"{ANN}\n", f"{BOB}\n"),
        (f"{COLUMNS}\r\n", f"{ANN}\r\n", f"{BOB}\n{BOB}\r"),
        (f"{COLUMNS}\r", f"{ANN}\r", f"{BOB}"),
        (f"{COLUMNS}\n{BOB}\n", f"{ANN}", ""),
        (f"\ufeff{COLUMNS}\n\n", f"{ANN}\n", f",,,,\n{BOB}\n"),
        (f"{COLUMNS}\n", f"{ANN}\n", f"{BOB}\n\x1a"),
        (f"sep=,\n{COLUMNS}\n", f"{ANN}\n", f"{BOB}\n"),
        (f"{COLUMNS}\n{BOB[:-1]}\n", '7,OPSCOM,"Ann\nMay",Lee,a@school.example\n', f"{BOB}\n"),
        (f"{COLUMNS}\n", "", '8,OPSCOM,Bob,"7\n7,OPSCOM,""Ann""",b@school.example\n'),
        (f"{COLUMNS}\n", ' "7 ",OPSCOM,Ann\n 7 ,OPSCOM\n', f"{BOB}\n"),
        (f"{COLUMNS}\n", "\u200b7\u00a0,OPSCOM\n", "77,OPSCOM\n"),
        ("login_source;first_name;last_name;email;unique_id\n", "OPSCOM;A;B;a@b.example;7\n", "OPSCOM;7\n7;7;7;7;8\n"),
    ],
    ids=["lf", "crlf", "cr", "no end", "bom", "0x1a", "sep", "quoted", "not theirs", "blanks", "unicode", "last"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_only_their_rows_go(archives: Archives, encoding: str, before: str, theirs: str, after: str) -> None:
    """Whatever its line ends, quotes and marks, the rest of a file stays as it was uploaded."""
    mark = "" if encoding == "utf-8" else "\ufeff"
    before = mark + before.lstrip("\ufeff") if mark else before
    archives.add((before + theirs + after).encode(encoding))
    assert (before + after).encode(encoding) == archives.without("7")


def test_a_fallback_encoding_stays(archives: Archives) -> None:
    """A file in the client's own encoding is written in it again."""
    archives.engine.settings(fallback_encoding="cp1252")
    rest = f"{COLUMNS}\n8,OPSCOM,Zoé,Tremblay,zoe@school.example\n".encode("cp1252")
    archives.add(rest + ANN.encode())
    assert rest == archives.without("7")


def test_mapped_columns_are_known(archives: Archives) -> None:
    """The column of the id is found by the client's own name for it, in the failed CSV as well."""
    archives.engine.settings(columns={"Student ID": "unique_id"})
    header = COLUMNS.replace("unique_id", "Student ID")
    archives.add(f"{header}\n7,OPSCOM,Ann,Lee,ann\n=8,OPSCOM,Bob,Ray,bob\n".encode())
    failed = archives.bak / "users.20261122T074205Z.failed.csv"
    theirs = re.compile(rb'"7",.*\r\n')
    expected = theirs.sub(b"", failed.read_bytes())
    assert f"{header}\n=8,OPSCOM,Bob,Ray,bob\n".encode() == archives.without("7")
    assert expected == failed.read_bytes()
    archives.without("=8")
    assert 1 == failed.read_bytes().count(b"\n")


def test_an_id_is_told_from_its_spelling(archives: Archives) -> None:
    """Upper and lower case are two people; composed and decomposed letters are one."""
    archives.add(f"{COLUMNS}\nE\u0301a,OPSCOM\n\u00c9A,OPSCOM\n".encode())
    assert f"{COLUMNS}\n\u00c9A,OPSCOM\n".encode() == archives.without("\u00c9a")


def test_nobody_there(archives: Archives) -> None:
    """An archive without a row of the person stays as it is; its header is nobody's row."""
    archives.add(f"{COLUMNS}\n{BOB}\n".encode())
    before = (archives.bak / os.fsdecode(ARCHIVE)).stat()
    for unique_id in ("unique_id", "7"):
        archives.without(unique_id)
    assert before == (archives.bak / os.fsdecode(ARCHIVE)).stat()
    assert "import 1 (users.csv): 0 rows taken out of its archive" == archives.told


def test_what_cannot_be_written_again_stays(archives: Archives) -> None:
    """Where an encoding has two spellings of a letter, and the file the rarer one, it is left as it is."""
    archives.engine.settings(fallback_encoding="cp932")
    whole = f"{COLUMNS}\n{ANN}\n8,OPSCOM,".encode() + b"\x87\x90" + b",Ray,bob@school.example\n"
    archives.add(whole)
    with pytest.raises(NotRewritable, match="cp932 cannot be written again as it was"):
        archives.without("7")
    assert whole == archives.content


def test_a_service_that_stops(archives: Archives) -> None:
    """Told to stop, the rewriting ends at once, and all is as it was."""
    archives.add(f"{COLUMNS}\n{ANN}\n".encode())
    with pytest.raises(Interrupted):
        archives.without("7", stopping=True)
    assert f"{COLUMNS}\n{ANN}\n".encode() == archives.content


def test_files_that_are_gone(archives: Archives) -> None:
    """An archive that somebody took away is nothing to rewrite."""
    archives.add(f"{COLUMNS}\n{ANN}\n".encode())
    (archives.bak / os.fsdecode(ARCHIVE)).unlink()
    with contextlib.suppress(FileNotFoundError):
        archives.without("7")
    assert [] == list(archives.bak.iterdir())


cells = st.text(st.sampled_from("7 ,;\"'\n\r=éab"), max_size=5)
rows = st.lists(st.lists(cells, min_size=5, max_size=5), max_size=8)


@settings(max_examples=100)
@given(rows=rows, line_end=st.sampled_from(["\n", "\r\n"]))
def test_any_table(rows: list[list[str]], line_end: str) -> None:
    """Of any table of cells just the rows whose id is theirs go."""
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Engine(Path(folder))) as engine:
        archives = Archives(engine, Path(folder))
        lines = [",".join(map(_quoted, row)) + line_end for row in rows]
        archives.add((COLUMNS + line_end + "".join(lines)).encode())
        kept = [line for row, line in zip(rows, lines, strict=True) if _id(row[0]) != "7"]
        assert (COLUMNS + line_end + "".join(kept)).encode() == archives.without("7")


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


def _id(cell: str) -> str:
    return re.sub(r"^'(?='*=)", "", cell).strip()
