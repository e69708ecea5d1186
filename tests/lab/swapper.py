"""
A client that flips what its names lead to, as fast as it can, until it is killed.

    swapper.py UID INBOX OUTSIDE [own_folders | check_folder]

OUTSIDE is a folder that nobody must read or write: links lead there, or to the file `users.csv` in it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

HEADER = "unique_id,login_source,first_name,last_name,email\n"


def make_file(path: Path, _: Path) -> None:
    path.write_text(HEADER + "5,OPSCOM,Bad,Lee,bad@school.example\n")


def make_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "users.csv")


def make_folder_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def make_fifo(path: Path, _: Path) -> None:
    os.mkfifo(path)


def make_folder(path: Path, _: Path) -> None:
    path.mkdir()


AT_NAMES: list[Callable[[Path, Path], None]] = [make_file, make_link, make_fifo, make_folder]
AT_FOLDERS: list[Callable[[Path, Path], None]] = [make_folder_link, make_file, make_folder]


FOLDERS = {"own_folders": (".bak", ".work"), "check_folder": ("check", "check")}


def flip(path: Path, make: Callable[[Path, Path], None], outside: Path) -> None:
    """Put something else in the place of `path`: by a rename where it can be replaced at once, else in steps."""
    fresh = path.with_name(f".fresh-{path.name}")
    with contextlib.suppress(OSError):
        remove(fresh)
        make(fresh, outside)
        try:
            fresh.rename(path)
        except OSError:
            with contextlib.suppress(OSError):
                path.rename(path.with_name(f".old-{path.name}"))
            remove(path.with_name(f".old-{path.name}"))
            fresh.rename(path)


def remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def main() -> None:
    uid, inbox, outside, *more = sys.argv[1:]
    os.setgroups([])
    os.setgid(int(uid))
    os.setuid(int(uid))
    names = [Path(inbox, f"swapped{number}.csv") for number in range(4)]
    for step in itertools.count():
        flip(names[step % 4], AT_NAMES[step // 4 % 4], Path(outside))
        if more and step % 50 == 0:
            flip(Path(inbox, FOLDERS[more[0]][step // 50 % 2]), AT_FOLDERS[step // 100 % 3], Path(outside))


if __name__ == "__main__":
    main()
