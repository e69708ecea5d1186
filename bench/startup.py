"""
How much processor time it takes until a command answers, the service is ready, and a helper process can work.

Each figure is the median ratio to `python3 -I -c pass` of the same round, so that neither the machine nor what else it
does counts for much; `--beside FOLDER` takes a second checkout into the same rounds. All of it is processor time, but
for the resident memory of the service once it is ready: `make bench START=1`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.generate import write_file
from bench.measure import machine

_ROOT: Final = Path(__file__).resolve().parent.parent
_COMMANDS: Final = {
    "--version": ("--version",),
    "--help": ("--help",),
    "status": ("status", "--config", "config.toml"),
    "imports": ("imports", "--config", "config.toml"),
    "show 1": ("show", "1", "--config", "config.toml"),
    "users": ("users", "--client", "bench", "--config", "config.toml"),
    "check FILE": ("check", "users.csv", "--config", "config.toml"),
    "doctor": ("doctor", "--config", "config.toml"),
    "sweep, nothing to do": ("sweep", "--config", "config.toml"),
}
_HELPERS: Final = {
    "worker process": ("importer.rows.worker", "importer.beside"),
    "unwrapping process": ("importer.file.unwrap.child",),
}
_CONFIG: Final = """
[service]
state_dir = "state"
[[client]]
name = "bench"
inbox = "inbox"
failed_import_email = ["bench@example.org"]
"""
_PYTHON: Final = (sys.executable, "-I", "-c")
_SERVICE: Final = "service until ready"
_MEMORY: Final = "service, MiB when ready"
_READY: Final = b"READY=1"
_USERS: Final = 100


class Installation:
    """One checkout, on a state folder of its own."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root, self._folder = root, folder
        (folder / "inbox").mkdir(parents=True)
        (folder / "config.toml").write_text(_CONFIG)
        for file in ("inbox/users.csv", "users.csv"):
            write_file(folder / file, _USERS)
        self._cli = "operate.cli" if (root / "operate" / "cli.py").exists() else "watcher.cli"
        self.cpu_s("sweep", "--config", "config.toml")  # makes the database, and imports the first file

    def cpu_s(self, *arguments: str) -> float:
        """Run a command to its end; return its processor time, with that of its children."""
        return _cpu_s(self._program(f"from {self._cli} import main; main()"), *arguments, folder=self._folder)

    def helper_cpu_s(self, modules: tuple[str, ...]) -> float:
        """Return the processor time until the first of the modules that exists is imported; NaN when none is."""
        for module in modules:
            if self._root.joinpath(*module.split(".")).with_suffix(".py").exists():
                return _cpu_s(self._program(f"import {module}"), folder=self._folder)
        return float("nan")

    def service(self) -> tuple[float, float]:
        """Start the service, end it once it is ready; return its processor time until then, and its memory in MiB."""
        address = self._folder / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(address))
            manager.settimeout(60)
            with subprocess.Popen(
                [*_PYTHON, self._program(f"from {self._cli} import main; main()"), "run", "--config", "config.toml"],
                cwd=self._folder,
                env={**os.environ, "NOTIFY_SOCKET": str(address)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ) as service:
                while _READY not in manager.recv(1024):
                    pass
                used = _running_cpu_s(service.pid), _resident_mib(service.pid)
                service.terminate()
        address.unlink()
        return used

    def _program(self, text: str) -> str:
        return f"import sys; sys.path.insert(0, {str(self._root)!r}); {text}"


def _cpu_s(program: str, *arguments: str, folder: Path) -> float:
    with subprocess.Popen(
        [*_PYTHON, program, *arguments],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime


def _running_cpu_s(pid: int) -> float:
    """Return the processor time of all threads so far. Source: proc(5), schedstat, in nanoseconds."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def _resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _cases() -> dict[str, Callable[[Installation], float]]:
    """Return what is measured of an installation; processor time in seconds, but for the memory."""
    return {
        **{name: _run(*arguments) for name, arguments in _COMMANDS.items()},
        _SERVICE: lambda installation: installation.service()[0],
        **{name: _start(modules) for name, modules in _HELPERS.items()},
        _MEMORY: lambda installation: installation.service()[1],
    }


def _run(*arguments: str) -> Callable[[Installation], float]:
    return lambda installation: installation.cpu_s(*arguments)


def _start(modules: tuple[str, ...]) -> Callable[[Installation], float]:
    return lambda installation: installation.helper_cpu_s(modules)


def main() -> None:
    """Measure this checkout, and another one if the command line names it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--beside", type=Path, metavar="FOLDER", help="another checkout, in the same rounds")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    roots = {"ours": _ROOT} | ({"beside": arguments.beside.resolve()} if arguments.beside else {})
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        measure(roots, Path(name), arguments.rounds)


def measure(roots: dict[str, Path], folder: Path, rounds: int) -> None:
    """Run that many rounds of all checkouts, and print a table."""
    installations = {name: Installation(root, folder / name) for name, root in roots.items()}
    results: dict[str, dict[str, list[float]]] = {name: {} for name in roots}
    bare: dict[str, list[float]] = {}
    for number in range(rounds):
        for what, case in _cases().items():  # all in a row: the speed of a shared machine changes within seconds
            bare.setdefault(what, []).append(1.0 if what == _MEMORY else _cpu_s("pass", folder=folder))
            for name, installation in sorted(installations.items(), reverse=bool(number % 2)):
                results[name].setdefault(what, []).append(case(installation))
    _print_table(results, bare)


def _print_table(results: dict[str, dict[str, list[float]]], bare: dict[str, list[float]]) -> None:
    bare_ms = 1000 * statistics.median(bare[_SERVICE])
    print(f"python3 -I -c pass: {bare_ms:.1f} ms of processor time; the others as ratios to it")
    print(f"{'':26}" + "".join(f"{name:>10}" for name in results) + ("     ratio" if len(results) > 1 else ""))
    for what, base in bare.items():
        columns = [[value / one for value, one in zip(each[what], base, strict=True)] for each in results.values()]
        cells = "".join(f"{statistics.median(column):10.2f}" for column in columns)
        if len(columns) > 1:
            cells += f"{statistics.median(a / b for a, b in zip(*columns, strict=True)):10.2f}"
        print(f"{what:26}{cells}")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
