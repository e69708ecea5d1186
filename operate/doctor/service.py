"""What `rosterd doctor` checks about the service: its unit, state directory, metrics, mail, webhooks, console."""

from __future__ import annotations

import contextlib
import grp
import ipaddress
import os
import shlex
import socket
import stat
import time
import urllib.parse
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from importer.file.unwrap.gnupg import PUBLIC_KEYS
from importer.sending.sender import name_of
from importer.settings import HookSettings, MailSettings, MailUnusable, is_local
from importer.store.sqlite.connection import log_files
from operate.doctor.findings import Findings, Topic
from operate.doctor.process import MAIL_REMEDY
from operate.provision import accounts, homes, steps
from watcher.config import ConfigError, hook_secret, smtp_password
from watcher.lock import is_locked
from watcher.owner import CONSOLE_USER, SERVICE_USER, console_of, owner_of, user_name
from watcher.settings import CONSOLE_USERS, Config, ConsoleSettings, ServiceSettings

_SHOWN: Final = 5  # wrongly owned files, by name
_OLD_TEXTFILE_S: Final = 120  # written every 30 s
_OLD_COPY_H: Final = 48  # made every night
_CONNECT_S: Final = 10.0
_EXPIRES_SOON_DAYS: Final = 14  # authorities that renew by themselves have done so by then
_UNKNOWN_ISSUER: Final = (18, 19, 20, 21)  # X509_V_ERR_*: nobody whom this host trusts has signed it
_READERS: Final = "rosterd-read"


def service_findings(config: Config) -> Findings:
    """Yield the results for the service, running or not."""
    yield from _root(config)
    yield from _state_dir(config.service.state_dir)
    yield from _owners(config)
    yield from _server(config.service)
    yield from _mail(config.mail)
    yield from _hooks(config)
    yield from _textfile(config)
    yield from _read_copy(config.service)
    yield from console_findings(config.console)


# The unit


def _root(config: Config) -> Findings:
    """Yield the paths outside of the root that the unit gives the service; this command runs without it."""
    unit = _unit("RootDirectory", "BindPaths", "BindReadOnlyPaths")
    root = unit.get("RootDirectory", "")
    if not root:
        return
    if not os.path.isdir(root):
        yield Topic("service").fault(f"{root}: does not exist", "systemd-tmpfiles --create; systemctl start rosterd")
    service, mail = config.service, config.mail
    written = {service.state_dir: service.state_dir}
    if service.place.file is not None:
        written[service.database] = os.path.dirname(service.database)
    if service.read_copy:
        written[service.read_copy] = os.path.dirname(service.read_copy)
    written |= {mail.maildir: mail.maildir} | {each.inbox: os.path.dirname(each.inbox) for each in config.clients}
    yield from _outside("BindPaths", written, unit["BindPaths"])
    read = [*filter(None, (mail.ca_file, *(client.protected_users for client in config.clients)))]
    if "pgp" in config.file.accept:
        read.append(os.path.join(config.file.pgp_home, PUBLIC_KEYS))
    if mail.host and not mail.is_local:
        read.append(os.path.realpath("/etc/resolv.conf"))
    folders = {path: os.path.dirname(path) for path in read}
    yield from _outside("BindReadOnlyPaths", folders, f"{unit['BindPaths']} {unit['BindReadOnlyPaths']}")


def _outside(setting: str, needed: dict[str, str], bound: str) -> Findings:
    """Yield the paths, each with the folder to bind for it, that are below none of "-/srv:/srv:rbind /opt:..."."""
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
        shown = steps.run(("systemctl", "show", steps.SERVICE, f"--property={','.join(names)}"))
    except steps.StepFailed:
        return {}
    return dict(line.partition("=")[::2] for line in shown.splitlines())


def _state_dir(state_dir: str) -> Findings:
    topic = Topic("state")
    try:
        info = os.stat(state_dir)
    except OSError as error:
        yield topic.fault(f"{state_dir}: {error.strerror}", "systemd-tmpfiles --create; systemctl start rosterd")
        return
    right = 0o710 if console_of(state_dir) else 0o700
    mode = stat.S_IMODE(info.st_mode)
    if mode & 0o077 & ~right:
        yield topic.fault(f"{state_dir}: others can access it, mode {mode:04o}", f"chmod {right:04o} {state_dir}")
    elif not mode & 0o077:
        yield topic.ok(f"only the service can access {state_dir}")
    elif others := _members(info.st_gid):
        name = accounts.group_name(info.st_gid)
        yield topic.fault(
            f"{state_dir}: {', '.join(others)} can read the database, by the group {name}",
            f"gpasswd --delete {others[0]} {name}; a proxy of the console belongs in the group {CONSOLE_USER}",
        )
    else:
        yield topic.ok(f"only the service and its console can access {state_dir}")


