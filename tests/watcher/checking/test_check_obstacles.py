"""The folder `check` with the worst that a client can put into it, and in the middle of other work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import Needs
from tests.lab import wait_until
from tests.lab.daemon import Rosterd, make_inboxes
from tests.watcher.checking.test_check_folder import ANN, BAD, answered, lines, names_in, put, text_of

ON = {"check_folder": True}
SLOW = """
import time
import watcher.checking.run as run
real, first = run.Run.check, [True]
def check(self, uploads, name, identity, ask):
    if first:
        first.clear()
        open({marker!r}, "w").close()
        while True:
            ask(0)
            time.sleep(0.01)
    return real(self, uploads, name, identity, ask)
run.Run.check = check
"""
GONE = """
import os
import watcher.checking.run as run
real = run._is_unchanged
def is_unchanged(uploads, name, identity):
    if name == b"gone.csv":
        os.unlink(name, dir_fd=uploads.fd)
    if name == b"changed.csv" and os.stat(name, dir_fd=uploads.fd).st_size == identity.size_bytes < 100:
        fd = os.open(name, os.O_WRONLY | os.O_APPEND, dir_fd=uploads.fd)
        os.write(fd, b"2,OPSCOM,Ben,Roy,ben@school.example\\n")
        os.close(fd)
    return real(uploads, name, identity)
run._is_unchanged = is_unchanged
"""


def ignored(rosterd: Rosterd) -> dict[object, object]:
    return {event["file"]: event["reason"] for event in rosterd.events("check.ignored")}


def test_what_is_no_plain_file_is_never_opened(tmp_path: Path, needs: Needs) -> None:
    """Links, pipes, folders, devices and second names are reported once and left alone; others are answered."""
    needs(root=True)
    outside = tmp_path / "outside.csv"
    outside.write_text(lines(BAD))
    before = outside.stat()
    check = tmp_path / "acme" / "check"
    with Rosterd(tmp_path, make_inboxes(tmp_path), client_settings=ON) as rosterd:
        check.mkdir()
        check.chmod(0o1770)
        (check / "link.csv").symlink_to(outside)
        (check / "hard.csv").hardlink_to(outside)
        os.mkfifo(check / "pipe.csv")
        os.mknod(check / "device.csv", 0o20644, os.makedev(1, 5))
        (check / "folder.csv").mkdir()
        for odd in (b"\xff\xfe\n.csv", b"\xe2\x80\xae" + b"x" * 248 + b".csv"):
            Path(os.fsdecode(os.path.join(os.fsencode(check), odd))).write_text(lines(ANN))
        for name in (".hidden.csv", "users.csv.filepart", "users.csv.approve-K7Q2MD", "users.csv.sha256"):
            (check / name).write_text(lines(ANN))
        rosterd.start()
        answered(rosterd, 2)
        put(check, "good.csv", lines(ANN))
        answered(rosterd, 3)
        wait_until(lambda: len(ignored(rosterd)) == 5, "all to be reported")
        rosterd.stop()

        kinds = {"link": "link", "hard": "hard link", "pipe": "fifo", "device": "other", "folder": "folder"}
        assert {f"{name}.csv": kind for name, kind in kinds.items()} == ignored(rosterd)
        assert 5 == len(rosterd.events("check.ignored"))
        assert 3 == len([name for name in os.listdir(check) if name.endswith(".check.txt")])
        assert before.st_mtime_ns == outside.stat().st_mtime_ns
        assert ([], []) == (rosterd.imports(), rosterd.events("file.ignored"))


@pytest.mark.parametrize("kind", ["link", "file", "pipe", "dangling"])
def test_something_else_is_called_check(kind: str, tmp_path: Path) -> None:
    """Whatever has the name of the folder, nothing outside is touched, imports go on, and checks resume without it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "users.csv").write_text(lines(ANN))
    check = tmp_path / "acme" / "check"
    with Rosterd(tmp_path, make_inboxes(tmp_path), client_settings=ON) as rosterd:
        match kind:
            case "link":
                check.symlink_to(outside)
            case "dangling":
                check.symlink_to(tmp_path / "nowhere")
            case "file":
                check.write_text("")
            case _:
                os.mkfifo(check)
        rosterd.start()
        assert "not a folder" in str(rosterd.wait_for_event("check.unusable", client="acme")["reason"])
        rosterd.drop("users.csv", lines(ANN))
        rosterd.wait_for_imports(1)
        assert ["users.csv"] == os.listdir(outside)
        check.unlink()
        rosterd.wait_for_event("check.restored", client="acme")
        put(check, "users.csv", lines(ANN))
        answered(rosterd, 1)


