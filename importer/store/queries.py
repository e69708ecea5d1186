"""What people ask of the database: read only, each answer bounded. Times are UTC, newest first."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from importer.attributes import ATTRIBUTES
from importer.model import MOST_GROUPS, Tally, printable
from importer.store.connection import Connection, Values, marks, stamp, stored
from importer.store.sqlite.connection import reading
from importer.store.tables import hooks

_RowT = TypeVar("_RowT", bound=msgspec.Struct)

User = dict[str, str | int | None]

_SILENT: Final = timedelta(minutes=5)
_CLIENTS_AT_ONCE: Final = 500  # in one statement
_MOST_DIGITS: Final = 18  # of a number that SQLite can hold
_SIMILAR: Final = 20_000  # ids that are compared with one that is not there
USER_COLUMNS: Final = (
    *("client", *ATTRIBUTES, "inactive_by"),
    *("created_at", "updated_at", "created_import", "import_id", "import_line"),
)
_SEARCHED: Final = ("unique_id", "email", "user_name", "first_name || ' ' || last_name", "employ_no", "student_no")
# One question for each index: put together with OR, SQLite asks one index and reads the rest of the client.
_IS_CALLED: Final = """
    (WITH clients AS (SELECT DISTINCT client AS name FROM imports WHERE :client IS NULL OR client = :client)
     SELECT client AS whose, unique_id AS id FROM clients CROSS JOIN users WHERE client = name AND unique_id = :query
     UNION SELECT client, unique_id FROM clients CROSS JOIN users WHERE client = name AND email_key = :key
     UNION SELECT client, unique_id FROM clients CROSS JOIN users WHERE client = name AND user_name_key = :key) AS hits
    CROSS JOIN users WHERE client = whose AND unique_id = id"""
_HAS_PATTERN: Final = " OR ".join(f"{column} LIKE :pattern ESCAPE '!'" for column in _SEARCHED)
_CONTAINS: Final = f"users WHERE (:client IS NULL OR client = :client) AND ({_HAS_PATTERN})"
_IN_ORDER: Final = "ORDER BY client || '', unique_id"  # sorted: by the index SQLite took four times as long

IMPORTS: Final = """FROM (
  SELECT imports.*, coalesce(on_hold.users, 0) AS missing FROM imports LEFT JOIN on_hold
  ON on_hold.claim_id = imports.claim_id AND on_hold.kind = 'removals' AND on_hold.decision = '') AS ledger"""

# As the indexes of the outbox have it: a parameter would not be found in them.
_IN_STATE: Final = {"waiting": "state = 'waiting'", "dead": "state = 'dead'"}


class Import(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row of the ledger."""

    id: int
    claim_id: str
    client: str
    kind: str  # file; undo, rekey, deactivate, reactivate or erase, by the operator
    file: str  # its name, or what the operator did
    feed: str  # "": that of all files that belong to no other
    outcome: str
    code: str  # why the whole file was refused or is on hold, else ""
    # operator, client or a user of the console, if it was on hold; pause: a limit that it exceeds was paused
    approved_by: str
    requested_by: str  # the console user who had it imported again or undone, or ended its hold; else ""
    created: int
    updated: int
    reinstated: int
    unchanged: int
    failed: int
    repeated: int
    deactivated: int
    size_bytes: int
    sha256: str
    archive: str  # its name in `.bak`, as text
    claimed_at: datetime
    finished_at: datetime
    archived_at: datetime | None
    purged_at: datetime | None  # when file, answers and problems were removed
    missing: int  # users of a snapshot that lacks too many, who stay active until somebody decides
    host: str = ""  # that imported it, where several do; else "", and not in JSON


class RecordedProblem(msgspec.Struct, frozen=True, kw_only=True):
    """All rows of an import that have the same problem, in the words of the ledger."""

    code: str
    field: str
    detail: str
    rows: int
    first_line: int


