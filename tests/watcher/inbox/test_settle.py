from __future__ import annotations

import math

import pytest

from importer.model import HoldReason
from watcher.inbox.settle import Names, Settling
from watcher.model import Identity, Kind, Look, Sighting, Verdict, Writer
from watcher.settings import IntakeSettings

SETTINGS = IntakeSettings(quiet_s=3.0, unterminated_grace_s=30.0, resume_grace_s=900.0, unprobed_quiet_s=300.0)
NAME = b"users.csv"


def identity(size_bytes: int = 10, *, mtime_ns: int = 0, ctime_ns: int = 0) -> Identity:
    return Identity(1, 2, size_bytes, mtime_ns, ctime_ns)


def look(found: Identity | None = None, *, writer: Writer = Writer.NONE) -> Look:
    return Look(identity=found or identity(), kind=Kind.FILE, writer=writer)


def seen(name: bytes = NAME, client: str = "acme", found: Identity | None = None, *, closed: bool = False) -> Sighting:
    return Sighting(client=client, name=name, identity=found or identity(), closed=closed)


@pytest.fixture
def settling() -> Settling:
    return Settling(SETTINGS)


@pytest.mark.parametrize(
    "name", [b"users.csv", b"USERS.CSV", b"-rf.csv", b"a\nb.csv", b"\xff.csv", b"a b .csv", b"part.csv"]
)
def test_upload_names(name: bytes) -> None:
    """A name that ends in .csv, in any case and with any bytes, is an upload."""
    assert Names("*.csv").accept(name)


@pytest.mark.parametrize(
    "name",
    [
        b".in.users.csv",
        b"._users.csv",
        b"~$users.csv",
        b"#users.csv",
        b"users.csv.filepart",
        b"users.csv~",
        b"users.txt",
        b"csv",
        b"users.csv\n",
        b"desktop.ini",
        b"Thumbs.db",
    ],
)
def test_names_that_are_no_uploads(name: bytes) -> None:
    """Temporary names of clients and editors, and other endings, are no uploads."""
    assert not Names("*.csv").accept(name)


@pytest.mark.parametrize(
    "name",
    [
        b"desktop.ini",
        b"Thumbs.db",
        b"u.csv.filepart",
        b"u.csv.1a2b3c4d.partial",
        b"u.tmp",
        b"u.bak",
        b"u.csv-01234567-89ab-cdef-0123-456789abcdef",
    ],
)
def test_temporary_names_under_a_wide_pattern(name: bytes) -> None:
    """A pattern that matches everything still lets no temporary name in."""
    assert Names("*").accept(b"users")
    assert not Names("*").accept(name)


def test_quiet_file_is_taken(settling: Settling) -> None:
    """A file is taken one quiet period after the last that was heard of it."""
    settling.note(seen(), 0.0)
    settling.note(seen(closed=True), 1.0)

    assert settling.next_due(3.9) is None
    assert settling.next_due_at() == 4.0
    assert settling.next_due(4.0) == ("acme", NAME)
    assert settling.of("acme")[NAME].judge(look(), 4.0) is Verdict.TAKE
    assert settling.of("acme")[NAME].judge_reason(HoldReason.NONE, 4.0) is Verdict.TAKE


def test_change_without_event_begins_a_new_quiet_period(settling: Settling) -> None:
    """A file that changed since it was first seen waits for a whole quiet period more."""
    settling.note(seen(), 0.0)

    assert settling.of("acme")[NAME].judge(look(identity(ctime_ns=1)), 3.0) is Verdict.WAIT
    assert settling.next_due_at() == 6.0
    assert settling.of("acme")[NAME].judge(look(identity(ctime_ns=1)), 6.0) is Verdict.TAKE


def test_sweep_that_sees_nothing_new_does_not_delay(settling: Settling) -> None:
    """Sweeping does not count as a sign of life, a changed file in the listing does."""
    settling.note_listing("acme", {NAME: identity()}, 0.0, whole=True)
    settling.note_listing("acme", {NAME: identity()}, 2.0, whole=True)
    assert settling.next_due_at() == 3.0

    settling.note_listing("acme", {NAME: identity(11)}, 2.5, whole=True)
    assert settling.next_due_at() == 5.5


