"""
The judge: from what lies on disk and what was uploaded, what is wrong.

Some things hold at every moment, also just after a kill; the others once a run has ended undisturbed (`finished`). A
verdict is a list of sentences, empty when all is well. Nothing is changed by looking: the database is read from a copy,
because opening it would already recover it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import email
import email.policy
import hashlib
import json
import os
import shutil
import sqlite3
import stat
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from tests.faults.ground import NOT_UPLOADS, SNAPSHOTS, Ground
from tests.faults.roster import Changes, Roster
from tests.faults.tables import Row, of_server

OWN_STATE = {
    *("rosterd.db", "rosterd.db-wal", "rosterd.db-shm", "lock", "mail", "canary", "control.sock"),
    *("status.json", "adopted.json", "committed.jsonl", "doctor.json", "verify.json", "backup.json", "checks"),
}
TABLES = ("imports", "users", "user_changes", "outbox", "on_hold", "feeds")
_APPROVES = ".approve-"  # in a name: what is in the file does not matter


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """An upload on disk. `claim_id` is "" outside `.work`."""

    client: str
    place: str  # "inbox", "work", "bak"
    name: str
    claim_id: str
    sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """All there is to look at."""

    ground: Ground
    files: list[Found]
    ledger: list[Row]
    users: list[Row]
    changes: list[Row]
    outbox: list[Row]
    on_hold: list[Row]
    feeds: list[Row]
    mails: list[bytes]
    damage: list[str]

    @property
    def imports(self) -> list[Row]:
        """Return the rows of the ledger that are of files."""
        return [row for row in self.ledger if row["kind"] == "file"]

    @property
    def waiting(self) -> set[str]:
        """Return the claims that are on hold, and undecided."""
        return {row["claim_id"] for row in self.on_hold if row["kind"] == "file" and not row["decision"]}


def violations(
    ground: Ground,
    *,
    finished: bool,
    acknowledged: Collection[str] = (),
    mails: Sequence[bytes] | None = None,
    in_order: bool = False,
) -> list[str]:
    """
    Return what is wrong.

    `acknowledged` are the claim ids whose import was already told about; `mails` what a mail server has received,
    in place of the Maildir; `in_order`: files of a client are imported in the order of their uploads.
    """
    scene = _scene(ground, mails)
    found = [*scene.damage, *of_files(scene, finished=finished, acknowledged=acknowledged, in_order=in_order)]
    return found + of_rows(scene, finished=finished, doubles_allowed=mails is not None)


def of_files(scene: Scene, *, finished: bool, acknowledged: Collection[str] = (), in_order: bool = False) -> list[str]:
    """Return what is wrong about the files of a host, and the rows of the ledger about them."""
    found = [*_misplaced(scene), *_unrecorded(scene, acknowledged)]
    found += _overtaken(scene) if in_order else []
    return found + ([*_unfinished(scene), *_unanswered(scene), *_litter(scene)] if finished else [])


def of_rows(scene: Scene, *, finished: bool, doubles_allowed: bool = False) -> list[str]:
    """Return what is wrong about users, decisions and mails."""
    found = [*_wrong_users(scene), *_against_decision(scene), *_wrong_mails(scene, doubles_allowed=doubles_allowed)]
    return found + (list(_undelivered(scene)) if finished else [])


def left_over(ground: Ground) -> list[str]:
    """Return which uploads are not dealt with yet; mail aside, which has its own times."""
    return list(_unfinished(_scene(ground, None)))


def on_hold(ground: Ground) -> list[Row]:
    """Return the files that are, or were, on hold, oldest first."""
    return _scene(ground, None).on_hold


def ledger(ground: Ground) -> list[Row]:
    """Return the rows of all imports."""
    return _scene(ground, None).ledger


# Looking


def _scene(ground: Ground, mails: Sequence[bytes] | None) -> Scene:
    if ground.url:
        return scene_of(ground, of_server(ground.url), damage=[], mails=mails)
    with tempfile.TemporaryDirectory() as folder:
        for path in ground.state.glob("rosterd.db*"):
            if not path.name.endswith("-shm"):
                shutil.copy(path, folder)
        with contextlib.closing(sqlite3.connect(Path(folder, "rosterd.db"))) as database:
            database.row_factory = sqlite3.Row
            try:
                damage = list(_damage(database))
                tables = {table: _rows(database, table) for table in TABLES}
            except sqlite3.DatabaseError as error:
                damage, tables = [f"the database cannot be read: {error}"], {table: [] for table in TABLES}
    return scene_of(ground, tables, damage=damage, mails=mails)


def scene_of(
    ground: Ground, tables: Mapping[str, list[Row]], *, damage: list[str], mails: Sequence[bytes] | None = None
) -> Scene:
    """Return the contents of the folders, with the rows of TABLES; `mails` as in `violations`."""
    return Scene(
        ground=ground,
        files=list(_files(ground)),
        ledger=tables["imports"],
        users=tables["users"],
        changes=tables["user_changes"],
        outbox=tables["outbox"],
        on_hold=tables["on_hold"],
        feeds=tables["feeds"],
        mails=_maildir(ground) if mails is None else list(mails),
        damage=damage,
    )


def _damage(database: sqlite3.Connection) -> Iterator[str]:
    for (answer,) in database.execute("PRAGMA integrity_check"):
        if answer != "ok":
            yield f"integrity_check: {answer}"
    for row in database.execute("PRAGMA foreign_key_check"):
        yield f"foreign_key_check: {tuple(row)}"


def _rows(database: sqlite3.Connection, table: str) -> list[Row]:
    """Return the rows of a table in the order they came; none when the database was not made yet."""
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
        return []
    order = "import_id" if table == "user_changes" else "rowid"
    return [dict(row) for row in database.execute(f"SELECT * FROM {table} ORDER BY {order}")]  # noqa: S608 - ours


def _files(ground: Ground) -> Iterator[Found]:
    for client in ground.clients:
        inbox = ground.inbox(client)
        places = [("inbox", "", inbox), ("bak", "", inbox / ".bak")]
        work = inbox / ".work"
        places += [("work", claim.name, claim) for claim in work.iterdir()] if work.exists() else []
        for place, claim_id, folder in places:
            for path in _uploads(folder):
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                yield Found(client=client, place=place, name=path.name, claim_id=claim_id, sha256=digest)


def _uploads(folder: Path) -> list[Path]:
    paths = [path for path in folder.iterdir() if path.is_file()] if folder.exists() else []
    return [path for path in paths if path.name[0] != "." and not _is_other(path.name)]


def _is_other(name: str) -> bool:
    return name.endswith(NOT_UPLOADS) or _APPROVES in name


def _maildir(ground: Ground) -> list[bytes]:
    return [path.read_bytes() for part in ("new", "cur") for path in sorted(ground.state.glob(f"mail/{part}/*"))]


# At every moment


def _misplaced(scene: Scene) -> Iterator[str]:
    """Every upload is in exactly one place."""
    expected = Counter((upload.client, upload.sha256) for upload in scene.ground.uploads)
    found = Counter((file.client, file.sha256) for file in scene.files)
    for (client, sha256), count in ((expected | found) - Counter()).items():
        uploads = expected[client, sha256]
        there = found[client, sha256]
        if there < uploads and not _may_be_lost(scene, sha256):
            yield f"lost: {_name_of(scene, sha256)} of {client}: in {there} places, uploaded {uploads} times"
        if there > uploads and (uploads or not _any_volatile(scene)):
            yield f"doubled: {_name_of(scene, sha256)} of {client}: in {there} places, uploaded {uploads} times"
        assert count


def _may_be_lost(scene: Scene, sha256: str) -> bool:
    """Return whether the writer never made the file durable and nobody has answered for it yet."""
    volatile = any(upload.volatile and upload.sha256 == sha256 for upload in scene.ground.uploads)
    return volatile and all(row["sha256"] != sha256 for row in scene.imports)


def _any_volatile(scene: Scene) -> bool:
    return any(upload.volatile for upload in scene.ground.uploads)


def _name_of(scene: Scene, sha256: str) -> str:
    numbers = [upload.number for upload in scene.ground.uploads if upload.sha256 == sha256]
    places = [f"{file.place}/{file.name}" for file in scene.files if file.sha256 == sha256]
    return f"upload {numbers} at {places}"


def _unrecorded(scene: Scene, acknowledged: Collection[str]) -> Iterator[str]:
    """Ledger and folders agree, and what was told is in the ledger."""
    claim_ids = Counter(row["claim_id"] for row in scene.imports)
    yield from (f"claim {claim_id} is not in the ledger, yet told" for claim_id in set(acknowledged) - set(claim_ids))
    archives = {(row["client"], os.fsdecode(row["archive"])) for row in scene.imports}
    for file in scene.files:
        if file.place == "bak" and (file.client, file.name) not in archives:
            yield f"{file.name} is in .bak and not in the ledger"
    uploads = Counter(upload.sha256 for upload in scene.ground.uploads)
    for sha256, count in Counter(str(row["sha256"]) for row in scene.imports).items():
        if count > uploads[sha256] and not _any_volatile(scene):
            yield f"imported {count} times: {_name_of(scene, sha256)}"
    for row in scene.imports:
        yield from _misfiled(scene, row)


def _misfiled(scene: Scene, row: Row) -> Iterator[str]:
    """The file of a ledger row is in its claim folder or in `.bak`, as it was hashed."""
    same = [file for file in scene.files if (file.client, file.sha256) == (row["client"], row["sha256"])]
    in_bak = [file for file in same if file.place == "bak" and file.name == os.fsdecode(row["archive"])]
    in_work = [file for file in same if file.claim_id == row["claim_id"]]
    if len(in_bak) + len(in_work) != 1:
        yield f"{row['claim_id']}: committed, and in .bak {len(in_bak)} times, in .work {len(in_work)} times"
    if row["archived_at"] is not None and not in_bak:
        yield f"{row['claim_id']}: marked as archived, and not in .bak"


def _wrong_users(scene: Scene) -> Iterator[str]:
    """Users, and what was changed of whom, are those of the files and undos in the ledger, in its order."""
    by_content = {(upload.client, upload.sha256): upload for upload in scene.ground.uploads}
    rosters = {client: Roster(asks=scene.ground.roster == "removals") for client in scene.ground.clients}
    for row in scene.ledger:
        upload = by_content.get((row["client"], row["sha256"]))
        rosters[row["client"]].follow(row, upload.users if upload else {})
    expected = {
        (client, unique_id): (person.last_name, person.inactive_by, person.misses)
        for client, roster in rosters.items()
        for unique_id, person in roster.people.items()
    }
    found = {
        (row["client"], row["unique_id"]): (row["last_name"], row["inactive_by"], _misses(row)) for row in scene.users
    }
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            yield f"user {key}: expected {expected.get(key)}, found {found.get(key)}"
    if len(found) != len(scene.users):
        yield "a user stands in the table twice"
    yield from _wrong_changes(scene, rosters)
    yield from _wrong_snapshots(scene, rosters)


def _misses(user: Row) -> int:
    return int(json.loads(user["missed"] or "{}").get(SNAPSHOTS, 0))


def _wrong_changes(scene: Scene, rosters: Mapping[str, Roster]) -> Iterator[str]:
    expected = {number: each for roster in rosters.values() for number, each in roster.changes.items() if each}
    found: dict[int, Changes] = {}
    for row in scene.changes:
        values = {name: tuple(pair) for name, pair in json.loads(row["changes"]).items()}
        found.setdefault(row["import_id"], {})[row["unique_id"]] = values
    for number in sorted(expected.keys() | found.keys()):
        if expected.get(number) != found.get(number):
            yield f"import {number}: expected to change {expected.get(number)}, found {found.get(number)}"


def _wrong_snapshots(scene: Scene, rosters: Mapping[str, Roster]) -> Iterator[str]:
    """The last snapshot of the feed is the one that the next is compared with."""
    expected = {client: roster.last_snapshot for client, roster in rosters.items() if roster.last_snapshot}
    found = {row["client"]: row["snapshot_import"] for row in scene.feeds if row["feed"] == SNAPSHOTS}
    if expected != found:
        yield f"last snapshots: expected {expected}, found {found}"


def _against_decision(scene: Scene) -> Iterator[str]:
    """What was decided on a file on hold is what becomes of it."""
    rows = {row["claim_id"]: row for row in scene.imports}
    for held in scene.on_hold:
        row = rows.get(held["claim_id"])
        if row is None:
            yield f"{held['claim_id']}: on hold, and not in the ledger"
        elif held["kind"] == "file" and row["outcome"] != "on_hold":
            is_applied = row["outcome"] in ("imported", "partly")
            decision = "approved" if is_applied else row["code"].removeprefix("guard.")
            if decision != held["decision"]:
                yield f"{held['claim_id']}: decided {held['decision']!r}, and ended as {row['outcome']} {row['code']}"


def _wrong_mails(scene: Scene, *, doubles_allowed: bool) -> Iterator[str]:
    """Each failing import has one mail, and what left is what the outbox holds."""
    failing = {upload.sha256 for upload in scene.ground.uploads if upload.fails}
    is_of_hold = {row["message_id"]: ".on-hold-" in row["message_id"] for row in scene.outbox if row["claim_id"]}
    mails_of = Counter(row["claim_id"] for row in scene.outbox if is_of_hold.get(row["message_id"]) is False)
    of_hold = Counter(row["claim_id"] for row in scene.outbox if is_of_hold.get(row["message_id"]))
    of_removals = {row["claim_id"] for row in scene.on_hold if row["kind"] == "removals"}
    for row in scene.on_hold:
        if row["kind"] == "file" and of_hold[row["claim_id"]] != 1 and not row["was_approved"]:
            yield f"{row['claim_id']}: on hold, and told {of_hold[row['claim_id']]} times"
    for row in scene.imports:
        is_told = row["sha256"] in failing or bool(row["approved_by"])
        is_told |= row["code"].startswith(("guard.", "feed."))
        expected = is_told and row["outcome"] != "on_hold"
        may_ask = row["claim_id"] in of_removals and mails_of[row["claim_id"]] == 1
        if mails_of[row["claim_id"]] != expected and not may_ask and not _any_volatile(scene):
            yield f"{row['claim_id']}: expected {int(expected)} mails in the outbox, found {mails_of[row['claim_id']]}"
    yield from _unknown_mails(scene, doubles_allowed=doubles_allowed)


def _unknown_mails(scene: Scene, *, doubles_allowed: bool) -> Iterator[str]:
    written = {row["message_id"]: row for row in scene.outbox}
    for message_id, count in Counter(_message_id(mail) for mail in scene.mails).items():
        if count > 1 and not doubles_allowed:
            yield f"mail {message_id} was delivered {count} times"
        if message_id not in written:
            yield f"mail {message_id} was delivered and is not in the outbox"
        elif written[message_id]["state"] == "joined":
            yield f"mail {message_id} was delivered by itself and in a digest"
    bodies = {row["body"] for row in scene.outbox}
    yield from (f"mail {_message_id(mail)} differs from the outbox" for mail in scene.mails if mail not in bodies)


def _overtaken(scene: Scene) -> Iterator[str]:
    """The ledger has the files of a client in the order of their uploads."""
    numbers = {upload.sha256: upload.number for upload in scene.ground.uploads}
    for client in scene.ground.clients:
        order = [numbers.get(str(row["sha256"]), 0) for row in scene.imports if row["client"] == client]
        if order != sorted(order):
            yield f"{client}: imported in the order {order}"


# After a run that nobody disturbed


def _unfinished(scene: Scene) -> Iterator[str]:
    for file in scene.files:
        if file.place != "bak" and file.claim_id not in scene.waiting:
            yield f"left in {file.place}: {file.claim_id} {file.name}"
    for row in scene.imports:
        if (row["archived_at"] is None) != (row["claim_id"] in scene.waiting):
            yield f"marked as archived or not: {row['claim_id']}"
        if (row["outcome"] == "on_hold") != (row["claim_id"] in scene.waiting):
            yield f"in the ledger as {row['outcome']}: {row['claim_id']}"


def _unanswered(scene: Scene) -> Iterator[str]:
    """Each archived file has its result and, when rows failed, its failed CSV; `.bak` holds nothing else."""
    for client in scene.ground.clients:
        expected: set[str] = set()
        earlier: set[str] = set()  # answers from when a file went on hold
        for row in scene.imports:
            if row["client"] == client:
                archive = os.fsdecode(row["archive"])
                base = archive.removesuffix(".csv")
                expected |= set() if row["claim_id"] in scene.waiting else {archive}
                earlier |= (
                    {f"{base}.failed.csv"} if row["claim_id"] in {each["claim_id"] for each in scene.on_hold} else set()
                )
                expected |= {f"{base}.result.txt", *([f"{base}.failed.csv"] if row["failed"] else [])}
        bak = scene.ground.inbox(client) / ".bak"
        found = set(os.listdir(bak)) if bak.exists() else set()
        yield from (f"missing in .bak: {name}" for name in sorted(expected - found))
        yield from (f"not expected in .bak: {name}" for name in sorted(found - expected - earlier))


def _undelivered(scene: Scene) -> Iterator[str]:
    """Every mail has reached the mailbox, by itself or in a digest."""
    delivered = {_message_id(mail) for mail in scene.mails}
    by_id = {row["id"]: row for row in scene.outbox}
    for row in scene.outbox:
        carrier = row
        while carrier["state"] == "joined":  # the mail that says that others have no room may leave in a digest, too
            carrier = by_id[carrier["joined_into"]]
        if carrier["state"] != "sent":
            yield f"mail {row['message_id']} is {carrier['state']}"
        if carrier["message_id"] not in delivered:
            yield f"mail {row['message_id']} never arrived"


def _litter(scene: Scene) -> Iterator[str]:
    ground = scene.ground
    yield from (f"left in the state directory: {name}" for name in sorted(set(os.listdir(ground.state)) - OWN_STATE))
    yield from (f"left of a check: {path.name}" for path in ground.state.glob("checks/*"))
    yield from (f"left in the Maildir: {path.name}" for path in ground.state.glob("mail/tmp/*"))
    for client in ground.clients:
        inbox = ground.inbox(client)
        yield from (f"left in the inbox: {path.name}" for path in inbox.glob(f"*{_APPROVES}*"))
        claims = {path.name for path in inbox.glob(".work/*")} - scene.waiting
        yield from (f"left in .work: {claim}" for claim in sorted(claims))
        yield from _wrong_folder(inbox / ".bak", inbox.stat().st_gid)


def _wrong_folder(bak: Path, gid: int) -> Iterator[str]:
    """The client, whose group the inbox has, can read `.bak`."""
    if bak.exists():
        found = bak.stat()
        if (stat.S_IMODE(found.st_mode), found.st_gid) != (0o750, gid):
            yield f".bak has mode {stat.S_IMODE(found.st_mode):04o} and group {found.st_gid}; expected 0750, {gid}"


def _message_id(mail: bytes) -> str:
    return str(email.message_from_bytes(mail, policy=email.policy.default)["Message-ID"]).strip()
