"""
How time, memory and database grow with the users of one client and with the clients: `make bench GROWTH=1`.

PLOT=1 draws docs/growth.svg as well. Each figure is one sweep of new files by a whole process. Processor time, not time
by the clock, so that what else the machine does counts for little.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench.generate import write_file
from bench.measure import machine, measure
from bench.product import command, environment, installed

_ROOT: Final = Path(__file__).resolve().parent.parent
_ROWS: Final = (100_000, 1_000_000, 5_000_000, 10_000_000)
_CLIENTS: Final = (1, 100, 10_000)
_ROWS_OF_A_CLIENT: Final = 100
_CLIENT: Final = """
[[client]]
name = "client{number}"
inbox = "inbox{number}"
"""
_SERVICE: Final = """
[service]
state_dir = "state"
[intake]
quiet_s = 0.01
"""
_WIDTH: Final = 360  # of one plot
_HEIGHT: Final = 240
_MARGIN: Final = 48


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """What one size took."""

    size: int
    cpu_us: float  # of one row, or one file
    peak_mib: float
    database_mib: float


def grow_users(folder: Path, sizes: Iterable[int]) -> list[Point]:
    """Import files of more and more users, each into a new installation."""
    points = []
    for rows in sizes:
        file = folder / "users.csv"
        write_file(file, rows)
        with installed(folder / "one") as product:
            measured, counts = product.take(file)
            if counts.created < rows * 0.98:
                raise SystemExit(f"{rows:,} rows: unexpected {counts}")
            points.append(_point(rows, measured.cpu_s, measured.peak_mib, folder / "one"))
        print(_row(points[-1]), flush=True)
    return points


def grow_clients(folder: Path, counts: Iterable[int]) -> list[Point]:
    """Import one small file of each of more and more clients by one sweep, each time into a new installation."""
    points = []
    for count in counts:
        base = folder / f"clients{count}"
        for number in range(count):
            inbox = base / f"inbox{number}"
            inbox.mkdir(parents=True)
            write_file(inbox / "users.csv", _ROWS_OF_A_CLIENT, first=number * _ROWS_OF_A_CLIENT)
        (base / "config.toml").write_text(_SERVICE + "".join(_CLIENT.format(number=each) for each in range(count)))
        measured = measure(command(base, "sweep"), Path(os.devnull), **environment())
        points.append(_point(count, measured.cpu_s, measured.peak_mib, base))
        print(_row(points[-1]), flush=True)
    return points


def _point(size: int, cpu_s: float, peak_mib: float, folder: Path) -> Point:
    database = (folder / "state" / "rosterd.db").stat().st_size
    return Point(size=size, cpu_us=1e6 * cpu_s / size, peak_mib=peak_mib, database_mib=database / (1 << 20))


def _row(point: Point) -> str:
    return f"| {point.size:,} | {point.cpu_us:,.1f} | {point.peak_mib:.0f} | {point.database_mib:,.1f} |"


def _plot(title: str, points: Sequence[Point], left: int) -> str:
    """Return a plot of the processor time by the size, which grows tenfold by equal steps, as a group of SVG."""
    first, last = (math.log10(each.size) for each in (points[0], points[-1]))
    most = max(each.cpu_us for each in points)
    right, bottom = _WIDTH - _MARGIN, _HEIGHT - _MARGIN

    def place(point: Point) -> tuple[float, float]:
        along = (math.log10(point.size) - first) / ((last - first) or 1)
        return _MARGIN + along * (right - _MARGIN), bottom - point.cpu_us / most * (bottom - _MARGIN)

    places = [place(point) for point in points]
    lines = "".join(
        f'<line x1="{a:.0f}" y1="{b:.0f}" x2="{c:.0f}" y2="{d:.0f}"/>' for (a, b), (c, d) in itertools.pairwise(places)
    )
    marks = "".join(
        f'<circle cx="{x:.0f}" cy="{y:.0f}" r="3"/><text x="{x:.0f}" y="{y - 8:.0f}">{point.cpu_us:,.0f}</text>'
        f'<text x="{x:.0f}" y="{bottom + 18}">{point.size:,}</text>'
        for point, (x, y) in zip(points, places, strict=True)
    )
    axis = f'<line x1="{_MARGIN}" y1="{bottom}" x2="{right}" y2="{bottom}"/>'
    return f'<g transform="translate({left})"><text x="{_WIDTH // 2}" y="20">{title}</text>{axis}{lines}{marks}</g>'


def draw(users: Sequence[Point], clients: Sequence[Point]) -> str:
    """Return both plots as one SVG, which can be read on light and dark pages."""
    plots = _plot("us a row, by users of one client", users, 0) + _plot("us a file, by clients", clients, _WIDTH)
    style = "line{stroke:#888}circle{fill:#3a7}text{fill:#888;font:12px sans-serif;text-anchor:middle}"
    size = f'viewBox="0 0 {2 * _WIDTH} {_HEIGHT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{style}</style>{plots}</svg>\n'


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=_ROWS, help="users of one client")
    parser.add_argument("--clients", type=int, nargs="+", default=_CLIENTS)
    parser.add_argument("--plot", action="store_true", help="draw docs/growth.svg")
    arguments = parser.parse_args()
    print(f"{machine()}\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        print("| users of one client | us a row | peak MiB | database MiB |\n|---|---|---|---|")
        users = grow_users(Path(name), arguments.rows)
        print("\n| clients, each with a file of 100 users | us a file | peak MiB | database MiB |\n|---|---|---|---|")
        clients = grow_clients(Path(name), arguments.clients)
    if arguments.plot:
        (_ROOT / "docs" / "growth.svg").write_text(draw(users, clients))


if __name__ == "__main__":
    main()