def test_open_file_is_looked_at_ever_more_rarely(settling: Settling) -> None:
    """While a process has the file open the looks are 1, 2, 4 ... and at most 30 seconds apart."""
    settling.note(seen(), 0.0)
    now, pauses = 3.0, []
    for size_bytes in range(7):
        settling.of("acme")[NAME].judge(look(identity(size_bytes), writer=Writer.OPEN), now)
        pauses.append(settling.next_due_at() - now)
        now = settling.next_due_at()

    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert settling.next_due_at(in_writing=False) == math.inf


def test_close_event_ends_the_back_off(settling: Settling) -> None:
    """A close event makes a file due one quiet period later, however long the back-off had become."""
    settling.note(seen(), 0.0)
    for now in (3.0, 4.0, 6.0, 10.0, 18.0):
        settling.of("acme")[NAME].judge(look(writer=Writer.OPEN), now)
    settling.note(seen(closed=True), 20.0)

    assert settling.next_due_at() == 23.0
    assert settling.of("acme")[NAME].judge(look(), 23.0) is Verdict.TAKE


def test_file_closed_without_event_still_gets_its_quiet_period(settling: Settling) -> None:
    """A file that changed while it was open and whose close was missed is not taken before it was quiet."""
    settling.note(seen(), 0.0)
    settling.of("acme")[NAME].judge(look(identity(11), writer=Writer.OPEN), 3.0)

    assert settling.of("acme")[NAME].judge(look(identity(11)), 4.0) is Verdict.TAKE
    assert settling.of("acme")[NAME].judge_reason(HoldReason.NONE, 4.0) is Verdict.WAIT
    assert settling.next_due_at() == 6.0


def test_unknown_writer(settling: Settling) -> None:
    """Where the system does not tell who writes, a close event is believed, and otherwise only a long silence."""
    settling.note(seen(b"heard.csv", closed=True), 0.0)
    settling.note(seen(b"swept.csv"), 0.0)
    unknown = look(writer=Writer.UNKNOWN)

    assert settling.of("acme")[b"heard.csv"].judge(unknown, 3.0) is Verdict.TAKE
    assert settling.of("acme")[b"swept.csv"].judge(unknown, 3.0) is Verdict.WAIT
    assert settling.of("acme")[b"swept.csv"].judge(unknown, 299.0) is Verdict.WAIT
    assert settling.of("acme")[b"swept.csv"].judge(unknown, 300.0) is Verdict.TAKE


@pytest.mark.parametrize("hold_reason", [HoldReason.CUT_OFF, HoldReason.OPEN_QUOTE, HoldReason.EMPTY])
def test_hold(settling: Settling, hold_reason: HoldReason) -> None:
    """A file that looks cut off is held once, for the resume grace, and then taken to be refused."""
    settling.note(seen(), 0.0)

    assert settling.of("acme")[NAME].judge_reason(hold_reason, 3.0) is Verdict.HOLD
    assert settling.of("acme")[NAME].judge_reason(hold_reason, 4.0) is Verdict.WAIT
    assert settling.next_due_at() == 903.0
    assert settling.of("acme")[NAME].judge_reason(hold_reason, 903.0) is Verdict.TAKE


def test_resumed_file_is_held_anew(settling: Settling) -> None:
    """A held file that goes on growing is judged afresh, with its whole grace."""
    settling.note(seen(), 0.0)
    settling.of("acme")[NAME].judge_reason(HoldReason.CUT_OFF, 3.0)
    settling.note(seen(found=identity(20), closed=True), 800.0)

    assert settling.next_due_at() == 803.0
    assert settling.of("acme")[NAME].judge_reason(HoldReason.CUT_OFF, 803.0) is Verdict.HOLD
    assert settling.next_due_at() == 1703.0


def test_unterminated_file_waits_a_little_longer(settling: Settling) -> None:
    """A file whose last line does not end is taken after its own, shorter grace, and never called held."""
    settling.note(seen(), 0.0)

    assert settling.of("acme")[NAME].judge_reason(HoldReason.UNTERMINATED, 3.0) is Verdict.WAIT
    assert settling.next_due_at() == 33.0
    assert settling.of("acme")[NAME].judge_reason(HoldReason.UNTERMINATED, 33.0) is Verdict.TAKE


def test_age_counts_towards_the_hold(settling: Settling) -> None:
    """A single pass lets the hold count from the last change of the file, but never skips the quiet period."""
    settling.note_listing("acme", {NAME: identity()}, 0.0, whole=True, at_ns=1000 * 10**9)

    assert settling.next_due_at() == 3.0
    assert settling.of("acme")[NAME].judge_reason(HoldReason.CUT_OFF, 3.0) is Verdict.TAKE


