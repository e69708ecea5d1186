"""What `rosterd doctor` checks about each client: its login, its folders, and how sshd treats them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pwd
import stat
from collections.abc import Iterator, Sequence
from typing import Final

from importer.roster.protection import ListUnusable, protected_users
from importer.settings import ClientSettings
from operate.doctor import sshd
from operate.doctor.check_folder import check_folder_findings
from operate.doctor.findings import CheckResult, Findings, Topic
from operate.doctor.log_socket import session_findings
from operate.doctor.logins import login_findings, sshd_findings
from operate.doctor.probe import probe_findings
from operate.doctor.sshd import Effective
from operate.doctor.survey import Survey
from operate.output import counted
from operate.provision import accounts, homes, ownership, steps
from operate.provision.accounts import LoginState
from watcher.owner import owner_of, user_name
from watcher.settings import Config

_WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH
_FORWARDING: Final = ("allowtcpforwarding", "allowagentforwarding", "x11forwarding", "permittunnel", "permittty")
_TOLD: Final = (errno.EROFS, errno.EPERM, errno.EACCES)  # by `_immutable`
_PUNCTUAL_VERSION: Final = (10, 0)
_PASSED_WORDS: Final = 9  # words of a ForceCommand with internal-sftp, with the program's name (measured on 9.2p1)
_SNIPPET: Final = "see sshd_config.d/rosterd.conf, then: sshd -t && systemctl reload ssh"


def sshd_and_client_findings(config: Config, *, probe: bool) -> Findings:
    """Yield the results for sshd, for each client, and for those that were removed; `probe` logs in as each."""
    host = _survey(config.clients)
    if os.geteuid() == 0 and config.clients:
        yield from sshd_findings(host.configurations)
    if not config.clients:
        yield Topic("clients").warning("none is configured", "rosterd client add NAME --email ADDRESS")
    yield from _questions(config)
    yield from _client_findings(config, config.clients, host, probe=probe)
    for inbox, gid in ownership.leftovers(config.clients_by_name):
        yield Topic("clients").warning(
            f"{inbox}: left by a removed client, and still of group {accounts.group_name(gid)}; "
            "the next group that gets this id can read its files",
            f"chown -hR {homes.SERVICE_USER}:{homes.SERVICE_USER} {inbox}",
        )


def client_findings(config: Config, clients: Sequence[ClientSettings], *, probe: bool) -> Findings:
    """Yield the results for these clients."""
    yield from _client_findings(config, clients, _survey(clients), probe=probe)


def _survey(clients: Sequence[ClientSettings]) -> Survey:
    return Survey((_login_name(client), client.inbox) for client in clients)


def _client_findings(config: Config, clients: Sequence[ClientSettings], host: Survey, *, probe: bool) -> Findings:
    service_uid, _ = owner_of(config.service.state_dir)
    for client in clients:
        topic = Topic(f"client {client.name}")
        if not config.mail.recipients_of(client):
            yield topic.warning("no one gets mail about failed imports", "set failed_import_email")
        if client.deprecated:
            setting, instead = client.deprecated
            yield topic.warning(f"has the deprecated setting {setting}", f"write {instead} in its place")
        yield from _protected(topic, client)
        yield from _inbox(topic, client, service_uid)
        yield from _login(topic, client, host, config.intake.resume_grace_s, probe=probe)
        yield from session_findings(topic, client, service_uid)


def _protected(topic: Topic, client: ClientSettings) -> Findings:
    """Yield whether the list of protected users can be read; nothing of the client is imported if not."""
    if client.protected_users:
        try:
            count = len(protected_users(client))
        except ListUnusable as error:
            remedy = "write one unique_id on each line, readable for the service, or remove protected_users"
            yield topic.fault(f"{error}; nothing is imported meanwhile", remedy)
        else:
            yield topic.ok(f"{client.protected_users}: protects {counted(count, 'user', 'users')}")


def _questions(config: Config) -> Findings:
    """Yield that clients have no one to ask."""
    mail, topic = config.mail, Topic("clients")
    if mail.is_sent and not mail.questions_to and any(map(mail.recipients_of, config.clients)):
        yield topic.warning(
            f"get mail from {mail.reply_to}, where no one reads their replies",
            "set [mail] reply_to to an address that is read, then systemctl reload rosterd",
        )
    if config.clients and not mail.contact:
        yield topic.hint("their guides name no one to ask", 'set [mail] contact, such as "Marie Roy, 613 555-0123"')


# Folders


def _inbox(topic: Topic, client: ClientSettings, service_uid: int) -> Findings:
    set_up = f"rosterd client add {client.name} --apply"
    try:
        info = os.lstat(client.inbox)
    except PermissionError:
        yield topic.warning(f"{client.inbox} cannot be examined", "run rosterd doctor as root")
        return
    except OSError as error:
        yield topic.fault(f"{client.inbox}: {error.strerror}", set_up)
        return
    if not stat.S_ISDIR(info.st_mode):
        yield topic.fault(f"{client.inbox}: is not a folder", f"move it away, then {set_up}")
        return
    problems = [*_inbox_problems(topic, client.inbox, info, service_uid, set_up)]
    for name, forbidden in ((".work", stat.S_IRWXG | stat.S_IRWXO), (".bak", _WRITABLE)):
        problems += _own_problems(topic, client, name, service_uid, forbidden)
    problems += _claim_problems(topic, f"{client.inbox}/.work", service_uid)
    problems += _readability(topic, client.inbox, info, set_up)
    problems += _immutable(topic, [client.inbox, f"{client.inbox}/.work", f"{client.inbox}/.bak"])
    yield from problems or [topic.ok(f"{client.inbox}: ownership is correct")]
    yield from check_folder_findings(topic, client, service_uid)
    yield from _lease(topic, client.inbox)


def _inbox_problems(topic: Topic, path: str, status: os.stat_result, service_uid: int, set_up: str) -> Findings:
    if status.st_mode & stat.S_IWOTH:
        yield topic.fault(f"{path}: everybody can write to it, mode {stat.S_IMODE(status.st_mode):04o}", set_up)
    if not _may_take(status, service_uid):
        yield topic.fault(
            f"{path}: belongs to {user_name(status.st_uid)}, mode {stat.S_IMODE(status.st_mode):04o}: "
            "the service cannot move uploads out of it",
            set_up,
        )
    elif status.st_uid not in (service_uid, 0):
        yield topic.warning(f"{path}: belongs to {user_name(status.st_uid)}, who can rename or remove .bak", set_up)
    elif status.st_mode & _WRITABLE and not status.st_mode & stat.S_ISVTX:
        yield topic.warning(f"{path}: has no sticky bit, so the client can rename or remove .bak", set_up)


def _may_take(status: os.stat_result, uid: int) -> bool:
    """Return whether this user can rename other users' files in a folder. Source: path_resolution(7), unlink(2)."""
    if uid in (0, status.st_uid):
        needed = 0 if uid == 0 else stat.S_IWUSR | stat.S_IXUSR
    elif status.st_mode & stat.S_ISVTX:
        return False
    else:
        needed = stat.S_IWGRP | stat.S_IXGRP if status.st_gid in _groups(uid) else stat.S_IWOTH | stat.S_IXOTH
    return status.st_mode & needed == needed


