"""Why a file is a stray, by its path alone, and what the client can do about it. Pure."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from typing import Final, Protocol

from importer.file.unwrap.endings import patterns
from importer.model import Message, message, printable
from importer.names import SIDECARS
from watcher.settings import Config, IntakeSettings

_MAX_SHOWN: Final = 100  # characters of a path; its end tells most
# Of files that programs put beside an upload: renamed to its name, they would take its place.
_COMPANIONS: Final = (*SIDECARS, b"sig", b"sha1", b"sha512", b"ok", b"trg", b"ctl")
_APPROVAL: Final = b".approve"  # begins the end of a name that approves, with a code behind it; here it does not
_BY_ENDING: Final = {
    **dict.fromkeys((b".pgp", b".gpg", b".asc", b".age", b".p7m"), "strays/encrypted"),
    **dict.fromkeys((b".7z", b".rar", b".tar", b".tgz", b".bz2", b".xz", b".zst", b".lz", b".z"), "strays/packed"),
}


class Names(Protocol):
    """Which names are taken."""

    def accept(self, name: bytes) -> bool:
        """Return whether a file of this name is an upload."""
        ...

    def is_temporary(self, name: bytes) -> bool:
        """Return whether a program gives this name to what is not finished."""
        ...


def shown(path: bytes) -> str:
    """Return a path as a client reads it."""
    text = printable(path)
    return text if len(text) <= _MAX_SHOWN else f"...{text[-_MAX_SHOWN:]}"


def is_temporary(path: bytes, names: Names) -> bool:
    """Return whether a stray is one of the temporary names of programs, about which no client is told."""
    return b"/" not in path and names.is_temporary(path)


def reason(path: bytes, names: Names) -> str:
    """Return why a file is a stray, in the operator's words."""
    if b"/" in path:
        return "in a folder"
    return "temporary name" if names.is_temporary(path) else "unknown name"


def remedy(path: bytes, names: Names, config: Config) -> Message:
    """Return what is wrong with the path of a stray, and what to do about it."""
    name = path.rpartition(b"/")[2]
    if name != path:
        return message("strays/folder")
    if key := _of_no_use(name, names):
        return message(key)
    if better := _accepted_beginning(name, names):
        return message("strays/ending", ending=printable(os.path.splitext(better)[1]), better=(shown(better),))
    if config.intake.pattern != IntakeSettings().pattern:
        return message("strays/pattern", patterns=examples(config))
    return message("strays/kind", endings=tuple(f".{each}" for each in ("csv", *config.file.accept)))


def _of_no_use(name: bytes, names: Names) -> str:
    """Return why no other name would help a file, "" if one could."""
    ending = os.path.splitext(name)[1].lower()
    if ending in _BY_ENDING:
        return _BY_ENDING[ending]
    if ending[1:] in _COMPANIONS and names.accept(name[: -len(ending)]):
        return "strays/companion"
    return "strays/approval" if _APPROVAL in name.lower() else ""


def _accepted_beginning(name: bytes, names: Names) -> bytes:
    """Return the longest beginning of a name that would be taken, b"" for none: "users.csv" of "users.csv.txt"."""
    beginnings = (name[:length] for length in range(len(name) - 1, 0, -1))
    return next((each for each in beginnings if names.accept(each)), b"")


def examples(config: Config) -> tuple[str, ...]:
    """Return what names are taken, of the kinds that are accepted: "*.gz" stands for "*.csv.gz", too."""
    own, *others = patterns(config.intake.pattern)
    kinds = [each for each in others if each.rpartition(".")[2] in config.file.accept]
    return (own, *(each for each in kinds if not any(fnmatchcase(each, other) for other in kinds if other != each)))
