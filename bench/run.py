"""
Ours and the peers on the same files, interleaved, as one table: `make bench`, or `make bench QUICK=1` in two minutes.

Each figure is a whole process, from start to exit; "at work" is the part of ours from claimed to archived, which is
what a running service takes. Ratios are taken within one repetition, against the sqlite3 shell's `.import` of the same
file (1.00), and the median over the repetitions is shown: on a shared machine seconds drift by a tenth and more, ratios
by much less, and those of processor time ("CPU") by less still. The temporary folder (TMPDIR) needs room for some 12
times the largest file.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from bench import peers
from bench.generate import write_file
from bench.measure import Measured, machine, measure
from bench.product import Counts, installed

_BASELINE: Final = "sqlite3 .import"
_SLOW_PEER_ROWS: Final = 100_000  # sqlite-utils takes minutes beyond
_CACHE_KIB: Final = 64 * 1024
_STARTS: Final = 5

_Result = tuple[str, Measured]
_Results = Iterator[_Result]
_Ratios = tuple[float, float, float]  # to the baseline: whole process, at work, processor time


class Plan(msgspec.Struct, frozen=True):
    """What to run."""

    sizes: tuple[int, ...]
    repetitions: int
    small_files: int


_FULL: Final = Plan((100_000, 1_000_000), 3, 1_000)
_QUICK: Final = Plan((10_000, 100_000), 1, 200)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rows and repetitions: two minutes")
    parser.add_argument("--rows", type=int, help="this size alone, once")
    arguments = parser.parse_args()
    plan = _QUICK if arguments.quick else _FULL
    if arguments.rows:
        plan = Plan((arguments.rows,), 1, 0)
    if not shutil.which("sqlite3"):
        raise SystemExit(
            "The sqlite3 shell, to compare with, is missing. On Debian and Ubuntu: apt-get install sqlite3"
        )
    print(f"{machine()}\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        for rows in plan.sizes:
            _compare(Path(name), rows, plan.repetitions)
        if plan.small_files:
            _time_small_files(Path(name), plan.small_files)


def _compare(folder: Path, rows: int, repetitions: int) -> None:
    file, changed = folder / "users.csv", folder / "changed.csv"
    write_file(file, rows)
    write_file(changed, rows, changed=True)
    runs: dict[str, list[Measured]] = {}
    ratios: dict[str, list[_Ratios]] = {}
    for _ in range(repetitions):
        results = dict(_peers(folder, file, rows)) | dict(_ours(folder, file, changed, rows))
        for what, measured in results.items():
            runs.setdefault(what, []).append(measured)
            base = results[_BASELINE]
            ratios.setdefault(what, []).append(
                (measured.wall_s / base.wall_s, measured.work_s / base.wall_s, measured.cpu_s / base.cpu_s)
            )
    _print_table(rows, file.stat().st_size, runs, ratios)


def _peers(folder: Path, file: Path, rows: int) -> _Results:
    database = folder / "peer.db"
    commands = {
        _BASELINE: peers.shell_import(database, file),
        f"{_BASELINE}, 64 MiB cache": peers.shell_import(database, file, cache_kib=_CACHE_KIB),
        "Python csv + executemany": peers.python_loop(database, file),
    }
    if rows <= _SLOW_PEER_ROWS:
        commands["sqlite-utils upsert --csv"] = peers.sqlite_utils_upsert(database, file)
    for what, command in commands.items():
        yield what, measure(command)
        for left in folder.glob("peer.db*"):
            left.unlink()


def _ours(folder: Path, file: Path, changed: Path, rows: int) -> _Results:
    cases: tuple[tuple[str, Path, Callable[[Counts], int]], ...] = (
        ("rosterd: all new", file, lambda counts: counts.created),
        ("rosterd: nothing changed", file, lambda counts: counts.unchanged),
        ("rosterd: 10 % changed", changed, lambda counts: counts.updated * 10),
    )
    for suffix in ("", ", a snapshot"):
        with installed(folder / "product", is_snapshot=bool(suffix)) as product:
            for what, upload, expected in cases:
                measured, counts = product.take(upload)
                if sum(msgspec.structs.astuple(counts)) != rows or abs(expected(counts) - rows) > rows // 10:
                    raise SystemExit(f"{what}: unexpected {counts}")
                yield f"{what}{suffix}", measured


def _print_table(rows: int, size_bytes: int, runs: dict[str, list[Measured]], ratios: dict[str, list[_Ratios]]) -> None:
    print(f"{rows:,} rows, {size_bytes / 1e6:.0f} MB")
    print(f"  {'':36}{'ratio':>7}{'at work':>9}{'CPU':>7}{'s':>9}{'CPU s':>9}{'rows/s':>11}{'peak MiB':>10}")
    for what, measured in runs.items():
        wall_s = statistics.median(each.wall_s for each in measured)
        cpu_s = statistics.median(each.cpu_s for each in measured)
        ratio, at_work, cpu = (statistics.median(each) for each in zip(*ratios[what], strict=True))
        speed, peak_mib = rows / wall_s, max(each.peak_mib for each in measured)
        print(f"  {what:36}{ratio:7.2f}{at_work:9.2f}{cpu:7.2f}{wall_s:9.2f}{cpu_s:9.2f}{speed:11,.0f}{peak_mib:10.0f}")
    print(flush=True)


def _time_small_files(folder: Path, files: int) -> None:
    with installed(folder / "product") as product:
        small = product.take_small_files(files)
        start_s = statistics.median(product.start() for _ in range(_STARTS))
    print(
        f"{files:,} files of 100 rows: claimed to archived p50 {small.p50_ms:.1f} ms, p99 {small.p99_ms:.1f} ms; ",
        end="",
    )
    print(f"{small.files_per_s:.0f} files/s")
    print(f"start to ready: {start_s:.2f} s")


if __name__ == "__main__":
    main()
