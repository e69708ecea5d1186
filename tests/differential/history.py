"""What happens in a history, the same in both worlds; a difference between them is an AssertionError."""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import pytest

from importer.file import scan, table, text
from importer.rows import batches, delta, fingerprint
from importer.settings import ClientSettings, FeedSettings, FileSettings, ReferenceSettings, StatusSettings
from importer.store.sqlite.rows import recorder
from tests.differential.files import STATUS, Author, UsersFile
from tests.differential.worlds import Upload, World
from tests.lab.postgresql import PostgresqlServer

Worlds = tuple[World, World]

_CLIENTS: Final = ("acme", "beta")
_NAMES: Final = (*["users.csv"] * 5, "other.csv", "x.csv")
_NOBODY: Final = "zz"  # an id that no user has, and as long as the settings allow
_REMEMBERED: Final = 12  # files
# How much is read, compared and judged at a time: little, so that a small file is like a large one, or as it is.
_SIZES: Final[tuple[tuple[object, str, tuple[object, ...]], ...]] = (
    (delta, "MIN_BYTES", (0,)),
    (delta, "CHUNK_BYTES", (7, 33, 1 << 16)),
    (delta, "_AHEAD_BYTES", (64, 8 << 20)),
    (delta, "_ABREAST", (1, 10, 10, 1000)),
    (delta, "_SEARCHED_LINES", ((2, 5), (4, 40), (64, 4000))),
    (delta, "MOST_LINES", (6, 6, 20, *[250_000] * 5)),
    (text, "CHUNK_BYTES", (19, 101, 1 << 16)),
    (scan, "CHUNK_BYTES", (19, 101, 1 << 16)),
    (table, "STRETCH_ROWS", (2, 5, 1000)),
    (batches, "_BATCH_ROWS", (1, 3, 500)),
    (recorder, "_ROWS_PER_PROBE", (0, 10, 1000)),
)
_EDITS: Final = (
    "UPDATE users SET first_name = 'Hand', email = NULL, email_key = NULL {where}",
    "UPDATE users SET last_name = 'Hand', import_id = 0 {where}",
    "UPDATE users SET last_name = 'Hand', import_id = import_id + 1 {where}",
    "UPDATE users SET last_name = 'Hand' WHERE client = ? AND unique_id <> ?",
    "UPDATE OR IGNORE users SET unique_id = unique_id || 'h' {where}",
    "UPDATE OR IGNORE users SET import_id = 0, created_import = 0 {where}",
    """INSERT OR REPLACE INTO users (client, unique_id, login_source, first_name, created_at, updated_at,
         created_import, import_id, import_line)
       SELECT client, unique_id, login_source, 'Hand', '', '', created_import, import_id, 0 FROM users {where}""",
    """INSERT OR REPLACE INTO users (client, unique_id, login_source, created_at, updated_at,
         created_import, import_id, import_line)
       SELECT client, 'T' || substr(unique_id, 2), 'OPSCOM', '', '', 0, 0, 0 FROM users {where}""",
    "DELETE FROM users {where}",
    "DELETE FROM users WHERE client = ? OR unique_id = ?",
)


_OF_SQLITE: Final = re.compile(" OR (?:IGNORE|REPLACE)|import_id")  # and what names ids that two worlds do not share


class TellingDifference(AssertionError):
    """The two worlds can be told apart."""


def _compare(compared: Sequence[object], whole: Sequence[object]) -> None:
    differences = [
        f"compared: {ours}\nwhole: {theirs}" for ours, theirs in zip(compared, whole, strict=True) if ours != theirs
    ]
    if differences:
        raise TellingDifference("\n".join(differences))


