"""Handles: whatever goes wrong with a file, nothing of it stays open."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from importer.fs import open_file
from importer.model import Interrupted
from importer.rows import worker
from tests.engine import HEADER, Engine
from tests.lab.sshd import descendants

ROWS = "".join(f"U{n},OPSCOM,Ann,Lee,u{n}@example.org,u{n}\n" for n in range(20_000))  # the log of ids is on disk
BROKEN = f'{HEADER}\n{ROWS}V,OPSCOM,"Ann"x,Lee,v@example.org,v\n'.encode()
TIMES = 5


@pytest.fixture(autouse=True)
def _no_collection() -> Iterator[None]:
    """Let nothing be closed by a collection, which comes when it likes."""
    gc.disable()
    yield
    gc.enable()


def handles() -> list[str]:
    return sorted(
        os.readlink(path)
        for path in map("/proc/self/fd/{}".format, os.listdir("/proc/self/fd"))
        if os.path.lexists(path)
    )


def refused(engine: Engine) -> None:
    assert "csv.quoting" == engine.upload(BROKEN).code


def interrupted(engine: Engine) -> None:
    asked = iter([False] * 30)
    with engine.claimed(BROKEN) as claim, contextlib.suppress(Interrupted):
        engine.importer().import_file(claim, engine.client, stopping=lambda: next(asked, True))


def killed(engine: Engine) -> None:
    def kill() -> bool:
        for pid in descendants(os.getpid()):
            os.kill(pid, signal.SIGKILL)
        return False

    with engine.claimed(BROKEN) as claim, pytest.raises(ChildProcessError):
        engine.importer().import_file(claim, engine.client, stopping=kill)


def unstartable(engine: Engine) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.executable", "/nowhere/python3")
        with engine.claimed(BROKEN) as claim, pytest.raises(FileNotFoundError):
            engine.importer().import_file(claim, engine.client)


def missing(engine: Engine) -> None:
    with engine.claimed(BROKEN) as claim:
        os.unlink(claim.name, dir_fd=claim.folder_fd)
        with pytest.raises(FileNotFoundError):
            engine.importer().import_file(claim, engine.client)


def a_folder(engine: Engine) -> None:
    with engine.claimed(BROKEN) as claim:
        os.unlink(claim.name, dir_fd=claim.folder_fd)
        os.mkdir(claim.name, dir_fd=claim.folder_fd)
        with pytest.raises(IsADirectoryError):
            engine.importer().import_file(claim, engine.client)


@pytest.mark.parametrize(
    ("fail", "worker_from_bytes"),
    [
        *((fail, sys.maxsize) for fail in (refused, interrupted, missing, a_folder)),
        *((fail, 0) for fail in (refused, interrupted, killed, unstartable)),
    ],
)
def test_an_import_that_fails_leaves_nothing_open(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, fail: Callable[[Engine], None], worker_from_bytes: int
) -> None:
    """However an import fails, with a worker or without, all it had open is closed when it has ended."""
    monkeypatch.setattr(worker, "_MIN_BYTES", worker_from_bytes)
    fail(engine)
    before = handles()
    for _ in range(TIMES):
        fail(engine)
    assert before == handles()


def test_a_folder_in_place_of_a_file_is_not_left_open(tmp_path: Path) -> None:
    """What is slipped in under the name of a file, in the moment that it is opened, is closed again."""
    (tmp_path / "users.csv").mkdir()
    folder_fd = os.open(tmp_path, os.O_RDONLY)
    try:
        before = handles()
        with pytest.raises(IsADirectoryError):
            open_file(b"users.csv", folder_fd)
        assert before == handles()
    finally:
        os.close(folder_fd)
