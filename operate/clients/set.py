"""`rosterd client set`: changes settings of one client in its file, as the service will read them."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from operate.change import EXIT_NOT_DONE
from operate.clients.reload import reload_service
from operate.clients.setting_options import SettingName, setting_options, values_of
from operate.clients.setup import folder_step
from operate.options import config_file_option, unknown_client
from operate.output import say
from operate.provision import accounts, edits, homes
from operate.provision.accounts import LoginState
from operate.provision.drop_ins import DISABLED_ENDING, known_names, problems_with, settings_file
from operate.provision.edits import NotEditable, Place
from operate.provision.plan import Conflicts, ForRoot, apply_option, fail, name_argument, play, refuse
from watcher.config import ConfigError, load


@click.command("set", cls=ForRoot)
@name_argument
@setting_options
@click.option("--unset", multiple=True, type=SettingName(), help="Setting to return to its default. Repeatable.")
@config_file_option
@apply_option
def set_(name: str, config_file: Path, *, unset: tuple[Place, ...], apply: bool, **given: object) -> None:
    """
    Change settings of a client, and reload the service.

    Shows what differs in the file; --apply writes it. Comments and order stay. An option that is given several times is
    a list, which replaces the old one; KEY=VALUE and a feed change only that entry.
    """
    values = values_of(given)
    if not values and not unset:
        raise click.UsageError("give a setting to change, such as --email, or --unset; --help lists them")
    if both := values.keys() & set(unset):
        raise click.UsageError(f"{'.'.join(next(iter(both)))} is set and unset")
    folder = _check_folder(name, config_file) if values.get(("check_folder",)) else None
    refuse(_conflicts(name, config_file, folder))
    file = edits.file_of(config_file, name)
    if file is None:
        _fail_without_settings(name, config_file)
    try:
        step = edits.editing(config_file, file, name, values, unset)
    except NotEditable as error:
        fail("Nothing was changed:", *(f"  {line}" for line in str(error).splitlines()))
    # First the folder: a service that is not a member of the client's group cannot give it to that group.
    play([*([folder_step(folder)] if folder else []), step], apply=apply, reloads=False)
    if ("log_socket",) in values:
        say(f"Its folder: rosterd client add {name} --apply")
    if apply:
        reloaded = reload_service(config_file)  # also of what an earlier command wrote before it was killed
        say(reloaded.text)
        sys.exit(0 if reloaded.done else EXIT_NOT_DONE)


def _check_folder(name: str, config_file: Path) -> homes.Folder | None:
    """Return the folder in which a client tries files out, None if its login is not ours to set up."""
    with contextlib.suppress(ConfigError):
        client = load(config_file).clients_by_name.get(name)
        is_ours = client is not None and client.inbox == homes.inbox(name)
        if is_ours and accounts.login_state(name) is LoginState.OPEN and os.path.isdir(homes.inbox(name)):
            return homes.check_folder(name)
    return None


def _fail_without_settings(name: str, config_file: Path) -> NoReturn:
    """End the program: the client is unknown, its file cannot be read, or it has a login and no settings."""
    if name not in (known := known_names(config_file)):
        raise unknown_client(name, known)
    add = f"{name} has no settings: rosterd client add {name} --apply"
    fail("Nothing was changed:", *(f"  {line}" for line in [*problems_with(config_file, {})] or [add]))


def _conflicts(name: str, config_file: Path, folder: homes.Folder | None) -> Conflicts:
    if folder is not None:
        yield from homes.obstacles(folder)
    if settings_file(config_file, name, DISABLED_ENDING).exists():
        yield f"{name} is disabled: rosterd client enable {name}"