def _groups(uid: int) -> list[int]:
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return []
    return os.getgrouplist(user.pw_name, user.pw_gid)


def _own_problems(topic: Topic, client: ClientSettings, name: str, service_uid: int, forbidden: int) -> Findings:
    """Yield why others than the service can write to a folder; a missing one will be created."""
    path = f"{client.inbox}/{name}"
    try:
        info = os.lstat(path)
    except OSError:
        return
    mode = stat.S_IMODE(info.st_mode)
    if not stat.S_ISDIR(info.st_mode) or user_name(info.st_uid) == _login_name(client):
        set_up = f"rosterd client add {client.name} --apply"
        yield topic.fault(
            f"{path}: is not a folder that the service owns",
            f"move it away or, if it was restored from a backup, chown -hR {service_uid} {path}; then {set_up}",
        )
    elif info.st_uid != service_uid:
        # Not the client: a service, or root in its place, has put it there.
        owner, service = user_name(info.st_uid), user_name(service_uid)
        yield topic.fault(
            f"{path}: belongs to {owner}, so the service ({service}) cannot use it",
            f"chown -hR {service_uid} {path}"
            + (f", if the service is meant to run as {service}" if info.st_uid else ""),
        )
    elif mode & forbidden:
        yield topic.fault(f"{path}: mode {mode:04o} gives others access", f"chmod {mode & ~forbidden:04o} {path}")


