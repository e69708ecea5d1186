"""How long the loop of the service waits for a server: it is told to the service manager, and it ends."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Needs
from tests.lab import wait_until
from tests.lab.daemon import Rosterd, make_inboxes
from tests.lab.pgbouncer import pooled, pooled_url
from tests.lab.postgresql import PostgresqlServer

FILE = "unique_id,login_source,first_name,last_name,email\n1,OPSCOM,Ann,Lee,ann@school.example\n"
FOR_EVER_S = 3600
# A wait for the server is given up after 8 s in place of 30, so that it is told of more often, or the test fails.
SOON = """
import importer.store.postgresql.connection as c
c._ASK_S, c._PATIENCE_S, c._CANCEL_S = 1.0, 8.0, 2.0
c._CONNECTING["connect_timeout"] = 2
"""
MOST_SILENT_S = 6.0

pytestmark = pytest.mark.xdist_group("postgresql")


class Manager:
    """A service manager that notes when it hears of the service."""

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._listener.bind(str(path))
        self._heard_at: list[float] = []
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while word := self._listener.recv(100):
            if word == b"WATCHDOG=1":
                self._heard_at.append(time.monotonic())

    def close(self) -> None:
        """Listen no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def longest_silence_s(self) -> float:
        """Return the longest time between two signs of life, and since the last one."""
        moments = [*self._heard_at, time.monotonic()]
        return max(later - earlier for earlier, later in itertools.pairwise(moments))


@pytest.fixture
def server(needs: Needs) -> Iterator[PostgresqlServer]:
    needs("postgres", "initdb", "psql", "pgbouncer")
    with contextlib.closing(PostgresqlServer(synchronous_commit="on")) as started:
        yield started


def test_a_pooler_that_lets_wait_for_ever(server: PostgresqlServer, tmp_path: Path) -> None:
    """Behind a pooler whose server hangs each wait ends, also for a statement to be cancelled, and is told."""
    with contextlib.closing(Manager(tmp_path / "notify")) as manager, pooled(server, wait_s=FOR_EVER_S):
        settings = {"service": {"database": pooled_url(server.new_database()), "host": "ham"}}
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        with Rosterd(tmp_path, make_inboxes(tmp_path), settings=settings, environment=environment) as site:
            site.planted = SOON
            site.start()
            site.drop("1.csv", FILE)
            site.wait_for_event("file.archived")
            pids = server.processes()
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            try:
                site.drop("2.csv", FILE)
                site.wait_for_event("store.refused")
            finally:
                for pid in pids:
                    os.kill(pid, signal.SIGCONT)
            wait_until(lambda: len(site.events("file.archived")) == 2 or None, "the archive")
            assert manager.longest_silence_s() < MOST_SILENT_S
