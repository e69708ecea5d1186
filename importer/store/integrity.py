"""Whether the database is consistent. Only reads; returns findings, sentences for the operator."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import msgspec

from importer import names
from importer.store.connection import Connection, stamp

# A mail is tried at least every hour, and only so many leave in an hour.
_OVERDUE: Final = timedelta(hours=6)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not as promised. Not `is_grave`: it resolves itself, or is only worth knowing."""

    check: str  # "archive.missing": what was looked at, and how it was
    text: str
    client: str = ""
    is_grave: bool = True


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger says about the files of one import."""

    id: int
    claim_id: str
    client: str
    file: str
    code: str  # why the whole file was refused, else ""
    archive: bytes  # name in `.bak`
    sha256: str  # of the archive; "" for a file too large to be read
    size_bytes: int
    mtime_ns: int  # as stored; 0: the archive was rewritten since
    failed: int
    finished_at: str
    is_archived: bool
    is_purged: bool

    @property
    def answers(self) -> list[bytes]:
        """Return the names of the answers next to the archive that there may be."""
        return names.answers(self.archive)

    @property
    def due_answers(self) -> list[bytes]:
        """Return the names of those that must be there."""
        return names.due_answers(self.archive, self.failed)

    def __str__(self) -> str:
        return f"import {self.id} ({self.file})"


def records(conn: Connection) -> list[Record]:
    """Return what the ledger says of all files of this host, oldest first."""
    return _records(conn, "kind = 'file' AND host = ?", conn.host)


def find(conn: Connection, client: str, id_: str) -> Record | None:
    """Return what the ledger says about one import of a client on this host."""
    where = "kind = 'file' AND client = ? AND CAST(id AS TEXT) = ? AND host = ?"
    records = _records(conn, where, client, id_, conn.host)
    return records[0] if records else None


def _records(conn: Connection, where: str, *values: str) -> list[Record]:
    rows = conn.execute(
        f"""SELECT id, claim_id, client, file, code, archive, coalesce(rewritten_sha256, sha256),
              coalesce(rewritten_bytes, size_bytes),
              CASE WHEN rewritten_bytes IS NULL THEN mtime_ns ELSE 0 END, failed, finished_at, archived_at IS NOT NULL,
              purged_at IS NOT NULL
            FROM imports WHERE {where} ORDER BY id""",
        values,
    ).fetchall()
    return [
        msgspec.convert(dict(zip(Record.__struct_fields__, row, strict=True)), Record, strict=False) for row in rows
    ]


# What each query finds should not be; its columns fill the sentence.
_LEDGER_CHECKS: Final = {
    "ledger.doubled": (
        """SELECT client, min(id) || ' and ' || max(id) FROM imports WHERE kind = 'file'
           GROUP BY client, host, archive HAVING count(*) > 1""",
        "Imports {1} say that the same file in .bak is theirs.",
    ),
    "ledger.silent": (
        """SELECT client, id, file FROM imports WHERE (failed > 0 OR outcome = 'refused') AND purged_at IS NULL
           AND outcome <> 'on_hold'
           AND NOT EXISTS (SELECT 1 FROM import_problems WHERE import_id = imports.id AND {of_import})""",
        "Import {1} ({2}) failed, and no problem of it is recorded.",
    ),
    "users.unexplained": (
        """SELECT client, count(*) FROM users WHERE import_id NOT IN (SELECT id FROM imports)
           OR created_import NOT IN (SELECT id FROM imports) GROUP BY client""",
        "{1} users were written by an import that the ledger does not have.",
    ),
    "users.keyed": (
        """SELECT client, count(*) FROM users WHERE inactive_by IS NOT NULL
           AND (email_key IS NOT NULL OR user_name_key IS NOT NULL) GROUP BY client""",
        "{1} inactive users hold an e-mail address or a user name.",
    ),
    "history.unexplained": (
        """SELECT '', count(*) FROM user_changes WHERE NOT EXISTS (SELECT 1 FROM imports WHERE id = import_id
           AND {of_change}) HAVING count(*) > 0""",
        "{1} changes of users were made by an import that the ledger does not have.",
    ),
    "users.doubled_email": (
        """SELECT client, count(*) FROM (SELECT client FROM users WHERE email_key IS NOT NULL
           GROUP BY email_key, client HAVING count(*) > 1) AS doubled GROUP BY client""",
        "{1} e-mail addresses belong to more than one user.",
    ),
    "users.doubled_user_name": (
        """SELECT client, count(*) FROM (SELECT client FROM users WHERE user_name_key IS NOT NULL
           GROUP BY user_name_key, client HAVING count(*) > 1) AS doubled GROUP BY client""",
        "{1} user names belong to more than one user.",
    ),
}
_OUTBOX_CHECKS: Final = {
    "mail.empty": (
        """SELECT client, id FROM outbox
           WHERE state IN ('waiting', 'dead') AND (length(body) = 0 OR recipients = '[]')""",
        "Mail {1} is to be sent and has no content or no recipient. `rosterd mail drop {1}` removes it.",
    ),
    "mail.unexplained": (
        """SELECT client, id FROM outbox
           WHERE claim_id <> '' AND NOT EXISTS (SELECT 1 FROM imports WHERE imports.claim_id = outbox.claim_id)""",
        "Mail {1} reports an import that the ledger does not have.",
    ),
    "mail.lost": (
        # A digest may itself be joined into a later one.
        """SELECT client, id FROM outbox AS part WHERE state = 'joined' AND NOT EXISTS (
             SELECT 1 FROM outbox AS whole WHERE whole.id = part.joined_into
             AND (whole.state <> 'joined' OR whole.joined_into > whole.id))""",
        "Mail {1} was joined into another, which is not there.",
    ),
    "mail.undated": (
        "SELECT client, id FROM outbox WHERE state = 'sent' AND sent_at IS NULL",
        "Mail {1} was sent, but has no time of sending.",
    ),
}


def ledger_findings(conn: Connection, *, quick: bool) -> Iterator[Finding]:
    """Yield where ledger, problems and users contradict each other; `quick`: without going through all users."""
    checks = {name: check for name, check in _LEDGER_CHECKS.items() if not quick or name.startswith("ledger.")}
    yield from _contradictions(conn, checks)


def outbox_findings(conn: Connection, now: datetime) -> Iterator[Finding]:
    """Yield mail that cannot be sent, and mail that is overdue."""
    yield from _contradictions(conn, _OUTBOX_CHECKS)
    dead = conn.execute("SELECT client, id, last_error FROM outbox WHERE state = 'dead'").fetchall()
    for client, id_, reason in dead:
        text = f"Mail {id_} was given up ({reason}). `rosterd mail retry {id_}` tries it again, `drop` removes it."
        yield Finding(check="mail.dead", client=client, text=text)
    overdue = conn.execute(
        "SELECT client, id, last_error FROM outbox WHERE state = 'waiting' AND due_at < ?", (stamp(now - _OVERDUE),)
    ).fetchall()
    for client, id_, reason in overdue:
        text = f"Mail {id_} should have been tried long ago{f' ({reason})' if reason else ''}. Does the daemon run?"
        yield Finding(check="mail.overdue", client=client, text=text, is_grave=False)


def _contradictions(conn: Connection, checks: dict[str, tuple[str, str]]) -> Iterator[Finding]:
    of_import = conn.same_client("import_problems", "imports.client")
    of_change = conn.same_client("user_changes", "imports.client")
    for check, (query, sentence) in checks.items():
        for row in conn.execute(query.format(of_import=of_import, of_change=of_change)).fetchall():
            yield Finding(check=check, client=row[0], text=sentence.format(*row))
