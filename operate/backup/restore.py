"""
`rosterd restore`: the way back, on the same host or another one.

The order: a mark that keeps the service from starting; logins that cannot log in yet; folders and files; the database;
settings; what lets clients in, keys and passwords; then the mark is taken away. Killed anywhere, the mark is left, and
the same command completes what is missing.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from operate.backup import installing, obstacles
from operate.backup.manifest import CONFIG, LOGINS, parts_of
from operate.backup.reading import Backup, BackupUnusable, opened
from operate.backup.saved_logins import Login
from operate.backup.target import Target
from operate.database import cannot_answer
from operate.options import config_file_option
from operate.output import shown
from operate.provision.plan import ForRoot, apply_option, play, refuse
from watcher.config import ConfigError, load
from watcher.settings import Config


@click.command(cls=ForRoot)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--replace", is_flag=True, help="Also where there are clients or users already; what is replaced is kept aside."
)
@click.option("--host-keys", "with_host_keys", is_flag=True, help="Also the host keys of sshd, if they are in it.")
@config_file_option
@apply_option
def restore(file: Path, config_file: Path, *, replace: bool, with_host_keys: bool, apply: bool) -> None:
    """
    Make this host what FILE says, a backup by `rosterd backup`.

    Shows each step; --apply executes it. Stop the service before. If it was interrupted, run it again: it completes
    what is missing.
    """
    try:
        with opened(file) as backup, _settings(backup, config_file) as config:
            target = Target(
                backup=backup,
                config=config,
                config_file=config_file.absolute(),
                logins=tuple(_logins(backup)),
                drop_ins=tuple(_drop_ins(backup)),
                with_host_keys=with_host_keys,
            )
            refuse(obstacles.conflicts(target, replace=replace))
            play(installing.steps_of(target), apply=apply)
            _report(target, apply=apply)
    except BackupUnusable as error:
        cannot_answer(f"{shown(file, limit=None)}: {error}")


@contextlib.contextmanager
def _settings(backup: Backup, config_file: Path) -> Iterator[Config]:
    """Yield the configuration of a backup, with the paths that it will have in its place. Raises BackupUnusable."""
    with tempfile.TemporaryDirectory() as copy:
        Path(copy, "clients.d").mkdir()
        if CONFIG not in backup.by_name:
            raise BackupUnusable("has no configuration")
        for member in backup.below("settings/"):
            name = Path(*map(os.fsdecode, parts_of(member.name)[1:]))
            Path(copy, name).write_bytes(backup.text(member.name))
        try:
            yield load(Path(copy, "config.toml"), base=config_file.absolute().parent)
        except ConfigError as error:
            raise BackupUnusable(f"its configuration cannot be used: {error}") from None


def _logins(backup: Backup) -> list[Login]:
    if LOGINS not in backup.by_name:
        return []
    try:
        return msgspec.json.decode(backup.text(LOGINS), type=list[Login])
    except msgspec.DecodeError as error:
        raise BackupUnusable(f"{LOGINS}: {error}") from None


def _drop_ins(backup: Backup) -> Iterator[str]:
    for member in backup.below("settings/clients.d/"):
        yield os.fsdecode(parts_of(member.name)[-1])


def _report(target: Target, *, apply: bool) -> None:
    manifest = target.backup.manifest
    for sentence in installing.remarks(target) if apply else ():
        click.echo(sentence)
    click.echo(
        f"\nThe backup is of {shown(manifest.made_at)} UTC, from {shown(manifest.host)}. What came later is missing."
    )
    click.echo("Next: rosterd doctor; rosterd verify" if apply else "")
