"""What would become of a file, without any effect: the same engine, on a throw-away copy of the client's users."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from importer import fs, report
from importer.model import Claim, Outcome, Receipt
from importer.pipeline import Importer
from importer.settings import ClientSettings, FileSettings, MailSettings, ReferenceSettings
from importer.store.database import Store


class CheckAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer, and whether every row of the file would be applied."""

    receipt: Receipt
    text: str

    @property
    def passes(self) -> bool:
        """Tell whether nothing in the file would fail."""
        return self.receipt.outcome is Outcome.IMPORTED

    def as_json(self) -> str:
        """Return the answer for programs: one JSON object."""
        answer = self.receipt
        refusal = answer.refusal
        fields = {
            "file": answer.claim.file,
            "client": answer.claim.client,
            "passes": self.passes,
            "outcome": answer.outcome,
            "rows": answer.tally.rows,
            **msgspec.structs.asdict(answer.tally),
            "refusal": {"code": refusal.code, "line": refusal.line, "detail": refusal.detail} if refusal else None,
            "problems": answer.problems,
            "warnings": answer.warnings,
        }
        return msgspec.json.format(msgspec.json.encode(fields)).decode()


def check_file(
    path: Path,
    client: ClientSettings,
    *,
    file: FileSettings,
    reference: ReferenceSettings,
    database: Path,
    progress: Callable[[int], None],
) -> CheckAnswer:
    """
    Judge the file as if the client had uploaded it now; `database` may be missing: then all its users are new.

    A file that an import would wait for is answered as the import would in the end. `progress` is told now and then at
    which byte of the file the work is. Raises OSError when the file cannot be read, StoreError when the database
    cannot, SyncFailed when the disk of temporary files fails.
    """

    def tell() -> bool:
        progress(raw.tell())
        return False

    with tempfile.TemporaryDirectory(prefix="rosterd-check-") as name, path.open("rb", buffering=0) as raw:
        scratch = Path(name)
        store = Store.open(scratch / "check.db")
        with contextlib.closing(store), fs.open_folder(scratch) as folder_fd:
            if database.exists():
                store.copy_users(database, client.name)
            # The answer goes to the caller; nobody is mailed.
            silent = msgspec.structs.replace(client, failed_import_email=())
            importer = Importer(store, file=file, reference=reference, mail=MailSettings())
            answer = importer.import_from(raw, _claim(path, client.name, folder_fd), silent, stopping=tell)
    return CheckAnswer(receipt=answer, text=report.check_text(answer))


def _claim(path: Path, client: str, folder_fd: int) -> Claim:
    found = path.stat()
    return Claim(
        claim_id="check",
        client=client,
        name=os.fsencode(path.name),
        folder_fd=folder_fd,
        archive=os.fsencode(path.name),
        device=found.st_dev,
        inode=found.st_ino,
        size_bytes=found.st_size,
        mtime_ns=found.st_mtime_ns,
        claimed_at=datetime.now(UTC),
    )
