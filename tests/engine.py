"""Drives the importer without a daemon: bytes in, everything a client and an operator would see out."""

from __future__ import annotations

import csv
import email
import email.policy
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import msgspec

from importer.attributes import ATTRIBUTES, REPORT_NAMES
from importer.durable import Unsynced
from importer.model import Claim, FileWarning, Message, Receipt, Tally
from importer.names import FAILED_CSV, RESULT_TXT
from importer.pipeline import Importer
from importer.settings import ClientSettings, FileSettings, GuardSettings, MailSettings, ReferenceSettings
from importer.store.connection import Connection
from importer.store.sqlite.connection import read_only
from importer.store.sqlite.database import SqliteStore
from importer.wording.catalogue import words

CLIENT = "acme"
MAILBOX = "registrar@acme.example.org"
ARCHIVE = b"users.20261122T074205Z.csv"
UNGUARDED = GuardSettings(identity="off", attribute="off", created="off", undone="off")  # for tests of something else
HEADER = "unique_id,login_source,first_name,last_name,email,user_name"

User = dict[str, str]
Row = tuple[str, str, bytes]  # of the outbox: recipients, subject, body


class Mail(msgspec.Struct, frozen=True):
    """One mail as its reader has it."""

    sender: str
    recipients: tuple[str, ...]
    subject: str
    text: str
    html: str
    attachments: dict[str, bytes]


class Result(msgspec.Struct, frozen=True):
    """What one file led to."""

    receipt: Receipt
    text: str
    failed: bytes
    letter: Row | None

    @property
    def mail(self) -> Mail | None:
        """Return the mail about the file, None when there is none."""
        return _mail(*self.letter) if self.letter else None

    @property
    def tally(self) -> Tally:
        """Return the counts."""
        return self.receipt.tally

    @property
    def code(self) -> str:
        """Return the code of the refusal, "" when there is none."""
        return self.receipt.refusal.code if self.receipt.refusal else ""

    @property
    def refusal(self) -> tuple[Message, ...]:
        """Return all that the file is refused for."""
        return self.receipt.refusal.reasons if self.receipt.refusal else ()

    @property
    def detail(self) -> str:
        """Return what the refusal says."""
        return words().refusal(self.receipt.refusal) if self.receipt.refusal else ""

    @property
    def warnings(self) -> dict[str, FileWarning]:
        """Return the warnings by their codes."""
        return {notice.code: notice for notice in self.receipt.warnings}

    @property
    def failed_rows(self) -> list[dict[str, str]]:
        """Return the failed CSV as a spreadsheet reads it."""
        if not self.failed:
            return []
        first, _, _ = self.failed.decode("utf-8-sig").partition("\n")
        delimiter = next(each for each in ",;\t|" if f'"{each}"' in first)
        text = io.StringIO(self.failed.decode("utf-8-sig"), newline="")
        return list(csv.DictReader(text, delimiter=delimiter, strict=True))

    @property
    def codes(self) -> dict[int, str]:
        """Return the codes of each failed row by its line, as the failed CSV has them."""
        return {int(row["import_line"]): row["import_code"] for row in self.failed_rows}

    @property
    def reasons(self) -> dict[int, str]:
        """Return the reasons of each failed row by its line."""
        return {int(row["import_line"]): row["import_reason"] for row in self.failed_rows}


def open_store(folder: Path) -> SqliteStore:
    """Open the database of an installation; the fixture `both_databases` has it in PostgreSQL, too."""
    return SqliteStore.open(folder / "rosterd.db")


