"""Names that the service gives to folders and files of an inbox: the uploads, their answers, their drafts."""

from __future__ import annotations

from typing import Final

WORK: Final = b".work"  # one folder for each claim
BAK: Final = b".bak"  # uploads that were dealt with, and their answers

# In a claim folder the whole name of a draft, in `.bak` the end of a name. No upload can have these names: those that
# begin with a dot are never claimed.
FAILED_CSV: Final = b".failed.csv"
RESULT_TXT: Final = b".result.txt"
REWRITTEN_DRAFTS: Final = (b".rewritten.csv", b".rewritten.failed.csv")
_ARCHIVE: Final = b".csv"
SIDECARS: Final = (b"done", b"sha256", b"md5")  # endings of files that say of another that it is complete


def failed_csv(archive: bytes) -> bytes:
    """Return the name in `.bak` of the failed CSV of an upload."""
    return archive.removesuffix(_ARCHIVE) + FAILED_CSV


def result_txt(archive: bytes) -> bytes:
    """Return the name in `.bak` of the result text of an upload."""
    return archive.removesuffix(_ARCHIVE) + RESULT_TXT


def answers(archive: bytes, *, failed: bool) -> tuple[bytes, ...]:
    """Return the names in `.bak` of the answers to an upload; `failed`: some of its rows were not imported."""
    return (result_txt(archive), failed_csv(archive)) if failed else (result_txt(archive),)


def all_of(archive: bytes) -> tuple[bytes, ...]:
    """Return all names that `.bak` may have for one upload, itself first: while it is there its answers are due."""
    return (archive, *(archive + b"." + each for each in SIDECARS), failed_csv(archive), result_txt(archive))