def _members(gid: int) -> list[str]:
    """Return who is in the group of the service, besides the console."""
    return [name for name in grp.getgrgid(gid).gr_mem if name not in (CONSOLE_USER, SERVICE_USER)]


def _owners(config: Config) -> Findings:
    """Yield that the service cannot use its own files, because another user created them."""
    state_dir, database = config.service.state_dir, config.service.database
    uid, gid = owner_of(state_dir)
    users = os.path.join(state_dir, CONSOLE_USERS)
    if (ids := console_of(state_dir)) and (owner := _uid(users)) not in (None, ids[0]):
        yield Topic("state").fault(
            f"{users}: belongs to {user_name(owner or 0)}, so nobody can log in to the console",
            f"chown {CONSOLE_USER}: {users}",
        )
    own_paths = (_below(state_dir) | _below(config.mail.maildir)) - ({users} if ids else set())
    if config.service.place.file is not None:
        own_paths |= {database, *map(str, log_files(Path(database)))}
    wrong = sorted(path for path in own_paths if (owner := _uid(path)) is not None and owner != uid)
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
    """Return a folder and its contents, two levels deep, which includes a Maildir."""
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


# Metrics


def _textfile(config: Config) -> Findings:
    """Yield whether the textfile is fresh; if not, usually because the unit hides its folder from the service."""
    path = config.metrics.textfile
    if not path or not _runs(config.service.state_dir):
        return
    topic = Topic("metrics")
    try:
        age_s = time.time() - os.stat(path).st_mtime
    except OSError as error:
        fresh, trouble = False, error.strerror
    else:
        fresh, trouble = age_s < _OLD_TEXTFILE_S, f"is {age_s / 60:.0f} minutes old"
    folder = os.path.dirname(path)
    if fresh:
        yield topic.ok(f"{path} is fresh")
    else:
        yield topic.warning(
            f"{path}: {trouble}",
            f"systemctl edit rosterd, and add there below [Service]: BindPaths={folder}; "
            f"the user {homes.SERVICE_USER} must be allowed to write there",
        )


# Readers


def _read_copy(service: ServiceSettings) -> Findings:
    """Yield whether there is a read copy, and whether only the group that it is for can read it."""
    path = service.read_copy
    if not path or not _runs(service.state_dir):
        return
    topic, folder = Topic("readers"), os.path.dirname(path)
    made_by = f"install -d -o {homes.SERVICE_USER} -g {_READERS} -m 2750 {folder}"
    try:
        info = os.stat(path)
    except OSError as error:
        yield topic.fault(
            f"{path}: {error.strerror}", f"{made_by}; if it stays, journalctl -u rosterd has copy.refused"
        )
        return
    age_h = (time.time() - info.st_mtime) / 3600
    if service.read_copy_when == "nightly" and age_h > _OLD_COPY_H:
        yield topic.warning(f"{path}: is {age_h:.0f} hours old", "journalctl -u rosterd has copy.refused")
    elif accounts.group_name(info.st_gid) != _READERS:
        yield topic.warning(f"{path}: its group is {accounts.group_name(info.st_gid)}; expected {_READERS}", made_by)
    else:
        yield topic.ok(f"{path} is {age_h:.0f} hours old")


def _runs(state_dir: str) -> bool:
    with contextlib.suppress(OSError):
        return is_locked(state_dir)
    return False


# Mail


def _mail(settings: MailSettings) -> Findings:
    topic = Topic("mail")
    if not settings.is_sent:
        yield topic.warning(
            f"no SMTP server is configured: mail is only stored in the Maildir {settings.maildir} and reaches no one",
            "set [mail] host to the server, then systemctl reload rosterd",
        )
        return
    try:
        yield from _greeting(topic, settings)
    except (MailUnusable, ConfigError) as error:
        yield topic.fault(str(error), MAIL_REMEDY)
    if not settings.is_local:
        yield from _firewall(topic, settings.host)