class Engine:
    """One installation's importer on a real database; `client` and `reference` are the settings of this test."""

    def __init__(self, folder: Path, **client: Any) -> None:  # noqa: ANN401 - the fields of ClientSettings
        self.folder = folder
        self.store = self.open()
        basics = {"inbox": "/srv/sftp/acme", "failed_import_email": (MAILBOX,), "guard": UNGUARDED}
        self.client = ClientSettings(**{"name": CLIENT, **basics, **client})
        self.reference = ReferenceSettings()
        self.limits = FileSettings()
        self.mail_settings = MailSettings(reply_to="rosterd@host.example.org")
        self._files = 0
        (folder / ".bak").mkdir(exist_ok=True)
        self._bak_fd = os.open(folder / ".bak", os.O_RDONLY | os.O_DIRECTORY)

    def close(self) -> None:
        """Close the database."""
        self.store.close()
        os.close(self._bak_fd)

    def open(self) -> SqliteStore:
        """Open the database."""
        return open_store(self.folder)

    def reader(self) -> Connection:
        """Return a connection of somebody else, who sees what is committed."""
        database = self.folder / "rosterd.db"
        return read_only(database) if database.exists() else open_store(self.folder).conn

    def settings(self, **changed: Any) -> Engine:  # noqa: ANN401 - likewise
        """Change settings of the client from now on."""
        self.client = msgspec.structs.replace(self.client, **changed)
        return self

    def emptied(self) -> Engine:
        """Forget all users, by hand."""
        self.store.conn.execute("DELETE FROM users")
        if not isinstance(cast("object", self.store), SqliteStore):  # which notices that by itself
            self.store.conn.execute("DELETE FROM baselines")
        return self

    def importer(self) -> Importer:
        """Return what imports files here."""
        return Importer(self.store, file=self.limits, reference=self.reference, mail=self.mail_settings)

    def file(self, *lines: str, name: str = "users.csv") -> Result:
        """Import a file of these lines, each ended by a line feed."""
        return self.upload("".join(f"{line}\n" for line in lines).encode(), name=name)

    def rows(self, *lines: str, header: str = HEADER) -> Result:
        """Import a file of these rows below a header."""
        return self.file(header, *lines)

    def upload(self, content: bytes | Path, *, name: str = "users.csv") -> Result:
        """Import a file of these bytes, or this file, which is moved."""
        with self.claimed(content, name=name) as claim:
            receipt = self.importer().import_file(claim, self.client)
            os.rename(name, claim.archive, src_dir_fd=claim.folder_fd, dst_dir_fd=claim.bak_fd)
            return self._result(receipt)

    @contextmanager
    def claimed(self, content: bytes | Path, *, name: str = "users.csv") -> Iterator[Claim]:
        """Yield a claim of a file with this content, as the intake hands it over."""
        self._files += 1
        claim_id = f"20261122T074205Z-{self._files:08x}"
        folder = self.folder / claim_id
        folder.mkdir()
        if isinstance(content, Path):
            content.rename(folder / name)
        else:
            (folder / name).write_bytes(content)
        found = (folder / name).stat()
        folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with Unsynced() as unsynced:
                yield Claim(
                    unsynced=unsynced,
                    claim_id=claim_id,
                    client=self.client.name,
                    name=os.fsencode(name),
                    folder_fd=folder_fd,
                    bak_fd=self._bak_fd,
                    archive=ARCHIVE if self._files == 1 else ARCHIVE.replace(b"Z.", b"Z-%d." % self._files),
                    device=found.st_dev,
                    inode=found.st_ino,
                    size_bytes=found.st_size,
                    mtime_ns=found.st_mtime_ns,
                    claimed_at=datetime.now(UTC),
                )
        finally:
            os.close(folder_fd)

    def _result(self, receipt: Receipt) -> Result:
        folder = self.folder / receipt.claim.claim_id
        failed = folder / os.fsdecode(FAILED_CSV)
        return Result(
            receipt=receipt,
            text=unwrapped((folder / os.fsdecode(RESULT_TXT)).read_text()),
            failed=failed.read_bytes() if failed.exists() else b"",
            letter=self._letter(receipt.claim.claim_id),
        )

    def _letter(self, claim_id: str) -> Row | None:
        found = self.store.conn.execute(
            "SELECT recipients, subject, body FROM outbox WHERE claim_id = ?", (claim_id,)
        ).fetchone()
        return cast("Row | None", found)

    def users(self, *names: str) -> dict[str, User]:
        """Return the users of the client by unique id: these attributes, or all that are not empty."""
        query = f"SELECT {', '.join(ATTRIBUTES)} FROM users WHERE client = ?"  # noqa: S608 - names that are ours
        found = self.store.conn.execute(query, (self.client.name,)).fetchall()
        rows = [dict(zip(ATTRIBUTES, values, strict=True)) for values in found]
        return {
            row["unique_id"]: {name: row[name] for name in names or ATTRIBUTES if row[name] is not None} for row in rows
        }

    def column(self, name: str) -> dict[str, str | None]:
        """Return one attribute of every user by unique id."""
        return {unique_id: user.get(name) for unique_id, user in self.users(name).items()}


def _mail(recipients: str, subject: str, body: bytes) -> Mail:
    message = email.message_from_bytes(body, policy=email.policy.default)
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    return Mail(
        sender=str(message["From"]),
        recipients=tuple(msgspec.json.decode(recipients, type=list[str])),
        subject=subject,
        text=unwrapped(text.get_content() if text else ""),
        html=html.get_content() if html else "",
        attachments={
            part.get_filename(""): cast("bytes", part.get_payload(decode=True)) for part in message.iter_attachments()
        },
    )


def corrected(result: Result, **cells: str) -> bytes:
    """Return the failed CSV as its author uploads it again, with these cells of every row put right."""
    rows = [row | cells for row in result.failed_rows]
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode("utf-8-sig")


def without_report(row: dict[str, str]) -> list[str]:
    """Return the cells of a row of the failed CSV that came from the upload."""
    return [cell for name, cell in row.items() if name not in REPORT_NAMES]


def unwrapped(text: str) -> str:
    """Return a text with its line breaks as blanks, so that a test can look for a sentence."""
    return " ".join(text.split())


def table(rows: Sequence[Sequence[str]], *, delimiter: str = ",", line_end: str = "\r\n") -> str:
    """Return the rows as the csv module writes them."""
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator=line_end).writerows(rows)
    return out.getvalue()
