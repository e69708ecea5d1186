"""`rosterd client add`: sets up one client, and says what to give to it."""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Sequence
from pathlib import Path

import click

from operate.clients import setup
from operate.clients.reload import complete
from operate.clients.setup import Settings, Wanted
from operate.options import config_file_option
from operate.output import print_fields, say
from operate.provision import homes
from operate.provision.drop_ins import problems_with
from operate.provision.edits import NotEditable
from operate.provision.keys import KeyRefused, PublicKey, host_keys, read_public_keys
from operate.provision.plan import Conflicts, ForRoot, apply_option, fail, name_argument, play, refuse
from watcher.config import ConfigError, load
from watcher.settings import Config


@click.command(cls=ForRoot)
@name_argument
@click.option("--email", "emails", metavar="ADDRESS", multiple=True, help="Recipient of failure reports. Repeatable.")
@click.option(
    "--key",
    "keys_from",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the client's public keys, one per line.",
)
@click.option(
    "--log-sessions",
    is_flag=True,
    help="Let rosterd see interrupted uploads, through a log socket in the chroot.",
)
@config_file_option
@apply_option
def add(
    name: str, emails: Sequence[str], keys_from: Path | None, config_file: Path, *, log_sessions: bool, apply: bool
) -> None:
    """
    Set up a client: an SFTP-only login, folders and settings.

    Shows each step; --apply executes it. Existing parts are kept, or corrected if they are the client's. If anything is
    in the way, nothing is changed.
    """
    given = {("failed_import_email",): list(emails), ("log_socket",): homes.LOG_SOCKET if log_sessions else ""}
    keys = _read_keys(keys_from) if keys_from else ()
    wanted = Wanted(name, keys, {place: value for place, value in given.items() if value})
    try:
        config = load(config_file)
        settings = setup.settings_of(wanted, config_file)
    except (ConfigError, NotEditable) as error:
        fail("Nothing was changed:", *(f"  {line}" for line in str(error).splitlines()))
    refuse(_conflicts(wanted, settings, config_file, config))
    play(setup.plan(wanted, settings, config), apply=apply)
    if apply:
        complete(config_file)
        _print_handout(name)


def _read_keys(path: Path) -> tuple[PublicKey, ...]:
    try:
        return read_public_keys(path)
    except KeyRefused as error:
        fail("Nothing was changed:", f"  {error}")


def _conflicts(wanted: Wanted, settings: Settings, config_file: Path, config: Config) -> Conflicts:
    yield from setup.conflicts(wanted, config_file, config)
    client = config.clients_by_name.get(wanted.name)
    if client is None:
        yield from problems_with(config_file, {settings.file: settings.after})
        return
    for (key, *_), value in wanted.values.items():
        present = getattr(client, key)
        if (list(present) if isinstance(present, tuple) else present) != value:
            option = f"--{key.replace('_', '-')}"
            given = [word for each in (value if isinstance(value, list) else [value]) for word in (option, str(each))]
            change = shlex.join(["rosterd", "client", "set", wanted.name, *given, "--apply"])
            yield f"{settings.file}: has another {key}; to change it: {change}"


# Instructions for the client


def _print_handout(name: str) -> None:
    say("\nGive this to the client:")
    rows = [("host", socket.getfqdn()), ("login", name), ("folder", "/upload")]
    print_fields([*rows, *(("host key", key) for key in host_keys())], echo=say)
    if not os.path.exists(homes.keys(name)):
        say(f"\nStill to do: rosterd client key add {name} --key FILE --apply.")
    say(f"\nNext: rosterd doctor; rosterd guide --client {name} --html > {name}.html, a page to send them.")
