"""
What the database looks like in PostgreSQL: the migrations that made it so, numbered as those of `store/sqlite/schema`.

Texts are compared by bytes (COLLATE "C"), as SQLite does, whatever the locale of the database. Each key begins with the
client, where the table has one, and no constraint spans clients, so that the tables can be distributed by client.
Flags are 0 and 1, times are text, so that one statement does for both databases.
"""

from __future__ import annotations

from typing import Final

import msgspec


class Migration(msgspec.Struct, frozen=True):
    """One step; each is literal and never changed once a release has it."""

    number: int
    statements: str


# SQLite's first seventeen at once. No release has it yet: until a setting leads here, it may still be changed.
# `work_...` are those of `store/roster/work`: rows of one transaction. An attribute that is new needs its column there.
_FIRST: Final = """
CREATE TABLE work_images (
    client TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    import_line BIGINT,
    unique_id TEXT COLLATE "C",
    login_source TEXT COLLATE "C",
    first_name TEXT COLLATE "C",
    last_name TEXT COLLATE "C",
    user_name TEXT COLLATE "C",
    email TEXT COLLATE "C",
    street TEXT COLLATE "C",
    city TEXT COLLATE "C",
    province TEXT COLLATE "C",
    postal_code TEXT COLLATE "C",
    street2 TEXT COLLATE "C",
    city2 TEXT COLLATE "C",
    province2 TEXT COLLATE "C",
    postal_code2 TEXT COLLATE "C",
    phone_cell TEXT COLLATE "C",
    user_type_id TEXT COLLATE "C",
    employ_no TEXT COLLATE "C",
    employee_phone TEXT COLLATE "C",
    student_phone TEXT COLLATE "C",
    student_no TEXT COLLATE "C",
    driver_licence_num TEXT COLLATE "C",
    driver_licence_prov TEXT COLLATE "C",
    date_of_birth TEXT COLLATE "C",
    locker_user_type_id TEXT COLLATE "C",
    email_key TEXT COLLATE "C",
    user_name_key TEXT COLLATE "C",
    inactive_by TEXT COLLATE "C"
);
CREATE INDEX work_images_by_key ON work_images (client, id);
CREATE TABLE work_plan (
    client TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    field TEXT COLLATE "C" NOT NULL,
    given TEXT COLLATE "C",
    former TEXT COLLATE "C"
);
CREATE INDEX work_plan_by_key ON work_plan (client, id);
CREATE TABLE work_kept (
    client TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    field TEXT COLLATE "C" NOT NULL,
    is_taken BIGINT NOT NULL
);
CREATE INDEX work_kept_by_key ON work_kept (client, id);
CREATE TABLE work_moves (
    client TEXT COLLATE "C" NOT NULL,
    old TEXT COLLATE "C" NOT NULL,
    new TEXT COLLATE "C" NOT NULL
);
CREATE INDEX work_moves_by_key ON work_moves (client, old);
CREATE TABLE work_moved (
    client TEXT COLLATE "C" NOT NULL,
    moved_to TEXT COLLATE "C" NOT NULL,
    import_id BIGINT NOT NULL,
    unique_id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    line BIGINT NOT NULL,
    line_before BIGINT NOT NULL,
    changed_at TEXT COLLATE "C" NOT NULL,
    changes TEXT COLLATE "C" NOT NULL
);
CREATE INDEX work_moved_by_key ON work_moved (client, moved_to);

CREATE TABLE imports (
    id BIGINT NOT NULL,
    claim_id TEXT COLLATE "C" NOT NULL,
    client TEXT COLLATE "C" NOT NULL,
    file TEXT COLLATE "C" NOT NULL,
    sha256 TEXT COLLATE "C" NOT NULL,
    size_bytes BIGINT NOT NULL,
    device BIGINT NOT NULL,
    inode BIGINT NOT NULL,
    mtime_ns BIGINT NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL CHECK (outcome IN ('imported', 'partly', 'refused', 'on_hold')),
    code TEXT COLLATE "C" NOT NULL,
    created BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    unchanged BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    repeated BIGINT NOT NULL,
    ends_line BIGINT NOT NULL,
    archive BYTEA NOT NULL,
    claimed_at TEXT COLLATE "C" NOT NULL,
    finished_at TEXT COLLATE "C" NOT NULL,
    archived_at TEXT COLLATE "C",
    purged_at TEXT COLLATE "C",
    rewritten_sha256 TEXT COLLATE "C",
    rewritten_bytes BIGINT,
    warnings TEXT COLLATE "C" NOT NULL DEFAULT '',
    kind TEXT COLLATE "C" NOT NULL DEFAULT 'file',
    feed TEXT COLLATE "C" NOT NULL DEFAULT '',
    is_correction BIGINT NOT NULL DEFAULT 0,
    approved_by TEXT COLLATE "C" NOT NULL DEFAULT '',
    reinstated BIGINT NOT NULL DEFAULT 0,
    deactivated BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (client, id),
    UNIQUE (client, claim_id)
);
CREATE TABLE import_ids (is_ours BIGINT PRIMARY KEY CHECK (is_ours = 1), last BIGINT NOT NULL);
INSERT INTO import_ids VALUES (1, 0);
CREATE TABLE open_imports (id BIGINT PRIMARY KEY, began_at TIMESTAMPTZ NOT NULL DEFAULT now());
CREATE INDEX imports_by_id ON imports (id);
CREATE INDEX imports_by_claim ON imports (claim_id);
CREATE INDEX imports_unarchived ON imports (client) WHERE archived_at IS NULL;
CREATE INDEX imports_unpurged ON imports (client, finished_at) WHERE purged_at IS NULL AND archived_at IS NOT NULL;
CREATE INDEX imports_undone ON imports (client, id) WHERE kind = 'undo';

CREATE TABLE users (
    client TEXT COLLATE "C" NOT NULL,
    unique_id TEXT COLLATE "C" NOT NULL,
    login_source TEXT COLLATE "C" NOT NULL,
    first_name TEXT COLLATE "C",
    last_name TEXT COLLATE "C",
    user_name TEXT COLLATE "C",
    email TEXT COLLATE "C",
    street TEXT COLLATE "C",
    city TEXT COLLATE "C",
    province TEXT COLLATE "C",
    postal_code TEXT COLLATE "C",
    street2 TEXT COLLATE "C",
    city2 TEXT COLLATE "C",
    province2 TEXT COLLATE "C",
    postal_code2 TEXT COLLATE "C",
    phone_cell TEXT COLLATE "C",
    user_type_id TEXT COLLATE "C",
    employ_no TEXT COLLATE "C",
    employee_phone TEXT COLLATE "C",
    student_phone TEXT COLLATE "C",
    student_no TEXT COLLATE "C",
    driver_licence_num TEXT COLLATE "C",
    driver_licence_prov TEXT COLLATE "C",
    date_of_birth TEXT COLLATE "C",
    locker_user_type_id TEXT COLLATE "C",
    email_key TEXT COLLATE "C",
    user_name_key TEXT COLLATE "C",
    created_at TEXT COLLATE "C" NOT NULL,
    updated_at TEXT COLLATE "C" NOT NULL,
    created_import BIGINT NOT NULL,
    import_id BIGINT NOT NULL,
    import_line BIGINT NOT NULL,
    inactive_by TEXT COLLATE "C",
    feeds TEXT COLLATE "C",
    missed TEXT COLLATE "C",
    PRIMARY KEY (client, unique_id)
);
CREATE INDEX users_by_email ON users (client, email_key);
CREATE INDEX users_by_user_name ON users (client, user_name_key);
CREATE INDEX users_missed ON users (client) WHERE missed IS NOT NULL;
CREATE INDEX users_inactive ON users (client) WHERE inactive_by IS NOT NULL;

CREATE TABLE import_problems (
    import_id BIGINT NOT NULL,
    line BIGINT NOT NULL,
    code TEXT COLLATE "C" NOT NULL,
    field TEXT COLLATE "C" NOT NULL,
    detail TEXT COLLATE "C" NOT NULL
);
CREATE INDEX import_problems_by_import ON import_problems (import_id);

CREATE TABLE user_changes (
    import_id BIGINT NOT NULL,
    unique_id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    line BIGINT NOT NULL,
    line_before BIGINT NOT NULL,
    changed_at TEXT COLLATE "C" NOT NULL,
    changes TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (import_id, unique_id)
);

CREATE TABLE outbox (
    id BIGINT GENERATED BY DEFAULT AS IDENTITY,
    message_id TEXT COLLATE "C" NOT NULL,
    client TEXT COLLATE "C" NOT NULL,
    claim_id TEXT COLLATE "C" NOT NULL,
    sender TEXT COLLATE "C" NOT NULL,
    recipients TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'joined', 'sent', 'dead', 'dropped')),
    attempts BIGINT NOT NULL DEFAULT 0,
    permanent BIGINT NOT NULL DEFAULT 0,
    created_at TEXT COLLATE "C" NOT NULL,
    due_at TEXT COLLATE "C" NOT NULL,
    sent_at TEXT COLLATE "C",
    last_error TEXT COLLATE "C" NOT NULL DEFAULT '',
    joined_into BIGINT,
    body BYTEA NOT NULL,
    at_once BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (client, id),
    UNIQUE (client, message_id)
);
CREATE INDEX outbox_by_id ON outbox (id);
CREATE INDEX outbox_by_message ON outbox (message_id);
CREATE INDEX outbox_waiting ON outbox (due_at) WHERE state = 'waiting';
CREATE INDEX outbox_sent ON outbox (sent_at) WHERE sent_at IS NOT NULL;
CREATE INDEX outbox_sent_by_client ON outbox (client, sent_at) WHERE sent_at IS NOT NULL;
CREATE INDEX outbox_at_once ON outbox (due_at) WHERE state = 'waiting' AND at_once = 1;
CREATE INDEX outbox_turns ON outbox (client, (attempts > 0), due_at) WHERE state = 'waiting';
CREATE INDEX outbox_retrying ON outbox (client) WHERE state = 'waiting' AND attempts > 0 AND permanent = 0;
CREATE INDEX outbox_dead ON outbox (client) WHERE state = 'dead';
CREATE INDEX outbox_sent_bodies ON outbox (sent_at) WHERE state = 'sent' AND length(body) > 0;
CREATE INDEX outbox_bodies ON outbox (client, created_at) WHERE length(body) > 0;
CREATE INDEX outbox_claims ON outbox (claim_id);

CREATE TABLE retention (passed_at TEXT COLLATE "C" NOT NULL, history_from BIGINT NOT NULL DEFAULT 1);
INSERT INTO retention VALUES (to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 1);

CREATE TABLE baselines (
    client TEXT COLLATE "C" NOT NULL,
    file TEXT COLLATE "C" NOT NULL,
    import_id BIGINT NOT NULL,
    terms TEXT COLLATE "C" NOT NULL,
    odd_lines BYTEA NOT NULL,
    PRIMARY KEY (client, file)
);

CREATE TABLE on_hold (
    claim_id TEXT COLLATE "C" NOT NULL,
    import_id BIGINT NOT NULL,
    client TEXT COLLATE "C" NOT NULL,
    feed TEXT COLLATE "C" NOT NULL,
    file TEXT COLLATE "C" NOT NULL,
    is_correction BIGINT NOT NULL,
    code TEXT COLLATE "C" NOT NULL,
    tripped TEXT COLLATE "C" NOT NULL,
    changes TEXT COLLATE "C" NOT NULL,
    held_at TEXT COLLATE "C" NOT NULL,
    approval_days BIGINT NOT NULL,
    is_for_client BIGINT NOT NULL,
    was_approved BIGINT NOT NULL,
    decision TEXT COLLATE "C" NOT NULL CHECK (decision IN ('', 'approved', 'rejected', 'superseded', 'expired')),
    decided_by TEXT COLLATE "C" NOT NULL,
    decided_at TEXT COLLATE "C",
    kind TEXT COLLATE "C" NOT NULL DEFAULT 'file',
    users BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (client, claim_id)
);
CREATE INDEX on_hold_undecided ON on_hold (client, claim_id) WHERE decision = '';

CREATE TABLE guard_pauses (
    client TEXT COLLATE "C" NOT NULL,
    guard TEXT COLLATE "C" NOT NULL,
    until TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (client, guard)
);

CREATE TABLE feeds (
    client TEXT COLLATE "C" NOT NULL,
    feed TEXT COLLATE "C" NOT NULL,
    snapshot_import BIGINT,
    last_date TEXT COLLATE "C" NOT NULL DEFAULT '',
    frozen_from TEXT COLLATE "C",
    frozen_until TEXT COLLATE "C",
    is_freeze_announced BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (client, feed)
);

CREATE TABLE strays (
    client TEXT COLLATE "C" NOT NULL,
    path BYTEA NOT NULL,
    seen_at TEXT COLLATE "C" NOT NULL,
    gone_at TEXT COLLATE "C",
    mailed_at TEXT COLLATE "C",
    PRIMARY KEY (client, path)
);

CREATE TABLE hook_events (
    id BIGINT GENERATED BY DEFAULT AS IDENTITY,
    event_id TEXT COLLATE "C" NOT NULL,
    hook TEXT COLLATE "C" NOT NULL,
    event TEXT COLLATE "C" NOT NULL,
    client TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'dead', 'dropped')),
    attempts BIGINT NOT NULL DEFAULT 0,
    created_at TEXT COLLATE "C" NOT NULL,
    due_at TEXT COLLATE "C" NOT NULL,
    ended_at TEXT COLLATE "C",
    last_error TEXT COLLATE "C" NOT NULL DEFAULT '',
    body TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (client, id)
);
CREATE INDEX hook_events_by_id ON hook_events (id);
CREATE INDEX hook_events_waiting ON hook_events (hook, due_at) WHERE state = 'waiting';
CREATE INDEX hook_events_dead ON hook_events (hook) WHERE state = 'dead';
CREATE INDEX hook_events_ended ON hook_events (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE hook_totals (
    hook TEXT COLLATE "C" PRIMARY KEY,
    sent BIGINT NOT NULL DEFAULT 0,
    failed BIGINT NOT NULL DEFAULT 0,
    dead BIGINT NOT NULL DEFAULT 0
);
"""

