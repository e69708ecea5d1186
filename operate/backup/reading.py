"""
Reading a backup, which anybody may have made: nothing in it is believed before all of it was compared.

Refused are entries that are not regular files, names that lead elsewhere or occur twice, lengths that are wrong, and
whatever differs from the manifest. A name from a backup never becomes a path: see `manifest`.
"""

from __future__ import annotations

import contextlib
import hashlib
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, Self

import msgspec

from importer import fs
from importer.model import printable
from operate.backup.manifest import FORMAT, NAME, Manifest, Member, is_allowed
from operate.options import bytes_bar

_CHUNK_BYTES: Final = 1 << 20
_MAX_MANIFEST_BYTES: Final = 512 << 20  # some two million files
_MAX_LONG_NAME_BYTES: Final = 4096


class BackupUnusable(Exception):
    """The file is not a backup, or not the whole one. The message says what was found."""


class _Entry(tarfile.TarInfo):
    """An entry of a tar. Of other kinds than a backup has, not even the header is followed."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header. Raises BackupUnusable, and HeaderError."""
        entry = super().frombuf(buf, encoding, errors)
        if entry.type not in (tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME):
            raise BackupUnusable(f"{shown(entry.name)}: is not a regular file; a backup has nothing else")
        if entry.size < 0 or (entry.type == tarfile.GNUTYPE_LONGNAME and entry.size > _MAX_LONG_NAME_BYTES):
            raise BackupUnusable(f"{shown(entry.name)}: has an impossible length")
        return entry


class Backup:
    """An open backup that was compared with its manifest."""

    def __init__(self, tar: tarfile.TarFile, manifest: Manifest, entries: dict[str, tarfile.TarInfo]) -> None:
        self._tar = tar
        self._entries = entries
        self.manifest = manifest
        self.by_name = {member.name: member for member in manifest.members}

    def below(self, folder: str) -> list[Member]:
        """Return the members whose names begin so."""
        return [member for member in self.manifest.members if member.name.startswith(folder)]

    def content(self, member: Member) -> Iterator[bytes]:
        """Yield the content of a member. Raises BackupUnusable at its end, if the file was changed meanwhile."""
        digest = hashlib.sha256()
        for chunk in _chunks(self._tar, self._entries[member.name]):
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != member.sha256:
            raise BackupUnusable(f"{member.name}: was changed while it was read")

    def text(self, name: str) -> bytes:
        """Return the content of a small member. Raises BackupUnusable."""
        return b"".join(self.content(self.by_name[name]))


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Backup]:
    """
    Open a backup, read all of it and compare it with its manifest, which a terminal sees the progress of.

    Raises BackupUnusable, OSError.
    """
    with fs.open_file(path) as file, _tar(file) as tar:
        manifest, entries = _compared(path, tar)
        yield Backup(tar, manifest, entries)


def _compared(path: Path, tar: tarfile.TarFile) -> tuple[Manifest, dict[str, tarfile.TarInfo]]:
    with bytes_bar(path.stat().st_size, path.name) as advance:
        entries, hashes = {}, {}
        for entry in _all(tar):
            if NAME in entries:
                raise BackupUnusable(f"{shown(entry.name)}: comes after the manifest, which has to be the last")
            if entry.name in entries:
                raise BackupUnusable(f"{shown(entry.name)}: is in it twice")
            if entry.name != NAME:
                hashes[entry.name] = _sha256(tar, entry, advance)
            entries[entry.name] = entry
    manifest = _manifest(tar, entries)
    _compare(manifest, entries, hashes)
    return manifest, entries


@contextlib.contextmanager
def _tar(file: BinaryIO) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(fileobj=file, mode="r:", tarinfo=_Entry) as tar:
            yield tar
    except tarfile.TarError as error:
        raise BackupUnusable(f"is not a backup: {error}") from None


def _all(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the entries, with names that a backup may have."""
    while (entry := tar.next()) is not None:
        if entry.name != NAME and not is_allowed(entry.name):
            raise BackupUnusable(f"{shown(entry.name)}: is not the name of anything that a backup has")
        yield entry


def _sha256(tar: tarfile.TarFile, entry: tarfile.TarInfo, advance: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(tar, entry):
        digest.update(chunk)
        advance(len(chunk))
    return digest.hexdigest()


def _chunks(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> Iterator[bytes]:
    """Yield the content of an entry. Raises BackupUnusable when there is less than its header says."""
    file = tar.extractfile(entry)
    left = entry.size
    while file is not None and left:
        try:
            chunk = file.read(min(left, _CHUNK_BYTES))
        except tarfile.ReadError:
            chunk = b""
        if not chunk:
            raise BackupUnusable(f"{shown(entry.name)}: is cut off")
        left -= len(chunk)
        yield chunk


def _manifest(tar: tarfile.TarFile, entries: dict[str, tarfile.TarInfo]) -> Manifest:
    entry = entries.get(NAME)
    if entry is None:
        raise BackupUnusable("is cut off, or not a backup of rosterd: it has no manifest")
    if entry.size > _MAX_MANIFEST_BYTES:
        raise BackupUnusable("its manifest is too large")
    text = b"".join(_chunks(tar, entry))
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BackupUnusable(f"its manifest cannot be read: {error}") from None
    if manifest.format != FORMAT:
        raise BackupUnusable(f"has format {manifest.format}, by rosterd {manifest.version}; expected {FORMAT}")
    return manifest


def _compare(manifest: Manifest, entries: dict[str, tarfile.TarInfo], hashes: dict[str, str]) -> None:
    """Raise BackupUnusable for the first difference between the manifest and what is there."""
    for member in manifest.members:
        if member.name not in hashes:
            raise BackupUnusable(f"{shown(member.name)}: is in the manifest and nowhere else")
        if hashes.pop(member.name) != member.sha256 or entries[member.name].size != member.size_bytes:
            raise BackupUnusable(f"{member.name}: is not what was backed up: its SHA-256 differs from the manifest's")
    if hashes:
        raise BackupUnusable(f"{shown(min(hashes))}: is not in the manifest")


def shown(name: str) -> str:
    """Return a name from a backup as one line that drives no terminal."""
    return printable(name.encode("utf-8", "surrogateescape"))
