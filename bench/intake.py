"""
How long files wait, and what many clients cost: the daemon as it runs, on inboxes it owns.

    python -m bench.intake latency     from close to committed, a 100-row file, p50 and p99 beside quiet_s
    python -m bench.intake server      claimed to archived with PostgreSQL and with SQLite, a file of each in turn
    python -m bench.intake fairness    the same while another client has 50,000 files waiting
    python -m bench.intake large       the same while another client's file of 1 GiB is imported, and when it was
    python -m bench.intake burst       files a second: 300 files of one client, then a file each of 300 clients
    python -m bench.intake clients     1,000 clients: time to start, share of a core when idle, memory, threads
"""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from bench import hosts
from bench.generate import write_file
from tests.lab import wait_until
from tests.lab.daemon import Rosterd, Setting
from tests.lab.postgresql import PostgresqlServer

_HEADER: Final = "unique_id,login_source,first_name,last_name,email\n"
_QUIET_S: Final = 0.5
_SETTINGS: Final[dict[str, dict[str, Setting]]] = {"intake": {"quiet_s": _QUIET_S}}
_FILES: Final = 100
_CROWD: Final = 50_000
_LARGE_ROWS: Final = 4_600_000
_CLIENTS: Final = 1_000
_BURST: Final = 300
_IDLE_S: Final = 60.0
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure what is asked for."""
    parts: dict[str, Callable[[Path], None]] = {
        "latency": latency,
        "server": server,
        "fairness": fairness,
        "large": large,
        "burst": burst,
        "clients": clients,
    }
    for name in sys.argv[1:] or parts:
        # The lab shows the daemon's log on standard error, for tests.
        with (
            tempfile.TemporaryDirectory(prefix="rosterd-bench-", dir="/var/lib") as folder,
            contextlib.redirect_stderr(io.StringIO()),
        ):
            parts[name](Path(folder))


def latency(folder: Path) -> None:
    """Tell how long files of a client alone on the service wait."""
    with _installed(folder, ["acme"]) as rosterd:
        rosterd.start()
        _print("alone", _delays(rosterd, folder, "acme"))


def server(folder: Path) -> None:
    """Tell how long a file of a client alone takes from claimed to archived, by database."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(contextlib.closing(PostgresqlServer(**hosts.SERVER)))
        services = {}
        for name, database in {"SQLite": {}, "PostgreSQL": {"database": server.url("common")}}.items():
            (folder / name).mkdir()
            services[name] = stack.enter_context(_installed(folder / name, ["acme"], service=database))
            services[name].start()
        for number in range(_FILES + 1):  # the first one also opens connections
            for name, rosterd in services.items():
                (folder / name / "acme" / f"users{number}.csv").write_text(_users(100 + number % 2))
                rosterd.wait_for_event("file.archived", file=f"users{number}.csv")
        for name, rosterd in services.items():
            took = sorted(_took_s(rosterd, f"users{number}.csv") for number in range(1, _FILES + 1))
            p50_ms, p99_ms = 1000 * statistics.median(took), 1000 * took[len(took) * 99 // 100 - 1]
            print(f"{name}: {p50_ms:.1f} ms (p50), {p99_ms:.1f} ms (p99), of {len(took)} files")


def _took_s(rosterd: Rosterd, file: str) -> float:
    claimed, archived = (
        datetime.fromisoformat(str(rosterd.events(event, file=file)[0]["at"]))
        for event in ("file.claimed", "file.archived")
    )
    return (archived - claimed).total_seconds()


def fairness(folder: Path) -> None:
    """Tell the same of one that shares the service with a client that has 50,000 files waiting."""
    with _installed(folder, ["acme", "crowd"]) as rosterd:
        rosterd.start()
        _print("before", _delays(rosterd, folder, "acme"))
        for number in range(_CROWD):
            (folder / "crowd" / f"{number}.csv").write_text(_users(1))
        wait_until(lambda: rosterd.events("file.imported", client="crowd"), "the crowd to begin")
        _print(f"beside {_CROWD:,} files", _delays(rosterd, folder, "acme"))


def large(folder: Path) -> None:
    """Tell the same of one that shares the service with a client whose file of 1 GiB is being imported."""
    with _installed(folder, ["acme", "crowd"]) as rosterd:
        write_file(folder / "large", _LARGE_ROWS)
        rosterd.start()
        _print("before", _delays(rosterd, folder, "acme"))
        (folder / "large").rename(folder / "crowd" / "large.csv")
        rosterd.wait_for_event("file.claimed", client="crowd")
        _print(f"beside a file of {_LARGE_ROWS:,} rows", _delays(rosterd, folder, "acme"))
        free = time.monotonic()
        wait_until(lambda: _is_committed(rosterd, "large.csv"), "the large file", patience_s=1_000.0)
        print(f"the large file was imported {time.monotonic() - free:.0f} s later")
        rosterd.wait_for_event("file.archived", client="crowd")  # a stop would wait for the disk in its commit


def burst(folder: Path) -> None:
    """Tell how fast files are done that came at the same time, of one client and of as many clients."""
    names = [f"client{number}" for number in range(_BURST)]
    with _installed(folder, names) as rosterd:
        rosterd.start()
        alone = _files_per_s(rosterd, [folder / names[0] / f"{number}.csv" for number in range(_BURST)])
        together = _files_per_s(rosterd, [folder / name / "users.csv" for name in names])
        print(
            f"{_BURST} files at once: {alone:.0f}/s of one client, {together:.0f}/s of as many: {together / alone:.2f}"
        )


def _files_per_s(rosterd: Rosterd, paths: list[Path]) -> float:
    """Upload files at once, and return how many a second are archived, from the first claim to the last archive."""
    before = len(rosterd.events("file.archived"))
    for path in paths:
        path.write_text(_users(100))
    wait_until(
        lambda: len(rosterd.events("file.archived")) >= before + len(paths), "all to be archived", patience_s=600.0
    )
    entries = [*rosterd.events("file.claimed")[before:], *rosterd.events("file.archived")[before:]]
    times = sorted(datetime.fromisoformat(str(entry["at"])) for entry in entries)
    return len(paths) / (times[-1] - times[0]).total_seconds()


def clients(folder: Path) -> None:
    """Tell what 1,000 idle clients cost. The second start finds the folders made."""
    with _installed(folder, [f"client{number}" for number in range(_CLIENTS)]) as rosterd:
        for start in ("first", "second"):
            started = time.monotonic()
            rosterd.start()
            print(f"{start} start {time.monotonic() - started:.2f} s")
            if start == "first":
                rosterd.stop()
        process = rosterd._process  # noqa: SLF001 - the lab's own
        if process is None:
            raise AssertionError
        before = _cpu_s(process.pid)
        time.sleep(_IDLE_S)
        share = (_cpu_s(process.pid) - before) / _IDLE_S
        status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        facts = {line.split(":")[0]: line.split(":")[1].strip() for line in status}
        print(f"idle {share:.2%} of a core, {facts['VmRSS']} resident, {facts['Threads']} threads")


def _installed(folder: Path, names: list[str], *, service: dict[str, str] | None = None) -> Rosterd:
    inboxes = {name: folder / name for name in names}
    for inbox in inboxes.values():
        inbox.mkdir()
    return Rosterd(folder, inboxes, settings={**_SETTINGS, "service": service or {}})


def _delays(rosterd: Rosterd, folder: Path, client: str) -> list[float]:
    """Drop files, a new one as the one before is committed, and return how long each took from its close."""
    delays = []
    for number in range(_FILES):
        name = f"users{time.monotonic_ns()}.csv"
        (folder / client / name).write_text(_users(100 + number % 2))
        closed = time.monotonic()
        wait_until(lambda name=name: _is_committed(rosterd, name), name)  # type: ignore[misc]
        delays.append(time.monotonic() - closed)
    return delays


def _is_committed(rosterd: Rosterd, name: str) -> bool:
    return bool(rosterd.query("SELECT 1 FROM imports WHERE file = ?", name))


def _users(count: int) -> str:
    rows = (f"{number},OPSCOM,Ann,Lee,ann{number}@school.example\n" for number in range(count))
    return _HEADER + "".join(rows)


def _print(what: str, delays: list[float]) -> None:
    beyond = sorted(delay - _QUIET_S for delay in delays)
    p99 = beyond[len(beyond) * 99 // 100 - 1]
    print(f"{what}: quiet_s + {statistics.median(beyond):.3f} s (p50), + {p99:.3f} s (p99), of {len(beyond)} files")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


if __name__ == "__main__":
    main()
