"""Several hosts with one database: whose rows are whose, and that each mail and event is sent by one of them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo

import pytest

from importer.hooks import outbox as hook_outbox
from importer.hooks.post import Attempt
from importer.mail import outbox
from importer.mail.channel import Delivery
from importer.model import Letter, Mail, OnHold
from importer.store import ledger, mail_queue, queries, retention
from importer.store.mail_queue import LEASE
from importer.store.postgresql.database import PostgresqlStore
from importer.store.roster import held_files
from importer.store.tables import hooks, hosts, strays
from tests.lab.postgresql import PostgresqlServer

NOW = datetime(2026, 11, 22, 7, 42, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

pytestmark = pytest.mark.xdist_group("postgresql")


@pytest.fixture
def url(postgresql: PostgresqlServer) -> str:
    return postgresql.new_database()


@pytest.fixture
def both(url: str) -> Iterator[tuple[PostgresqlStore, PostgresqlStore]]:
    with (
        contextlib.closing(PostgresqlStore.open(url, "ham")) as ham,
        contextlib.closing(PostgresqlStore.open(url, "sto")) as sto,
    ):
        yield ham, sto


def write(store: PostgresqlStore, number: int, client: str = "acme", at: datetime = NOW) -> int:
    """Put a mail into the outbox."""
    letter = Letter(
        client=client,
        claim_id=f"claim-{number}",
        sender="rosterd@example.org",
        recipients=(f"{client}-{number}@example.org",),
        subject="users.csv",
        text="",
        message_id=f"<{number}@example.org>",
        written_at=at,
    )
    with store.transaction():
        return outbox.add(store, letter)


def taken(store: PostgresqlStore, at: datetime) -> int:
    """Have a host take a mail; return its id, 0 for none."""
    mail = outbox.take(store, at)
    return mail.id if mail else 0


def sent(store: PostgresqlStore, mail: Mail, at: datetime) -> None:
    outbox.record(store, Delivery(mail=mail, refused=(), reason=""), at)


def test_a_mail_has_one_sender(both: tuple[PostgresqlStore, PostgresqlStore]) -> None:
    """What one host has taken no other takes, whatever is waiting; one that is gone leaves it to the others."""
    ham, sto = both
    first = write(ham, 1)
    assert first == taken(sto, NOW)
    assert [0, 0] == [taken(ham, NOW), taken(ham, NOW + 10 * MINUTE)]
    (mail,) = queries.mails(ham.conn, client=None, states=["waiting"], limit=9)
    assert ("sto", 1) == (mail.host, mail.attempts)
    assert first == taken(ham, NOW + LEASE)


def test_a_host_takes_at_once_what_it_had_in_hand_before_a_restart(
    both: tuple[PostgresqlStore, PostgresqlStore],
) -> None:
    """A lease holds against other hosts; its own mail a host tries again after the back-off of an attempt."""
    ham, _ = both
    first = write(ham, 1)
    assert [first, 0, first] == [taken(ham, NOW), taken(ham, NOW), taken(ham, NOW + 2 * MINUTE)]


@pytest.mark.parametrize("wrong_by", [timedelta(hours=1), -timedelta(hours=1)])
def test_a_mail_has_one_sender_whatever_the_clocks_say(
    both: tuple[PostgresqlStore, PostgresqlStore], monkeypatch: pytest.MonkeyPatch, wrong_by: timedelta
) -> None:
    """Leases go by the server's clock: a host whose own is wrong by an hour takes no mail that another one has."""

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + wrong_by

    ham, sto = both
    now = datetime.now(UTC)
    first = write(ham, 1, at=now)
    assert first == taken(ham, ham.shared_time(now))
    monkeypatch.setattr("importer.store.postgresql.database.datetime", Wrong)
    assert abs(sto.shared_time(now + wrong_by) - now) < MINUTE
    assert 0 == taken(sto, sto.shared_time(now + wrong_by))