class QueuedMail(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row of the outbox, without its body."""

    id: int
    message_id: str
    client: str
    claim_id: str
    recipients: str  # JSON; of a waiting mail those who still lack it
    subject: str
    state: str  # waiting, joined, sent, dead, dropped
    attempts: int
    created_at: datetime
    due_at: datetime
    sent_at: datetime | None
    last_error: str
    joined_into: int | None
    host: str = ""  # that wrote or sends it, likewise


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """One of several hosts that share a database."""

    host: str
    last_seen: datetime

    def is_silent(self, at: datetime) -> bool:
        """Tell whether nothing was seen of it for five minutes; each notes once a minute that it is there."""
        return self.last_seen < at - _SILENT


class Totals(Tally, frozen=True, kw_only=True):
    """All imports of a client that ended alike."""

    client: str
    outcome: str
    uploads: int
    size_bytes: int
    last_finished_at: datetime


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Connection]:
    """Open the database for reading, one moment for all questions. Raises StoreError when it cannot be read."""
    with reading(path) as conn:
        yield conn


def hosts(conn: Connection) -> list[Host]:
    """Return all hosts that were ever there; none with SQLite."""
    return rows_of(conn, Host, "FROM hosts ORDER BY host", {})


def imports(conn: Connection, *, client: str | None, since: datetime | None, failed: bool, limit: int) -> list[Import]:
    """Return the newest imports; `failed`: only those in which a row or the file failed."""
    return rows_of(
        conn,
        Import,
        f"""{IMPORTS} WHERE (:client IS NULL OR client = :client) AND (:since IS NULL OR finished_at >= :since)
           AND (:failed = 0 OR outcome <> 'imported') ORDER BY id DESC LIMIT :limit""",
        {"client": client, "since": None if since is None else stamp(since), "failed": failed, "limit": limit},
    )


def find_import(conn: Connection, id_: str) -> Import | None:
    """Return the import with this id, or of this claim."""
    is_number = id_.isascii() and id_.isdigit() and len(id_) <= _MOST_DIGITS
    where = "id = :id" if is_number else "claim_id = :id"
    rows = rows_of(conn, Import, f"{IMPORTS} WHERE {where}", {"id": int(id_) if is_number else id_})
    return rows[0] if rows else None


def totals(conn: Connection) -> list[Totals]:
    """Return the sums of the ledger. It loses rows of files on hold alone, so they never fall."""
    sums = ", ".join(f"sum({name}) AS {name}" for name in ("size_bytes", *Tally.__struct_fields__))
    return rows_of(
        conn,
        Totals,
        f"""FROM (SELECT client, outcome, count(*) AS uploads, {sums}, max(finished_at) AS last_finished_at
            FROM imports WHERE kind = 'file' AND outcome <> 'on_hold' GROUP BY client, outcome) AS sums""",
        {},
    )


def archive_name(conn: Connection, import_id: int) -> bytes:
    """Return the name in `.bak` as it is: `Import.archive` is it as text."""
    return bytes(conn.execute("SELECT archive FROM imports WHERE id = ?", (import_id,)).fetchone()[0])


def find_upload(conn: Connection, client: str, inode: int, mtime_ns: int) -> Import | None:
    """Return the newest import of what was this file in the inbox."""
    rows = rows_of(
        conn,
        Import,
        f"{IMPORTS} WHERE client = :client AND inode = :inode AND mtime_ns = :mtime_ns ORDER BY id DESC LIMIT 1",
        {"client": client, "inode": stored(inode), "mtime_ns": stored(mtime_ns)},
    )
    return rows[0] if rows else None


def last_imports(conn: Connection, clients: Sequence[str]) -> dict[str, Import]:
    """Return the newest import of files of each of these clients; clients without any are left out."""
    found = (
        rows_of(conn, Import, f"{IMPORTS} WHERE id IN (SELECT last FROM ({newest}) AS newest)", part)
        for newest, part in _of_last("id", clients)
    )
    return {each.client: each for rows in found for each in rows}


def last_uploads_at(conn: Connection, clients: Sequence[str]) -> dict[str, datetime]:
    """Return when a file of each of these clients was last dealt with; clients without any are left out."""
    found = (conn.execute(*each).fetchall() for each in _of_last("finished_at", clients))
    return {client: datetime.fromisoformat(last_at) for rows in found for client, last_at in rows if last_at}


def _of_last(column: str, clients: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    newest = f"SELECT {column} FROM imports WHERE client = named.client AND kind = 'file' ORDER BY id DESC LIMIT 1"
    for at in range(0, len(clients), _CLIENTS_AT_ONCE):
        part = clients[at : at + _CLIENTS_AT_ONCE]
        named = ", ".join(["(?)"] * len(part))
        yield f"WITH named (client) AS (VALUES {named}) SELECT client, ({newest}) AS last FROM named", part


def last_finished_at(conn: Connection) -> str | None:
    """Return when the last import ended, by the clock of that time; None when there never was one."""
    (finished_at,) = conn.execute("SELECT max(finished_at) FROM imports").fetchone()
    return None if finished_at is None else str(finished_at)


def clients(conn: Connection) -> list[str]:
    """Return whose files were ever dealt with, those of clients that are not configured any more, too."""
    # From name to name by the index: DISTINCT would read all of it.
    rows = conn.execute(
        """WITH RECURSIVE found (name) AS (
             SELECT min(client) FROM imports
             UNION ALL SELECT (SELECT min(client) FROM imports WHERE client > name) FROM found WHERE name IS NOT NULL)
           SELECT name FROM found WHERE name IS NOT NULL"""
    ).fetchall()
    return [name for (name,) in rows]


def unarchived_by_client(conn: Connection) -> dict[str, int]:
    """Return how many files of each client are recorded and not known to lie in `.bak` yet."""
    rows = conn.execute(
        "SELECT client, count(*) FROM imports WHERE archived_at IS NULL AND outcome <> 'on_hold' GROUP BY client"
    ).fetchall()
    return dict(rows)


def durations(conn: Connection, bounds_s: Sequence[float]) -> tuple[list[int], float]:
    """Return how many imports took at most each of these times from claim to end, then how many all are; their sum."""
    counts = ", ".join("count(*) FILTER (WHERE took <= ?)" for _ in bounds_s)
    took = conn.seconds_between("claimed_at", "finished_at")
    *counted, total, took_s = conn.execute(
        f"""SELECT {counts}, count(*), coalesce(sum(took), 0.0) FROM (
              SELECT {took} AS took
              FROM imports WHERE kind = 'file' AND outcome <> 'on_hold') AS files""",
        list(bounds_s),
    ).fetchone()
    return [*counted, total], took_s


def mails_sent(conn: Connection) -> dict[str, int]:
    """Return how many mails were sent, by client; "" is the operator."""
    return dict(
        conn.execute("SELECT client, count(*) FROM outbox WHERE sent_at IS NOT NULL GROUP BY client").fetchall()
    )


def mails_failing(conn: Connection) -> dict[str, int]:
    """Return how many mails wait after a failed try, by client; "" is the operator."""
    rows = conn.execute(
        "SELECT client, count(*) FROM outbox WHERE state = 'waiting' AND last_error <> '' GROUP BY client"
    ).fetchall()
    return dict(rows)


def count_removals_on_hold(conn: Connection, import_id: int) -> int:
    """Return how many users a snapshot lacks who stay active until somebody decides."""
    query = "SELECT users FROM on_hold WHERE import_id = ? AND kind = 'removals' AND decision = ''"
    row = conn.execute(query, (import_id,)).fetchone()
    return int(row[0]) if row else 0


def count_unarchived(conn: Connection) -> int:
    """Return how many files are recorded and not known to lie in `.bak` yet; one on hold has to wait in `.work`."""
    return _count(conn, "SELECT count(*) FROM imports WHERE archived_at IS NULL AND outcome <> 'on_hold'")


def problems(conn: Connection, client: str, import_id: int) -> list[RecordedProblem]:
    """Return what failed in an import, most rows first."""
    rows = conn.execute(
        f"""SELECT code, field, detail, count(DISTINCT line), min(line) FROM {problems_of(conn)}
            GROUP BY code, field, detail ORDER BY 4 DESC, 5, 1, 2, 3 LIMIT :most""",
        {"client": client, "import_id": import_id, "most": MOST_GROUPS},
    ).fetchall()
    return [
        RecordedProblem(code=code, field=field, detail=detail, rows=count, first_line=line)
        for code, field, detail, count, line in rows
    ]


def problems_of(conn: Connection) -> str:
    """Return from where statements read the problems of the import `:import_id` of `:client`; conditions may follow."""
    return f"import_problems WHERE {conn.same_client('import_problems', ':client')} AND import_id = :import_id"


def warnings(conn: Connection, import_id: int) -> list[str]:
    """Return the codes of the warnings about an import."""
    row = conn.execute("SELECT warnings FROM imports WHERE id = ?", (import_id,)).fetchone()
    return str(row[0]).split() if row else []


def count_rows_with_problems(conn: Connection, client: str, import_id: int) -> int:
    """Return of how many rows the problems are recorded; of a file with very many not those of all."""
    query = f"SELECT count(DISTINCT line) FROM {problems_of(conn)}"
    return int(conn.execute(query, {"client": client, "import_id": import_id}).fetchone()[0])


def users(conn: Connection, query: str, *, client: str | None, limit: int, is_inactive: bool = False) -> list[User]:
    """
    Return the users that match the text, by column; None: empty. `is_inactive`: only those who are.

    Those whose unique id, address or user name it is; when there is none, those whose ids or names contain it.
    """
    pattern = f"%{literally(query)}%"
    named = {"client": client, "query": query, "key": query.casefold(), "pattern": pattern, "limit": limit}
    state = " AND inactive_by IS NOT NULL" if is_inactive else ""
    if not query:
        return users_of(
            conn,
            f"users WHERE (:client IS NULL OR client = :client){state} ORDER BY updated_at DESC, client, unique_id",
            named,
        )
    found = (users_of(conn, f"{where}{state} {_IN_ORDER}", named) for where in (_IS_CALLED, _CONTAINS))
    return next(filter(None, found), [])


def find_user(conn: Connection, client: str, unique_id: str) -> User | None:
    """Return one user by column, None when there is none."""
    where = "users WHERE client = :client AND unique_id = :id"
    rows = users_of(conn, where, {"client": client, "id": unique_id, "limit": 1})
    return rows[0] if rows else None


def used_attributes(conn: Connection, client: str) -> tuple[str, ...]:
    """Return the attributes of which at least one user of a client has a value."""
    counts = ", ".join(f"max(CASE WHEN {name} <> '' THEN 1 ELSE 0 END)" for name in ATTRIBUTES)
    counted = conn.execute(f"SELECT {counts} FROM users WHERE client = ?", (client,)).fetchone()
    return tuple(name for name, is_used in zip(ATTRIBUTES, counted, strict=True) if is_used)


def similar_ids(conn: Connection, client: str, unique_id: str) -> list[str]:
    """Return unique ids of a client that begin or end like this one and are about as long."""
    half = (len(unique_id) + 1) // 2
    named = {
        "client": client,
        "begins": literally(unique_id[:half]) + "%",
        "ends": "%" + literally(unique_id[-half:]),
        "length": len(unique_id),
        "limit": _SIMILAR,
    }
    rows = conn.execute(
        """SELECT unique_id FROM users WHERE client = :client AND abs(length(unique_id) - :length) <= 2
            AND (unique_id LIKE :begins ESCAPE '!' OR unique_id LIKE :ends ESCAPE '!') LIMIT :limit""",
        named,
    ).fetchall()
    return [similar for (similar,) in rows]


def literally(text: str) -> str:
    """Return a text as LIKE takes it literally, with "!" for ESCAPE: a backslash means more to some servers."""
    return "".join(f"!{char}" if char in "!%_" else char for char in text)


def mails(conn: Connection, *, client: str | None, states: Sequence[str], limit: int) -> list[QueuedMail]:
    """Return the newest mails in one of these states."""
    return rows_of(
        conn,
        QueuedMail,
        f"FROM outbox WHERE (? IS NULL OR client = ?) AND state IN {marks(states)} ORDER BY id DESC LIMIT ?",
        (client, client, *states, limit),
    )


def find_mail(conn: Connection, id_: int) -> tuple[QueuedMail, bytes] | None:
    """Return a mail and its finished bytes, which are empty once they were joined, dropped or forgotten."""
    rows = rows_of(conn, QueuedMail, "FROM outbox WHERE id = :id", {"id": id_})
    if not rows:
        return None
    return rows[0], bytes(conn.execute("SELECT body FROM outbox WHERE id = ?", (id_,)).fetchone()[0])


def mails_of(conn: Connection, claim_id: str) -> list[QueuedMail]:
    """Return the mails about one file."""
    return rows_of(conn, QueuedMail, "FROM outbox WHERE claim_id = :claim_id ORDER BY id", {"claim_id": claim_id})


def knows_mail(conn: Connection, message_id: str) -> bool:
    """Return whether this mail was ever put into the outbox."""
    return bool(_count(conn, "SELECT count(*) FROM outbox WHERE message_id = ?", message_id))


def mails_by_client(conn: Connection, state: str) -> dict[str, int]:
    """Return how many mails are `waiting` or `dead`, by client; "" is the operator."""
    return dict(
        conn.execute(f"SELECT client, count(*) FROM outbox WHERE {_IN_STATE[state]} GROUP BY client").fetchall()
    )


def count_mails(conn: Connection, state: str) -> int:
    """Return how many mails are `waiting` or `dead`."""
    return _count(conn, f"SELECT count(*) FROM outbox WHERE {_IN_STATE[state]}")


def failing_mail(conn: Connection) -> dict[str, int]:
    """Return how many mails wait for another try, by what went wrong last, most first."""
    rows = conn.execute(
        "SELECT last_error, count(*) FROM outbox WHERE state = 'waiting' AND last_error <> '' "
        "GROUP BY last_error ORDER BY count(*) DESC, max(id) DESC"
    ).fetchall()
    return dict(rows)


def failing_events(conn: Connection) -> dict[str, dict[str, int]]:
    """Return for each webhook how many events wait for another try, by what went wrong last, most first."""
    return hooks.failing(conn)


def dead_events(conn: Connection) -> dict[str, int]:
    """Return for which webhooks events were given up, and how many."""
    return {name: each.dead for name, each in hooks.counts(conn).items() if each.dead}


def oldest_waiting_mail(conn: Connection) -> datetime | None:
    """Return when the mail that waits longest was written."""
    (written_at,) = conn.execute("SELECT min(created_at) FROM outbox WHERE state = 'waiting'").fetchone()
    return None if written_at is None else datetime.fromisoformat(written_at)


def users_of(conn: Connection, where: str, named: Mapping[str, str | int | None]) -> list[User]:
    """Return users by column: `where` is what follows FROM, and `named` has its parameters, and `limit`."""
    rows = conn.execute(f"SELECT {', '.join(USER_COLUMNS)} FROM {where} LIMIT :limit", named).fetchall()
    return [dict(zip(USER_COLUMNS, row, strict=True)) for row in rows]


def rows_of(conn: Connection, kind: type[_RowT], source: str, values: Values) -> list[_RowT]:
    """Return rows as structs whose fields are called like the columns."""
    found = conn.execute(f"SELECT {', '.join(kind.__struct_fields__)} {source}", values).fetchall()
    rows = (dict(zip(kind.__struct_fields__, map(_as_text, row), strict=True)) for row in found)
    return [msgspec.convert(row, kind) for row in rows]


def _as_text(value: bytes | str | int | None) -> str | int | None:
    return printable(value) if isinstance(value, bytes) else value


def _count(conn: Connection, query: str, *values: str) -> int:
    return int(conn.execute(query, values).fetchone()[0])
