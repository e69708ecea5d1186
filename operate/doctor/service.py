"""What `rosterd doctor` checks about the service: the process and its rights, state directory, database, mail."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import shlex
import socket
import stat
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from importer.mail.delivery import make_transport
from importer.mail.smtp import SmtpTransport
from importer.settings import MailSettings, MailUnusable
from importer.store import integrity, queries
from importer.store.connection import VERSION, VERSION_INFO, Connection, log_files, read_only
from importer.store.errors import StoreError
from operate.doctor.findings import Findings, Severity, Topic
from operate.provision import layout, steps
from watcher.config import ConfigError, smtp_password
from watcher.health.obstacle import obstacle
from watcher.health.status import read_status
from watcher.lock import is_locked
from watcher.owner import owner_of, user_name
from watcher.settings import Config

_CAPABILITIES: Final = {
    2: ("CAP_DAC_READ_SEARCH", "uploads that only the client may read cannot be imported"),
    28: ("CAP_LEASE", "only a long quiet period shows that a file is finished"),
}
_OLDEST_SQLITE: Final = (3, 37, 0)  # STRICT tables
_CLOCK_SLACK_S: Final = 300
_MAX_DAMAGES: Final = 5
_SHOWN: Final = 5  # wrongly owned files, by name
_OLD_TEXTFILE_S: Final = 120  # written every 30 s
# systemd refuses a start after too many failures, until they are reset.
_START: Final = "why it ended: journalctl -u rosterd; then: systemctl reset-failed rosterd; systemctl start rosterd"
_UNIT_REMEDY: Final = "run it with the systemd unit that comes with rosterd"

_MAIL_REMEDY: Final = (
    "imports continue, mail waits; correct [mail], or put the password into /etc/rosterd/smtp_password, owned by root, "
    "mode 0600; then systemctl restart rosterd, as systemd passes a password on only at the start"
)


def service_findings(config: Config) -> Findings:
    """Yield what is found about the service, running or not."""
    yield from _process(config.service.state_dir)
    yield from _root(config)
    yield from _state_dir(config.service.state_dir)
    yield from _owners(config)
    yield from _database(Path(config.service.database), owner_of(config.service.state_dir)[0])
    yield from _mail(config.mail)
    yield from _textfile(config)


# The process


def _process(state_dir: str) -> Findings:
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
            yield topic.warning(f"not watched, only swept: {', '.join(unwatched)}", "see watch.refused in the log")
        if status.database_trouble:
            remedy = "do that; the service checks every 10 s and resumes by itself"
            yield Topic("database").fault(f"the service cannot write it: {status.database_trouble}", remedy)
        if status.mail_trouble:
            yield Topic("mail").fault(f"the service cannot send any: {status.mail_trouble}", _MAIL_REMEDY)
        for client in status.clients:
            if client.trouble:
                remedy = "see the lines about its folders; the service looks again every 10 s"
                yield Topic(f"client {client.client}").fault(f"its inbox cannot be used: {client.trouble}", remedy)
            if client.deferred:
                remedy = "see the lines about disk, database and folders; the service tries again every minute"
                yield Topic(f"client {client.client}").fault(f"its files have to wait: {client.deferred}", remedy)


def _rights(topic: Topic, pid: int) -> Findings:
    """Yield what the process may do beyond others, or lacks. Source: /proc/PID/status."""
    try:
        told = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        yield topic.warning(f"process {pid} cannot be examined")
        return
    effective = int(_field(told, "CapEff"), 16)
    if _field(told, "Uid").split()[1] == "0":
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
    found = re.search(rf"^{name}:\s*(.*)$", status, re.MULTILINE)
    return found[1] if found else "0"


def _root(config: Config) -> Findings:
    """Yield what is outside of the root that the unit gives the service; this command runs without that root."""
    unit = _unit("RootDirectory", "BindPaths", "BindReadOnlyPaths")
    root = unit.get("RootDirectory", "")
    if not root:
        return
    if not os.path.isdir(root):
        yield Topic("service").fault(f"{root}: does not exist", "systemd-tmpfiles --create; systemctl start rosterd")
    service, mail = config.service, config.mail
    written = {service.state_dir: service.state_dir, service.database: os.path.dirname(service.database)}
    written |= {mail.maildir: mail.maildir} | {each.inbox: os.path.dirname(each.inbox) for each in config.clients}
    yield from _outside("BindPaths", written, unit["BindPaths"])
    read = [mail.ca_file] if mail.ca_file else []
    if mail.host and not mail.is_local:
        read.append(os.path.realpath("/etc/resolv.conf"))
    folders = {path: os.path.dirname(path) for path in read}
    yield from _outside("BindReadOnlyPaths", folders, f"{unit['BindPaths']} {unit['BindReadOnlyPaths']}")


def _outside(setting: str, needed: dict[str, str], bound: str) -> Findings:
    """Yield which paths, each with the folder to bind for it, are below none of those "-/srv:/srv:rbind /opt:..."."""
    seen = [word.split(":")[1] for word in bound.split()]
    for path, folder in needed.items():
        if not any(f"{path}/".startswith(f"{each}/") for each in seen):
            seen.append(folder if folder != "/" else path)
            yield Topic("service").fault(
                f"{path}: the unit does not let the service access it",
                f"systemctl edit rosterd, and add there below [Service]: {setting}={seen[-1]}; "
                "then systemctl restart rosterd",
            )


def _unit(*names: str) -> dict[str, str]:
    """Return properties of the unit, none without systemd."""
    try:
        told = steps.run(("systemctl", "show", steps.SERVICE, f"--property={','.join(names)}"))
    except steps.StepFailed:
        return {}
    return dict(line.partition("=")[::2] for line in told.splitlines())


def _state_dir(state_dir: str) -> Findings:
    topic = Topic("state")
    try:
        found = os.stat(state_dir)
    except OSError as error:
        yield topic.fault(f"{state_dir}: {error.strerror}", "systemd-tmpfiles --create; systemctl start rosterd")
        return
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode = stat.S_IMODE(found.st_mode)
        yield topic.fault(f"{state_dir}: others can access it, mode {mode:04o}", f"chmod 0700 {state_dir}")
    else:
        yield topic.ok(f"only the service can access {state_dir}")


def _owners(config: Config) -> Findings:
    """Yield that the service cannot use what is its own, since another user made it."""
    state_dir, database = config.service.state_dir, config.service.database
    uid, gid = owner_of(state_dir)
    kept = _below(state_dir) | _below(config.mail.maildir) | {database, *map(str, log_files(Path(database)))}
    wrong = sorted(path for path in kept if (found := _uid(path)) is not None and found != uid)
    if not wrong:
        return
    outside = [path for path in wrong if not f"{path}/".startswith(f"{state_dir}/")]
    paths = shlex.join([*([state_dir] if len(outside) < len(wrong) else []), *outside])
    owners = " and ".join(sorted({user_name(_uid(path) or 0) for path in wrong}))
    shown = ", ".join(wrong[:_SHOWN]) + (f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else "")
    yield Topic("state").fault(
        f"belongs to {owners}, so the service ({user_name(uid)}) cannot use it: {shown}",
        f"systemctl stop rosterd; chown -hR {uid}:{gid} {paths}; systemctl start rosterd",
    )


def _below(folder: str) -> set[str]:
    """Return a folder and what is in it, two levels deep: those of a Maildir, too."""
    paths = {folder}
    for path, folders, files in os.walk(folder):
        paths |= {os.path.join(path, name) for name in (*folders, *files)}
        if path != folder:
            folders.clear()
    return paths


def _uid(path: str) -> int | None:
    try:
        return os.lstat(path).st_uid
    except FileNotFoundError:
        return None


# The database


def _database(path: Path, uid: int) -> Findings:
    topic = Topic("database")
    if VERSION_INFO < _OLDEST_SQLITE:
        yield topic.fault(f"SQLite is {VERSION}; expected 3.37 or newer", "upgrade libsqlite3-0")
    if not path.exists():
        yield topic.ok(f"{path}: will be created at the first start")
        return
    what, remedy = obstacle(path, uid)
    if what:
        yield topic.fault(what, remedy)
    try:
        with contextlib.closing(read_only(path)) as database:
            found = _damages(topic, path, database)
            yield from (each for each in found if not (what and each.level is Severity.OK))
            yield from _future(database)
    except StoreError as error:
        yield topic.fault(f"{path}: {error}", "rosterd verify shows details; restore a damaged database from a backup")


def _damages(topic: Topic, path: Path, database: Connection) -> Findings:
    if not integrity.is_ours(database):
        yield topic.fault(f"{path}: is not a database of rosterd", "name another file in [service] database")
        return
    damages = integrity.damages(database, quick=True, at_most=_MAX_DAMAGES)
    for damage in damages:
        yield topic.fault(f"{path}: {damage}", "stop the service and restore the database from a backup")
    if not damages:
        yield topic.ok(f"{path}: sound, SQLite {VERSION}")


def _future(database: Connection) -> Findings:
    """Yield that the clock was put back: an import is recorded for a time to come."""
    last = queries.last_finished_at(database)
    if last and (datetime.fromisoformat(last) - datetime.now(UTC)).total_seconds() > _CLOCK_SLACK_S:
        yield Topic("clock").warning(f"is behind: the last import is recorded at {last}", "timedatectl")


# Metrics


def _textfile(config: Config) -> Findings:
    """Yield whether the textfile is fresh; usually it is not because the unit hides its folder from the service."""
    path = config.metrics.textfile
    if not path or not _runs(config.service.state_dir):
        return
    topic = Topic("metrics")
    try:
        age_s = time.time() - os.stat(path).st_mtime
    except OSError as error:
        fresh, told = False, error.strerror
    else:
        fresh, told = age_s < _OLD_TEXTFILE_S, f"is {age_s / 60:.0f} minutes old"
    folder = os.path.dirname(path)
    if fresh:
        yield topic.ok(f"{path} is fresh")
    else:
        yield topic.warning(
            f"{path}: {told}",
            f"systemctl edit rosterd, and add there below [Service]: BindPaths={folder}; "
            f"the user {layout.SERVICE_USER} must be allowed to write there",
        )


def _runs(state_dir: str) -> bool:
    with contextlib.suppress(OSError):
        return is_locked(state_dir)
    return False


# Mail


def _mail(settings: MailSettings) -> Findings:
    topic = Topic("mail")
    if not settings.host:
        yield topic.warning(
            f"no SMTP server is configured: mail is only stored in the Maildir {settings.maildir} and reaches nobody",
            "set [mail] host to the server, then systemctl reload rosterd",
        )
        return
    try:
        yield from _greeting(topic, settings)
    except (MailUnusable, ConfigError) as error:
        yield topic.fault(str(error), _MAIL_REMEDY)
    if not settings.is_local:
        yield from _firewall(topic, settings.host)


def _greeting(topic: Topic, settings: MailSettings) -> Findings:
    """Yield how connecting and logging in went; no mail is sent."""
    where = f"{settings.host} port {settings.port}, {settings.security}"
    transport = make_transport(settings, smtp_password())
    assert isinstance(transport, SmtpTransport)  # noqa: S101 - the settings name a host
    connection = transport._client(settings.reply_to)  # noqa: SLF001 - the very set-up that mail is sent with
    try:
        connection.login()
        connection.close()
    except OSError as error:
        yield topic.fault(f"{where}: {error}", "see host, port, security, user and ca_file in [mail]")
        return
    login = f", logged in as {settings.user}" if settings.user else ""
    yield topic.ok(f"{where}: answers{login}")
    if settings.ca_file and (objection := transport.strict_objection()):
        yield topic.warning(
            f"{settings.ca_file}: accepted, though a strict check would refuse its certificates: {objection}",
            "create the authority again with -addext keyUsage=critical,keyCertSign,cRLSign, and its certificates",
        )


def _firewall(topic: Topic, host: str) -> Findings:
    """Yield that the unit keeps the service from the server, which this command, outside of it, would not feel."""
    unit = _unit("IPAddressAllow", "IPAddressDeny")
    try:
        addresses = {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except OSError:
        return  # said by the greeting
    denied = _covered(addresses, unit.get("IPAddressDeny", ""))
    if blocked := sorted(denied - _covered(addresses, unit.get("IPAddressAllow", ""))):
        yield topic.fault(
            f"the unit does not let the service reach {host}",
            f"systemctl edit rosterd, and add there below [Service]: IPAddressAllow={' '.join(blocked)}, "
            "with the address of the name server if it is not this machine's own",
        )


def _covered(addresses: Iterable[str], networks: str) -> set[str]:
    """Return those addresses that are in one of the networks, "127.0.0.0/8 ::1/128"."""
    parsed = [ipaddress.ip_network(network) for network in networks.split()]
    return {address for address in addresses if any(ipaddress.ip_address(address) in network for network in parsed)}
