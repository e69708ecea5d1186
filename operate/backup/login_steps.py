"""The steps that give a host the logins of a backup: with their ids where these are free."""

from __future__ import annotations

import grp
import pwd
import re
import subprocess
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import msgspec

from operate.backup.saved_logins import Limits, Login, find
from operate.provision import accounts, homes, steps
from operate.provision.accounts import LoginState
from operate.provision.plan import Conflicts
from operate.provision.steps import Step, StepFailed

_HASH: Final = re.compile(r"[^:\s]*")
_DAYS: Final = re.compile(r"\d{0,9}")
_MAX_ID: Final = 2**31 - 1
_LIMITS: Final = {"changed": "-d", "shortest": "-m", "longest": "-M", "warned": "-W", "inactive": "-I", "expires": "-E"}


def login_conflicts(login: Login) -> Conflicts:
    """Yield what is wrong with a login, or what is on the host in its place."""
    name = login.name
    numbers = msgspec.structs.asdict(login.limits).values()
    is_sound = (
        accounts.LOGIN_NAME.fullmatch(name)
        and _HASH.fullmatch(login.password)
        and all(map(_DAYS.fullmatch, numbers))
        and 0 < login.uid <= _MAX_ID
        and 0 < login.gid <= _MAX_ID
    )
    if not is_sound:
        yield f"{name!r}: is not a login that `rosterd client add` makes"
    elif accounts.login_state(name) is LoginState.FOREIGN:
        yield f"the user {name} exists and is not in {homes.LOGIN_GROUP}: rename one of the two"
    elif accounts.user_exists(name) and pwd.getpwnam(name).pw_dir != homes.chroot(name):
        yield f"the home directory of {name} is {pwd.getpwnam(name).pw_dir}; expected {homes.chroot(name)}"
    elif not accounts.user_exists(name) and accounts.group_exists(name) and grp.getgrnam(name).gr_mem:
        yield f"the group {name} exists and has members: rename it"


def creations(logins: Sequence[Login]) -> list[Step]:
    """
    Return the steps that make logins, which cannot log in yet.

    Those that get other ids come last, as the host would give them ids that others had.
    """
    groups = sorted(logins, key=lambda login: not _is_free_gid(login.gid))
    users = sorted(logins, key=lambda login: not _is_free_uid(login.uid))
    return [*map(_group, groups), *map(_user, users)]


def _group(login: Login) -> Step:
    gid = ("--gid", str(login.gid)) if _is_free_gid(login.gid) else ()
    return steps.command(("groupadd", *gid, login.name), lambda: accounts.group_exists(login.name))


def _user(login: Login) -> Step:
    name = login.name
    uid = ("--uid", str(login.uid)) if _is_free_uid(login.uid) else ()
    options = ["--gid", name, "--groups", homes.LOGIN_GROUP, "--home-dir", homes.chroot(name), "--no-create-home"]
    options += ["--shell", accounts.SHELL, "--password", "*", "--comment", "SFTP client of rosterd"]
    return steps.command(("useradd", *uid, *options, name), lambda: accounts.user_exists(name))


def opening(login: Login) -> Step:
    """Return the step that gives a login its password and its time limits, and lets it in unless it was disabled."""
    return Step(
        f"set password, time limits and state of {login.name} as they were",
        partial(_is_open, login),
        partial(_open, login),
    )


def other_ids(logins: Sequence[Login]) -> Iterator[str]:
    """Yield which logins have other numbers than in the backup."""
    for login in logins:
        if accounts.user_exists(login.name):
            user = pwd.getpwnam(login.name)
            if (user.pw_uid, user.pw_gid) != (login.uid, login.gid):
                ids, former = f"{user.pw_uid}:{user.pw_gid}", f"{login.uid}:{login.gid}"
                yield f"{login.name} has the ids {ids}; before it had {former}, which others have here"


def _is_open(login: Login) -> bool:
    if not accounts.user_exists(login.name):
        return False
    there = find(login.name)
    return (there.password, there.limits) == (login.password, login.limits)


def _open(login: Login) -> None:
    _run("chpasswd", "--encrypted", text=f"{login.name}:{login.password}\n")  # not among arguments, which all may see
    options = [word for name, option in _LIMITS.items() for word in (option, _days(login.limits, name))]
    _run("chage", *options, login.name)


def _days(limits: Limits, name: str) -> str:
    return getattr(limits, name) or "-1"


def _run(*arguments: str, text: str = "") -> None:
    done = subprocess.run(  # noqa: S603 - of the system, by arguments that were checked
        arguments, input=text, capture_output=True, text=True, check=False, env=steps.environment()
    )
    if done.returncode:
        raise StepFailed(f"{arguments[0]}: {done.stderr.strip()}")


def _is_free_uid(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return True
    return False


def _is_free_gid(gid: int) -> bool:
    try:
        grp.getgrgid(gid)
    except KeyError:
        return True
    return False
