"""
The names in a folder `check`: which are uploads, which are answers, and which uploads are answered.

That follows from names, owners and times alone, so a restart knows it without a record. The name of an answer has that
of its upload and the second in which the upload was last changed; its modification time is that moment to the
nanosecond: the ctime, which no client can set. What was changed or uploaded again since has another, and is checked
again.
"""

from __future__ import annotations

import os
import re
import stat
from datetime import UTC, datetime
from typing import Final

from importer.model import Message, message
from importer.names import CHECK_TXT, FAILED_CSV, FAILED_XLSX, SIDECARS, approval_in
from watcher.inbox.layout import MAX_NAME_BYTES, Uploads, stat_of
from watcher.inbox.settle import Names
from watcher.model import Identity
from watcher.settings import Config
from watcher.strays.remedies import examples

ANSWERS: Final = (FAILED_CSV, FAILED_XLSX, CHECK_TXT)  # the last one reaches the folder last
_ANSWER: Final = re.compile(rb".+\.\d{8}T\d{6}Z\.(?:check\.txt|failed\.csv|failed\.xlsx)", re.DOTALL)
_NS_PER_S: Final = 1_000_000_000


def beginning(name: bytes, changed_ns: int) -> bytes:
    """
    Return what the names of the answers to an upload begin with: `users.20261122T074205Z`, of `users.csv`.

    Another ending than `.csv` stays, so that files uploaded in the same second have different answers.
    """
    stamp = f".{datetime.fromtimestamp(changed_ns // _NS_PER_S, UTC):%Y%m%dT%H%M%SZ}".encode()
    longest_bytes = len(stamp) + max(map(len, ANSWERS))
    return name.removesuffix(b".csv")[: MAX_NAME_BYTES - longest_bytes] + stamp


def is_due(uploads: Uploads, names: Names, name: bytes) -> bool:
    """Return whether the folder has an upload of this name that is not answered; of a name that is taken, or not."""
    if names.is_temporary(name) or name.rpartition(b".")[2].lower() in SIDECARS:
        return False
    info = stat_of(uploads.fd, name)
    return info is not None and not _is_answer(name, info) and not _is_answered(uploads, name, info.st_ctime_ns)


def objection(name: bytes, names: Names, config: Config) -> Message | None:
    """Return why a file of this name is not checked, None if it is."""
    if approval_in(name):
        return message("check.name/approval")
    return None if names.accept(name) else message("check.name", names=examples(config))


def is_obstructed(uploads: Uploads, name: bytes, identity: Identity) -> bool:
    """Return whether another file has the name of an answer to an upload."""
    start = beginning(name, identity.ctime_ns)
    others = (stat_of(uploads.fd, start + ending) for ending in ANSWERS)
    return any(info is not None and not (stat.S_ISREG(info.st_mode) and _is_ours(info)) for info in others)


def _is_answer(name: bytes, status: os.stat_result) -> bool:
    """Return whether this is an answer; a client may upload a file of such a name."""
    return _ANSWER.fullmatch(name) is not None and _is_ours(status)


def _is_answered(uploads: Uploads, name: bytes, changed_ns: int) -> bool:
    info = stat_of(uploads.fd, beginning(name, changed_ns) + CHECK_TXT)
    return info is not None and stat.S_ISREG(info.st_mode) and _is_ours(info) and info.st_mtime_ns == changed_ns


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid in (os.geteuid(), 0)
