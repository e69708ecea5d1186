"""`rosterd backup`: one file, of one moment, that only root reads, and of which nothing is believed unseen."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import sqlite3
import stat
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from importer.store.sqlite import snapshot
from operate import cli
from operate.backup import manifest as contents
from operate.backup.gathering import Gathering
from operate.backup.reading import BackupUnusable, opened
from tests import REPOSITORY
from tests.lab import wait_until
from tests.lab.daemon import Rosterd, make_inboxes

HEADER = "unique_id,login_source,first_name,last_name,email\n"
FILES = ("--files",)
Needs = Callable[..., None]


def user(number: int) -> str:
    return f"S{number},OPSCOM,Ann,Lee,s{number}@school.example\n"


@pytest.fixture
def rosterd(needs: Needs, tmp_path: Path) -> Iterator[Rosterd]:
    """Yield an installation that runs, with one file imported, as root: nobody else can make a backup."""
    needs(root=True)
    with Rosterd(tmp_path, make_inboxes(tmp_path)) as installation:
        installation.start()
        installation.drop("users.csv", HEADER + user(1) + "S2,OPSCOM,Max,Roy,nonsense\n")
        installation.wait_for_event("file.archived")
        yield installation


def made(rosterd: Rosterd, file: Path, *options: str) -> dict[str, object]:
    done = rosterd.execute("backup", str(file), "--json", *options)
    assert 0 == done.returncode, done.stderr
    summary: dict[str, object] = json.loads(done.stdout)
    return summary


def members(file: Path) -> list[str]:
    with opened(file) as backup:
        return [member.name for member in backup.manifest.members]


# What is in it


def test_a_backup_has_all_that_was_asked_for(rosterd: Rosterd, tmp_path: Path) -> None:
    """Settings, logins and database are always in it, files only if asked for; `verify` agrees with what is written."""
    (tmp_path / "acme" / "waiting.txt").write_text("not an upload\n")
    plain, whole = tmp_path / "plain.tar", tmp_path / "whole.tar"
    made(rosterd, plain)
    summary = made(rosterd, whole, *FILES)
    assert ["settings/config.toml", "logins.json", "database/rosterd.db"] == members(plain)
    kinds = sorted(name.partition("acme/")[2].rpartition(".")[2] for name in members(whole) if "/bak/" in name)
    assert ["csv", "csv", "txt"] == kinds
    assert "files/acme/inbox/waiting.txt" in members(whole)
    checked = CliRunner().invoke(cli.main, ["backup", "verify", str(whole), "--json"])
    assert (0, summary) == (checked.exit_code, json.loads(checked.output))
    assert (1, 1, True) == (summary["last_import"], summary["users"], summary["inboxes_and_archives"])


def test_it_is_known_when_a_backup_was_made(rosterd: Rosterd, tmp_path: Path) -> None:
    """The running service logs it, and the metrics have the time, also while the service is down."""
    assert "rosterd_backup_timestamp_seconds" not in rosterd.execute("metrics").stdout
    made(rosterd, tmp_path / "b.tar")
    event = rosterd.wait_for_event("backup.made")
    assert (str(tmp_path / "b.tar"), 1) == (event["file"], event["last_import"])
    rosterd.stop()
    made(rosterd, tmp_path / "c.tar")
    [line] = [line for line in rosterd.execute("metrics").stdout.splitlines() if line.startswith("rosterd_backup_")]
    assert abs(float(line.split()[1]) - (tmp_path / "c.tar").stat().st_mtime) < 60


def test_nobody_else_can_read_it(rosterd: Rosterd, tmp_path: Path) -> None:
    """The file has mode 0600 whatever the umask, and nothing is left next to it."""
    folder = tmp_path / "backups"
    folder.mkdir()
    umask = os.umask(0)
    try:
        made(rosterd, folder / "b.tar", *FILES)
    finally:
        os.umask(umask)
    assert 0o600 == stat.S_IMODE((folder / "b.tar").stat().st_mode)
    assert ["b.tar"] == os.listdir(folder)


def test_an_existing_file_is_kept(rosterd: Rosterd, tmp_path: Path) -> None:
    """A name that is taken ends the command with 2, and the file stays as it was."""
    (tmp_path / "b.tar").write_text("precious")
    done = rosterd.execute("backup", str(tmp_path / "b.tar"))
    assert (2, True) == (done.returncode, "expected a new name" in done.stderr)
    assert "precious" == (tmp_path / "b.tar").read_text()


def test_a_folder_that_is_not_there_is_named(rosterd: Rosterd, tmp_path: Path) -> None:
    """The folder of the file has to be there: it is said which is not, and none is made."""
    done = rosterd.execute("backup", str(tmp_path / "none" / "b.tar"))
    assert (2, True) == (done.returncode, f"{tmp_path / 'none'}: is not a folder" in done.stderr)
    assert not (tmp_path / "none").exists()


def test_what_a_killed_backup_left_is_removed(rosterd: Rosterd, tmp_path: Path) -> None:
    """A backup that was killed half-way leaves no file of that name, and the next one removes what it had copied."""
    folder = tmp_path / "backups"
    folder.mkdir()
    (tmp_path / "acme" / "ballast.bin").write_bytes(bytes(64 << 20))
    command = rosterd._command("backup", "create", str(folder / "b.tar"), *FILES)
    process = subprocess.Popen(command, env=rosterd._environment, cwd=REPOSITORY)
    wait_until(lambda: list(folder.glob(".rosterd-backup-*/*")), "the backup to begin")
    process.kill()
    process.wait()
    assert not (folder / "b.tar").exists()
    made(rosterd, folder / "b.tar")
    assert ["b.tar"] == os.listdir(folder)


def test_a_damaged_database_is_told(rosterd: Rosterd, tmp_path: Path) -> None:
    """A backup of a damaged database is not made."""
    rosterd.stop()
    with (tmp_path / "state" / "rosterd.db").open("r+b") as file:
        file.seek(4096 * 2)
        file.write(b"\xff" * 4096 * 40)
    done = rosterd.execute("backup", str(tmp_path / "b.tar"))
    assert 2 == done.returncode, done.stdout
    assert "No backup was written" in done.stderr
    assert [] == list(tmp_path.glob("*.tar"))


def test_a_file_being_uploaded_is_left_out(rosterd: Rosterd, tmp_path: Path) -> None:
    """A file that is open for writing is not in the backup, which says so."""
    with (tmp_path / "acme" / "growing.csv").open("w") as upload:
        upload.write(HEADER)
        upload.flush()
        summary = made(rosterd, tmp_path / "b.tar", *FILES)
    assert ["acme: growing.csv was being uploaded"] == summary["left_out"]
    assert [] == [name for name in members(tmp_path / "b.tar") if "growing" in name]


def test_it_is_made_while_files_are_imported(rosterd: Rosterd, tmp_path: Path) -> None:
    """While uploads come and are imported, each backup is whole, database and files agree, and nothing is held up."""
    dropped: list[str] = []
    ended = threading.Event()

    def upload() -> None:
        while not ended.wait(0.05):
            name = f"u{len(dropped)}.csv"
            rosterd.drop(name, HEADER + user(len(dropped)), "beta")
            dropped.append(name)

    uploading = threading.Thread(target=upload)
    uploading.start()
    try:
        wait_until(lambda: len(rosterd.archived("beta")) > 0, "the first import")
        for number in range(2):
            before = list(dropped)
            made(rosterd, tmp_path / f"b{number}.tar", *FILES)
            assert {} == contradictions(tmp_path / f"b{number}.tar", tmp_path, before)
    finally:
        ended.set()
        uploading.join()
    rosterd.wait_for_imports(1 + len(dropped))


def claim_by_hand(rosterd: Rosterd, tmp_path: Path, name: str) -> None:
    """Put a file where it is once it is claimed, and not recorded yet."""
    del rosterd
    claim = tmp_path / "beta" / ".work" / "20260101T000000Z-00000001"
    claim.mkdir()
    (claim / name).write_text(HEADER + user(7))
    (claim / ".result.txt").write_text("of an import that was rolled back\n")


def unarchive_by_hand(rosterd: Rosterd, tmp_path: Path, name: str) -> None:
    """Put a file and its answers back where they are once it is recorded, and not archived yet."""
    rosterd.drop(name, HEADER + user(7), "beta")
    assert 0 == rosterd.execute("sweep").returncode
    (row,) = rosterd.query("SELECT claim_id, archive FROM imports WHERE client = 'beta'")
    claim = tmp_path / "beta" / ".work" / str(row["claim_id"])
    claim.mkdir()
    archive = tmp_path / "beta" / ".bak" / os.fsdecode(row["archive"])  # type: ignore[arg-type]  # a blob
    archive.rename(claim / name)
    archive.with_suffix(".result.txt").rename(claim / ".result.txt")
    rosterd.change("UPDATE imports SET archived_at = NULL WHERE client = 'beta'")


STATES: dict[str, Callable[[Rosterd, Path, str], None]] = {
    "waiting": lambda rosterd, _, name: rosterd.drop(name, HEADER + user(7), "beta"),
    "claimed": claim_by_hand,
    "recorded": unarchive_by_hand,
}


@pytest.mark.parametrize("moment", ["before the database", "after it", "at the end", "never"])
@pytest.mark.parametrize("state", STATES)
def test_database_and_files_agree(
    state: str, moment: str, rosterd: Rosterd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is imported between any two steps of a backup is in it once: waiting, or recorded with its answer."""
    rosterd.stop()
    STATES[state](rosterd, tmp_path, "late.csv")

    def with_sweep(module: object, name: str, at: str) -> None:
        step = getattr(module, name)

        def call(*arguments: object) -> object:
            if moment == at:
                assert 0 == rosterd.execute("sweep").returncode
            return step(*arguments)

        monkeypatch.setattr(module, name, call)

    with_sweep(snapshot, "copy_database", "before the database")
    with_sweep(snapshot, "ledger", "after it")
    with_sweep(Gathering, "_add_waiting", "at the end")
    done = CliRunner().invoke(
        cli.main, ["backup", str(tmp_path / "b.tar"), "--files", "--config", str(rosterd._config)]
    )
    assert 0 == done.exit_code, done.output
    assert {} == contradictions(tmp_path / "b.tar", tmp_path, ["late.csv"])
    answers = [name for name in members(tmp_path / "b.tar") if name.startswith("files/beta/") and "result" in name]
    is_recorded = state == "recorded" or moment == "before the database"
    assert int(is_recorded or state == "claimed") == len(answers)
    with opened(tmp_path / "b.tar") as backup:
        assert not (is_recorded and b"rolled back" in backup.text(answers[0]))


