"""
The console on a large installation: processor time of its pages, its memory, and what it costs the service.

    python -m bench.console [SHARE]

makes SHARE (1 for all, 0.1 for a quick run) of 1,000,000 imports and 5,000,000 users of 1,000 clients in a temporary
folder, the same each time; all takes 4 GB of disk. TMPDIR says where.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import sqlite3
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Final

from bench.generate import write_file
from tests.lab import wait_until
from tests.lab.console import Browser, Console, let_in
from tests.lab.daemon import Rosterd, Setting

CLIENTS: Final = 1000
IMPORTS: Final = 1_000_000
USERS: Final = 5_000_000
ROWS: Final = 1_000_000  # of the file that is imported meanwhile
ROUNDS: Final = 5
PAUSES_S: Final = {"without a pause": 0.0, "a page each second": 1.0}  # of a person who asks meanwhile
ASKED: Final = 20  # times, for each page
_PATIENCE_S: Final = 3600.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGES: Final = {
    "overview": "/",
    "imports": "/imports",
    "imports of a client": "/imports?client=client500",
    "imports of a day": "/imports?since=2026-11-20&until=2026-11-20",
    "one import": "/imports/{imports}",
    "people by an id": "/people?q=U00",
    "people by an address": "/people?q=user77",
    "people by a name": "/people?q=Fam&client=client500",
    "person": "/person?client=client500&id=U0000500",
    "overview as JSON": "/api/overview",
}
# The newest finished a minute ago; they came evenly over three years, from one client after the other.
_FILL_IMPORTS: Final = """
INSERT INTO imports (id, claim_id, client, file, sha256, size_bytes, device, inode, mtime_ns, outcome, code, created,
                     updated, unchanged, failed, repeated, ends_line, archive, claimed_at, finished_at, archived_at)
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :imports)
SELECT n, printf('claim-%08d', n), printf('client%d', n * 7919 % :clients), printf('users-%d.csv', n % 50),
       printf('%064x', n), 4000 + n % 999, 1, n, n,
       CASE WHEN n % 20 = 0 THEN 'refused' WHEN n % 5 = 0 THEN 'partly' ELSE 'imported' END,
       iif(n % 20 = 0, 'header.missing', ''), 0, iif(n % 20, n % 7, 0), iif(n % 20, 400, 0),
       iif(n % 5 = 0 AND n % 20, 3, 0), 0, 1, CAST(printf('users-%d.%08d.csv', n % 50, n) AS BLOB), at, at, at
FROM (SELECT n, strftime('%Y-%m-%dT%H:%M:%SZ', 'now', printf('-%d seconds', 60 + (:imports - n) * :apart_s)) AS at
      FROM numbers)"""
_FILL_PROBLEMS: Final = """
INSERT INTO import_problems SELECT imports.id, 1 + value, '9033', 'email', 'email has no @.'
FROM imports, json_each('[1,2,3]') WHERE outcome = 'partly'"""
_FILL_USERS: Final = """
INSERT INTO users (client, unique_id, login_source, first_name, last_name, user_name, email, email_key, user_name_key,
                   created_at, updated_at, created_import, import_id, import_line)
WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < :users - 1)
SELECT printf('client%d', n % :clients), printf('U%07d', n), 'OPSCOM', printf('First%d', n % 977),
       printf('Family%d', n % 9973), printf('login%d', k), printf('user%d@board%d.example', k, n % :clients),
       printf('user%d@board%d.example', k, n % :clients), printf('login%d', k),
       '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z', 1, 1, 2
FROM (SELECT n, n * 7368787 % :users AS k FROM numbers)"""


def fill(database: Path, share: float) -> None:
    """Add imports and users; indexes and triggers are left out meanwhile, and made again."""
    values = {
        "clients": CLIENTS,
        "imports": int(IMPORTS * share),
        "users": int(USERS * share),
        "apart_s": int(3 * 365 * 86400 / (IMPORTS * share)),
    }
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as conn:
        conn.execute("PRAGMA synchronous = OFF")
        conn.execute("BEGIN")
        named = "SELECT type, name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql IS NOT NULL"
        removed = conn.execute(f"{named} AND tbl_name IN ('imports', 'users', 'import_problems')").fetchall()
        for kind, name, _ in removed:
            conn.execute(f'DROP {kind} "{name}"')
        conn.execute(_FILL_IMPORTS, values)
        conn.execute(_FILL_PROBLEMS)
        conn.execute(_FILL_USERS, values)
        for _, _, sql in removed:
            conn.execute(sql)
        conn.execute("COMMIT")
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def cpu_s(pid: int) -> float:
    """Return the processor time of a process and of its children, those that ended, too."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = sum(map(int, fields[11:15])) / _TICKS
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(cpu_s(int(child)) for child in children)


