from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from importer.model import Outcome, message
from importer.store import queries
from tests import REPOSITORY
from tests.conftest import Needs
from tests.engine import Engine
from tests.lab import MEMORY, wait_until
from tests.lab.daemon import STOP_WITHIN_S, Rosterd
from watcher.inbox.queue import FIRST_RETRY_S, LAST_RETRY_S, Backlog
from watcher.signals import Signals

HEADER = "unique_id,login_source,first_name,last_name,email\n"
ANN = "1,OPSCOM,Ann,Lee,ann@school.example\n"
CUT = len("1,OPSCOM,An")
BOB = "2,OPSCOM,Bob,Ray,bob@school.example\n"
LARGE_ROWS = 200_000
CLIENT, SERVICE = 61001, 61003
SETTINGS: dict[str, dict[str, float]] = {"intake": {"quiet_s": 0.2, "unterminated_grace_s": 0.5, "resume_grace_s": 1.5}}


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have coverage measured in the daemons, too: no other module does more with them."""
    monkeypatch.setattr(Rosterd, "is_measured", True)


@pytest.fixture
def idle(tmp_path: Path, folders: dict[str, Path]) -> Iterator[Rosterd]:
    """Yield an installation that is not started."""
    with Rosterd(tmp_path, folders, settings=SETTINGS) as installation:
        yield installation


@pytest.fixture
def rosterd(idle: Rosterd) -> Rosterd:
    """Return the running daemon."""
    idle.start()
    return idle


@pytest.fixture
def acme(folders: dict[str, Path]) -> Path:
    return folders["acme"]


# From landing to archive


def test_every_event_of_a_file_names_it(rosterd: Rosterd) -> None:
    """All that happens to a file carries its client, its name and one claim id."""
    rosterd.drop("users.csv", HEADER + ANN)
    archived = rosterd.wait_for_event("file.archived")

    about = {key: archived[key] for key in ("client", "file", "claim_id")}
    for name in ("file.claimed", "file.imported", "file.archived"):
        [event] = rosterd.events(name)
        assert event.items() >= about.items()
    [imported] = rosterd.events("file.imported")
    assert imported.items() >= {"rows": 1, "created": 1, "updated": 0, "unchanged": 0, "failed": 0}.items()


def test_refused_file(rosterd: Rosterd) -> None:
    """A file that is refused is logged with its code, and archived."""
    rosterd.drop("users.csv", "nonsense\n1\n")
    rosterd.wait_for_event("file.archived")

    [refused] = rosterd.events("file.refused")
    assert str(refused["code"]).startswith("header.")
    assert rosterd.archived() == ["users.csv", "users.result.txt"]


def test_file_in_writing_is_not_taken(rosterd: Rosterd, acme: Path) -> None:
    """A file is not taken while a process has it open, and is once it is closed."""
    with (acme / "users.csv").open("w") as file:
        file.write(HEADER + ANN)
        file.flush()
        rosterd.drop("other.csv", HEADER + BOB)
        rosterd.wait_for_event("file.archived", file="other.csv")
        assert rosterd.inbox() == ["users.csv"]

    rosterd.wait_for_event("file.archived", file="users.csv")


def test_upload_that_is_cut_off_and_resumed(rosterd: Rosterd, acme: Path) -> None:
    """A file that breaks off is held where it is, and imported when the client goes on with it."""
    rosterd.drop("users.csv", HEADER + ANN[:CUT])
    held = rosterd.wait_for_event("file.held", client="acme", file="users.csv")
    assert "claim_id" in held
    with (acme / "users.csv").open("a") as file:
        file.write(ANN[CUT:])

    rosterd.wait_for_event("file.archived")

    assert list(rosterd.users()) == ["1"]
    assert len(rosterd.events("file.held")) == 1


@pytest.mark.parametrize(
    ("content", "code"),
    [(HEADER + ANN[:CUT], "upload.incomplete"), (HEADER + '1,OPSCOM,"Ann,\n', "upload.incomplete"), ("", "file.empty")],
    ids=["cut off", "open quote", "empty"],
)
def test_upload_that_is_cut_off_for_good(rosterd: Rosterd, content: str, code: str) -> None:
    """A file that breaks off and is not resumed within the grace is refused."""
    rosterd.drop("users.csv", content)
    rosterd.wait_for_event("file.held")
    rosterd.wait_for_event("file.archived")

    assert [event["code"] for event in rosterd.events("file.refused")] == [code]


def test_file_whose_last_line_does_not_end(rosterd: Rosterd) -> None:
    """A whole file without a final line end is imported after its grace, and was never held."""
    rosterd.drop("users.csv", HEADER + ANN.rstrip())
    rosterd.wait_for_event("file.archived")

    assert list(rosterd.users()) == ["1"]
    assert rosterd.events("file.held") == []


def test_large_file_lets_others_go_first(rosterd: Rosterd, tmp_path: Path) -> None:
    """What others upload while a large file is imported goes first; then the large one is begun anew, and is whole."""
    rosterd.drop("large.csv", HEADER + "".join(_large()))
    for number in range(3):
        wait_until(lambda: _is_importing(tmp_path / "state"), "the import of the large file")
        rosterd.drop(f"small{number}.csv", HEADER + ANN, client="beta")
        rosterd.wait_for_event("file.archived", file=f"small{number}.csv")
        assert not rosterd.events("file.imported", file="large.csv")
    rosterd.drop("next.csv", HEADER + BOB)
    rosterd.wait_for_event("file.archived", file="next.csv")

    assert len(rosterd.users()) == LARGE_ROWS
    assert [row["file"] for row in rosterd.imports() if row["client"] == "acme"] == ["large.csv", "next.csv"]
    assert len(rosterd.events("file.yielded")) == 1


def test_inbox_that_goes_away_beside_a_large_file(rosterd: Rosterd, folders: dict[str, Path], tmp_path: Path) -> None:
    """What is heard of an inbox that is gone disturbs no import under way; it is told of, and used when it is back."""
    rosterd.reload(lambda text: text.replace("[mail]", '[mail]\noperator = ["operator@school.example"]'))
    rosterd.wait_for_event("config.reloaded")
    rosterd.drop("large.csv", HEADER + "".join(_large()))
    wait_until(lambda: _is_importing(tmp_path / "state"), "the import of the large file")
    rosterd.drop("small.csv", HEADER + ANN, client="beta")
    folders["beta"].rename(tmp_path / "away")

    rosterd.wait_for_event("file.archived", file="large.csv")
    rosterd.wait_for_event("inbox.unusable", client="beta")
    wait_until(lambda: [mail for mail in rosterd.mails() if "inbox.unusable" in mail["Subject"]], "the alert")
    (tmp_path / "away").rename(folders["beta"])
    rosterd.wait_for_event("file.archived", file="small.csv")

    assert len(rosterd.users()) == LARGE_ROWS
    assert not rosterd.events("file.failed")


def test_large_file_does_not_wait_for_ever(tmp_path: Path, folders: dict[str, Path]) -> None:
    """However often others upload, a large file has its turn after `give_way_s`."""
    settings = {"intake": {**SETTINGS["intake"], "give_way_s": 3.0}}
    with Rosterd(tmp_path, folders, settings=settings) as rosterd:
        rosterd.start()
        rosterd.drop("large.csv", HEADER + "".join(_large()))
        claimed = time.monotonic()
        for number in range(600):
            if rosterd.events("file.imported", file="large.csv"):
                break
            rosterd.drop(f"small{number}.csv", HEADER + ANN, client="beta")
            time.sleep(0.1)

        assert time.monotonic() - claimed > 3.0
        imported = [event["file"] for event in rosterd.events("file.imported")]
        assert imported.index("large.csv") > imported.index("small0.csv")


def test_two_large_files_do_not_put_each_other_off(rosterd: Rosterd) -> None:
    """Of two clients with a large file one is imported after the other, long before `give_way_s` is over."""
    for client in ("acme", "beta"):
        rosterd.drop("large.csv", HEADER + "".join(_large()), client=client)
    for client in ("acme", "beta"):
        rosterd.wait_for_event("file.archived", client=client)


def _large() -> Iterator[str]:
    return (f"{number},OPSCOM,Ann,Lee,ann{number}@school.example\n" for number in range(LARGE_ROWS))


def _is_importing(state: Path) -> bool:
    """Tell whether a transaction is open, by asking for one."""
    with contextlib.closing(sqlite3.connect(state / "rosterd.db", timeout=0.0)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        return False


def test_entries_that_are_no_uploads(idle: Rosterd, acme: Path, tmp_path: Path) -> None:
    """Links, FIFOs, folders and hard links stay where they are, are reported once, and hold up nothing."""
    (tmp_path / "secret").write_text(HEADER + ANN)
    (acme / "link.csv").symlink_to(tmp_path / "secret")
    os.link(tmp_path / "secret", acme / "hard.csv")
    os.mkfifo(acme / "fifo.csv")
    (acme / "folder.csv").mkdir()
    idle.start()
    idle.drop("users.csv", HEADER + BOB)
    idle.wait_for_event("file.archived")
    wait_until(lambda: len(idle.events("file.ignored")) == 4, "four reports")

    assert {event["file"]: event["reason"] for event in idle.events("file.ignored")} == {
        "link.csv": "link",
        "hard.csv": "hard link",
        "fifo.csv": "fifo",
        "folder.csv": "folder",
    }
    assert list(idle.users()) == ["2"]
    assert idle.inbox() == ["fifo.csv", "folder.csv", "hard.csv", "link.csv"]


def test_hard_link_that_goes_away(tmp_path: Path, folders: dict[str, Path]) -> None:
    """A file that had two names is imported when one of them is gone."""
    settings: dict[str, dict[str, float]] = {**SETTINGS, "service": {"sweep_interval_s": 0.3}}
    with Rosterd(tmp_path, folders, settings=settings) as rosterd:
        (tmp_path / "other").write_text(HEADER + ANN)
        os.link(tmp_path / "other", folders["acme"] / "users.csv")
        rosterd.start()
        rosterd.wait_for_event("file.ignored")
        (tmp_path / "other").unlink()

        rosterd.wait_for_event("file.archived")


def test_file_too_large_is_refused_unread(tmp_path: Path, folders: dict[str, Path]) -> None:
    """A file above the limit is answered at once, whatever it would take to read it."""
    settings: dict[str, dict[str, float]] = {**SETTINGS, "file": {"max_file_bytes": 1000}}
    with Rosterd(tmp_path, folders, settings=settings) as rosterd:
        rosterd.start()
        with (folders["acme"] / "users.csv").open("w") as file:
            file.truncate(1 << 40)
        rosterd.wait_for_event("file.archived")

        assert [event["code"] for event in rosterd.events("file.refused")] == ["limit.file"]


# What else may speak for or against a file


def installed_with(tmp_path: Path, folders: dict[str, Path], **client: str | float) -> Rosterd:
    return Rosterd(tmp_path, folders, settings=SETTINGS, client_settings=client)


@pytest.mark.parametrize("is_first", [False, True], ids=["companion last", "companion first"])
def test_upload_waits_for_its_companion(tmp_path: Path, folders: dict[str, Path], *, is_first: bool) -> None:
    """A file is imported when its companion has come, before or after it, and both are archived side by side."""
    content = HEADER + ANN
    parts = {"users.csv": content, "users.csv.sha256": hashlib.sha256(content.encode()).hexdigest()}
    first, last = sorted(parts, reverse=is_first)
    with installed_with(tmp_path, folders, companion="sha256") as rosterd:
        rosterd.start()
        rosterd.drop(first, parts[first])
        if not is_first:
            assert rosterd.wait_for_event("file.held")["reason"] == "unaccompanied"
        rosterd.drop(last, parts[last])
        rosterd.wait_for_event("file.archived")

        assert list(rosterd.users()) == ["1"]
        assert rosterd.archived() == ["users.csv", "users.csv.sha256", "users.result.txt"]
        assert rosterd.inbox() == []


@pytest.mark.parametrize(("digest", "reason"), [("", "unaccompanied"), ("ab" * 32, "mismatched")])
def test_upload_without_its_companion_is_refused(
    tmp_path: Path, folders: dict[str, Path], digest: str, reason: str
) -> None:
    """Without the right companion a file is held, then refused with the name of what is missing."""
    with installed_with(tmp_path, folders, companion="sha256") as rosterd:
        rosterd.start()
        rosterd.drop("users.csv", HEADER + ANN)
        if digest:
            rosterd.drop("users.csv.sha256", digest)
        rosterd.wait_for_event("file.held", reason=reason)
        rosterd.wait_for_event("file.archived")

        assert [row["code"] for row in rosterd.imports()] == ["upload.incomplete"]
        assert "users.csv.sha256" in rosterd.read_bak("users.result.txt").decode()
        assert rosterd.inbox() == []


def test_refusal_outlives_a_crash(tmp_path: Path, folders: dict[str, Path]) -> None:
    """A claim that was to be refused is refused by the next start, too."""
    work = folders["acme"] / ".work" / "20261122T074205Z-0123abcd"
    work.mkdir(parents=True)
    (folders["acme"] / ".work").chmod(0o700)
    (work / "users.csv").write_text(HEADER + ANN)
    (work / ".refusal").write_bytes(msgspec.json.encode(message("upload.incomplete/connection")))
    with installed_with(tmp_path, folders) as rosterd:
        rosterd.start()
        rosterd.wait_for_event("file.archived")

        assert [row["code"] for row in rosterd.imports()] == ["upload.incomplete"]
        assert rosterd.users() == {}


@pytest.mark.parametrize(("order", "outcome"), [("approve", "imported"), ("reject", "refused")])
def test_shrink_guard_is_a_limit_of_before(tmp_path: Path, folders: dict[str, Path], order: str, outcome: str) -> None:
    """A file with far fewer rows is on hold until the operator decides, and the log says what to write instead."""
    with installed_with(tmp_path, folders, shrink_guard=50) as rosterd:
        rosterd.start()
        told = rosterd.wait_for_event("config.deprecated", client="acme")
        assert ("shrink_guard = 50", 'fewer_rows = "50 %" in [client.guard]') == (told["setting"], told["instead"])
        rosterd.drop("users.csv", HEADER + ANN + BOB + ANN.replace("1,", "3,").replace("ann@", "eve@"))
        rosterd.wait_for_imports(1)
        rosterd.drop("users.csv", HEADER + ANN)
        rosterd.wait_for_event("hold.placed", client="acme", file="users.csv")
        rosterd.drop("other.csv", HEADER + ANN, client="beta")
        rosterd.wait_for_event("file.archived", file="other.csv")

        done = rosterd.execute(order, "users.csv", "--client", "acme")
        assert done.returncode == 0, done.stderr
        wait_until(lambda: len(rosterd.events("file.archived", client="acme")) == 2, "the end of the file")

        assert [row["outcome"] for row in rosterd.imports() if row["client"] == "acme"] == ["imported", outcome]


def test_corrected_rows_are_not_the_last_file(tmp_path: Path, folders: dict[str, Path]) -> None:
    """A file is compared with the last whole one, not with the failed rows of it that came back corrected."""
    people = [ANN.replace("1,", f"{number},", 1).replace("ann@", f"ann{number}@") for number in range(10)]
    with installed_with(tmp_path, folders, shrink_guard=50) as rosterd:
        rosterd.start()
        rosterd.drop("users.csv", HEADER + "".join(people[:9]) + people[9].replace("Lee", ""))
        rosterd.wait_for_imports(1)
        failed = rosterd.read_bak("users.failed.csv").decode("utf-8-sig")
        rosterd.drop("corrected.csv", "sep=,\n" + failed.replace('"Ann",""', '"Ann","Lee"'))
        rosterd.wait_for_imports(2)
        rosterd.drop("users.csv", HEADER + "".join(people[:4]))
        rosterd.wait_for_event("hold.placed", file="users.csv")

        assert [9, 1, 0] == [row["created"] for row in rosterd.imports()]


def test_broken_connection_holds_a_file_that_ends_well(tmp_path: Path, folders: dict[str, Path]) -> None:
    """Where the sessions log to us, a file whose connection broke is held however it ends, and refused in the end."""
    with installed_with(tmp_path, folders, log_socket="session.log") as rosterd:
        rosterd.start()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as session:
            session.connect(str(tmp_path / "session.log"))
            rosterd.drop("users.csv", HEADER + ANN, client="beta")
            session.send(b'internal-sftp[1]: forced close "/beta/users.csv" bytes read 0 written 9')
            rosterd.wait_for_event("file.held", reason="broken_off")
        rosterd.wait_for_event("file.archived")

        assert [row["code"] for row in rosterd.imports()] == ["upload.incomplete"]


@pytest.mark.parametrize(
    "name",
    [rb"a\000.csv", rb"\000", "a" * 300 + ".csv", "", ".", "..", "/", r"\057.csv"],
    ids=["NUL", "NUL alone", "too long", "empty", "dot", "dots", "slash", "slash in octal"],
)
def test_session_tells_of_a_name_that_no_file_can_have(
    tmp_path: Path, folders: dict[str, Path], name: str | bytes
) -> None:
    """Whatever name a session tells of, the service goes on, and hears of the next one."""
    told = name if isinstance(name, bytes) else name.encode()
    settings: dict[str, dict[str, str | float]] = {"intake": {**SETTINGS["intake"], "pattern": "*"}}
    with Rosterd(tmp_path, folders, settings=settings, client_settings={"log_socket": "session.log"}) as rosterd:
        rosterd.start()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as session:
            session.connect(str(tmp_path / "session.log"))
            session.send(b'forced close "/beta/%b" bytes read 0 written 9' % told)
            rosterd.drop("users.csv", HEADER + ANN, client="beta")
            session.send(b'forced close "/beta/users.csv" bytes read 0 written 9')
        rosterd.wait_for_event("file.held", client="beta", reason="broken_off")

        assert [] == rosterd.events("inbox.unusable") + rosterd.events("thread.died") + rosterd.events("file.failed")


def test_folders_and_old_temporary_names_are_told_of(tmp_path: Path, folders: dict[str, Path]) -> None:
    """Files in folders that a client makes are reported once, not imported."""
    with installed_with(tmp_path, folders) as rosterd:
        (folders["acme"] / "more").mkdir()
        (folders["acme"] / "more" / "users.csv").write_text(HEADER + ANN)
        rosterd.start()
        rosterd.wait_for_event("file.ignored", client="acme", file="more/users.csv", reason="in a folder")
        (folders["acme"] / "again").mkdir()
        rosterd.drop("users.csv", HEADER + BOB)
        rosterd.wait_for_imports(1)

        assert list(rosterd.users()) == ["2"]
        assert len(rosterd.events("file.ignored")) == 1


def test_files_that_waited_are_taken_in_the_order_of_arrival(tmp_path: Path, folders: dict[str, Path]) -> None:
    """What came while the service was down is imported as it came, also when it is more than is kept in mind."""
    settings = {"intake": {**SETTINGS["intake"], "max_waiting": 3}}
    names = ["e.csv", "a.csv", "d.csv", "c.csv", "b.csv", "f.csv", "0.csv"]
    came_at = 0
    with Rosterd(tmp_path, folders, settings=settings) as rosterd:
        for age, name in enumerate(names):
            rosterd.drop(name, HEADER + ANN.replace("Ann", f"Ann {name[0]}"))
            path = folders["acme"] / name
            while path.stat().st_ctime_ns <= came_at:
                os.utime(path, (1_000_000 - age, 1_000_000 - age))
            came_at = path.stat().st_ctime_ns
        assert rosterd.execute("sweep").returncode == 0

        assert names == [row["file"] for row in rosterd.imports()]


def test_newest_file_does_not_overtake_a_crowd(tmp_path: Path, folders: dict[str, Path]) -> None:
    """Files that arrive while older ones wait for room are taken after them."""
    settings = {"intake": {**SETTINGS["intake"], "max_waiting": 2}}
    with Rosterd(tmp_path, folders, settings=settings) as rosterd:
        for number in range(4):
            rosterd.drop(f"{number}.csv", HEADER + ANN)
        rosterd.start()
        rosterd.wait_for_event("file.archived", file="0.csv")
        rosterd.drop("newest.csv", HEADER + BOB)
        rosterd.wait_for_imports(5)

        assert [*(f"{number}.csv" for number in range(4)), "newest.csv"] == [row["file"] for row in rosterd.imports()]


# What makes a question about the first file to be looked at meet a database that is away.
AWAY = """
from importer.store.errors import StoreUnreachable
from watcher.approval.files import FilesOnHold
behind, met = FilesOnHold.behind, []
def lost(self, client, name, is_correction):
    if not met:
        met.append(name)
        raise StoreUnreachable("the connection is closed")
    return behind(self, client, name, is_correction)
