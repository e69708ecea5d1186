"""What a restore does to a host, as steps."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from operate.backup import login_steps, placing
from operate.backup.holdings import drop_ins
from operate.backup.manifest import CONFIG, DATABASE, USERS, member_name, parts_of
from operate.backup.target import Target, begin, end, has_begun
from operate.provision import homes
from operate.provision.steps import Step
from watcher.lock import RESTORING
from watcher.owner import console_of
from watcher.settings import CONSOLE_USERS

_READ_BY_GROUP: Final = ("named/", "settings/hook_")


def steps_of(target: Target) -> list[Step]:
    """Return the steps in their order, see `restore`."""
    backup, service = target.backup, target.service
    database = Path(target.config.service.database)
    users = Path(target.state_dir, CONSOLE_USERS)
    begins = f"begin: keep the service from starting by {target.state_dir}/{RESTORING}"
    return [
        Step(
            begins,
            partial(has_begun, target),
            partial(begin, target),
        ),
        *login_steps.creations(target.logins),
        *(Step(str(each), partial(homes.is_made, each), partial(homes.make, each)) for each in target.folders()),
        *(
            placing.files_of(backup, each, placing.Owners(service, target.login_of(each), each.inbox))
            for each in target.places
        ),
        *placing.mail(backup, Path(target.config.mail.maildir), service),
        *(placing.database(backup, each, database, service) for each in backup.below(DATABASE)),
        *placing.pgp(backup, Path(target.config.file.pgp_home), service),
        *(
            placing.own_file(backup, each, users, console_of(target.state_dir) or service)
            for each in backup.below(USERS)
        ),
        *_settings(target),
        *_access(target),
        Step("end: sync, and let the service start", lambda: False, partial(end, target)),
    ]


def _settings(target: Target) -> Iterator[Step]:
    folder = target.config_file.parent
    wanted = {folder / "clients.d" / name for name in target.drop_ins}
    yield from placing.kept_aside(path for path in drop_ins(target.config_file) if path not in wanted)
    paths = {name: path for name, path in target.named.items() if is_below(path, folder)}
    for member in target.backup.below("settings/"):
        paths[member.name] = folder / os.fsdecode(parts_of(member.name)[-1])
    for name in target.drop_ins:
        paths[member_name("settings", b"clients.d", os.fsencode(name))] = folder / "clients.d" / name
    paths[CONFIG] = target.config_file
    # The group of the service reads a secret or a list that it could read before.
    yield from _own_files(target, paths, group=target.service[1])


def is_below(path: Path, folder: Path) -> bool:
    """Tell whether a file is in the folder of the configuration: a backup must not choose any other place."""
    return Path(os.path.realpath(folder)) in Path(os.path.realpath(path)).parents


def _access(target: Target) -> Iterator[Step]:
    """Yield the steps that let clients in."""
    paths = {member_name("keys", login.name.encode()): Path(homes.keys(login.name)) for login in target.logins}
    if target.with_host_keys:
        for member in target.backup.below("host-keys/"):
            paths[member.name] = Path("/etc/ssh", member.name.partition("/")[2])
    yield from _own_files(target, paths)
    yield from map(login_steps.opening, target.logins)


def _own_files(target: Target, paths: dict[str, Path], *, group: int = 0) -> Iterator[Step]:
    for name, path in paths.items():
        if member := target.backup.by_name.get(name):
            yield placing.own_file(target.backup, member, path, (0, group if name.startswith(_READ_BY_GROUP) else 0))


def remarks(target: Target) -> Iterator[str]:
    """Yield what is not as it was."""
    yield from login_steps.other_ids(target.logins)
    yield from (f"not in the backup: {sentence}" for sentence in target.backup.manifest.left_out)
    for name, path in target.named.items():
        if name in target.backup.by_name and not is_below(path, target.config_file.parent):
            yield f"not restored: {path}, as it is outside of {target.config_file.parent}; the backup has it as {name}"
    if not target.backup.manifest.has_files:
        yield "not in the backup: inboxes and archives; rosterd verify names each archive that is missing"
