"""Each stray is told once: in the log, in the status, and to the client by mail, whatever the client does."""

from __future__ import annotations

import contextlib
import email
import email.policy
import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import msgspec
import pytest
from structlog.testing import capture_logs

from importer.mail import outbox
from importer.settings import ClientSettings, MailSettings
from importer.store.database import Store
from importer.store.errors import StoreError, StoreFull
from watcher.health.alerts import Alerts
from watcher.health.trouble import Troubles
from watcher.inbox.settle import Names
from watcher.settings import Config, IntakeSettings
from watcher.strays.report import MAX_MAILS_A_DAY, MAX_NAMED, Strays
from watcher.strays.walk import MAX_LISTED, Listing

AT = datetime(2026, 11, 22, 7, 42, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
GRACE = timedelta(seconds=900)
ACME = ClientSettings(name="acme", inbox="/in", failed_import_email=("it@acme.example",))
MAIL = MailSettings(reply_to="imports@rosterd.example", operator=("ops@rosterd.example",))


class World:
    """Strays of one client in a database, with what they led to."""

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self._open = open_store
        self.config = Config(mail=MAIL, clients=(ACME,))
        self.logged: list[str] = []
        self.start()

    def start(self) -> None:
        """Start, or start again after `stop`."""
        self.store = self._open()
        self.strays = Strays(self.config, self.store, Troubles(Alerts(MAIL), watching=True))

    def stop(self) -> None:
        """Forget all that is in memory."""
        self.store.close()

    def use(self, **changes: object) -> None:
        """Reload with another configuration."""
        self.config = msgspec.structs.replace(self.config, **changes)
        self.strays.use(self.config)

    def sweep(self, at: datetime, *paths: str | bytes, is_whole: bool = True, client: str = "acme") -> None:
        """Let a sweep find these strays."""
        outer, inner = Listing(), Listing()
        for path in paths:
            raw = path if isinstance(path, bytes) else path.encode()
            (inner if b"/" in raw else outer).add(raw)
        outer.is_whole, inner.is_whole = outer.is_whole and is_whole, inner.is_whole and is_whole
        with capture_logs() as logged:
            self.strays.note(client, (outer, inner), Names("*.csv"), at)
        self.logged += [entry["file"] for entry in logged if entry["event"] == "file.ignored"]

    @property
    def mails(self) -> list[EmailMessage]:
        """Return the mails in the outbox."""
        rows = self.store.conn.execute("SELECT body FROM outbox ORDER BY id").fetchall()
        return [email.message_from_bytes(body, policy=email.policy.default) for (body,) in rows]

    @property
    def texts(self) -> list[str]:
        """Return their texts, each on one line."""
        return [" ".join(str(mail.get_content()).split()) for mail in self.mails]

    def rows(self) -> int:
        """Return how many names are remembered."""
        return int(self.store.conn.execute("SELECT count(*) FROM strays").fetchone()[0])


@pytest.fixture
def world(open_store: Callable[[], Store]) -> Iterator[World]:
    """Yield a world."""
    made = World(open_store)
    yield made
    made.stop()


def test_a_name_is_told_once(world: World) -> None:
    """It is logged and in the status at once, mailed after the grace, and never again while it is there."""
    world.sweep(AT, "users.csv.txt", "exports/users.csv")
    assert (["users.csv.txt", "exports/users.csv"], []) == (world.logged, world.mails)
    assert 2 == world.strays.count("acme")
    assert {("users.csv.txt", "unknown name"), ("exports/users.csv", "in a folder")} == {
        (each.file, each.reason) for each in world.strays.listed("acme")
    }
    world.sweep(AT + GRACE - timedelta(seconds=1), "users.csv.txt", "exports/users.csv")
    assert [] == world.mails
    for hours in range(60):
        world.sweep(AT + GRACE + hours * HOUR, "users.csv.txt", "exports/users.csv")
    [mail], [text] = world.mails, world.texts
    assert "it@acme.example" == mail["To"]
    assert "2 of your files were not imported" == mail["Subject"]
    assert '- "users.csv.txt": The name must end in .csv. Rename the file to "users.csv".' in text
    assert '- "exports/users.csv": We do not look into folders.' in text
    assert 2 == len(world.logged)


def test_once_means_across_a_restart(world: World) -> None:
    """What was told is in the database."""
    world.sweep(AT, "users.csv.txt")
    for hours in range(1, 4):
        world.stop()
        world.start()
        world.sweep(AT + hours * HOUR, "users.csv.txt")
        assert 1 == world.strays.count("acme")
    assert (1, ["users.csv.txt"]) == (len(world.mails), world.logged)


def test_what_goes_in_time_is_not_mailed(world: World) -> None:
    """A client who renames the file within the grace gets no mail; the grace begins anew with a file of that name."""
    world.sweep(AT, "users.csv.txt")
    world.sweep(AT + 5 * MINUTE)
    assert 0 == world.strays.count("acme")
    world.sweep(AT + 10 * MINUTE, "users.csv.txt")
    world.sweep(AT + 20 * MINUTE, "users.csv.txt")
    assert [] == world.mails
    world.sweep(AT + 25 * MINUTE, "users.csv.txt")
    assert (1, ["users.csv.txt"]) == (len(world.mails), world.logged)


def test_a_name_that_is_made_again(world: World) -> None:
    """Within a day it is the same name; after it was gone for a day it is told as a new one."""
    world.sweep(AT, "a.txt")
    world.sweep(AT + HOUR, "a.txt")
    world.sweep(AT + 2 * HOUR)
    world.sweep(AT + 20 * HOUR, "a.txt")
    world.sweep(AT + 21 * HOUR, "a.txt")
    assert 1 == len(world.mails)
    world.sweep(AT + 22 * HOUR)
    world.sweep(AT + 47 * HOUR)
    assert 0 == world.rows()
    world.sweep(AT + 48 * HOUR, "a.txt")
    world.sweep(AT + 49 * HOUR, "a.txt")
    assert (2, ["a.txt", "a.txt"]) == (len(world.mails), world.logged)


def test_a_sweep_that_did_not_see_all(world: World) -> None:
    """A name that was not looked at is not gone."""
    world.sweep(AT, "a.txt")
    world.sweep(AT + MINUTE, is_whole=False)
    world.sweep(AT + GRACE, "a.txt")
    assert 1 == len(world.mails)


def test_how_often_a_client_is_mailed(world: World) -> None:
    """New names at all times: one mail an hour at most, five a day, and none of them is forgotten."""
    names: list[str] = []
    for minutes in range(0, 24 * 60, 20):
        names.append(f"{minutes}.txt")
        world.sweep(AT + minutes * MINUTE, *names)
    assert MAX_MAILS_A_DAY == len(world.mails)
    world.sweep(AT + DAY + HOUR, *names)
    assert MAX_MAILS_A_DAY + 1 == len(world.mails)
    assert "There are 59 files" in world.texts[-1]
    assert [1, 3, 3, 3, 3, MAX_NAMED] == [text.count("The name must end") for text in world.texts]


def test_what_comes_a_little_later_is_in_the_same_mail(world: World) -> None:
    """Files of one upload that two sweeps found are told together; one that has just come is not told yet."""
    world.sweep(AT, "a.txt")
    world.sweep(AT + 5 * MINUTE, "a.txt", "b.txt", "exports/c.csv")
    world.sweep(AT + 15 * MINUTE, "a.txt", "b.txt", "exports/c.csv", "d.txt")
    [text] = world.texts
    assert [True, True, True, False] == [name in text for name in ("a.txt", "b.txt", "exports/c.csv", "d.txt")]


def test_how_many_names_a_mail_has(world: World) -> None:
    """A mail names so many, those of the inbox itself first, and counts the others."""
    inner = [f"old/{number}.csv" for number in range(500)]
    world.sweep(AT, *inner, "users.csv.txt")
    world.sweep(AT + GRACE, *inner, "users.csv.txt")
    [text] = world.texts
    assert '- "users.csv.txt":' in text
    assert MAX_NAMED - 1 == text.count("We do not look into folders")
    assert f"There are {501 - MAX_NAMED} more such files." in text
    world.sweep(AT + DAY, *inner, "users.csv.txt")
    assert 1 == len(world.mails)


@pytest.mark.parametrize("open_store", ["sqlite"], indirect=True)  # a minute otherwise
def test_names_that_change_all_the_time(world: World) -> None:
    """However many names a client makes up: what is remembered, logged and mailed of them is bounded."""
    number = itertools.count()
    for turn in range(40):
        fresh = [f"{next(number)}.x" for _ in range(1_200)]
        world.sweep(AT + turn * 20 * MINUTE, *fresh)
        assert world.rows() <= 2 * MAX_LISTED
        assert 1_200 == world.strays.count("acme")
    assert 40 * 100 == len(world.logged)
    assert [] == world.mails


@pytest.mark.parametrize("open_store", ["sqlite"], indirect=True)  # a minute otherwise
def test_names_that_stay_just_long_enough(world: World) -> None:
    """Names that change after each mail: the mails of a day have a limit all the same, and the table, too."""
    for turn in range(72):
        for minutes in (0, 19):
            world.sweep(AT + (turn * 20 + minutes) * MINUTE, *(f"{turn}.{n}" for n in range(1_000)))
        assert world.rows() <= 2 * MAX_LISTED
    assert len(world.mails) <= MAX_MAILS_A_DAY


def test_old_uploads_in_folders_hide_nothing(world: World) -> None:
    """Thousands of files in folders leave room for a name in the inbox itself."""
    inner = [f"old/{number}.csv" for number in range(3_000)]
    world.sweep(AT, *inner)
    world.sweep(AT + GRACE, *inner)
    world.sweep(AT + 2 * HOUR, *inner, "users.csv.txt")
    world.sweep(AT + 3 * HOUR, *inner, "users.csv.txt")
    assert '- "users.csv.txt":' in world.texts[-1]
    assert 2 == len(world.mails)
    assert 3_001 == world.strays.count("acme")


def test_temporary_names_are_not_mailed(world: World) -> None:
    """Old temporary names are logged and in the status: the operator may want to know; programs made them."""
    world.sweep(AT, "users.csv.part", ".DS_Store")
    world.sweep(AT + DAY, "users.csv.part", ".DS_Store")
    assert [] == world.mails
    assert {"temporary name"} == {each.reason for each in world.strays.listed("acme")}


def test_hostile_names(world: World) -> None:
    """Bytes, controls, marks and names of 255 bytes: each is on a line of its own, and breaks no header."""
    names = [b"\xff\xfe.x", "a\r\nBcc: x@y\x1b\u202e.txt".encode(), b"n" * 251 + b".txt", b"{count}%s.txt", b'"', b" "]
    world.sweep(AT, *names)
    world.sweep(AT + GRACE, *names)
    [mail] = world.mails
    text = str(mail.get_content())
    assert mail["Bcc"] is None
    assert all(char.isprintable() or char in "\r\n" for char in text)
    assert len(names) == sum(line.startswith("- ") for line in text.splitlines())
    assert "{count}%s.txt" in text
    world.sweep(AT + DAY, *names)
    assert 1 == len(world.mails)


def test_a_single_hostile_name_in_the_subject(world: World) -> None:
    """The one name is in the subject, safely."""
    world.sweep(AT, b"a\nBcc: x@y.txt")
    world.sweep(AT + GRACE, b"a\nBcc: x@y.txt")
    assert "Your file a\\nBcc: x@y.txt was not imported" == world.mails[0]["Subject"]


def test_both_languages(world: World) -> None:
    """The mail is in all languages of the client."""
    world.use(clients=(msgspec.structs.replace(ACME, language=("en", "fr")),))
    world.sweep(AT, "users.csv.age")
    world.sweep(AT + GRACE, "users.csv.age")
    assert "We cannot decrypt it." in world.texts[0]
    assert "Nous ne pouvons pas le déchiffrer." in world.texts[0]
    assert "Your file users.csv.age was not imported / Votre fichier users.csv.age" in world.mails[0]["Subject"]


def test_a_client_without_an_address(world: World) -> None:
    """Nobody can be mailed: it is in the log and the status; with an address the mail is sent."""
    world.use(clients=(msgspec.structs.replace(ACME, failed_import_email=()),))
    world.sweep(AT, "a.txt")
    world.sweep(AT + HOUR, "a.txt")
    assert ([], ["a.txt"]) == (world.mails, world.logged)
    world.use(clients=(ACME,))
    world.sweep(AT + 2 * HOUR, "a.txt")
    assert 1 == len(world.mails)


def test_a_client_that_is_removed(world: World) -> None:
    """Its names are forgotten at the next sweep of another one."""
    world.sweep(AT, "a.txt")
    beta = msgspec.structs.replace(ACME, name="beta")
    world.use(clients=(beta,), intake=IntakeSettings())
    world.sweep(AT, "b.txt", client="beta")
    assert (1, 0, 1) == (world.rows(), world.strays.count("acme"), world.strays.count("beta"))


def test_a_clock_that_was_wrong(world: World) -> None:
    """A name from a time to come is mailed, and mails from then limit nothing."""
    world.sweep(AT + 400 * DAY, "a.txt")
    world.sweep(AT + 401 * DAY, "a.txt")
    world.sweep(AT, "a.txt", "b.txt")
    world.sweep(AT + GRACE, "a.txt", "b.txt")
    assert 2 == len(world.mails)


@pytest.mark.parametrize("step", ["outbox.add", "commit"])
def test_killed_before_the_commit(world: World, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Mail and names told are one transaction: cut off at any step, the next sweep writes both, once."""
    world.sweep(AT, "a.txt")

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    add = outbox.add

    def add_and_kill(store: Store, letter: object) -> None:
        add(store, letter)  # type: ignore[arg-type]
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(outbox, "add", kill if step == "outbox.add" else add_and_kill)
        with contextlib.suppress(Killed):
            world.sweep(AT + GRACE, "a.txt")
            pytest.fail("it was not killed")
    world.stop()
    world.start()
    assert [] == world.mails
    for hours in range(1, 4):
        world.sweep(AT + hours * HOUR, "a.txt")
    assert (1, ["a.txt"]) == (len(world.mails), world.logged)


@pytest.mark.parametrize("error", [StoreFull("disk full"), StoreError("odd")])
def test_a_database_that_refuses(world: World, monkeypatch: pytest.MonkeyPatch, error: StoreError) -> None:
    """It is reported, the status has the names all the same, and the inbox stays usable."""

    def refuse(*_: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr("importer.store.tables.strays.put", refuse)
        world.sweep(AT, "a.txt")
    assert (1, [], 0) == (world.strays.count("acme"), world.logged, world.rows())
    world.sweep(AT, "a.txt")
    assert (["a.txt"], 1) == (world.logged, world.rows())
