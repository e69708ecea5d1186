"""`rosterd backup`: all that an installation is, in one file."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from importer import fs
from importer.durable import SyncFailed
from importer.model import host_name
from importer.store.errors import StoreError
from operate.backup.gathering import Gathering, estimated_bytes
from operate.backup.holdings import add_access, add_console_users, add_mail, add_pgp, add_settings, drop_ins, places
from operate.backup.manifest import Manifest
from operate.backup.note import note_backup
from operate.backup.packing import Packing, new_file
from operate.backup.reading import BackupUnusable, opened
from operate.database import cannot_answer
from operate.options import Abbreviated, bytes_bar, config_option, json_option
from operate.output import counted, print_fields, print_json, shown
from operate.provision.plan import ForRoot
from watcher.exits import EXIT_IO_ERROR
from watcher.settings import Config

_STAGING: Final = ".rosterd-backup-"


@click.group(cls=Abbreviated, default="create")
def backup() -> None:
    """
    Write database, settings, keys and logins into one file, or check such a file.

    `rosterd backup FILE` is short for `rosterd backup create FILE`.
    """


@backup.command(cls=ForRoot)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--files", "with_files", is_flag=True, help="Also what is in the inboxes and archives, and stored mail.")
@click.option("--host-keys", "with_host_keys", is_flag=True, help="Also the keys by which clients know this host.")
@config_option
@json_option
def create(config: Config, file: Path, *, with_files: bool, with_host_keys: bool, as_json: bool) -> None:
    """
    Write FILE, while the service works: a tar that only root can read.

    It has the database, the configuration with its secrets, clients' keys and logins with their password hashes.
    """
    target = file.absolute()
    if os.path.lexists(target):
        cannot_answer(f"{shown(target, limit=None)}: exists; expected a new name")
    if not target.parent.is_dir():
        cannot_answer(f"{shown(target.parent, limit=None)}: is not a folder; expected one that is there")
    if config.service.place.file is None:
        cannot_answer(
            "the database is on a server, and is backed up there, at one moment with `pg_dump`, or continuously; "
            f"expected a file in [service] database, got {config.service.database}"
        )
    try:
        inboxes = places(config, drop_ins(Path(config.source)))
        size_bytes = estimated_bytes(Path(config.service.database), inboxes if with_files else [])
        with (
            _staging(target.parent) as staging,
            new_file(staging, target) as tar,
            bytes_bar(size_bytes, target.name) as advance,
        ):
            packing = Packing(tar, advance)
            add_settings(packing, config)
            add_access(packing, with_host_keys=with_host_keys)
            add_pgp(packing, Path(config.file.pgp_home))
            add_console_users(packing, config.service.state_dir)
            gathering = Gathering(packing, staging)
            ledger = gathering.gather(Path(config.service.database), inboxes, with_files=with_files)
            if with_files:
                add_mail(packing, Path(config.mail.maildir))
            manifest = packing.close(
                Manifest(
                    version=importlib.metadata.version("rosterd"),
                    made_at=datetime.now(UTC),
                    host=host_name(),
                    last_import=ledger.last_import,
                    users=ledger.users,
                    has_files=with_files,
                    members=(),
                )
            )
    except StoreError as error:
        cannot_answer(f"{config.service.database}: {error}. No backup was written.")
    except SyncFailed as error:
        click.echo(f"{target}: {error}", err=True)
        sys.exit(EXIT_IO_ERROR)
    _report(manifest, as_json=as_json)
    note_backup(config, target, manifest)


@backup.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def verify(file: Path, *, as_json: bool) -> None:
    """Compare all that is in FILE with its manifest; ends with 2 if it is not a whole backup."""
    try:
        with opened(file) as found:
            manifest = found.manifest
    except BackupUnusable as error:
        cannot_answer(f"{shown(file, limit=None)}: {error}")
    _report(manifest, as_json=as_json)


def _report(manifest: Manifest, *, as_json: bool) -> None:
    summary = {
        "made_at": manifest.made_at,
        "host": manifest.host,
        "version": manifest.version,
        "last_import": manifest.last_import,
        "users": manifest.users,
        "files": len(manifest.members),
        "size_bytes": sum(member.size_bytes for member in manifest.members),
        "inboxes_and_archives": manifest.has_files,
        "left_out": manifest.left_out,
    }
    if as_json:
        print_json(summary)
        return
    print_fields((name, value) for name, value in summary.items() if name != "left_out")
    for each in manifest.left_out:
        click.echo(f"left out: {shown(each, limit=None)}")
    click.echo(f"Whole: {counted(len(manifest.members), 'file', 'files')} with the recorded SHA-256.")


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """Yield a private folder next to the target; those that killed commands left there are removed. Raises OSError."""
    for left in folder.glob(f"{_STAGING}*"):
        with contextlib.suppress(OSError), fs.open_folder(left) as fd:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left)
    staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=folder))
    try:
        with fs.open_folder(staging) as fd:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
