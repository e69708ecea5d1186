"""
What a backup is: a tar of regular files only, the last of which is the manifest.

    settings/config.toml, settings/clients.d/*, settings/smtp_password, settings/database_password, settings/ping_url,
    settings/hook_*
    named/mail/ca_file, named/hook/NAME/*, named/client/NAME/*     files that settings name
    logins.json                     logins of clients: ids, password hashes, time limits
    keys/NAME                       public keys of a client
    host-keys/ssh_host_*            only if asked for
    pgp/pubring.kbx, pgp/private-keys-v1.d/*    our PGP key, and those by which clients sign
    console/users.json              who may log in to the console, with hashes of their passwords
    database/rosterd.db             as it is at one moment
    files/NAME/inbox/*, files/NAME/work/CLAIM/*, files/NAME/bak/*     only if asked for
    mail/new/*, mail/cur/*          likewise
    manifest.json                   size, SHA-256, mode, time and owner of each of them

The names say what a file is, not where it goes: a restore takes the places from its own configuration.
"""

from __future__ import annotations

import re
import urllib.parse
from datetime import datetime
from typing import Final, Literal

import msgspec

FORMAT: Final = 1
NAME: Final = "manifest.json"
LOGINS: Final = "logins.json"
USERS: Final = "console/users.json"
DATABASE: Final = "database/rosterd.db"
CONFIG: Final = "settings/config.toml"
_KINDS: Final = (
    r"settings/(config\.toml|smtp_password|database_password|ping_url|hook_[^/]+|clients\.d/[^/]+)",
    r"named/(mail/ca_file|hook/[^/]+/(ca_file|secret_file)|client/[^/]+/protected_users)",
    r"logins\.json|console/users\.json|database/rosterd\.db",
    r"keys/[^/]+|host-keys/ssh_host_[a-z0-9_]+_key(\.pub)?",
    r"files/[^/]+/(inbox|bak)/[^/]+|files/[^/]+/work/[^/]+/[^/]+",
    r"mail/(new|cur)/[^/]+",
    r"pgp/(pubring\.kbx|private-keys-v1\.d/[0-9A-F]{40}\.key)",
)
_PATTERN: Final = re.compile("|".join(_KINDS))
_PLAIN: Final = " !#$&'()+,;=@[]{}~"  # besides letters, digits and _.-; the rest is written as in URLs

Owner = Literal["root", "service", "client"]


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a backup, except for the manifest."""

    name: str
    size_bytes: int
    sha256: str
    mode: int
    mtime_ns: int
    owner: Owner


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup has, and of which moment it is."""

    format: int = FORMAT
    version: str  # of rosterd
    made_at: datetime
    host: str
    last_import: int
    users: int
    has_files: bool
    left_out: tuple[str, ...] = ()  # sentences
    members: tuple[Member, ...]


def member_name(kind: str, *parts: bytes) -> str:
    """Return the name in a backup of a file that may have any name."""
    return "/".join([kind, *(urllib.parse.quote_from_bytes(part, safe=_PLAIN) for part in parts)])


def parts_of(name: str) -> list[bytes]:
    """Return the parts of a name in a backup as they are in a file system."""
    return [urllib.parse.unquote_to_bytes(part) for part in name.split("/")]


def is_allowed(name: str) -> bool:
    """Tell whether a backup may have a file of this name: of a known kind, and no part of it leads elsewhere."""
    if not _PATTERN.fullmatch(name):
        return False
    return all(part not in (b"", b".", b"..") and not {*part} & {0, ord("/")} for part in parts_of(name))
