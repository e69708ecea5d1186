"""The logins of clients, as the host's user database has them, and the steps that change it."""

from __future__ import annotations

import enum
import grp
import os
import pwd
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from operate.provision import steps
from operate.provision.layout import LOGIN_GROUP, chroot
from operate.provision.steps import Step

# What Debian's useradd takes without --badname, and a client may be called.
LOGIN_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,30}")
SHELL: Final = "/usr/sbin/nologin"
_EXPIRED: Final = "1"  # a day long ago; to sshd and PAM alike a login that has ended
_PASSWORD_FIELD: Final = 1
_CHANGED_FIELD: Final = 2
_LONGEST_FIELD: Final = 4
_EXPIRY_FIELD: Final = 7


class LoginState(enum.StrEnum):
    """What a login is good for."""

    MISSING = "missing"
    FOREIGN = "not a client's"  # a person's, or another service's
    DISABLED = "disabled"
    OPEN = "open"


def login_state(name: str) -> LoginState:
    """Return the state of a login; without root a disabled one passes for open."""
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        return LoginState.MISSING
    if not (user.pw_uid and is_member(name, LOGIN_GROUP)):
        return LoginState.FOREIGN
    return LoginState.DISABLED if _shadow(name, _EXPIRY_FIELD) == _EXPIRED else LoginState.OPEN


def has_password(name: str) -> bool:
    """Return whether a login has a password; without root the answer is no."""
    return _shadow(name, _PASSWORD_FIELD) not in ("", "*") and not _shadow(name, _PASSWORD_FIELD).startswith("!")


class Ageing(msgspec.Struct, frozen=True):
    """What /etc/shadow says about the time of an account, in days since 1970; None for no limit."""

    changed: int | None
    longest: int | None
    expires: int | None
    is_locked: bool

    @property
    def password_ends(self) -> int:
        """Return the last day of the password."""
        return (self.changed or 0) + (self.longest or 0)


def ageing(name: str) -> Ageing:
    """Return the time limits of an account; without root there are none."""
    changed, longest, expires = (
        int(field) if (field := _shadow(name, number)).isdecimal() else None
        for number in (_CHANGED_FIELD, _LONGEST_FIELD, _EXPIRY_FIELD)
    )
    return Ageing(changed, longest, expires, is_locked=_shadow(name, _PASSWORD_FIELD).startswith("!"))


def group_name(gid: int) -> str:
    """Return what the host calls a group."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return f"gid {gid}"


def expanded(pattern: str, name: str) -> str:
    """Return a path of sshd's with its tokens put in. Source: sshd_config(5), TOKENS."""
    user = pwd.getpwnam(name)
    tokens = {"%u": name, "%h": user.pw_dir, "%U": str(user.pw_uid), "%%": "%"}
    return re.sub("%[uhU%]", lambda token: tokens[token[0]], pattern)


def _shadow(name: str, field: int) -> str:
    """Return a field of /etc/shadow, "" for none, or where we may not look. Source: shadow(5)."""
    try:
        lines = Path("/etc/shadow").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    entries = (line.split(":") for line in lines if line.startswith(f"{name}:"))
    return next((entry[field] for entry in entries if len(entry) > field), "")


def user_exists(name: str) -> bool:
    """Return whether the host has this user."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def group_exists(name: str) -> bool:
    """Return whether the host has this group."""
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def is_member(user: str, group: str) -> bool:
    """Return whether an existing user is in a group, as its own one or as one of several."""
    gids = os.getgrouplist(user, pwd.getpwnam(user).pw_gid)
    return group_exists(group) and grp.getgrnam(group).gr_gid in gids


def processes(name: str) -> Iterator[int]:
    """Yield the processes of a user: its sessions. Sources: proc(5); the owner of /proc/PID is not always the user."""
    uid = pwd.getpwnam(name).pw_uid
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            owner = re.search(r"^Uid:\s+(\d+)", status.read_text(), re.MULTILINE)
        except OSError:
            continue  # it has ended
        if owner and int(owner[1]) == uid:
            yield int(status.parent.name)


def creation(name: str) -> Step:
    """Return the step that makes a login for SFTP only. "*": no password, and not locked, so that keys work."""
    options = ["--user-group", "--groups", LOGIN_GROUP, "--home-dir", chroot(name), "--no-create-home"]
    options += ["--shell", SHELL, "--password", "*", "--comment", "SFTP client of rosterd"]
    return steps.command(("useradd", *options, name), lambda: user_exists(name))


def switching(name: str, state: LoginState) -> Step:
    """Return the step that opens a login, if there is one, or disables it, for keys as for passwords."""
    expiry = _EXPIRED if state is LoginState.DISABLED else ""
    return steps.command(
        ("usermod", "--expiredate", expiry, name), lambda: login_state(name) in (state, LoginState.MISSING)
    )


def removal(name: str) -> Step:
    """Return the step that removes a login and its group."""
    return steps.command(("userdel", name), lambda: not user_exists(name))
