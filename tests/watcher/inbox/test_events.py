from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent

from tests.conftest import Needs
from tests.lab import wait_until
from watcher.inbox.events import CANARY_INTERVAL_S, CANARY_PATIENCE_S, MAX_QUEUED_NAMES, EventQueue, InboxEvent, Watch

NOBODY = 65534
NOW = 1000.0  # the canary's clock is ours to turn


def about(name: bytes) -> bytes | None:
    """Return the upload that a name is, or that a companion speaks of."""
    upload = name.removesuffix(b".done")
    return upload if upload.endswith(b".csv") else None


@pytest.fixture
def events() -> EventQueue:
    return EventQueue()


@pytest.fixture
def watch(events: EventQueue, tmp_path: Path) -> Iterator[Watch]:
    """Yield a watch of no inbox yet."""
    watch = Watch(events, about, str(tmp_path / "canary"))
    watch.start(NOW)
    yield watch
    watch.close()


@pytest.fixture
def inbox(watch: Watch, tmp_path: Path) -> Path:
    """Return the folder of the client acme, watched."""
    return followed(watch, tmp_path / "acme")


def followed(watch: Watch, folder: Path, client: str = "acme") -> Path:
    folder.mkdir(exist_ok=True)
    watch.follow(client, str(folder), folder_identity(folder))
    return folder


def folder_identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def heard(events: EventQueue, name: bytes, *, closed: bool) -> set[bytes]:
    """Wait for an event of this name, with `closed` for its close; return the names of all events meanwhile."""
    names: dict[bytes, bool] = {}

    def check() -> bool:
        names.update({event.name: names.get(event.name, False) or event.closed for event in events.take()})
        return name in names and (names[name] or not closed)

    wait_until(check, f"a hint of {name!r}")
    return set(names)


def doubted(events: EventQueue) -> tuple[bool, set[str]]:
    """Wait for a doubt and return it."""
    requests = (False, set[str]())

    def check() -> bool:
        nonlocal requests
        requests = events.take_sweep_requests()
        return requests != (False, set())

    wait_until(check, "a doubt")
    return requests


def beat(watch: Watch, now: float) -> float:
    """Let one canary be sent and judged; return the time after it."""
    watch.tend(watch.next_at)
    sent_at = watch.next_at - CANARY_PATIENCE_S
    assert sent_at >= now
    wait_until(watch._canary.arrived.is_set, "the canary")
    watch.tend(watch.next_at)
    return watch.next_at


# Hearing


def test_written_file_is_heard_of(events: EventQueue, inbox: Path) -> None:
    """A file that is written in place is heard of when it is closed."""
    (inbox / "users.csv").write_text("a")
    assert heard(events, b"users.csv", closed=True)


def test_file_moved_in_is_heard_of(events: EventQueue, inbox: Path, tmp_path: Path) -> None:
    """A file that is renamed into the inbox from outside is heard of."""
    (tmp_path / "users.csv").touch()
    (tmp_path / "users.csv").rename(inbox / "users.csv")
    assert heard(events, b"users.csv", closed=False)


def test_file_renamed_inside_is_heard_of(events: EventQueue, inbox: Path) -> None:
    """A temporary name that becomes the final one is heard of, by rename as by link and unlink."""
    (inbox / "a.filepart").touch()
    (inbox / "a.filepart").rename(inbox / "a.csv")
    assert heard(events, b"a.csv", closed=False)
    (inbox / "b.filepart").touch()
    os.link(inbox / "b.filepart", inbox / "b.csv")
    (inbox / "b.filepart").unlink()
    assert heard(events, b"b.csv", closed=False)


def test_names_are_bytes(events: EventQueue, inbox: Path) -> None:
    """A name that is no UTF-8 arrives as it is."""
    os.close(os.open(os.fsencode(inbox) + b"/\xff\n.csv", os.O_CREAT | os.O_WRONLY))
    assert heard(events, b"\xff\n.csv", closed=True)