FilesOnHold.behind = lost
"""


def test_nothing_overtakes_a_file_that_found_the_database_away(tmp_path: Path, folders: dict[str, Path]) -> None:
    """A file that could not be looked at, because the database was away, is imported before those that came later."""
    with Rosterd(tmp_path, folders, settings=SETTINGS) as rosterd:
        rosterd.planted = AWAY
        for number in range(3):
            rosterd.drop(f"{number}.csv", HEADER + ANN)
        rosterd.start()
        rosterd.wait_for_imports(3)

        assert ["0.csv"] == [event["file"] for event in rosterd.events("file.deferred")]
        assert ["0.csv", "1.csv", "2.csv"] == [row["file"] for row in rosterd.imports()]


def test_companion_in_other_capitals(tmp_path: Path, folders: dict[str, Path]) -> None:
    """A companion counts in whatever case its name is spelled."""
    with installed_with(tmp_path, folders, companion="sha256") as rosterd:
        rosterd.start()
        rosterd.drop("users.csv", HEADER + ANN)
        rosterd.drop("users.csv.SHA256", hashlib.sha256((HEADER + ANN).encode()).hexdigest())
        rosterd.wait_for_event("file.archived")

        assert [row["outcome"] for row in rosterd.imports()] == ["imported"]
        assert rosterd.inbox() == []


def test_database_is_for_the_service_alone(tmp_path: Path, folders: dict[str, Path]) -> None:
    """Whatever umask the service is started with, and whoever may enter its folder, nobody else reads what it keeps."""
    state = tmp_path / "state"
    before = os.umask(0o000)
    try:
        with Rosterd(tmp_path, folders, settings=SETTINGS) as rosterd:
            for modes in ((), (0o644, 0o666, 0o664)):
                with contextlib.closing(sqlite3.connect(state / "rosterd.db")) if modes else contextlib.nullcontext():
                    for name, mode in zip(("rosterd.db", "rosterd.db-wal", "rosterd.db-shm"), modes, strict=False):
                        (state / name).touch()
                        (state / name).chmod(mode)
                    rosterd.start()
                rosterd.drop("users.csv", HEADER + ANN + "2,OPSCOM,,,\n")
                rosterd.wait_for_event("mail.sent")
                kept = [path for path in state.rglob("*") if path.is_file()]
                assert {"rosterd.db", "rosterd.db-wal", "rosterd.db-shm"} <= {path.name for path in kept}
                assert dict.fromkeys(kept, 384) == {path: path.stat().st_mode & 0o777 for path in kept}
                rosterd.stop()
    finally:
        os.umask(before)


def test_times_and_inodes_beyond_what_sqlite_keeps(engine: Engine) -> None:
    """A file is imported whatever numbers its file system has for it."""
    with engine.claimed((HEADER + ANN).encode()) as claim:
        odd = msgspec.structs.replace(claim, device=1 << 63, inode=(1 << 64) - 1, mtime_ns=10**20)
        assert engine.importer().import_file(odd, engine.client).outcome is Outcome.IMPORTED
    found = queries.find_upload(engine.store.conn, engine.client.name, (1 << 64) - 1, 10**20)
    assert found is not None


@pytest.mark.parametrize("time_s", [-(10**11), 10**11])
def test_time_of_change_far_away(time_s: int, needs: Needs) -> None:
    """A file with a time of change that only its file system can keep is imported and archived."""
    needs("setpriv", root=True)
    with tempfile.TemporaryDirectory(dir=MEMORY) as place:
        folder = Path(place)
        folder.chmod(0o755)
        inbox = folder / "acme"
        inbox.mkdir()
        os.chown(inbox, SERVICE, CLIENT)
        inbox.chmod(0o1770)
        with Rosterd(folder, {"acme": inbox}, settings=SETTINGS, service_uid=SERVICE) as rosterd:
            rosterd.start()
            path = inbox / "users.csv.part"
            path.write_text(HEADER + ANN)
            os.chown(path, CLIENT, CLIENT)
            os.utime(path, (time_s, time_s))
            assert time_s == path.stat().st_mtime_ns // 10**9
            path.rename(inbox / "users.csv")
            rosterd.wait_for_event("file.archived")
            assert ["imported"] == [row["outcome"] for row in rosterd.imports()]


# Trouble

# What makes a function of the daemon raise for one client's entries.
FAULT = """
from watcher.inbox import entries
from watcher.inbox.work import claims
working = {name}
def faulty(inbox, *arguments, **more):
    if inbox.client == "acme" and {condition}:
        raise RuntimeError("a cell: Tremblay-4711")
    return working(inbox, *arguments, **more)
{name} = faulty
"""


@pytest.mark.parametrize(
    ("name", "condition", "told"),
    [
        ("entries.list_files", "True", "inbox.unusable"),
        ("entries.find_strays", "True", "inbox.unusable"),
        ("claims.unfinished_claims", "True", "inbox.unusable"),
        ("entries.find_identity", "arguments[0] == b'odd.csv'", "inbox.unusable"),
        ("entries.look", "arguments[0] == b'odd.csv'", "file.failed"),
    ],
    ids=["listing", "strays", "claims", "noting", "looking"],
)
def test_whatever_one_client_does_to_us(
    tmp_path: Path, folders: dict[str, Path], name: str, condition: str, told: str
) -> None:
    """What a client's entries raise is told once, without the words of the error, and keeps nobody else waiting."""
    fault = FAULT.format(name=name, condition=condition)
    settings = {**SETTINGS, "service": {"sweep_interval_s": 0.5}}
    with Rosterd(tmp_path, folders, settings=settings) as rosterd:
        rosterd.planted = fault
        rosterd.start()
        rosterd.drop("odd.csv", HEADER + ANN)
        event = rosterd.wait_for_event(told, client="acme")
        for number in range(3):
            rosterd.drop(f"{number}.csv", HEADER + ANN, client="beta")
            rosterd.wait_for_event("file.archived", client="beta", file=f"{number}.csv")

        assert event["reason"] == "RuntimeError"
        assert isinstance(event["exception"], list)
        assert "Tremblay" not in rosterd.log()
        assert 1 == len(rosterd.events(told))