class History:
    """A sequence of uploads and other events in two worlds, made from a number."""

    def __init__(self, seed: int, worlds: Worlds, patched: pytest.MonkeyPatch) -> None:
        self._worlds = worlds
        self._patched = patched
        self._dice = random.Random(seed)  # noqa: S311 - dice
        self._is_on_server = any(world.is_on_server for world in worlds)
        left_out = _OF_A_FILE if self._is_on_server else ()
        self._other_events = {event: weight for event, weight in _OTHER_EVENTS.items() if event not in left_out}
        self._is_calm = self._happens(0.4)  # the same file each night, settings as they are
        is_bare = self._happens(0.3)
        self._author = Author(self._dice, is_bare=is_bare)
        self._protected = worlds[0].folder.parent / "protected"
        self._protected.write_text(f"{_NOBODY}\n")
        self._clients = {name: self._settings(name) for name in _CLIENTS}
        if is_bare:  # whatever has an id is a user, a header as well
            self._clients[_CLIENTS[0]] = ClientSettings(
                name=_CLIENTS[0], inbox="/srv/sftp", required=(), login_source="OPSCOM", feed=self._feeds()
            )
        elif self._is_calm or self._happens(0.3):
            self._clients[_CLIENTS[0]] = ClientSettings(name=_CLIENTS[0], inbox="/srv/sftp", feed=self._feeds())
        self._files: dict[str, list[UsersFile]] = {name: [] for name in _CLIENTS}
        self._backups = 0
        self.events: list[object] = []

    def go_on(self) -> None:
        """Let something happen in both worlds. Raises TellingDifference."""
        is_change = self._happens(0 if self._is_calm else 0.25)
        events = self._other_events if is_change and self._files[_CLIENTS[0]] else {History._upload: 1}
        [event] = self._dice.choices([*events], [*events.values()])
        event(self)
        _compare(*(world.left() for world in self._worlds))

    def _happens(self, probability: float) -> bool:
        return self._dice.random() < probability

    def _both(self, event: Callable[[World], object], *told: object) -> None:
        self.events.append(told)
        for world in self._worlds:
            event(world)

    # -- uploads

    def _upload(self) -> None:
        if self._is_calm:
            client, encoding = _CLIENTS[0], "utf-8"
            name = self._dice.choice(_NAMES) if len(self._clients[client].feed) > 1 else _NAMES[0]
        else:
            client = self._dice.choice((*[_CLIENTS[0]] * 6, _CLIENTS[1]))
            name, encoding = self._dice.choice(_NAMES), self._dice.choice((*["utf-8"] * 40, "utf-16", "cp1252"))
        file = self._next_file(self._files[client])
        self._import(client, name, file.encoded(encoding) or b"\n")

    def _next_file(self, files: list[UsersFile]) -> UsersFile:
        dice = self._dice.uniform(0.4, 0.8) if self._is_calm and files else self._dice.random()
        if not files or dice < 0.06:
            file = self._author.new()
        elif dice < 0.4:
            file = self._dice.choice(files)
        else:
            file = self._author.changed(files[-1] if dice < 0.8 else self._dice.choice(files))
        files.append(file)
        del files[:-_REMEMBERED]
        return file

    def _import(self, client: str, name: str, content: bytes) -> None:
        upload = Upload(
            client=self._clients[client],
            name=name,
            content=content,
            is_released=self._happens(0.9 if self._is_calm else 0.2),
        )
        stop_after = self._dice.randrange(8) if self._happens(0.08) else None
        is_approved = self._happens(0.5)
        self.events.append((upload, stop_after, is_approved))
        answers = (world.answer(upload, stop_after=stop_after, is_approved=is_approved) for world in self._worlds)
        _compare(*answers)

    def _replay(self) -> None:
        if archives := self._worlds[0].archives():
            self._import(self._dice.choice(_CLIENTS), "users.csv", self._dice.choice(archives).read_bytes())

    # -- settings and versions

    def _settings(self, name: str) -> ClientSettings:
        choice = self._dice.choice
        columns: tuple[dict[str, str], ...] = (
            *[{}, {}],
            {"Student ID": "unique_id", "Grade": ""},
            {"Grade": "street"},
            {"Student ID": "user_name"},
        )
        limits: tuple[dict[str, int], ...] = ({}, {}, {"first_name": 3}, {"unique_id": 2})
        return ClientSettings(
            name=name,
            inbox="/srv/sftp",
            failed_import_email=choice(((), (), ("mail@example.org",))),
            receipts=self._happens(0.2),
            clear_token=choice(("", "", "~", "-")),
            login_source=choice(("", "", "OPSCOM", "LDAP")),
            short_rows=choice(("refuse", "refuse", "pad")),
            unknown_columns=choice(("refuse", "ignore")),
            fallback_encoding=choice(("", "cp1252")),
            columns=choice(columns),
            required=choice((*[("first_name", "last_name", "email")] * 2, (), ("email",), ("user_name",))),
            limits=choice(limits),
            status=choice(
                (
                    StatusSettings(),
                    StatusSettings(column=STATUS, active=("A",), inactive=("I", "LEFT")),
                    StatusSettings(column=STATUS, active=("A", "on leave"), inactive=("I",)),
                )
            ),
            protected_fields=choice(((), (), ("email",), ("first_name", "user_name"), ("last_name",))),
            protected_users=choice(("", str(self._protected))),
            feed=self._feeds(),
        )

    def _feeds(self) -> tuple[FeedSettings, ...]:
        """Return no feeds, or one or two: each a snapshot, mostly."""
        if self._happens(0.5):
            return ()
        names = self._dice.choice((("*",), ("users*", "*"), ("users*", "other*")))
        return tuple(
            FeedSettings(
                name=f"feed{number}",
                files=files,
                mode=self._dice.choice(("snapshot", "snapshot", "upsert")),
                misses=self._dice.choice((1, 2)),
            )
            for number, files in enumerate(names)
        )

    def _change_settings(self) -> None:
        name = self._dice.choice(_CLIENTS)
        self._clients[name] = self._settings(name)
        self.events.append(self._clients[name])

    def _protect(self) -> None:
        known = [unique_id for _, unique_id in self._worlds[0].known_ids() if len(unique_id) <= len(_NOBODY)]
        lines = self._dice.sample(known, self._dice.randint(0, min(3, len(known))))
        self._protected.write_text("".join(f"{line}\n" for line in (*lines, _NOBODY)))
        self.events.append(("protect", lines))

    def _change_reference(self) -> None:
        sources, types = self._dice.choice((("OPSCOM",), ("OPSCOM", "LDAP"))), self._dice.choice(((), ("1", "2")))
        reference = ReferenceSettings(login_sources=sources, user_types=types)
        self._both(lambda world: setattr(world, "reference", reference), reference)

    def _change_limits(self) -> None:
        limits = FileSettings(max_rows=self._dice.choice((15, *[5_000_000] * 3)))
        self._both(lambda world: setattr(world, "limits", limits), limits)

    def _update(self) -> None:
        version = self._dice.choice(("old", "new"))
        self._patched.setattr(fingerprint, "_CODE", version)
        self._both(World.restart, "update", version)

    # -- what an operator does

    def _erase(self) -> None:
        if known := self._worlds[0].known_ids():
            client, unique_id = self._dice.choice(known)
            self._both(lambda world: world.erase(client, unique_id), "erase", client, unique_id)

    def _undo(self) -> None:
        newest = len(self._worlds[0].import_ids())
        number = newest if self._happens(0.5) else self._dice.randint(0, newest)
        self._both(lambda world: world.undo(number), "undo", number)

    def _rekey(self) -> None:
        if known := self._worlds[0].known_ids():
            (client, unique_id), (_, other) = (self._dice.choice(known) for _ in range(2))
            pairs = [(unique_id, other), (other, unique_id)] if self._happens(0.5) else [(unique_id, unique_id + "k")]
            self._both(lambda world: world.rekey(client, pairs), "rekey", client, pairs)

    def _set_state(self) -> None:
        if known := self._worlds[0].known_ids():
            client, unique_id = self._dice.choice(known)
            is_active = self._happens(0.5)
            self._both(
                lambda world: world.set_state(client, unique_id, is_active=is_active), "set", unique_id, is_active
            )

    def _rewrite(self) -> None:
        number, known = self._import_number(), self._worlds[0].known_ids()
        if number is not None and known:
            client, unique_id = self._dice.choice(known)
            settings = self._clients[client]
            self._both(lambda world: world.rewrite(settings, unique_id, number), "rewrite", client, unique_id, number)

    def _purge(self) -> None:
        number = self._import_number()
        if number is not None:
            self._both(lambda world: world.purge(number), "purge", number)

    def _import_number(self) -> int | None:
        (count,) = self._worlds[0].store.conn.execute("SELECT count(*) FROM imports WHERE kind = 'file'").fetchone()
        return self._dice.randrange(count) if count else None

    def _edit(self) -> None:
        if known := self._worlds[0].known_ids():
            edits = [edit for edit in _EDITS if not (self._is_on_server and _OF_SQLITE.search(edit))]
            statement = self._dice.choice(edits).format(where="WHERE client = ? AND unique_id = ?")
            values = self._dice.choice(known)
            self._both(lambda world: world.edit(statement, *values), statement, values)

    def _damage(self) -> None:
        if not (archives := self._worlds[0].archives()):
            return
        name, other = (self._dice.choice(archives).name for _ in range(2))
        damage = self._dice.choice(_DAMAGES)
        self._both(
            lambda world: damage(world.folder / ".bak" / name, world.folder / ".bak" / other),
            *(damage.__name__, name, other),
        )

    def _back_up(self) -> None:
        self._backups += 1
        name = f"backup-{self._backups}"
        self._both(lambda world: world.back_up(name), name)

    def _restore(self) -> None:
        if self._backups:
            name = f"backup-{self._dice.randrange(self._backups) + 1}"
            self._both(lambda world: world.restore(name), "restore", name)


