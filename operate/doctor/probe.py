"""
A test login as a client, by `rosterd doctor --probe` with a temporary key.

An additional line in the client's file of keys admits the key: for a minute, from this machine only, without forwarding
or terminal. It is removed afterwards; if the command is killed before, the line expires after that minute, and the next
probe removes it. Nothing is uploaded.
"""

from __future__ import annotations

import contextlib
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
from operate.provision import homes, steps
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
    """Yield the result of a login by key; none if the client has no key, or needs more than that."""
    chains = effective.get("authenticationmethods", "any").split()
    if homes.keys(name) not in key_files(name, effective) or not os.path.isfile(homes.keys(name)):
        return
    if not {"any", "publickey"} & {*chains} or sshd.version() < _FIRST_VERSION:
        yield topic.ok("no test login: it needs OpenSSH 9.1, and a login for which a key is enough")
        return
    where = next(iter(sshd.addresses(effective)), None)
    if where is None:
        return  # reported by the line about sshd
    folder = "/" + os.path.relpath(inbox, homes.chroot(name))
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
        with _authorized(name, f'restrict,expiry-time="{expiry}",from="{where[0]}" {public}'):
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
def _authorized(name: str, line: str) -> Iterator[None]:
    """Admit a key within the block. Other probes wait; a signal to end takes effect after the line is removed."""
    with steps.locked(homes.KEYS) as fd, _ended_by(signal.SIGTERM, signal.SIGHUP):
        try:
            _rewrite(fd, name, lambda lines: [line, *lines])
            yield
        finally:
            _rewrite(fd, name, lambda lines: lines)


@contextlib.contextmanager
def _ended_by(*signals: signal.Signals) -> Iterator[None]:
    """Turn signals into an exit, so that the cleanup still runs."""
    before = {number: signal.signal(number, lambda number, _: sys.exit(128 + number)) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _rewrite(folder_fd: int, name: str, changed: Callable[[list[str]], list[str]]) -> None:
    """Write a file of keys with new lines, without those of probes; owner and mode stay. Raises OSError."""
    with fs.open_file(name, folder_fd) as file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise OSError(f"{homes.keys(name)}: is not a regular file")
        content = file.read().decode("utf-8", "surrogateescape")
    lines = [line for line in content.split("\n") if not PROBE.fullmatch(line)]
    if (after := "\n".join(changed(lines))) == content:
        return
    encoded, owner = after.encode("utf-8", "surrogateescape"), (info.st_uid, info.st_gid)
    write_durably(folder_fd, os.fsencode(name), [encoded], mode=stat.S_IMODE(info.st_mode), owner=owner)