def test_what_is_no_upload_is_not_heard_of(events: EventQueue, inbox: Path) -> None:
    """Names that are no uploads give no hints, nor does reading."""
    (inbox / "users.txt").touch()
    (inbox / "users.csv").touch()
    heard(events, b"users.csv", closed=True)
    (inbox / "users.csv").read_text()
    (inbox / "last.csv").touch()
    assert heard(events, b"last.csv", closed=True)
    assert events.take() == []


def test_claim_does_not_delay_the_next_upload(events: EventQueue, inbox: Path, tmp_path: Path) -> None:
    """A file moved out of the inbox holds up nothing behind it: less than the half second the library would wait."""
    took_s = [math.inf]
    for number in range(100):  # a busy machine may delay some
        if min(took_s) < 0.4:
            break
        upload = inbox / f"{number}.csv"
        upload.touch()
        heard(events, b"%d.csv" % number, closed=True)
        upload.rename(tmp_path / "claimed")

        started = time.monotonic()
        (inbox / f"next{number}.csv").touch()
        heard(events, b"next%d.csv" % number, closed=True)
        took_s.append(time.monotonic() - started)

    assert min(took_s) < 0.4


@pytest.mark.xdist_group("queue of events")
def test_churn_in_folders_of_a_client_blinds_nobody(
    events: EventQueue, watch: Watch, inbox: Path, tmp_path: Path
) -> None:
    """Making, renaming and removing folders in one inbox leaves the hearing of another intact."""
    beta = followed(watch, tmp_path / "beta", "beta")
    for _ in range(300):
        (inbox / "one").mkdir()
        (inbox / "one").rename(inbox / "two")
        (inbox / "two").rmdir()

    (beta / "users.csv").touch()

    assert heard(events, b"users.csv", closed=True)


# Hints


def test_name_counts_once(events: EventQueue) -> None:
    """Many events of one name are one hint, in the order of the first, that knows of a close."""
    events.add("acme", b"1.csv", closed=False)
    events.add("acme", b"2.csv", closed=False)
    events.add("acme", b"1.csv", closed=True)
    events.add("acme", b"1.csv", closed=False)

    assert events.take() == [InboxEvent("acme", b"1.csv", closed=True), InboxEvent("acme", b"2.csv", closed=False)]
    assert events.take() == []


def test_how_long_a_name_is_quiet(events: EventQueue) -> None:
    """Of all clients but those that do not count the last event of the name that is quiet longest is known."""
    began = time.monotonic()
    for client, name in (("acme", b"1.csv"), ("beta", b"2.csv"), ("beta", b"3.csv"), ("beta", b"2.csv")):
        events.add(client, name, closed=True)
    first, second, third = [event.at for event in events.take()]
    assert began <= first < third < second

    assert math.inf == events.quiet_since(())
    events.add("acme", b"1.csv", closed=True)
    (quiet,) = [event.at for event in events.take()]
    events.add("acme", b"1.csv", closed=True)
    assert quiet < events.quiet_since({"beta"}) < time.monotonic()
    assert math.inf == events.quiet_since({"acme"})


def test_too_many_names_become_a_sweep(events: EventQueue) -> None:
    """A flood of names is bounded: the client that sends it is swept instead."""
    for number in range(MAX_QUEUED_NAMES + 1):
        events.add("acme", b"%d.csv" % number, closed=False)

    assert len(events.take()) == MAX_QUEUED_NAMES
    assert events.take_sweep_requests() == (False, {"acme"})


def test_wait_ends_with_a_hint(events: EventQueue) -> None:
    """Whoever waits is woken by a hint, and not by one that was there before and taken."""
    events.add("acme", b"1.csv", closed=False)
    events.wait(60)
    later = threading.Timer(0.05, events.request_sweep)
    later.start()
    started = time.monotonic()
    events.wait(60)
    later.join()

    assert time.monotonic() - started < 30


# Supervision


def test_canary_is_heard(events: EventQueue, watch: Watch) -> None:
    """While events arrive, the canary is sent every 30 seconds and nothing else happens."""
    first = beat(watch, NOW)
    second = beat(watch, first)

    assert second - first == CANARY_INTERVAL_S
    assert events.take_sweep_requests() == (False, set())


