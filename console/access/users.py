"""
Who may log in to the console: a file of the console's user, mode 0600, with a hash of each password.

The commands write it, in a folder where the console may not, and the console reads it, anew whenever it has changed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from importer import fs
from importer.durable import write_durably
from importer.settings import CLIENT_NAME
from watcher.owner import NotOwner, user_name
from watcher.settings import CONSOLE_USERS

NAME: Final = r"\A[a-z][a-z0-9._-]{0,31}\Z"
NAME_IN_WORDS: Final = 'at most 32 small letters, digits, ".", "_" and "-", the first a letter'
FEWEST_CHARS: Final = 12
MOST_CHARS: Final = 256
# 32 MiB and some 80 ms for each try. Source: OWASP Password Storage Cheat Sheet.
_COST: Final = {"n": 1 << 15, "r": 8, "p": 1, "maxmem": 64 << 20, "dklen": 32}
_SALT_BYTES: Final = 16

Role = Literal["viewer", "operator"]


class ConsoleUser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One person who may log in."""

    name: Annotated[str, Meta(pattern=NAME)]
    role: Role
    clients: tuple[Annotated[str, Meta(pattern=CLIENT_NAME)], ...] = ()  # whom alone this person sees; (): all
    salt: str  # hexadecimal, as the next
    key: str  # of the password, by scrypt

    @property
    def may_decide(self) -> bool:
        """Tell whether this person may change anything."""
        return self.role == "operator"

    def sees(self, client: str) -> bool:
        """Tell whether this person may know anything about a client."""
        return not self.clients or client in self.clients

    @property
    def seen(self) -> tuple[str, ...] | None:
        """Return the clients whom this person sees, None for all."""
        return self.clients or None


class UsersUnreadable(Exception):
    """Nobody can log in. The message says why, and what to do."""


class _Users(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    users: tuple[ConsoleUser, ...] = ()


def path_of(state_dir: str) -> Path:
    """Return where the file is."""
    return Path(state_dir, CONSOLE_USERS)


def read_users(state_dir: str) -> dict[str, ConsoleUser]:
    """Return the users by their names; none when there is no file. Raises UsersUnreadable, OSError."""
    path = path_of(state_dir)
    try:
        with fs.open_file(path) as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read()
    except FileNotFoundError:
        return {}
    except PermissionError:
        us = user_name(os.geteuid())
        raise NotOwner(f"{path}: permission denied to {us}, whose it has to be: chown {us}: {path}") from None
    if mode & 0o077:
        raise UsersUnreadable(
            f"{path}: mode {mode:04o}; expected 0600, as it has hashes of passwords: chmod 600 {path}"
        )
    try:
        return {user.name: user for user in msgspec.json.decode(content, type=_Users).users}
    except msgspec.DecodeError as error:
        raise UsersUnreadable(f"{path}: {error}. Restore it, or remove it and add the users again") from None


@contextlib.contextmanager
def changing(state_dir: str, owner: tuple[int, int] | None = None) -> Iterator[dict[str, ConsoleUser]]:
    """
    Yield the users; what the block makes of them is written, durably, for that user and group, or who runs this.

    Raises as `read_users`, and SyncFailed.
    """
    with contextlib.ExitStack() as handles:
        folder_fd = os.open(state_dir, fs.OWN_FOLDER)
        handles.callback(os.close, folder_fd)
        fcntl.flock(folder_fd, fcntl.LOCK_EX)  # two commands at a time
        users = read_users(state_dir)
        yield users
        content = msgspec.json.format(msgspec.json.encode(_Users(users=tuple(users.values()))))
        write_durably(folder_fd, CONSOLE_USERS.encode(), [content, b"\n"], mode=0o600, owner=owner)


def with_password(user: ConsoleUser, password: str) -> ConsoleUser:
    """Return the user with a new password."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return msgspec.structs.replace(user, salt=salt.hex(), key=_key(password, salt).hex())


def is_password(user: ConsoleUser | None, password: str) -> bool:
    """Tell whether it is the user's; without a user no, after the same time."""
    salt = bytes.fromhex(user.salt) if user else bytes(_SALT_BYTES)
    key = _key(password, salt)
    return hmac.compare_digest(key, bytes.fromhex(user.key)) if user else False


def _key(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, **_COST)


class Directory:
    """The users as the file has them now; read again only when it has changed."""

    def __init__(self, state_dir: str) -> None:
        self._state_dir = state_dir
        self._seen: object = None
        self._users: dict[str, ConsoleUser] = {}

    def users(self) -> dict[str, ConsoleUser]:
        """Return the users by their names. Raises UsersUnreadable, OSError."""
        signature = _signature(path_of(self._state_dir))
        if signature != self._seen:
            self._users = read_users(self._state_dir)
            self._seen = signature
        return self._users


def _signature(path: Path) -> object:
    with contextlib.suppress(FileNotFoundError):
        info = path.stat()
        return info.st_ino, info.st_mtime_ns, info.st_size, info.st_mode
    return ()
