"""Looks at large files in turns: they find what one go finds, and keep nobody waiting."""

from __future__ import annotations

import functools
import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from importer.file import text as texts
from importer.file.upload import Upload
from importer.model import HoldReason
from importer.settings import ClientSettings, FileSettings
from tests.lab import wait_until
from tests.lab.daemon import Rosterd
from watcher.inbox import holds as requests
from watcher.inbox import large_files as readings
from watcher.inbox.holds import hold_reason_of
from watcher.inbox.large_files import Reading, Readings
from watcher.model import Identity

HEADER = "unique_id,login_source,first_name,last_name,email\n"
ANN = "1,OPSCOM,Ann,Lee,ann@school.example\n"
CLIENT = ClientSettings(name="acme", inbox="/srv", fallback_encoding="cp1252")
CLIENTS = [
    CLIENT,
    msgspec.structs.replace(CLIENT, companion="sha256", fallback_encoding=""),
]
# Quotation marks that a look has to follow to the end of the file: some 0.1 s of processor time for each MiB.
COSTLY = HEADER + '"\n' * (4 << 20) + '"'  # a look takes more than a second


def identity(path: Path) -> Identity:
    found = path.stat()
    return Identity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def begun(path: Path, judge: Callable[[BinaryIO], HoldReason]) -> Reading:
    return Reading(os.fsencode(path.name), identity(path), functools.partial(Upload, os.fsencode(path)), judge)


def in_turns(path: Path, judge: Callable[[BinaryIO], HoldReason]) -> tuple[HoldReason, int]:
    """Return what was found, and in how many turns."""
    reading, turns = begun(path, judge), 1
    try:
        while (found := reading.advance()) is None:
            turns += 1
        return found, turns
    finally:
        reading.end()


@given(
    content=st.one_of(
        st.text(st.sampled_from('"""\r\n,,aé '), max_size=80).map(lambda text: (HEADER + text).encode()),
        st.text(st.sampled_from('""\n,aé'), max_size=60).map(lambda text: (HEADER + text).encode("utf-16")),
        st.binary(max_size=40),
    ),
    client=st.sampled_from(CLIENTS),
    is_vouched=st.booleans(),
)
def test_turns_find_what_one_go_finds(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, client: ClientSettings, *, is_vouched: bool
) -> None:
    """Whatever a file holds, and however often its look has to wait for a turn, the answer is that of a whole look."""
    path = tmp_path_factory.getbasetemp() / "turns.csv"
    path.write_bytes(content)
    companion = hashlib.sha256(content if is_vouched else b"").hexdigest().encode()
    judge = functools.partial(
        hold_reason_of, client=client, limits=FileSettings(), sidecar=companion, is_broken_off=False
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "CHUNK_BYTES", 7)
        patch.setattr(requests, "_CHUNK_BYTES", 5)
        with path.open("rb") as raw:
            expected = judge(raw)
        patch.setattr(readings, "SLICE_S", 0.0)
        found, turns = in_turns(path, judge)
    assert expected == found
    assert turns > 1


def test_a_look_that_is_too_costly_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that takes more processor time than it may is told as a doubt of its own."""
    monkeypatch.setattr(readings, "_LIMIT_S", 0.2)
    monkeypatch.setattr(readings, "_LIMIT_S_PER_BYTE", 0.0)
    path = tmp_path / "users.csv"
    path.write_text(HEADER)

    def read_for_ever(raw: BinaryIO) -> HoldReason:
        while True:
            raw.seek(0)
            raw.read(1)

    assert in_turns(path, read_for_ever)[0] is HoldReason.UNREAD


def test_a_read_that_hangs_does_not_keep_the_loop(tmp_path: Path) -> None:
    """The loop goes on after a second, and hears the answer once the disk has given it."""
    (tmp_path / "users.csv").write_text(HEADER)
    until = time.monotonic() + 2.5

    def hang(raw: BinaryIO) -> HoldReason:
        raw.read(1)
        while time.monotonic() < until:
            time.sleep(0.01)
        raw.read(1)
        return HoldReason.NONE

    found, turns = in_turns(tmp_path / "users.csv", hang)
    assert (HoldReason.NONE, 3) <= (found, turns)


def test_an_error_of_the_disk_comes_across(tmp_path: Path) -> None:
    """What reading raises is raised where the answer was waited for, and nothing stays open."""
    (tmp_path / "users.csv").write_text(HEADER)

    def fail(raw: BinaryIO) -> HoldReason:
        raw.read(1)
        raise OSError(5, "Input/output error")

    looks = Readings()
    before = os.listdir("/proc/self/fd")
    for _ in range(5):
        with pytest.raises(OSError, match="Input/output error"):
            looks.hold_reason(
                "acme", b"users.csv", identity(tmp_path / "users.csv"), lambda: begun(tmp_path / "users.csv", fail)
            )
    assert before == os.listdir("/proc/self/fd")


def test_a_changed_file_is_looked_at_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that began before its file changed, or at another file of the client, is not resumed."""
    monkeypatch.setattr(readings, "SLICE_S", 0.0)
    path, looks = tmp_path / "users.csv", Readings()
    path.write_text(HEADER)

    def judge(raw: BinaryIO) -> HoldReason:
        size_bytes = len(raw.read(1000)) + len(raw.read(1000))
        return HoldReason.NONE if size_bytes > len(HEADER) else HoldReason.EMPTY

    def look() -> HoldReason | None:
        return looks.hold_reason("acme", b"users.csv", identity(path), lambda: begun(path, judge))

    assert look() is None
    path.write_text(HEADER + ANN)
    found = [look() for _ in range(4)]
    assert HoldReason.NONE in found
    assert HoldReason.EMPTY not in found
    looks.end_all()


