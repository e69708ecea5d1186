"""What `rosterd doctor` checks about the running process of the service: its rights, and what it reports."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from importer.settings import ClientSettings
from operate.doctor.findings import Findings, Topic
from operate.output import some
from watcher.health.status import read_status
from watcher.lock import is_locked
from watcher.settings import Config

_CAPABILITIES: Final = {
    2: ("CAP_DAC_READ_SEARCH", "uploads that only the client may read cannot be imported"),
    28: ("CAP_LEASE", "only a long quiet period shows that a file is finished"),
}
_SERVER: Final = "database server"  # in a reason whose remedy is there
# systemd refuses a start after too many failures, until they are reset.
_START: Final = "why it ended: journalctl -u rosterd; then: systemctl reset-failed rosterd; systemctl start rosterd"
_UNIT_REMEDY: Final = "run it with the systemd unit that comes with rosterd"

MAIL_REMEDY: Final = (
    "imports continue, mail waits; correct [mail], or put the password into /etc/rosterd/smtp_password, owned by root, "
    "mode 0600; then systemctl restart rosterd, as systemd passes a password on only at the start"
)


def process_findings(state_dir: str, *, is_config_outdated: bool) -> Findings:
    """
    Yield whether the service runs, its rights, and what it reports about all clients.

    With `is_config_outdated` the errors of the configuration, for which it refuses a reload, are findings already.
    """
    topic = Topic("service")
    runs = is_locked(state_dir)
    status = read_status(state_dir) if runs else None
    if not runs:
        yield topic.fault("is not running", _START)
    elif status is None:
        yield topic.warning("is running but does not report its status", "systemctl restart rosterd")
    else:
        yield topic.ok(f"is running as process {status.pid} since {status.started_at:%Y-%m-%d %H:%M:%S} UTC")
        yield from _rights(topic, status.pid)
        unwatched = [client.client for client in status.clients if not client.is_watched and not client.trouble]
        if unwatched:
            yield topic.warning(f"not watched, only swept: {some(unwatched)}", "see watch.refused in the log")
        if status.reload_trouble and not is_config_outdated:
            what = f"the service refused a reload, and uses the previous one: {status.reload_trouble}"
            yield Topic("configuration").fault(what, "systemctl restart rosterd")
        if status.database_trouble:
            remedy = "do that; the service checks every 10 s and resumes by itself"
            yield Topic("database").fault(f"the service cannot write it: {status.database_trouble}", remedy)
        if status.mail_trouble:
            yield Topic("mail").fault(f"the service cannot send any: {status.mail_trouble}", MAIL_REMEDY)


def _rights(topic: Topic, pid: int) -> Findings:
    """Yield which capabilities the process has or lacks. Source: /proc/PID/status."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        is_ours = b"python" in Path(f"/proc/{pid}/cmdline").read_bytes()  # else the service is in another container
    except OSError:
        is_ours = False
    if not is_ours:
        yield topic.warning(f"process {pid} cannot be examined")
        return
    effective = int(_field(status, "CapEff"), 16)
    if _field(status, "Uid").split()[1] == "0":
        yield topic.warning("runs as root", _UNIT_REMEDY)
        return
    missing = [(name, otherwise) for bit, (name, otherwise) in _CAPABILITIES.items() if not effective >> bit & 1]
    for name, otherwise in missing:
        yield topic.warning(f"lacks {name}: {otherwise}", _UNIT_REMEDY)
    if effective & ~sum(1 << bit for bit in _CAPABILITIES):
        yield topic.warning(f"has more rights than it needs: capabilities {effective:#x}", _UNIT_REMEDY)
    elif not missing:
        yield topic.ok("has the capabilities it needs, and no others")


def _field(status: str, name: str) -> str:
    match = re.search(rf"^{name}:\s*(.*)$", status, re.MULTILINE)
    return match[1] if match else "0"


def trouble_findings(config: Config, clients: Iterable[ClientSettings]) -> Findings:
    """Yield what keeps the running service from importing the files of these clients."""
    status = read_status(config.service.state_dir) if is_locked(config.service.state_dir) else None
    known = {client.client: client for client in status.clients} if status else {}
    of_server: dict[str, str] = {}  # by what to do: of each client it may name another table
    for client in (known[each.name] for each in clients if each.name in known):
        topic = Topic(f"client {client.client}")
        if client.trouble:
            remedy = "see the lines about its folders; the service looks again every 10 s"
            yield topic.fault(f"its inbox cannot be used: {client.trouble}", remedy)
        if _SERVER in client.deferred:  # no finding about the client, or another one of it would explain this
            of_server.setdefault(client.deferred.rpartition(": ")[2], client.deferred)
        elif client.deferred:
            remedy = "see the lines about disk, database and folders; the service tries again every minute"
            if status and "locked" in client.deferred:
                remedy = _unlocking(config.service.database, status.pid)
            yield topic.fault(f"its files have to wait: {client.deferred}", remedy)
    for reason in of_server.values():
        yield Topic("database").fault(f"files have to wait: {reason}", "do that; the service tries again every minute")


def _unlocking(database: str, service_pid: int) -> str:
    """Return what to do about a lock that another program holds, which is named where it can be."""
    holders = [holder for holder in _writers(database) if holder not in (0, service_pid)]
    if not holders:
        return "another program had the database locked a moment ago; the service tries again every minute"
    return f"end what holds the lock: ps -f -p {','.join(map(str, holders))}; the service tries again every minute"


def _writers(database: str) -> list[int]:
    """Return the processes that hold a lock for writing on a file of a database. Source: proc_locks(5)."""
    inodes = set()
    for path in (database, f"{database}-wal", f"{database}-shm"):
        with contextlib.suppress(OSError):
            inodes.add(str(os.stat(path).st_ino))
    locks = [line.split() for line in Path("/proc/locks").read_text(encoding="ascii").splitlines()]
    # "7: POSIX  ADVISORY  WRITE 4711 fd:00:2198671 120 120"; one that waits has "->" after the number.
    held = [words for words in locks if words[3] == "WRITE" and words[5].rpartition(":")[2] in inodes]
    return sorted({int(words[4]) for words in held})
