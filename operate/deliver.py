"""`rosterd import` and `rosterd replay`: put a file into an inbox, and wait for the outcome."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

import click

from importer.durable import SyncFailed
from importer.fs import open_file, open_folder
from importer.model import Outcome, printable, shown_counts
from importer.names import BAK, as_uploaded
from importer.settings import ClientSettings
from importer.store import queries
from importer.store.queries import Import
from operate.database import cannot_answer, database
from operate.options import chosen_client, client_option, config_option, progress_bar
from watcher.control.client import NoAnswer, NotRunning, Order, ask
from watcher.control.replay import deliver
from watcher.exits import EXIT_WOULD_FAIL
from watcher.health.status import State, read_status
from watcher.inbox.settle import Names
from watcher.lock import is_locked
from watcher.owner import check_access
from watcher.settings import Config

_POLL_S: Final = 0.2
_MISSED_LOOKS: Final = 3  # a file that is moved back is in no folder for a moment


approve_option: Final = click.option("--approve", is_flag=True, help="Approve it if a limit would put it on hold.")


@click.command(name="import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path))
@client_option
@approve_option
@config_option
def import_(config: Config, file: Path, client_name: str | None, *, approve: bool) -> None:
    """
    Import FILE by hand.

    Puts the file into the inbox as if the client had uploaded it, and waits for the outcome. Exits with 0 when every
    row was applied, 1 when anything failed, 2 when the file could not be delivered.
    """
    client = chosen_client(config, client_name)
    if not Names(config.intake.pattern).accept(os.fsencode(file.name)):
        raise click.UsageError(f"{file.name}: is not the name of an upload; expected {config.intake.pattern}")
    _check_followable(config)
    with _opened(file) as source, progress_bar(file.name, file.stat().st_size) as progress:
        delivered = _delivered(source, config, client, os.fsencode(file.name), progress)
    _follow(config, client, os.fsencode(file.name), delivered, approve=approve)


@click.command()
@click.argument("id_", metavar="ID")
@approve_option
@config_option
def replay(config: Config, id_: str, *, approve: bool) -> None:
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
        if entry.host != conn.host:
            cannot_answer(f"import {id_}: its file is on {entry.host}; run this there")
        archive = queries.archive_name(conn, entry.id)
    client = chosen_client(config, entry.client)
    _check_followable(config)
    name = as_uploaded(archive)
    with (
        _opened_archive(client, archive) as source,
        progress_bar(printable(name), os.fstat(source.fileno()).st_size) as progress,
    ):
        delivered = _delivered(source, config, client, name, progress)
    _follow(config, client, name, delivered, approve=approve)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """Open a file named on the command line; no link, which could lead anywhere: the client gets a copy in `.bak`."""
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
    """Put a complete copy into the inbox at once; return its identity there. Ends the program if that fails."""
    size_bytes, most = os.fstat(source.fileno()).st_size, config.file.max_file_bytes
    if size_bytes > most:  # the copy of a sparse file of a client could fill the disk
        cannot_answer(f"{printable(name)}: has {size_bytes:,} bytes; the limit is {most:,}")
    try:
        with open_folder(client.inbox) as inbox_fd:
            return deliver(source, inbox_fd, name, progress=progress)
    except FileExistsError:
        cannot_answer(f"{client.inbox}: already contains a file {printable(name)}; wait until it is imported")
    except PermissionError:
        raise
    except OSError as error:
        cannot_answer(f"{printable(name)}: cannot be delivered to {client.inbox}: {error.strerror}")
    except SyncFailed as error:
        cannot_answer(f"{printable(name)}: cannot be delivered to {client.inbox}: {error}")


def _check_followable(config: Config) -> None:
    """Raise PermissionError when the outcome could not be read, before anything is delivered."""
    is_locked(config.service.state_dir)
    check_access(config.service.place, os.O_RDONLY)


def _follow(config: Config, client: ClientSettings, name: bytes, delivered: os.stat_result, *, approve: bool) -> None:
    """Wait for the outcome of a delivered file, print it, and end the program accordingly."""
    if not is_locked(config.service.state_dir):
        click.echo(
            f"{printable(name)} is in the inbox. The service is not running; it imports the file at its next start."
        )
        return
    click.echo("Queued; Ctrl-C stops waiting, not the import.")
    entry = _wait(config, client, name, delivered)
    if entry.outcome == Outcome.ON_HOLD and approve:
        _approve(config, entry)
        entry = _wait(config, client, name, delivered, after=entry.id)
    counts = ", ".join(f"{getattr(entry, name)} {name}" for name in shown_counts([entry]))
    why = f" ({entry.code})" if entry.code else ""
    if entry.outcome == Outcome.ON_HOLD:
        click.echo(f"{entry.file} is on hold{why}: `rosterd preview {entry.id}` shows what it would change")
        click.echo(f"`rosterd approve {entry.id} --client {client.name}` imports it; so does --approve at once")
        sys.exit(EXIT_WOULD_FAIL)
    click.echo(f"{entry.file}: {entry.outcome}{why}: {counts}. Details: `rosterd show {entry.id}`")
    if missing := _missing(config, entry):
        click.echo(
            f"{missing:,} users are missing from it and stay active: `rosterd preview {entry.id} --csv` lists them"
        )
        if approve:
            _approve(config, entry)
        else:
            click.echo(
                f"`rosterd approve {entry.id} --client {client.name}` deactivates them; so does --approve at once"
            )
    sys.exit(0 if entry.outcome == "imported" else EXIT_WOULD_FAIL)


def _approve(config: Config, entry: Import) -> None:
    """Have what is on hold as this import approved, and print what came of it; nothing if the service has stopped."""
    order = Order(do="file.approve", client=entry.client, file=entry.file, id=str(entry.id))
    with contextlib.suppress(NotRunning, NoAnswer):
        click.echo(ask(config.service.state_dir, order).text)


def _missing(config: Config, entry: Import) -> int:
    """Return how many users a snapshot lacks who stay active until somebody decides."""
    with database(config) as conn:
        return queries.count_removals_on_hold(conn, entry.id)


def _wait(config: Config, client: ClientSettings, name: bytes, delivered: os.stat_result, *, after: int = 0) -> Import:
    """
    Return the import of the file once it is archived, or on hold; ends the program if it needs the operator.

    `after` is the import as which it was on hold, until it was approved.
    """
    file, missed, since = printable(name), 0, datetime.now(UTC)
    while True:
        is_running = is_locked(config.service.state_dir)
        missed = missed + 1 if _is_gone(client.inbox, name) else 0
        with database(config) as conn:  # after these two, else it could be imported in between
            imported = queries.find_upload(conn, client.name, delivered.st_ino, delivered.st_mtime_ns)
        is_on_hold = imported is not None and imported.outcome == Outcome.ON_HOLD and imported.id != after
        if imported is not None and (is_on_hold or imported.archived_at is not None or not is_running):
            return imported
        if not is_running:
            cannot_answer(f"{file}: the service stopped before importing it; it will be imported at the next start")
        if imported is None and missed >= _MISSED_LOOKS:
            cannot_answer(f"{file}: was removed from the inbox of {client.name} before it was imported")
        _end_if_unserved(config, client.name, file, since)
        _end_if_stuck(config, client.name, file)
        time.sleep(_POLL_S)


def _is_gone(inbox: str, name: bytes) -> bool:
    """Return whether a file is neither in the inbox nor being imported."""
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
    if answer.state == State.BEHIND:
        click.echo(f"{file} waits behind a file on hold; `rosterd status` names it", err=True)
        sys.exit(EXIT_WOULD_FAIL)
    if answer.state == State.IGNORED:
        click.echo(f"{file} will not be imported; `rosterd doctor` shows what is wrong with the inbox", err=True)
        sys.exit(EXIT_WOULD_FAIL)
