"""What the database looks like: the migrations that made it so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlite_utils import Database, Migrations

from importer.store.tables import hooks, hosts, replays

# Each migration is literal SQL and is never changed: databases that went through it are what it made of them. A new
# attribute needs a new migration. The indexes of users begin with what tells most: SQLite sorts by a text that differs
# a quarter faster than by one that is mostly the same.
migrations = Migrations("rosterd")

_FIRST: Final = """
CREATE TABLE imports (
    id INTEGER PRIMARY KEY,
    claim_id TEXT NOT NULL UNIQUE,
    client TEXT NOT NULL,
    file TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('imported', 'partly', 'refused')),
    code TEXT NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    unchanged INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    repeated INTEGER NOT NULL,
    ends_line INTEGER NOT NULL,
    archive BLOB NOT NULL,
    claimed_at TEXT NOT NULL,
    finished_at TEXT NOT NULL,
    archived_at TEXT
) STRICT;
CREATE INDEX imports_by_client ON imports (client, id);
CREATE INDEX imports_unarchived ON imports (client) WHERE archived_at IS NULL;

CREATE TABLE users (
    client TEXT NOT NULL,
    unique_id TEXT NOT NULL,
    login_source TEXT NOT NULL,
    first_name TEXT,
    last_name TEXT,
    user_name TEXT,
    email TEXT,
    street TEXT,
    city TEXT,
    province TEXT,
    postal_code TEXT,
    street2 TEXT,
    city2 TEXT,
    province2 TEXT,
    postal_code2 TEXT,
    phone_cell TEXT,
    user_type_id TEXT,
    employ_no TEXT,
    employee_phone TEXT,
    student_phone TEXT,
    student_no TEXT,
    driver_licence_num TEXT,
    driver_licence_prov TEXT,
    date_of_birth TEXT,
    locker_user_type_id TEXT,
    email_key TEXT,
    user_name_key TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    created_import INTEGER NOT NULL,
    import_id INTEGER NOT NULL,
    import_line INTEGER NOT NULL
) STRICT;

CREATE TABLE import_problems (
    import_id INTEGER NOT NULL REFERENCES imports (id),
    line INTEGER NOT NULL,
    code TEXT NOT NULL,
    field TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX import_problems_by_import ON import_problems (import_id);

CREATE VIEW recent_imports AS
    SELECT id, finished_at, client, file, outcome, created, updated, unchanged, failed, repeated, code
    FROM imports ORDER BY id DESC LIMIT 100;
CREATE VIEW failing_clients AS
    SELECT client, count(*) AS imports_with_failures, sum(failed) AS failed_rows, max(finished_at) AS last_failure_at
    FROM imports WHERE outcome <> 'imported' GROUP BY client ORDER BY last_failure_at DESC;

CREATE UNIQUE INDEX users_by_id ON users (client, unique_id);
CREATE INDEX users_by_email ON users (email_key, client);
CREATE INDEX users_by_user_name ON users (user_name_key, client);

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    message_id TEXT NOT NULL UNIQUE,
    client TEXT NOT NULL,
    claim_id TEXT NOT NULL,
    sender TEXT NOT NULL,
    recipients TEXT NOT NULL,
    subject TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'joined', 'sent', 'dead', 'dropped')),
    attempts INTEGER NOT NULL DEFAULT 0,
    permanent INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    due_at TEXT NOT NULL,
    sent_at TEXT,
    last_error TEXT NOT NULL DEFAULT '',
    joined_into INTEGER REFERENCES outbox (id),
    body BLOB NOT NULL
) STRICT;
CREATE INDEX outbox_waiting ON outbox (due_at) WHERE state = 'waiting';
CREATE INDEX outbox_retried ON outbox (client) WHERE state = 'waiting' AND attempts > 0;
CREATE INDEX outbox_sent ON outbox (sent_at) WHERE sent_at IS NOT NULL;
CREATE INDEX outbox_sent_by_client ON outbox (client, sent_at) WHERE sent_at IS NOT NULL;
"""


def _run(db: Database, statements: Iterable[str]) -> None:
    for statement in statements:
        db.execute(statement)


@migrations()
def m001_first(db: Database) -> None:
    """Create all tables; the body of a mail is last, so that SQLite reads the rest without the pages it spills to."""
    _run(db, _statements(_FIRST))


# What was purged, and by which clock; the content that an archive has since a person was taken out of it.
_RETENTION_SCHEMA: Final = """
ALTER TABLE imports ADD COLUMN purged_at TEXT;
ALTER TABLE imports ADD COLUMN rewritten_sha256 TEXT;
ALTER TABLE imports ADD COLUMN rewritten_bytes INTEGER;
CREATE INDEX imports_unpurged ON imports (client, finished_at) WHERE purged_at IS NULL AND archived_at IS NOT NULL;

