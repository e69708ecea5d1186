"""`rosterd client ...`: logins, folders and settings of client organisations, made and unmade together."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

import click
import msgspec

from importer.settings import CLIENT_NAME, ClientSettings
from operate.options import ClientName, config_file_option, did_you_mean, json_option, unknown_client
from operate.output import print_fields, print_json, print_table, shown
from operate.provision import accounts, layout, ownership, steps
from operate.provision.accounts import LoginState
from operate.provision.drop_ins import DISABLED_ENDING, ENDING, clients_of, settings_file, settings_files
from operate.provision.keys import KeyRefused, PublicKey, read_public_keys
from operate.provision.steps import Step
from watcher.config import ConfigError, load
from watcher.exits import EXIT_CANNOT_ANSWER, EXIT_CONFIG, EXIT_NOT_PERMITTED
from watcher.settings import Config

_Conflicts = Iterator[str]

_apply_option: Final = click.option("--apply", is_flag=True, help="Do it, instead of showing what would be done.")
_name_argument: Final = click.argument("name", type=ClientName())


class Client(msgspec.Struct, frozen=True):
    """A client as the host has it."""

    name: str
    login: LoginState
    settings: ClientSettings | None  # None: disabled, or not readable


class _ForRoot(click.Command):
    """A command that ends with EXIT_NOT_PERMITTED for everybody else."""

    def invoke(self, ctx: click.Context) -> object:
        if os.geteuid() != 0:
            click.echo(f"{ctx.command_path}: only root may do this", err=True)
            sys.exit(EXIT_NOT_PERMITTED)
        return super().invoke(ctx)


class _ForRootGroup(click.Group):
    command_class = _ForRoot


@click.group(cls=_ForRootGroup)
def client() -> None:
    """Add, show, disable or remove a client: its login, its folders and its settings."""


@client.command()
@_name_argument
@click.option("--email", "emails", metavar="ADDRESS", multiple=True, help="Who hears of failed imports. Repeatable.")
@click.option(
    "--key",
    "key_file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The client's public keys, one a line.",
)
@click.option("--log-sessions", is_flag=True, help="Let rosterd hear which uploads broke off: a socket in the chroot.")
@config_file_option
@_apply_option
def add(
    name: str, emails: Sequence[str], key_file: Path | None, config_file: Path, *, log_sessions: bool, apply: bool
) -> None:
    """
    Set up a client: login for SFTP only, folders, settings.

    Shows each step; --apply does it. What is there already is left, or set right when it is the client's. Nothing is
    begun when anything is in the way.
    """
    wanted = ClientSettings(
        name=name,
        inbox=layout.inbox(name),
        failed_import_email=tuple(emails),
        log_socket=layout.LOG_SOCKET if log_sessions else "",
    )
    keys = _read_keys(key_file) if key_file else ()
    _refuse(_adding_conflicts(wanted, config_file))
    found = load(config_file).clients_by_name.get(name)
    _play(
        [
            accounts.creation(name),
            *([_key_step(name, keys)] if keys else []),
            *(_folder_step(folder) for folder in layout.folders(name, (found or wanted).log_socket)),
            *ownership.mending(name),
            accounts.switching(name, LoginState.OPEN),
            # What is there may have been edited since.
            *([] if found else [steps.file(settings_file(config_file, name), _settings(wanted))]),
        ],
        apply=apply,
    )
    if apply:
        _print_handout(name)


def _read_keys(key_file: Path) -> Sequence[PublicKey]:
    try:
        return read_public_keys(key_file)
    except KeyRefused as error:
        _fail("Nothing was done:", f"  {error}")


def _key_step(name: str, keys: Sequence[PublicKey]) -> Step:
    shows = "\n".join([f"write {layout.keys(name)}:", *(key.fingerprint for key in keys)])
    return steps.file(Path(layout.keys(name)), "".join(f"{key.text}\n" for key in keys), shows)


def _folder_step(folder: layout.Folder) -> Step:
    return Step(str(folder), partial(layout.is_made, folder), partial(layout.make, folder))


def _settings(client: ClientSettings) -> str:
    """Return the drop-in of a client; strings and lists are written as JSON writes them."""
    keys = ("name", "inbox", "failed_import_email", "log_socket")
    given = {key: value for key in keys if (value := getattr(client, key))}
    return "".join(["[[client]]\n", *(f"{key} = {json.dumps(value)}\n" for key, value in given.items())])


# What is in the way


def _adding_conflicts(wanted: ClientSettings, config_file: Path) -> _Conflicts:
    name = wanted.name
    if not accounts.LOGIN_NAME.fullmatch(name):
        yield f'"{name}" cannot be a login: up to 31 of a-z, 0-9, "-" and "_", a letter first'
        return
    yield from _host_conflicts()
    yield from _login_conflicts(name, has_settings=bool(settings_files(config_file, name)))
    for folder in layout.folders(name, wanted.log_socket):
        yield from layout.obstacles(folder)
    if settings_file(config_file, name, DISABLED_ENDING).exists():
        yield f"{name} is disabled: rosterd client enable {name}"
    else:
        yield from _settings_conflicts(wanted, config_file)


def _host_conflicts() -> _Conflicts:
    if not accounts.user_exists(layout.SERVICE_USER):
        yield f"there is no user {layout.SERVICE_USER}: systemd-sysusers makes it from deploy/sysusers.d/rosterd.conf"
    if not accounts.group_exists(layout.LOGIN_GROUP):
        yield f"there is no group {layout.LOGIN_GROUP}: systemd-sysusers makes it from deploy/sysusers.d/rosterd.conf"
    for folder in (layout.SFTP_ROOT, layout.KEYS):
        if not os.path.isdir(folder):
            yield f"{folder}: is missing: systemd-tmpfiles --create makes it from deploy/tmpfiles.d/rosterd.conf"


def _login_conflicts(name: str, *, has_settings: bool) -> _Conflicts:
    match accounts.login_state(name):
        case LoginState.FOREIGN:
            yield f"the user {name} exists and is not in {layout.LOGIN_GROUP}: choose another name"
        case LoginState.DISABLED if has_settings:
            yield f"the login {name} is disabled: rosterd client enable {name}"
        case LoginState.MISSING if accounts.group_exists(name):
            yield f"a group {name} exists without a user of that name: choose another name, or groupdel {name}"
        case _:
            home = pwd.getpwnam(name).pw_dir if accounts.user_exists(name) else layout.chroot(name)
            if home != layout.chroot(name):
                yield f"the home of {name} is {home}; expected {layout.chroot(name)}"


def _settings_conflicts(wanted: ClientSettings, config_file: Path) -> _Conflicts:
    """Yield what the configuration would say against the client, or against what there is of it."""
    drop_in = settings_file(config_file, wanted.name)
    if not drop_in.exists():
        yield from _problems_with(drop_in.name, _settings(wanted), config_file)
        return
    try:
        found = load(config_file).clients_by_name.get(wanted.name)
    except ConfigError as error:
        yield from error.problems
        return
    if found is None or found.inbox != wanted.inbox:
        yield f"{drop_in}: is not about a client {wanted.name} with inbox {wanted.inbox}"
        return
    if wanted.failed_import_email not in ((), found.failed_import_email):
        yield f"{drop_in}: names other addresses; to change them, edit that file"
    if wanted.log_socket not in ("", found.log_socket):
        yield f'{drop_in}: has no log_socket = "{wanted.log_socket}"; add it there, then run this again'


def _problems_with(drop_in_name: str, settings: str, config_file: Path) -> _Conflicts:
    """Yield the problems of the configuration with one drop-in more, by loading a copy of it that has it."""
    folder = config_file.absolute().parent
    with tempfile.TemporaryDirectory() as copy:
        try:
            shutil.copy(config_file, copy)
            drop_ins = Path(copy, "clients.d")
            shutil.copytree(folder / "clients.d", drop_ins)
            (drop_ins / drop_in_name).write_text(settings, encoding="utf-8")
            load(Path(copy, config_file.name), base=folder)
        except OSError as error:
            yield f"{error.filename}: {error.strerror}"
        except ConfigError as error:
            yield from error.problems


def _refuse(conflicts: _Conflicts) -> None:
    """End when there is a conflict: nothing is begun that cannot be brought to its end."""
    if found := list(conflicts):
        _fail("Nothing was done:", *(f"  {conflict}" for conflict in found))


def _fail(*lines: str) -> NoReturn:
    click.echo("\n".join(lines), err=True)
    sys.exit(EXIT_CANNOT_ANSWER)


def _play(plan: Sequence[Step], *, apply: bool) -> None:
    try:
        steps.play(plan, apply=apply)
    except steps.StepFailed as error:
        _fail(str(error))


# What to tell the client


def _print_handout(name: str) -> None:
    click.echo("\nTo give to the client:")
    rows = [("host", socket.getfqdn()), ("login", name), ("folder", "/upload")]
    print_fields([*rows, *(("host key", key) for key in host_keys())])
    key_file = layout.keys(name)
    if not os.path.exists(key_file):
        click.echo(f"\nLeft to you: their public key into {key_file}, or a password by passwd {name}.")
    click.echo(f"\nNext: rosterd doctor; rosterd guide --client {name} --html > {name}.html, a page to send them.")


def host_keys() -> list[str]:
    """Return the fingerprints by which a client knows this host, "SHA256:... (ED25519)"; none where it has no keys."""
    found = sorted(Path("/etc/ssh").glob("ssh_host_*_key.pub"))
    listed = (subprocess.run(["ssh-keygen", "-lf", key], capture_output=True, text=True, check=False) for key in found)  # noqa: S603, S607 - as the host's PATH has it
    return [f"{words[1]} {words[-1]}" for done in listed if len(words := done.stdout.split()) > 2]  # noqa: PLR2004 - bits, fingerprint, comment, kind


# Looking


@client.command("list")
@config_file_option
@json_option
def list_clients(config_file: Path, *, as_json: bool) -> None:
    """List all clients, those that are disabled, too."""
    found = _clients(config_file)
    if as_json:
        print_json(found)
        return
    rows = [(each.name, each.login, *_shown(each.settings)) for each in found]
    print_table(("client", "login", "inbox", "mail"), rows, empty="There is no client: rosterd client add NAME")


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


@client.command()
@_name_argument
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
            *(("not as made by client add", str(folder)) for folder in wrong),
            *((key, value) for key, value in settings.items() if key != "name"),
        ]
    )


# Ending


@client.command()
@_name_argument
@config_file_option
@_apply_option
def disable(name: str, config_file: Path, *, apply: bool) -> None:
    """Close a client's login and stop looking into its inbox. All it has stays where it is."""
    _switch(name, config_file, LoginState.DISABLED, apply=apply)
    _tell_sessions(name)