def test_a_lease_of_a_clock_that_was_wrong_is_ignored(both: tuple[PostgresqlStore, PostgresqlStore]) -> None:
    """No mail waits for a time that is further ahead than any lease."""
    ham, sto = both
    first = write(ham, 1)
    assert first == taken(sto, NOW + timedelta(days=300))
    assert first == taken(ham, NOW)


def test_limits_of_a_client_hold_over_all_hosts(both: tuple[PostgresqlStore, PostgresqlStore]) -> None:
    """While one host sends a mail to a client, and five minutes after it, no other sends one to the same client."""
    ham, sto = both
    write(ham, 1)
    mail = outbox.take(ham, NOW)
    assert mail is not None
    second = write(sto, 2)
    write(sto, 3, "beta")
    other = outbox.take(sto, NOW)
    assert other is not None
    assert "beta" == other.client
    sent(sto, other, NOW)
    assert 0 == taken(sto, NOW)
    sent(ham, mail, NOW + MINUTE)
    assert [0, second] == [taken(sto, NOW + 5 * MINUTE), taken(sto, NOW + 7 * MINUTE)]


def test_what_a_person_wants_at_once_is_not_sent_twice(both: tuple[PostgresqlStore, PostgresqlStore]) -> None:
    """A mail that is under way, and was ordered to be tried now, has one sender all the same."""
    ham, sto = both
    first = write(ham, 1)
    assert first == taken(ham, NOW)
    assert mail_queue.retry(sto.conn, first, NOW)
    assert 0 == taken(sto, NOW)


def test_hosts_that_take_at_one_moment_take_different_mails(
    url: str, both: tuple[PostgresqlStore, PostgresqlStore]
) -> None:
    """Of thirty mails to as many clients none is taken twice by four hosts, and none is left."""
    ids = {write(both[0], number, f"c{number}") for number in range(30)}

    def take_all(store: PostgresqlStore) -> list[int]:
        got = []
        while (id_ := taken(store, NOW)) or queries.count_mails(store.conn, "waiting") > store_leased(store):
            got += [id_] if id_ else []
        return got

    def store_leased(store: PostgresqlStore) -> int:
        (count,) = store.conn.execute("SELECT count(*) FROM outbox WHERE leased_until <> ''").fetchone()
        return int(count)

    got = of_each_host(url, take_all)
    assert sorted(ids) == sorted(got)


def of_each_host(url: str, work: Callable[[PostgresqlStore], list[int]]) -> list[int]:
    """Have four hosts do something at the same time; return what they returned."""
    results: list[int] = []
    failures: list[BaseException] = []

    def run(host: str) -> None:
        try:
            with contextlib.closing(PostgresqlStore.open(url, host)) as store:
                results.extend(work(store))
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=run, args=(name,)) for name in ("ham", "sto", "osl", "cph")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == failures
    return results


def add_event(store: PostgresqlStore) -> None:
    event = hooks.HookEvent(
        id=0,
        event_id="e",
        hook="",
        event="mail.dead",
        client="acme",
        state="",
        body="{}",
        attempts=0,
        created_at=NOW,
        due_at=NOW,
        ended_at=None,
        last_error="",
    )
    with store.transaction():
        hooks.insert(store.conn, event, ["chat"])


def test_an_event_has_one_sender(both: tuple[PostgresqlStore, PostgresqlStore]) -> None:
    """An event that one host is sending no other sends, until it has been gone for the time of a lease."""
    ham, sto = both
    add_event(ham)
    event = hook_outbox.take(sto, NOW, hook="chat")
    assert event is not None
    assert hook_outbox.take(ham, NOW + 10 * MINUTE, hook="chat") is None
    again = hook_outbox.take(ham, NOW + LEASE, hook="chat")
    assert again is not None
    hook_outbox.record(ham, Attempt(event=again, reason=""), NOW)
    assert 1 == hooks.counts(sto.conn)["chat"].sent


def test_of_two_that_saw_an_event_one_takes_it(both: tuple[PostgresqlStore, PostgresqlStore]) -> None:
    """A host that has read an event, and comes second, is told that another one has it."""
    ham, sto = both
    add_event(ham)
    event = hooks.next_event(ham.conn, "chat", NOW, last_retry_s=60)
    assert event is not None
    assert hook_outbox.take(sto, NOW, hook="chat") is not None
    assert not hooks.lease(ham.conn, event, NOW, due_at=NOW)