@pytest.mark.parametrize(
    "entry",
    [
        Look(identity=identity(), kind=Kind.LINK),
        Look(identity=identity(), kind=Kind.FIFO),
        Look(identity=identity(), kind=Kind.FILE, links=2),
        Look(identity=identity(), kind=Kind.FILE, foreign=True),
    ],
    ids=["link", "fifo", "hard link", "foreign"],
)
def test_what_is_never_imported_is_reported_once(settling: Settling, entry: Look) -> None:
    """Links, FIFOs, hard links that stay and foreign files are ignored, and told of once as long as they stay."""
    settling.note(seen(), 0.0)
    assert settling.of("acme")[NAME].judge(entry, 3.0) is Verdict.IGNORE
    settling.note_listing("acme", {NAME: identity()}, 10.0, whole=True)
    assert settling.next_due_at() == math.inf

    settling.note(seen(), 20.0)
    assert settling.of("acme")[NAME].judge(entry, 23.0) is Verdict.WAIT
    settling.note_listing("acme", {NAME: identity(ctime_ns=1)}, 30.0, whole=True)
    assert settling.of("acme")[NAME].judge(look(identity(ctime_ns=1)), 33.0) is Verdict.TAKE


def test_ignored_folder_that_is_worked_in(settling: Settling) -> None:
    """A folder with the name of an upload is told of once, however often something happens in it."""
    settling.note(seen(), 0.0)
    assert settling.of("acme")[NAME].judge(Look(identity=identity(), kind=Kind.FOLDER), 3.0) is Verdict.IGNORE
    for second in (10, 20):
        worked_in = identity(ctime_ns=second)
        settling.note_listing("acme", {NAME: worked_in}, second, whole=True)
        assert settling.next_due(second + 3.0) == ("acme", NAME)
        entry = Look(identity=worked_in, kind=Kind.FOLDER)
        assert settling.of("acme")[NAME].judge(entry, second + 3.0) is Verdict.WAIT

    assert [waiting.ignored for waiting in settling.waiting("acme")] == [True]


def test_only_what_may_well_be_taken_counts_as_ready(settling: Settling) -> None:
    """A name that was looked at in vain, or is held, is due for looks again and again, and not ready for that."""
    assert settling.next_ready_at(without=()) == math.inf
    settling.note(seen(), 0.0)
    assert settling.next_ready_at(without=()) == settling.next_due_at()
    assert settling.next_ready_at(without=("acme",)) == math.inf

    settling.of("acme")[NAME].retry_later(100.0)

    assert settling.next_ready_at(without=()) == math.inf
    assert settling.next_due_at() < math.inf


def test_clients_take_turns(settling: Settling) -> None:
    """Names of one client come in the order of their appearance, and clients one after the other."""
    for name in (b"1.csv", b"2.csv", b"3.csv"):
        settling.note(seen(name, "acme"), 0.0)
    settling.note(seen(b"4.csv", "beta"), 0.0)
    order = []
    while due := settling.next_due(3.0):
        settling.forget(*due)
        order.append(due[1])

    assert order == [b"1.csv", b"4.csv", b"2.csv", b"3.csv"]


def test_blocked_client_is_passed_over(settling: Settling) -> None:
    """A client whose older claim waits gets no turn, the others do."""
    settling.note(seen(client="acme"), 0.0)
    settling.note(seen(client="beta"), 1.0)

    assert settling.next_due(5.0, without={"acme"}) == ("beta", NAME)
    assert settling.next_due_at(without={"acme"}) == 4.0


def in_turn(settling: Settling) -> list[bytes]:
    """Return the names of the only client in the order in which they are taken."""
    order = []
    while due := settling.next_due(30.0):
        settling.forget(*due)
        order.append(due[1])
    return order


def test_listing_comes_in_the_order_of_arrival(settling: Settling) -> None:
    """After a restart files are taken in the order in which they came, whatever time of change the client has set."""
    came = {b"c.csv": 1, b"b.csv": 2, b"a.csv": 2}
    files = {name: identity(ctime_ns=at, mtime_ns=-at) for name, at in came.items()}
    settling.note_listing("acme", files, 0.0, whole=True)

    assert in_turn(settling) == [b"c.csv", b"a.csv", b"b.csv"]


