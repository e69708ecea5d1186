"""Writing a backup: what is added goes through a hash into a tar, and at the end into its manifest."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from importer import fs
from importer.durable import sync
from operate.backup.manifest import NAME, Manifest, Member, Owner

_NS: Final = 1_000_000_000
_CHUNK_BYTES: Final = 1 << 20


class Packing:
    """A backup that is being written."""

    def __init__(self, file: BinaryIO, advance: Callable[[int], None] = lambda _: None) -> None:
        """`advance` is told how many bytes of content were written since."""
        self._file = file
        self._advance = advance
        self._members: list[Member] = []
        self.left_out: list[str] = []

    def add_file(self, name: str, file: BinaryIO, owner: Owner) -> None:
        """Add an open file, of the size that it has now. Raises OSError."""
        info = os.fstat(file.fileno())
        content = _Content(file)
        self._add(name, info.st_size, info.st_mtime_ns, content)
        if content.is_short:
            self.left_out.append(f"{name}: became shorter while it was copied; its end is zeros")
        self._note(name, info, content, owner)

    def add_bytes(self, name: str, text: bytes, *, mode: int = 0o600) -> None:
        """Add what is not a file yet."""
        content = _Content(io.BytesIO(text))
        self._add(name, len(text), 0, content)
        member = Member(name=name, size_bytes=len(text), sha256=content.sha256, mode=mode, mtime_ns=0, owner="root")
        self._members.append(member)

    def close(self, manifest: Manifest) -> Manifest:
        """Add the manifest, with what was added, and end the backup."""
        whole = msgspec.structs.replace(manifest, members=tuple(self._members), left_out=tuple(self.left_out))
        text = msgspec.json.encode(whole)
        self._add(NAME, len(text), 0, _Content(io.BytesIO(text)))
        self._file.write(bytes(2 * tarfile.BLOCKSIZE))
        return whole

    def _add(self, name: str, size_bytes: int, mtime_ns: int, content: _Content) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode, entry.mtime = size_bytes, 0o600, mtime_ns // _NS
        # GNU's format has no headers of free form, which a reader would have to bound.
        self._file.write(entry.tobuf(tarfile.GNU_FORMAT))
        for at in range(0, size_bytes, _CHUNK_BYTES):
            chunk = content.read(min(size_bytes - at, _CHUNK_BYTES))
            self._file.write(chunk)
            self._advance(len(chunk))
        self._file.write(bytes(-size_bytes % tarfile.BLOCKSIZE))

    def _note(self, name: str, info: os.stat_result, content: _Content, owner: Owner) -> None:
        member = Member(
            name=name,
            size_bytes=info.st_size,
            sha256=content.sha256,
            mode=stat.S_IMODE(info.st_mode) & 0o777,
            mtime_ns=info.st_mtime_ns,
            owner=owner,
        )
        self._members.append(member)


class _Content:
    """A file that is read to the length it had, and what was read is hashed; one that is shorter now ends in zeros."""

    def __init__(self, file: BinaryIO | io.BytesIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.is_short = False

    def read(self, size: int) -> bytes:
        """Return that many bytes."""
        chunk = self._file.read(size)
        if len(chunk) < size:
            self.is_short = True
            chunk += bytes(size - len(chunk))
        self._digest.update(chunk)
        return chunk

    @property
    def sha256(self) -> str:
        """Return the hash of all that was read."""
        return self._digest.hexdigest()


@contextlib.contextmanager
def new_file(folder: Path, target: Path) -> Iterator[BinaryIO]:
    """
    Yield a new private file in the folder; at the end it is durable, and renamed to the target next to the folder.

    Raises OSError, SyncFailed.
    """
    temporary = folder / "backup.tar"
    with open(os.open(temporary, fs.NEW_FILE, 0o600), "wb") as file:
        yield file
        file.flush()
        sync(file.fileno())
    temporary.rename(target)
    with fs.open_folder(target.parent, flags=fs.OWN_FOLDER) as fd:
        sync(fd)
