"""The logins of clients in the user database of the host, and the steps that change it."""

from __future__ import annotations

import enum
import grp
import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import msgspec

from operate.provision import lookups, steps
from operate.provision.homes import LOGIN_GROUP, chroot
from operate.provision.steps import Step

# Names that both Debian's useradd (without --badname) and rosterd accept.
LOGIN_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,30}")
SHELL: Final = "/usr/sbin/nologin"
_EXPIRED: Final = "1"  # a day long ago; for sshd and PAM such a login has expired
_NO_PASSWORD: Final = "*"  # noqa: S105 - none, and not locked, so that keys work
_FOR_EVER_DAYS: Final = 99_999  # what login.defs has for no limit
_PASSWORD_FIELD: Final = 1
_CHANGED_FIELD: Final = 2
_LONGEST_FIELD: Final = 4
_EXPIRY_FIELD: Final = 7


class LoginState(enum.StrEnum):
    """The state of a login."""

    MISSING = "missing"
    FOREIGN = "not a client's"  # of a person, or of another service
    DISABLED = "disabled"
    OPEN = "open"


def login_state(name: str) -> LoginState:
    """Return the state of a login; without root a disabled one looks enabled."""
    try:
        user = lookups.user(name)
    except KeyError:
        return LoginState.MISSING
    if not (user.pw_uid and is_member(name, LOGIN_GROUP)):
        return LoginState.FOREIGN
    return LoginState.DISABLED if lookups.shadow(name, _EXPIRY_FIELD) == _EXPIRED else LoginState.OPEN


def has_password(name: str) -> bool:
    """Return whether a login has a password; without root the answer is no."""
    password = lookups.shadow(name, _PASSWORD_FIELD)
    return password not in ("", "*") and not password.startswith("!")


def is_without_password(name: str) -> bool:
    """Return whether no password can let this login in, nor could one after unlocking it."""
    return lookups.shadow(name, _PASSWORD_FIELD) == _NO_PASSWORD


def password_state(name: str) -> str:
    """Return "none", "set" or "locked", with its last day."""
    account = ageing(name)
    if not lookups.shadow(name, _PASSWORD_FIELD) or is_without_password(name):
        return "none"
    state = "locked" if account.is_locked else "set"
    if account.is_without_end:
        return state
    return f"{state}, last day {date(1970, 1, 1) + timedelta(days=account.password_ends)}"


class Ageing(msgspec.Struct, frozen=True):
    """The time limits of an account in /etc/shadow, in days since 1970; None for no limit."""

    changed: int | None
    longest: int | None
    expires: int | None
    is_locked: bool

    @property
    def is_without_end(self) -> bool:
        """Return whether the password has no last day."""
        return self.longest in (None, _FOR_EVER_DAYS)

    @property
    def password_ends(self) -> int:
        """Return the last day on which the password is valid."""
        return (self.changed or 0) + (self.longest or 0)


def ageing(name: str) -> Ageing:
    """Return the time limits of an account; without root there are none."""
    changed, longest, expires = (
        int(field) if (field := lookups.shadow(name, number)).isdecimal() else None
        for number in (_CHANGED_FIELD, _LONGEST_FIELD, _EXPIRY_FIELD)
    )
    return Ageing(changed, longest, expires, is_locked=lookups.shadow(name, _PASSWORD_FIELD).startswith("!"))


def group_name(gid: int) -> str:
    """Return the name of a group."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return f"gid {gid}"


def ids(user: str) -> tuple[int, int]:
    """Return the ids of an existing user and of its primary group."""
    found = lookups.user(user)
    return found.pw_uid, found.pw_gid


def groups(user: str) -> list[str]:
    """Return the names of the groups of an existing user."""
    return [group_name(gid) for gid in lookups.group_ids(user)]


def expanded(pattern: str, name: str) -> str:
    """Return a path from sshd_config with its tokens expanded. Source: sshd_config(5), TOKENS."""
    user = lookups.user(name)
    tokens = {"%u": name, "%h": user.pw_dir, "%U": str(user.pw_uid), "%%": "%"}
    return re.sub("%[uhU%]", lambda token: tokens[token[0]], pattern)


def user_exists(name: str) -> bool:
    """Return whether the host has this user."""
    try:
        lookups.user(name)
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


def logins() -> list[str]:
    """Return the logins of clients."""
    return sorted(grp.getgrnam(LOGIN_GROUP).gr_mem) if group_exists(LOGIN_GROUP) else []


def is_member(user: str, group: str) -> bool:
    """Return whether an existing user is in a group, as its primary group or another one."""
    return group_exists(group) and grp.getgrnam(group).gr_gid in lookups.group_ids(user)


def processes(name: str) -> Iterator[int]:
    """Yield the processes of a user: its sessions. Sources: proc(5); the owner of /proc/PID is not always the user."""
    uid = lookups.user(name).pw_uid
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            owner = re.search(r"^Uid:\s+(\d+)", status.read_text(), re.MULTILINE)
        except OSError:
            continue  # it has exited
        if owner and int(owner[1]) == uid:
            yield int(status.parent.name)


def creation(name: str) -> Step:
    """Return the step that makes a login for SFTP only."""
    options = ["--user-group", "--groups", LOGIN_GROUP, "--home-dir", chroot(name), "--no-create-home"]
    options += ["--shell", SHELL, "--password", _NO_PASSWORD, "--comment", "SFTP client of rosterd"]
    return steps.command(("useradd", *options, name), lambda: user_exists(name))


def switching(name: str, state: LoginState) -> Step:
    """Return the step that enables a login, if there is one, or disables it, for keys and for passwords."""
    expiry = _EXPIRED if state is LoginState.DISABLED else ""
    return steps.command(
        ("usermod", "--expiredate", expiry, name), lambda: login_state(name) in (state, LoginState.MISSING)
    )


def removal(name: str) -> Step:
    """Return the step that removes a login and its group."""
    return steps.command(("userdel", name), lambda: not user_exists(name))


def new_password(name: str, password: str) -> Step:
    """Return the step that sets a password, which is in no command line."""
    return Step("chpasswd", lambda: False, lambda: steps.run(("chpasswd",), sent=f"{name}:{password}\n"))


def password_expiry(name: str, changed: int, last_day: int | None) -> Step:
    """Return the step that has a password, set on the day `changed`, end after its last day; None: never."""
    days = -1 if last_day is None else last_day - changed

    def is_done() -> bool:
        account = ageing(name)
        if last_day is None:
            return account.is_without_end
        return account.changed == changed and account.longest == days

    return steps.command(("chage", "--lastday", str(changed), "--maxdays", str(days), name), is_done)


def locking(name: str, *, locked: bool) -> Step:
    """Return the step by which the password lets nobody in, or lets in again."""
    return steps.command(
        ("usermod", "--lock" if locked else "--unlock", name), lambda: ageing(name).is_locked == locked
    )


def without_password(name: str) -> Step:
    """Return the step that removes the password for good."""
    return steps.command(("usermod", "--password", _NO_PASSWORD, name), lambda: is_without_password(name))
