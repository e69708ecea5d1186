"""What an installation has on its host besides database and inboxes: settings, logins, keys, stored mail."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from importer.file.unwrap.gnupg import PRIVATE_KEYS, PUBLIC_KEYS
from operate.backup.gathering import Place
from operate.backup.manifest import CONFIG, LOGINS, is_allowed, member_name
from operate.backup.packing import Packing
from operate.backup.saved_logins import logins
from operate.provision import homes
from operate.provision.drop_ins import DISABLED_ENDING, ENDING
from watcher.settings import Config

SECRETS: Final = ("smtp_password", "ping_url")
_HOST_KEYS: Final = "ssh_host_*_key*"


def places(config: Config, drop_ins: Iterable[Path]) -> list[Place]:
    """Return the inboxes of all clients, those of disabled ones, too."""
    configured = [Place(client.name, client.inbox) for client in config.clients]
    disabled = [path for path in drop_ins if path.name.endswith(DISABLED_ENDING)]
    names = sorted(path.name.removesuffix(DISABLED_ENDING) for path in disabled)
    return [*configured, *(Place(name, homes.inbox(name)) for name in names if name not in config.clients_by_name)]


def add_settings(packing: Packing, config_file: Path) -> None:
    """Add the configuration, and the secrets next to it. Raises OSError."""
    _add(packing, CONFIG, config_file)
    for name in SECRETS:
        _add(packing, f"settings/{name}", config_file.parent / name)
    for path in drop_ins(config_file):
        _add(packing, member_name("settings", b"clients.d", os.fsencode(path.name)), path)


def add_pgp(packing: Packing, key_home: Path) -> None:
    """Add our PGP key, with its private part, and the public keys of clients. Raises OSError."""
    _add(packing, f"pgp/{PUBLIC_KEYS}", key_home / PUBLIC_KEYS)
    for path in sorted((key_home / PRIVATE_KEYS).glob("*.key")):
        if is_allowed(name := f"pgp/{PRIVATE_KEYS}/{path.name}"):
            _add(packing, name, path)


def drop_ins(config_file: Path) -> list[Path]:
    """Return the files of clients.d, those of disabled clients, too."""
    folder = config_file.absolute().parent / "clients.d"
    return sorted(path for path in folder.glob("*") if path.name.endswith((ENDING, DISABLED_ENDING)))


def add_access(packing: Packing, *, with_host_keys: bool) -> None:
    """Add logins and keys of clients, and the keys of this host if they are wanted. Raises OSError."""
    accounts = logins()
    packing.add_bytes(LOGINS, msgspec.json.encode(accounts))
    for login in accounts:
        _add(packing, member_name("keys", login.name.encode()), Path(homes.keys(login.name)))
    for path in sorted(Path("/etc/ssh").glob(_HOST_KEYS)) if with_host_keys else ():
        _add(packing, f"host-keys/{path.name}", path)


def add_mail(packing: Packing, maildir: Path) -> None:
    """Add the stored mail. Raises OSError."""
    for folder in ("new", "cur"):
        for path in sorted((maildir / folder).glob("*")):
            if path.is_file():
                _add(packing, member_name("mail", folder.encode(), os.fsencode(path.name)), path)


def _add(packing: Packing, name: str, path: Path) -> None:
    """Add a file of the operator, if there is one. Raises OSError."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        packing.add_file(name, file, "service" if name.startswith(("mail/", "pgp/")) else "root")
