"""`rosterd import` and `rosterd replay`: put a file into an inbox, and wait for the outcome."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

import click

from importer.durable import SyncFailed, write_durably
from importer.fs import open_file, open_folder
from importer.model import printable
from importer.names import BAK
from importer.settings import ClientSettings
from importer.store import queries
from importer.store.queries import Import
from operate.database import cannot_answer, database
from operate.options import chosen_client, client_option, config_option, progress_bar
from watcher.control.client import NoAnswer, NotRunning, Order, ask
from watcher.exits import EXIT_WOULD_FAIL
from watcher.health.status import State, read_status
from watcher.inbox.layout import move
from watcher.inbox.settle import Names
from watcher.lock import is_locked
from watcher.owner import check_access
from watcher.settings import Config

_CHUNK_BYTES: Final = 1 << 20
_POLL_S: Final = 0.2
_MISSED_LOOKS: Final = 3  # a file that is put back is nowhere for a moment
_STAMP: Final = re.compile(rb"\.\d{8}T\d{6}Z(-\d+)?\.csv\Z")


@click.command(name="import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path))
@client_option
@config_option
def import_(config: Config, file: Path, client_name: str | None) -> None:
    """
    Import FILE by hand.

    Puts the file into the inbox as if the client had uploaded it, and waits for the outcome. Exits with 0 when every
    row was applied, 1 when anything failed, 2 when the file could not be delivered.
    """
    client = chosen_client(config, client_name)
    if not Names(config.intake.pattern).accept(os.fsencode(file.name)):
        raise click.UsageError(f"{file.name}: is not the name of an upload; expected {config.intake.pattern}")
    _check_followable(config)
    with _opened(file) as source, progress_bar(file) as progress:
        delivered = _delivered(source, config, client, os.fsencode(file.name), progress)
    _follow(config, client, os.fsencode(file.name), delivered)


@click.command()
@click.argument("id_", metavar="ID")
@config_option
def replay(config: Config, id_: str) -> None:
    """
    Import a file again from its archive.

    ID is the number or the claim id of an import. Puts a copy of its archive into the inbox, as if it had been
    uploaded again, and waits for the outcome. Exits like `rosterd import`.
    """
    with database(config) as conn:
        entry = queries.find_import(conn, id_)
        if entry is None:
            cannot_answer(f"there is no import {id_}; `rosterd imports` lists all")
        if entry.purged_at is not None:
            cannot_answer(f"import {id_}: its file was purged on {entry.purged_at:%Y-%m-%d}")
        archive = queries.archive_name(conn, entry.id)
    client = chosen_client(config, entry.client)
    _check_followable(config)
    name = _STAMP.sub(b".csv", archive)
    with _opened_archive(client, archive) as source:
        delivered = _delivered(source, config, client, name, lambda _: None)
    _follow(config, client, name, delivered)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """Open a file of the command line, but no link, which could be to any file: the client gets a copy in `.bak`."""
    if file.is_symlink():
        cannot_answer(f"{printable(os.fsencode(file))}: is a symbolic link. Name the file itself")
    with open_file(file) as source:
        if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
            cannot_answer(f"{printable(os.fsencode(file))}: is not a regular file")
        yield source


@contextlib.contextmanager
def _opened_archive(client: ClientSettings, archive: bytes) -> Iterator[BinaryIO]:
    """Open a file in `.bak`; ends the program when that cannot be done."""
    try:
        with (
            open_folder(client.inbox) as inbox_fd,
            open_folder(BAK, inbox_fd) as bak_fd,
            open_file(archive, bak_fd) as source,
        ):
            yield source
    except PermissionError:
        raise
    except OSError as error:
        cannot_answer(f"{printable(archive)}: cannot be read from .bak of {client.inbox}: {error.strerror}")


def _delivered(
    source: BinaryIO, config: Config, client: ClientSettings, name: bytes, progress: Callable[[int], None]
) -> os.stat_result:
    """Let a copy appear in the inbox, whole; return what it is there. Ends the program when that cannot be done."""
    size_bytes, most = os.fstat(source.fileno()).st_size, config.file.max_file_bytes
    if size_bytes > most:  # a sparse one of a client would fill the disk as a copy
        cannot_answer(f"{printable(name)}: has {size_bytes:,} bytes; the limit is {most:,}")
    try:
        with open_folder(client.inbox) as inbox_fd:
            return _deliver(source, inbox_fd, name, progress)
    except FileExistsError:
        cannot_answer(f"{client.inbox}: already contains a file {printable(name)}; wait until it is imported")
    except PermissionError:
        raise
    except OSError as error:
        cannot_answer(f"{printable(name)}: cannot be delivered to {client.inbox}: {error.strerror}")
    except SyncFailed as error:
        cannot_answer(f"{printable(name)}: cannot be delivered to {client.inbox}: {error}")


def _deliver(source: BinaryIO, inbox_fd: int, name: bytes, progress: Callable[[int], None]) -> os.stat_result:
    hidden = b".by-hand-" + os.urandom(8).hex().encode()  # no name that begins with a dot is an upload
    write_durably(inbox_fd, hidden, _chunks(source, progress))
    found = os.stat(hidden, dir_fd=inbox_fd, follow_symlinks=False)
    try:
        move(inbox_fd, hidden, inbox_fd, name)
    except BaseException:
        os.unlink(hidden, dir_fd=inbox_fd)
        raise
    return found


def _chunks(source: BinaryIO, progress: Callable[[int], None]) -> Iterator[bytes]:
    while chunk := source.read(_CHUNK_BYTES):
        yield chunk
        progress(source.tell())


def _check_followable(config: Config) -> None:
    """Raise PermissionError, before anything is delivered, when its outcome could not be read."""
    is_locked(config.service.state_dir)
    check_access(Path(config.service.database), os.O_RDONLY)


def _follow(config: Config, client: ClientSettings, name: bytes, delivered: os.stat_result) -> None:
    """Wait for the outcome of a delivered file, print it, and end the program accordingly."""
    if not is_locked(config.service.state_dir):
        click.echo(
            f"{printable(name)} is in the inbox. The service is not running; it imports the file at its next start."
        )
        return
    click.echo("Queued; Ctrl-C stops waiting, not the import.")
    entry = _wait(config, client, name, delivered)
    counts = f"{entry.created} created, {entry.updated} updated, {entry.unchanged} unchanged, {entry.failed} failed"
    why = f" ({entry.code})" if entry.code else ""
    click.echo(f"{entry.file}: {entry.outcome}{why}: {counts}. Details: `rosterd show {entry.id}`")
    sys.exit(0 if entry.outcome == "imported" else EXIT_WOULD_FAIL)


def _wait(config: Config, client: ClientSettings, name: bytes, delivered: os.stat_result) -> Import:
    """Return the import of the file once it is archived; ends the program if it needs the operator."""
    file, missed, since = printable(name), 0, datetime.now(UTC)
    while True:
        is_running = is_locked(config.service.state_dir)
        missed = missed + 1 if _is_gone(client.inbox, name) else 0
        with database(config) as conn:  # after these two looks, else it could be imported in between
            found = queries.find_upload(conn, client.name, delivered.st_ino, delivered.st_mtime_ns)
        if found is not None and (found.archived_at is not None or not is_running):
            return found
        if not is_running:
            cannot_answer(f"{file}: the service stopped before importing it; it will be imported at the next start")
        if found is None and missed >= _MISSED_LOOKS:
            cannot_answer(f"{file}: was removed from the inbox of {client.name} before it was imported")
        _end_if_unserved(config, client.name, file, since)
        _end_if_stuck(config, client.name, file)
        time.sleep(_POLL_S)


def _is_gone(inbox: str, name: bytes) -> bool:
    """Return whether a file is neither in the inbox nor in hand."""
    places = (Path(inbox), *Path(inbox, ".work").glob("*"))
    return not any(os.path.lexists(place / os.fsdecode(name)) for place in places)


def _end_if_unserved(config: Config, client: str, file: str, since: datetime) -> None:
    """End the program when the service reports, in a status written since then, that it does not serve the inbox."""
    status = read_status(config.service.state_dir)
    if status is None or status.written_at < since:
        return
    known = next((each for each in status.clients if each.client == client), None)
    if known is None:
        cannot_answer(f"{file} is in the inbox, but the service does not know {client} yet: systemctl reload rosterd")
    if known.trouble:
        cannot_answer(f"{file} is in the inbox, which the service cannot use: {known.trouble}. See `rosterd doctor`")


def _end_if_stuck(config: Config, client: str, file: str) -> None:
    """End the program when the service holds the file, or will never take it."""
    try:
        answer = ask(config.service.state_dir, Order(do="file.state", client=client, file=file))
    except (NotRunning, NoAnswer):
        return
    if answer.state == State.HELD:
        hint = f"`rosterd release {file} --client {client}` imports it as it is"
        click.echo(f"{file} is held ({answer.hold_reason.replace('_', ' ')}); {hint}", err=True)
        sys.exit(EXIT_WOULD_FAIL)
    if answer.state == State.IGNORED:
        click.echo(f"{file} will not be imported; `rosterd doctor` shows what is wrong with the inbox", err=True)
        sys.exit(EXIT_WOULD_FAIL)
