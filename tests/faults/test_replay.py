"""A file that is put into an inbox by hand, killed at each step: whole, or not there, and no copy of it stays."""

from __future__ import annotations

import itertools
import logging
import os
import time
from pathlib import Path

import pytest

from tests.faults import tracing
from tests.faults.ground import Ground
from tests.faults.nursery import Nursery
from watcher.inbox.layout import ABANDONED_S

log = logging.getLogger(__name__)
pytestmark = pytest.mark.faults

KILLED = -9


def copies(folder: Path) -> list[Path]:
    """Return the hidden files of a folder that clients see."""
    return [path for path in folder.iterdir() if path.name.startswith(".") and path.is_file()]


def test_killed_while_a_file_is_put_into_an_inbox(tmp_path: Path) -> None:
    """What `rosterd import` leaves in the inbox when it is killed is removed once it is old, and not before."""
    ground = Ground(tmp_path / "ground")
    file = tmp_path / "by_hand.csv"
    file.write_bytes(b"unique_id,login_source,first_name,last_name,email\nx,OPSCOM,Ann,Lee,x@acme.example\n")
    with Nursery() as nursery:
        ground.upload("first.csv")
        assert tracing.sweep(nursery, ground) == 0, ground.log.read_text()
        for step in itertools.count(1):
            command = ("import", file, "--client", "acme", "--config", ground.config)
            status = nursery.run(*command, log=ground.log, kill_at=step)
            if status != KILLED:
                break
            (ground.inbox() / file.name).unlink(missing_ok=True)
        left = copies(ground.inbox())
        log.info("%d kills, %d of which left a copy", step - 1, len(left))
        assert left, "no kill left anything: the test tests nothing"
        for path in left[1:]:
            os.utime(path, (0, time.time() - ABANDONED_S - 1))
        assert tracing.sweep(nursery, ground) == 0, ground.log.read_text()
    assert left[:1] == copies(ground.inbox())
