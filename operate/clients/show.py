"""`rosterd client list` and `show`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click
import msgspec

from importer.settings import CLIENT_NAME, ClientSettings
from operate.clients.key import Key, listed_keys
from operate.clients.last_login import LastLogin, NotKnown, last_login
from operate.options import config_file_option, json_option, unknown_client
from operate.output import print_fields, print_json, print_table, shown
from operate.provision import accounts, homes
from operate.provision.accounts import LoginState
from operate.provision.drop_ins import DISABLED_ENDING
from operate.provision.keys import KeyRefused
from operate.provision.plan import ForRoot, name_argument
from watcher.config import ConfigError, load
from watcher.exits import EXIT_CONFIG
from watcher.settings import Config


class Client(msgspec.Struct, frozen=True):
    """A client as found on the host."""

    name: str
    login: LoginState
    settings: ClientSettings | None  # None: disabled, or not readable


class _Details(msgspec.Struct, frozen=True):
    """A client with what `show` tells besides."""

    name: str
    login: LoginState
    settings: ClientSettings | None
    keys: list[Key]
    keys_trouble: str  # why they cannot be listed
    password: str
    last_login: LastLogin | None
    last_login_unknown: str  # where it was looked for in vain


@click.command("list", cls=ForRoot)
@config_file_option
@json_option
def list_clients(config_file: Path, *, as_json: bool) -> None:
    """List all clients, including disabled ones."""
    clients = _clients(config_file)
    if as_json:
        print_json(clients)
        return
    rows = [(each.name, each.login, *_shown(each.settings)) for each in clients]
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
    """Show one client: login, keys, last login, folders, settings."""
    known = {each.name: each for each in _clients(config_file)}
    client = known.get(name)
    if client is None:
        raise unknown_client(name, known)
    details = _details(client)
    if as_json:
        print_json(details)
        return
    settings = client.settings
    folders = homes.folders(
        name, settings.log_socket if settings else "", has_check=settings is not None and settings.check_folder
    )
    wrong = [folder for folder in folders if not homes.is_made(folder)]
    listed = msgspec.to_builtins(settings) if settings else {"settings": "disabled"}
    print_fields(
        [
            ("login", client.login),
            ("last login", _described(details)),
            *(("key", _described_key(key)) for key in details.keys),
            *([] if details.keys else [("keys", details.keys_trouble or "none")]),
            ("password", details.password),
            *(("missing or wrong", str(folder)) for folder in wrong),
            *((key, value) for key, value in listed.items() if key != "name"),
        ]
    )


def _details(client: Client) -> _Details:
    trouble, keys, login, unknown = "", list[Key](), None, ""
    try:
        keys = listed_keys(client.name)
    except (KeyRefused, OSError) as error:
        trouble = f"{homes.keys(client.name)}: {error}"
    try:
        login = last_login(client.name)
    except NotKnown as error:
        unknown = str(error)
    password = accounts.password_state(client.name)
    return _Details(client.name, client.login, client.settings, keys, trouble, password, login, unknown)


def _described(details: _Details) -> str:
    login = details.last_login
    if login is None:
        return f"unknown: {details.last_login_unknown}"
    key = next((key for key in details.keys if key.fingerprint == login.fingerprint), None)
    by = f"key {key.number}, {key.comment}" if key else f"a key that is revoked, {login.fingerprint}"
    return f"{shown(login.at)} UTC from {login.address}, by {by if login.fingerprint else login.by}"


def _described_key(key: Key) -> str:
    until = (
        f", {'expired' if key.state == 'expired' else 'expires'} {shown(key.expires_at)} UTC" if key.expires_at else ""
    )
    return f"{key.number}: {key.fingerprint or 'not a key'} {key.kind} {key.comment}{until}"