def test_what_events_have_missed_comes_in_its_turn(settling: Settling) -> None:
    """A file that only a sweep finds is taken before later ones, even when events told of those first."""
    for name, at in ((b"b.csv", 2), (b"d.csv", 4)):
        settling.note(seen(name, found=identity(ctime_ns=at)), 0.0)
    files = {name: identity(ctime_ns=at) for name, at in ((b"a.csv", 3), (b"b.csv", 2), (b"c.csv", 1), (b"d.csv", 4))}
    settling.note_listing("acme", files, 1.0, whole=True)

    assert in_turn(settling) == [b"c.csv", b"b.csv", b"a.csv", b"d.csv"]


@pytest.mark.parametrize("ending", ["done", "sha256", "md5"])
def test_companions_in_any_case(ending: str) -> None:
    """A companion is one in whatever case its name is spelled, also under a pattern that every name matches."""
    for name in (f"users.csv.{ending}", f"users.csv.{ending.upper()}", f"USERS.CSV.{ending.title()}"):
        assert not Names("*").accept(name.encode())
        assert Names("*.csv").upload_of(name.encode()) == name[:9].encode()


def test_name_that_is_gone_is_forgotten(settling: Settling) -> None:
    """A name that a whole listing does not show is dropped, one that a cut listing does not show is kept."""
    settling.note(seen(), 0.0)
    settling.note_listing("acme", {}, 1.0, whole=False)
    assert settling.next_due_at() == 3.0
    settling.note_listing("acme", {}, 1.0, whole=True)
    assert settling.next_due_at() == math.inf


def test_names_in_mind_are_bounded() -> None:
    """A client with more names than fit keeps those it has, and is told to be swept again."""
    settling = Settling(IntakeSettings(max_waiting=1))

    assert settling.note(seen(b"1.csv"), 0.0)
    assert not settling.note(seen(b"2.csv"), 0.0)
    assert settling.has_room("acme", b"1.csv")
    assert not settling.has_room("acme", b"2.csv")
    assert settling.note(seen(b"1.csv"), 1.0)
    assert settling.note(seen(b"2.csv", "beta"), 0.0)


def test_unreadable_name_is_put_off(settling: Settling) -> None:
    """A name that could not be looked at is tried again with back-off."""
    settling.note(seen(), 0.0)
    settling.of("acme")[NAME].retry_later(3.0)
    assert settling.next_due_at() == 4.0
    settling.of("acme")[NAME].retry_later(4.0)
    assert settling.next_due_at() == 6.0


# Doubts


@pytest.mark.parametrize(
    "hold_reason", [HoldReason.BROKEN_OFF, HoldReason.UNACCOMPANIED, HoldReason.MISMATCHED, HoldReason.UNREAD]
)
def test_what_the_importer_cannot_see_is_refused_after_the_grace(settling: Settling, hold_reason: HoldReason) -> None:
    """A file that only its surroundings call incomplete is held for the resume grace, then refused."""
    settling.note(seen(), 0.0)

    assert settling.of("acme")[NAME].judge_reason(hold_reason, 3.0) is Verdict.HOLD
    assert settling.of("acme")[NAME].judge_reason(hold_reason, 902.0) is Verdict.WAIT
    assert settling.of("acme")[NAME].judge_reason(hold_reason, 903.0) is Verdict.REFUSE


def test_missing_companion_is_looked_for_now_and_then(settling: Settling) -> None:
    """Should the event of a companion be lost, it is found by a look half a minute later."""
    settling.note(seen(), 0.0)
    settling.of("acme")[NAME].judge_reason(HoldReason.UNACCOMPANIED, 3.0)

    assert settling.next_due_at() == 33.0


def test_companion_that_changes_is_a_change(settling: Settling) -> None:
    """A companion found by a look only gets a quiet period of its own, as the upload did."""
    settling.note(seen(), 0.0)
    accompanied = Identity(1, 2, 10, 0, 0, sidecar=(3, 64, 0))

    assert settling.of("acme")[NAME].judge(look(accompanied), 3.0) is Verdict.WAIT
    assert settling.of("acme")[NAME].judge(look(accompanied), 6.0) is Verdict.TAKE


