"""What sets up one client: the steps it takes, and what prevents them; for `rosterd client add` and `apply`."""

from __future__ import annotations

import json
import pwd
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from operate.provision import accounts, edits, homes, key_file, ownership, steps
from operate.provision.accounts import LoginState
from operate.provision.drop_ins import DISABLED_ENDING, settings_file, settings_files
from operate.provision.edits import Place
from operate.provision.keys import KeyRefused, PublicKey
from operate.provision.plan import Conflicts
from operate.provision.steps import Step
from watcher.settings import Config

_MAX_INBOX_BYTES: Final = 4 << 30  # of a new client: four files of the largest size


class Wanted(msgspec.Struct, frozen=True):
    """A client as it is to be: with these keys, next to others, and these settings, others as they are."""

    name: str
    keys: tuple[PublicKey, ...]
    values: dict[Place, object]


class Settings(msgspec.Struct, frozen=True):
    """The file with the table of a client, as it is and as it is to be."""

    file: Path
    before: str | None  # None: the file is new
    after: str


def settings_of(wanted: Wanted, config_file: Path, texts: Mapping[Path, str] = MappingProxyType({})) -> Settings:
    """Return the settings as they are to be; `texts` are what files are to be before that. Raises NotEditable."""
    file = edits.file_of(config_file, wanted.name)
    before = texts.get(file) or edits.text_of(file) if file else None
    fresh = {"name": wanted.name, "inbox": homes.inbox(wanted.name), "max_inbox_bytes": _MAX_INBOX_BYTES}
    table = "".join(["[[client]]\n", *(f"{key} = {json.dumps(value)}\n" for key, value in fresh.items())])
    after = edits.edited(table if before is None else before, wanted.name, wanted.values)
    return Settings(file or settings_file(config_file, wanted.name), before, after)


def plan(wanted: Wanted, settings: Settings, config: Config) -> list[Step]:
    """Return the steps, the settings last: then the service finds all that they name. Raises KeyRefused, OSError."""
    name = wanted.name
    client = config.clients_by_name.get(name)
    log_socket = str(wanted.values.get(("log_socket",), client.log_socket if client else ""))
    own = {line.key for line in key_file.present(name)}
    missing = [key.text for key in wanted.keys if key.key not in own]
    return [
        accounts.creation(name),
        *([key_file.adding(name, missing)] if missing else []),
        *map(folder_step, homes.folders(name, log_socket, has_check=_has_check(wanted, config))),
        *ownership.ownership_steps(name),
        accounts.switching(name, LoginState.OPEN),
        _settings_step(settings),
    ]


def _has_check(wanted: Wanted, config: Config) -> bool:
    client = config.clients_by_name.get(wanted.name)
    return bool(wanted.values.get(("check_folder",), client.check_folder if client else False))


def folder_step(folder: homes.Folder) -> Step:
    """Return the step that makes a folder, or corrects its owner and mode."""
    return Step(str(folder), partial(homes.is_made, folder), partial(homes.make, folder))


def _settings_step(settings: Settings) -> Step:
    if settings.before is None:
        return steps.file(settings.file, settings.after)
    return edits.rewriting(settings.file, settings.before, settings.after)


# Conflicts


def conflicts(wanted: Wanted, config_file: Path, config: Config) -> Conflicts:
    """Yield why a client cannot be set up; what is wrong with its settings is not among it."""
    name = wanted.name
    if not accounts.LOGIN_NAME.fullmatch(name):
        yield f'"{name}" cannot be a login; expected at most 31 of a-z, 0-9, "-" and "_", beginning with a letter'
        return
    yield from _host_conflicts()
    yield from _login_conflicts(name, has_settings=bool(settings_files(config_file, name)))
    log_socket = str(wanted.values.get(("log_socket",), ""))
    for folder in homes.folders(name, log_socket, has_check=_has_check(wanted, config)):
        yield from homes.obstacles(folder)
    yield from _key_conflicts(name)
    yield from _settings_conflicts(name, config_file, config)


def _host_conflicts() -> Conflicts:
    if not accounts.user_exists(homes.SERVICE_USER):
        yield f"no user {homes.SERVICE_USER}; systemd-sysusers creates it from deploy/sysusers.d/rosterd.conf"
    if not accounts.group_exists(homes.LOGIN_GROUP):
        yield f"no group {homes.LOGIN_GROUP}; systemd-sysusers creates it from deploy/sysusers.d/rosterd.conf"
    yield from homes.missing(homes.SFTP_ROOT, homes.KEYS)


def _login_conflicts(name: str, *, has_settings: bool) -> Conflicts:
    match accounts.login_state(name):
        case LoginState.FOREIGN:
            yield f"the user {name} exists and is not in {homes.LOGIN_GROUP}: choose another name"
        case LoginState.DISABLED if has_settings:
            yield f"the login {name} is disabled: rosterd client enable {name}"
        case LoginState.MISSING if accounts.group_exists(name):
            yield f"a group {name} exists without a user of that name: choose another name, or groupdel {name}"
        case _:
            home = pwd.getpwnam(name).pw_dir if accounts.user_exists(name) else homes.chroot(name)
            if home != homes.chroot(name):
                yield f"the home directory of {name} is {home}; expected {homes.chroot(name)}"


def _key_conflicts(name: str) -> Conflicts:
    try:
        key_file.present(name)
    except (KeyRefused, OSError) as error:
        yield f"{homes.keys(name)}: {error}"


def _settings_conflicts(name: str, config_file: Path, config: Config) -> Conflicts:
    if settings_file(config_file, name, DISABLED_ENDING).exists():
        yield f"{name} is disabled: rosterd client enable {name}"
        return
    client = config.clients_by_name.get(name)
    drop_in = settings_file(config_file, name)
    if client is None and drop_in.exists():
        yield f"{drop_in}: does not configure a client {name}"
    if client is not None and client.inbox != homes.inbox(name):
        yield f"{name} has the inbox {client.inbox}; expected {homes.inbox(name)}. Set up its login by hand"
