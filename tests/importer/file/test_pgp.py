"""An encrypted upload is imported like what was encrypted, or refused with what to do; and nothing of it is left."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import openpyxl
import pytest

from importer.dry_run import DryRun
from importer.file.unwrap import decrypt, gnupg, kinds
from importer.file.unwrap.archives import Bounded
from importer.file.unwrap.endings import divided
from importer.file.unwrap.kinds import kind_of
from importer.fs import open_folder
from importer.model import FileRejected, HoldReason
from importer.redact import NotRewritable, Rewriter
from importer.settings import ClientSettings, FileSettings, ReferenceSettings
from importer.store import integrity
from importer.store.places import Place
from operate.folders import opened
from tests import REPOSITORY
from tests.engine import HEADER, Engine
from tests.lab import wait_until
from tests.lab.pgp import PAST, PgpUser
from watcher.inbox.holds import hold_reason_of
from watcher.inbox.settle import Names

ANN = "S1,OPSCOM,Ann,Lee,ann@example.org,ann"
BO = "S2,OPSCOM,Bo,Roy,nonsense,bo"
CSV = f"{HEADER}\n{ANN}\n".encode()
TOO_NEW = "--ignore-time-conflict --ignore-valid-from"  # of keys that were not made yet
Needs = Callable[..., None]


class People(msgspec.Struct):
    """Us and others, who know each other's keys: we know that of the client, but not that of the stranger."""

    us: PgpUser
    client: PgpUser
    stranger: PgpUser
    old: PgpUser  # whose key has expired

    def encrypt(self, text: bytes = CSV, options: str = "") -> bytes:
        """Return what the client encrypts for us."""
        return self.client.encrypt(text, self.us, options=options)


@pytest.fixture(scope="module")
def people(needs: Needs) -> Iterator[People]:
    needs("gpg", "gpg-agent", "gpgconf")
    with contextlib.ExitStack() as stack:
        us, client, stranger = (stack.enter_context(PgpUser(name)) for name in ("us", "client", "stranger"))
        old = stack.enter_context(PgpUser("old", expires="30d", made_at=PAST))
        us.knows(client, old)
        client.knows(us, stranger)
        stranger.knows(us)
        old.knows(us)
        yield People(us, client, stranger, old)