def contradictions(file: Path, tmp_path: Path, before: list[str]) -> dict[str, object]:
    """Return where database and files of a backup of beta's contradict each other, or lack what came before it."""
    with opened(file) as backup:
        (tmp_path / "copy.db").write_bytes(backup.text(contents.DATABASE))
        names = [contents.parts_of(name) for name in backup.by_name if name.startswith("files/beta/")]
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        ledger = copy.execute("SELECT claim_id, file, archive FROM imports WHERE client = 'beta'").fetchall()
    waiting = {name[-1].decode() for name in names if name[2] == b"inbox"}
    claims = {name[3].decode(): name[4].decode() for name in names if name[2] == b"work" and name[4][:1] != b"."}
    archives = {name[3] for name in names if name[2] == b"bak"}
    unclaimed = {claim: upload for claim, upload in claims.items() if claim not in {row[0] for row in ledger}}
    recorded = {row[1] for row in ledger}
    return {
        what: wrong
        for what, wrong in {
            "waiting and recorded": (waiting | {*unclaimed.values()}) & recorded,
            "waiting twice": waiting & {*unclaimed.values()},
            "lost": {row[1] for row in ledger if row[0] not in claims and row[2] not in archives},
            "in .work and in .bak": {row[1] for row in ledger if row[0] in claims and row[2] in archives},
            "unknown": {each for each in archives if each.endswith(b".csv")} - {row[2] for row in ledger},
            "not in it": {*before} - waiting - {*claims.values()} - recorded,
        }.items()
        if wrong
    }


