"""One person in the database: what is recorded, and how it is removed for good."""

from __future__ import annotations

import contextlib
import email
import re
import unicodedata
from collections.abc import Iterator
from email import policy
from email.message import EmailMessage
from typing import Final

import msgspec

from importer.characters import SHOWN_CHARS, guarded, is_unique_id
from importer.model import printable
from importer.store import baselines, ledger
from importer.store.connection import Connection
from importer.store.database import Store
from importer.store.roster import history

_QUOTED: Final = re.compile(r'"((?:[^"]|"")*)"')  # all cells of a failed CSV are
_TABLES: Final = ("users", "user_changes", "outbox", "import_problems")
_REMOVED: Final = "The line was taken for a header; its content was removed with a person."


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed."""

    users: int  # 0 or 1
    changes: int  # of the user, as the history had them
    mails: int  # whose content was emptied; those not sent yet will not be
    quotes: int  # answers to a file without a header that quoted their row


def erase(store: Store, client: str, unique_id: str) -> Erased:
    """
    Remove a person from users, history, problems and the outbox, also from the disk as far as the database can.

    Problems hold line numbers and no cells, except for a row in place of the header, which the answer quotes. The
    ledger has no personal data.
    """
    with store.transaction():
        store.conn.lock(client, briefly=True)
        mails = mails_about(store.conn, client, unique_id)
        for id_ in mails:
            store.conn.execute(
                "UPDATE outbox SET body = ?,"
                " state = CASE WHEN state IN ('waiting', 'dead') THEN 'dropped' ELSE state END WHERE id = ?",
                (b"", id_),
            )
        problems = problems_about(store.conn, client, unique_id)
        for id_ in problems:
            is_its = store.conn.same_client("import_problems", ":client")
            store.conn.execute(
                f"UPDATE import_problems SET detail = :detail WHERE {is_its} AND import_id = :id",
                {"client": client, "id": id_, "detail": _REMOVED},
            )
        ids = {unique_id, *history.former_ids(store.conn, client, unique_id)}
        changes = history.forget_person(store.conn, client, unique_id)
        users = store.conn.execute("DELETE FROM users WHERE client = ? AND unique_id = ?", (client, unique_id)).rowcount
        if users or changes:
            import_id = ledger.next_id(store.conn, client)
            ledger.add_action(store.conn, import_id, client=client, kind="erase", title="erase", users=users)
            history.note_erased(store.conn, import_id, client, ids)
            baselines.forget(store.conn, client)  # a row of hers may be in the next file, and makes her anew
    store.conn.overwrite_deleted(_TABLES)
    return Erased(users=users, changes=changes, mails=len(mails), quotes=len(problems))


def problems_about(conn: Connection, client: str, unique_id: str) -> list[int]:
    """Return the ids of the refused imports whose header was this person's row."""
    rows = conn.execute(
        f"""SELECT imports.id, detail FROM imports JOIN import_problems ON import_id = imports.id
            WHERE imports.client = :client AND {conn.same_client("import_problems", ":client")}
            AND imports.code LIKE 'header.%'""",
        {"client": client},
    ).fetchall()
    return [id_ for id_, detail in rows if _quotes(detail, unique_id)]


def mails_about(conn: Connection, client: str, unique_id: str) -> list[int]:
    """Return the ids of the mails that have a row of this person."""
    query = "SELECT id, body FROM outbox WHERE client = ? AND length(body) > 0"
    with contextlib.closing(conn.execute(query, (client,))) as rows:
        return [id_ for id_, body in rows if is_about(body, unique_id)]


def is_about(body: bytes, unique_id: str) -> bool:
    """Tell whether a mail has a row of this person attached, or quotes it as a header."""
    message = email.message_from_bytes(body, policy=policy.default)
    text = message.get_body(("plain",))
    if text is not None and _quotes(text.get_content(), unique_id):
        return True
    return any(_has_cell(attached, unique_id) for attached in _attached(message))


def _quotes(text: str, unique_id: str) -> bool:
    """Tell whether an answer quotes the id as the name of a column; lines are broken at any blank, also within it."""
    shown = printable(unique_id[:SHOWN_CHARS].encode())
    return _on_one_line(f'"{shown}"') in _on_one_line(text)


def _on_one_line(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _has_cell(text: str, unique_id: str) -> bool:
    text = unicodedata.normalize("NFC", text)
    if not any(form.replace('"', '""') in text for form in (unique_id, guarded(unique_id))):
        return False
    return any(is_unique_id(match[1].replace('""', '"'), unique_id) for match in _QUOTED.finditer(text))


def _attached(message: EmailMessage) -> Iterator[str]:
    for part in message.iter_attachments():
        content = part.get_payload(decode=True)
        if isinstance(content, bytes):
            yield content.decode("utf-8", "replace")