@client.command()
@_name_argument
@config_file_option
@_apply_option
def enable(name: str, config_file: Path, *, apply: bool) -> None:
    """Take back what `disable` did."""
    _switch(name, config_file, LoginState.OPEN, apply=apply)


def _switch(name: str, config_file: Path, wanted: LoginState, *, apply: bool) -> None:
    """Bring login and drop-in into a state, a client's only."""
    _refuse(_switching_conflicts(name, config_file))
    drop_ins = [settings_file(config_file, name, ending) for ending in (ENDING, DISABLED_ENDING)]
    before, after = drop_ins if wanted is LoginState.DISABLED else reversed(drop_ins)
    _play([accounts.switching(name, wanted), steps.renaming(before, after)], apply=apply)


@client.command()
@_name_argument
@click.option("--with-files", is_flag=True, help="Delete its folders, too: inbox, archive, results.")
@config_file_option
@_apply_option
def remove(name: str, config_file: Path, *, with_files: bool, apply: bool) -> None:
    """Remove a client's login, keys and settings. Its folders stay, unless --with-files; so do its recorded users."""
    _refuse(_removing_conflicts(name, config_file, with_files=with_files))
    _play(
        [
            # First nobody comes in any more, last the numbers of the login are free for another one.
            accounts.switching(name, LoginState.DISABLED),
            *(_deleting(name) if with_files else _handing_over(name, config_file)),
            steps.deletion(Path(layout.keys(name))),
            *map(steps.deletion, settings_files(config_file, name)),
            accounts.removal(name),
        ],
        apply=apply,
    )


