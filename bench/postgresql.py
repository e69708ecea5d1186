r"""
Imports into PostgreSQL beside `psql \copy` of the same file: python -m bench.postgresql [ROWS].

The server is one of its own, without syncs, with the buffers that PostgreSQL has by default. `\copy` loads into a table
with the columns and indexes of users, with keys made of address and user name; it checks, compares and tells nothing.
Processor time is that of client and server together.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Final

import msgspec

from bench.generate import COLUMNS, write_file
from bench.measure import Measured, measure
from importer.store.postgresql.database import PostgresqlStore
from tests import engine
from tests.lab.postgresql import PostgresqlServer

_ROWS: Final = 200_000
_TABLE: Final = """
    DROP TABLE IF EXISTS peers;
    CREATE TABLE peers (LIKE users INCLUDING ALL);
    ALTER TABLE peers DROP CONSTRAINT peers_pkey, DROP COLUMN email_key, DROP COLUMN user_name_key;
    ALTER TABLE peers ALTER client SET DEFAULT 'bench', ALTER created_at SET DEFAULT '2026-01-01T00:00:00Z',
      ALTER updated_at SET DEFAULT '2026-01-01T00:00:00Z', ALTER created_import SET DEFAULT 1,
      ALTER import_id SET DEFAULT 1, ALTER import_line SET DEFAULT 1,
      ADD COLUMN email_key TEXT COLLATE "C" GENERATED ALWAYS AS (lower(email)) STORED,
      ADD COLUMN user_name_key TEXT COLLATE "C" GENERATED ALWAYS AS (lower(user_name)) STORED;
    CREATE INDEX ON peers (client, unique_id);
    CREATE INDEX ON peers (client, email_key);
    CREATE INDEX ON peers (client, user_name_key)"""


def _copied(url: str, file: Path) -> Measured:
    r"""Return what `\copy` takes."""
    command = rf"\copy peers ({', '.join(COLUMNS)}) FROM '{file}' WITH (FORMAT csv, HEADER true)"
    return measure(["psql", "--no-psqlrc", "--quiet", f"--command={command}", url])


def _imported(url: str, folder: Path, file: Path, number: int) -> Measured:
    """Return what it takes to import the file as one of several, in a process of its own."""
    copy, took = folder / "users.csv", folder / "took"
    shutil.copyfile(file, copy)
    measured = measure([sys.executable, "-m", "bench.postgresql", url, str(copy), str(number)], took, PYTHONPATH=".")
    return msgspec.structs.replace(measured, work_s=float(took.read_text().split()[0]))


def _import(url: str, file: Path, number: int) -> None:
    """Import the file, and print how many seconds it took, and how the rows ended."""
    engine.open_store = lambda _: PostgresqlStore.open(url)  # type: ignore[assignment,return-value]
    with contextlib.closing(engine.Engine(file.parent)) as ours:
        ours._files = number  # noqa: SLF001 - our own tests' class
        began = perf_counter()
        result = ours.upload(file)
        print(perf_counter() - began, result.tally)


class _Run(msgspec.Struct, frozen=True):
    """What one run took; the server's processor time is that of its process for the connection, which has ended."""

    measured: Measured
    server_s: float

    @property
    def cpu_s(self) -> float:
        """Return the processor time of both."""
        return self.measured.cpu_s + self.server_s


def _with_server(server: PostgresqlServer, run: Callable[[], Measured]) -> _Run:
    before = server.processor_s()
    measured = run()
    return _Run(measured, server.processor_s() - before)


def _print(name: str, run: _Run, peer: _Run) -> None:
    cpu = f"{run.cpu_s:.1f} | {run.server_s:.1f} | {run.cpu_s / peer.cpu_s:.2f}"
    seconds = f"{run.measured.work_s:.1f} | {run.measured.work_s / peer.measured.work_s:.2f}"
    print(f"| {name} | {cpu} | {seconds} | {run.measured.peak_mib:.0f} |", flush=True)


def main() -> None:
    """Compare at the size that the command line asks for."""
    if len(sys.argv) > 2:  # noqa: PLR2004 - in a process of its own
        _import(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
        return
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else _ROWS
    with (
        contextlib.closing(PostgresqlServer(shared_buffers="128MB")) as server,
        tempfile.TemporaryDirectory(prefix="bench-") as name,
    ):
        folder, url = Path(name), server.url("common")
        first, changed = folder / "first.csv", folder / "changed.csv"
        write_file(first, rows)
        write_file(changed, rows, changed=True)
        PostgresqlStore.open(url).close()
        print(f"| {rows:,} rows | cpu s | server's | of copy | seconds | of copy | peak MiB |")
        print("|---|---|---|---|---|---|---|")
        steps = (("all new", first), ("nothing changed", first), ("10 % changed", changed))
        for number, (title, file) in enumerate(steps):
            measured = _with_server(server, partial(_imported, url, folder, file, number))
            server.run_sql("common", _TABLE)
            peer = _with_server(server, partial(_copied, url, file))
            _print(title, measured, peer)
            _print(r"psql \copy", peer, peer)
        print("PostgreSQL", server.run_sql("common", "SHOW server_version"))


if __name__ == "__main__":
    main()