def test_single_pass_over_an_inbox_with_a_fault(tmp_path: Path, folders: dict[str, Path]) -> None:
    """A single pass serves the other clients, and its exit code says that a fault of ours left something behind."""
    with Rosterd(tmp_path, folders, settings=SETTINGS) as rosterd:
        rosterd.planted = FAULT.format(name="entries.list_files", condition="True")
        rosterd.drop("users.csv", HEADER + ANN, client="beta")
        assert 70 == rosterd.execute("sweep").returncode
        assert list(rosterd.users("beta")) == ["1"]


def test_broken_folders_of_one_client(idle: Rosterd, acme: Path) -> None:
    """A client whose folders cannot be used keeps neither the daemon nor another client from working."""
    (acme / ".bak").symlink_to("/tmp")
    idle.drop("users.csv", HEADER + ANN)
    idle.start()
    idle.drop("users.csv", HEADER + BOB, client="beta")
    idle.wait_for_event("file.archived", client="beta")

    [unusable] = idle.events("inbox.unusable")
    assert unusable["client"] == "acme"
    assert ".bak" in str(unusable["reason"])
    assert idle.users("acme") == {}


def test_missing_inbox_that_appears(idle: Rosterd, acme: Path) -> None:
    """An inbox that is not there at start is used soon after it is, long before the next sweep of all."""
    acme.rmdir()
    idle.start()
    idle.wait_for_event("inbox.unusable", client="acme")
    acme.mkdir()
    idle.drop("users.csv", HEADER + ANN)

    idle.wait_for_event("file.archived", client="acme")
    assert [1, 1] == [len(idle.events(name)) for name in ("inbox.unusable", "inbox.restored")]