CREATE TABLE retention (passed_at TEXT NOT NULL) STRICT;
INSERT INTO retention VALUES (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'));
"""


@migrations()
def m002_retention(db: Database) -> None:
    """Let imports be purged and archives be rewritten."""
    _run(db, _statements(_RETENTION_SCHEMA))


# What later files are compared with (importer/rows/delta.py).
_BASELINE_SCHEMA: Final = (
    """CREATE TABLE baselines (
        client TEXT NOT NULL,
        file TEXT NOT NULL,
        import_id INTEGER NOT NULL REFERENCES imports (id),
        terms TEXT NOT NULL,
        odd_lines BLOB NOT NULL,
        PRIMARY KEY (client, file)
    ) STRICT""",
    """CREATE TRIGGER users_edited AFTER UPDATE ON users WHEN new.import_id = old.import_id
        BEGIN DELETE FROM baselines WHERE client IN (old.client, new.client); END""",
    """CREATE TRIGGER users_removed AFTER DELETE ON users WHEN EXISTS (SELECT 1 FROM imports WHERE id = old.import_id)
        BEGIN DELETE FROM baselines WHERE client = old.client; END""",
)


@migrations()
def m003_baselines(db: Database) -> None:
    """Remember which lines of a large file a later one may repeat without being looked at."""
    _run(db, _BASELINE_SCHEMA)


_ORDER_OF_KEYS: Final = (
    "DROP INDEX users_by_email",
    "CREATE INDEX users_by_email ON users (email_key, client)",
    "DROP INDEX users_by_user_name",
    "CREATE INDEX users_by_user_name ON users (user_name_key, client)",
)


@migrations()
def m004_order_of_keys(db: Database) -> None:
    """Create the indexes of keys again, with another order of columns."""
    _run(db, _ORDER_OF_KEYS)


# So that what is asked of the outbox each second and after each file costs the same however many mails there are.
_OUTBOX_TURNS: Final = (
    "ALTER TABLE outbox ADD COLUMN at_once INTEGER NOT NULL DEFAULT 0",
    "DROP INDEX outbox_retried",
    "CREATE INDEX outbox_at_once ON outbox (due_at) WHERE state = 'waiting' AND at_once = 1",
    "CREATE INDEX outbox_turns ON outbox (client, attempts > 0, due_at) WHERE state = 'waiting'",
    "CREATE INDEX outbox_retrying ON outbox (client) WHERE state = 'waiting' AND attempts > 0 AND permanent = 0",
    "CREATE INDEX outbox_dead ON outbox (client) WHERE state = 'dead'",
    "CREATE INDEX outbox_sent_bodies ON outbox (sent_at) WHERE state = 'sent' AND length(body) > 0",
    "CREATE INDEX outbox_bodies ON outbox (client, created_at) WHERE length(body) > 0",
    "CREATE INDEX outbox_claims ON outbox (claim_id)",
)


@migrations()
def m005_outbox_turns(db: Database) -> None:
    """Find the next mail, and the mails to forget, without looking at all that wait or were sent."""
    _run(db, _OUTBOX_TURNS)


# The ledger does not record users who were edited by hand or erased: after that the client's next files are examined
# whole. An import says that it is one by a row of `importing`, which it removes before it commits. What older versions
# left to compare with may be wrong: they miscounted lines.
_EDITS_BY_HAND: Final = (
    "CREATE TABLE importing (is_under_way INTEGER NOT NULL) STRICT",
    "DROP TRIGGER users_edited",
    "DROP TRIGGER users_removed",
    # INSERT OR REPLACE removes a user without firing the trigger for that.
    """CREATE TRIGGER users_inserted AFTER INSERT ON users WHEN NOT EXISTS (SELECT 1 FROM importing)
        BEGIN DELETE FROM baselines WHERE client = new.client; END""",
    """CREATE TRIGGER users_edited AFTER UPDATE ON users WHEN NOT EXISTS (SELECT 1 FROM importing)
        BEGIN DELETE FROM baselines WHERE client IN (old.client, new.client); END""",
    """CREATE TRIGGER users_removed AFTER DELETE ON users WHEN NOT EXISTS (SELECT 1 FROM importing)
        BEGIN DELETE FROM baselines WHERE client = old.client; END""",
    "DELETE FROM baselines",
)


@migrations()
def m006_edits_by_hand(db: Database) -> None:
    """Tell by a mark whether users are changed by an import, and not by what the changed rows say."""
    _run(db, _EDITS_BY_HAND)


# So that a warning is mailed when it is news, and not with every file.
_WARNINGS: Final = (
    "ALTER TABLE imports ADD COLUMN warnings TEXT NOT NULL DEFAULT ''",
    "UPDATE imports SET warnings = 'file.unterminated' WHERE ends_line = 0",
)


@migrations()
def m007_warnings(db: Database) -> None:
    """Remember of each import the codes of its warnings, with blanks between them."""
    _run(db, _WARNINGS)


# Who is inactive holds no address and no user name: its keys are empty. The history is in the order in which it is
# written, an import after the other; that of one person is looked up in each import of its client.
_ROSTER: Final = (
    "ALTER TABLE users ADD COLUMN inactive_by TEXT",  # NULL: active; else who says so: operator, undo
    "ALTER TABLE imports ADD COLUMN kind TEXT NOT NULL DEFAULT 'file'",  # else what the operator did
    """CREATE TABLE user_changes (
        import_id INTEGER NOT NULL,
        unique_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        line INTEGER NOT NULL,
        line_before INTEGER NOT NULL,
        changed_at TEXT NOT NULL,
        changes TEXT NOT NULL,
        PRIMARY KEY (import_id, unique_id)
    ) STRICT, WITHOUT ROWID""",
    "ALTER TABLE retention ADD COLUMN history_from INTEGER NOT NULL DEFAULT 1",  # the first import that has it whole
    "UPDATE retention SET history_from = (SELECT coalesce(max(id), 0) + 1 FROM imports)",
)


@migrations()
def m008_roster(db: Database) -> None:
    """Let users be inactive, and remember what each import has changed of which user."""
    _run(db, _ROSTER)


# The files of a client may be of several feeds (`[[client.feed]]`); "" is that of all others.
_FEEDS: Final = ("ALTER TABLE imports ADD COLUMN feed TEXT NOT NULL DEFAULT ''",)


@migrations()
def m009_feeds(db: Database) -> None:
    """Remember to which feed each file belongs."""
    _run(db, _FEEDS)


# Files on hold, and the passes for what guards would stop. The CHECK is changed as SQLite documents it, because what is
# on disk stays as it is: https://www.sqlite.org/lang_altertable.html, "Making Other Kinds Of Table Schema Changes".
_ON_HOLD: Final = (
    "ALTER TABLE imports ADD COLUMN is_correction INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE imports ADD COLUMN approved_by TEXT NOT NULL DEFAULT ''",
    """CREATE TABLE on_hold (
        claim_id TEXT PRIMARY KEY,
        import_id INTEGER NOT NULL,
        client TEXT NOT NULL,
        feed TEXT NOT NULL,
        file TEXT NOT NULL,
        is_correction INTEGER NOT NULL,
        code TEXT NOT NULL,
        tripped TEXT NOT NULL,
        changes TEXT NOT NULL,
        held_at TEXT NOT NULL,
        approval_days INTEGER NOT NULL,
        is_for_client INTEGER NOT NULL,
        was_approved INTEGER NOT NULL,
        decision TEXT NOT NULL CHECK (decision IN ('', 'approved', 'rejected', 'superseded', 'expired')),
        decided_by TEXT NOT NULL,
        decided_at TEXT
    ) STRICT""",
    "CREATE INDEX on_hold_undecided ON on_hold (client, claim_id) WHERE decision = ''",
    """CREATE TABLE guard_pauses (
        client TEXT NOT NULL,
        guard TEXT NOT NULL,
        until TEXT NOT NULL,
        PRIMARY KEY (client, guard)
    ) STRICT""",
    "DROP VIEW failing_clients",
    """CREATE VIEW failing_clients AS
    SELECT client, count(*) AS imports_with_failures, sum(failed) AS failed_rows, max(finished_at) AS last_failure_at
    FROM imports WHERE outcome IN ('partly', 'refused') GROUP BY client ORDER BY last_failure_at DESC""",
    "PRAGMA writable_schema = 1",
    """UPDATE sqlite_master SET sql = replace(sql, '''refused'')', '''refused'', ''on_hold'')')
        WHERE type = 'table' AND name = 'imports'""",
    "PRAGMA writable_schema = RESET",
)


@migrations()
def m010_on_hold(db: Database) -> None:
    """Let a file wait for an approval."""
    _run(db, _ON_HOLD)


@migrations()
def m011_undos(db: Database) -> None:
    """Find what was undone of a client without looking at all its imports."""
    db.execute("CREATE INDEX imports_undone ON imports (client, id) WHERE kind = 'undo'")


# `feeds` and `missed`: see importer/store/roster/feeds.py. `snapshot_import`: the last file of a feed that told who has
# left; `last_date`: the last one in a name, of feeds that have dates.
_SNAPSHOTS: Final = (
    "ALTER TABLE users ADD COLUMN feeds TEXT",
    "ALTER TABLE users ADD COLUMN missed TEXT",
    "CREATE INDEX users_missed ON users (client) WHERE missed IS NOT NULL",
    "CREATE INDEX users_inactive ON users (client) WHERE inactive_by IS NOT NULL",
    "ALTER TABLE imports ADD COLUMN reinstated INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE imports ADD COLUMN deactivated INTEGER NOT NULL DEFAULT 0",
    """CREATE TABLE feeds (
        client TEXT NOT NULL,
        feed TEXT NOT NULL,
        snapshot_import INTEGER,
        last_date TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (client, feed)
    ) STRICT""",
)


@migrations()
def m012_snapshots(db: Database) -> None:
    """Let files state who has left."""
    _run(db, _SNAPSHOTS)


# Of a snapshot that is applied only the removals may be on hold: the users whom it lacks.
_REMOVALS: Final = (
    "ALTER TABLE on_hold ADD COLUMN kind TEXT NOT NULL DEFAULT 'file'",
    "ALTER TABLE on_hold ADD COLUMN users INTEGER NOT NULL DEFAULT 0",
)


@migrations()
def m013_removals(db: Database) -> None:
    """Let the removals of a snapshot wait for an approval as files do."""
    _run(db, _REMOVALS)


# Between these times no file of a feed is imported. The last column: what the client was told, see roster/pauses.py.
_FREEZES: Final = ("frozen_from TEXT", "frozen_until TEXT", "is_freeze_announced INTEGER NOT NULL DEFAULT 0")


@migrations()
def m014_freezes(db: Database) -> None:
    """Let the operator freeze a feed for a time."""
    for column in _FREEZES:
        db.execute(f"ALTER TABLE feeds ADD COLUMN {column}")


@migrations()
def m015_rest(db: Database) -> None:
    """Name the feed of files that belong to no other, which was two blanks and got lost beside another name."""
    db.execute("UPDATE users SET feeds = replace(feeds, '  ', ' * ') WHERE feeds LIKE '%  %'")


# Files whose names no rule takes, see watcher/strays: since when each is there, and when its client was told.
_STRAYS: Final = """CREATE TABLE strays (
        client TEXT NOT NULL,
        path BLOB NOT NULL,
        seen_at TEXT NOT NULL,
        gone_at TEXT,
        mailed_at TEXT,
        PRIMARY KEY (client, path)
    ) STRICT, WITHOUT ROWID"""


@migrations()
def m016_strays(db: Database) -> None:
    """Remember which names were told that are never imported."""
    db.execute(_STRAYS)


@migrations()
def m017_hooks(db: Database) -> None:
    """Queue events for webhooks, and count them."""
    _run(db, hooks.TABLES)


@migrations()
def m018_reasons(db: Database) -> None:
    """Remember why a file, or removals, were rejected: the words of who did it."""
    db.execute("ALTER TABLE on_hold ADD COLUMN reason TEXT NOT NULL DEFAULT ''")


@migrations()
def m019_requests(db: Database) -> None:
    """Remember which user of the console had an import made or taken back."""
    _run(db, replays.CHANGES)


@migrations()
def m020_hosts(db: Database) -> None:
    """Tell apart what several hosts do with one database."""
    _run(db, hosts.CHANGES)


@migrations()
def m021_passes(db: Database) -> None:
    """Let each of several hosts remove what is old of its own."""
    db.execute("ALTER TABLE hosts ADD COLUMN passed_at TEXT NOT NULL DEFAULT ''")


@migrations()
def m022_once(db: Database) -> None:
    """Queue an event once, also if it is not known what came of the first try."""
    db.execute("CREATE UNIQUE INDEX hook_events_once ON hook_events (client, hook, event_id)")


@migrations()
def m023_client_of_changes(_: Database) -> None:
    """Change nothing: what PostgreSQL notes with problems and changes, the import tells here (`sqlite/dialect`)."""


def _statements(script: str) -> list[str]:
    return [statement for part in script.split(";\n") if (statement := part.strip())]