@pytest.mark.parametrize("verdict", [Verdict.RELEASE, Verdict.REFUSE])
def test_operator_decides_on_a_held_file(settling: Settling, verdict: Verdict) -> None:
    """What the operator says of a held file holds at once, until the file changes."""
    decide = settling.release if verdict is Verdict.RELEASE else settling.refuse
    settling.note(seen(), 0.0)
    assert not decide("acme", NAME, 1.0)
    settling.of("acme")[NAME].judge_reason(HoldReason.CUT_OFF, 3.0)

    assert decide("acme", NAME, 5.0)
    assert settling.next_due(5.0) == ("acme", NAME)
    assert settling.of("acme")[NAME].judge_reason(HoldReason.CUT_OFF, 5.0) is verdict

    settling.note(seen(found=identity(20)), 6.0)
    assert settling.of("acme")[NAME].judge_reason(HoldReason.CUT_OFF, 9.0) is Verdict.HOLD
    assert not decide("acme", b"other.csv", 10.0)


def test_broken_connection_is_remembered_until_the_upload_goes_on(settling: Settling) -> None:
    """What the session log told of a file holds until it is opened again, or another file takes its place."""
    told = Sighting(client="acme", name=NAME, identity=identity(), broken_off=True)
    settling.note(told, 0.0)
    settling.note(seen(closed=True), 0.1)
    assert settling.of("acme")[NAME].broken_off
    settling.note(Sighting(client="acme", name=NAME, identity=identity(), broken_off=False), 1.0)
    assert not settling.of("acme")[NAME].broken_off

    settling.note(told, 2.0)
    settling.note(seen(found=Identity(1, 77, 10, 0, 0)), 3.0)
    assert not settling.of("acme")[NAME].broken_off


@pytest.mark.parametrize("pattern", ["*.csv", "*"])
def test_companions_are_no_uploads(pattern: str) -> None:
    """A companion is about its upload, whatever the pattern, and never an upload itself."""
    names = Names(pattern)
    for ending in (b".done", b".sha256", b".md5"):
        assert names.upload_of(b"users.csv" + ending) == b"users.csv"
        assert not names.accept(b"users.csv" + ending)
    assert names.upload_of(b"users.csv") == b"users.csv"
    assert names.upload_of(b".users.csv.done") is None


def test_nothing_overtakes_a_name_that_could_not_be_taken() -> None:
    """A newer file of the client waits until the older one, which is finished, could be taken; others do not."""
    settling = Settling(IntakeSettings(quiet_s=1.0))
    for at, (client, name) in enumerate((("acme", b"old.csv"), ("acme", b"new.csv"), ("beta", b"b.csv"))):
        settling.note(Sighting(client=client, name=name, identity=Identity(1, at, 1, 1, 1)), 0.0)
    assert settling.next_due(1.0) == ("acme", b"old.csv")

    settling.of("acme")[b"old.csv"].is_first = True
    settling.of("acme")[b"old.csv"].retry_later(1.0)

    assert settling.next_due(1.0) == ("beta", b"b.csv")
    settling.forget("beta", b"b.csv")
    assert settling.next_due(1.5) is None
    assert settling.next_due_at() == 2.0
    assert settling.next_due(2.0) == ("acme", b"old.csv")
    settling.forget("acme", b"old.csv")
    assert settling.next_due(2.0) == ("acme", b"new.csv")


def test_names_under_other_settings(settling: Settling) -> None:
    """Other settings drop names that are no uploads any more, and let the time count that the others have waited."""
    for name in (NAME, b"users.txt.csv"):
        settling.note(seen(name), 0.0)
    settling.of("acme")[NAME].judge_reason(HoldReason.CUT_OFF, 3.0)
    settling.use(IntakeSettings(pattern="users.csv", quiet_s=1.0, resume_grace_s=8.0))
    assert ("acme", NAME) == settling.next_due(4.0)
    assert Verdict.WAIT is settling.of("acme")[NAME].judge_reason(HoldReason.CUT_OFF, 4.0)
    assert Verdict.TAKE is settling.of("acme")[NAME].judge_reason(HoldReason.CUT_OFF, 10.0)
    assert [NAME] == [waiting.name for waiting in settling.waiting("acme")]


def test_forgotten_client_has_no_names(settling: Settling) -> None:
    """Nothing is known any more of a client that is forgotten."""
    settling.note(seen(), 0.0)
    settling.forget_client("acme")
    assert [] == list(settling.waiting("acme"))