# With the daemon


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Yield the socket a service manager listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(20)
        yield listener


@pytest.fixture
def rosterd(tmp_path: Path, folders: dict[str, Path], manager: socket.socket) -> Iterator[Rosterd]:
    """Yield the running daemon, which a service manager watches."""
    with Rosterd(tmp_path, folders, environment={"NOTIFY_SOCKET": manager.getsockname()}) as installation:
        installation.start()
        yield installation


def is_looking(rosterd: Rosterd) -> bool:
    """Tell whether a look is under way: its file is open."""
    paths = (f"/proc/{rosterd.pid}/fd/{fd}" for fd in os.listdir(f"/proc/{rosterd.pid}/fd"))
    return any(os.path.lexists(path) and os.readlink(path).endswith("/acme/large.csv") for path in paths)


def test_a_look_at_a_large_file_keeps_nobody_waiting(rosterd: Rosterd, manager: socket.socket) -> None:
    """Files of others are imported meanwhile, and the watchdog is fed, however long it takes to look at one."""
    rosterd.drop("large.csv", HEADER + '"\n' * (40 << 20) + '"')
    wait_until(lambda: is_looking(rosterd), "the look")
    manager.settimeout(0)
    for number in range(3):
        rosterd.drop(f"small{number}.csv", HEADER + ANN, client="beta")
        rosterd.wait_for_event("file.archived", file=f"small{number}.csv")
        words = []
        while b"" not in words:
            words.append(_word(manager))
        assert b"WATCHDOG=1" in words
    assert not rosterd.events("file.held")
    assert rosterd.wait_for_event("file.held", file="large.csv")["reason"] == "open_quote"


def _word(manager: socket.socket) -> bytes:
    try:
        return manager.recv(100)
    except BlockingIOError:
        return b""


def test_a_look_ends_with_its_file(rosterd: Rosterd, folders: dict[str, Path]) -> None:
    """A file that is removed while it is looked at is closed at once, and keeps nobody waiting."""
    rosterd.drop("large.csv", COSTLY)
    wait_until(lambda: is_looking(rosterd), "the look")
    (folders["acme"] / "large.csv").unlink()
    wait_until(lambda: not is_looking(rosterd), "the end of the look")
    rosterd.drop("next.csv", HEADER + ANN, client="beta")
    rosterd.wait_for_event("file.archived", file="next.csv")


def test_a_name_that_is_due_again_and_again_ends_no_look(rosterd: Rosterd, folders: dict[str, Path]) -> None:
    """An upload that is still written, and so looked at every few seconds, keeps no look at another from its end."""
    with (folders["acme"] / "written.csv").open("w") as written:
        written.write(HEADER)
        written.flush()
        wait_until(lambda: "written.csv" in rosterd.execute("status").stdout, "the other name to be known")
        rosterd.drop("large.csv", COSTLY)
        assert rosterd.wait_for_event("file.held", file="large.csv")["reason"] == "open_quote"


def test_a_file_that_is_released_is_taken_at_once(rosterd: Rosterd) -> None:
    """The operator's word ends the rest that a costly look brings its client, and no other look comes before it."""
    rosterd.drop("large.csv", COSTLY)
    rosterd.wait_for_event("file.held", file="large.csv")
    assert rosterd.execute("release", "large.csv", "--client", "acme").returncode == 0
    rosterd.wait_for_event("file.claimed", file="large.csv")


def test_a_stop_ends_a_look(rosterd: Rosterd) -> None:
    """A stop does not wait for the end of a look."""
    rosterd.drop("large.csv", HEADER + '"\n' * (16 << 20) + '"')
    wait_until(lambda: is_looking(rosterd), "the look")
    rosterd.stop()
    assert rosterd.events("file.held") == []


def test_a_reload_begins_a_look_anew(rosterd: Rosterd) -> None:
    """What is looked at while the configuration is read again is judged by the new one."""
    rosterd.drop("large.csv", COSTLY)
    wait_until(lambda: is_looking(rosterd), "the look")
    rosterd.reload(lambda text: text.replace('name = "acme"', 'name = "acme"\ncompanion = "done"'))
    rosterd.wait_for_event("config.reloaded")
    assert rosterd.wait_for_event("file.held", file="large.csv")["reason"] == "unaccompanied"
