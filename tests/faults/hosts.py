"""Several hosts with one database: their daemons, the server and its backends are killed at random, then judged."""

from __future__ import annotations

import contextlib
import copy
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from tests.faults import checker, tables, tracing
from tests.faults.ground import Ground, Kind
from tests.faults.harnesses import wait_for_start
from tests.faults.nursery import Nursery
from tests.faults.relay import Relay
from tests.faults.trials import MAIL_ROUNDS
from tests.lab import wait_until
from tests.lab.postgresql import PostgresqlServer

HOSTS = ("ham", "sto", "lis")
KINDS = (Kind.GOOD, Kind.GOOD, Kind.PARTLY, Kind.REFUSED)
UPLOAD_EVERY_S = 0.1  # of all clients of all hosts together
BUSY, OF_BUSY = 3, 0.5  # clients that upload this share of all files, so that some of theirs wait
LONGEST_PAUSE_S = 0.5  # between two kills
S_PER_FILE = 0.5  # that the recovery may take for each file that waits
MAIL_EVERY = 5  # kills: then so much time has passed for mails that each client may have another one
# What is killed, and how often of a hundred times.
SHARES = {"daemon": 60, "backend ended": 28, "backend killed": 9, "server stopped": 3}
IS_READY = 0.5  # of the daemons that are killed have started
AT_WORK = 0.7  # of the backends that are killed are at work, if any is
_CONNECTION_LOST = 2  # as psql ends
_ONE_OF_US = "SELECT pid FROM pg_stat_activity WHERE application_name = 'rosterd' ORDER BY random() LIMIT 1"
_ONE_AT_WORK = _ONE_OF_US.replace("random()", "state = 'idle', random()")
_OF_TRANSACTIONS = (
    *("work_rows", "work_users", "work_images", "work_plan", "work_kept", "work_moves", "work_moved", "open_imports"),
)


