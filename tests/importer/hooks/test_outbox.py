"""Events for webhooks: each is queued once for each hook that wants it, tried again, given up, forgotten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from importer.hooks import events, names, outbox
from importer.hooks.post import Attempt
from importer.settings import HookSettings
from importer.store import retention
from importer.store.database import Store
from importer.store.tables import hooks as tables
from importer.store.tables.hooks import HookCounts, HookEvent
from tests import REPOSITORY

NOW = datetime(2026, 11, 22, 7, 42, 5, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def hook(name: str, *patterns: str) -> HookSettings:
    return HookSettings(name=name, url="https://example.org", events=patterns)


def add(store: Store, *hooks: HookSettings, event: str = "mail.dead", at: datetime = NOW) -> None:
    with store.transaction():
        events.add(store.conn, hooks, event, at, {"client": "acme"})


def taken(store: Store, now: datetime, name: str = "chat") -> HookEvent:
    event = outbox.take(store, now, hook=name)
    assert event is not None
    return event


def fail(store: Store, event: HookEvent, now: datetime, **how: bool) -> None:
    outbox.record(store, Attempt(event=event, reason="HTTP 500", **how), now)


def test_each_hook_gets_what_it_wants_under_one_id(store: Store) -> None:
    """Patterns decide; what no hook wants is not queued."""
    chat, tickets = hook("chat", "*"), hook("tickets", "file.*", "hold.placed")
    add(store, chat, tickets, event="mail.dead")
    add(store, chat, tickets, event="file.refused")
    add(store, tickets, event="mail.dead")
    rows = store.conn.execute("SELECT hook, event FROM hook_events ORDER BY id").fetchall()
    assert [("chat", "mail.dead"), ("chat", "file.refused"), ("tickets", "file.refused")] == rows
    assert taken(store, NOW, "tickets").event_id != taken(store, NOW, "chat").event_id
    assert taken(store, NOW, "chat").event_id in [
        each.event_id for each in tables.events(store.conn, hook="tickets", states=["waiting"], limit=9)
    ]


def test_what_is_taken_is_not_due_again_until_its_back_off_ends(store: Store) -> None:
    """A process that dies with an event in hand costs one back-off, and the same body is sent again."""
    add(store, hook("chat", "*"))
    first = taken(store, NOW)
    assert outbox.take(store, NOW, hook="chat") is None
    again = taken(store, NOW + MINUTE)
    assert (first.event_id, first.body, 2) == (again.event_id, again.body, again.attempts)


def test_one_that_fails_delays_no_other(store: Store) -> None:
    """The next event of the same hook is tried meanwhile."""
    add(store, hook("chat", "*"))
    add(store, hook("chat", "*"))
    first = taken(store, NOW)
    fail(store, first, NOW)
    second = taken(store, NOW)
    outbox.record(store, Attempt(event=second), NOW)
    assert outbox.take(store, NOW, hook="chat") is None
    assert first.id == taken(store, NOW + MINUTE).id
    assert {"chat": HookCounts(sent=1, failed=1, waiting=1, waiting_since=NOW)} == tables.counts(store.conn)
    assert {"chat": {"HTTP 500": 1}} == tables.failing(store.conn)


def test_what_is_refused_for_good_is_tried_every_hour(store: Store) -> None:
    """It would hardly be taken a minute later."""
    add(store, hook("chat", "*"))
    fail(store, taken(store, NOW), NOW, is_permanent=True)
    assert outbox.take(store, NOW + 59 * MINUTE, hook="chat") is None
    assert 2 == taken(store, NOW + HOUR).attempts


def test_an_event_is_given_up_after_a_week(store: Store) -> None:
    """It is dead then, can be tried again by a person, or dropped, and is counted once."""
    add(store, hook("chat", "*"))
    tries = 0
    while event := outbox.take(store, NOW + tries * 2 * HOUR, hook="chat"):
        fail(store, event, NOW + tries * 2 * HOUR)
        tries += 1
    assert 7 * 12 == tries - 1
    counts = {"chat": HookCounts(failed=tries, given_up=1, dead=1)}
    assert counts == tables.counts(store.conn)
    (dead,) = tables.events(store.conn, hook=None, states=["dead"], limit=9)
    assert tables.retry(store.conn, dead.id, NOW + 30 * DAY)
    assert dead.id == taken(store, NOW + 30 * DAY).id
    assert tables.drop(store.conn, dead.id, NOW + 30 * DAY)
    assert not tables.retry(store.conn, dead.id, NOW + 30 * DAY)


def test_one_that_is_gone_is_given_up_at_once(store: Store) -> None:
    """A receiver that answers 410 wants no event any more."""
    add(store, hook("chat", "*"))
    fail(store, taken(store, NOW), NOW, is_gone=True)
    assert ["dead"] == [each.state for each in tables.events(store.conn, hook=None, states=["dead"], limit=9)]


def test_an_answer_does_not_wake_what_was_dropped(store: Store) -> None:
    """One that was dropped while it was under way stays dropped when it fails, and counts as sent when it is taken."""
    add(store, hook("chat", "*"))
    event = taken(store, NOW)
    tables.drop(store.conn, event.id, NOW)
    fail(store, event, NOW)
    assert outbox.take(store, NOW + DAY, hook="chat") is None
    outbox.record(store, Attempt(event=event), NOW)
    assert ["sent"] == [each.state for each in tables.events(store.conn, hook=None, states=["sent"], limit=9)]


def test_what_waits_for_a_hook_that_is_gone_is_given_up(store: Store) -> None:
    """It is not kept for ever, and can be retried once the hook is back."""
    add(store, hook("chat", "*"), hook("old", "*"))
    assert 1 == tables.give_up_unknown(store.conn, ["chat"], NOW)
    assert 0 == tables.give_up_unknown(store.conn, ["chat"], NOW)
    (dead,) = tables.events(store.conn, hook="old", states=["dead"], limit=9)
    assert "no hook of this name is configured" == dead.last_error


def test_a_clock_that_was_ahead_stops_nothing(store: Store) -> None:
    """A time that no back-off can lead to is ignored."""
    add(store, hook("chat", "*"))
    taken(store, NOW + 365 * DAY)
    assert 2 == taken(store, NOW).attempts


def test_what_has_ended_is_forgotten(store: Store) -> None:
    """Sent ones after 14 days, when another one is sent; what was given up when the retention period ends."""
    for number, age in enumerate((20 * DAY, 10 * DAY, timedelta())):
        add(store, hook("chat", "*"))
        outbox.record(store, Attempt(event=taken(store, NOW)), NOW - age)
        assert min(number + 1, 2) == len(tables.events(store.conn, hook=None, states=["sent"], limit=9))
    add(store, hook("chat", "*"))
    fail(store, taken(store, NOW), NOW, is_gone=True)
    assert 3 == retention.forget_hook_events(store, NOW + MINUTE)
    assert {"chat": HookCounts(sent=3, failed=1, given_up=1)} == tables.counts(store.conn)


def test_the_names_are_those_of_the_log_and_of_the_document() -> None:
    """docs/events.md and docs/webhooks.md list each event that a hook can have; none is about a hook."""
    every = {*names.OF_FILES, *names.OF_THE_LOG}
    for document in ("events.md", "webhooks.md"):
        text = (REPOSITORY / "docs" / document).read_text()
        assert [] == [name for name in sorted(every) if f"`{name}`" not in text]
    assert [] == [name for name in every if name.startswith("hook.")]
    assert names.of_the_log([hook("chat", "*.restored")]) == {name for name in every if name.endswith("restored")}