def test_locked_database(rosterd: Rosterd, tmp_path: Path) -> None:
    """While the database is locked claims wait; then they are imported in the order of their upload."""
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "rosterd.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        rosterd.drop("old.csv", HEADER + ANN)
        rosterd.wait_for_event("file.claimed", file="old.csv")
        rosterd.drop("new.csv", HEADER + ANN.replace("Ann", "Eve"))
        rosterd.wait_for_event("file.deferred", file="old.csv")
        assert rosterd.inbox() == ["new.csv"]
        other.execute("ROLLBACK")
    rosterd.wait_for_event("file.archived", file="new.csv")

    assert [row["file"] for row in rosterd.imports()] == ["old.csv", "new.csv"]
    assert [user["first_name"] for user in rosterd.users().values()] == ["Eve"]


def test_database_that_is_none(idle: Rosterd, tmp_path: Path) -> None:
    """A database that is damaged ends the daemon with 65 and leaves inboxes and database alone."""
    (tmp_path / "state" / "rosterd.db").write_text("no database" * 100)
    idle.drop("users.csv", HEADER + ANN)

    assert idle.execute("run").returncode == 65
    assert idle.inbox() == ["users.csv"]
    assert (tmp_path / "state" / "rosterd.db").read_text() == "no database" * 100