@pytest.fixture
def homes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield the folder of temporary files; at the end nothing is in it, and no agent has its home there."""
    with tempfile.TemporaryDirectory(prefix="homes-", dir="/tmp") as folder:
        monkeypatch.setenv("SQLITE_TMPDIR", folder)
        yield Path(folder)
        assert [] == [*Path(folder).iterdir()]
        wait_until(lambda: not agents(folder), "the agents to end")


@pytest.fixture
def limits(people: People, tmp_path: Path, homes: Path) -> FileSettings:
    """Return settings with a key home that is ours; its path is far too long for the socket of an agent."""
    assert homes.exists()
    home = tmp_path / ("deep" * 30) / "pgp"
    home.parent.mkdir()
    shutil.copytree(people.us.home, home, ignore=shutil.ignore_patterns("S.*", "*.lock", "*~"))
    return msgspec.convert({"accept": ("xlsx", "zip", "gz", "pgp"), "pgp_home": str(home)}, FileSettings)


def agents(folder: Path | str) -> list[str]:
    """Return the agents that run for homes in a folder."""
    lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if f"gpg-agent --homedir {folder}/" in line]


@pytest.fixture
def importer(engine: Engine, limits: FileSettings) -> Engine:
    """Return an importer with our key."""
    engine.limits = limits
    return engine


def decrypted(upload: bytes, limits: FileSettings, folder: Path, *signers: str) -> bytes:
    """Return what comes out of an upload, without a process of its own. Raises FileRejected."""
    (folder / "upload").write_bytes(upload)
    with (
        gnupg.home(limits.pgp_home) as home,
        (folder / "upload").open("rb") as raw,
        (folder / "out").open("wb") as out,
    ):
        decrypt.decrypt(raw, out, home, signers, Bounded(len(upload), limits))
    return (folder / "out").read_bytes()


def zipped(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, content)
    return out.getvalue()


def workbook() -> bytes:
    book, out = openpyxl.Workbook(), io.BytesIO()
    assert book.active is not None
    book.active.append(HEADER.split(","))
    book.active.append(ANN.split(","))
    book.save(out)
    return out.getvalue()


GOOD: dict[str, Callable[[People], bytes]] = {
    "binary": lambda people: people.encrypt(),
    "armoured": lambda people: people.encrypt(options="--armor"),
    "not compressed": lambda people: people.encrypt(options="--compress-level 0"),
    "compressed by bzip2": lambda people: people.encrypt(options="--compress-algo bzip2"),
    "signed": lambda people: people.encrypt(options="--sign"),
    "signed by a stranger": lambda people: people.stranger.encrypt(CSV, people.us, options="--sign"),
    "for several": lambda people: people.client.encrypt(CSV, people.stranger, people.us),
    "for nobody by name": lambda people: people.encrypt(options="--throw-keyids"),
    "gzip": lambda people: people.encrypt(gzip.compress(CSV)),
    "an archive": lambda people: people.encrypt(zipped("users.csv", CSV)),
    "a workbook": lambda people: people.encrypt(workbook(), options="--armor"),
}


@pytest.mark.parametrize("how", GOOD)
def test_what_was_encrypted_is_imported(importer: Engine, people: People, how: str) -> None:
    """The users come from what was encrypted; what the ledger has, and the archive, is the upload itself."""
    upload = GOOD[how](people)
    result = importer.upload(upload, name="users.csv.pgp")
    assert ("", 1) == (result.code, result.tally.created)
    assert result.receipt.was_encrypted
    assert hashlib.sha256(upload).hexdigest() == result.receipt.sha256
    assert upload == (importer.folder / ".bak" / os.fsdecode(result.receipt.claim.archive)).read_bytes()


def plain(people: People, options: str) -> bytes:
    return people.client.gpg(*options.split(), sent=CSV)


def symmetric(people: People) -> bytes:
    return people.client.gpg("--passphrase", "secret", "--symmetric", sent=CSV)


def changed(upload: bytes, at: int) -> bytes:
    return upload[:at] + bytes([upload[at] ^ 1]) + upload[at + 1 :]


BAD: dict[str, tuple[Callable[[People], bytes], str]] = {
    "for another key": (lambda people: people.client.encrypt(CSV, people.stranger), "pgp.wrong_key"),
    "for nobody by name, and not for us": (
        lambda people: people.client.encrypt(CSV, people.stranger, options="--throw-keyids"),
        "pgp.wrong_key",
    ),
    "cut off": (lambda people: people.encrypt()[:-20], "pgp.damaged"),
    "changed": (lambda people: changed(people.encrypt(), -10), "pgp.damaged"),
    "its key changed": (lambda people: changed(people.encrypt(), 60), "pgp.damaged"),
    "changes would go unnoticed": (
        lambda people: people.encrypt(options="--rfc2440 --disable-mdc"),
        "pgp.damaged/unprotected",
    ),
    "not encrypted": (lambda _: CSV, "pgp.not_encrypted"),
    "empty": (lambda _: b"", "file.empty"),
    "a workbook that is not encrypted": (lambda _: workbook(), "pgp.not_encrypted"),
    "signed alone": (lambda people: plain(people, "--sign"), "pgp.not_encrypted/message"),
    "signed as text": (lambda people: plain(people, "--clearsign"), "pgp.not_encrypted/message"),
    "packed alone": (lambda people: plain(people, "--store"), "pgp.not_encrypted/message"),
    "saved in an editor": (lambda people: b"\xef\xbb\xbf" + people.encrypt(options="--armor"), "pgp.damaged/text"),
    "saved as Unicode": (
        lambda people: people.encrypt(options="--armor").decode().encode("utf-16"),
        "pgp.damaged/text",
    ),
    "saved as Unicode in the other order": (
        lambda people: b"\xfe\xff" + people.encrypt(options="--armor").decode().encode("utf-16-be"),
        "pgp.damaged/text",
    ),
    "a key": (lambda people: people.client.public_key, "pgp.not_encrypted/key"),
    "a text in front": (lambda people: plain(people, "--store") + people.encrypt(), "pgp.not_encrypted/message"),
    "a password": (symmetric, "pgp.symmetric"),
    "bytes at the end": (lambda people: people.encrypt() + b"junk", "pgp.messages"),
    "zeros at the end": (lambda people: people.encrypt() + bytes(100), "pgp.messages"),
    "a text appended": (lambda people: people.encrypt() + plain(people, "--store"), "pgp.messages"),
    "two messages": (lambda people: people.encrypt() * 2, "pgp.messages"),
    "two messages with armour": (lambda people: people.encrypt(options="--armor") * 2, "pgp.messages"),
    "encrypted twice": (lambda people: people.encrypt(people.encrypt()), "pgp.messages/nested"),
    "encrypted in an archive": (lambda people: zipped("users.csv.pgp", people.encrypt()), "pgp.not_encrypted"),
    "20 MB out of 25 KB": (lambda people: people.encrypt(bytes(20_000_000)), "wrap.limit/ratio"),
}


@pytest.mark.parametrize("how", BAD)
def test_what_is_not_to_be_believed_is_refused(importer: Engine, people: People, how: str) -> None:
    """Whatever is not one message that is encrypted for us, and whole, is refused with what to do."""
    make, key = BAD[how]
    result = importer.upload(make(people), name="users.csv.gpg")
    assert [key] == [reason.key for reason in result.refusal]
    assert "What to do" in result.text
    assert {} == importer.users()


def test_an_encrypted_file_in_an_archive(importer: Engine, people: People) -> None:
    """What is encrypted has to be outermost."""
    result = importer.upload(zipped("users.csv", people.encrypt()), name="users.zip")
    assert "pgp.messages/nested" == result.refusal[0].key


def test_an_upload_that_is_cut_anywhere(people: People, limits: FileSettings, tmp_path: Path) -> None:
    """Wherever an upload is cut off, it is held as that, and refused if it is imported all the same."""
    text = CSV + os.urandom(2000).hex().encode()
    for options in ("--compress-level 0", "--armor", "--sign"):
        upload = people.encrypt(text, options)
        assert HoldReason.NONE is held_as(upload, tmp_path)
        for end in range(100, len(upload), 100):
            assert HoldReason.CUT_OFF is held_as(upload[:end], tmp_path), (options, end)
        with pytest.raises(FileRejected) as refused:
            decrypted(upload[: len(upload) // 200 * 100], limits, tmp_path)
        assert "pgp.damaged" == refused.value.code


def test_no_part_of_an_upload_is_believed(people: People, limits: FileSettings, tmp_path: Path) -> None:
    """Cut at every 100th byte, an upload is refused, whatever gpg has written until then."""
    upload = people.encrypt(CSV + os.urandom(1500), "--compress-level 0")
    ends = range(100, len(upload), 100)
    for end in ends:
        with pytest.raises(FileRejected, match=r"pgp\.damaged"):
            decrypted(upload[:end], limits, tmp_path)
    assert len(ends) > 10


def held_as(upload: bytes, folder: Path) -> HoldReason:
    (folder / "upload").write_bytes(upload)
    with (folder / "upload").open("rb") as raw:
        return hold_reason_of(
            raw, ClientSettings(name="a", inbox="/"), FileSettings(), sidecar=None, is_broken_off=False
        )


def test_a_large_message_has_many_parts(people: People, tmp_path: Path) -> None:
    """Of a message of unknown length gpg writes parts: the walk over them ends where the file does."""
    upload = people.encrypt(os.urandom(100_000))
    assert HoldReason.NONE is held_as(upload, tmp_path)
    for missing in (1, 5000, 50_000):
        assert HoldReason.CUT_OFF is held_as(upload[:-missing], tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "\u00c9cole;Nom\n",
        "\u00c3\u00a9\n",
        "\u00a3;\u00ac\n",
        "\u00cbb\t\n",
        "\u0401\u0436;1\n",
        "unique_id\n",
        "-----\n",
        "",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-8-sig", "utf-16", "utf-16-le", "koi8-r"])
def test_a_text_is_never_taken_for_a_message(tmp_path: Path, text: str, encoding: str) -> None:
    """Letters that begin like a message in some encoding are letters."""
    (tmp_path / "users.csv").write_bytes(text.encode(encoding, "replace"))
    with (tmp_path / "users.csv").open("rb") as raw:
        assert kind_of(raw) is kinds.CSV


# Signatures


def test_a_signature_that_has_to_be_there(importer: Engine, people: People) -> None:
    """With a required signature only what that key has signed, and we can decrypt, is imported."""
    importer.settings(require_signature=(people.client.fingerprint.lower(),))
    assert 1 == importer.upload(people.encrypt(options="--sign"), name="users.csv.pgp").tally.created
    for upload, key in (
        (people.encrypt(), "pgp.unsigned"),
        (people.stranger.encrypt(CSV, people.us, options="--sign"), "pgp.unsigned/other"),
        (people.old.encrypt(CSV, people.us, options=f"--sign {TOO_NEW}", at=PAST), "pgp.expired/signature"),
        (plain(people, "--sign"), "pgp.not_encrypted/message"),
        (CSV, "pgp.not_encrypted/required"),
    ):
        result = importer.upload(upload, name="users.csv")
        assert [key] == [reason.key for reason in result.refusal]
    assert people.client.fingerprint in importer.upload(CSV).text


def test_a_key_of_another_client_is_none_of_this_one(importer: Engine, people: People) -> None:
    """A signature by a key that we know counts only for the client whose key it is."""
    importer.settings(require_signature=(people.stranger.fingerprint,))
    result = importer.upload(people.encrypt(options="--sign"), name="users.csv.pgp")
    assert "pgp.unsigned/other" == result.refusal[0].key


def test_a_key_of_ours_that_has_expired(importer: Engine, people: People, tmp_path: Path) -> None:
    """What is encrypted for our key after it expired is refused: who encrypts has to get the new one."""
    home = tmp_path / "expired"
    shutil.copytree(people.old.home, home, ignore=shutil.ignore_patterns("S.*", "*.lock", "*~"))
    importer.limits = msgspec.structs.replace(importer.limits, pgp_home=str(home))
    upload = people.old.gpg("--encrypt", "-r", people.old.fingerprint, sent=CSV, at=PAST)
    result = importer.upload(upload, name="users.csv.pgp")
    assert "pgp.expired" == result.refusal[0].key
    assert "2025-01-31" in result.text


# Limits, and what is left


def test_what_comes_out_is_bounded_while_it_does(people: People, limits: FileSettings, tmp_path: Path) -> None:
    """A ratio that is allowed is not refused; a limit ends gpg at once."""
    upload = people.encrypt(bytes(20_000_000))
    assert 20_000 < len(upload) < 30_000
    many = msgspec.structs.replace(limits, max_unpacked_ratio=2000)
    assert 20_000_000 == len(decrypted(upload, many, tmp_path))
    with pytest.raises(FileRejected, match=r"wrap\.limit"):
        decrypted(upload, msgspec.structs.replace(many, max_unpacked_bytes=1_000_000), tmp_path)
    assert (tmp_path / "out").stat().st_size <= 1_000_000


def replaced(folder: Path, monkeypatch: pytest.MonkeyPatch, instead: str) -> None:
    """Have a shell do something else in place of gpg when it is to decrypt."""
    (folder / "bin").mkdir()
    program = folder / "bin" / "gpg"
    status_fd = r"""fd=$(printf %s "$*" | sed -n "s/.*--status-fd \([0-9]*\).*/\1/p")"""
    act = f'case "$*" in *--decrypt*) {instead};; esac'
    program.write_text(f'#!/bin/sh\n{status_fd}\n{act}\nexec {shutil.which("gpg")} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        ("kill -9 $$", "ended by signal 9"),
        ("exec sleep 600", "has not ended in"),
        ("kill -SEGV $$", "'pgp.damaged'"),
        ("while :; do :; done", "pgp.damaged/time"),
        ("exec bash -c \"exec yes '[GNUPG:] PLAINTEXT' >&$fd\"", "pgp.messages"),
    ],
)
def test_gpg_that_does_not_do_its_work(
    people: People,
    limits: FileSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    instead: str,
    said: str,
) -> None:
    """That gpg was killed or hangs is nothing that a client can mend; that it crashes or computes for ever is."""
    monkeypatch.setattr(decrypt, "_LONGEST_S", 2.0 if "sleep" in instead else 120.0)
    monkeypatch.setattr(decrypt, "_CPU_S", 1)
    upload = people.encrypt()
    replaced(tmp_path, monkeypatch, instead)
    with pytest.raises((OSError, FileRejected), match=said.replace(".", r"\.")):
        decrypted(upload, limits, tmp_path)


def test_the_claim_waits_for_a_host_without_gpg(
    importer: Engine, people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the operator has to mend is an error of the host, and the file is imported once it is mended."""
    upload = people.encrypt()
    with monkeypatch.context() as without:
        replaced(tmp_path, without, "kill -9 $$")
        with pytest.raises(OSError, match="ended by signal 9"):
            importer.upload(upload, name="users.csv.pgp")
    with monkeypatch.context() as without:
        without.setenv("PATH", str(tmp_path / "nothing"))
        with pytest.raises(OSError, match="apt install gpg gpg-agent"):
            importer.upload(upload, name="users.csv.pgp")
    before = importer.limits
    importer.limits = msgspec.structs.replace(before, pgp_home=str(tmp_path / "none"))
    with pytest.raises(OSError, match="rosterd pgp init"):
        importer.upload(upload, name="users.csv.pgp")
    assert {} == importer.users()
    importer.limits = before
    assert 1 == importer.upload(upload, name="users.csv.pgp").tally.created