def test_dead_reader_is_replaced(events: EventQueue, watch: Watch, inbox: Path) -> None:
    """When the library's reader is dead the watching is rebuilt within one canary, and everything is swept."""
    reader = watch._reader
    assert reader is not None
    reader.stop()
    reader.join()

    watch.tend(watch.next_at)
    watch.tend(watch.next_at)

    assert events.take_sweep_requests()[0]
    (inbox / "users.csv").touch()
    assert heard(events, b"users.csv", closed=True)
    beat(watch, NOW)


def test_overflow_asks_for_a_sweep(events: EventQueue, watch: Watch) -> None:
    """When the kernel's queue overflowed everything is swept."""
    reader = watch._reader
    assert reader is not None
    reader.handle_event(InotifyEvent(-1, InotifyConstants.IN_Q_OVERFLOW, 0, b""))  # type: ignore[arg-type]

    assert events.take_sweep_requests() == (True, set())


def test_removed_inbox_is_noticed(events: EventQueue, inbox: Path) -> None:
    """An inbox that is removed is doubted at once."""
    inbox.rmdir()
    assert doubted(events) == (False, {"acme"})


def test_recreated_inbox_is_watched_again(events: EventQueue, watch: Watch, inbox: Path) -> None:
    """An inbox that was removed and made again is doubted by the next check, and heard of once it is followed."""
    inbox.rmdir()
    doubted(events)
    watch.follow("acme", str(inbox), None)
    inbox.mkdir()
    watch.tend(watch.next_at)
    assert events.take_sweep_requests() == (False, {"acme"})

    followed(watch, inbox)

    (inbox / "users.csv").touch()
    assert heard(events, b"users.csv", closed=True)
    beat(watch, NOW)
    assert events.take_sweep_requests() == (False, set())


def test_replaced_inbox_is_watched(events: EventQueue, watch: Watch, inbox: Path, tmp_path: Path) -> None:
    """When another folder takes the place of an inbox, that one is heard of, and the old one no more."""
    inbox.rename(tmp_path / "old")
    inbox.mkdir()
    watch.tend(watch.next_at)
    assert events.take_sweep_requests() == (False, {"acme"})
    followed(watch, inbox)

    (tmp_path / "old" / "old.csv").touch()
    (inbox / "users.csv").touch()

    assert heard(events, b"users.csv", closed=True)
    assert events.take() == []


def test_inbox_at_another_path_is_watched(events: EventQueue, watch: Watch, inbox: Path, tmp_path: Path) -> None:
    """After a client has got another inbox that one is heard, also after a rebuild, and the old one is not."""
    new = followed(watch, tmp_path / "new")
    for stage in ("followed", "rebuilt"):
        (inbox / "old.csv").write_text(stage)
        (new / f"{stage}.csv").write_text(stage)
        name = f"{stage}.csv".encode()
        assert heard(events, name, closed=True) == {name}
        watch._canary.expect_failure()
        watch.tend(NOW)


def test_refused_watch_is_tried_again(events: EventQueue, watch: Watch, tmp_path: Path) -> None:
    """An inbox that cannot be watched harms no other, and is watched with the first sweep that succeeds."""
    folder = tmp_path / "acme"
    watch.follow("acme", str(folder), (0, 0))
    beta = followed(watch, tmp_path / "beta", "beta")
    (beta / "1.csv").touch()
    assert heard(events, b"1.csv", closed=True)

    followed(watch, folder)

    (folder / "2.csv").touch()
    assert heard(events, b"2.csv", closed=True)


