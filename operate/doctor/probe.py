"""
A login as a client, tried by `rosterd doctor --probe` with a key that nobody has.

The key is let in by one line more in the client's file of keys: good for a minute, from this machine alone, for
nothing but the session. It is taken out again, and were we killed before, it is worth nothing a minute later; the next
probe removes it. Nothing is uploaded.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from importer import fs
from importer.durable import write_durably
from operate.doctor import sshd
from operate.doctor.findings import Findings, Topic
from operate.doctor.logins import key_files
from operate.doctor.sshd import Address, Effective
from operate.output import shown
from operate.provision import layout, steps
from operate.provision.keys import PROBE, PROBE_NAME

_FIRST_VERSION: Final = (9, 1)  # takes an expiry-time in UTC
_GOOD_FOR_S: Final = 60
_TIMEOUT_S: Final = 30
_MEMORY: Final = "/run"
_OPTIONS: Final = {
    "BatchMode": "yes",
    "ConnectTimeout": "10",
    "GlobalKnownHostsFile": "/dev/null",
    "IdentitiesOnly": "yes",
    "IdentityAgent": "none",
    "LogLevel": "ERROR",
    "PreferredAuthentications": "publickey",
    "StrictHostKeyChecking": "no",
    "UserKnownHostsFile": "/dev/null",
}


def probe_findings(topic: Topic, name: str, inbox: str, effective: Effective) -> Findings:
    """Yield how a login by key went; none where the client has no key, or needs more than that."""
    chains = effective.get("authenticationmethods", "any").split()
    if layout.keys(name) not in key_files(name, effective) or not os.path.isfile(layout.keys(name)):
        return
    if not {"any", "publickey"} & {*chains} or sshd.version() < _FIRST_VERSION:
        yield topic.ok("no test login: it needs OpenSSH 9.1, and a login for which a key is enough")
        return
    where = next(iter(sshd.addresses(effective)), None)
    if where is None:
        return  # sshd has its own line
    folder = "/" + os.path.relpath(inbox, layout.chroot(name))
    try:
        reason = _try(name, where, folder)
    except (OSError, steps.StepFailed) as error:
        yield topic.warning(f"a test login as {name} was not possible: {error}")
        return
    if reason:
        yield topic.fault(f"a test login as {name} with a temporary key failed: {reason}", "journalctl -u ssh")
    else:
        yield topic.ok(f"a test login as {name} with a temporary key reached {folder}")


def _try(name: str, where: Address, folder: str) -> str:
    """Return why a login fails, "" when it does not."""
    with tempfile.TemporaryDirectory(dir=_MEMORY) as place:
        key = Path(place, "key")
        steps.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", PROBE_NAME, "-f", str(key)))
        expiry = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + _GOOD_FOR_S))
        public = key.with_suffix(".pub").read_text(encoding="ascii").strip()
        with _let_in(name, f'restrict,expiry-time="{expiry}",from="{where[0]}" {public}'):
            return _log_in(name, where, key, f'cd "{folder}"\nls .bak\n')


def _log_in(name: str, where: Address, key: Path, batch: str) -> str:
    host, port = where
    options = [word for option, value in _OPTIONS.items() for word in ("-o", f"{option}={value}")]
    address = f"{name}@[{host}]" if ":" in host else f"{name}@{host}"
    try:
        done = subprocess.run(  # noqa: S603 - of the system; the login was checked
            ["sftp", "-q", "-F", "none", *options, "-i", str(key), "-P", str(port), "-b", "-", address],  # noqa: S607
            input=batch,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
            env=steps.environment(),
        )
    except subprocess.TimeoutExpired:
        return f"it did not end within {_TIMEOUT_S} s"
    except OSError as error:
        return f"sftp: {error.strerror}"
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return shown(next(iter(lines), f"sftp ended with {done.returncode}"), limit=200) if done.returncode else ""


@contextlib.contextmanager
def _let_in(name: str, line: str) -> Iterator[None]:
    """Let a key in meanwhile. Others who probe have to wait; a signal to end is obeyed once the line is out again."""
    with _folder() as fd, _ended_by(signal.SIGTERM, signal.SIGHUP):
        try:
            _rewrite(fd, name, lambda lines: [line, *lines])
            yield
        finally:
            _rewrite(fd, name, lambda lines: lines)


@contextlib.contextmanager
def _folder() -> Iterator[int]:
    with fs.open_folder(layout.KEYS, flags=fs.OWN_FOLDER) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd


@contextlib.contextmanager
def _ended_by(*signals: signal.Signals) -> Iterator[None]:
    """Turn signals into an exit, for the sake of what is still to be put back."""
    before = {number: signal.signal(number, lambda number, _: sys.exit(128 + number)) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _rewrite(folder_fd: int, name: str, changed: Callable[[list[str]], list[str]]) -> None:
    """Write a file of keys with other lines, those of probes left out; owner and mode stay. Raises OSError."""
    with fs.open_file(name, folder_fd) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{layout.keys(name)}: is not a regular file")
        content = file.read().decode("utf-8", "surrogateescape")
    lines = [line for line in content.split("\n") if not PROBE.fullmatch(line)]
    if (after := "\n".join(changed(lines))) == content:
        return
    write_durably(
        folder_fd, os.fsencode(name), [after.encode("utf-8", "surrogateescape")], mode=stat.S_IMODE(found.st_mode)
    )
    os.chown(name, found.st_uid, found.st_gid, dir_fd=folder_fd, follow_symlinks=False)
