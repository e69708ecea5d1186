from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from importer import names
from importer.model import Claim, Interrupted, Message, message
from tests.conftest import Needs
from tests.lab import open_parents
from watcher.inbox import entries, layout
from watcher.inbox.archive import archive_claim, holds_archive
from watcher.inbox.claim import claim_upload, discard_drafts, is_in_writing, resume_claim, unfinished_claims
from watcher.inbox.layout import Inbox
from watcher.model import ClaimGone, Identity, InboxUnusable, Kind, Writer

AT = datetime(2026, 11, 22, 7, 42, 5, tzinfo=UTC)
STAMP = "20261122T074205Z"
NOBODY = 65534


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of an inbox."""
    made = tmp_path / "upload"
    made.mkdir()
    return made


@pytest.fixture
def inbox(folder: Path) -> Iterator[Inbox]:
    """Yield the open inbox."""
    with layout.opened("acme", str(folder)) as opened:
        yield opened


def put(folder: Path, name: str = "users.csv", content: str = "a\n") -> Path:
    path = folder / name
    path.write_text(content)
    return path


def glanced(inbox: Inbox, name: bytes) -> Identity:
    identity = entries.find_identity(inbox, name)
    assert identity is not None
    return identity


def claimed(inbox: Inbox, name: bytes = b"users.csv") -> str:
    capture = claim_upload(inbox, name, glanced(inbox, name), AT)
    assert capture is not None
    assert capture.settled
    return capture.claim_id


def draft(claim: Claim, name: str) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT, 0o640, dir_fd=claim.folder_fd)
    os.write(fd, name.encode())
    os.close(fd)


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@contextmanager
def written(path: Path) -> Iterator[None]:
    fd = os.open(path, os.O_WRONLY)
    try:
        yield
    finally:
        os.close(fd)


# Opening


def test_own_folders_are_made(folder: Path, inbox: Inbox) -> None:
    """`.work` and `.bak` are made when missing, with their modes whatever the umask, and the inbox's group."""
    del inbox
    assert stat.S_IMODE((folder / ".work").stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / ".bak").stat().st_mode) == 0o750


def test_own_folders_get_the_clients_group(folder: Path, needs: Needs) -> None:
    """`.bak` belongs to the group of the inbox, so that the client can read it."""
    needs(root=True)
    os.chown(folder, 0, NOBODY)
    with layout.opened("acme", str(folder)):
        assert (folder / ".bak").stat().st_gid == NOBODY


@pytest.mark.parametrize(("inbox_mode", "bak_mode", "draft_mode"), [(0o1770, 0o755, 0o644), (0o1771, 0o750, 0o640)])
def test_client_can_read_though_the_service_is_not_in_its_group(
    folder: Path, needs: Needs, inbox_mode: int, bak_mode: int, draft_mode: int
) -> None:
    """A service that may not give files to the client's group lets others read, if nobody else gets into the inbox."""
    needs(root=True)
    os.chown(folder, 1001, NOBODY)
    folder.chmod(inbox_mode)
    open_parents(folder)
    put(folder)
    os.seteuid(1001)
    try:
        with layout.opened("acme", str(folder)) as inbox, resume_claim(inbox, claimed(inbox)) as claim:
            draft(claim, ".result.txt")
            archive_claim(inbox, claim)
    finally:
        os.seteuid(0)

    assert stat.S_IMODE((folder / ".work").stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / ".bak").stat().st_mode) == bak_mode
    assert stat.S_IMODE((folder / ".bak" / f"users.{STAMP}.result.txt").stat().st_mode) == draft_mode


@pytest.mark.parametrize("name", [".work", ".bak"])
@pytest.mark.parametrize("kind", ["link", "file", "open to others"])
def test_own_folder_that_cannot_be_trusted(folder: Path, name: str, kind: str) -> None:
    """A `.work` or `.bak` that is a link, a file or writable for others makes the inbox unusable, and says where."""
    own = folder / name
    match kind:
        case "link":
            (folder / "elsewhere").mkdir()
            own.symlink_to("elsewhere")
        case "file":
            own.touch()
        case _:
            own.mkdir()
            own.chmod(0o777)

    with pytest.raises(InboxUnusable, match=str(own)), layout.opened("acme", str(folder)):
        pass


def test_own_folder_of_somebody_else(folder: Path, needs: Needs) -> None:
    """A `.bak` that the client made is refused."""
    needs(root=True)
    (folder / ".bak").mkdir(mode=0o750)
    os.chown(folder / ".bak", NOBODY, NOBODY)

    with pytest.raises(InboxUnusable, match="owned by uid 65534"), layout.opened("acme", str(folder)):
        pass