def _deleting(name: str) -> list[Step]:
    chroot = layout.chroot(name)
    return [steps.command(("rm", "-rf", chroot), lambda: not os.path.lexists(chroot))]


def _handing_over(name: str, config_file: Path) -> list[Step]:
    """Return the steps for all folders of a client, an inbox of another place included."""
    folders = [layout.chroot(name)]
    with contextlib.suppress(ConfigError):
        if (found := load(config_file).clients_by_name.get(name)) and not layout.is_below(found.inbox, folders[0]):
            folders.append(found.inbox)
    return [step for folder in folders for step in ownership.handing_over(name, folder)]


def _ending_conflicts(name: str, config_file: Path) -> _Conflicts:
    if accounts.login_state(name) is LoginState.FOREIGN:
        yield f"the user {name} is not in {layout.LOGIN_GROUP}: not a client"
    for drop_in in settings_files(config_file, name):
        if others := sorted(clients_of(drop_in) - {name}):
            yield f"{drop_in}: is about {shown(tuple(others))}; expected {name} alone. Move what is not about it away"


def _switching_conflicts(name: str, config_file: Path) -> _Conflicts:
    yield from _ending_conflicts(name, config_file)
    found = settings_files(config_file, name)
    if not found:
        yield _elsewhere(name, config_file) + _nearest(name, config_file)
    if len(found) > 1:
        yield f"{found[0]} and {found[1].name} are both there: move away the one that is not to be used"