# What a restart finds


def test_claim_without_ledger_row(idle: Rosterd, acme: Path) -> None:
    """A claim that was not imported is imported under the same id, and what was half written is written again."""
    work = acme / ".work" / "20261122T074205Z-0123abcd"
    work.mkdir(parents=True)
    (acme / ".work").chmod(0o700)
    (work / "users.csv").write_text(HEADER + ANN)
    (work / ".failed.csv").write_text("of an import that was rolled back")
    idle.start()
    idle.wait_for_event("file.archived", claim_id=work.name)

    assert idle.bak() == ["users.20261122T074205Z.csv", "users.20261122T074205Z.result.txt"]
    assert idle.in_work() == []


def test_single_pass_leaves_no_large_claim(tmp_path: Path, folders: dict[str, Path]) -> None:
    """A single pass lets nobody go first: a large file that was left behind is imported, whatever others left."""
    settings = {"intake": {**SETTINGS["intake"], "unterminated_grace_s": 0.1}}
    contents = {"acme": "".join(_large()), "beta": ANN}
    for number, (client, content) in enumerate(contents.items()):
        work = folders[client] / ".work" / f"20261122T074205Z-0000000{number}"
        work.mkdir(parents=True)
        (folders[client] / ".work").chmod(0o700)
        (work / "users.csv").write_text(HEADER + content)
    with Rosterd(tmp_path, folders, settings=settings) as rosterd:
        assert rosterd.execute("sweep").returncode == 0

        assert ["acme", "beta"] == [row["client"] for row in rosterd.imports()]


