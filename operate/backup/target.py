"""What is to be restored, and where; and the mark that a restore has begun and not ended."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from importer import fs
from importer.durable import write_durably
from operate.backup.gathering import Place
from operate.backup.holdings import named_files, places
from operate.backup.reading import Backup
from operate.backup.saved_logins import Login
from operate.provision import homes
from watcher.lock import RESTORED, RESTORING
from watcher.owner import owner_of
from watcher.settings import Config


class Target(msgspec.Struct, frozen=True):
    """What is to be restored, and where."""

    backup: Backup
    config: Config  # of the backup, with the paths it has here
    config_file: Path
    logins: tuple[Login, ...]
    drop_ins: tuple[str, ...]  # names of files of clients.d
    with_host_keys: bool

    @property
    def state_dir(self) -> str:
        """Return the state directory."""
        return self.config.service.state_dir

    @property
    def service(self) -> tuple[int, int]:
        """Return user and group of the service."""
        return owner_of(self.state_dir)

    @property
    def places(self) -> list[Place]:
        """Return the inboxes of all clients."""
        return places(self.config, map(Path, self.drop_ins))

    @property
    def named(self) -> dict[str, Path]:
        """Return where the files go that settings name, by their names in the backup."""
        return named_files(self.config)

    def login_of(self, place: Place) -> str:
        """Return the login that uploads into an inbox, "" if it is not one that `client add` makes."""
        is_ours = place.client in {login.name for login in self.logins} and place.inbox == homes.inbox(place.client)
        return place.client if is_ours else ""

    def folders(self) -> Iterator[homes.Folder]:
        """Yield the folders of the clients with a login."""
        for place in self.places:
            if name := self.login_of(place):
                client = self.config.clients_by_name.get(name)
                has_check = client is not None and client.check_folder
                yield from homes.folders(name, client.log_socket if client else "", has_check=has_check)


# The mark


def _mark(target: Target) -> bytes:
    manifest = target.backup.manifest
    digest = hashlib.sha256(msgspec.json.encode(manifest)).hexdigest()
    return json.dumps({"backup": digest, "made_at": f"{manifest.made_at:%FT%TZ}", "host": manifest.host}).encode()


def has_begun(target: Target) -> bool:
    """Tell whether a restore of this backup has begun and not ended."""
    mark = Path(target.state_dir, RESTORING)
    return mark.is_file() and mark.read_bytes() == _mark(target)


def begin(target: Target) -> None:
    """Put the mark in place: from now on the service does not start. Raises OSError, SyncFailed."""
    if not os.path.isdir(target.state_dir):
        os.makedirs(target.state_dir, mode=0o700)
        os.chown(target.state_dir, *target.service)
    with fs.open_folder(target.state_dir, flags=fs.OWN_FOLDER) as fd:
        write_durably(fd, RESTORING.encode(), [_mark(target)], mode=0o600)
        os.chown(RESTORING, *target.service, dir_fd=fd, follow_symlinks=False)


def end(target: Target) -> None:
    """Sync all that was written, and turn the mark into a note for the service. Raises OSError."""
    os.sync()
    os.rename(os.path.join(target.state_dir, RESTORING), os.path.join(target.state_dir, RESTORED))
