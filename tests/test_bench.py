"""The bench runs, and says on what."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests import REPOSITORY


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_growth_names_the_machine_and_a_line_for_each_size() -> None:
    """Processors, versions and load come first, then users and clients as tables."""
    done = run("bench.growth", "--rows", "300", "--clients", "1", "2")
    first, *lines = done.stdout.splitlines()
    assert first.startswith(f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} processors, ")
    assert {"Python", "SQLite", "Linux", "load"} <= {*first.split()}
    assert ["300", "1", "2"] == [line.split()[1] for line in lines if line.startswith("| ") and line[2].isdigit()]


def test_without_the_shell_to_compare_with_it_says_what_to_install(tmp_path: Path) -> None:
    """The sqlite3 shell is of another package than Python's module."""
    done = run("bench.run", "--quick", PATH=str(tmp_path))
    assert (1, "") == (done.returncode, done.stdout)
    assert "apt-get install sqlite3" in done.stderr