# Why a file, or removals, were rejected: the words of who did it.
_REASONS: Final = """ALTER TABLE on_hold ADD COLUMN reason TEXT COLLATE "C" NOT NULL DEFAULT ''"""

# The console user who asked for a replay or an undo. The replayed file is recognised by its inode and time.
_REQUESTS: Final = """
ALTER TABLE imports ADD COLUMN requested_by TEXT COLLATE "C" NOT NULL DEFAULT '';
CREATE TABLE replays (
    client TEXT COLLATE "C" NOT NULL,
    inode BIGINT NOT NULL,
    mtime_ns BIGINT NOT NULL,
    requested_by TEXT COLLATE "C" NOT NULL,
    requested_at TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (client, inode, mtime_ns)
);
"""

# See `store/tables/hosts`. A row of `locks` is held by whoever writes about its client; "": by whoever takes a mail.
_HOSTS: Final = """
ALTER TABLE imports ADD COLUMN host TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE outbox ADD COLUMN host TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE outbox ADD COLUMN leased_until TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE hook_events ADD COLUMN host TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE hook_events ADD COLUMN leased_until TEXT COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX outbox_leased ON outbox (client) WHERE leased_until <> '';
DROP TABLE strays;
CREATE TABLE strays (
    client TEXT COLLATE "C" NOT NULL,
    host TEXT COLLATE "C" NOT NULL,
    path BYTEA NOT NULL,
    seen_at TEXT COLLATE "C" NOT NULL,
    gone_at TEXT COLLATE "C",
    mailed_at TEXT COLLATE "C",
    PRIMARY KEY (client, host, path)
);
CREATE TABLE hosts (host TEXT COLLATE "C" PRIMARY KEY, last_seen TEXT COLLATE "C" NOT NULL);
CREATE TABLE work_rows (
    client TEXT COLLATE "C" NOT NULL,
    import_id BIGINT NOT NULL,
    unique_id TEXT COLLATE "C",
    email_key TEXT COLLATE "C",
    user_name_key TEXT COLLATE "C"
);
CREATE INDEX work_rows_of_import ON work_rows (client, import_id);
CREATE TABLE work_users (LIKE users);
ALTER TABLE work_users ADD COLUMN staged_by BIGINT NOT NULL;
ALTER TABLE work_users ALTER COLUMN created_at DROP NOT NULL;
ALTER TABLE work_users ALTER COLUMN created_import DROP NOT NULL;
CREATE INDEX work_users_of_import ON work_users (client, staged_by);
CREATE TABLE locks (client TEXT COLLATE "C" PRIMARY KEY, is_held BIGINT NOT NULL);
"""

