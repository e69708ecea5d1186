"""The filter of names: which files of an inbox are uploads, and which speak of one."""

from __future__ import annotations

import fnmatch
import re
from typing import Final

from importer.names import SIDECARS

_MAX_NAME_BYTES: Final = 255


class Names:
    """The filter: names that match the pattern and are nobody's temporary ones."""

    # Hidden files are, among others, lftp's `.in.users.csv` and macOS's `._users.csv`; `~` and `#` are locks and
    # backups of office programs and editors. The endings keep a pattern as wide as `*` from taking half an upload.
    _TEMPORARY_ENDINGS = frozenset(
        b"filepart partial part tmp temp crdownload upload uploading writing swp bak lock".split()
    )
    _CYBERDUCK = re.compile(rb"-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
    _CYBERDUCK_BYTES = 37

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(fnmatch.translate(pattern).encode(), re.IGNORECASE)

    def accept(self, name: bytes) -> bool:
        """Return whether a file of this name is an upload."""
        # The pattern first: it is quick, and most names that a client can make up by the 100,000 do not match it.
        if self._pattern.match(name) is None or name.rpartition(b".")[2].lower() in SIDECARS:
            return False
        return _is_possible(name) and not self.is_temporary(name)

    def about(self, name: bytes) -> bytes | None:
        """Return the upload that a file of this name is, or that it speaks of as its companion."""
        if self.accept(name):
            return name
        upload, _, ending = name.rpartition(b".")
        return upload if ending.lower() in SIDECARS and self.accept(upload) else None

    def is_temporary(self, name: bytes) -> bool:
        """Return whether a file of this name is an upload not finished, or a lock or backup beside it."""
        _, dot, ending = name.rpartition(b".")
        return (
            name.startswith((b".", b"~", b"#"))
            or name.endswith((b"~", b"#"))
            or (bool(dot) and ending.lower() in self._TEMPORARY_ENDINGS)
            or b".!" in name
            or name == b"4913"
            or self._CYBERDUCK.fullmatch(name, max(0, len(name) - self._CYBERDUCK_BYTES)) is not None
        )


def _is_possible(name: bytes) -> bool:
    """Return whether a file can have this name; the log of a session may tell of any."""
    return 0 < len(name) <= _MAX_NAME_BYTES and b"/" not in name and b"\0" not in name