def test_a_hook_that_a_host_lacks_is_left_to_the_others(both: tuple[PostgresqlStore, PostgresqlStore]) -> None:
    """Only its own events are given up by a host that has no hook of this name."""
    ham, sto = both
    add_event(ham)
    assert [0, 1] == [hooks.give_up_unknown(store.conn, [], NOW) for store in (sto, ham)]


def test_names_in_the_inbox_of_another_host_are_not_missed(both: tuple[PostgresqlStore, PostgresqlStore]) -> None:
    """Each host knows the names that are never imported in its own inboxes."""
    ham, sto = both
    for store in both:
        strays.put(store.conn, "acme", [strays.Stray(path=b"a.txt", seen_at=NOW)])
    strays.drop(ham.conn, "acme", [b"a.txt"])
    assert [{}, {b"a.txt"}] == [strays.known(ham.conn, "acme"), strays.known(sto.conn, "acme").keys()]
    assert [set(), {"acme"}] == [strays.clients(store.conn) for store in both]


def test_only_its_own_files_are_a_host_s_to_archive(both: tuple[PostgresqlStore, PostgresqlStore]) -> None:
    """A restart asks for the claims of its own host; lists have those of all, with the host."""
    ham, sto = both
    with ham.transaction():
        ledger.add_action(ham.conn, 1, client="acme", kind="undo", title="undo of 1", users=2)
        ham.conn.execute("UPDATE imports SET archived_at = NULL")
    assert [1, 0] == [len(ledger.unarchived(store.conn, "acme")) for store in both]
    assert ["ham"] == [each.host for each in queries.imports(sto.conn, client=None, since=None, failed=False, limit=9)]


def test_hosts_are_known_by_when_they_were_last_there(both: tuple[PostgresqlStore, PostgresqlStore]) -> None:
    """Each host leaves the time, and all see it."""
    for number, store in enumerate(both):
        hosts.note(store.conn, NOW)
        hosts.note(store.conn, NOW + number * MINUTE)
    assert [("ham", NOW), ("sto", NOW + MINUTE)] == [
        (each.host, each.last_seen) for each in queries.hosts(both[0].conn)
    ]


def test_a_decision_on_another_host_is_found(both: tuple[PostgresqlStore, PostgresqlStore]) -> None:
    """A file on hold is decided on anywhere, and the host that has it finds out; no other one does."""
    ham, sto = both
    with ham.transaction():
        ledger.add_action(ham.conn, 1, client="acme", kind="file", title="users.csv", users=0)
        ham.conn.execute("UPDATE imports SET claim_id = 'held', outcome = 'on_hold'")
        held_files.add(ham.conn, held())
    assert [] == held_files.decided_here(ham.conn)
    assert 1 == held_files.decide(sto.conn, ["held"], "approved", "operator", NOW)
    assert [["held"], []] == [held_files.decided_here(store.conn) for store in both]


def held() -> OnHold:
    return OnHold(
        claim_id="held",
        import_id=1,
        client="acme",
        feed="",
        file="users.csv",
        is_correction=False,
        code="CODE",
        tripped=(),
        changes=(),
        held_at=NOW,
        approval_days=3,
        is_for_client=False,
        was_approved=False,
    )


def test_each_host_removes_what_is_old_of_its_own(both: tuple[PostgresqlStore, PostgresqlStore]) -> None:
    """What one host has removed is no reason for another one to leave its own; and no host removes another's."""
    ham, _ = both
    with ham.transaction():
        ledger.add_action(ham.conn, 1, client="acme", kind="undo", title="undo of 1", users=2)
        ham.conn.execute("UPDATE imports SET purged_at = NULL")
    far = NOW + timedelta(days=9999)
    assert [True, False] == [retention.due(store.conn, "acme", far) is not None for store in both]
    assert retention.clock(ham, far) is not None
    retention.note_pass(ham, far)
    assert [True, False] == [retention.clock(store, far) is None for store in both]
