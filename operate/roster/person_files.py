"""In which files of a client, and in which delivered mail, a person is: each spelling of the id is searched."""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from importer.characters import SHOWN_CHARS, guarded
from importer.model import printable
from importer.settings import ClientSettings, FileSettings
from importer.store import integrity, personal_data
from importer.store.connection import Connection
from operate.database import cannot_answer
from operate.folders import Folders, opened
from operate.options import steps_bar
from watcher.settings import Config

_ENCODINGS: Final = ("utf-8", "cp1252", "utf-16-le", "utf-16-be")
_ANY_BLANKS: Final = rb"[\s\0]{1,20}"
_LONG_WORK_ARCHIVES: Final = 1000


class Places(msgspec.Struct, frozen=True):
    """Files in the folders of a client that contain a person, or may contain them."""

    archives: dict[str, int]  # with their imports
    unread: list[str]
    waiting: list[str]
    too_large: list[str]


def places_of(config: Config, conn: Connection, client: ClientSettings, unique_id: str) -> Places:
    """Return the files that contain a person; ends the program when they cannot be read. Raises PermissionError."""
    word = _word(unique_id, client)
    records = [record for record in integrity.records(conn) if record.client == client.name]
    try:
        with opened(client.inbox) as folders:
            with steps_bar(len(records), "archives", is_long=len(records) >= _LONG_WORK_ARCHIVES) as advance:
                archives = list(_archives(records, folders, word, config.file, advance))
            unfinished = list(folders.unfinished(word, config.file))
    except PermissionError:
        raise
    except FileNotFoundError:
        if client in config.clients:
            cannot_answer(f"{client.inbox}: does not exist; its files cannot be searched")
        return Places(archives={}, unread=[], waiting=[], too_large=[])
    except OSError as error:
        cannot_answer(f"{client.inbox}: its files cannot be read: {error.strerror}")
    return Places(
        archives={printable(name): record.id for name, record, holds in archives if holds},
        unread=[printable(name) for name, record, holds in archives if holds is None or _is_unread(record, name)],
        waiting=[printable(name) for name, holds in unfinished if holds],
        too_large=[printable(name) for name, holds in unfinished if holds is None],
    )


def _archives(
    records: list[integrity.Record],
    folders: Folders,
    word: re.Pattern[bytes],
    limits: FileSettings,
    advance: Callable[[int], None],
) -> Iterator[tuple[bytes, integrity.Record, bool | None]]:
    """Yield uploads and answers with their imports, and whether each contains the id as a separate word."""
    present = folders.archived()
    for record in records:
        names = present & {record.archive, *record.answers}
        yield from ((name, record, folders.contains(name, word, limits)) for name in names)
        advance(1)


def _is_unread(record: integrity.Record, name: bytes) -> bool:
    return record.code == "file.not_csv" and name == record.archive


def delivered(maildir: Path, unique_id: str) -> list[str]:
    """Return the paths of the mails in the Maildir that have a row of this person."""
    paths = sorted(path for folder in ("new", "cur") for path in (maildir / folder).glob("*"))
    return [str(path) for path in paths if personal_data.is_about(_content(path), unique_id)]


def _content(path: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError):  # its reader has just moved or deleted it
        return path.read_bytes()
    return b""


def _word(unique_id: str, client: ClientSettings) -> re.Pattern[bytes]:
    """Return the pattern that finds the id as a separate word, in a CSV or in text with lines broken at blanks."""
    forms = {unicodedata.normalize(form, unique_id) for form in ("NFC", "NFD")}
    forms.add(unique_id[:SHOWN_CHARS])  # as answers quote it
    forms |= {guarded(form) for form in forms}
    forms |= {form.replace('"', '""') for form in forms}
    spellings = {
        _pattern(form, encoding) for form in forms for encoding in {*_ENCODINGS, client.fallback_encoding or "utf-8"}
    }
    spelled = b"|".join(sorted(spellings - {b""}))
    return re.compile(rb"(?<![0-9A-Za-z])(?:" + spelled + rb")(?![0-9A-Za-z])")


def _pattern(form: str, encoding: str) -> bytes:
    """Return the pattern for one spelling of an id, b"" if the encoding lacks one of its letters."""
    try:
        return _ANY_BLANKS.join(re.escape(part.encode(encoding)) for part in form.split(" "))
    except UnicodeEncodeError:
        return b""
