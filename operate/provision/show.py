"""`rosterd client list` and `show`."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import click
import msgspec

from importer.settings import CLIENT_NAME, ClientSettings
from operate.options import config_file_option, json_option, unknown_client
from operate.output import print_fields, print_json, print_table
from operate.provision import accounts, layout
from operate.provision.accounts import LoginState
from operate.provision.drop_ins import DISABLED_ENDING
from operate.provision.plan import ForRoot, name_argument
from watcher.config import ConfigError, load
from watcher.exits import EXIT_CONFIG
from watcher.settings import Config


class Client(msgspec.Struct, frozen=True):
    """A client as the host has it."""

    name: str
    login: LoginState
    settings: ClientSettings | None  # None: disabled, or not readable


@click.command("list", cls=ForRoot)
@config_file_option
@json_option
def list_clients(config_file: Path, *, as_json: bool) -> None:
    """List all clients, including disabled ones."""
    found = _clients(config_file)
    if as_json:
        print_json(found)
        return
    rows = [(each.name, each.login, *_shown(each.settings)) for each in found]
    print_table(("client", "login", "inbox", "mail"), rows, empty="No clients. To add one: rosterd client add NAME")


def _shown(settings: ClientSettings | None) -> tuple[str, str]:
    return ("", "") if settings is None else (settings.inbox, ", ".join(settings.failed_import_email))


def _clients(config_file: Path) -> list[Client]:
    configured = [Client(each.name, accounts.login_state(each.name), each) for each in _load(config_file).clients]
    drop_ins = config_file.absolute().parent / "clients.d"
    names = sorted(path.name.removesuffix(DISABLED_ENDING) for path in drop_ins.glob(f"*{DISABLED_ENDING}"))
    disabled = [name for name in names if re.match(CLIENT_NAME, name)]
    return configured + [Client(name, accounts.login_state(name), None) for name in disabled]


def _load(config_file: Path) -> Config:
    try:
        return load(config_file)
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_CONFIG)


@click.command(cls=ForRoot)
@name_argument
@config_file_option
@json_option
def show(name: str, config_file: Path, *, as_json: bool) -> None:
    """Show one client: login, folders, settings."""
    known = {each.name: each for each in _clients(config_file)}
    found = known.get(name)
    if found is None:
        raise unknown_client(name, known)
    if as_json:
        print_json(found)
        return
    folders = layout.folders(name, found.settings.log_socket if found.settings else "")
    wrong = [folder for folder in folders if not layout.is_made(folder)]
    settings = msgspec.to_builtins(found.settings) if found.settings else {"settings": "disabled"}
    key_file = layout.keys(name)
    print_fields(
        [
            ("login", found.login),
            ("keys", key_file if os.path.exists(key_file) else "none"),
            *(("missing or wrong", str(folder)) for folder in wrong),
            *((key, value) for key, value in settings.items() if key != "name"),
        ]
    )