def _claim_problems(topic: Topic, work: str, service_uid: int) -> Findings:
    """Yield that uploads were claimed by another user, such as root, and cannot be resumed."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        others = [entry.name for entry in os.scandir(work) if entry.stat(follow_symlinks=False).st_uid != service_uid]
        if others:
            yield topic.fault(
                f"{work}: {counted(len(others), 'upload was', 'uploads were')} claimed by another user than "
                f"{user_name(service_uid)}, and cannot be imported",
                f"chown -hR {service_uid} {work}; systemctl restart rosterd",
            )


def _readability(topic: Topic, inbox: str, status: os.stat_result, set_up: str) -> Findings:
    """Yield that the client cannot read `.bak`, which contains its answers."""
    with contextlib.suppress(FileNotFoundError):
        bak = os.lstat(f"{inbox}/.bak")
        is_groups = bak.st_gid == status.st_gid and bak.st_mode & stat.S_IXGRP
        if not is_groups and not bak.st_mode & stat.S_IXOTH and bak.st_uid != status.st_uid:
            yield topic.warning(f"{inbox}/.bak: the client cannot read it", set_up)
        elif not is_groups and not bak.st_mode & stat.S_IXOTH and status.st_mode & stat.S_IWGRP:
            yield topic.warning(f"{inbox}/.bak: the client's group cannot read it", set_up)


def _immutable(topic: Topic, folders: Sequence[str]) -> Findings:
    """Yield in which folder not even root can write, and what to do; of a read-only file system once."""
    for folder in folders:
        if os.geteuid() != 0 or not os.path.isdir(folder) or os.access(folder, os.W_OK):
            continue
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            remedy = f"dmesg may say why; then mount -o remount,rw $(findmnt -n -o TARGET --target {folder})"
            yield topic.fault(f"{folder}: its file system is read-only", remedy)
            return
        yield topic.fault(f"{folder}: is immutable, not even root may write to it", f"chattr -i {folder}")


def _lease(topic: Topic, inbox: str) -> Findings:
    """Yield whether the file system reports open files, tried with a nameless file in `.work`. Source: fcntl(2)."""
    work = f"{inbox}/.work"
    if os.geteuid() != 0 or not os.path.isdir(work):
        return
    try:
        writer = os.open(work, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            reader = os.open(f"/proc/self/fd/{writer}", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(writer)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, *_TOLD):
            yield topic.fault(f"{work}: cannot be written to: {error.strerror}")
        return
    try:
        fcntl.fcntl(reader, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        yield topic.ok("its file system reports which files are open for writing")
    except OSError as error:
        yield topic.warning(f"its file system does not report which files are open for writing: {error.strerror}")
    finally:
        os.close(reader)


# Login


def _login(topic: Topic, client: ClientSettings, host: Survey, resume_grace_s: float, *, probe: bool) -> Findings:
    name = _login_name(client)
    match state := accounts.login_state(name):
        case LoginState.MISSING:
            yield topic.warning(f"has no login {name}", f"rosterd client add {client.name} --apply")
        case LoginState.DISABLED:
            yield topic.warning(f"its login {name} is disabled", f"rosterd client enable {client.name} --apply")
        case LoginState.FOREIGN if not os.path.isdir(homes.chroot(name)):
            yield topic.warning(
                f"its login {name} is not in {homes.LOGIN_GROUP}: checking what it may do is your responsibility"
            )
        case _:
            if state is LoginState.OPEN and client.inbox == homes.inbox(name):
                yield from _ownership(topic, name, client.inbox, host)
            yield from _sshd(topic, name, client.inbox, host, resume_grace_s, probe=probe)


def _login_name(client: ClientSettings) -> str:
    """Return the login that uploads: the user named like the client, else the one whose own group the inbox has."""
    if accounts.user_exists(client.name):
        return client.name
    with contextlib.suppress(OSError):
        gid = os.stat(client.inbox).st_gid
        return next((user.pw_name for user in pwd.getpwall() if user.pw_gid == gid), client.name)
    return client.name


def _ownership(topic: Topic, name: str, inbox: str, host: Survey) -> Findings:
    """Yield that files have other owners, as after restoring a backup; not if the client owns the inbox."""
    info = None if os.geteuid() else _stat(inbox)
    if info is None or info.st_uid == accounts.ids(name)[0]:
        return
    try:
        yield from _ownership_problems(topic, name, inbox, info, host.ownership_of(inbox))
    except steps.StepFailed as error:
        yield topic.warning(f"{inbox}: the owner of its files cannot be determined: {error}")


def _ownership_problems(
    topic: Topic, name: str, inbox: str, status: os.stat_result, owned: ownership.Ownership
) -> Findings:
    remedy = f"rosterd client add {name} --apply"
    if status.st_gid != accounts.ids(name)[1]:
        yield topic.fault(
            f"{inbox}: belongs to group {accounts.group_name(status.st_gid)}; expected the group of {name}", remedy
        )
    # Of a folder that itself has a wrong owner it was told, with a remedy for what is in it.
    if not _has_foreign_folder(inbox) and (misowned := ownership.misowned(name, owned)):
        uid, gid = next(iter(misowned))
        others = f"others, for example {user_name(uid)} and group {accounts.group_name(gid)}"
        yield topic.fault(
            f"{inbox}/.bak and .work: {counted(misowned.total(), 'entry belongs', 'entries belong')} to {others}; "
            f"expected {homes.SERVICE_USER} and group {name}",
            remedy,
        )
    uids, gids = ownership.foreign_ids(name, owned)
    if owners := [*map(user_name, uids), *(f"group {accounts.group_name(gid)}" for gid in gids)]:
        yield topic.fault(f"{inbox}: uploads in it are owned by {', '.join(owners)}; expected {name}", remedy)


def _has_foreign_folder(inbox: str) -> bool:
    service_uid = accounts.ids(homes.SERVICE_USER)[0]
    folders = (_stat(f"{inbox}/{name}") for name in (".work", ".bak"))
    return any(folder is not None and folder.st_uid != service_uid for folder in folders)


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _sshd(topic: Topic, name: str, inbox: str, host: Survey, resume_grace_s: float, *, probe: bool) -> Findings:
    """Yield how sshd will treat this login, by its effective configuration."""
    if os.geteuid() != 0:
        yield topic.warning("only root can check the configuration of sshd", "run rosterd doctor as root")
        return
    try:
        effective = host.configurations.of(name)
    except steps.StepFailed as error:
        said = str(error).replace("\n", "; ")
        yield topic.fault(f"sshd's configuration cannot be read: {said}", "sshd -t says what is wrong")
        return
    problems = [
        *login_findings(topic, name, effective, host.fingerprints),
        *_sshd_problems(topic, effective, name, inbox, resume_grace_s),
    ]
    yield from problems or [topic.ok(f"sshd allows {name} only SFTP, and only in its folder")]
    if probe:
        yield from probe_findings(topic, name, inbox, effective)


def _sshd_problems(
    topic: Topic, effective: Effective, name: str, inbox: str, resume_grace_s: float
) -> Iterator[CheckResult]:
    chroot = accounts.expanded(effective.get("chrootdirectory", "none"), name)
    if chroot == "none" or not f"{inbox}/".startswith(f"{chroot}/"):
        yield topic.fault(f"the ChrootDirectory of {name} is {chroot}, which does not contain {inbox}", _SNIPPET)
    else:
        yield from _chroot_problems(topic, chroot)
    yield from _command_problems(topic, effective.get("forcecommand", "none"), name)
    if allowed := [key for key in _FORWARDING if effective.get(key, "no") != "no"]:
        yield topic.fault(f"sshd allows {name} more than SFTP: {', '.join(allowed)}", _SNIPPET)
    yield from _time_out_problems(topic, effective, resume_grace_s)


def _chroot_problems(topic: Topic, chroot: str) -> Findings:
    """Yield the folder for which sshd would end each session, "bad ownership or modes for chroot directory"."""
    for path in _upwards(chroot):
        try:
            info = os.stat(path)
        except OSError as error:
            yield topic.fault(f"{path}: {error.strerror}")
            return
        if info.st_uid != 0 or info.st_mode & _WRITABLE:
            yield topic.fault(
                f"{path}: sshd refuses the login, because root must own this folder and be alone able to write to it",
                f"chown root:root {path}; chmod go-w {path}",
            )


def _upwards(path: str) -> Iterator[str]:
    yield path
    while path != "/":
        path = os.path.dirname(path)
        yield path


def _command_problems(topic: Topic, command: str, name: str) -> Findings:
    program, *words = command.split()
    if program != "internal-sftp":
        applies = f"no ForceCommand applies to {name}" if program == "none" else f"ForceCommand of {name} is {program}"
        yield topic.fault(f"{applies}; expected internal-sftp", _SNIPPET)
        return
    passed, dropped = words[: _PASSED_WORDS - 1], words[_PASSED_WORDS - 1 :]
    if dropped:
        yield topic.fault(
            f"sshd ignores the words of ForceCommand after the ninth: {' '.join(dropped)}",
            "write options and values together: -d/upload -u0027",
        )
    refused = {request for word in passed for request in word.removeprefix("-P").split(",")}
    if not {"symlink", "hardlink"} <= refused:
        yield topic.warning(f"{name} can create links, which are never imported", _SNIPPET)


def _closing_rounds() -> int:
    """Return how many ClientAliveIntervals each missing answer costs: measured, two on 9.2p1, one on 10.0p2."""
    return 1 if sshd.version() >= _PUNCTUAL_VERSION else 2


def _time_out_problems(topic: Topic, effective: Effective, resume_grace_s: float) -> Findings:
    """Yield that a dead connection outlives the time in which its upload may be resumed."""
    interval, count = (int(effective.get(key, "0")) for key in ("clientaliveinterval", "clientalivecountmax"))
    if not interval or not count:
        yield topic.warning("sshd keeps dead connections for hours, and their files stay open", _SNIPPET)
    elif (closed_after_s := _closing_rounds() * interval * (count + 1)) > resume_grace_s:
        yield topic.warning(
            f"sshd closes dead connections only after {closed_after_s} s",
            f"lower ClientAliveInterval, or set [intake] resume_grace_s above {closed_after_s}",
        )