class Hosts:
    """
    A context manager: three installations that are alike and share a database, each with inboxes of its own.

    Mail goes by `relay`, or into the Maildir of each host. `found` is what went wrong so far, `killed` how often what
    was killed.
    """

    def __init__(
        self, folder: Path, server: PostgresqlServer, *, clients: int, broken: str = "", relay: Relay | None = None
    ) -> None:
        self._server = server
        self._name = server.new_database().partition("@/")[2].partition("?")[0]
        names = [f"client{number}" for number in range(clients)]
        by: dict[str, str | float] | None = (
            {"host": "127.0.0.1", "port": relay.port, "security": "none"} if relay else None
        )
        self.grounds = {host: Ground(folder / host, clients=names, mail=by) for host in HOSTS}
        self._relay = relay
        for host, ground in self.grounds.items():
            ground.share(server.url(self._name), host, self.grounds[HOSTS[0]])
        self._nursery = Nursery(broken)
        self._pids: dict[str, int] = {}
        self._logged: dict[str, int] = {}  # bytes, before a daemon was started
        # What nobody chose, the same every time, of each kind within a dozen; clients upload in a thread of their own.
        self._chance, self._of_clients = random.Random(0), random.Random(11)  # noqa: S311 - no secret
        self._uploads = 0
        self.found: list[str] = []
        self.killed: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._nursery.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_daemons()
        self._nursery.__exit__()

    def start_daemons(self) -> None:
        """Start the daemon of each host."""
        for host in HOSTS:
            self._start(host)

    def kill_daemons(self) -> None:
        """Kill the daemon of each host that has one."""
        for host in list(self._pids):
            self._end(host, signal.SIGKILL)
            self.killed["daemon, all at once"] += 1

    def kill(self, times: int) -> None:
        """Kill something so many times, each at a moment that nobody chose, and start it again."""
        shares = list(SHARES.values())
        until = self.killed.total() + times
        while self.killed.total() < until:
            time.sleep(self._chance.uniform(0, LONGEST_PAUSE_S))
            what = self._chance.choices(list(SHARES), shares)[0]
            if what == "daemon":
                self._restart(self._chance.choice(HOSTS), is_ready=self._chance.random() < IS_READY)
            elif what == "server stopped":
                self._server.stop()
                time.sleep(self._chance.uniform(0, LONGEST_PAUSE_S))
                self._server.start()
            elif not self._kill_backend(is_ended=what == "backend ended"):
                continue
            self.killed[what] += 1
            if self.killed.total() % MAIL_EVERY == 0:
                self.let_mail_be_due()

    @contextlib.contextmanager
    def uploading(self) -> Iterator[None]:
        """Let clients upload to all hosts meanwhile."""
        done = threading.Event()

        def upload() -> None:
            while not done.wait(UPLOAD_EVERY_S):
                self._upload(self._of_clients.choice(HOSTS))

        thread = threading.Thread(target=upload)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def recover(self) -> None:
        """Let daemons that nobody disturbs do what is left; then let so much time pass as mail and notes need."""
        self._sql("UPDATE open_imports SET began_at = began_at - INTERVAL '2 minutes'")
        self._upload(HOSTS[0])  # an import forgets those that never ended
        self.start_daemons()
        uploads = sum(len(ground.uploads) for ground in self.grounds.values())
        try:
            wait_until(self._is_idle, "the rest", patience_s=60 + S_PER_FILE * uploads)
        except TimeoutError as error:
            self.found.append(f"recovery: {error}")
        for host in HOSTS:
            status = self._end(host, signal.SIGTERM)
            self.found += [f"{host}: ended with {status}"] if status else []
        for _ in range(MAIL_ROUNDS):
            self.let_mail_be_due()
            for host, ground in self.grounds.items():
                status = tracing.sweep(self._nursery, ground)
                self.found += [f"{host}: a sweep ended with {status}"] if status else []

    def look(self, *, finished: bool) -> None:
        """Add what is wrong now, while no daemon runs."""
        rows_of = tables.of_server(self._server.url(self._name))
        mails = list(self._relay.mails) if self._relay else []
        for host, ground in self.grounds.items():
            of_host = {**rows_of, "imports": [row for row in rows_of["imports"] if row["host"] == host]}
            scene = checker.scene_of(ground, of_host, damage=[])
            mails += scene.mails
            self.found += [f"{host}: {each}" for each in checker.of_files(scene, finished=finished, in_order=True)]
        whole = copy.copy(self.grounds[HOSTS[0]])
        whole.uploads = [upload for ground in self.grounds.values() for upload in ground.uploads]
        scene = checker.scene_of(whole, rows_of, damage=[], mails=mails)
        self.found += checker.of_rows(scene, finished=finished, doubles_allowed=self._relay is not None)
        # Killed between the answer to a mail and its record, a daemon sends the same bytes again.
        if (doubled := len(mails) - len(set(mails))) > self.killed["daemon"] + self.killed["daemon, all at once"]:
            self.found.append(f"{doubled} mails arrived more than once")
        if finished:
            self.found += [*self._left_behind(rows_of["outbox"]), *self._unverified()]

    def let_mail_be_due(self) -> None:
        """Change the times in the outbox as if an hour had passed."""
        an_hour_ago = f"'{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}'"
        self._sql(f"UPDATE outbox SET sent_at = {an_hour_ago} WHERE sent_at > {an_hour_ago}")  # noqa: S608 - ours
        self._sql("UPDATE outbox SET due_at = created_at WHERE state = 'waiting'")

    def _upload(self, host: str) -> None:
        self._uploads += 1
        ground, chance = self.grounds[host], self._of_clients
        # In the names' own order, too: the clock of a file system has steps of 4 ms.
        clients = ground.clients[:BUSY] if chance.random() < OF_BUSY else ground.clients
        ground.upload(f"{self._uploads:06}.csv", chance.choice(KINDS), client=chance.choice(clients))

    def _start(self, host: str) -> None:
        ground = self.grounds[host]
        self._logged[host] = ground.log.stat().st_size if ground.log.exists() else 0
        self._pids[host] = self._nursery.start("run", "--config", ground.config, log=ground.log)
        os.kill(self._pids[host], signal.SIGCONT)

    def _restart(self, host: str, *, is_ready: bool) -> None:
        """`is_ready`: only once it has started; else at any of its first steps as well."""
        if is_ready:
            wait_for_start(self.grounds[host], self._logged[host])
        self._end(host, signal.SIGKILL)
        self._start(host)

    def _end(self, host: str, by: signal.Signals) -> int:
        """End a daemon; one that has done so by itself needs somebody."""
        pid = self._pids.pop(host)
        os.kill(pid, by)
        status = self._nursery.wait(pid)
        if by == signal.SIGKILL and status != -by:
            self.found.append(f"{host}: ended by itself with {status}")
        return status

    def _kill_backend(self, *, is_ended: bool) -> bool:
        """Kill a backend, most often one at work; return whether there was one."""
        which = _ONE_AT_WORK if self._chance.random() < AT_WORK else _ONE_OF_US
        if is_ended:
            return self._sql(f"SELECT pg_terminate_backend(pid) FROM ({which}) AS one") == "t"  # noqa: S608 - ours
        if pid := self._sql(which):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
                return True
        return False

    def _is_idle(self) -> bool:
        if any(
            any(ground.inbox(client).glob("*.csv")) for ground in self.grounds.values() for client in ground.clients
        ):
            return False
        uploads = sum(len(ground.uploads) for ground in self.grounds.values())
        return self._sql("SELECT count(*) FROM imports WHERE archived_at IS NOT NULL") == str(uploads)

    def _left_behind(self, outbox: Sequence[tables.Row]) -> Iterator[str]:
        """What is there for the time of a transaction, or of an attempt, is gone with it."""
        yield from (f"mail {row['message_id']} is leased to {row['host']}" for row in outbox if row["leased_until"])
        for table in _OF_TRANSACTIONS:
            if (count := self._sql(f"SELECT count(*) FROM {table}")) != "0":  # noqa: S608 - ours
                yield f"left in {table}: {count} rows"
        if (count := self._sql("SELECT count(*) FROM pg_prepared_xacts")) != "0":
            yield f"left open: {count} transactions"

    def _unverified(self) -> Iterator[str]:
        for host, ground in self.grounds.items():
            status = self._nursery.run("verify", "--config", ground.config, log=ground.log)
            yield from [f"{host}: verify ended with {status}"] if status else []

    def _sql(self, statement: str) -> str:
        """Run a statement, as often as it takes while the server starts again."""

        def run() -> list[str]:
            try:
                return [self._server.run_sql(self._name, statement)]
            except subprocess.CalledProcessError as error:
                if error.returncode != _CONNECTION_LOST and "deadlock" not in error.stderr:
                    raise AssertionError(error.stderr) from error
                return []

        return wait_until(run, "the server")[0]


def killed_at_random(hosts: Hosts, rounds: Sequence[int]) -> list[str]:
    """Kill so many times in each round, while clients upload, and look after each; return what was wrong."""
    with hosts:
        for kills in rounds:
            hosts.start_daemons()
            with hosts.uploading():
                hosts.kill(kills)
            hosts.kill_daemons()
            hosts.look(finished=False)
            if hosts.found:  # the nearer to its cause, the better
                return hosts.found
        hosts.recover()
        hosts.look(finished=True)
    return hosts.found
