"""What prevents a restore, found before anything is changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from importer.store.errors import StoreError
from importer.store.sqlite import snapshot
from operate.backup import login_steps
from operate.backup.gathering import Place
from operate.backup.holdings import drop_ins
from operate.backup.manifest import parts_of
from operate.backup.saved_logins import logins
from operate.backup.target import Target, has_begun
from operate.provision import accounts, homes
from operate.provision.plan import Conflicts
from watcher.inbox.layout import was_inbox
from watcher.lock import is_locked


def conflicts(target: Target, *, replace: bool) -> Conflicts:
    """Yield why nothing of the backup can be restored here."""
    if is_locked(target.state_dir):
        yield f"{target.state_dir}: the service runs: systemctl stop rosterd"
    for login in target.logins:
        yield from login_steps.login_conflicts(login)
    if target.logins:
        yield from _host_conflicts()
    for folder in target.folders():
        yield from homes.obstacles(folder)
    for place in target.places:
        if not target.login_of(place):
            yield from _inbox_conflicts(target, place)
    known = {place.client.encode() for place in target.places}
    for client in sorted({parts_of(member.name)[1] for member in target.backup.below("files/")} - known):
        yield f"the backup has files of {os.fsdecode(client)!r}, and its configuration has no such client"
    if target.with_host_keys and not target.backup.below("host-keys/"):
        yield "the backup has no host keys"
    if not replace and not has_begun(target):
        yield from (f"{what}; --replace keeps it aside" for what in _installed(target))


def _inbox_conflicts(target: Target, place: Place) -> Conflicts:
    """Yield why the inbox of a client without a login is none: a backup must not choose any folder of the host."""
    if not os.path.isdir(place.inbox):
        yield f"{place.inbox}: does not exist, and {place.client} has no login: create it, owned by the service"
    elif not (was_inbox(place.inbox) or has_begun(target)) and os.listdir(place.inbox):
        yield f"{place.inbox}: is to be the inbox of {place.client}; expected an empty folder, or one of before"


def _host_conflicts() -> Conflicts:
    if not accounts.user_exists(homes.SERVICE_USER) or not accounts.group_exists(homes.LOGIN_GROUP):
        yield f"no user {homes.SERVICE_USER}, or no group {homes.LOGIN_GROUP}: install the package first"
    for folder in (homes.SFTP_ROOT, homes.KEYS):
        if not os.path.isdir(folder):
            yield f"{folder}: does not exist; systemd-tmpfiles --create creates it"


def _installed(target: Target) -> Iterator[str]:
    """Yield what of a living installation there is."""
    database = Path(target.config.service.database)
    if database.exists():
        try:
            ledger = snapshot.ledger(database)
        except StoreError as error:
            yield f"{database}: exists and cannot be read: {error}"
        else:
            if ledger.last_import or ledger.users:
                yield f"{database}: has {ledger.users} users, and imports up to {ledger.last_import}"
    if clients := drop_ins(target.config_file):
        yield f"{clients[0].parent}: has {len(clients)} clients"
    if names := [login.name for login in logins()]:
        yield f"this host has logins of clients: {', '.join(names)}"