def test_a_killed_process_leaves_no_agent_and_no_secret(limits: FileSettings, homes: Path) -> None:
    """After SIGKILL the agent ends by itself; the home, which has no private key, is removed by the next one."""
    program = (
        f"from importer.file.unwrap import gnupg\nwith gnupg.home({limits.pgp_home!r}) as home:\n"
        " gnupg.own_keys(home)\n print(home, flush=True)\n input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY, text=True
    ) as process:
        assert process.stdout is not None
        home = Path(process.stdout.readline().strip())
        assert home.parent == homes
        assert 0o700 == home.stat().st_mode & 0o777
        assert 1 == len(agents(homes))
        with gnupg.home(limits.pgp_home):  # another one leaves it alone, however old it is
            os.utime(home, (0, 0))
        os.utime(home, (0, 0))
        with gnupg.home(limits.pgp_home):
            assert home.exists()
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: not agents(homes), "the agent to end")
    assert [] == [path for path in home.iterdir() if path.is_dir() and not path.is_symlink()]
    assert (home / gnupg.PRIVATE_KEYS).is_symlink()
    os.utime(home, (time.time(), time.time()))
    with gnupg.home(limits.pgp_home):
        assert home.exists()  # it could be one that is being made
    os.utime(home, (0, 0))
    with gnupg.home(limits.pgp_home):
        assert not home.exists()
    assert [*Path(limits.pgp_home, gnupg.PRIVATE_KEYS).iterdir()]


