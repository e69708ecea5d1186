"""What a restore does to a host, as steps."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from operate.backup import login_steps, placing
from operate.backup.holdings import SECRETS, drop_ins
from operate.backup.manifest import CONFIG, DATABASE, member_name
from operate.backup.target import Target, begin, end, has_begun
from operate.provision import homes
from operate.provision.steps import Step
from watcher.lock import RESTORING


def steps_of(target: Target) -> list[Step]:
    """Return the steps in their order, see `restore`."""
    backup, service = target.backup, target.service
    database = Path(target.config.service.database)
    begins = f"begin: keep the service from starting by {target.state_dir}/{RESTORING}"
    return [
        Step(
            begins,
            partial(has_begun, target),
            partial(begin, target),
        ),
        *login_steps.creations(target.logins),
        *(Step(str(each), partial(homes.is_made, each), partial(homes.make, each)) for each in target.folders()),
        *(placing.files_of(backup, each, placing.Owners(service, target.login_of(each))) for each in target.places),
        *placing.mail(backup, Path(target.config.mail.maildir), service),
        *(placing.database(backup, each, database, service) for each in backup.below(DATABASE)),
        *placing.pgp(backup, Path(target.config.file.pgp_home), service),
        *_settings(target),
        *_access(target),
        Step("end: sync, and let the service start", lambda: False, partial(end, target)),
    ]


def _settings(target: Target) -> Iterator[Step]:
    folder = target.config_file.parent
    wanted = {folder / "clients.d" / name for name in target.drop_ins}
    yield from placing.kept_aside(path for path in drop_ins(target.config_file) if path not in wanted)
    paths = {f"settings/{name}": folder / name for name in SECRETS}
    for name in target.drop_ins:
        paths[member_name("settings", b"clients.d", os.fsencode(name))] = folder / "clients.d" / name
    paths[CONFIG] = target.config_file
    yield from _own_files(target, paths)


def _access(target: Target) -> Iterator[Step]:
    """Yield the steps that let clients in."""
    paths = {member_name("keys", login.name.encode()): Path(homes.keys(login.name)) for login in target.logins}
    if target.with_host_keys:
        for member in target.backup.below("host-keys/"):
            paths[member.name] = Path("/etc/ssh", member.name.partition("/")[2])
    yield from _own_files(target, paths)
    yield from map(login_steps.opening, target.logins)


def _own_files(target: Target, paths: dict[str, Path]) -> Iterator[Step]:
    for name, path in paths.items():
        if member := target.backup.by_name.get(name):
            yield placing.own_file(target.backup, member, path)


def remarks(target: Target) -> Iterator[str]:
    """Yield what is not as it was."""
    yield from login_steps.other_ids(target.logins)
    yield from (f"not in the backup: {sentence}" for sentence in target.backup.manifest.left_out)
    if not target.backup.manifest.has_files:
        yield "not in the backup: inboxes and archives; rosterd verify names each archive that is missing"
