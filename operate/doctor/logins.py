"""
What `rosterd doctor` checks about a login: whether sshd would accept it.

In the order of sshd: AllowUsers and similar settings, the account, then how it logs in, by key or password (auth.c,
auth2-pubkeyfile.c, pam_unix of OpenSSH 9.2 and Linux-PAM 1.5; each was tried).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from operate.doctor import sshd
from operate.doctor.findings import Findings, Topic
from operate.doctor.sshd import Effective
from operate.provision import accounts, homes, keys, lookups
from operate.provision.steps import StepFailed

_WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH
_EPOCH: Final = date(1970, 1, 1)
_NOLOGIN: Final = ("/etc/nologin", "/run/nologin")  # pam_nologin(8)
_ALLOWED: Final = "see AllowUsers, DenyUsers, AllowGroups and DenyGroups in sshd_config(5)"


class _KeyFile(msgspec.Struct, frozen=True):
    """What sshd would find in a file of keys."""

    usable: int
    problem: str = ""
    remedy: str = ""


def sshd_findings(configurations: sshd.Configurations) -> Findings:
    """Yield the results for sshd, once for all logins."""
    topic = Topic("sshd")
    try:
        configured = configurations.of_all()
    except StepFailed:
        return  # the line of each login says so
    if not sshd.addresses(configured):
        yield topic.fault(
            "is not running, so no one can log in",
            "why it ended: journalctl -u ssh; then: sshd -t && systemctl reset-failed ssh; systemctl start ssh",
        )
    for path in _NOLOGIN:
        if os.path.exists(path):
            yield topic.fault(f"{path} exists, so only root can log in", f"rm {path}")
    if configured.get("persourcepenalties", "no") != "no":
        exempt = configured.get("persourcepenaltyexemptlist", "none")
        yield topic.ok(
            "blocks an address for a time after several wrong keys, and with it all clients behind that address "
            f"(PerSourcePenalties); exempt (PerSourcePenaltyExemptList): {exempt}"
        )


def login_findings(topic: Topic, name: str, effective: Effective, fingerprints: Mapping[str, str]) -> Findings:
    """Yield why a login is refused; `fingerprints` has those of keys that are known already."""
    for setting in _shutting_out(name, effective):
        yield topic.fault(f"sshd refuses {name} because of {setting}", _ALLOWED)
    files = [
        _key_file(path, name, effective, fingerprints) for path in key_files(name, effective) if os.path.lexists(path)
    ]
    keys_usable = sum(file.usable for file in files)
    for problem, remedy in _account_problems(name, effective, by_key=bool(keys_usable)):
        yield topic.fault(f"{name} cannot log in: {problem}", remedy)
    for file in files:
        if file.problem:
            yield (topic.warning if keys_usable else topic.fault)(file.problem, file.remedy)
    yield from _ways_in(topic, name, effective, files)


# Users and groups


def _shutting_out(name: str, effective: Effective) -> Iterator[str]:
    """Yield the settings by which sshd refuses a login wherever it comes from."""
    if any("@" not in pattern and sshd.matches(pattern, name) for pattern in effective.all("denyusers")):
        yield "DenyUsers"
    allowed = effective.all("allowusers")
    if allowed and not any(sshd.matches(pattern.partition("@")[0], name) for pattern in allowed):
        yield "AllowUsers"
    if any(sshd.matches(pattern, group) for pattern in effective.all("denygroups") for group in accounts.groups(name)):
        yield "DenyGroups"
    allowed = effective.all("allowgroups")
    if allowed and not any(sshd.matches(pattern, group) for pattern in allowed for group in accounts.groups(name)):
        yield "AllowGroups"


# The account


def _account_problems(name: str, effective: Effective, *, by_key: bool) -> Iterator[tuple[str, str]]:
    """Yield why an account cannot log in, and the remedy. PAM checks its age for every kind of login."""
    account = accounts.ageing(name)
    today = (datetime.now(UTC).date() - _EPOCH).days
    if account.expires is not None and account.expires <= today:
        ended = _EPOCH + timedelta(days=account.expires)
        yield f"its account expired on {ended}", f"usermod --expiredate '' {name}"
    if effective.is_on("usepam") or not by_key:
        fresh = f'chage --lastday "$(date +%F)" --maxdays -1 {name}'
        if account.changed == 0:
            yield "it must change its password first, which SFTP cannot do", fresh
        elif None not in (account.changed, account.longest) and account.password_ends < today:
            yield f"its password expired on {_EPOCH + timedelta(days=account.password_ends)}", fresh
    if by_key and not effective.is_on("usepam") and account.is_locked:
        yield "its password is locked, and without UsePAM sshd then accepts no key either", f"usermod -p '*' {name}"


# Keys


def key_files(name: str, effective: Effective) -> list[str]:
    """Return the files in which sshd looks for the keys of a login."""
    home = lookups.user(name).pw_dir
    patterns = [pattern for pattern in effective.get("authorizedkeysfile").split() if pattern != "none"]
    return [os.path.join(home, accounts.expanded(pattern, name)) for pattern in patterns]


def _key_file(path: str, name: str, effective: Effective, fingerprints: Mapping[str, str]) -> _KeyFile:
    """Return what sshd would find in a file."""
    if obstacle := _obstacle(path, lookups.user(name), effective):
        return _KeyFile(0, *obstacle)
    add = f"rosterd client key add {name} --key FILE --apply"
    try:
        lines = keys.key_lines(Path(os.path.realpath(path)), fingerprints)
    except (keys.KeyRefused, OSError) as error:
        return _KeyFile(0, f"{path}: {error}", add)
    if not lines:
        return _KeyFile(0, f"{path}: contains no key", add)
    wrong = [f"{path} line {number}: {what}" for number, line in lines if (what := _line_problem(line, effective))]
    usable = len(lines) - len(wrong)
    revoke = f"rosterd client key revoke {name} NUMBER --apply, by its number in rosterd client key list {name}"
    return _KeyFile(usable, next(iter(wrong), ""), revoke if usable else add)


def _obstacle(path: str, user: pwd.struct_passwd, effective: Effective) -> tuple[str, str] | None:
    """Return why sshd does not read a file, and the remedy."""
    if effective.is_on("strictmodes") and (loose := _loose(path, user)):
        return (
            f"{loose}: sshd accepts no key, as others can write there",
            f"chown root {loose}; chmod go-w {loose}",
        )
    if not _may_read(path, user):
        return (
            f"{path}: {user.pw_name} cannot read it, and sshd reads it as {user.pw_name}",
            f"chmod a+r {path}",
        )
    return None


def _loose(path: str, user: pwd.struct_passwd) -> str:
    """Return what StrictModes rejects: the file, or a folder above it, up to the home folder; "" for nothing."""
    each = os.path.realpath(path)
    ends = (os.path.realpath(user.pw_dir), "/")
    while _is_strict(each, user.pw_uid) and each not in ends:
        each = os.path.dirname(each)
    return "" if _is_strict(each, user.pw_uid) else each


def _is_strict(path: str, uid: int) -> bool:
    try:
        info = os.stat(path)
    except OSError:
        return False
    return info.st_uid in (0, uid) and not info.st_mode & _WRITABLE


def _may_read(path: str, user: pwd.struct_passwd) -> bool:
    """Return whether this user can open a file: tried as this user, so that every rule of the host applies."""
    with _identity_of(user):
        try:
            return stat.S_ISREG(os.stat(path).st_mode) and os.access(path, os.R_OK, effective_ids=True)
        except OSError:
            return False


@contextlib.contextmanager
def _identity_of(user: pwd.struct_passwd) -> Iterator[None]:
    """Act as another user meanwhile. Needs root; a process for each login would take 2 ms."""
    groups = os.getgroups()
    try:
        os.setgroups(lookups.group_ids(user.pw_name))
        os.setegid(user.pw_gid)
        os.seteuid(user.pw_uid)
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def _line_problem(line: keys.KeyLine, effective: Effective) -> str:
    """Return why sshd would ignore a line, or ""."""
    if not line.fingerprint:
        return "is not a public key"
    accepted = effective.get("pubkeyacceptedalgorithms").split(",")
    signatures = {"rsa-sha2-256", "rsa-sha2-512", "ssh-rsa"} if line.kind == "ssh-rsa" else {line.kind}
    if accepted != [""] and not signatures & {*accepted}:
        return f"sshd does not accept keys of type {line.kind} (PubkeyAcceptedAlgorithms)"
    if line.kind == "ssh-rsa" and int(line.fingerprint.split()[0]) < int(effective.get("requiredrsasize", "0")):
        return "the key is shorter than RequiredRSASize"
    if line.expires_at is not None and line.expires_at < time.time():
        return "the key has expired (expiry-time)"
    return ""


# Authentication


def _ways_in(topic: Topic, name: str, effective: Effective, files: list[_KeyFile]) -> Findings:
    """Yield that no kind of login is possible, unless the reason is a finding already."""
    has_key = any(file.usable for file in files)
    has_other_keys = any(effective.get(key, "none") != "none" for key in ("authorizedkeyscommand", "trustedusercakeys"))
    methods = {
        "publickey": (has_key or has_other_keys, "pubkeyauthentication"),
        "password": (accounts.has_password(name), "passwordauthentication"),
        "keyboard-interactive": (accounts.has_password(name), "kbdinteractiveauthentication"),
    }
    if not (files or has_other_keys or accounts.has_password(name)):
        path = next(iter(key_files(name, effective)), "")
        add = f"rosterd client key add {name} --key FILE --apply"
        remedy = add if path == homes.keys(name) else f"put its public key into {path}"
        yield topic.warning(f"{name} cannot log in yet", remedy)
        return
    open_methods = {method for method, (has_it, setting) in methods.items() if has_it and effective.is_on(setting)}
    required = effective.get("authenticationmethods", "any").split()
    chains = [{method.partition(":")[0] for method in chain.split(",")} for chain in required]
    if open_methods and (required == ["any"] or any(chain <= open_methods for chain in chains)):
        return
    if any(has_it for has_it, _ in methods.values()):
        methods_in_use = " and ".join(method for method, (has_it, _) in methods.items() if has_it)
        settings = "PubkeyAuthentication, PasswordAuthentication and AuthenticationMethods"
        yield topic.fault(
            f"{name} cannot log in: sshd accepts no {methods_in_use}", f"see {settings} in sshd_config(5)"
        )