def _elsewhere(name: str, config_file: Path) -> str:
    return f"{settings_file(config_file, name)}: is missing; a client in another file is changed there, by hand"


def _nearest(name: str, config_file: Path) -> str:
    files = settings_file(config_file, name).parent.glob("*.toml*")
    return did_you_mean(name, {path.name.partition(".toml")[0] for path in files})


def _removing_conflicts(name: str, config_file: Path, *, with_files: bool) -> _Conflicts:
    """Yield what speaks against a removal; what an earlier one that was cut off has removed does not."""
    left: tuple[str | Path, ...] = (layout.chroot(name), layout.keys(name), *settings_files(config_file, name))
    if not accounts.user_exists(name) and not any(os.path.lexists(path) for path in left):
        yield f"there is nothing of a client {name} on this host;{_nearest(name, config_file)} see rosterd client list"
    yield from _ending_conflicts(name, config_file)
    yield from _configured_conflicts(name, config_file, with_files=with_files)
    if os.path.islink(layout.chroot(name)):
        yield f"{layout.chroot(name)}: is a link. Delete it, and decide about what it leads to"
    if accounts.user_exists(name) and (sessions := list(accounts.processes(name))):
        yield f"{name} is logged in: disable it, then end its sessions: kill {' '.join(map(str, sessions))}"
    if not with_files:
        yield from _unfinished(name)


def _configured_conflicts(name: str, config_file: Path, *, with_files: bool) -> _Conflicts:
    """Yield what would stay configured, and what of it would lose its folder."""
    with contextlib.suppress(ConfigError):  # a broken configuration is no reason to keep a client
        for each in load(config_file).clients:
            if each.name == name and not settings_files(config_file, name):
                yield _elsewhere(name, config_file)
            if with_files and each.name != name and layout.is_below(each.inbox, layout.chroot(name)):
                yield f"{layout.chroot(name)}: holds the inbox of {each.name}, {each.inbox}. Move that away"


def _unfinished(name: str) -> _Conflicts:
    """Yield that uploads would be left behind."""
    for folder, ours in ((layout.inbox(name), {".work", ".bak"}), (f"{layout.inbox(name)}/.work", set[str]())):
        if os.path.isdir(folder) and not os.path.islink(folder) and (left := set(os.listdir(folder)) - ours):
            yield f"{folder}: holds {len(left)} uploads that are not imported. Wait for them, or use --with-files"


def _tell_sessions(name: str) -> None:
    if accounts.user_exists(name) and (sessions := list(accounts.processes(name))):
        click.echo(f"{name} is logged in now. To end its sessions: kill {' '.join(map(str, sessions))}")
