"""`rosterd import`: a file put into the inbox of a client by hand, and what became of it."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

import click

from importer import views
from importer.durable import write_durably
from importer.views import Import
from operate.reading import cannot_answer, database
from watcher.config import Config
from watcher.exits import EXIT_WOULD_FAIL
from watcher.lock import is_locked
from watcher.options import chosen_client, client_option, config_option, progress_bar
from watcher.settle import Names
from watcher.spool import move
from watcher.status import State, read_status

_CHUNK_BYTES: Final = 1 << 20
_POLL_S: Final = 0.2
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@click.command(name="import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path))
@client_option
@config_option
def import_(config: Config, file: Path, client_name: str | None) -> None:
    """
    Import FILE by hand.

    It is put into the inbox of the client as if it was uploaded, and its end is waited for. Exits with 0 when every
    row was applied, 1 when anything failed, 2 when it could not be delivered.
    """
    client = chosen_client(config, client_name)
    if not Names(config.intake.pattern).accept(os.fsencode(file.name)):
        raise click.UsageError(f"{file.name}: by its name no upload; expected {config.intake.pattern}")
    try:
        is_running = is_locked(config.service.state_dir)
        delivered = _deliver(file, client.inbox)
    except FileExistsError:
        cannot_answer(f"{client.inbox}: holds a file of that name already; wait until it is imported")
    except OSError as error:
        cannot_answer(f"{file}: cannot be delivered to {client.inbox}: {error}")
    if not is_running:
        click.echo(f"{file.name} lies in the inbox. The service does not run; it is imported at its next start.")
        return
    click.echo("Delivered. Waiting for its end; Ctrl-C does not take it back.")
    _tell(_wait(config, client.name, file.name, delivered))


def _deliver(file: Path, inbox: str) -> os.stat_result:
    """Let a copy of the file appear in the inbox, whole; return what it is there. Raises FileExistsError, OSError."""
    hidden = b".by-hand-" + os.urandom(8).hex().encode()  # no name that begins with a dot is an upload
    with _folder(inbox) as inbox_fd:
        with file.open("rb") as source, progress_bar(file) as progress:
            write_durably(inbox_fd, hidden, _chunks(source, progress))
        found = os.stat(hidden, dir_fd=inbox_fd, follow_symlinks=False)
        try:
            move(inbox_fd, hidden, inbox_fd, os.fsencode(file.name))
        except BaseException:
            os.unlink(hidden, dir_fd=inbox_fd)
            raise
    return found


@contextlib.contextmanager
def _folder(path: str) -> Iterator[int]:
    fd = os.open(path, _FOLDER)
    try:
        yield fd
    finally:
        os.close(fd)


def _chunks(source: BinaryIO, progress: Callable[[int], None]) -> Iterator[bytes]:
    while chunk := source.read(_CHUNK_BYTES):
        yield chunk
        progress(source.tell())


def _wait(config: Config, client: str, name: str, delivered: os.stat_result) -> Import:
    """Return the import of the file once it is archived; ends the program when the file is held."""
    while True:
        with database(config) as conn:
            found = views.find_upload(conn, client, delivered.st_ino, delivered.st_mtime_ns)
        if found is not None and found.archived_at is not None:
            return found
        if _is_held(config, client, name):
            hint = f"`rosterd release {name} --client {client}` imports it as it is"
            click.echo(f"{name} looks cut off and is held; {hint}", err=True)
            sys.exit(EXIT_WOULD_FAIL)
        time.sleep(_POLL_S)


def _is_held(config: Config, client: str, name: str) -> bool:
    status = read_status(config.service.state_dir)
    held = [
        file.file
        for known in (status.clients if status else ())
        for file in known.files
        if known.client == client and file.state is State.HELD
    ]
    return name in held


def _tell(entry: Import) -> None:
    counts = f"{entry.created} created, {entry.updated} updated, {entry.unchanged} unchanged, {entry.failed} failed"
    why = f" ({entry.code})" if entry.code else ""
    click.echo(f"{entry.file}: {entry.outcome}{why}: {counts}. `rosterd show {entry.id}` says more.")
    sys.exit(0 if entry.outcome == "imported" else EXIT_WOULD_FAIL)