# What is not one


def tar_of(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for entry, content in entries:
            tar.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def entry(
    name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, target: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, len(content)
    return info, content


HOSTILE = {
    "dots": (entry("files/acme/inbox/../../../etc/x", b"x"), "is not the name of anything"),
    "quoted dots": (entry("files/acme/inbox/%2e%2e", b"x"), "is not the name of anything"),
    "quoted slash": (entry("files/acme/inbox/..%2fx", b"x"), "is not the name of anything"),
    "absolute": (entry("/etc/passwd", b"x"), "is not the name of anything"),
    "other": (entry("etc/passwd", b"x"), "is not the name of anything"),
    "link": (entry("files/acme/inbox/x", kind=tarfile.SYMTYPE, target="/etc/passwd"), "is not a regular file"),
    "hard link": (entry("files/acme/inbox/x", kind=tarfile.LNKTYPE, target="/etc/passwd"), "is not a regular file"),
    "device": (entry("files/acme/inbox/x", kind=tarfile.CHRTYPE), "is not a regular file"),
    "fifo": (entry("files/acme/inbox/x", kind=tarfile.FIFOTYPE), "is not a regular file"),
    "folder": (entry("files/acme/inbox/x", kind=tarfile.DIRTYPE), "is not a regular file"),
    "unlisted": (entry("files/acme/inbox/x", b"x"), "is not in the manifest"),
    "twice": (entry("settings/config.toml", b"# other\n"), "is in it twice"),
    "manifest twice": (entry("manifest.json", b"{}"), "comes after the manifest"),
    "terminal": (entry("files/acme/inbox/\x1b[31m", b"x"), "\\x1b"),
}


def plain(file: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    """Return the entries of a small backup."""
    text = b"[intake]\n"
    digest = hashlib.sha256(text).hexdigest()
    member = {"name": "settings/config.toml", "size_bytes": 9, "sha256": digest, "mode": 0o644, "mtime_ns": 0}
    manifest = {
        "version": "0.1.0",
        "made_at": "2026-11-29T00:00:00Z",
        "host": "h",
        "last_import": 0,
        "users": 0,
        "has_files": False,
        "members": [{**member, "owner": "root"}],
    }
    entries = [entry("settings/config.toml", text), entry("manifest.json", json.dumps(manifest).encode())]
    file.write_bytes(tar_of(*entries))
    return entries


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_tar_is_refused(name: str, tmp_path: Path) -> None:
    """What a backup never has is refused with a sentence that names it, before anything is written anywhere."""
    file = tmp_path / "b.tar"
    entries = plain(file)
    with opened(file) as backup:
        assert 1 == len(backup.manifest.members)
    added, message = HOSTILE[name]
    place = len(entries) if name == "manifest twice" else 1
    file.write_bytes(tar_of(*entries[:place], added, *entries[place:]))
    with pytest.raises(BackupUnusable) as caught, opened(file):
        pass
    assert message in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("size", [-1, 1 << 40, 8], ids=["negative", "huge", "short"])
def test_a_lying_length_is_refused(size: int, tmp_path: Path) -> None:
    """A header that states another length than there is ends in a refusal, not in a loop or in all memory."""
    file = tmp_path / "b.tar"
    (info, content), last = plain(file)
    info.size = size
    if size < 0:
        header = bytearray(entry(info.name)[0].tobuf(tarfile.GNU_FORMAT))
        header[124:136] = b"\xff" * 12
        checksum = 256 + sum(header[:148]) + sum(header[156:])
        header[148:156] = b"%06o\0 " % checksum
    else:
        header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    file.write_bytes(header + content.ljust(512, b"\0") + tar_of(last))
    with pytest.raises(BackupUnusable), opened(file):
        pass


def test_any_damage_is_seen(tmp_path: Path) -> None:
    """Each byte that is changed in a member or its manifest, and each missing end, is seen by `verify`."""
    file = tmp_path / "b.tar"
    (_, content), (_, manifest) = plain(file)
    whole = file.read_bytes()
    for at in (512, 512 + len(content) - 1, 1024 + 512 + manifest.index(b"sha256") + 12):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(BackupUnusable), opened(file):
            pass
    for length in (0, 100, 512, 600, 1024, 1024 + 512, 1024 + 512 + len(manifest) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(BackupUnusable), opened(file):
            pass


def test_verify_says_what_is_wrong(tmp_path: Path) -> None:
    """`backup verify` of something else ends with 2 and one sentence."""
    (tmp_path / "b.tar").write_text("hello\n")
    done = CliRunner().invoke(cli.main, ["backup", "verify", str(tmp_path / "b.tar")])
    assert (2, 1) == (done.exit_code, len(done.output.splitlines()))
    assert "is not a backup" in done.output
