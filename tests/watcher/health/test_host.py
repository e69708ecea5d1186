"""What the service tells of its host: a clock that differs from a file system's, and what doctor has found."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab import wait_until
from tests.lab.daemon import Rosterd, Setting
from watcher.health.checks import clock
from watcher.health.checks.results import DOCTOR, record_run

DIFFERS = "The clock is 7200 s behind that of the file system of "


def test_what_is_wrong_with_the_host_is_told(tmp_path: Path, folders: dict[str, Path]) -> None:
    """A clock two hours off is in log, status, metrics and mail with the first sweep; faults of doctor are logged."""
    settings: dict[str, dict[str, Setting]] = {
        "mail": {"operator": ["ops@host.example"]},
        "service": {"sweep_interval_s": 0.5},
    }
    offset = tmp_path / "offset"
    offset.write_text("7200")
    with Rosterd(tmp_path, folders, settings=settings) as rosterd:
        rosterd.planted = (
            "from pathlib import Path; from watcher.health import storage; from watcher.health.checks import host; "
            "storage._LOOK_INTERVAL_S = 0.5; "
            f"host.ahead_s = lambda folder: float(Path({str(offset)!r}).read_text())"
        )
        rosterd.start()
        assert "300 s" in str(rosterd.wait_for_event("clock.differs")["reason"])
        wait_until(lambda: DIFFERS in rosterd.execute("status").stdout, "the status")
        assert "rosterd_clock_ahead_seconds -7200.0" in rosterd.execute("metrics").stdout
        wait_until(lambda: len(rosterd.mails()) == 1, "the mail to the operator")
        offset.write_text("-1")
        rosterd.wait_for_event("clock.agrees")
        state_dir = str(rosterd._state)
        record_run(state_dir, DOCTOR, {"fault": 2}, ["sshd: is not running", "disk: is full"])
        found = rosterd.wait_for_event("host.faulty")
        assert (2, "sshd: is not running; disk: is full") == (found["faults"], found["reason"])
        record_run(state_dir, DOCTOR, {"fault": 0})
        rosterd.wait_for_event("host.recovered")
        assert 1 == len(rosterd.events("clock.differs")) == len(rosterd.events("host.faulty"))


@pytest.mark.parametrize("has_nameless_files", [True, False])
def test_the_clock_of_a_file_system_is_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    has_nameless_files: bool,  # noqa: FBT001
) -> None:
    """The time that a file system gives is compared, also where it has no nameless files, and nothing is left there."""
    open_any: Callable[..., int] = os.open

    def open_named(path: str, flags: int, *arguments: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return open_any(path, flags, *arguments)

    os.utime(tmp_path, (0, 0))
    if not has_nameless_files:
        monkeypatch.setattr(os, "open", open_named)
    assert abs(clock.ahead_s(str(tmp_path))) < clock.SLACK_S
    assert [] == [*tmp_path.iterdir()]