# Around it


def test_nothing_of_an_encrypted_file_is_mailed(importer: Engine, people: People) -> None:
    """The rows that failed are in `.bak`, and the mail says so, and has none of them; of a workbook likewise."""
    result = importer.upload(people.encrypt(f"{HEADER}\n{ANN}\n{BO}\n".encode()), name="users.csv.pgp")
    assert [3] == [*result.codes]
    assert result.mail is not None
    assert {} == result.mail.attachments
    assert "nonsense" not in result.mail.text
    assert "which is in the folder .bak. We do not mail its rows" in result.mail.text
    plain_result = importer.upload(f"{HEADER}\n{BO}\n".encode())
    assert plain_result.mail is not None
    assert 1 == len(plain_result.mail.attachments)


def test_what_is_off_is_refused_as_before(engine: Engine, people: People) -> None:
    """Without a key of ours an encrypted file is no CSV, and the answer says what to upload."""
    result = engine.upload(people.encrypt(), name="users.csv.pgp")
    assert "file.not_csv/encrypted" == result.refusal[0].key


def test_a_dry_run_decrypts(people: People, limits: FileSettings, tmp_path: Path) -> None:
    """A dry run shows what is in an upload."""
    (tmp_path / "users.csv.pgp").write_bytes(people.encrypt())
    dry_run = DryRun(file=limits, reference=ReferenceSettings(), database=Place(str(tmp_path / "rosterd.db")))
    assert 1 == dry_run.check(tmp_path / "users.csv.pgp", ClientSettings(name="a", inbox="/")).receipt.tally.created


