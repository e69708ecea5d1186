"""`rosterd client disable`, `enable` and `remove`, and what prevents each."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import click

from operate.clients.reload import complete
from operate.options import config_file_option, did_you_mean, unknown_client
from operate.output import shown
from operate.provision import accounts, homes, ownership, steps
from operate.provision.accounts import LoginState
from operate.provision.drop_ins import DISABLED_ENDING, ENDING, clients_of, known_names, settings_file, settings_files
from operate.provision.plan import Conflicts, ForRoot, apply_option, name_argument, play, refuse
from operate.provision.steps import Step
from watcher.config import ConfigError, load


@click.command(cls=ForRoot)
@name_argument
@config_file_option
@apply_option
def disable(name: str, config_file: Path, *, apply: bool) -> None:
    """Disable a client's login and stop importing its uploads. Its files stay where they are."""
    _switch(name, config_file, LoginState.DISABLED, apply=apply)
    report_sessions(name)


@click.command(cls=ForRoot)
@name_argument
@config_file_option
@apply_option
def enable(name: str, config_file: Path, *, apply: bool) -> None:
    """Enable a disabled client again."""
    _switch(name, config_file, LoginState.OPEN, apply=apply)


def _switch(name: str, config_file: Path, wanted: LoginState, *, apply: bool) -> None:
    """Enable or disable login and drop-in, only of a client."""
    refuse(_switching_conflicts(name, config_file))
    drop_ins = [settings_file(config_file, name, ending) for ending in (ENDING, DISABLED_ENDING)]
    before, after = drop_ins if wanted is LoginState.DISABLED else reversed(drop_ins)
    play([accounts.switching(name, wanted), steps.renaming(before, after)], apply=apply)
    if apply:
        complete(config_file)


@click.command(cls=ForRoot)
@name_argument
@click.option("--with-files", is_flag=True, help="Also delete its folders: inbox, archive, results.")
@config_file_option
@apply_option
def remove(name: str, config_file: Path, *, with_files: bool, apply: bool) -> None:
    """Remove a client's login, keys and settings. Recorded users stay; so do folders, unless --with-files."""
    refuse(_removing_conflicts(name, config_file, with_files=with_files))
    play(
        [
            # First the login is disabled; last its ids become free for another one.
            accounts.switching(name, LoginState.DISABLED),
            *(_deleting(name) if with_files else _handing_over(name, config_file)),
            steps.deletion(Path(homes.keys(name))),
            *map(steps.deletion, settings_files(config_file, name)),
            accounts.removal(name),
        ],
        apply=apply,
    )
    if apply:
        complete(config_file)


def _deleting(name: str) -> list[Step]:
    chroot = homes.chroot(name)
    return [steps.command(("rm", "-rf", chroot), lambda: not os.path.lexists(chroot))]


def _handing_over(name: str, config_file: Path) -> list[Step]:
    """Return the steps for all folders of a client, with an inbox elsewhere."""
    folders = [homes.chroot(name)]
    with contextlib.suppress(ConfigError):
        if (client := load(config_file).clients_by_name.get(name)) and not homes.is_below(client.inbox, folders[0]):
            folders.append(client.inbox)
    return [step for folder in folders for step in ownership.handing_over(name, folder)]


def _ending_conflicts(name: str, config_file: Path) -> Conflicts:
    if accounts.login_state(name) is LoginState.FOREIGN:
        yield f"the user {name} is not in {homes.LOGIN_GROUP}, so it is not a client"
    for drop_in in settings_files(config_file, name):
        if others := sorted(clients_of(drop_in) - {name}):
            yield f"{drop_in}: also configures {shown(tuple(others))}; move that to another file"


def _switching_conflicts(name: str, config_file: Path) -> Conflicts:
    yield from _ending_conflicts(name, config_file)
    files = settings_files(config_file, name)
    if not files:
        yield _no_own_file(name, config_file) + _nearest(name, config_file)
    if len(files) > 1:
        yield f"{files[0]} and {files[1].name} both exist; move away the one that is not to be used"


def _no_own_file(name: str, config_file: Path) -> str:
    return f"{settings_file(config_file, name)}: does not exist; change a client of another file there, by hand"


def _nearest(name: str, config_file: Path) -> str:
    return did_you_mean(name, known_names(config_file))


def _removing_conflicts(name: str, config_file: Path, *, with_files: bool) -> Conflicts:
    """Yield what prevents a removal; not what an interrupted earlier one has already removed."""
    left: tuple[str | Path, ...] = (homes.chroot(name), homes.keys(name), *settings_files(config_file, name))
    if not accounts.user_exists(name) and not any(os.path.lexists(path) for path in left):
        yield f"there is no client {name} on this host;{_nearest(name, config_file)} see rosterd client list"
    yield from _ending_conflicts(name, config_file)
    yield from _configured_conflicts(name, config_file, with_files=with_files)
    if os.path.islink(homes.chroot(name)):
        yield f"{homes.chroot(name)}: is a symbolic link. Delete it, and decide what to do with its target"
    if accounts.user_exists(name) and (sessions := list(accounts.processes(name))):
        yield f"{name} is logged in: disable it, then end its sessions: kill {' '.join(map(str, sessions))}"
    if not with_files:
        yield from _unfinished(name)


def _configured_conflicts(name: str, config_file: Path, *, with_files: bool) -> Conflicts:
    """Yield what would stay configured, and which of that would lose its folder."""
    with contextlib.suppress(ConfigError):  # a broken configuration is no reason to keep a client
        for each in load(config_file).clients:
            if each.name == name and not settings_files(config_file, name):
                yield _no_own_file(name, config_file)
            if with_files and each.name != name and homes.is_below(each.inbox, homes.chroot(name)):
                yield f"{homes.chroot(name)}: contains the inbox of {each.name}, {each.inbox}. Move that away"


def _unfinished(name: str) -> Conflicts:
    """Yield that uploads would be left behind."""
    for folder, ours in ((homes.inbox(name), {".work", ".bak"}), (f"{homes.inbox(name)}/.work", set[str]())):
        if os.path.isdir(folder) and not os.path.islink(folder) and (left := set(os.listdir(folder)) - ours):
            yield f"{folder}: contains {len(left)} uploads that are not imported. Wait for them, or use --with-files"


def login_conflicts(name: str, config_file: Path) -> Conflicts:
    """Yield why a login is not to be changed; one that is not there is a usage error."""
    match accounts.login_state(name):
        case LoginState.MISSING:
            raise unknown_client(name, known_names(config_file))
        case LoginState.FOREIGN:
            yield f"the user {name} is not in {homes.LOGIN_GROUP}, so it is not a client"
        case _:
            return


def report_sessions(name: str) -> None:
    """Say which sessions of a client are open, and how to end them."""
    if accounts.user_exists(name) and (sessions := list(accounts.processes(name))):
        click.echo(f"{name} is logged in now. To end its sessions: kill {' '.join(map(str, sessions))}")