def test_inbox_of_somebody_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An inbox whose sticky bit keeps its files for others is refused before a file comes."""
    folder.chmod(0o1777)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    with pytest.raises(InboxUnusable, match=r"owner \(uid \d+\) or mode \(1777\)"), layout.opened("acme", str(folder)):
        pass


def test_inbox_that_is_read_only(folder: Path, needs: Needs) -> None:
    """An inbox that cannot be written to is refused before a file comes, and used when it can."""
    needs("mount", root=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
    try:
        for option in ("ro", "rw"):
            subprocess.run(["mount", "-o", f"remount,{option}", folder], check=True)
            refused = pytest.raises(InboxUnusable, match="read-only") if option == "ro" else contextlib.nullcontext()
            with refused, layout.opened("acme", str(folder)):
                pass
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_link_on_the_way_to_the_inbox(folder: Path, tmp_path: Path) -> None:
    """A link in the path of an inbox is refused, wherever it stands."""
    (tmp_path / "link").symlink_to(folder)
    for path in (tmp_path / "link", tmp_path / "link" / "below"):
        with pytest.raises(InboxUnusable), layout.opened("acme", str(path)):
            pass


def test_missing_inbox(tmp_path: Path) -> None:
    """An inbox that is not there is trouble of the host."""
    with pytest.raises(FileNotFoundError), layout.opened("acme", str(tmp_path / "upload")):
        pass


# Looking


def test_look_at_a_file(folder: Path, inbox: Inbox) -> None:
    """A file is described by its identity, its links and who writes it."""
    path = put(folder)
    found = path.stat()

    look = entries.look(inbox, b"users.csv")

    assert look is not None
    assert look.identity == Identity(found.st_dev, found.st_ino, 2, found.st_mtime_ns, found.st_ctime_ns)
    assert (look.kind, look.links, look.writer, look.foreign) == (Kind.FILE, 1, Writer.NONE, False)


def test_look_at_nothing(inbox: Inbox) -> None:
    """A name that nothing has gives nothing."""
    assert entries.look(inbox, b"users.csv") is None
    assert entries.find_identity(inbox, b"users.csv") is None


def test_writer_is_seen(folder: Path, inbox: Inbox) -> None:
    """A file that any process has open for writing is seen to be, until it is closed."""
    path = put(folder)
    with written(path):
        look = entries.look(inbox, b"users.csv")
        assert look is not None
        assert look.writer is Writer.OPEN

    look = entries.look(inbox, b"users.csv")
    assert look is not None
    assert look.writer is Writer.NONE


def test_writer_that_comes_during_the_probe_does_no_harm(folder: Path, inbox: Inbox) -> None:
    """Neither the daemon nor the client suffers when a file is opened for writing in the moment it is probed."""
    path = put(folder)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            with written(path):
                pass

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(500):
        assert entries.look(inbox, b"users.csv") is not None
    stop.set()
    writer.join()


def test_writer_is_unknown_without_the_right_to_ask(folder: Path, inbox: Inbox, needs: Needs) -> None:
    """Where leases are refused the writer is unknown, never absent."""
    needs(root=True)
    put(folder).chmod(0o644)
    os.seteuid(NOBODY)
    try:
        look = entries.look(inbox, b"users.csv")
    finally:
        os.seteuid(0)

    assert look is not None
    assert look.writer is Writer.UNKNOWN


@pytest.mark.parametrize("kind", [Kind.LINK, Kind.FOLDER, Kind.FIFO])
def test_other_entries_are_not_opened(folder: Path, inbox: Inbox, kind: Kind) -> None:
    """Links, folders and FIFOs are told apart without opening or following them."""
    path = folder / "users.csv"
    match kind:
        case Kind.LINK:
            path.symlink_to("/etc/passwd")
        case Kind.FOLDER:
            path.mkdir()
        case _:
            os.mkfifo(path)

    look = entries.look(inbox, b"users.csv")

    assert look is not None
    assert look.kind is kind


@pytest.mark.parametrize(
    ("inbox_owner", "file_owner", "foreign"),
    [
        ((1001, 2001), (3001, 2001), False),  # the service's inbox, a file of the client's group
        ((1001, 2001), (3001, 3001), True),
        ((1001, 2001), (1001, 1001), False),  # ours
        ((3001, 3001), (3001, 9), False),  # the client's own inbox
        ((3001, 3001), (3002, 3001), True),
        ((3001, 3001), (0, 0), False),  # put there by the operator
    ],
)
def test_foreign_files(
    folder: Path, needs: Needs, inbox_owner: tuple[int, int], file_owner: tuple[int, int], *, foreign: bool
) -> None:
    """A file is foreign when its owner is neither the service, nor root, nor of the client that the inbox is for."""
    needs(root=True)
    with layout.opened("acme", str(folder)):
        pass
    os.chown(folder, *inbox_owner)
    for own in (".work", ".bak"):
        os.chown(folder / own, 1001, 1001)
    folder.chmod(0o775)
    open_parents(folder)
    os.chown(put(folder), *file_owner)
    os.setegid(inbox_owner[1])  # else nothing could be taken out of the client's own inbox
    os.seteuid(1001)
    try:
        with layout.opened("acme", str(folder)) as inbox:
            look = entries.look(inbox, b"users.csv")
    finally:
        os.seteuid(0)
        os.setegid(0)

    assert look is not None
    assert look.foreign is foreign


def test_listing(folder: Path, inbox: Inbox) -> None:
    """A listing holds what is accepted and no more than asked for; names are bytes."""
    odd = os.fsencode(folder) + b"/\xff\n.csv"
    os.close(os.open(odd, os.O_CREAT))
    put(folder, "a.csv")
    put(folder, "b.txt")

    assert set(entries.list_files(inbox, lambda name: name.endswith(b".csv"), 10)) == {b"a.csv", b"\xff\n.csv"}
    assert len(entries.list_files(inbox, lambda _: True, 1)) == 1


# Claiming


def test_claim_moves_the_file_into_a_folder_of_its_own(folder: Path, inbox: Inbox) -> None:
    """A claimed file lies in `.work/<claim id>/` under its own name, and nothing is in the inbox."""
    found = put(folder).stat()

    claim_id = claimed(inbox)

    assert claim_id.startswith(STAMP)
    assert tree(folder) == [".bak", ".work", f".work/{claim_id}", f".work/{claim_id}/users.csv"]
    with resume_claim(inbox, claim_id) as claim:
        assert (claim.claim_id, claim.client, claim.name) == (claim_id, "acme", b"users.csv")
        assert (claim.device, claim.inode, claim.size_bytes, claim.mtime_ns) == (
            found.st_dev,
            found.st_ino,
            2,
            found.st_mtime_ns,
        )
        assert claim.claimed_at == AT
        assert claim.archive == f"users.{STAMP}.csv".encode()
        assert not is_in_writing(claim)


def test_claim_of_a_name_that_is_gone(folder: Path, inbox: Inbox) -> None:
    """Nothing is left of a claim whose file vanished before."""
    path = put(folder)
    identity = glanced(inbox, b"users.csv")
    path.unlink()

    assert claim_upload(inbox, b"users.csv", identity, AT) is None
    assert tree(folder) == [".bak", ".work"]


def test_file_replaced_before_the_claim_is_put_back(folder: Path, inbox: Inbox) -> None:
    """A file that took the name after the look is not ours yet: it lies in the inbox again."""
    put(folder)
    identity = glanced(inbox, b"users.csv")
    put(folder, "other", "newer").rename(folder / "users.csv")

    assert claim_upload(inbox, b"users.csv", identity, AT) is None
    assert tree(folder) == [".bak", ".work", "users.csv"]
    assert (folder / "users.csv").read_text() == "newer"


def test_file_opened_before_the_claim_is_put_back(folder: Path, inbox: Inbox) -> None:
    """A file that a client opened for writing after the look goes back to its name."""
    path = put(folder)
    identity = glanced(inbox, b"users.csv")
    with written(path):
        assert claim_upload(inbox, b"users.csv", identity, AT) is None

    assert tree(folder) == [".bak", ".work", "users.csv"]


def test_file_that_cannot_go_back_waits_in_its_claim(
    folder: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file still in writing whose name was taken again stays claimed, unsettled, and both files are kept."""
    path = put(folder)
    identity = glanced(inbox, b"users.csv")
    move = layout.move

    def move_and_upload_again(from_fd: int, name: bytes, to_fd: int, new_name: bytes) -> None:
        move(from_fd, name, to_fd, new_name)
        put(folder, "users.csv", "newer")

    with written(path):
        monkeypatch.setattr(layout, "move", move_and_upload_again)
        capture = claim_upload(inbox, b"users.csv", identity, AT)
        assert capture is not None
        assert not capture.settled
        with resume_claim(inbox, capture.claim_id) as claim:
            assert is_in_writing(claim)

    assert (folder / "users.csv").read_text() == "newer"
    assert unfinished_claims(inbox) == [capture.claim_id]


