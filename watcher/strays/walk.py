"""
Finds the strays in an inbox: files whose names no rule takes, files in folders that the client made.

Only folders are read; no file is opened, no link followed, no other file system entered. A client can make any number
of names: how many are looked at in a sweep has a limit, and so has what is remembered of them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterator
from typing import Final

import msgspec

from importer import fs
from importer.names import BAK, WORK

MAX_ENTRIES: Final = 20_000  # looked at in a sweep; at most 0.3 s
MAX_FOLDERS: Final = 1_000  # entered in a sweep; 50 ms
MAX_DEPTH: Final = 8  # folders in each other
MAX_LISTED: Final = 1_000  # strays of the inbox itself; as many of its folders
TEMPORARY_AGE_S: Final = 86_400  # of a temporary name that is reported


class Rules(msgspec.Struct, frozen=True):
    """What decides whether an entry is a stray. `is_foreign`: the client did not put it there."""

    is_taken: Callable[[bytes], bool]
    is_temporary: Callable[[bytes], bool]
    is_foreign: Callable[[os.stat_result], bool]
    own: Collection[bytes] = (WORK, BAK)  # folders of an inbox that are not the client's


class Listing:
    """Strays that were found: of the inbox itself, or of its folders."""

    def __init__(self) -> None:
        self.paths: list[bytes] = []  # relative to the inbox
        self.more = 0  # than are listed
        self.is_whole = True  # else there may be others that were not looked at

    def __len__(self) -> int:
        """Return how many were found."""
        return len(self.paths) + self.more

    def add(self, path: bytes) -> None:
        """Add one."""
        if len(self.paths) < MAX_LISTED:
            self.paths.append(path)
        else:
            self.more += 1
            self.is_whole = False


def list_strays(inbox_fd: int, rules: Rules, now_s: float) -> tuple[Listing, Listing]:
    """
    Return the strays in an inbox itself, and those in its folders. `now_s` is the time of day.

    Raises OSError when the inbox cannot be read.
    """
    walk = _Walk(rules, os.fstat(inbox_fd).st_dev, now_s)
    walk.enter(inbox_fd)
    return walk.outer, walk.inner


class _Walk:
    """One walk through an inbox, and what may still be looked at."""

    def __init__(self, rules: Rules, device: int, now_s: float) -> None:
        self.outer, self.inner = Listing(), Listing()
        self._rules = rules
        self._device = device
        self._old_before_s = now_s - TEMPORARY_AGE_S
        self._entries_left = MAX_ENTRIES
        self._folders_left = MAX_FOLDERS

    def enter(self, folder_fd: int, above: bytes = b"", depth: int = 0) -> None:
        """List a folder, then those in it; `above` is its path, with a slash at its end."""
        folders = self._list(folder_fd, above)
        for name in folders:
            if depth == MAX_DEPTH or not self._folders_left or not self._entries_left:
                self.inner.is_whole = False
                return
            self._folders_left -= 1
            with _opened(name, folder_fd, self._device) as fd:
                if fd is not None:
                    self.enter(fd, above + name + b"/", depth + 1)

    def _list(self, folder_fd: int, above: bytes) -> list[bytes]:
        """Note the strays of a folder itself; return the names of its folders."""
        listing, folders = self.inner if above else self.outer, []
        with os.scandir(folder_fd) as entries:
            for entry in entries:
                if not self._entries_left:
                    listing.is_whole = self.inner.is_whole = False
                    break
                self._entries_left -= 1
                name = os.fsencode(entry.name)
                if _is_folder(entry):
                    if not name.startswith(b".") and (above or name not in self._rules.own):
                        folders.append(name)
                elif self._is_stray(name, entry, is_inner=bool(above)):
                    listing.add(above + name)
        return folders

    def _is_stray(self, name: bytes, entry: os.DirEntry[str], *, is_inner: bool) -> bool:
        is_temporary = self._rules.is_temporary(name)
        if (is_inner and is_temporary) or (not is_inner and self._rules.is_taken(name)):
            return False
        try:
            if not entry.is_file(follow_symlinks=False):
                return False
            info = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return False
        return not self._rules.is_foreign(info) and (not is_temporary or info.st_ctime < self._old_before_s)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _opened(name: bytes, parent_fd: int, device: int) -> Iterator[int | None]:
    """Open a folder; None when that is refused, or another file system is mounted there."""
    try:
        fd = os.open(name, fs.FOLDER, dir_fd=parent_fd)
    except OSError:
        yield None
        return
    try:
        yield fd if os.fstat(fd).st_dev == device else None
    finally:
        os.close(fd)
