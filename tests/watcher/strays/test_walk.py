"""What is found in an inbox that is never imported: bounded, without opening a file or following a link."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from importer import fs
from tests.conftest import Needs
from watcher.inbox.settle import Names
from watcher.strays import walk
from watcher.strays.walk import Listing, Rules, list_strays

NAMES = Names("*.csv")
RULES = Rules(NAMES.accept, NAMES.is_temporary, lambda _: False)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """Return an inbox with the service's folders."""
    made = tmp_path / "inbox"
    for name in (".work", ".bak"):
        (made / name).mkdir(parents=True)
        (made / name / "users.csv.txt").touch()
    return made


def found(inbox: Path, rules: Rules = RULES, now_s: float = 0.0) -> tuple[Listing, Listing]:
    """Walk through an inbox."""
    with fs.open_folder(inbox) as fd:
        return list_strays(fd, rules, now_s)


def put(inbox: Path, *paths: str | bytes) -> None:
    """Create files, and the folders they are in."""
    for path in paths:
        whole = os.path.join(os.fsencode(inbox), os.fsencode(path))
        os.makedirs(os.path.dirname(whole), exist_ok=True)
        with open(whole, "xb"):
            pass


def test_names_that_no_rule_takes(inbox: Path) -> None:
    """Uploads, temporary names and hidden files are none; links, FIFOs and folders are no files."""
    put(
        inbox, "users.csv", "users.xlsx", "users.csv.part", ".hidden", "~$users.xlsx", "users.csv.txt", "notes", b"\xff"
    )
    (inbox / "link.txt").symlink_to("/etc/passwd")
    os.mkfifo(inbox / "fifo.txt")
    outer, inner = found(inbox)
    assert [b"notes", b"users.csv.txt", b"\xff"] == sorted(outer.paths)
    assert ([], True, True) == (inner.paths, inner.is_whole, outer.is_whole)


def test_files_in_folders_of_the_client(inbox: Path) -> None:
    """Every file of every folder is one, whatever its name, but for temporary names and hidden folders."""
    put(inbox, "a/users.csv", "a/b/c/x.txt", "a/users.csv.part", ".cache/users.csv", "a/.bak/y.csv", "a/.work")
    (inbox / "elsewhere").symlink_to(inbox / "a")
    outer, inner = found(inbox)
    assert ([], [b"a/b/c/x.txt", b"a/users.csv"]) == (outer.paths, sorted(inner.paths))


def test_temporary_names_of_old(inbox: Path) -> None:
    """A temporary name is none for a day."""
    put(inbox, "users.csv.part")
    now_s = (inbox / "users.csv.part").stat().st_ctime
    assert [] == found(inbox, now_s=now_s + 86_300)[0].paths
    assert [b"users.csv.part"] == found(inbox, now_s=now_s + 86_500)[0].paths


def test_what_others_have_put_there(inbox: Path) -> None:
    """What the client has not put there is nothing to tell the client of."""
    put(inbox, "README.txt", "a/README.txt")
    outer, inner = found(inbox, Rules(NAMES.accept, NAMES.is_temporary, lambda _: True))
    assert ([], []) == (outer.paths, inner.paths)


def test_no_other_file_system_is_entered(inbox: Path, needs: Needs) -> None:
    """A file system that is mounted in the inbox is left alone."""
    needs("unshare", "mount", root=True)
    (inbox / "mnt").mkdir()
    script = f"mount -t tmpfs none {inbox}/mnt && touch {inbox}/mnt/x.txt && exec {shutil.which('sleep')} 60"
    with subprocess.Popen(["unshare", "--mount", "sh", "-c", script]) as process:
        try:
            root = Path(f"/proc/{process.pid}/root{inbox}")
            until = time.monotonic() + 30
            while not (root / "mnt" / "x.txt").exists():
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.02)
            assert [] == found(root)[1].paths
        finally:
            process.kill()


def test_a_folder_that_becomes_a_link(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is replaced by a link between two looks is not followed, at any depth."""
    put(inbox, "a/b/x.txt")
    secret = inbox.parent / "secret"
    put(secret, "b/private.txt", "private.txt")
    is_folder = walk._is_folder

    def swapping(entry: os.DirEntry[str]) -> bool:
        answer = is_folder(entry)
        if entry.name in {"a", "b"} and answer:
            above = Path(os.readlink(f"/proc/self/fd/{fds[-1]}"))
            shutil.rmtree(above / entry.name)
            (above / entry.name).symlink_to(secret)
        return answer

    fds: list[int] = []
    scandir = os.scandir

    def noting(fd: int) -> object:
        fds.append(fd)
        return scandir(fd)

    monkeypatch.setattr(os, "scandir", noting)
    monkeypatch.setattr(walk, "_is_folder", swapping)
    assert [] == found(inbox)[1].paths


@pytest.fixture
def crowd(fleeting: Path) -> Path:
    """Return an inbox with 50,000 names that no rule takes, half of them in a folder."""
    inbox = fleeting / "inbox"
    (inbox / "more").mkdir(parents=True)
    for number in range(25_000):
        (inbox / f"{number:0250}.x").touch()
        (inbox / "more" / f"{number}").touch()
    return inbox


def test_50_000_names(crowd: Path) -> None:
    """Of any number of names a bounded number is looked at and remembered, in a fraction of a second."""
    began = time.process_time()
    outer, inner = found(crowd)
    took_s = time.process_time() - began
    assert (walk.MAX_LISTED, False) == (len(outer.paths), outer.is_whole)
    assert walk.MAX_ENTRIES - 10 < len(outer.paths) + outer.more <= walk.MAX_ENTRIES
    assert not inner.is_whole
    assert took_s < 2.0


def test_folders_in_folders(inbox: Path) -> None:
    """Folders are entered to a depth, and at most so many of them; what is beyond may be there, for all we know."""
    put(inbox, "d/" * walk.MAX_DEPTH + "x.txt", "f/" * (walk.MAX_DEPTH + 1) + "y.txt")
    outer, inner = found(inbox)
    assert ([b"d/d/d/d/d/d/d/d/x.txt"], False, True) == (inner.paths, inner.is_whole, outer.is_whole)


def test_many_folders(inbox: Path) -> None:
    """The number of folders that a sweep enters is limited."""
    for number in range(walk.MAX_FOLDERS + 10):
        put(inbox, f"{number}/x")
    outer, inner = found(inbox)
    assert (walk.MAX_FOLDERS, False, True) == (len(inner.paths) + inner.more, inner.is_whole, outer.is_whole)
    assert [] == outer.paths
