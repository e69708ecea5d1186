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
from operate.backup.manifest import CONFIG, LOGINS, USERS, is_allowed, member_name
from operate.backup.packing import Packing
from operate.backup.saved_logins import logins
from operate.options import secret_files
from operate.provision import homes
from operate.provision.drop_ins import DISABLED_ENDING, ENDING
from watcher.settings import CONSOLE_USERS, Config

_SERVICES: Final = ("mail/", "pgp/", "console/")
_HOST_KEYS: Final = "ssh_host_*_key*"


def places(config: Config, drop_ins: Iterable[Path]) -> list[Place]:
    """Return the inboxes of all clients, those of disabled ones, too."""
    configured = [Place(client.name, client.inbox) for client in config.clients]
    disabled = [path for path in drop_ins if path.name.endswith(DISABLED_ENDING)]
    names = sorted(path.name.removesuffix(DISABLED_ENDING) for path in disabled)
    return [*configured, *(Place(name, homes.inbox(name)) for name in names if name not in config.clients_by_name)]


def add_settings(packing: Packing, config: Config) -> None:
    """Add the configuration, the secrets next to it, and the files that settings name. Raises OSError."""
    config_file = Path(config.source)
    _add(packing, CONFIG, config_file)
    secrets = secret_files(config_file)
    for path in secrets:
        _add(packing, member_name("settings", os.fsencode(path.name)), path)
    for path in drop_ins(config_file):
        _add(packing, member_name("settings", b"clients.d", os.fsencode(path.name)), path)
    for name, path in named_files(config).items():
        if path not in secrets and not _add(packing, name, path):
            packing.left_out.append(f"{path}: a setting names it, and it does not exist")


def named_files(config: Config) -> dict[str, Path]:
    """Return the files that settings name, by their names in a backup; those that the service writes are not among."""
    paths = {member_name("named", b"mail", b"ca_file"): config.mail.ca_file}
    for hook in config.hook:
        for setting in ("ca_file", "secret_file"):
            paths[member_name("named", b"hook", hook.name.encode(), setting.encode())] = getattr(hook, setting)
    for client in config.clients:
        paths[member_name("named", b"client", client.name.encode(), b"protected_users")] = client.protected_users
    return {name: Path(path) for name, path in paths.items() if path}


def add_pgp(packing: Packing, key_home: Path) -> None:
    """Add our PGP key, with its private part, and the public keys of clients. Raises OSError."""
    _add(packing, f"pgp/{PUBLIC_KEYS}", key_home / PUBLIC_KEYS)
    for path in sorted((key_home / PRIVATE_KEYS).glob("*.key")):
        if is_allowed(name := f"pgp/{PRIVATE_KEYS}/{path.name}"):
            _add(packing, name, path)


def add_console_users(packing: Packing, state_dir: str) -> None:
    """Add who may log in to the console, if anybody may. Raises OSError."""
    _add(packing, USERS, Path(state_dir, CONSOLE_USERS))


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


def _add(packing: Packing, name: str, path: Path) -> bool:
    """Add a file of the operator; return whether there is one. Raises OSError."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        packing.add_file(name, file, "service" if name.startswith(_SERVICES) else "root")
        return True
    return False
