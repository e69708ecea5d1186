"""Whether there is enough disk space for an import, checked before it begins, and how full the inboxes are."""

from __future__ import annotations

import errno
import math
import os
from collections import Counter
from collections.abc import Callable
from typing import BinaryIO, Final

import msgspec
import structlog

from importer import disk_space
from importer.fs import open_file, temporary_folder
from importer.model import Claim, Message, message
from importer.store.database import Store
from watcher.health.obstacle import FREE_BYTES
from watcher.health.trouble import Troubles
from watcher.settings import Config

log = structlog.get_logger()

_KB: Final = 1 << 10
_MB: Final = 1 << 20


class Room:
    """
    Compares what an import may need with the free space of the disks; calls `stopping` regularly.

    `inbox_bytes` are those of the files that stay in an inbox, by clients that have a limit.
    """

    def __init__(self, store: Store, troubles: Troubles, stopping: Callable[[], bool]) -> None:
        self._store = store
        self._troubles = troubles
        self._stopping = stopping
        self.inbox_bytes: dict[str, int] = {}

    def use(self, config: Config) -> None:
        """Use this configuration from now on."""
        self._limits = config.file
        self._state_dir = config.service.state_dir
        self._inboxes = {client.name: client.inbox for client in config.clients}
        self._max_inbox_bytes = {client.name: client.max_inbox_bytes for client in config.clients}
        limited = {name for name, limit in self._max_inbox_bytes.items() if limit}
        self.inbox_bytes = {name: used for name, used in self.inbox_bytes.items() if name in limited}

    def note_inbox(self, client: str, measure: Callable[[], int]) -> None:
        """Measure an inbox that has a limit, and report that it is above it, or no more."""
        if not (limit := self._max_inbox_bytes[client]):
            return
        self.inbox_bytes[client] = used = measure()
        if used > limit:
            self._troubles.report("inbox.full", client=client)
        elif self._troubles.clear("inbox.full", client):
            log.info("inbox.emptied", client=client, used_bytes=used)

    def refusal(self, client: str, measure: Callable[[], int], size_bytes: int) -> Message | None:
        """Return why a file is refused that makes an inbox larger than it may be, None for no reason."""
        self.note_inbox(client, measure)
        limit, used = self._max_inbox_bytes[client], self.inbox_bytes.get(client, 0)
        if not limit or used + size_bytes <= limit:
            return None
        key, unit = ("limit.inbox/kb", _KB) if limit < _MB else ("limit.inbox", _MB)
        return message(key, used=math.ceil(used / unit), limit=math.ceil(limit / unit))

    def check_claim(self, claim: Claim) -> None:
        """
        Raise OSError ENOSPC when the import of a claimed file may need more space than a disk has free.

        What comes out of a workbook or an archive is not known yet: `check_content` is asked about it later.
        """
        if claim.size_bytes > self._limits.max_file_bytes or claim.refusal:
            self.check(claim.client, claim.folder_fd, claim.size_bytes)
            return
        with open_file(claim.name, claim.folder_fd) as raw:
            self.check_content(claim, raw)

    def check_content(self, claim: Claim, raw: BinaryIO) -> None:
        """
        Raise OSError ENOSPC when the import of what is in a claimed file may need more space than a disk has free.

        Its lines are counted, 3 s for 1 GiB, only if the most that its size allows would be too many.
        """
        size_bytes = os.fstat(raw.fileno()).st_size
        rows = min(size_bytes // 2 + 1, self._limits.max_rows)  # a row has a character and the end of its line
        if self._shortage(claim.client, claim.folder_fd, self._need(claim.client, size_bytes, rows)):
            rows = disk_space.count_lines(raw, self._stopping)
            self.check(claim.client, claim.folder_fd, size_bytes, rows)

    def check_trial(self, claim: Claim, raw: BinaryIO) -> None:
        """
        Raise OSError ENOSPC when a dry run of an open file may need more space than a disk has free.

        It imports into a copy of the users of the client, which is at most as large as the database.
        """
        size_bytes = os.fstat(raw.fileno()).st_size
        needed = self._need(claim.client, size_bytes, min(size_bytes // 2 + 1, self._limits.max_rows))
        needed = msgspec.structs.replace(needed, state=needed.state + self._store.size_bytes)
        if shortage := self._shortage(claim.client, claim.folder_fd, needed):
            raise OSError(errno.ENOSPC, shortage)

    def check(self, client: str, inbox_fd: int, size_bytes: int, rows: int = 0) -> None:
        """Raise OSError ENOSPC when a disk has less free than an import may need; 0 `rows`: not known yet."""
        needed = self._need(client, size_bytes, rows)
        if self._shortage(client, inbox_fd, needed):
            self._store.fold_log(shrink=True)
            if shortage := self._shortage(client, inbox_fd, needed):
                raise OSError(errno.ENOSPC, shortage)

    def _need(self, client: str, size_bytes: int, rows: int) -> disk_space.Need:
        read_bytes = size_bytes if size_bytes <= self._limits.max_file_bytes else 0  # else it is refused unread
        return disk_space.need(read_bytes, rows, client=client, database_bytes=self._store.size_bytes)

    def _shortage(self, client: str, inbox_fd: int, needed: disk_space.Need) -> str:
        """Return which disk has too little space, "" for none. Needs of several folders on one disk add up."""
        temporary = temporary_folder()
        asked: Counter[int] = Counter()
        for name, folder, taken in (
            (self._inboxes[client], inbox_fd, needed.inbox),
            (self._state_dir, self._state_dir, needed.state),
            (temporary, temporary, needed.temporary),
        ):
            device, disk = os.stat(folder).st_dev, os.statvfs(folder)
            asked[device] += taken
            floor = FREE_BYTES + asked[device]
            if disk.f_bavail * disk.f_frsize < floor:
                return f"less than {floor >> 20} MiB are free in {name}"
        return ""
