"""`rosterd pgp`: the key that clients encrypt for, and the keys by which they sign."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import click

from importer.durable import SyncFailed
from importer.file.unwrap.gnupg import GnuPGFailed, Key
from importer.fs import read_regular
from operate.change import EXIT_NOT_DONE
from operate.clients.reload import reload_service
from operate.database import cannot_answer
from operate.options import chosen_client, config_file_option, config_option
from operate.output import say, shown
from operate.pgp import key_home
from operate.pgp.key_home import KeyRefused
from operate.provision import edits
from operate.provision.plan import ForRoot, apply_option, fail, name_argument, play
from operate.provision.steps import Step
from watcher.config import ConfigError, load
from watcher.exits import EXIT_IO_ERROR
from watcher.owner import become_owner
from watcher.settings import Config

_MOST_KEY_BYTES: Final = 1 << 20


@click.group()
def pgp() -> None:
    """Make the key that clients encrypt for, and trust the keys by which they sign."""


@pgp.command()
@config_option
def init(config: Config) -> None:
    """Make the key that clients encrypt for. It is valid for three years."""
    with _explained(), _as_service(config) as home:
        key = key_home.make(home, config.service.state_dir, config.mail.sender_name, config.mail.reply_to)
    click.echo(f"Made the key {_described(key)}.")
    if "pgp" not in config.file.accept:
        click.echo(f'Next: add "pgp" to accept in [file] of {config.source}; systemctl reload rosterd')
    click.echo("Then: rosterd pgp public-key > import-key.asc, and send that file to your clients")
    click.echo("Without the private key nobody can open what was encrypted for it. From now on, backups have it.")


@pgp.command()
@config_option
def renew(config: Config) -> None:
    """Make our key valid for three years from now. Clients need its public part again."""
    with _explained(), _as_service(config) as home:
        key = key_home.renew(home, config.service.state_dir)
    click.echo(f"Renewed the key {_described(key)}.")
    click.echo("Next: rosterd pgp public-key > import-key.asc, and send that file to your clients")


@pgp.command("public-key")
@config_option
def public_key(config: Config) -> None:
    """Print the public part of our key, which clients import."""
    with _explained():
        text = key_home.public_key(Path(config.file.pgp_home))
    click.echo(text.decode(), nl=False)


@pgp.command(cls=ForRoot)
@name_argument
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@config_file_option
@apply_option
def trust(name: str, file: Path, config_file: Path, *, apply: bool) -> None:
    """
    Have each upload of a client signed by the key in FILE, its public key.

    Compare the fingerprint that is shown with the client first, by telephone. Shows each step; --apply executes it.
    Again with a newer file it takes what is new of the key, such as a later expiry.
    """
    try:
        config = load(config_file)
    except ConfigError as error:
        fail("Nothing was changed:", *(f"  {line}" for line in str(error).splitlines()))
    client, home = chosen_client(config, name), Path(config.file.pgp_home)
    os.umask(0o077)
    with _explained(f"{shown(file, limit=None)}: "):
        content = read_regular(file, _MOST_KEY_BYTES)
        key = key_home.read(content)
    with _explained():
        key_home.public_key(home)  # there has to be a key that it can encrypt for
        steps = [
            Step(
                f"add to {home}: the public key {_described(key)}",
                partial(key_home.knows, home, key),
                partial(key_home.add, home, config.service.state_dir, content),
            )
        ]
        signers = [each.upper() for each in client.require_signature]
        if key.fingerprint not in signers:
            settings = edits.file_of(config_file, name)
            assert settings is not None  # noqa: S101 - the client was read from it
            steps.append(
                edits.editing(
                    config_file, settings, name, {("require_signature",): [*client.require_signature, key.fingerprint]}
                )
            )
        play(steps, apply=apply, reloads=False)
    if apply:
        reloaded = reload_service(config_file)
        say(reloaded.text)
        sys.exit(0 if reloaded.done else EXIT_NOT_DONE)


@contextlib.contextmanager
def _as_service(config: Config) -> Iterator[Path]:
    """Become the user of the service, which owns the key; yield where it is. Raises NotOwner, OSError."""
    become_owner(config.service.state_dir)
    os.umask(0o077)
    yield Path(config.file.pgp_home)


@contextlib.contextmanager
def _explained(where: str = "") -> Iterator[None]:
    """End the program with a sentence when something cannot be done."""
    try:
        yield
    except KeyRefused as error:
        cannot_answer(f"{where}{error}")
    except edits.NotEditable as error:
        fail("Nothing was changed:", *(f"  {line}" for line in str(error).splitlines()))
    except GnuPGFailed as error:
        cannot_answer(f"{error.strerror}")
    except SyncFailed as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_IO_ERROR)


def _described(key: Key) -> str:
    until = f"valid until {key.expires_at:%Y-%m-%d}" if key.expires_at else "valid without an end"
    return f"{key.fingerprint} of {shown(key.user, limit=None)}, {until}"