def test_names_of_encrypted_files_are_looked_at() -> None:
    """Where CSV is looked at, what is encrypted is, too; an archive keeps both endings."""
    names = Names("acme-*.csv")
    for name in (
        b"acme-users.csv.pgp",
        b"acme-users.CSV.GPG",
        b"acme-users.xlsx.asc",
        b"acme-1.csv.gz.pgp",
        b"acme-1.pgp",
    ):
        assert names.accept(name)
    assert not names.accept(b"users.csv.pgp")
    assert (b"users", b".csv.gz.pgp") == divided(b"users.csv.gz.PGP")
    assert (b"users.txt", b".gpg") == divided(b"users.txt.gpg")


def test_a_person_is_found_in_an_encrypted_archive(
    people: People, limits: FileSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is searched is what was encrypted; what we cannot decrypt cannot be searched."""
    bak = tmp_path / ".bak"
    bak.mkdir()
    (bak / "ours.csv.pgp").write_bytes(people.encrypt())
    (bak / "other.csv.pgp").write_bytes(people.client.encrypt(CSV, people.stranger))
    with opened(str(tmp_path)) as folders:
        for name, word, expected in (
            (b"ours.csv.pgp", rb"Lee", True),
            (b"ours.csv.pgp", rb"Poe", False),
            (b"other.csv.pgp", rb"Lee", None),
        ):
            assert expected is folders.contains(name, re.compile(word), limits)
        with monkeypatch.context() as without:
            without.setenv("PATH", str(tmp_path))
            assert folders.contains(b"ours.csv.pgp", re.compile(rb"Lee"), limits) is None


def test_no_rows_are_taken_out_of_an_encrypted_archive(importer: Engine, people: People, tmp_path: Path) -> None:
    """An encrypted archive is never rewritten or removed: whoever asks is told so."""
    upload = people.encrypt()
    archive = importer.upload(upload, name="users.csv.pgp").receipt.claim.archive
    [record] = integrity.records(importer.store.conn)
    (tmp_path / "work").mkdir()
    rewriter = Rewriter(importer.store, importer.client, importer.limits, lambda: False)
    with (
        open_folder(tmp_path / "work") as work_fd,
        open_folder(tmp_path / ".bak") as bak_fd,
        pytest.raises(NotRewritable),
    ):
        rewriter.take_out("S1", record, work_fd, bak_fd)
    assert upload == (tmp_path / ".bak" / archive.decode()).read_bytes()
