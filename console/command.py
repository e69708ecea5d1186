"""`rosterd console`: the operator's web page, and who may log in to it."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Final, NoReturn

import click
import msgspec

from console.access import users
from console.access.users import ConsoleUser, Role, UsersUnreadable, changing, read_users
from operate.database import cannot_answer
from operate.options import Abbreviated, ClientName, config_option, json_option, unknown_client
from operate.output import print_json, print_table
from watcher.control.client import OTHERS
from watcher.exits import EXIT_CONFIG, EXIT_IO_ERROR
from watcher.owner import NotOwner, become, become_owner, check_access, console_of, make
from watcher.settings import Config

EXIT_NOT_DONE: Final = 1
_LIBRARIES: Final = ("jinja2", "litestar", "uvicorn")
_EXAMPLE: Final = "openssl rand -base64 18"

_name_argument: Final = click.argument("name")


@click.group(cls=Abbreviated, default="run")
def console() -> None:
    """
    Serve the operator's web page, or say who may log in to it.

    `rosterd console` is short for `rosterd console run`.
    """


@console.command()
@config_option
def run(config: Config) -> None:
    """
    Serve the web page until stopped, at the address of [console] in config.toml.

    The page shows what the commands show. It changes nothing by itself: what is decided there is done by the service.
    """
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        cannot_answer(f'the console needs {", ".join(missing)}: pip install "rosterd[console]"')
    if config.console.listen.startswith("/") and not config.console.url:
        click.echo("config.toml console.url: is not set; expected the address of the proxy in a browser", err=True)
        sys.exit(EXIT_CONFIG)
    if config.console.proxy_user_header and not config.console.listen.startswith("/"):
        click.echo(
            "config.toml console.proxy_user_header: anybody could send it; expected listen = a path.sock", err=True
        )
        sys.exit(EXIT_CONFIG)
    _become_reader(config.service.state_dir)
    check_access(config.service.place, os.O_RDONLY)
    from console.serve import listener, serve
    from watcher.log import configured

    try:
        listening = listener(config.console.listen)
    except OSError as error:
        click.echo(f"{config.console.listen}: cannot listen there: {error.strerror or error}", err=True)
        sys.exit(EXIT_IO_ERROR)
    with listening, configured(config.log):
        serve(config, listening)


@console.group()
def user() -> None:
    """Say who may log in to the web page."""


@user.command()
@_name_argument
@click.option("--role", type=click.Choice(["viewer", "operator"]), required=True, help="An operator may decide.")
@click.option(
    "--client", "clients", metavar="NAME", type=ClientName(), multiple=True, help="Only this client. Repeatable."
)
@click.option("--no-password", is_flag=True, help="For whom a proxy lets in, see [console] proxy_user_header.")
@config_option
def add(config: Config, name: str, role: Role, clients: tuple[str, ...], *, no_password: bool) -> None:
    """
    Let a person log in, or give one another role; the password is asked for, or the line on standard input.

    A viewer sees everything and changes nothing. With --client, the person sees nothing of other clients.
    """
    _check_name(name)
    for client in clients:
        if client not in config.clients_by_name:
            raise unknown_client(client, config.clients_by_name)
    _become_writer(config.service.state_dir)
    new = ConsoleUser(name=name, role=role, clients=tuple(dict.fromkeys(clients)), salt="", key="")
    new = new if no_password else users.with_password(new, _ask(name))
    _change(config, lambda known: known.update({name: new}))
    whom = f" of {', '.join(new.clients)}" if new.clients else ""
    click.echo(f"{name} may log in as {role}{whom}")


@user.command()
@_name_argument
@config_option
def password(config: Config, name: str) -> None:
    """Give a person another password; who is logged in by the old one has to log in again."""
    _become_writer(config.service.state_dir)
    _known(config, name)
    new = _ask(name)
    _change(config, lambda known: known.update({name: users.with_password(known[name], new)}))
    click.echo(f"{name} has a new password")


@user.command()
@_name_argument
@config_option
def remove(config: Config, name: str) -> None:
    """Let a person in no more; whoever is logged in is logged out."""
    _become_writer(config.service.state_dir)
    _known(config, name)
    _change(config, lambda known: known.pop(name, None))
    click.echo(f"{name} may not log in any more")


@user.command(name="list")
@config_option
@json_option
def list_(config: Config, *, as_json: bool) -> None:
    """List who may log in."""
    known = _read(config)
    if as_json:
        rows = [{"name": each.name, "role": each.role, "clients": each.clients} for each in known.values()]
        print_json(rows)
        return
    table = [(each.name, each.role, each.clients or "all") for each in known.values()]
    print_table(("name", "role", "clients"), table, empty="Nobody: `rosterd console user add NAME --role operator`.")


def _become_reader(state_dir: str) -> None:
    """Run as the console's user, or as that of the service, if this is root."""
    os.umask(0o077)
    if os.geteuid() == 0:
        if ids := console_of(state_dir):
            become(*ids)
        else:
            become_owner(state_dir)


def _become_writer(state_dir: str) -> None:
    """Run as who may change the file of users."""
    os.umask(0o077)
    if console_of(state_dir) is None:
        become_owner(state_dir)
    elif os.geteuid() == 0:
        make(state_dir)
    else:
        raise NotOwner(f"{state_dir}: root says who may log in to the console; run it as root")


def _read(config: Config) -> dict[str, ConsoleUser]:
    try:
        return read_users(config.service.state_dir)
    except UsersUnreadable as error:
        cannot_answer(str(error))


def _change(config: Config, change: Callable[[dict[str, ConsoleUser]], object]) -> None:
    try:
        with changing(config.service.state_dir, console_of(config.service.state_dir)) as known:
            change(known)
    except UsersUnreadable as error:
        cannot_answer(str(error))


def _known(config: Config, name: str) -> None:
    known = _read(config)
    if name not in known:
        _fail(f'no user "{name}"; known users: {", ".join(known) or "none"}')


def _check_name(name: str) -> None:
    try:
        msgspec.convert({"name": name, "role": "viewer", "salt": "", "key": ""}, ConsoleUser)
    except msgspec.ValidationError:
        raise click.UsageError(f"a name has {users.NAME_IN_WORDS}") from None
    if name in OTHERS:
        raise click.UsageError(f"{name}: expected another name, as the ledger says so of those who have none")


def _ask(name: str) -> str:
    """Return the new password; ends the program when it cannot be one."""
    if sys.stdin.isatty():
        new = str(click.prompt(f"New password of {name}", hide_input=True, confirmation_prompt=True, err=True))
    else:
        new = sys.stdin.read(4 * users.MOST_CHARS).removesuffix("\n").removesuffix("\r")
    if not (users.FEWEST_CHARS <= len(new) <= users.MOST_CHARS and new.isprintable()):
        expected = f"one line of {users.FEWEST_CHARS} to {users.MOST_CHARS} characters, such as from {_EXAMPLE}"
        _fail(f"the password cannot be used; expected {expected}")
    return new


def _fail(reason: str) -> NoReturn:
    click.echo(f"Nothing was changed: {reason}", err=True)
    sys.exit(EXIT_NOT_DONE)
