"""`rosterd client add`: what it makes, and what is in the way."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from importer.settings import ClientSettings
from operate.options import config_file_option
from operate.output import print_fields
from operate.provision import accounts, layout, ownership, steps
from operate.provision.accounts import LoginState
from operate.provision.drop_ins import DISABLED_ENDING, settings_file, settings_files
from operate.provision.keys import KeyRefused, PublicKey, host_keys, read_public_keys
from operate.provision.plan import Conflicts, ForRoot, apply_option, fail, name_argument, play, refuse
from operate.provision.steps import Step
from watcher.config import ConfigError, load


@click.command(cls=ForRoot)
@name_argument
@click.option("--email", "emails", metavar="ADDRESS", multiple=True, help="Recipient of failure reports. Repeatable.")
@click.option(
    "--key",
    "key_file",
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
    name: str, emails: Sequence[str], key_file: Path | None, config_file: Path, *, log_sessions: bool, apply: bool
) -> None:
    """
    Set up a client: an SFTP-only login, folders and settings.

    Shows each step; --apply executes it. Existing parts are kept, or corrected if they are the client's. If anything is
    in the way, nothing is changed.
    """
    wanted = ClientSettings(
        name=name,
        inbox=layout.inbox(name),
        failed_import_email=tuple(emails),
        log_socket=layout.LOG_SOCKET if log_sessions else "",
    )
    keys = _read_keys(key_file) if key_file else ()
    refuse(_adding_conflicts(wanted, config_file))
    found = load(config_file).clients_by_name.get(name)
    play(
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
        fail("Nothing was changed:", f"  {error}")


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


def _adding_conflicts(wanted: ClientSettings, config_file: Path) -> Conflicts:
    name = wanted.name
    if not accounts.LOGIN_NAME.fullmatch(name):
        yield f'"{name}" cannot be a login; expected at most 31 of a-z, 0-9, "-" and "_", beginning with a letter'
        return
    yield from _host_conflicts()
    yield from _login_conflicts(name, has_settings=bool(settings_files(config_file, name)))
    for folder in layout.folders(name, wanted.log_socket):
        yield from layout.obstacles(folder)
    if settings_file(config_file, name, DISABLED_ENDING).exists():
        yield f"{name} is disabled: rosterd client enable {name}"
    else:
        yield from _settings_conflicts(wanted, config_file)


def _host_conflicts() -> Conflicts:
    if not accounts.user_exists(layout.SERVICE_USER):
        yield f"no user {layout.SERVICE_USER}; systemd-sysusers creates it from deploy/sysusers.d/rosterd.conf"
    if not accounts.group_exists(layout.LOGIN_GROUP):
        yield f"no group {layout.LOGIN_GROUP}; systemd-sysusers creates it from deploy/sysusers.d/rosterd.conf"
    for folder in (layout.SFTP_ROOT, layout.KEYS):
        if not os.path.isdir(folder):
            yield f"{folder}: does not exist; systemd-tmpfiles --create creates it: deploy/tmpfiles.d/rosterd.conf"


def _login_conflicts(name: str, *, has_settings: bool) -> Conflicts:
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
                yield f"the home directory of {name} is {home}; expected {layout.chroot(name)}"


def _settings_conflicts(wanted: ClientSettings, config_file: Path) -> Conflicts:
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
        yield f"{drop_in}: does not configure a client {wanted.name} with inbox {wanted.inbox}"
        return
    if wanted.failed_import_email not in ((), found.failed_import_email):
        yield f"{drop_in}: has other addresses; to change them, edit that file"
    if wanted.log_socket not in ("", found.log_socket):
        yield f'{drop_in}: has no log_socket = "{wanted.log_socket}"; add it there, then run this again'


def _problems_with(drop_in_name: str, settings: str, config_file: Path) -> Conflicts:
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


# What to tell the client


def _print_handout(name: str) -> None:
    click.echo("\nGive this to the client:")
    rows = [("host", socket.getfqdn()), ("login", name), ("folder", "/upload")]
    print_fields([*rows, *(("host key", key) for key in host_keys())])
    key_file = layout.keys(name)
    if not os.path.exists(key_file):
        click.echo(f"\nStill to do: put their public key into {key_file}, or set a password with passwd {name}.")
    click.echo(f"\nNext: rosterd doctor; rosterd guide --client {name} --html > {name}.html, a page to send them.")