def _greeting(topic: Topic, settings: MailSettings) -> Findings:
    """Yield how connecting and logging in went; no mail is sent."""
    import smtplib  # these take 0.1 s, so only where mail is sent

    from importer.mail.delivery import make_transport
    from importer.mail.smtp import SmtpTransport, said

    where = f"{settings.host} port {settings.port}, {settings.security}"
    transport = make_transport(settings, smtp_password())
    assert isinstance(transport, SmtpTransport)  # noqa: S101 - the settings name a host
    connection = transport._client(settings.reply_to)  # noqa: SLF001 - the same set-up that mail is sent with
    try:
        connection.login()
        connection.close()
    except OSError as error:
        is_password = isinstance(error, smtplib.SMTPAuthenticationError)
        remedy = MAIL_REMEDY if is_password else "see host, port, security, user and ca_file in [mail]"
        yield topic.fault(f"{where}: {said(error)}", remedy)
        return
    login = f", logged in as {settings.user}" if settings.user else ""
    yield topic.ok(f"{where}: answers{login}")
    if settings.ca_file and (objection := transport.strict_objection()):
        yield topic.warning(
            f"{settings.ca_file}: accepted, though a strict check would refuse its certificates: {objection}",
            "create the authority again with -addext keyUsage=critical,keyCertSign,cRLSign, and its certificates",
        )


def _server(settings: ServiceSettings) -> Findings:
    """Yield that the unit blocks the server of the database."""
    for host in settings.place.hosts:
        if not is_local(host):
            yield from _firewall(Topic("database"), host)


def _firewall(topic: Topic, host: str) -> Findings:
    """Yield that the unit blocks the server for the service; this command runs outside of the unit."""
    unit = _unit("IPAddressAllow", "IPAddressDeny")
    try:
        addresses = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except OSError:
        return  # whatever connects to it shows that
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


# Webhooks


def _hooks(config: Config) -> Findings:
    """Yield the results for each hook; nothing is sent."""
    for hook in config.hook:
        topic = Topic(f"hook {hook.name}")
        yield from _hook(topic, hook)
        if not is_local(hook.host):
            yield from _firewall(topic, hook.host)


def _hook(topic: Topic, hook: HookSettings) -> Findings:
    """Yield how connecting went."""
    from importer.hooks.post import HookTransport, HookUnusable

    try:
        transport = HookTransport(hook, hook_secret(hook))
    except (ConfigError, HookUnusable) as error:
        yield topic.fault(
            str(error),
            f"put the secret into /etc/rosterd/hook_{hook.name}, owned by root and with mode 0600, and add "
            f"LoadCredential=hook_{hook.name}:/etc/rosterd/hook_{hook.name} below [Service] by systemctl edit rosterd; "
            "then systemctl restart rosterd",
        )
        return
    try:
        transport.connect()
    except OSError as error:
        yield topic.fault(f"{hook.host}: {name_of(error)}", "see url and ca_file in [[hook]]; the events wait")
        return
    yield topic.ok(f"{hook.host} answers; `rosterd hook test {hook.name}` sends it an event")


# The console


def console_findings(settings: ConsoleSettings) -> Findings:
    """Yield whether browsers take the certificate at the address of the console, as far as this host can tell."""
    if not settings.url:
        return
    import ssl  # these take 20 ms, so only where there is a proxy

    topic, address = Topic("console"), urllib.parse.urlsplit(settings.url)
    host = address.hostname or ""
    try:
        with (
            socket.create_connection((host, address.port or 443), _CONNECT_S) as connection,
            ssl.create_default_context().wrap_socket(connection, server_hostname=host) as secured,
        ):
            certificate = secured.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        reason = error.verify_message.rstrip(".")
        if error.verify_code in _UNKNOWN_ISSUER:
            yield topic.warning(
                f"{settings.url}: this host does not know who signed its certificate: {reason}",
                "browsers that do not know it either refuse the page; if yours do, let this host know the authority: "
                "put it into /usr/local/share/ca-certificates, then update-ca-certificates",
            )
        else:
            yield topic.fault(
                f"{settings.url}: browsers refuse its certificate: {reason}",
                "have the proxy use a certificate of this name that is valid today, and reload the proxy",
            )
    except (OSError, ValueError) as error:  # no port has such a number, no host such a name
        remedy = "see whether the proxy runs, and [console] url; the console itself is at [console] listen"
        yield topic.warning(f"{settings.url}: cannot be reached from this host: {name_of(error)}", remedy)
    else:
        until = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
        if (until - datetime.now(UTC)).days < _EXPIRES_SOON_DAYS:
            remedy = "have the proxy get a new one before that: browsers refuse the page from then on"
            yield topic.warning(f"{settings.url}: its certificate expires on {until:%Y-%m-%d}", remedy)
        else:
            yield topic.ok(f"{settings.url}: its certificate is valid until {until:%Y-%m-%d}")
