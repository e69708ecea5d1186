"""The logins of clients, as a backup has them: with ids, hash of the password and its time limits."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from operate.provision.accounts import LoginState, login_state
from operate.provision.homes import LOGIN_GROUP, chroot

_SHADOW: Final = Path("/etc/shadow")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The time limits of an account, in days, as /etc/shadow has them: "" for none."""

    changed: str = ""
    shortest: str = ""
    longest: str = ""
    warned: str = ""
    inactive: str = ""
    expires: str = ""


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """One login of a client."""

    name: str
    uid: int
    gid: int
    password: str  # the hash; "*" or "!..." for none
    limits: Limits


def logins() -> list[Login]:
    """Return the logins of clients on this host. Raises PermissionError: only root can read the hashes."""
    shadow = dict(_shadow())
    known = {*grp.getgrnam(LOGIN_GROUP).gr_mem, *_primary()} if _has_group() else set()
    return [_login(name, shadow.get(name, [])) for name in sorted(known) if is_client(name)]


def is_client(name: str) -> bool:
    """Return whether a user is the login of a client, as `client add` makes it."""
    return login_state(name) in (LoginState.OPEN, LoginState.DISABLED) and pwd.getpwnam(name).pw_dir == chroot(name)


def find(name: str) -> Login:
    """Return one login, which exists. Raises PermissionError."""
    return _login(name, dict(_shadow()).get(name, []))


def _login(name: str, fields: list[str]) -> Login:
    user = pwd.getpwnam(name)
    password, *limits = [*fields, *[""] * 7][:7]
    return Login(
        name=name,
        uid=user.pw_uid,
        gid=user.pw_gid,
        password=password or "*",
        limits=Limits(**dict(zip(Limits.__struct_fields__, limits, strict=True))),
    )


def _shadow() -> Iterator[tuple[str, list[str]]]:
    """Yield names and the fields after them. Source: shadow(5)."""
    for line in _SHADOW.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        name, *fields = line.split(":")
        yield name, fields


def _has_group() -> bool:
    return any(group.gr_name == LOGIN_GROUP for group in grp.getgrall())


def _primary() -> Iterator[str]:
    gid = grp.getgrnam(LOGIN_GROUP).gr_gid
    return (user.pw_name for user in pwd.getpwall() if user.pw_gid == gid)
