"""No cell of a file is told to anybody but its client: planted in every column, looked for wherever words leave."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from importer.attributes import ATTRIBUTES
from tests.lab.daemon import Rosterd, Setting

MARK = "Zanzibar"
NUMBER = "471108150"  # where only digits are valid
DAY = "1971-03-19"
MARKS = (MARK.lower(), NUMBER, DAY)
OPERATOR = "ops@host.example"

VALID = {
    **dict.fromkeys(ATTRIBUTES, MARK),
    "login_source": "OPSCOM",
    "email": f"{MARK}@school.example",
    "province": "ON",
    "province2": "ON",
    "driver_licence_prov": "ON",
    "user_type_id": NUMBER,
    "locker_user_type_id": NUMBER,
    "date_of_birth": DAY,
}
HEADER = ",".join(VALID)


def row(number: int, **cells: str) -> str:
    """Return a line of markers that is valid but for `cells`; its keys are its own."""
    own = {
        "unique_id": f"{MARK}{number}",
        "user_name": f"{MARK}{number}",
        "email": f"{MARK}{number}@school.example",
    }
    return ",".join({**VALID, **own, **cells}.values())


def lines(*rows: str) -> str:
    return "".join(f"{each}\n" for each in (HEADER, *rows))


def too_long(number: int) -> Iterator[str]:
    """Yield a row for each attribute, with a value there that no rule accepts."""
    for attribute in ATTRIBUTES:
        number += 1
        yield row(number, **{attribute: MARK * 40})


UPLOADS = {
    "good.csv": lines(row(1)),
    "each.csv": lines(*too_long(100)),
    "taken.csv": lines(row(2, email=f"{MARK}1@school.example"), row(3, user_name=f"{MARK}1")),
    "twice.csv": lines(row(4), row(4, city="Elsewhere"), row(5, unique_id=f"{MARK}5\u200b")),
    "fields.csv": lines(row(6) + f",{MARK}", MARK),
    "header.csv": f"{MARK} Id,{MARK}\n" + row(7) + "\n",
    "keys.csv": f"event,level,exc_info\n{MARK},{MARK},{MARK}\n",  # as log entries have them
    "quotes.csv": lines(row(8), f'"{MARK}" {MARK},{MARK}'),
    "open.csv": lines(row(9), f'"{MARK},{MARK}'),
    "cut.csv": lines(row(10)) + f"{MARK}11,OPS",
    "latin.csv": lines(row(12, city=f"{MARK}\udce9")),
    "nul.csv": lines(row(13, city=f"{MARK}\0")),
    "big.csv": lines(*(row(number) for number in range(1000, 22_000))),
}


@pytest.fixture
def rosterd(tmp_path: Path, form: str) -> Iterator[Rosterd]:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    settings: dict[str, dict[str, Setting]] = {
        "log": {"level": "debug", "format": form},
        "intake": {"quiet_s": 0.2, "unterminated_grace_s": 0.5, "resume_grace_s": 1.0},
        "mail": {"reply_to": "imports@rosterd.example", "operator": [OPERATOR]},
    }
    with Rosterd(tmp_path, {"acme": inbox}, settings=settings) as installation:
        yield installation


class Titles:
    """What `ps` shows, of commands and threads, from the start to the end of the block."""

    def __enter__(self) -> set[str]:
        self.seen: set[str] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self.seen

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.05):
            for process in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):  # it has ended
                    self.seen.add(os.fsdecode((process / "cmdline").read_bytes()))
                    self.seen.update((thread / "comm").read_text() for thread in process.glob("task/*"))


def leaks(words: str) -> list[str]:
    """Return the lines with a planted value."""
    return [line for line in words.split("\n") if any(mark in line.lower() for mark in MARKS)]


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_value_leaves_but_to_its_client(rosterd: Rosterd, tmp_path: Path) -> None:
    """Log of every level, exceptions, subjects, titles of processes and what commands list name no cell of a file."""
    told = []
    with Titles() as titles:
        for name, content in UPLOADS.items():
            (tmp_path / name).write_bytes(content.encode("utf-8", "surrogateescape"))
            (tmp_path / name).rename(tmp_path / "inbox" / name)
        while rosterd.inbox():  # until what looks cut off was held for long enough
            told.append(rosterd.execute("sweep"))
        # A fault that is nobody's plan, in the middle of the cells.
        rosterd.change("CREATE UNIQUE INDEX only_one ON users (street) WHERE last_name = 'Fault'")
        rosterd.drop("fault.csv", lines(row(14, last_name="Fault"), row(15, last_name="Fault")))
        told.append(rosterd.execute("sweep"))
        assert "file.failed" in told[-1].stdout
        rosterd.change("DROP INDEX only_one")
        rosterd.change("UPDATE outbox SET sent_at = NULL")  # or else nothing more leaves for five minutes
        told.append(rosterd.execute("sweep"))
    told += [rosterd.execute(command) for command in ("imports", "status", "verify", "metrics")]

    assert len(UPLOADS) + 1 == len(rosterd.imports())
    assert leaks("".join(each.stdout + each.stderr for each in told)) == []
    assert leaks("\n".join(titles)) == []
    subjects = [str(mail["Subject"]) for mail in rosterd.mails()]
    assert [subject for subject in subjects if subject.startswith("rosterd on ")]
    assert leaks("\n".join(subjects)) == []


def test_no_value_is_told_by_a_database_that_refuses(tmp_path: Path) -> None:
    """The messages of SQLite that are logged name tables and columns, never values."""
    with contextlib.closing(sqlite3.connect(tmp_path / "any.db")) as database:
        database.execute("CREATE TABLE users (id TEXT UNIQUE CHECK (length(id) < 10), age INTEGER) STRICT")
        database.execute("INSERT INTO users VALUES (?, 1)", (MARK,))
        for values in ((MARK, 1), (MARK * 2, 1), ("a", MARK)):
            with pytest.raises(sqlite3.IntegrityError) as caught:
                database.execute("INSERT INTO users VALUES (?, ?)", values)
            assert leaks(str(caught.value)) == []