_PASSES: Final = """ALTER TABLE hosts ADD COLUMN passed_at TEXT COLLATE "C" NOT NULL DEFAULT ''"""

_ONCE: Final = "CREATE UNIQUE INDEX hook_events_once ON hook_events (client, hook, event_id)"

# What a ledger does not have, which `rosterd verify` tells, is nobody's. An earlier rosterd that still runs cannot add
# rows without a client: its imports fail, and wait. With room on their pages changed users write to no index.
_CLIENT_OF_CHANGES: Final = """
DROP INDEX import_problems_by_import;
ALTER TABLE import_problems ADD COLUMN client TEXT COLLATE "C" NOT NULL DEFAULT '';
UPDATE import_problems SET client = imports.client FROM imports WHERE imports.id = import_id;
ALTER TABLE import_problems ALTER COLUMN client DROP DEFAULT;
CREATE INDEX import_problems_by_import ON import_problems (client, import_id);
ALTER TABLE user_changes DROP CONSTRAINT user_changes_pkey;
ALTER TABLE user_changes ADD COLUMN client TEXT COLLATE "C" NOT NULL DEFAULT '';
UPDATE user_changes SET client = imports.client FROM imports WHERE imports.id = import_id;
ALTER TABLE user_changes ALTER COLUMN client DROP DEFAULT;
ALTER TABLE user_changes ADD PRIMARY KEY (client, import_id, unique_id);
ALTER TABLE users SET (fillfactor = 85);
"""

MIGRATIONS: Final = (
    Migration(17, _FIRST),
    Migration(18, _REASONS),
    Migration(19, _REQUESTS),
    Migration(20, _HOSTS),
    Migration(21, _PASSES),
    Migration(22, _ONCE),
    Migration(23, _CLIENT_OF_CHANGES),
)
