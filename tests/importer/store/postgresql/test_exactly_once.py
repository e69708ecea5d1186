"""A connection that is lost at any moment of an import: the file is recorded once, and told about once."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from importer import ending
from importer.model import AlreadyRecorded, Claim
from importer.names import RESULT_TXT
from importer.settings import HookSettings, MailSettings
from importer.store.errors import StoreConflict, StoreError, StoreLocked, StoreUnreachable
from importer.store.postgresql import connection
from importer.store.postgresql.connection import PostgresqlConnection, connect
from importer.store.postgresql.database import PostgresqlStore
from tests.engine import HEADER, Engine
from tests.lab import wait_until
from tests.lab.dropper import WHENS, Dropper
from tests.lab.postgresql import PostgresqlServer
from watcher.health.alerts import Alerts
from watcher.health.trouble import Troubles
from watcher.outgoing import hooks as outgoing

REFUSED = b"%PDF-1.7"  # also that is a transaction with a row of the ledger and a mail
ROWS = f"""{HEADER}
S1,OPSCOM,Ann,Lee,ann@example.org,ann
S2,OPSCOM,Bo,Roy,bo@example.org,bo
S3,OPSCOM,,Roy,nowhere,
""".encode()
STEP = 1 if os.environ.get("ROSTERD_FAULTS") else 9  # of the statements at which the backend is ended

pytestmark = pytest.mark.xdist_group("postgresql")


class Site:
    """An importer of a host whose connection goes through a proxy; `direct` goes to the server."""

    def __init__(self, folder: Path, url: str, dropper: Dropper, content: bytes) -> None:
        self.dropper = dropper
        self.content = content
        self.engine = Engine(folder)
        self.engine.store.close()
        self.direct = connect(url)
        database = url.partition("?")[0]
        self.store = PostgresqlStore.open(f"{database}?host={dropper.folder}", "ham")
        self.engine.store = self.store  # type: ignore[assignment]

    def close(self) -> None:
        """Close all connections."""
        self.engine.close()
        self.direct.close()

    def work_on(self, claim: Claim) -> None:
        """Import a file as the service does, which comes back to a claim until its end is recorded."""
        while True:
            with contextlib.suppress(StoreLocked):
                with contextlib.suppress(AlreadyRecorded):
                    self.engine.importer().import_file(claim, self.engine.client)
                return

    def is_waiting(self) -> bool:
        """Tell whether a backend waits for a lock of another one."""
        (count,) = self.direct.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ).fetchone()
        return bool(count)

    def assert_recorded_once(self, claim: Claim) -> None:
        """The ledger has the claim, the client gets one mail, and the answers are there to be archived."""
        for table in ("imports", "outbox"):
            query = f"SELECT count(*) FROM {table} WHERE claim_id = ?"  # noqa: S608 - a name of ours
            assert (1,) == self.direct.execute(query, (claim.claim_id,)).fetchone()
        assert os.fsdecode(RESULT_TXT) in os.listdir(claim.folder_fd)
        users = self.direct.execute("SELECT count(*), count(DISTINCT email_key) FROM users").fetchone()
        changes = self.direct.execute("SELECT count(*) FROM user_changes").fetchone()
        assert ((2, 2), (0,)) == (users, changes) or self.content == REFUSED


@pytest.fixture(params=[REFUSED, ROWS], ids=["refused", "rows"])
def site(request: pytest.FixtureRequest, postgresql: PostgresqlServer, tmp_path: Path) -> Iterator[Site]:
    with (
        Dropper(postgresql.folder) as dropper,
        contextlib.closing(Site(tmp_path, postgresql.new_database(), dropper, request.param)) as made,
    ):
        yield made


@pytest.mark.parametrize("when", [each for each in WHENS if each != "late"])
def test_a_connection_lost_at_the_commit_records_a_file_once(site: Site, when: str) -> None:
    """Whether the server had committed or not, the next try finds out, and does what is left."""
    with site.engine.claimed(site.content) as claim:
        site.dropper.when = when
        site.work_on(claim)
        assert 1 == site.dropper.dropped
        site.assert_recorded_once(claim)


def late_commit(site: Site, claim: Claim) -> None:
    """Let the server get a COMMIT when the next try of the same claim is waiting for it, or has ended."""
    site.dropper.when = "late"
    ended: list[BaseException | None] = []

    def work() -> None:
        try:
            site.work_on(claim)
        except BaseException as error:  # noqa: BLE001 - raised again below
            ended.append(error)
        else:
            ended.append(None)

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: bool(ended) or site.is_waiting(), "the next try")
    with contextlib.suppress(OSError):  # what the next try has committed may have made it fail
        site.dropper.release()
    thread.join()
    if ended[0] is not None:
        raise ended[0]


def test_the_next_try_waits_for_a_commit_that_comes_late(site: Site) -> None:
    """A server that commits while its client has given up already, and is back, is waited for."""
    with site.engine.claimed(site.content) as claim:
        late_commit(site, claim)
        site.assert_recorded_once(claim)


def test_a_look_that_waits_for_nobody_is_noticed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the lock the same file is recorded while the first commit is still to come, or fails on it."""
    monkeypatch.setattr(PostgresqlConnection, "lock", lambda *_: True)
    with site.engine.claimed(site.content) as claim, pytest.raises(StoreError, match="duplicate"):
        late_commit(site, claim)


