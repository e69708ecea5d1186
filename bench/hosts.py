"""
Hosts that share a PostgreSQL server: python -m bench.hosts [HOSTS[,HOSTS...] [CLIENTS [FILES [SYNC_MS]]]].

Each host has a daemon, and inboxes of all clients. All files wait when the daemons start: those of a client are spread
over the hosts, and after its first file each changes one of its users. The server syncs, as one that counts does, and
that takes SYNC_MS longer, as with a slower disk, or a standby that confirms. Time is that from the start of the daemons
until the last file is committed, processor time all that they and the server use.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.lab.daemon import Rosterd, Setting
from tests.lab.postgresql import PostgresqlServer

_HOSTS: Final = "1,3"
_CLIENTS: Final = 300
_FILES: Final = 1_200
_USERS: Final = 20  # of each client
_HEADER: Final = "unique_id,login_source,first_name,last_name,email\n"
_LOOK_EVERY_S: Final = 0.5
_LOOKS_SHARED: Final = 10_000  # of more files it looks less often: to count them takes time of the server
_TELL_EVERY_S: Final = 60.0
_START_WITHIN_S: Final = 900  # each daemon lists the inboxes of all clients first
SERVER: Final = {  # one that counts
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "128MB",
    "max_connections": "100",
    "autovacuum": "on",
}
_LARGEST: Final = """
    SELECT string_agg(relname || ' ' || pg_size_pretty(pg_table_size(oid)) || ' + ' ||
      pg_size_pretty(pg_indexes_size(oid)), ', ' ORDER BY pg_total_relation_size(oid) DESC)
    FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
      AND pg_total_relation_size(oid) > 1000000"""


def main() -> None:
    """Compare as many hosts as the command line says."""
    hosts = sys.argv[1] if len(sys.argv) > 1 else _HOSTS
    clients = int(sys.argv[2]) if len(sys.argv) > 2 else _CLIENTS  # noqa: PLR2004 - as documented
    files = int(sys.argv[3]) if len(sys.argv) > 3 else _FILES  # noqa: PLR2004 - as documented
    sync_ms = int(sys.argv[4]) if len(sys.argv) > 4 else 0  # noqa: PLR2004 - as documented
    heads = ("hosts", "s", "files/s", "daemons, us a file", "server, us a file", "peak MiB")
    print(f"{clients:,} clients, {files:,} files, a sync takes {sync_ms} ms longer\n\n| {' | '.join(heads)} |")
    print("|---|---|---|---|---|---|", flush=True)
    for count in map(int, hosts.split(",")):
        with tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp") as name:
            _compare(Path(name), count, clients, files, sync_ms)


def _compare(folder: Path, hosts: int, clients: int, files: int, sync_ms: int) -> None:
    slower = {"commit_delay": str(1000 * sync_ms), "commit_siblings": "0"}
    server = PostgresqlServer(**SERVER, **slower)
    with contextlib.closing(server), contextlib.redirect_stderr(io.StringIO()):
        url = server.url("common")
        with _installed(folder, hosts, clients, url) as daemons:
            for number in range(files):
                _upload(folder, number, hosts, clients)
            before_s, servers_s = _children_s(), server.processor_s()
            began = time.monotonic()
            with ThreadPoolExecutor(hosts) as pool:
                list(pool.map(functools.partial(Rosterd.start, patience_s=_START_WITHIN_S), daemons))
            _wait_for(files, server)
            took_s = time.monotonic() - began
            peak_mib = max(_peak_mib(daemon.pid) for daemon in daemons)
            for daemon in daemons:
                daemon.stop()
        theirs_us = (server.processor_s() - servers_s) / files * 1e6
        ours_us = (_children_s() - before_s) / files * 1e6
        speed = files / took_s
        print(f"| {hosts} | {took_s:.1f} | {speed:.0f} | {ours_us:,.0f} | {theirs_us:,.0f} | {peak_mib:.0f} |")
        print(f"  table and its indexes: {server.run_sql('common', _LARGEST)}", flush=True)


@contextlib.contextmanager
def _installed(folder: Path, hosts: int, clients: int, url: str) -> Iterator[list[Rosterd]]:
    with contextlib.ExitStack() as stack:
        daemons = []
        for host in range(hosts):
            # Each begins with other clients, or all would wait for each other at each client.
            turned = ((client + host * clients // hosts) % clients for client in range(clients))
            inboxes = {f"client{client}": folder / str(host) / f"client{client}" for client in turned}
            for inbox in inboxes.values():
                inbox.mkdir(parents=True)
            settings: dict[str, dict[str, Setting]] = {
                "service": {"database": url, "host": f"host{host}"},
                "intake": {"quiet_s": 0.5},
            }
            daemons.append(stack.enter_context(Rosterd(folder / str(host), inboxes, settings=settings)))
        yield daemons


def _upload(folder: Path, number: int, hosts: int, clients: int) -> None:
    turn, client = divmod(number, clients)
    users = (f"{user},OPSCOM,Ann,{_name(user, turn)},ann{user}@school.example\n" for user in range(_USERS))
    name = f"users-{turn:03}.csv"
    (folder / str((client + turn) % hosts) / f"client{client}" / name).write_text(_HEADER + "".join(users))


def _name(user: int, turn: int) -> str:
    """Return the last name of a user in a file: each file has another name for one of them."""
    return "Lee" + "ab"[turn > user % _USERS]


def _wait_for(files: int, server: PostgresqlServer) -> None:
    """Wait until all files are imported, and tell how it goes."""
    told_at, told = time.monotonic(), 0
    while (imported := _imported(server)) < files:
        if (passed_s := time.monotonic() - told_at) >= _TELL_EVERY_S:
            print(f"{imported:,} files, {(imported - told) / passed_s:.0f} a second", file=sys.__stderr__, flush=True)
            told_at, told = time.monotonic(), imported
        time.sleep(_LOOK_EVERY_S * max(1, files / _LOOKS_SHARED))


def _imported(server: PostgresqlServer) -> int:
    has_tables = server.run_sql("common", "SELECT to_regclass('imports') IS NOT NULL") == "t"
    return int(server.run_sql("common", "SELECT count(*) FROM imports")) if has_tables else 0


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _peak_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(peak) / 1024


if __name__ == "__main__":
    os.umask(0o022)
    main()
