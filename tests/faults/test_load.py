"""The daemon under load, killed at random again and again; its clients upload by real SFTP meanwhile."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Needs
from tests.faults.checker import violations
from tests.faults.ground import Ground, Kind, Upload
from tests.faults.nursery import Nursery
from tests.faults.trials import FULL, Run, Trials, told
from tests.lab.clients import Visit
from tests.lab.sshd import Sshd

pytestmark = pytest.mark.faults

CLIENTS = 20 if FULL else 6
KILLS = 200 if FULL else 10
LONGEST_LIFE_S = 0.8
FILES_PER_SESSION = 5
PAUSE_S = 1.0  # between the sessions of one client
KINDS = (Kind.GOOD, Kind.GOOD, Kind.PARTLY, Kind.REFUSED)


def upload_until(done: Callable[[], bool], visit: Visit, ground: Ground) -> None:
    """Upload files under names of their own, one SFTP session after the other."""
    client = visit.login.name
    while not done():
        uploads = [ground.next_upload(KINDS[number % len(KINDS)], client=client) for number in range(FILES_PER_SESSION)]
        # In the names' own order, too: the clock of a file system has steps of 4 ms, in which two uploads fit.
        visit.execute(*(f'put "{_written(visit, upload)}" "{upload.number:06}.csv"' for upload in uploads))
        ground.uploads.extend(uploads)
        time.sleep(PAUSE_S)


def _written(visit: Visit, upload: Upload) -> Path:
    path = visit.home / f"{upload.number}.csv"
    path.write_bytes(upload.content)
    return path


def kill_again_and_again(nursery: Nursery, ground: Ground) -> None:
    """Start the daemon and kill it soon, at a moment that nobody chose."""
    chance = random.Random(5)  # noqa: S311 - no secret
    for _ in range(KILLS):
        pid = nursery.start("run", "--config", ground.config, log=ground.log)
        os.kill(pid, signal.SIGCONT)
        time.sleep(chance.uniform(0.05, LONGEST_LIFE_S))
        os.kill(pid, signal.SIGKILL)
        assert nursery.wait(pid) == -signal.SIGKILL


def test_killed_under_load(tmp_path: Path, needs: Needs) -> None:
    """Whenever the daemon is killed while many clients upload: every file is imported once, in the order it came."""
    needs("sshd", "sftp")
    names = [f"client{number}" for number in range(CLIENTS)]
    stop = threading.Event()
    with Sshd(names) as sshd, Trials(tmp_path) as trials, trials.nursery() as nursery:
        ground = Ground(tmp_path / "ground", inboxes={name: sshd.login(name).inbox for name in names})
        visits = [Visit(sshd, sshd.login(name), tmp_path / name) for name in names]
        with ThreadPoolExecutor(CLIENTS) as clients:
            for visit in visits:
                visit.home.mkdir()
            uploading = [clients.submit(upload_until, stop.is_set, visit, ground) for visit in visits]
            try:
                kill_again_and_again(nursery, ground)
            finally:
                stop.set()
            for each in uploading:
                each.result()

        found = violations(ground, finished=False, in_order=True)
        found += trials.recovered(Run(nursery=nursery, ground=ground), patience_s=60.0)
        found += violations(ground, finished=True, in_order=True)

    assert len(ground.uploads) >= CLIENTS * FILES_PER_SESSION
    assert not found, told(found)