def test_a_retry_that_does_not_look_is_noticed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a look at the ledger a file of which the answer was lost would be recorded again."""
    monkeypatch.setattr(ending, "begin", lambda *_: True)
    site.dropper.when = "at"
    with site.engine.claimed(site.content) as claim, pytest.raises(StoreError, match="duplicate"):
        site.work_on(claim)


def before_statement(monkeypatch: pytest.MonkeyPatch, site: Site, number: int, then: Callable[[], None]) -> list[int]:
    """Do something before that statement of the host's connection; return what counts them."""
    begin, count = connection.begin, [0]

    def counting(self: PostgresqlConnection) -> None:
        if self is not site.direct:
            count[0] += 1
            if count[0] == number:
                then()
        begin(self)

    monkeypatch.setattr(connection, "begin", counting)
    return count


def test_a_backend_ended_at_any_statement_leaves_a_file_recorded_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the server ends the session, a following try does all of it."""

    def end() -> None:
        site.direct.execute(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    def import_with_end_at(number: int) -> int:
        """Import a file; return how many statements that took."""
        with monkeypatch.context() as patched, site.engine.claimed(site.content) as claim:
            count = before_statement(patched, site, number, end)
            site.work_on(claim)
            site.assert_recorded_once(claim)
            return count[0]

    import_with_end_at(0)  # the first one connects for the ids
    last = import_with_end_at(0)
    assert last > 10
    for number in range(1, last + 1, STEP):
        assert last < import_with_end_at(number)


def test_two_transactions_in_each_other_s_way_are_tried_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server rolls back for the sake of another transaction is done again, without a word."""

    def fail() -> None:
        raise StoreConflict("could not serialize access due to concurrent update")

    before_statement(monkeypatch, site, 5, fail)
    with site.engine.claimed(site.content) as claim:
        site.work_on(claim)
        site.assert_recorded_once(claim)


def test_what_always_collides_is_left_for_later(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tries are bounded: the loop defers the claim, and works on others."""

    def fail(*_: object) -> bool:
        raise StoreConflict("deadlock detected")

    monkeypatch.setattr(PostgresqlConnection, "lock", fail)
    with site.engine.claimed(site.content) as claim, pytest.raises(StoreConflict):
        site.work_on(claim)


def test_another_host_at_the_same_client_is_told_apart(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another host imports a file of a client, ours waits a moment and is then deferred: nothing is wrong."""
    monkeypatch.setattr(connection, "_WHILE_IMPORTING", "10ms")
    site.direct.execute("BEGIN")
    site.direct.lock("acme")
    with site.engine.claimed(site.content) as claim:
        with pytest.raises(StoreLocked, match="another host"):
            site.engine.importer().import_file(claim, site.engine.client)
        site.direct.execute("ROLLBACK")
        site.work_on(claim)
        site.assert_recorded_once(claim)


@pytest.mark.parametrize("when", [each for each in WHENS if each != "late"])
def test_an_event_of_the_log_is_queued_once(site: Site, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the server had committed it or not, it is queued again under the same id, and is there once."""
    logged = [{"event": "mail.dead", "level": "error", "at": "2026-11-22T07:42:05Z", "client": "acme"}]
    monkeypatch.setattr(outgoing, "noted_events", lambda: [logged.pop()] if logged else [])
    chat = HookSettings(name="chat", url="https://example.org", events=("*",))
    hooks = outgoing.Hooks(site.store, Troubles(Alerts(MailSettings()), watching=True), (chat,))
    site.dropper.when = when
    with contextlib.suppress(StoreUnreachable):  # lost after its answer, it shows only at the next statement
        hooks.queue_logged()
    assert 1 == site.dropper.dropped
    site.store.open_again()
    hooks.queue_logged()
    assert (1, 1) == site.direct.execute("SELECT count(*), count(DISTINCT event_id) FROM hook_events").fetchone()
