"""Disks: what an import asks of them before it begins is what it can take, whatever the file looks like."""

from __future__ import annotations

import itertools
import json
import os
import string
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from importer.attributes import ATTRIBUTES
from tests import REPOSITORY
from tests.conftest import Needs
from tests.lab.daemon import Rosterd

# A process of its own, because SQLite looks once where temporary files go. They are unlinked as soon as they are made.
IMPORT = """
import json, os, sys
from pathlib import Path
from importer import disk_space
from importer.fs import open_file
from tests.engine import Engine

folder, file, *earlier = map(Path, sys.argv[1:])
temporary = os.environ["SQLITE_TMPDIR"]
engine = Engine(folder, login_source="OPSCOM", required=(), unknown_columns="ignore")

def taken(path):
    return os.stat(path).st_blocks * 512

def handles():
    for entry in os.scandir("/proc/self/fd"):
        try:
            if os.readlink(entry.path).startswith(temporary):
                yield taken(entry.path)
        except FileNotFoundError:
            pass

def databases():
    return sum(taken(path) for path in folder.glob("rosterd.db*"))

for other in earlier:
    engine.upload(other)
engine.store.fold_log(shrink=True)
before, most = databases(), {"state": 0, "temporary": 0, "inbox": 0}

def look(folder_fd=None):
    most["state"] = max(most["state"], databases() - before)
    most["temporary"] = max(most["temporary"], sum(handles()))
    return False

with engine.claimed(file) as claim:
    with open_file(claim.name, claim.folder_fd) as raw:
        lines = disk_space.count_lines(raw, look)
    need = disk_space.need(claim.size_bytes, lines, client=engine.client.name, database_bytes=engine.store.size_bytes)
    receipt = engine.importer().import_file(claim, engine.client, stopping=look)
    most["inbox"] = sum(taken(path) for path in (folder / claim.claim_id).iterdir())
engine.store.conn.execute("PRAGMA wal_checkpoint(FULL)")
look()
print(json.dumps([most, {name: getattr(need, name) for name in most}, receipt.tally.failed, receipt.listed]))
"""

NAMES = ",".join(ATTRIBUTES)
HEADER = "unique_id,login_source,first_name,last_name,email\n"
ANN = "1,OPSCOM,Ann,Lee,ann@school.example\n"


def short_ids() -> Iterator[str]:
    """Yield texts, the shortest first."""
    for length in itertools.count(1):
        yield from map("".join, itertools.product(string.ascii_letters + string.digits, repeat=length))


def scattered_ids(count: int, *, seed: int = 0) -> Iterator[str]:
    """Yield texts in no order, so that each goes to another page of an index."""
    return (f"{(number * 2654435761 + seed) % (1 << 24):x}" for number in range(count))


def lines(header: str, rows: Iterator[str]) -> str:
    """Return a file."""
    return "\n".join((header, *rows, ""))


def keyed(count: int, *, change: str = "", seed: int = 0) -> str:
    """Return users with a key in each index; the long letter is three in small letters."""
    rows = (f"{id_},{change}{id_}{chr(0x390) * 40},{change}{id_}@a.co" for id_ in scattered_ids(count, seed=seed))
    return lines("unique_id,user_name,email", rows)


# By functions: nothing is made before it is needed.
SHAPES: dict[str, Callable[[], tuple[str, ...]]] = {
    "new users of an id each": lambda: (lines("unique_id", itertools.islice(short_ids(), 50_000)),),
    "new users with three keys": lambda: (keyed(30_000),),
    "new users beside others": lambda: (keyed(30_000, seed=1), keyed(30_000)),
    "all users changed": lambda: (keyed(30_000, change="x"), keyed(30_000)),
    "one short value changed": lambda: (
        lines("unique_id,city", (f"{id_},y" for id_ in scattered_ids(30_000))),
        keyed(30_000),
    ),
    "24 problems a row": lambda: (lines(NAMES, (f"\x01{number:x}" + ",\x01" * 23 for number in range(20_000))),),
    "tiny rows below 256 columns": lambda: (
        lines("unique_id" + "".join(f",c{n}" for n in range(255)), itertools.repeat("x", 60_000)),
    ),
    "wide rows": lambda: (lines(NAMES, (f"{n},OPSCOM" + ("," + chr(0x1F600) * 20) * 22 for n in range(2_000))),),
    "rows with too many cells": lambda: (
        lines("unique_id", (f"{n}" + ("," + chr(0x1F600) * 80) * 5 for n in range(25_000))),
    ),
    "long keys that fail": lambda: (lines("unique_id,user_name", (f"{n},{chr(0x390) * 6000}" for n in range(500))),),
    "ids that contradict": lambda: (lines("unique_id,city", (f"{n // 2},{n % 2}" for n in range(60_000))),),
    "users who take each other's names": lambda: (
        lines("unique_id,user_name,email", (f"1{id_},{id_},{id_}@a.co" for id_ in scattered_ids(30_000))),
        lines("unique_id,user_name,email", (f"{id_},{id_},{id_}@a.co" for id_ in scattered_ids(30_000))),
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_an_import_takes_no_more_than_it_asked_for(tmp_path: Path, shape: str) -> None:
    """Database and log, temporary files and the files next to the upload stay within what was asked of their disks."""
    files = []
    for number, content in enumerate(SHAPES[shape]()):
        files.append(tmp_path / f"{number}.csv")
        files[-1].write_text(content)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, tmp_path, *files],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "SQLITE_TMPDIR": str(temporary)},
        capture_output=True,
        check=True,
    )
    most, asked, failed, listed = json.loads(done.stdout)
    assert {} == {name: (most[name], asked[name]) for name in most if most[name] > asked[name]}
    assert 0 < most["state"]
    assert listed <= failed


def test_one_file_does_not_fill_the_disk_for_all(tmp_path: Path, needs: Needs) -> None:
    """On a small disk a file whose rows have 24 problems each is answered, and the next client's file is imported."""
    needs("mount", root=True)
    inboxes = {name: tmp_path / name for name in ("acme", "birch")}
    for folder in (*inboxes.values(), tmp_path / "tmp"):
        folder.mkdir()
    with Rosterd(tmp_path, inboxes, environment={"SQLITE_TMPDIR": str(tmp_path / "tmp")}) as rosterd:
        state = tmp_path / "state"
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=180m,mode=700", "tmpfs", state], check=True)
        try:
            rosterd.start()
            rows = (f"\x01{number:x}" + ",\x01" * 23 for number in range(60_000))
            (tmp_path / "hostile.csv").write_text(lines(NAMES, rows))
            os.rename(tmp_path / "hostile.csv", inboxes["acme"] / "hostile.csv")
            rosterd.wait_for_event("file.refused")
            (inboxes["birch"] / "users.csv").write_text(HEADER + ANN)
            assert "birch" == rosterd.wait_for_event("file.imported")["client"]
            assert not rosterd.events("file.deferred")
            rosterd.stop()
        finally:
            rosterd.kill9()
            subprocess.run(["umount", "--lazy", state], check=True)
