"""
The list of users whom no file changes: a text file of the operator's for each client, one unique_id a line.

It is read for each file that is imported. A list that cannot be read, is empty, or has a line that is not a unique_id
is a problem of the host: nobody is imported unprotected meanwhile, the file is deferred.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Final

from importer.attributes import ATTRIBUTES
from importer.characters import clean, unguarded
from importer.fs import read_regular
from importer.settings import ClientSettings

_MOST_BYTES: Final = 16 << 20  # some 1,000,000 ids
_COMMENT: Final = "#"
_SEPARATORS: Final = frozenset(",;\t")  # of a table, whose lines would protect nobody


class ListUnusable(OSError):
    """It is not known who is protected; the text says which list cannot be used, and why."""

    def __str__(self) -> str:
        return str(self.strerror)


def protected_users(client: ClientSettings) -> tuple[str, ...]:
    """Return the ids of the client's list, none without one. Raises ListUnusable."""
    path = client.protected_users
    if not path:
        return ()
    try:
        text = read_regular(path, _MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise ListUnusable(error.errno, f"protected_users {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ListUnusable(errno.EINVAL, f"protected_users {path}: byte {error.start} is not UTF-8") from None
    ids = {*_ids_in(text, client)}
    if not ids:  # what is left when a program that writes it fails
        raise ListUnusable(errno.EINVAL, f"protected_users {path}: has no unique_id; to protect nobody, leave it out")
    return tuple(sorted(ids))


def _ids_in(text: str, client: ClientSettings) -> Iterator[str]:
    attribute = ATTRIBUTES["unique_id"]
    limit = max(attribute.limit, client.limits.get(attribute.name, 0))  # of those recorded before it was lowered, too
    for number, line in enumerate(text.splitlines(), 1):
        cell = clean(attribute, unguarded(line))
        if not cell.value or line.startswith(_COMMENT):
            continue
        if cell.problems or len(cell.value) > limit or not _SEPARATORS.isdisjoint(cell.value):
            where = f"protected_users {client.protected_users} line {number}"
            raise ListUnusable(
                errno.EINVAL, f"{where}: is not a unique_id; expected one on each line, and nothing else"
            )
        yield cell.value