def peak_mib(pid: int) -> float:
    """Return the most memory that a process has had."""
    [kib] = re.findall(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(kib) / 1024


def pages(browser: Browser, pid: int, share: float) -> Iterator[tuple[str, float, float]]:
    """Yield each page: milliseconds of processor time of the console, and from request to answer."""
    for name, path in _PAGES.items():
        asked = path.format(imports=int(IMPORTS * share))
        assert browser.get(asked).status == 200, asked  # noqa: S101, PLR2004 - a page that fails is fast
        before, walls = cpu_s(pid), []
        for _ in range(ASKED):
            began = perf_counter()
            browser.get(asked)
            walls.append(perf_counter() - began)
        yield name, 1000 * (cpu_s(pid) - before) / ASKED, 1000 * statistics.median(walls)


@contextlib.contextmanager
def asking(browser: Browser, pause_s: float) -> Iterator[list[float]]:
    """Have a person ask for one page after the other meanwhile; yields the seconds that each took."""
    over, walls = threading.Event(), list[float]()

    def ask() -> None:
        while not over.is_set():
            for path in ("/", "/imports", "/people?q=U00"):
                began = perf_counter()
                browser.get(path)
                walls.append(perf_counter() - began)
                over.wait(pause_s)

    person = threading.Thread(target=ask)
    person.start()
    try:
        yield walls
    finally:
        over.set()
        person.join()


def import_s(installation: Rosterd, folder: Path, rows: int, number: int) -> tuple[float, float]:
    """Import a file of users whom nobody knows; return the processor time of the service, and the whole."""
    file = folder / "client0" / f".bench{number}.csv"
    write_file(file, rows, first=number * rows)
    done = len(installation.events("file.archived"))
    before, began = cpu_s(installation.pid), perf_counter()
    file.rename(file.with_name(f"bench{number}.csv"))
    wait_until(lambda: len(installation.events("file.archived")) > done, "the import", patience_s=_PATIENCE_S)
    return cpu_s(installation.pid) - before, perf_counter() - began


def main(share: float) -> None:
    """Make the installation, ask, and print what it took."""
    with tempfile.TemporaryDirectory(prefix="rosterd-bench-") as name:
        folder = Path(name)
        inboxes = {f"client{number}": folder / f"client{number}" for number in range(CLIENTS)}
        for inbox in inboxes.values():
            inbox.mkdir()
        settings: dict[str, dict[str, Setting]] = {
            "console": {"listen": "127.0.0.1:0"},
            "file": {"max_file_bytes": 1 << 32},
        }
        with Rosterd(folder, inboxes, settings=settings) as installation:
            installation.execute("sweep")
            began = perf_counter()
            fill(folder / "state" / "rosterd.db", share)
            print(f"database made in {perf_counter() - began:.0f} s, ", end="")
            print(f"{(folder / 'state' / 'rosterd.db').stat().st_size / 1e9:.1f} GB")
            let_in(folder / "state", "olga")
            installation.start()
            with Console(installation.config, folder / "console.log") as console:
                _compare(installation, console, folder, share)


def _compare(installation: Rosterd, console: Console, folder: Path, share: float) -> None:
    browser = console.logged_in("olga")
    began = perf_counter()
    browser.get("/")
    print(f"first overview: {1000 * (perf_counter() - began):.0f} ms")
    for name, cpu_ms, wall_ms in pages(browser, console.pid, share):
        print(f"{name:<24}{cpu_ms:7.1f} ms of processor time{wall_ms:9.1f} ms to the answer")
    _compare_imports(installation, browser, folder, int(ROWS * share))
    print(f"memory of the console: {peak_mib(console.pid):.0f} MiB at most")


def _compare_imports(installation: Rosterd, browser: Browser, folder: Path, rows: int) -> None:
    """Import one file after the other, alone and while somebody asks for pages; the first of all is left out."""
    import_s(installation, folder, rows, 0)
    taken: dict[str, list[tuple[float, float]]] = {what: [] for what in ("alone", *PAUSES_S)}
    numbers = itertools.count(1)
    for _ in range(ROUNDS):
        taken["alone"].append(import_s(installation, folder, rows, next(numbers)))
        for what, pause_s in PAUSES_S.items():
            with asking(browser, pause_s) as walls:
                taken[what].append(import_s(installation, folder, rows, next(numbers)))
            print(
                f"pages {what} while a file is imported: {len(walls)}, median {1000 * statistics.median(walls):.0f} ms"
            )
    for what, runs in taken.items():
        cpu, wall = (
            statistics.median(run[at] / alone[at] for run, alone in zip(runs, taken["alone"], strict=True))
            for at in (0, 1)
        )
        print(f"an import of {rows:,} rows, {what}: {cpu:.2f} of the processor time, {wall:.2f} of the seconds alone")
        print(json.dumps(runs))


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
