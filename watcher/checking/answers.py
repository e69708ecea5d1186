"""
The answers to a file in a folder `check`, next to it.

Durable steps, and what a restart finds after each:

1. failed CSV and failed workbook renamed into the folder: an upload that is not answered. It is checked again, and
   they are replaced, or removed, under the same names.
2. with `receipts`, the mail committed: the same; the mail is known by its Message-ID, and not written again.
3. `.check.txt` renamed into the folder, with the time of the upload: the upload is answered.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import BinaryIO, Final

from importer.answer import trial
from importer.durable import write_durably
from importer.fs import open_file
from importer.model import Receipt
from importer.names import CHECK_TXT, FAILED_CSV, FAILED_XLSX
from importer.settings import ClientSettings, MailSettings
from importer.store.database import Store
from watcher.checking.folder import beginning
from watcher.inbox.layout import DRAFT_MODE, Uploads, exists, open_up
from watcher.model import Identity

_CHUNK_BYTES: Final = 1 << 20


class Answering:
    """Writes answers for one client, into an open folder."""

    def __init__(self, uploads: Uploads, store: Store, client: ClientSettings, mail: MailSettings) -> None:
        self._uploads = uploads
        self._store = store
        self._client = client
        self._mail = mail

    def write(self, receipt: Receipt, identity: Identity, drafts_fd: int | None) -> None:
        """
        Write the answers to an upload; `drafts_fd` is the folder with failed CSV and workbook, None if there is none.

        Raises OSError, SyncFailed, StoreError; the call can be repeated.
        """
        start = beginning(receipt.claim.name, identity.ctime_ns)
        for draft in (FAILED_CSV, FAILED_XLSX):
            self._hand_over(drafts_fd, draft, start + draft, identity)
        has_workbook = exists(self._uploads.fd, start + FAILED_XLSX)
        parts = trial.parts(receipt, self._client, self._mail, has_workbook=has_workbook)
        # To the nanosecond: a file may be uploaded twice in a second.
        trial.add_mail(self._store, start + b"%d" % identity.ctime_ns, parts, self._client, self._mail)
        self._write(start + CHECK_TXT, iter([trial.text(parts).encode()]), identity)

    def _hand_over(self, drafts_fd: int | None, draft: bytes, name: bytes, identity: Identity) -> None:
        """Copy a draft into the folder; without one, remove that of an earlier try."""
        if drafts_fd is not None and exists(drafts_fd, draft):
            with open_file(draft, drafts_fd) as file:
                self._write(name, _chunks(file), identity)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._uploads.fd)

    def _write(self, name: bytes, chunks: Iterator[bytes], identity: Identity) -> None:
        def finish(fd: int) -> None:
            open_up(fd, self._uploads.folder, DRAFT_MODE)
            os.utime(fd, ns=(identity.ctime_ns, identity.ctime_ns))

        write_durably(self._uploads.fd, name, chunks, mode=DRAFT_MODE, before_sync=finish)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk
