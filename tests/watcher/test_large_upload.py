"""The daemon and its worker: what becomes of a large file, and of other clients, when the worker is in trouble."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import wait_until, worker_process
from tests.lab.daemon import Rosterd
from tests.lab.sshd import descendants

HEADER = "unique_id,login_source,first_name,last_name,email\n"
LARGE = HEADER + "".join(f"{n},OPSCOM,Ann,Lee,ann{n}@school.example\n" for n in range(150_000))
SMALL = HEADER + "1,OPSCOM,Ann,Lee,ann@school.example\n"


@pytest.fixture
def rosterd(tmp_path: Path, folders: dict[str, Path]) -> Iterator[Rosterd]:
    """Yield the running daemon."""
    with Rosterd(tmp_path, folders) as installation:
        installation.start()
        yield installation


def stand_still(rosterd: Rosterd) -> int:
    """Let the worker of a large file of acme stand still; return its pid."""
    rosterd.drop("large.csv", LARGE)
    [pid] = wait_until(lambda: list(descendants(rosterd.pid)), "the worker")
    worker_process.wait_for_start(pid)
    worker_process.stop(pid)
    return pid


def test_a_worker_that_stands_still_keeps_nobody_waiting(rosterd: Rosterd) -> None:
    """Other clients are served meanwhile, and another worker starts the file again."""
    pid = stand_still(rosterd)
    rosterd.drop("small.csv", SMALL, client="beta")
    rosterd.wait_for_event("file.archived", file="small.csv")
    rosterd.wait_for_event("file.archived", file="large.csv")
    assert worker_process.has_ended(pid)


def test_the_log_of_a_large_file_is_folded_into_the_database(rosterd: Rosterd, tmp_path: Path) -> None:
    """The commit leaves it, and the service does it without waiting for another file."""
    rosterd.drop("large.csv", LARGE)
    rosterd.wait_for_event("file.archived", file="large.csv")
    wait_until(
        lambda: (tmp_path / "state" / "rosterd.db").stat().st_size > len(LARGE), "the database to have the users"
    )


@pytest.mark.parametrize("stop", ["stop", "kill9"])
def test_a_worker_that_stands_still_ends_with_the_daemon(rosterd: Rosterd, stop: str) -> None:
    """A stop is done in time, and neither it nor a kill leaves the worker behind; the next start goes on."""
    pid = stand_still(rosterd)
    getattr(rosterd, stop)()
    wait_until(lambda: worker_process.has_ended(pid), "the worker to end")
    rosterd.start()
    rosterd.wait_for_event("file.archived", file="large.csv")


def test_a_replaced_interpreter_is_told(
    tmp_path: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that cannot be started puts the file off, and says so; the claim is kept and imported later."""
    python, away = _environment(tmp_path / "venv")
    monkeypatch.setattr(sys, "executable", str(python))
    with Rosterd(tmp_path, folders) as rosterd:
        rosterd.start()
        python.rename(away)
        rosterd.drop("large.csv", LARGE)
        told = rosterd.wait_for_event("file.deferred", file="large.csv")
        assert "ENOENT" in str(told["reason"])
        assert str(python) in str(told["reason"])
        away.rename(python)
        rosterd.wait_for_event("file.archived", file="large.csv")


def _environment(folder: Path) -> tuple[Path, Path]:
    """Make a virtual environment of the packages of this one; return its interpreter, and a place to move it to."""
    (folder / "bin").mkdir(parents=True)
    (folder / "lib").symlink_to(Path(sys.prefix) / "lib")
    (folder / "pyvenv.cfg").write_text((Path(sys.prefix) / "pyvenv.cfg").read_text())
    python = folder / "bin" / "python3"
    python.symlink_to(Path(sys.executable).resolve())
    return python, folder / "bin" / "away"