def test_archived_file_whose_row_was_not_marked(rosterd: Rosterd) -> None:
    """A row whose file lies in `.bak` is marked at the next start."""
    rosterd.drop("users.csv", HEADER + ANN)
    rosterd.wait_for_event("file.archived")
    rosterd.stop()
    rosterd.change("UPDATE imports SET archived_at = NULL")
    rosterd.start()

    assert [row["archived_at"] is None for row in rosterd.imports()] == [False]


def test_archived_file_that_is_missing(rosterd: Rosterd, acme: Path) -> None:
    """A row whose file is nowhere is told to the operator."""
    rosterd.drop("users.csv", HEADER + ANN)
    archived = rosterd.wait_for_event("file.archived")
    rosterd.stop()
    rosterd.change("UPDATE imports SET archived_at = NULL")
    (acme / ".bak" / str(archived["archive"])).unlink()
    rosterd.start()

    [missing] = rosterd.events("archive.missing")
    assert missing["claim_id"] == archived["claim_id"]


# A single pass


def test_single_pass_does_not_wait_for_writers_and_holds(idle: Rosterd, acme: Path) -> None:
    """`rosterd sweep` imports what is ready and leaves what is being written."""
    idle.drop("ready.csv", HEADER + ANN.rstrip())
    with (acme / "open.csv").open("w") as file:
        file.write(HEADER)
        file.flush()
        started = time.monotonic()
        done = idle.execute("sweep")

    assert done.returncode == 0, done.stdout
    assert time.monotonic() - started < 30  # it would wait for the writer for ever
    assert list(idle.users()) == ["1"]
    assert idle.inbox() == ["open.csv"]


