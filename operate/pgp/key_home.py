"""
The key home: our key, with its private part, and the public keys of clients, as gpg stores them.

Durable steps, and what a command after a kill finds: the private key is written and synced first, and is not used yet;
then the public keys are replaced, and the key is there. A private key is never removed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from importer import fs
from importer.durable import sync, write_durably
from importer.file.unwrap import gnupg
from importer.file.unwrap.gnupg import PRIVATE_KEYS, PUBLIC_KEYS, GnuPGFailed, Key
from operate.provision.steps import locked
from watcher.owner import owner_of

_VALID: Final = "3y"
# RSA, as every program knows it; gpg alone makes its subkey, which is encrypted for.
_PARAMETERS: Final = f"""%no-protection
Key-Type: RSA
Key-Length: 3072
Key-Usage: sign
Subkey-Type: RSA
Subkey-Length: 3072
Subkey-Usage: encrypt
Name-Real: {{name}}
Name-Email: {{address}}
Expire-Date: {_VALID}
%commit
"""


class KeyRefused(Exception):
    """What is wrong with a key; the text says what to do."""


def make(key_home: Path, state_dir: str, name: str, address: str) -> Key:
    """Make our key and return it. Raises KeyRefused if there is one; OSError, SyncFailed."""
    with _changing(key_home, state_dir) as path:
        if own := gnupg.own_keys(path):
            raise KeyRefused(f"there is a key already, {own[0].fingerprint}; rosterd pgp renew extends it")
        plain = "".join(char for char in name if char.isprintable() and char not in "<>()%").strip() or "rosterd"
        gnupg.run(path, "--full-generate-key", sent=_PARAMETERS.format(name=plain, address=address).encode())
        return own_key(path)


def renew(key_home: Path, state_dir: str) -> Key:
    """Make our key valid for another time and return it. Raises KeyRefused if there is none; OSError, SyncFailed."""
    with _changing(key_home, state_dir) as path:
        key = own_key(path)
        gnupg.run(path, "--quick-set-expire", key.fingerprint, _VALID)
        gnupg.run(path, "--quick-set-expire", key.fingerprint, _VALID, *key.subkeys)
        return own_key(path)


def public_key(key_home: Path) -> bytes:
    """Return our key as clients import it. Raises KeyRefused if there is none; OSError."""
    if not gnupg.has_key(str(key_home)):
        raise KeyRefused("there is no key yet: rosterd pgp init")
    with gnupg.home(str(key_home)) as path:
        return gnupg.run(path, "--export", "--armor", own_key(path).fingerprint)


def read(file: bytes) -> Key:
    """Return the one public key in a file. Raises KeyRefused; OSError."""
    with gnupg.home(os.devnull) as path:
        try:
            lines = gnupg.run(path, "--with-colons", "--show-keys", sent=file).decode(errors="replace").splitlines()
        except GnuPGFailed as error:
            raise KeyRefused(f"is not a PGP key: {error.strerror}") from None
    if any(line.startswith("sec:") for line in lines):
        raise KeyRefused("has a private key, which the client must give to nobody; expected its public key")
    found = gnupg.listed(lines)
    if len(found) != 1:
        raise KeyRefused(f"has {len(found)} keys; expected one public key")
    return found[0]


def knows(key_home: Path, key: Key) -> bool:
    """Tell whether a public key is there, and as it is now. Raises OSError."""
    with gnupg.home(str(key_home)) as path:
        return key in gnupg.keys(path)


def add(key_home: Path, state_dir: str, file: bytes) -> None:
    """Add a public key, or what is new of it. Raises OSError, SyncFailed."""
    with _changing(key_home, state_dir) as path:
        gnupg.run(path, "--import", sent=file)


def own_key(path: str) -> Key:
    """Return our key. Raises KeyRefused if there is none; GnuPGFailed."""
    own = gnupg.own_keys(path)
    if not own:
        raise KeyRefused("there is no key yet: rosterd pgp init")
    return own[0]


@contextlib.contextmanager
def _changing(key_home: Path, state_dir: str) -> Iterator[str]:
    """Yield a home of gpg, and make what is in it durable at the end; no other command changes it meanwhile."""
    owner = owner_of(state_dir)
    for folder in (key_home, key_home / PRIVATE_KEYS):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            os.chown(folder, *owner)
    with locked(key_home) as fd, gnupg.home(str(key_home)) as path:
        yield path
        with fs.open_folder(PRIVATE_KEYS, fd) as private_fd:
            for name in os.listdir(private_fd):
                with fs.open_file(name, private_fd) as key:
                    os.fchown(key.fileno(), *owner)
                    sync(key.fileno())
            sync(private_fd)
        write_durably(fd, PUBLIC_KEYS.encode(), [Path(path, PUBLIC_KEYS).read_bytes()], mode=0o600, owner=owner)
