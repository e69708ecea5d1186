"""Memory: whatever is uploaded, it ends in an answer before memory is spent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from importer.model import HoldReason
from tests import REPOSITORY

HEADER = b"unique_id,login_source,first_name,last_name,email\n"
ROW = b"%07d,OPSCOM,Ann,Lee,a%d@example.org\n"
MIB = 1 << 20
MAX_RESIDENT = 256 * MIB

# Likewise, and then take a person out of the archive.
REWRITE = """
import contextlib, json, os, sys
from pathlib import Path
from importer.store import integrity
from importer.redact import Rewriter
from tests.engine import Engine
file, folder = map(Path, sys.argv[1:])
with contextlib.closing(Engine(folder)) as engine:
    engine.upload(file)
    (folder / "work").mkdir()
    fds = [os.open(folder / name, os.O_RDONLY) for name in ("work", ".bak")]
    told = Rewriter(engine.store, engine.client, engine.limits, lambda: False).take_out(
        "1", integrity.records(engine.store.conn)[0], *fds
    )
own = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([told, int(own.split()[1]) * 1024]))
"""

# A process of its own for each file: what it held at most is what the system counted of it. VmHWM is its own;
# ru_maxrss begins with what the process that started it held, here the whole test run.
IMPORT = """
import contextlib, json, resource, sys
from pathlib import Path
from importer.file.truncation import completeness
from importer.settings import ClientSettings, FileSettings
from importer.wording.catalogue import words
from tests.engine import Engine
file, folder = map(Path, sys.argv[1:])
with file.open("rb", buffering=0) as raw:
    ending = completeness(raw, ClientSettings(name="acme", inbox="/srv"), FileSettings())
with contextlib.closing(Engine(folder, unknown_columns="ignore")) as engine:
    with engine.claimed(file) as claim:
        receipt = engine.importer().import_file(claim, engine.client)
own = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
resident = int(own.split()[1]) + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
refusal = receipt.refusal
print(json.dumps([ending, refusal and refusal.code, refusal and words().refusal(refusal), resident * 1024]))
"""


def run(script: str, file: Path, folder: Path) -> list[Any]:
    """Run one of the scripts above in a process of its own; return what it prints last, below what is logged."""
    done = subprocess.run(
        [sys.executable, "-c", script, file, folder],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        check=True,
    )
    result: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def long_line(file: Path) -> None:
    """Write a line of 400 MB, of which only the beginning is ever looked at."""
    file.write_bytes(HEADER + b"1,OPSCOM," + b"x" * (3 * MIB))
    os.truncate(file, 400 * MIB)


def many_columns(file: Path) -> None:
    """Write 50 million columns likewise."""
    file.write_bytes(b"unique_id" + b"," * (3 * MIB))
    os.truncate(file, 50_000_000)


def columns_within_a_line(file: Path) -> None:
    """Write as many columns as fit a line, each with a name."""
    file.write_bytes(HEADER.strip() + b",x" * 500_000 + b"\n" + b"1,2" * 300_000 + b"\n")


def open_quote(file: Path) -> None:
    """Write a quotation mark that is never closed, and rows after it."""
    with file.open("wb") as out:
        out.write(HEADER + b'1,OPSCOM,"Ann,Lee,a@example.org\n')
        out.writelines(ROW % (n, n) for n in range(500_000))


def open_quote_in_the_header(file: Path) -> None:
    """Write the same with the mark in the very first place."""
    with file.open("wb") as out:
        out.write(b'"' + HEADER)
        out.writelines(ROW % (n, n) for n in range(100_000))


def huge(file: Path) -> None:
    """Make a file of 1 TiB that takes no space."""
    file.write_bytes(HEADER)
    os.truncate(file, 1 << 40)


def zeros(file: Path) -> None:
    """Make a file of 512 MiB of which the content was lost."""
    file.write_bytes(HEADER)
    os.truncate(file, 512 * MIB)


def tall_rows(file: Path) -> None:
    """Write two rows of 6 MB, each over three million lines: within every limit, and not what the header has."""
    cell = b'"' + b"x\n" * 30_000 + b'",'
    file.write_bytes(HEADER + b"".join(b"%d,OPSCOM," % n + cell * 100 + b"\n" for n in range(2)))


def large_rows_of_one_id(file: Path) -> None:
    """Write rows of 0.8 MB that repeat an id and differ: each is looked at again."""
    cell = "\U0001f600".encode() * 65_000
    with file.open("wb") as out:
        out.write(HEADER)
        out.writelines(b"1,OPSCOM,%d%b,%b,%b\n" % (n, cell, cell, cell) for n in range(200))


def many_cells_of_a_row(file: Path) -> None:
    """Write rows of some million short cells, each over several lines, and a quotation mark that is never closed."""
    line = ",ж".encode() * 340_000 + b',"\n"'
    row = b'1,OPSCOM,a,b,"c@x.ca"%b\n' % (line * 11)
    file.write_bytes(HEADER + row * 2 + b'"\n')


def many_surplus_cells(file: Path) -> None:
    """Write rows of a line each, with as many cells as fit a line."""
    cells = ",ж".encode() * 340_000
    file.write_bytes(HEADER + b"".join(b"%d,OPSCOM,a,b,c@x.ca%b\n" % (n, cells) for n in range(20)))


def wide_rows(file: Path) -> None:
    """Write rows that fail, of 4 MB of letters beyond ASCII in cells of many lines."""
    header = HEADER.strip() + b"".join(b",c%d" % n for n in range(250)) + b"\n"
    cells = b",".join([b'"' + "é\n".encode() * 16_000 + b'"'] * 120) + b"," * 130
    file.write_bytes(header + b"".join(b"%d,BAD,a,b,c@x.ca,%b\n" % (n, cells) for n in range(4)))


def tall_emoji(file: Path) -> None:
    """Write rows of 32 MB, of characters that take most memory."""
    line = (',"' + "😀" * 64_000 + '\n"').encode()
    file.write_bytes(HEADER + b"".join(b'%d,OPSCOM,a,b,"c@x.ca"%b\n' % (n, line * 126) for n in range(2)))


def endless_record(file: Path) -> None:
    """Write a row that goes on for 200 MB, over lines of two letters."""
    with file.open("wb") as out:
        out.write(HEADER + b"1,OPSCOM,Ann,Lee,ann@example.org\n" + b'"x\n",')
        out.writelines(b'"y\n",' * 1_000_000 for _ in range(40))
        out.write(b'"\n"\n')


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (endless_record, "its archive was removed as a whole; it is not a table (limit.line)"),
        (many_cells_of_a_row, "its archive was removed as a whole; it is not a table (limit.line)"),
        (tall_rows, "1 row taken out"),
    ],
)
def test_memory_of_a_rewritten_archive_stays_bounded(tmp_path: Path, write: Callable[[Path], None], told: str) -> None:
    """To take a person out of an archive takes less than 256 MiB, also where a record never ends."""
    file = tmp_path / "upload"
    write(file)
    found, resident = run(REWRITE, file, tmp_path)
    assert told in found
    assert resident < MAX_RESIDENT


@pytest.mark.parametrize(
    ("write", "code", "told"),
    [
        (long_line, "limit.line", "Line 2 is too long for one user."),
        (many_columns, "limit.line", "Line 1 is too long for one user."),
        (columns_within_a_line, "limit.columns", "Line 1 has 500,005 columns. At most 256 are allowed."),
        (open_quote, "limit.cell", "The cell on line 2, column 3 has more than 65,536 characters."),
        (open_quote_in_the_header, "limit.cell", "line 1"),
        (huge, "limit.file", "The file has more than 1,024 MB"),
        (tall_rows, None, ""),
        (large_rows_of_one_id, None, ""),
        (many_cells_of_a_row, "limit.line", "The row that begins on line 2 goes on over too many lines"),
        (many_surplus_cells, None, ""),
        (wide_rows, None, ""),
        (tall_emoji, "limit.line", "The row that begins on line 2 goes on over too many lines"),
        (zeros, "encoding.nul", "Line 2 has a character that is not text"),
    ],
)
def test_memory_stays_bounded(tmp_path: Path, write: Callable[[Path], None], code: str | None, told: str) -> None:
    """A file far beyond a limit is answered by that limit, with less than 256 MiB resident in all processes."""
    file = tmp_path / "upload"
    write(file)
    found_ending, found_code, detail, resident = run(IMPORT, file, tmp_path)
    assert (HoldReason.NONE, code) == (found_ending, found_code)
    assert told in (detail or "")
    assert resident < MAX_RESIDENT, f"{resident >> 20} MiB"