def test_a_name_that_is_taken_is_not_replaced(tmp_path: Path) -> None:
    """What the client has put where the answer would go stays, and the file is not answered."""
    check = tmp_path / "acme" / "check"
    with Rosterd(tmp_path, make_inboxes(tmp_path), client_settings=ON) as rosterd:
        rosterd.start()
        path = put(check, "users.csv", lines(ANN))
        answered(rosterd, 1)
        rosterd.stop()
        [text] = check.glob("*.check.txt")
        text.unlink()
        text.mkdir()
        rosterd.start()
        assert "the name of its answer is taken" == rosterd.wait_for_event("check.ignored")["reason"]
        assert sorted([path.name, text.name]) == sorted(os.listdir(check))


def test_more_files_than_are_kept_in_memory(tmp_path: Path) -> None:
    """All files are answered, however many there are; those that are answered take no place of others."""
    check = tmp_path / "acme" / "check"
    settings = {"intake": {"max_waiting": 3}}
    with Rosterd(tmp_path, make_inboxes(tmp_path), client_settings=ON, settings=settings) as rosterd:
        rosterd.start()
        for number in range(7):
            put(check, f"users{number}.csv", lines(ANN))
        wait_until(lambda: len(rosterd.events("check.answered")) == 7, "all answers", patience_s=120)


@pytest.mark.parametrize("client", ["acme", "beta"])
def test_imports_come_first(client: str, tmp_path: Path) -> None:
    """A check is ended for an upload of any client, the same one included, and is made afterwards."""
    check, marker = tmp_path / "acme" / "check", tmp_path / "checking"
    with Rosterd(tmp_path, make_inboxes(tmp_path), client_settings=ON) as rosterd:
        rosterd.planted = SLOW.format(marker=str(marker))
        rosterd.start()
        put(check, "users.csv", lines(ANN))
        wait_until(marker.exists, "the check to begin")
        rosterd.drop("users.csv", lines(ANN), client)
        rosterd.wait_for_imports(1)
        [event] = answered(rosterd, 1)
        assert 1 == len(rosterd.events("check.yielded"))
        assert {"acme": (1, 0), "beta": (0, 1)}[client] == (event["unchanged"], event["created"])


def test_a_stop_ends_a_check(tmp_path: Path) -> None:
    """The service stops in time, and its next start checks the file."""
    check, marker = tmp_path / "acme" / "check", tmp_path / "checking"
    with Rosterd(tmp_path, make_inboxes(tmp_path), client_settings=ON) as rosterd:
        rosterd.planted = SLOW.format(marker=str(marker))
        rosterd.start()
        put(check, "users.csv", lines(ANN))
        wait_until(marker.exists, "the check to begin")
        rosterd.stop()
        assert ["users.csv"] == names_in(check)
        rosterd.planted = ""
        rosterd.start()
        answered(rosterd, 1)


def test_a_check_that_takes_too_long_is_answered(tmp_path: Path) -> None:
    """The answer says so, and what to do."""
    check = tmp_path / "acme" / "check"
    with Rosterd(tmp_path, make_inboxes(tmp_path), client_settings=ON) as rosterd:
        rosterd.planted = "import watcher.checking.pace as pace\npace.LIMIT_S = 0.0"
        rosterd.start()
        put(check, "users.csv", lines(ANN, BAD))
        [event] = answered(rosterd, 1)
        assert ("refused", "check.time") == (event["outcome"], event["code"])
        assert ["users.check.txt", "users.csv"] == names_in(check)
        assert "nothing was imported" in text_of(check)
        assert "first thousand rows" in text_of(check)


def test_a_file_that_changes_while_it_is_checked(tmp_path: Path) -> None:
    """One that is gone is not answered; one that was written to is checked as it is then."""
    check = tmp_path / "acme" / "check"
    with Rosterd(tmp_path, make_inboxes(tmp_path), client_settings=ON) as rosterd:
        rosterd.planted = GONE
        rosterd.start()
        put(check, "gone.csv", lines(ANN))
        put(check, "changed.csv", lines(ANN))
        [event] = answered(rosterd, 1)
        assert ("changed.csv", 2) == (event["file"], event["rows"])
        wait_until(lambda: not (check / "gone.csv").exists(), "the file to be gone")
        put(check, "last.csv", lines(ANN))
        answered(rosterd, 2)
        assert ["changed.check.txt", "changed.csv", "last.check.txt", "last.csv"] == names_in(check)


def test_a_file_that_is_being_written_waits(tmp_path: Path) -> None:
    """While a process has it open for writing it is not checked; then it is, whole."""
    check = tmp_path / "acme" / "check"
    with Rosterd(tmp_path, make_inboxes(tmp_path), client_settings=ON) as rosterd:
        rosterd.start()
        with (check / "users.csv").open("w") as file:
            file.write(lines(ANN))
            file.flush()
            put(check, "other.csv", lines(ANN))
            answered(rosterd, 1)
            file.write(f"{BAD}\n")
        events = answered(rosterd, 2)
        assert ("other.csv", "users.csv", 2) == (events[0]["file"], events[1]["file"], events[1]["rows"])