_OTHER_EVENTS: Final[dict[Callable[[History], None], int]] = {
    History._replay: 2,
    History._change_settings: 3,
    History._protect: 3,
    History._change_reference: 1,
    History._change_limits: 1,
    History._update: 1,
    History._erase: 4,
    History._undo: 4,
    History._rekey: 2,
    History._set_state: 2,
    History._rewrite: 3,
    History._purge: 2,
    History._edit: 5,
    History._damage: 3,
    History._back_up: 2,
    History._restore: 2,
}


_OF_A_FILE: Final = (History._back_up, History._restore)


def _remove(archive: Path, _: Path) -> None:
    archive.unlink()


def _append(archive: Path, _: Path) -> None:
    archive.write_bytes(archive.read_bytes() + b"more\n")


def _halve(archive: Path, _: Path) -> None:
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])


def _replace(archive: Path, other: Path) -> None:
    archive.write_bytes(other.read_bytes())


_DAMAGES: Final = (_remove, _append, _halve, _replace)


def check(seeds: Iterable[int], folder: Path, server: PostgresqlServer | None = None) -> None:
    """
    Let a history happen for each number. Raises TellingDifference, with all that happened before.

    `server`: has the database of the world that compares; the other one's is a file.
    """
    with (
        contextlib.closing(World(folder / "compared", is_forgetful=False, server=server)) as compared,
        contextlib.closing(World(folder / "whole", is_forgetful=True)) as whole,
    ):
        for seed in seeds:
            _check(seed, (compared, whole))


def _check(seed: int, worlds: Worlds) -> None:
    dice = random.Random(seed)  # noqa: S311 - dice
    with pytest.MonkeyPatch.context() as patched:
        for module, name, sizes in _SIZES:
            patched.setattr(module, name, dice.choice(sizes))
        history = History(seed, (worlds[0].emptied(), worlds[1].emptied()), patched)
        try:
            for _ in range(dice.choice((3, 6, 12))):
                history.go_on()
        except BaseException as error:
            error.add_note("\n".join([f"history {seed}:", *map(repr, history.events)]))
            raise