def test_watching_that_cannot_start_is_tried_again(
    events: EventQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without inotify instances the start succeeds, inboxes are swept, and the watching starts once it can."""

    def refuse() -> None:
        raise OSError(24, "inotify instance limit reached")

    monkeypatch.setattr("watcher.inbox.events.InotifyFD", refuse)
    watch = Watch(events, about, str(tmp_path / "canary"))
    watch.start(NOW)
    inbox = followed(watch, tmp_path / "acme")
    monkeypatch.undo()

    watch.tend(watch.next_at)

    assert events.take_sweep_requests() == (True, set())
    (inbox / "users.csv").touch()
    assert heard(events, b"users.csv", closed=True)
    watch.close()


def test_canary_on_a_disk_that_refuses_proves_nothing(events: EventQueue, watch: Watch, tmp_path: Path) -> None:
    """A canary that cannot be written is no reason to rebuild."""
    (tmp_path / "canary" / "canary").mkdir()
    for _ in range(3):
        watch.tend(watch.next_at)

    assert events.take_sweep_requests() == (False, set())


@pytest.mark.parametrize("kind", ["link", "FIFO"])
def test_canary_in_whose_place_is_something_else(watch: Watch, tmp_path: Path, kind: str) -> None:
    """What is in the canary's place is neither followed nor waited for."""
    if kind == "link":
        (tmp_path / "canary" / "canary").symlink_to(tmp_path / "made")
    else:
        os.mkfifo(tmp_path / "canary" / "canary")
    watch.tend(watch.next_at)
    assert not (tmp_path / "made").exists()


def test_close_leaves_nothing(events: EventQueue, tmp_path: Path) -> None:
    """After the end nothing is heard, and no handle is left open."""
    handles = len(os.listdir("/proc/self/fd"))
    watch = Watch(events, about, str(tmp_path / "canary"))
    watch.start(NOW)
    inbox = followed(watch, tmp_path / "acme")
    watch.close()

    (inbox / "users.csv").touch()

    assert events.take() == []
    assert len(os.listdir("/proc/self/fd")) == handles


def test_one_thread_whatever_the_number_of_inboxes(watch: Watch, events: EventQueue, tmp_path: Path) -> None:
    """A hundred inboxes cost no thread more than one."""
    before = threading.active_count()
    inboxes = [followed(watch, tmp_path / f"client{number}", f"client{number}") for number in range(100)]
    assert threading.active_count() == before

    for number, inbox in enumerate(inboxes):
        (inbox / f"{number}.csv").touch()

    assert heard(events, b"99.csv", closed=True)
    assert watch.is_watching("client0")


def test_folder_that_may_not_be_read(watch: Watch, tmp_path: Path, needs: Needs) -> None:
    """An inbox that the service may not read is known as not watched; the library would take it for watched."""
    needs(root=True)
    folder = tmp_path / "acme"
    folder.mkdir(mode=0o700)
    os.seteuid(NOBODY)
    try:
        watch.follow("acme", str(folder), (0, 0))
    finally:
        os.seteuid(0)
    assert not watch.is_watching("acme")

    followed(watch, folder)
    assert watch.is_watching("acme")


def test_inbox_made_anew_with_the_same_inode(events: EventQueue, watch: Watch, inbox: Path) -> None:
    """An inbox that is removed and made again is watched again though the file system gives it the old inode."""
    identity = folder_identity(inbox)
    inbox.rmdir()
    wait_until(lambda: not watch.is_watching("acme"), "the loss to be noticed")
    inbox.mkdir()

    watch.follow("acme", str(inbox), identity)

    assert watch.is_watching("acme")
    (inbox / "users.csv").touch()
    assert heard(events, b"users.csv", closed=True)


def test_companion_speaks_of_its_upload(events: EventQueue, inbox: Path) -> None:
    """A companion file is a hint of the upload it belongs to, but its close is not the upload's."""
    (inbox / "users.csv.done").touch()
    wait_until(
        lambda: (event := events.take()) and event == [InboxEvent("acme", b"users.csv", closed=False)], "the hint"
    )


def test_folder_made_in_the_inbox_asks_for_a_sweep(events: EventQueue, inbox: Path) -> None:
    """A folder that a client makes is looked into by a sweep."""
    (inbox / "more").mkdir()
    assert doubted(events) == (False, {"acme"})
