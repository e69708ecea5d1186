"""
One step in front of the file: an upload of any accepted kind in, the CSV in it out.

Everything behind it works on what comes out; the ledger and the archive have the upload itself. Another kind of file is
a line in `kinds`, and what `child` does with it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

import msgspec

from importer import helper_process
from importer.file.scan import too_large
from importer.file.unwrap import child, endings, gnupg, kinds
from importer.file.unwrap.kinds import FileKind
from importer.file.upload import Upload
from importer.fs import temporary_folder
from importer.model import FileRejected, FileWarning, message
from importer.settings import ClientSettings, FileSettings

_CHILD: Final = "importer.file.unwrap.child"
_WAIT_S: Final = 0.1
_LONGEST_S: Final = 1200.0  # also if it waits for a disk and uses no processor
_FREE_BYTES: Final = 64 << 20  # of the disk of temporary files, which is everybody's
_CHUNK_BYTES: Final = 1 << 20
_WORKBOOKS: Final = (b".xlsx", b".xlsm")
_SAID_OF_WORKBOOKS: Final = ("wrap.damaged", "wrap.limit/ratio")
_LOCKED: Final = "EncryptedPackage".encode("utf-16-le")


class Unwrapped(msgspec.Struct, frozen=True):
    """The CSV in an upload; for a workbook, the name of the sheet whose rows are its lines."""

    csv: BinaryIO
    sheet: str = ""
    warnings: tuple[FileWarning, ...] = ()
    was_encrypted: bool = False


@contextlib.contextmanager
def unwrapped(raw: BinaryIO, limits: FileSettings, client: ClientSettings, name: bytes = b"") -> Iterator[Unwrapped]:
    """
    Yield the CSV in an upload as a file to be read: the upload itself if it is one, else one that is gone afterwards.

    A `name` that says that the upload is encrypted has to be right. Unwrapping and reading can be interrupted if
    reading the upload can. Raises FileRejected; OSError when the host fails, also when its disk of temporary files is
    nearly full.
    """
    ask = raw.before_read if isinstance(raw, Upload) else lambda: None
    with contextlib.ExitStack() as opened:
        file, answer = raw, child.Answer()
        passed: list[FileKind] = []
        was_encrypted = kinds.kind_of(raw) is kinds.PGP
        if not was_encrypted and os.fstat(raw.fileno()).st_size:  # an empty one is refused as that
            _refuse_plain(client, name)
        while not answer.sheet and (kind := _wrapping(file, limits, ask)):
            if os.fstat(raw.fileno()).st_size > limits.max_file_bytes:
                raise too_large(limits.max_file_bytes)
            if kind is kinds.PGP and passed:
                raise FileRejected(message("pgp.messages/nested"))
            out = opened.enter_context(tempfile.TemporaryFile(dir=temporary_folder()))
            terms = child.Terms(limits=limits, client=client, is_nested=not {*passed} <= {kinds.PGP})
            try:
                answer = _run(file.fileno(), out.fileno(), terms, kind, ask)
            except FileRejected as rejected:
                raise _as_named(rejected, name) from None
            file = opened.enter_context(Upload(os.dup(out.fileno()), ask))
            passed.append(kind)
        yield Unwrapped(file, answer.sheet, answer.warnings, was_encrypted)


def _as_named(rejected: FileRejected, name: bytes) -> FileRejected:
    """Return the refusal of an archive in the words for a workbook if the upload is called so."""
    [*reasons] = rejected.reasons
    if name.lower().endswith(_WORKBOOKS) and reasons[0].key in _SAID_OF_WORKBOOKS:
        reasons[0] = msgspec.structs.replace(reasons[0], key=f"{reasons[0].key}/workbook")
    return FileRejected(*reasons, line=rejected.line)


def _refuse_plain(client: ClientSettings, name: bytes) -> None:
    """Raise FileRejected for an upload that is not encrypted, if it has to be or is called so."""
    if client.require_signature:
        raise FileRejected(message("pgp.not_encrypted/required", fingerprint=client.require_signature[0].upper()))
    if endings.is_named_encrypted(name):
        raise FileRejected(message("pgp.not_encrypted"))


def _wrapping(raw: BinaryIO, limits: FileSettings, ask: Callable[[], None]) -> FileKind | None:
    """Return what kind of wrapping a file is, None if it is to be read as CSV."""
    kind = kinds.kind_of(raw)
    if kind is kinds.OLE and _is_locked(raw, ask):
        raise FileRejected(message("wrap.locked"))
    return None if set(kind.accepted_as).isdisjoint(limits.accept) else kind


def _is_locked(raw: BinaryIO, ask: Callable[[], None]) -> bool:
    """Tell whether an OLE file is a workbook with a password: it has a part of that name."""
    at, before = 0, b""
    while chunk := os.pread(raw.fileno(), _CHUNK_BYTES, at):
        ask()
        if _LOCKED in before + chunk:
            return True
        at, before = at + len(chunk), chunk[-len(_LOCKED) :]
    return False


def _run(raw_fd: int, out_fd: int, terms: child.Terms, kind: FileKind, ask: Callable[[], None]) -> child.Answer:
    with contextlib.ExitStack() as stack:
        if kind is kinds.PGP:
            home = stack.enter_context(gnupg.home(terms.limits.pgp_home))
            terms = msgspec.structs.replace(terms, home=home)
        process = helper_process.start(_CHILD, raw_fd, out_fd)
        try:
            said = _said(process, msgspec.json.encode(terms), out_fd, ask)
        finally:
            process.kill()
            process.communicate()
    if process.returncode == -signal.SIGXCPU:
        raise FileRejected(message("wrap.limit/time"))
    if process.returncode:
        raise ChildProcessError("the process that unwraps the file ended before its work")
    answer = msgspec.json.decode(said, type=child.Answer)
    if answer.says:
        raise gnupg.GnuPGFailed(answer.error, answer.says)
    if answer.error:
        raise OSError(answer.error, os.strerror(answer.error), temporary_folder())
    if answer.reasons:
        raise FileRejected(*answer.reasons)
    return answer


def _said(process: subprocess.Popen[bytes], terms: bytes, out_fd: int, ask: Callable[[], None]) -> bytes:
    """Return what the process answers at its end. Raises what `ask` raises; OSError when the disk is nearly full."""
    given: bytes | None = terms
    end = time.monotonic() + _LONGEST_S
    while time.monotonic() < end:
        try:
            said, _ = process.communicate(given, timeout=_WAIT_S)
        except subprocess.TimeoutExpired:
            given = None
            ask()
            disk = os.fstatvfs(out_fd)
            if disk.f_bavail * disk.f_frsize < _FREE_BYTES:
                raise OSError(errno.ENOSPC, f"less than {_FREE_BYTES >> 20} MiB are free", temporary_folder()) from None
        else:
            return said
    raise FileRejected(message("wrap.limit/time"))
