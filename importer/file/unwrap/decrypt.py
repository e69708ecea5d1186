"""
The content of an encrypted upload, as `gpg` writes it, and whether to believe it.

The status lines of gpg count, never its exit status alone: it ends with 0 for a message that is not encrypted, and says
that the decryption is okay when other data follows (measured with gpg 2.2.40). Source: doc/DETAILS of GnuPG.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import selectors
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import BinaryIO, Final

import msgspec

from importer.file.unwrap import gnupg, openpgp
from importer.file.unwrap.archives import CHUNK_BYTES, Bounded
from importer.file.unwrap.gnupg import GnuPGFailed, Key
from importer.model import FileRejected, Message, message

_LONGEST_S: Final = 60.0  # and 1 s more for each MiB: a disk may be slow
# Of processor time, and 1 s more for each 4 MiB; 1 GiB takes less than 16 s. What nests data that never comes out needs
# more, and its client is to blame: it has to be refused before the host seems to hang.
_CPU_S: Final = 30
_MOST_STATUS_BYTES: Final = 1 << 15  # that of a message has 1 KiB, and 150 bytes for each recipient, whose key is tried
_CRASHED: Final = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)  # by what is in a file
_ONE_EACH: Final = ("PLAINTEXT", "DECRYPTION_OKAY", "GOODMDC")
_STRANGER: Final = 2  # how gpg ends if it does not know who signed
_PREFIX: Final = "[GNUPG:] "
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4


class Said(msgspec.Struct, frozen=True):
    """What gpg said of a file: status lines as words, and how it ended."""

    lines: tuple[tuple[str, ...], ...]
    exit_status: int

    @property
    def counts(self) -> Counter[str]:
        """Return how often each keyword occurs."""
        return Counter(keyword for keyword, *_ in self.lines)

    def words(self, keyword: str) -> Iterator[tuple[str, ...]]:
        """Yield what follows a keyword, each time."""
        return (line[1:] for line in self.lines if line[0] == keyword)


def decrypt(raw: BinaryIO, out: BinaryIO, home: str, signers: Sequence[str], bounded: Bounded) -> None:
    """
    Write what was encrypted by the keys of a home; `signers`: fingerprints, by one of which it has to be signed.

    Raises FileRejected, GnuPGFailed, and OSError for `out`.
    """
    if openpgp.is_text_of_editor(raw):
        raise FileRejected(message("pgp.damaged/text"))
    armour = openpgp.armoured_as(raw)
    if armour not in ("", "MESSAGE"):
        raise FileRejected(message("pgp.not_encrypted/message" if "MESSAGE" in armour else "pgp.not_encrypted/key"))
    own = gnupg.own_keys(home)
    if not own:
        raise GnuPGFailed(errno.ENOENT, "there is no PGP key to decrypt it: rosterd pgp init")
    said = _run(raw, out, home, bounded)
    if reason := objection(said, own, signers, datetime.now(UTC)):
        raise FileRejected(reason)


def _run(raw: BinaryIO, out: BinaryIO, home: str, bounded: Bounded) -> Said:
    libc, size_bytes = ctypes.CDLL(None), os.fstat(raw.fileno()).st_size
    cpu_s = _CPU_S + (size_bytes >> 22)

    def set_up() -> None:
        """Let it end with us, and without the right of the service to read all files."""
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)

    raw.seek(0)
    read_fd, write_fd = os.pipe()
    with open(read_fd, "rb", buffering=0) as status:
        try:
            process = subprocess.Popen(  # noqa: S603 - by arguments of ours
                gnupg.command(home, "--status-fd", str(write_fd), "--decrypt"),
                stdin=raw.fileno(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=(write_fd,),
                env=gnupg.environment(),
                preexec_fn=set_up,  # noqa: PLW1509 - we have one thread
            )
        except OSError as error:
            raise GnuPGFailed(error.errno, f"gpg: {error.strerror}") from error
        finally:
            os.close(write_fd)
        with process:
            try:
                text = _copied(process, status, out, bounded, _LONGEST_S + size_bytes / (1 << 20))
                exit_status = process.wait(_LONGEST_S)
            except subprocess.TimeoutExpired:
                raise GnuPGFailed(errno.ETIMEDOUT, "gpg: has not ended") from None
            finally:
                process.kill()
    if exit_status == -signal.SIGXCPU:
        raise FileRejected(message("pgp.damaged/time"))
    if -exit_status in _CRASHED:
        raise FileRejected(message("pgp.damaged"))
    if exit_status < 0:
        raise GnuPGFailed(errno.EIO, f"gpg: was ended by signal {-exit_status}")
    lines = [line.removeprefix(_PREFIX) for line in text.decode(errors="replace").splitlines()]
    return Said(tuple(tuple(line.split()) for line in lines if line.split()), exit_status)


def _copied(
    process: subprocess.Popen[bytes], status: BinaryIO, out: BinaryIO, bounded: Bounded, longest_s: float
) -> bytes:
    """Copy the output of gpg, and return its status. Raises FileRejected, OSError; GnuPGFailed if it takes too long."""
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    said, end = b"", time.monotonic() + longest_s
    with selectors.DefaultSelector() as selector:
        for pipe in (process.stdout, status):
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, end - time.monotonic()))
            if not ready:
                raise GnuPGFailed(errno.ETIMEDOUT, f"gpg: has not ended in {longest_s:.0f} s")
            for key, _ in ready:
                data = os.read(key.fd, CHUNK_BYTES)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.fileobj is status:
                    said += data
                    if len(said) > _MOST_STATUS_BYTES:
                        raise FileRejected(message("pgp.messages"))
                else:
                    bounded.count(len(data))
                    out.write(data)
    out.flush()
    return said


def objection(said: Said, own: Sequence[Key], signers: Sequence[str], now: datetime) -> Message | None:
    """Return why what came out is not to be believed, None if it is. `own`: the keys that gpg could use."""
    return _of_decryption(said, own) or _of_signature(said, signers) or _of_age(said, own, now)


def _of_decryption(said: Said, own: Sequence[Key]) -> Message | None:
    counts = said.counts
    if not counts["DECRYPTION_KEY"]:
        return _without_key(said, own)
    if max(counts["DECRYPTION_KEY"], counts["BEGIN_DECRYPTION"], counts["PLAINTEXT"]) > 1:
        return message("pgp.messages")
    if any(words[:1] == ("0",) and words[2:3] in ((), ("0",)) for words in said.words("DECRYPTION_INFO")):
        return message("pgp.damaged/unprotected")
    if counts["DECRYPTION_OKAY"] == 1 and (counts["NODATA"] or counts["ERROR"]):
        return message("pgp.messages")
    if any(counts[keyword] != 1 for keyword in _ONE_EACH) or counts["ERROR"] or counts["NODATA"]:
        return message("pgp.damaged")
    return None


def _without_key(said: Said, own: Sequence[Key]) -> Message:
    counts, ids = said.counts, [words[0] for words in said.words("ENC_TO")]
    if counts["NEED_PASSPHRASE_SYM"] and not ids:
        return message("pgp.symmetric")
    if any(id_ in key.ids for id_ in ids for key in own):
        return message("pgp.damaged")  # the agent has just said that it has the key
    if ids and counts["BEGIN_DECRYPTION"]:
        return message("pgp.wrong_key", fingerprint=own[0].fingerprint)
    return message("pgp.not_encrypted/message" if counts["PLAINTEXT"] else "pgp.damaged")


def _of_signature(said: Said, signers: Sequence[str]) -> Message | None:
    counts = said.counts
    if counts["BADSIG"]:
        return message("pgp.unsigned/bad")
    if counts["EXPSIG"] or (signers and counts["EXPKEYSIG"]):
        return message("pgp.expired/signature")
    is_stranger = said.exit_status == _STRANGER and counts["NO_PUBKEY"] > 0
    if said.exit_status and not is_stranger:
        return message("pgp.damaged")
    return _of_signer(said, signers) if signers else None


def _of_signer(said: Said, signers: Sequence[str]) -> Message | None:
    counts = said.counts
    if not counts["NEWSIG"]:
        return message("pgp.unsigned", fingerprint=signers[0])
    wanted = {signer.upper() for signer in signers}
    is_valid = any(words[-1].upper() in wanted for words in said.words("VALIDSIG"))
    if not is_valid or said.exit_status or counts["GOODSIG"] != counts["VALIDSIG"]:
        return message("pgp.unsigned/other", fingerprint=signers[0])
    return None


def _of_age(said: Said, own: Sequence[Key], now: datetime) -> Message | None:
    used = {word for words in said.words("DECRYPTION_KEY") for word in words}  # the subkey, and its primary key
    for key in own:
        if key.expires_at is not None and key.expires_at <= now and key.fingerprint in used:
            return message("pgp.expired", fingerprint=key.fingerprint, date=f"{key.expires_at:%Y-%m-%d}")
    return None