@pytest.mark.parametrize("name", ["users.csv", "n" * 251 + ".csv"], ids=["short name", "255 bytes"])
def test_link_slipped_in_is_given_back(name: str, folder: Path, inbox: Inbox) -> None:
    """What is no file and got into a claim goes back to the inbox, under a name that is free."""
    work = folder / ".work" / f"{STAMP}-00000000"
    work.mkdir()
    (work / name).symlink_to("/etc/passwd")
    put(folder, name)

    assert unfinished_claims(inbox) == []
    assert tree(folder) == sorted([".bak", ".work", name, name[:229] + f".{STAMP}-00000000"])


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/etc/passwd")])
def test_name_that_changes_kind_before_the_claim(
    make: Callable[[Path], None], folder: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no file any more when it is claimed is given back at once, though its name is taken again."""
    path = put(folder)
    identity = glanced(inbox, b"users.csv")
    move = layout.move

    def swap_and_move(from_fd: int, name: bytes, to_fd: int, new_name: bytes) -> None:
        if from_fd == inbox.fd:
            path.unlink()
            make(path)
        move(from_fd, name, to_fd, new_name)
        if from_fd == inbox.fd:
            put(folder, content="newer")

    monkeypatch.setattr(layout, "move", swap_and_move)
    assert claim_upload(inbox, b"users.csv", identity, AT) is None

    assert path.read_text() == "newer"
    assert os.listdir(folder / ".work") == []
    assert len(tree(folder)) == 4


def test_unfinished_claims_never_share_a_stamp(folder: Path, inbox: Inbox) -> None:
    """Claims of the same second get different stamps while they are unfinished, so that their archives differ."""
    put(folder)
    first = claimed(inbox)
    put(folder)
    second = claimed(inbox)

    assert first.startswith(STAMP)
    assert second.startswith("20261122T074206Z")
    assert unfinished_claims(inbox) == [first, second]


# Going on


def test_restart_removes_claim_folders_without_upload(folder: Path, inbox: Inbox) -> None:
    """A claim folder that is empty, or holds only leftovers of an import, is removed."""
    for number, leftovers in enumerate([[], [".result.txt", ".new-12"]]):
        work = folder / ".work" / f"{STAMP}-{number:08x}"
        work.mkdir()
        for name in leftovers:
            put(work, name)
    (folder / ".work" / "of the operator").mkdir()

    assert unfinished_claims(inbox) == []
    assert tree(folder) == [".bak", ".work", ".work/of the operator"]


def test_resume_of_a_claim_that_is_gone(inbox: Inbox) -> None:
    """A claim that is not there any more is not found."""
    with pytest.raises(ClaimGone), resume_claim(inbox, f"{STAMP}-00000000"):
        pass


def test_discarded_drafts(folder: Path, inbox: Inbox) -> None:
    """What an import that was rolled back wrote is removed, the upload is kept."""
    put(folder)
    with resume_claim(inbox, claimed(inbox)) as claim:
        draft(claim, ".failed.csv")
        discard_drafts(claim)
        assert os.listdir(claim.folder_fd) == ["users.csv"]


# Archiving


def test_archive(folder: Path, inbox: Inbox) -> None:
    """Upload, failed CSV and result text lie side by side in `.bak`, and `.work` is empty."""
    put(folder)
    with resume_claim(inbox, claimed(inbox)) as claim:
        draft(claim, ".failed.csv")
        draft(claim, ".result.txt")
        draft(claim, ".new-leftover")
        archive_claim(inbox, claim)
        assert holds_archive(inbox, claim.archive)

    assert tree(folder) == [
        ".bak",
        f".bak/users.{STAMP}.csv",
        f".bak/users.{STAMP}.failed.csv",
        f".bak/users.{STAMP}.result.txt",
        ".work",
    ]


def test_each_answer_of_the_table_is_archived(folder: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the table has as an answer goes to `.bak` with the upload, whose name leaves room for it."""
    monkeypatch.setitem(names.ANSWERS, b".much-longer.json", lambda _: False)
    put(folder, "n" * 251 + ".csv")
    with resume_claim(inbox, claimed(inbox, b"n" * 251 + b".csv")) as claim:
        draft(claim, ".much-longer.json")
        draft(claim, ".result.txt")
        archive_claim(inbox, claim)

    stem = claim.archive.decode().removesuffix(".csv")
    assert [f"{stem}.csv", f"{stem}.much-longer.json", f"{stem}.result.txt"] == tree(folder / ".bak")
    assert 255 == len(f"{stem}.much-longer.json")


def test_archive_goes_on_where_it_was_cut_off(folder: Path, inbox: Inbox) -> None:
    """An archive move that stopped half-way is completed under the name that was promised."""
    put(folder)
    claim_id = claimed(inbox)
    promised = f"users.{STAMP}-7.csv".encode()
    put(folder / ".bak", f"users.{STAMP}-7.failed.csv")
    with resume_claim(inbox, claim_id, archive=promised) as claim:
        draft(claim, ".result.txt")
        archive_claim(inbox, claim)

    assert tree(folder / ".bak") == [
        f"users.{STAMP}-7.csv",
        f"users.{STAMP}-7.failed.csv",
        f"users.{STAMP}-7.result.txt",
    ]


@pytest.mark.parametrize("taken", [".csv", ".failed.csv", ".result.txt"])
def test_archive_name_collides(folder: Path, inbox: Inbox, taken: str) -> None:
    """A name is taken when any of the three beside each other is; the next gets `-2`."""
    put(folder / ".bak", f"users.{STAMP}{taken}")
    put(folder)
    with resume_claim(inbox, claimed(inbox)) as claim:
        assert claim.archive == f"users.{STAMP}-2.csv".encode()


def test_archive_never_overwrites(folder: Path, inbox: Inbox) -> None:
    """A file that appears in `.bak` under the promised name stays, and the claim too."""
    put(folder)
    with resume_claim(inbox, claimed(inbox)) as claim:
        put(folder / ".bak", os.fsdecode(claim.archive), "older")
        with pytest.raises(FileExistsError):
            archive_claim(inbox, claim)

    assert (folder / ".bak" / f"users.{STAMP}.csv").read_text() == "older"
    assert len(unfinished_claims(inbox)) == 1


def test_longest_name(folder: Path, inbox: Inbox) -> None:
    """A name of 255 bytes is cut so that all names in `.bak` fit."""
    put(folder, "n" * 251 + ".csv")
    with resume_claim(inbox, claimed(inbox, b"n" * 251 + b".csv")) as claim:
        draft(claim, ".failed.csv")
        draft(claim, ".failed.xlsx")
        draft(claim, ".result.txt")
        archive_claim(inbox, claim)

    assert max(len(name) for name in os.listdir(folder / ".bak")) == 255
    assert len(os.listdir(folder / ".bak")) == 4


def test_drafts_are_given_to_the_clients_group(folder: Path, inbox: Inbox, needs: Needs) -> None:
    """What the service wrote for the client belongs to the client's group in `.bak`."""
    del inbox
    needs(root=True)
    os.chown(folder, 0, NOBODY)
    put(folder)
    with layout.opened("acme", str(folder)) as inbox, resume_claim(inbox, claimed(inbox)) as claim:
        draft(claim, ".result.txt")
        archive_claim(inbox, claim)

    assert (folder / ".bak" / f"users.{STAMP}.result.txt").stat().st_gid == NOBODY


# Moving


class _NoRenameat2:
    """A C library on a file system that cannot rename without overwriting."""

    @staticmethod
    def renameat2(*_: object) -> int:
        return -1


@pytest.fixture
def without_renameat2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the file system refuse to rename without overwriting, as some network file systems do."""
    monkeypatch.setattr(layout, "_libc", _NoRenameat2)
    monkeypatch.setattr("ctypes.get_errno", lambda: errno.EINVAL)


@pytest.mark.usefixtures("without_renameat2")
def test_link_and_unlink_where_rename_cannot(folder: Path, inbox: Inbox) -> None:
    """Where the file system cannot rename without overwriting, a file goes all its way all the same."""
    put(folder)
    with resume_claim(inbox, claimed(inbox)) as claim:
        archive_claim(inbox, claim)

    assert tree(folder) == [".bak", f".bak/users.{STAMP}.csv", ".work"]


def test_cut_off_between_link_and_unlink(folder: Path, inbox: Inbox) -> None:
    """A claim and an archive move that were cut off between link and unlink are completed."""
    put(folder)
    claim_id = claimed(inbox)
    work = folder / ".work" / claim_id / "users.csv"
    os.link(work, folder / "users.csv")
    with resume_claim(inbox, claim_id) as claim:
        assert not (folder / "users.csv").exists()
        os.link(work, folder / ".bak" / os.fsdecode(claim.archive))
        archive_claim(inbox, claim)

    assert tree(folder) == [".bak", f".bak/users.{STAMP}.csv", ".work"]


def test_handles_are_closed(folder: Path) -> None:
    """Working in an inbox leaves no handle open, and none is inherited by other programs."""
    before = os.listdir("/proc/self/fd")
    put(folder)
    with layout.opened("acme", str(folder)) as inbox, resume_claim(inbox, claimed(inbox)) as claim:
        assert fcntl.fcntl(claim.folder_fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        archive_claim(inbox, claim)

    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_files_beyond_the_limit_are_those_that_came_last(folder: Path) -> None:
    """Of more files than are asked for those that came first are returned, whatever times the client has set."""
    names = [f"{number * 7 % 20}.csv" for number in range(20)]
    came_at = 0
    for age, name in enumerate(names):
        path = put(folder, name)
        while path.stat().st_ctime_ns <= came_at:
            os.utime(path, (1000 - age, 1000 - age))
        came_at = path.stat().st_ctime_ns
    with layout.opened("acme", str(folder)) as inbox:
        assert set(map(os.fsencode, names[:5])) == set(
            entries.list_files(inbox, lambda name: name.endswith(b".csv"), 5)
        )


# The archive is ours


@contextmanager
def as_service(folder: Path) -> Iterator[None]:
    """Run as a service that is not root, in the recommended arrangement: uid 1001, client NOBODY."""
    os.chown(folder, 1001, NOBODY)
    folder.chmod(0o1770)
    open_parents(folder)
    os.seteuid(1001)
    try:
        yield
    finally:
        os.seteuid(0)


def put_as_client(folder: Path, name: str = "users.csv", content: str = "a\n") -> Path:
    path = put(folder, name, content)
    os.chown(path, NOBODY, NOBODY)
    path.chmod(0o644)
    return path


@pytest.mark.parametrize("root", [False, True])
def test_archived_upload_is_no_longer_the_clients(folder: Path, needs: Needs, *, root: bool) -> None:
    """What lies in `.bak` is the service's own file, with the client's bytes and time of change."""
    needs(root=True)
    upload = put_as_client(folder)
    os.utime(upload, ns=(0, 1_600_000_000_123_456_789))
    with (
        contextlib.nullcontext() if root else as_service(folder),
        layout.opened("acme", str(folder)) as inbox,
        resume_claim(inbox, claimed(inbox)) as claim,
    ):
        archive_claim(inbox, claim)

    archived = folder / ".bak" / f"users.{STAMP}.csv"
    assert archived.read_text() == "a\n"
    assert archived.stat().st_uid == (0 if root else 1001)
    assert archived.stat().st_mtime_ns == 1_600_000_000_123_456_789
    assert not archived.stat().st_mode & 0o022
    assert tree(folder / ".work") == []


def test_copy_survives_a_crash_before_the_original_goes(folder: Path, needs: Needs) -> None:
    """Cut off with copy and original both there, the archive keeps the copy, and the original is removed."""
    needs(root=True)
    put_as_client(folder)
    with as_service(folder), layout.opened("acme", str(folder)) as inbox:
        claim_id = claimed(inbox)
        with resume_claim(inbox, claim_id) as claim, pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "unlink", _crash_at(b"users.csv"))
            with pytest.raises(KeyboardInterrupt):
                archive_claim(inbox, claim)
        assert sorted(path.name for path in folder.rglob("users*")) == ["users.20261122T074205Z.csv", "users.csv"]
        with resume_claim(inbox, claim_id, archive=f"users.{STAMP}.csv".encode()) as claim:
            archive_claim(inbox, claim)

    assert tree(folder) == [".bak", f".bak/users.{STAMP}.csv", ".work"]


def _crash_at(name: bytes) -> Callable[..., None]:
    unlink = os.unlink

    def crash(path: bytes | str, *, dir_fd: int | None = None) -> None:
        if path == name:
            raise KeyboardInterrupt
        unlink(path, dir_fd=dir_fd)

    return crash


def test_half_a_copy_is_made_again(folder: Path, needs: Needs) -> None:
    """What is left of a copy that was cut off is no obstacle."""
    needs(root=True)
    put_as_client(folder)
    with as_service(folder), layout.opened("acme", str(folder)) as inbox, resume_claim(inbox, claimed(inbox)) as claim:
        draft(claim, ".copy")
        archive_claim(inbox, claim)

    assert (folder / ".bak" / f"users.{STAMP}.csv").read_text() == "a\n"


def test_copying_asks_whether_to_go_on(folder: Path, needs: Needs) -> None:
    """To copy a large file stops when asked to, with the original in its place, and can be done again."""
    needs(root=True)
    put_as_client(folder).write_bytes(b"x" * (40 << 20))
    asked = iter([None, Interrupted()])

    def ask() -> None:
        if error := next(asked, None):
            raise error

    with as_service(folder), layout.opened("acme", str(folder)) as inbox, resume_claim(inbox, claimed(inbox)) as claim:
        with pytest.raises(Interrupted):
            archive_claim(inbox, claim, before_copying=ask)
        assert not (folder / ".bak" / f"users.{STAMP}.csv").exists()
        archive_claim(inbox, claim, before_copying=ask)

    assert (folder / ".bak" / f"users.{STAMP}.csv").stat().st_size == 40 << 20


@pytest.mark.parametrize("times", [0, 1])
def test_copy_that_comes_out_short(folder: Path, needs: Needs, *, times: int) -> None:
    """An original goes only when all of it was copied; else it is tried again."""
    needs(root=True)
    put_as_client(folder, content="a" * 100)
    copy_range = os.copy_file_range

    def copy_less(from_fd: int, to_fd: int, count: int, start: int, to: int) -> int:
        return copy_range(from_fd, to_fd, min(count, 10), start, to) if start < 10 * times else 0

    with as_service(folder), layout.opened("acme", str(folder)) as inbox:
        claim_id = claimed(inbox)
        with resume_claim(inbox, claim_id) as claim, pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "copy_file_range", copy_less)
            with pytest.raises(OSError, match="shorter than the upload"):
                archive_claim(inbox, claim)
        assert os.listdir(folder / ".bak") == []
        with resume_claim(inbox, claim_id) as claim:
            archive_claim(inbox, claim)

    assert (folder / ".bak" / f"users.{STAMP}.csv").read_text() == "a" * 100


@pytest.mark.parametrize("change", ["shortened", "rewritten"])
def test_original_that_is_changed_while_it_is_copied(folder: Path, needs: Needs, change: str) -> None:
    """An original that its client still writes to is copied again, as it is then."""
    needs(root=True)
    upload = put_as_client(folder, content="a" * 100)
    copy_range = os.copy_file_range

    with upload.open("r+") as kept_open, as_service(folder), layout.opened("acme", str(folder)) as inbox:

        def change_first(from_fd: int, to_fd: int, count: int, start: int, to: int) -> int:
            if change == "shortened":
                kept_open.truncate(10)
            copied = copy_range(from_fd, to_fd, count, start, to)
            kept_open.write("b")
            kept_open.flush()
            return copied

        claim_id = claim_upload(inbox, b"users.csv", glanced(inbox, b"users.csv"), AT)
        assert claim_id is not None
        with resume_claim(inbox, claim_id.claim_id) as claim, pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "copy_file_range", change_first)
            with pytest.raises(OSError, match=r"\.bak"):
                archive_claim(inbox, claim)
        with resume_claim(inbox, claim_id.claim_id) as claim:
            archive_claim(inbox, claim)

        kept_open.seek(0)
        assert (folder / ".bak" / f"users.{STAMP}.csv").read_text() == kept_open.read()


def test_copy_keeps_holes(folder: Path, needs: Needs) -> None:
    """A file that is mostly holes takes no more room in the archive than it did in the inbox."""
    needs(root=True)
    upload = put_as_client(folder)
    with upload.open("r+b") as file:
        file.seek(1 << 30)
        file.write(b"end")
        file.truncate(2 << 30)
    blocks = upload.stat().st_blocks
    with as_service(folder), layout.opened("acme", str(folder)) as inbox, resume_claim(inbox, claimed(inbox)) as claim:
        archive_claim(inbox, claim)

    archived = folder / ".bak" / f"users.{STAMP}.csv"
    assert (archived.stat().st_size, archived.stat().st_blocks <= blocks) == (2 << 30, True)
    with archived.open("rb") as file:
        file.seek(1 << 30)
        assert file.read(3) == b"end"


def test_what_was_refused_unread_is_not_copied(folder: Path, needs: Needs) -> None:
    """A file above the limit is moved as it is, rather than the disk be filled with it once more."""
    needs(root=True)
    inode = put_as_client(folder).stat().st_ino
    with as_service(folder), layout.opened("acme", str(folder)) as inbox, resume_claim(inbox, claimed(inbox)) as claim:
        archive_claim(inbox, claim, copied_up_to_bytes=1)

    assert (folder / ".bak" / f"users.{STAMP}.csv").stat().st_ino == inode


# Companions


@pytest.fixture
def vouched(folder: Path) -> Iterator[Inbox]:
    """Yield an inbox whose uploads have companions."""
    with layout.opened("acme", str(folder), "sha256") as opened:
        yield opened


def test_companion_goes_with_its_upload(folder: Path, vouched: Inbox) -> None:
    """The companion is claimed and archived with the upload, and lies beside it under its name."""
    put(folder)
    put(folder, "users.csv.sha256", "digest")
    assert entries.read_sidecar(vouched, b"users.csv") == b"digest"
    with resume_claim(vouched, claimed(vouched)) as claim:
        assert tree(folder) == [
            ".bak",
            ".work",
            f".work/{claim.claim_id}",
            *_in(claim, ".companion.sha256", "users.csv"),
        ]
        discard_drafts(claim)
        archive_claim(vouched, claim)

    assert tree(folder) == [".bak", f".bak/users.{STAMP}.csv", f".bak/users.{STAMP}.csv.sha256", ".work"]


def _in(claim: Claim, *names: str) -> list[str]:
    return [f".work/{claim.claim_id}/{name}" for name in names]


@pytest.mark.parametrize("root", [False, True])
def test_archived_companion_is_no_longer_the_clients(folder: Path, needs: Needs, *, root: bool) -> None:
    """The companion in `.bak` is the service's own copy, however long the client keeps its file open."""
    needs(root=True)
    put_as_client(folder)
    companion = put_as_client(folder, "users.csv.sha256", "digest")
    with (
        companion.open("a") as kept_open,
        contextlib.nullcontext() if root else as_service(folder),
        layout.opened("acme", str(folder), "sha256") as inbox,
        resume_claim(inbox, claimed(inbox)) as claim,
    ):
        archive_claim(inbox, claim)
        kept_open.write("x" * 5_000_000)

    archived = folder / ".bak" / f"users.{STAMP}.csv.sha256"
    found = archived.stat()
    assert archived.read_text() == "digest"
    assert (found.st_uid, found.st_nlink, found.st_mode & 0o022) == (0 if root else 1001, 1, 0)
    assert not companion.exists()


def test_companion_that_has_grown_since_it_was_claimed(folder: Path, vouched: Inbox) -> None:
    """Of a companion that was small when it was looked at no more is archived than one may have."""
    put(folder)
    companion = put(folder, "users.csv.sha256", "digest")
    with companion.open("a") as kept_open, resume_claim(vouched, claimed(vouched)) as claim:
        kept_open.write("x" * 5_000_000)
        kept_open.flush()
        archive_claim(vouched, claim)

    assert (folder / ".bak" / f"users.{STAMP}.csv.sha256").stat().st_size == 4096


@pytest.mark.parametrize("spelled", ["users.csv.SHA256", "USERS.CSV.Sha256", "Users.csv.sha256"])
def test_companion_is_found_in_any_case(folder: Path, vouched: Inbox, spelled: str) -> None:
    """A companion vouches for its upload, and goes with it, in whatever case its name is spelled."""
    put(folder)
    alone = glanced(vouched, b"users.csv")
    put(folder, spelled, "digest")
    with layout.opened("acme", str(folder), "sha256") as inbox:
        assert entries.read_sidecar(inbox, b"users.csv") == b"digest"
        assert glanced(inbox, b"users.csv") != alone
        with resume_claim(inbox, claimed(inbox)) as claim:
            archive_claim(inbox, claim)

    assert tree(folder) == [".bak", f".bak/users.{STAMP}.csv", f".bak/users.{STAMP}.csv.sha256", ".work"]


def test_listing_with_companions_is_whole(folder: Path) -> None:
    """However many uploads lack a companion, a listing has all of them."""
    for number in range(2000):
        put(folder, f"{number}.csv")
    with layout.opened("acme", str(folder), "sha256") as inbox:
        assert len(entries.list_files(inbox, lambda name: name.endswith(b".csv"), 5000)) == 2000


def test_companion_of_another_upload_is_left_to_it(folder: Path, vouched: Inbox) -> None:
    """Of two uploads whose names differ in case alone each has the companion that is spelled like it."""
    for name in ("users.csv", "USERS.csv"):
        put(folder, name)
    put(folder, "users.csv.sha256", "digest")
    assert entries.read_sidecar(vouched, b"USERS.csv") is None
    assert entries.read_sidecar(vouched, b"users.csv") == b"digest"


def test_companion_left_behind_is_fetched(folder: Path, vouched: Inbox) -> None:
    """A crash between upload and companion is made good, unless a newer upload needs the companion itself."""
    put(folder)
    claim_id = claimed(vouched)
    put(folder, "users.csv.sha256")
    newer = put(folder)
    with resume_claim(vouched, claim_id):
        assert (folder / "users.csv.sha256").exists()
    newer.unlink()
    with resume_claim(vouched, claim_id):
        assert not (folder / "users.csv.sha256").exists()


@pytest.mark.parametrize("kind", ["nothing", "link", "folder", "fifo", "hard link", "large"])
def test_companion_that_vouches_for_nothing(folder: Path, vouched: Inbox, kind: str, tmp_path: Path) -> None:
    """Only a small plain file is read as a companion; anything else is none, and stays where it is."""
    put(folder)
    beside = folder / "users.csv.sha256"
    match kind:
        case "link":
            beside.symlink_to(put(tmp_path, "secret"))
        case "folder":
            beside.mkdir()
        case "fifo":
            os.mkfifo(beside)
        case "hard link":
            os.link(put(tmp_path, "secret"), beside)
        case "large":
            beside.write_text("x" * 5000)

    assert entries.read_sidecar(vouched, b"users.csv") is None
    with resume_claim(vouched, claimed(vouched)) as claim:
        archive_claim(vouched, claim)
    assert tree(folder / ".work") == []
    assert os.path.lexists(beside) == (kind != "nothing")
    assert os.listdir(folder / ".bak") == [f"users.{STAMP}.csv"]


def test_companion_that_cannot_be_opened_is_trouble_of_the_host(folder: Path, vouched: Inbox) -> None:
    """An upload is not refused as unaccompanied because the host could not open its companion."""
    put(folder)
    put(folder, "users.csv.sha256", "digest")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            entries.read_sidecar(vouched, b"users.csv")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_companion_is_part_of_the_identity(folder: Path, vouched: Inbox) -> None:
    """A companion that comes or changes makes the upload another, for whoever compares."""
    put(folder)
    alone = glanced(vouched, b"users.csv")
    put(folder, "users.csv.sha256", "digest")
    accompanied = glanced(vouched, b"users.csv")
    look = entries.look(vouched, b"users.csv")

    assert alone != accompanied
    assert look is not None
    assert look.identity == accompanied


def test_longest_name_has_a_companion(folder: Path, vouched: Inbox) -> None:
    """A name too long to have a companion has none; the longest that has one fits into `.bak` with it and answers."""
    for name in ("n" * 251 + ".csv", "n" * 244 + ".csv"):
        put(folder, name)
    put(folder, "n" * 244 + ".csv.sha256")

    assert entries.read_sidecar(vouched, b"n" * 251 + b".csv") is None
    with resume_claim(vouched, claimed(vouched, b"n" * 244 + b".csv")) as claim:
        draft(claim, ".failed.xlsx")
        archive_claim(vouched, claim)
    assert max(len(name) for name in os.listdir(folder / ".bak")) == 255


# Refusals and strays


def test_reason_to_refuse_goes_with_the_claim(folder: Path, inbox: Inbox) -> None:
    """Why a file is not to be imported outlives a crash, and leaves nothing in the archive."""
    put(folder)
    capture = claim_upload(
        inbox, b"users.csv", glanced(inbox, b"users.csv"), AT, refusal=message("upload.incomplete/unread")
    )
    assert capture is not None
    with resume_claim(inbox, capture.claim_id) as claim:
        discard_drafts(claim)
    with resume_claim(inbox, capture.claim_id) as claim:
        assert claim.refusal == message("upload.incomplete/unread")
        archive_claim(inbox, claim)
    assert tree(folder) == [".bak", f".bak/users.{STAMP}.csv", ".work"]

    put(folder)
    with resume_claim(inbox, claimed(inbox)) as claim:
        assert claim.refusal is None


def test_reason_to_refuse_of_an_earlier_version(folder: Path, inbox: Inbox) -> None:
    """A claim that waits while rosterd is upgraded has a sentence in it, and is refused all the same."""
    put(folder)
    claim_id = claimed(inbox)
    (folder / ".work" / claim_id / ".refusal").write_text("it looks cut off. Upload the whole file again.")
    with resume_claim(inbox, claim_id) as claim:
        assert claim.refusal == Message("upload.incomplete")


def test_claim_to_refuse_of_a_name_that_is_gone(folder: Path, inbox: Inbox) -> None:
    """A file that vanishes in the last moment leaves no claim folder behind."""
    identity = Identity(1, 2, 3, 4, 5)
    assert claim_upload(inbox, b"users.csv", identity, AT, refusal=message("upload.incomplete/unread")) is None
    assert tree(folder) == [".bak", ".work"]