def test_passes_that_find_a_hold_over(idle: Rosterd, acme: Path) -> None:
    """Passes that forget in between refuse a file that has been cut off for longer than the grace."""
    idle.drop("users.csv", HEADER + ANN[:CUT])
    wait_until(lambda: time.time() - (acme / "users.csv").stat().st_ctime > 2, "the grace to pass")

    assert idle.execute("sweep").returncode == 0
    assert [row["code"] for row in idle.imports()] == ["upload.incomplete"]


def test_single_pass_tells_of_a_fault_of_ours(idle: Rosterd) -> None:
    """`rosterd sweep` ends with 70 when a fault of our own leaves a file in `.work`, and with 0 once it is imported."""
    assert idle.execute("sweep").returncode == 0
    idle.change("CREATE TRIGGER fault BEFORE INSERT ON users BEGIN SELECT RAISE(ABORT, 'a fault'); END")
    idle.drop("users.csv", HEADER + ANN)

    failed = idle.execute("sweep")
    assert "file.failed" in failed.stdout
    assert failed.returncode == 70
    assert len(idle.in_work()) == 1

    idle.change("DROP TRIGGER fault")
    assert idle.execute("sweep").returncode == 0
    assert list(idle.users()) == ["1"]


def test_single_pass_tells_of_the_host(idle: Rosterd, acme: Path, needs: Needs) -> None:
    """`rosterd sweep` ends with 74 when the host leaves a file in the inbox."""
    needs("chattr", root=True)
    idle.execute("sweep")
    idle.drop("users.csv", HEADER + ANN)
    with unchangeable(acme / "users.csv"):
        failed = idle.execute("sweep")

    assert "file.deferred" in failed.stdout
    assert failed.returncode == 74
    assert idle.inbox() == ["users.csv"]


