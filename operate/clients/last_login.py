"""
When a client last logged in, and by which key, from the log of sshd: the journal, else the files that syslog writes.

Bounded in time: the journal is asked for a few seconds, and of a file only the end is read.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from operate.provision import steps

_TIMEOUT_S: Final = 5.0
_MAX_BYTES: Final = 16 << 20  # some 100,000 lines; read and searched in 0.1 s
_FILES: Final = ("/var/log/auth.log", "/var/log/auth.log.1", "/var/log/secure")  # Debian's, and that of others
_ACCEPTED: Final = r"Accepted (\S+) for {name} from (\S+) port \d+ ssh2(?:: \S+ (SHA256:\S+))?"
# What rsyslog writes: "2026-11-29T21:28:10.123456+00:00 host sshd[12]: ", before Debian 12 "Nov 29 21:28:10 host ...".
_LINE: Final = r"^(\S+T\S+|[A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d) \S+ sshd(?:-session)?\[\d+\]: " + _ACCEPTED
_IN_FUTURE: Final = timedelta(days=1)


class LastLogin(msgspec.Struct, frozen=True):
    """A login that sshd accepted."""

    at: datetime
    by: str  # "publickey", "password"
    address: str
    fingerprint: str  # of the key: "SHA256:...", or ""


class NotKnown(Exception):
    """The log does not tell; the text says what was searched."""


def last_login(name: str) -> LastLogin:
    """Return the last login that the log knows. Raises NotKnown."""
    logins, searched = [], []
    try:
        if login := _in_journal(name):
            logins.append(login)
        searched.append("the journal")
    except NotKnown as error:
        searched.append(str(error))
    for path in _FILES:
        with contextlib.suppress(OSError):
            logins += [login for login in [_in_file(path, name)] if login]
            searched.append(path)
    if not logins:
        raise NotKnown(f"no login in {', '.join(searched)}")
    return max(logins, key=lambda login: login.at)


def _in_journal(name: str) -> LastLogin | None:
    """Return the last login in the journal, only from what root's sshd wrote there. Raises NotKnown."""
    pattern = _ACCEPTED.format(name=re.escape(name))
    command = ["journalctl", "--quiet", "--no-pager", "--reverse", "--lines=1", "--output=json", "--case-sensitive=yes"]
    about = [f"--grep=^{pattern}", "_UID=0", "_COMM=sshd", "_COMM=sshd-session"]
    try:
        done = subprocess.run(  # noqa: S603 - of the system; the name was checked
            [*command, *about],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
            env=steps.environment(),
        )
    except subprocess.TimeoutExpired:
        raise NotKnown(f"the journal, which was not searched to its end within {_TIMEOUT_S:.0f} s") from None
    except OSError as error:
        raise NotKnown(f"the journal, which cannot be read: {error.strerror}") from error
    with contextlib.suppress(msgspec.DecodeError, KeyError, TypeError, ValueError):
        entry = msgspec.json.decode(done.stdout)
        if match := re.match(pattern, entry["MESSAGE"]):
            return _login(datetime.fromtimestamp(int(entry["__REALTIME_TIMESTAMP"]) / 1e6, UTC), *match.groups(""))
    return None


def _in_file(path: str, name: str) -> LastLogin | None:
    """Return the last login in the end of a file. Raises OSError."""
    with open(path, "rb") as file:
        size_bytes = file.seek(0, os.SEEK_END)
        file.seek(max(size_bytes - _MAX_BYTES, 0))
        text = file.read(_MAX_BYTES).decode("utf-8", "replace")
    lines = list(re.finditer(_LINE.format(name=re.escape(name)), text, re.MULTILINE))
    times = [(at, line) for line in lines[-1:] if (at := _time(line[1]))]
    return next((_login(at, *line.groups("")[1:]) for at, line in times), None)


def _login(at: datetime, by: str, address: str, fingerprint: str) -> LastLogin:
    return LastLogin(at, by, address, fingerprint)


def _time(text: str) -> datetime | None:
    """Return the time of a line, None if it is none. A line without a year is from the last twelve months."""
    with contextlib.suppress(ValueError):
        if text[0].isdigit():
            return datetime.fromisoformat(text).astimezone(UTC)
        now = datetime.now(UTC)
        for year in (now.year + 1, now.year, now.year - 1, now.year - 2):
            with contextlib.suppress(ValueError):  # 29 February
                at = datetime.strptime(f"{year} {text}", "%Y %b %d %H:%M:%S").astimezone(UTC)  # the host's zone
                if at < now + _IN_FUTURE:
                    return at
    return None