@pytest.mark.parametrize("name", ["", ".work", ".bak"])
def test_a_folder_that_nobody_can_write_to_is_found_before_an_upload(
    idle: Rosterd, acme: Path, name: str, needs: Needs
) -> None:
    """An inbox is unusable if it, or a folder of the service in it, is immutable; no file has to come for that."""
    needs("chattr", root=True)
    idle.execute("sweep")
    with unchangeable(acme / name):
        failed = idle.execute("sweep")
        findings = json.loads(idle.execute("doctor", "--json").stdout)["findings"]
    assert "inbox.unusable" in failed.stdout
    assert failed.returncode == 74
    assert f"chattr -i {acme / name}" in [each["remedy"] for each in findings]
    assert 0 == idle.execute("sweep").returncode


def test_single_pass_tells_of_an_inbox_it_cannot_use(idle: Rosterd, acme: Path) -> None:
    """`rosterd sweep` ends with 74 when nobody knows what waits in an inbox, and with 0 once it can be used."""
    idle.execute("sweep")
    idle.drop("users.csv", HEADER + ANN)
    (acme / ".work").chmod(0o777)
    failed = idle.execute("sweep")
    assert "inbox.unusable" in failed.stdout
    assert failed.returncode == 74

    (acme / ".work").chmod(0o700)
    assert idle.execute("sweep").returncode == 0
    assert list(idle.users()) == ["1"]


@contextlib.contextmanager
def unchangeable(folder: Path) -> Iterator[None]:
    """Let nothing be made in a folder, not even by root."""
    done = subprocess.run(["chattr", "+i", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this file system has no immutable folders")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", folder], check=True)


def test_single_pass_imports_more_than_is_kept_in_mind(tmp_path: Path, folders: dict[str, Path]) -> None:
    """`rosterd sweep` works off an inbox with more files than `max_waiting`."""
    settings = {"intake": {**SETTINGS["intake"], "max_waiting": 3}}
    with Rosterd(tmp_path, folders, settings=settings) as rosterd:
        for number in range(8):
            rosterd.drop(f"{number}.csv", HEADER + ANN)

        assert rosterd.execute("sweep").returncode == 0
        assert rosterd.inbox() == []
        assert len(rosterd.imports()) == 8


# Stopping


def test_second_signal_stops_at_once() -> None:
    """The first signal lets the file in hand go on, the second does not."""
    woken: list[None] = []
    signals = Signals(lambda: woken.append(None))
    with signals.handled():
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.stop_asked
        assert signals.stop_allows(5)
        assert not signals.stop_overdue()
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.stop_overdue()
        assert not signals.stop_allows(0)
    assert len(woken) == 2


UNSTOPPABLE = """
import hashlib
from watcher import signals
signals.LAST_S = float("{last_s}")
with signals.Signals(lambda: None).handled():
    print("begun", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 1 << 30)  # minutes, and no signal is handled meanwhile
"""


@pytest.mark.parametrize(("last_s", "signals"), [(0.5, 1), (60.0, 2)], ids=["in time", "second signal"])
def test_what_cannot_be_interrupted_does_not_delay_the_stop(last_s: float, signals: int) -> None:
    """A process that is deep in a library's work when it is told to stop ends in time all the same."""
    command = [sys.executable, "-c", UNSTOPPABLE.format(last_s=last_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        for number in (signal.SIGTERM, signal.SIGINT)[:signals]:
            process.send_signal(number)
        assert process.wait(STOP_WITHIN_S * 4) == 0


def test_idle_daemon_stops_at_once(rosterd: Rosterd) -> None:
    """A daemon with nothing in hand ends before a signal has to end it."""
    rosterd.stop()
    assert len(rosterd.events("daemon.stopped")) == 1


# The backlog


def test_backlog_keeps_the_order_of_a_client() -> None:
    """A claim that waits because of the host keeps back the newer ones of its client, and no other's."""
    backlog = Backlog()
    for client, claim_id in (("acme", "1"), ("acme", "2"), ("beta", "3")):
        backlog.add(client, claim_id)
    backlog.defer("acme", "1", 0.0)

    assert backlog.next_due(0.5).claims == [("beta", "3")]
    backlog.drop("3")
    assert not backlog.next_due(0.5).claims
    assert backlog.next_due(FIRST_RETRY_S).claims == [("acme", "1")]
    assert backlog.blocked() == {"acme"}


def test_backlog_does_not_wait_for_a_writer() -> None:
    """A claim that only waits for its writer keeps nothing back."""
    backlog = Backlog()
    backlog.add("acme", "1")
    backlog.add("acme", "2")
    backlog.defer("acme", "1", 0.0, blocks=False)

    assert backlog.next_due(0.5).claims == [("acme", "2")]
    backlog.drop("2")
    assert backlog.blocked() == set()


def test_backlog_tries_ever_more_rarely() -> None:
    """Tries are 1, 2, 4 ... and at most 60 seconds apart."""
    backlog = Backlog()
    pauses = []
    for _ in range(8):
        backlog.defer("acme", "1", 0.0)
        pauses.append(backlog.next_due_at())

    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, LAST_RETRY_S, LAST_RETRY_S]


def test_lock_ends_with_the_process(rosterd: Rosterd) -> None:
    """A daemon that was killed leaves nothing that keeps the next from starting."""
    rosterd.kill9()
    rosterd.start()
