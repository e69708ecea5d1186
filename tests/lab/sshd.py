"""
A throw-away OpenSSH server on 127.0.0.1, with its own port, keys and logins.

As root every login has a uid of its own and is shut into its chroot, as in production, yet the host is not touched:
sshd runs in a private mount namespace whose /etc is a small folder of ours. All of /etc is covered, because a bind
mount on /etc/passwd alone is detached by the kernel as soon as anybody on the host runs useradd (it renames a new file
over the mount point). What clients may do there is said by deploy/sshd_config.d/rosterd.conf, the very file for hosts.

Without root sshd serves the current user only: every login is that user, told apart by its key, with no chroot.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import getpass
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Self

from tests import REPOSITORY
from tests.lab import wait_until

HOST = "127.0.0.1"
FIRST_UID = 61001  # above what useradd hands out, below systemd's dynamic users
PARENTS = ("/var/lib", "/opt", "/root")  # of all that is made; not /srv, which is covered where sshd runs
CLIENTS_CONFIG = REPOSITORY / "deploy" / "sshd_config.d" / "rosterd.conf"
CLIENTS_GROUP = "sftpdrop"
DENIED_LINKS = " -P symlink,hardlink"
COPIED_FROM_ETC = ("ld.so.cache", "localtime")

SSHD_CONFIG = """\
ListenAddress {host}:{port}
HostKey {server}/host_key
PidFile none
AuthorizedKeysFile {server}/authorized_keys.%u
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
MaxStartups 50:30:100
LogLevel VERBOSE
Subsystem sftp internal-sftp
"""

# $0 is the folder that becomes /etc, $1 the one that becomes /srv/sftp; sshd insists on /run/sshd.
ENTER_NAMESPACE = """\
set -e
mount --bind "$0" /etc
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -m 0755 /run/sshd
mount -t tmpfs -o mode=0755 tmpfs /srv
mkdir -m 0755 /srv/sftp
mount --bind "$1" /srv/sftp
shift
exec "$@"
"""


class InboxOwner(enum.Enum):
    """Who owns the folder that clients upload into."""

    SERVICE = "service"  # rosterd:client 1770, the recommended arrangement
    CLIENT = "client"  # client:client 0755, the simple one


@dataclasses.dataclass(frozen=True, kw_only=True)
class Login:
    """One SFTP login: `inbox` is its upload folder on the host, `folder` the same as the client sees it."""

    name: str
    user: str  # what the client logs in as
    uid: int
    inbox: Path
    folder: str
    key: Path


class Sshd:
    """
    The server as a context manager; it listens once entered, and is ended by its own pid with all its sessions.

    `service_uid` owns the inboxes of `InboxOwner.SERVICE`. With `deny_links`, as in production, clients make no links.
    """

    def __init__(
        self,
        logins: Sequence[str] = ("acme",),
        *,
        owner: InboxOwner = InboxOwner.SERVICE,
        service_uid: int | None = None,
        deny_links: bool = False,
    ) -> None:
        self.port = free_port()
        self._base = Path(tempfile.mkdtemp(prefix="rosterd-lab-", dir=_parent() if _is_root() else None))
        self._server = self._base / "server"
        self._owner = owner
        self._service_uid = os.geteuid() if service_uid is None else service_uid
        self._deny_links = deny_links
        self._logins = {name: self._login(name, FIRST_UID + number) for number, name in enumerate(logins)}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._lay_out()
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def login(self, name: str = "acme") -> Login:
        """Return the login called `name`."""
        return self._logins[name]

    @property
    def known_hosts(self) -> Path:
        """Return a known_hosts file that holds this server only."""
        return self._server / "known_hosts"

    @property
    def host_key_fingerprint(self) -> str:
        """Return the host key's fingerprint, `SHA256:...`."""
        shown = subprocess.run(
            ["ssh-keygen", "-lf", self._server / "host_key.pub"], check=True, capture_output=True, text=True
        )
        return shown.stdout.split()[1]

    def ssh_options(self, login: Login) -> list[str]:
        """Return the options with which ssh, sftp and scp log in without reading anything of the host or the user."""
        settings = {
            "IdentityFile": login.key,
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "BatchMode": "yes",
            "UserKnownHostsFile": self.known_hosts,
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
        }
        return ["-F", "none", *(part for key, value in settings.items() for part in ("-o", f"{key}={value}"))]

    def log(self) -> str:
        """Return what sshd has logged so far."""
        path = self._server / "sshd.log"
        return path.read_text(errors="backslashreplace") if path.exists() else ""

    def sessions(self) -> list[int]:
        """Return the pids of all session processes, parents first."""
        return list(descendants(self._process.pid)) if self._process else []

    def stop(self) -> None:
        """End the server and its sessions, and remove all that it made."""
        if self._process is not None:
            sessions = self.sessions()
            self._process.terminate()
            self._process.wait(120)
            self._process = None
            for pid in sessions:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self._base)

    def _login(self, name: str, uid: int) -> Login:
        inbox = self._base / "chroots" / name / "upload"
        return Login(
            name=name,
            user=name if _is_root() else getpass.getuser(),
            uid=uid if _is_root() else os.geteuid(),
            inbox=inbox,
            folder="/upload" if _is_root() else str(inbox),
            key=self._base / "keys" / name,
        )

    def _lay_out(self) -> None:
        self._base.chmod(0o755)
        for folder in ("server", "keys", "chroots"):
            (self._base / folder).mkdir(mode=0o755)
        _make_key(self._server / "host_key")
        for login in self._logins.values():
            _make_key(login.key)
            self._make_inbox(login)
            self._authorize(login)
        host_key = (self._server / "host_key.pub").read_text()
        self.known_hosts.write_text(f"[{HOST}]:{self.port} {host_key}")
        self._write_config()

    def _make_inbox(self, login: Login) -> None:
        login.inbox.mkdir(parents=True)
        login.inbox.parent.chmod(0o755)
        if not _is_root():
            return
        if self._owner is InboxOwner.SERVICE:
            os.chown(login.inbox, self._service_uid, login.uid)
            login.inbox.chmod(0o1770)
        else:
            os.chown(login.inbox, login.uid, login.uid)

    def _authorize(self, login: Login) -> None:
        options = DENIED_LINKS if self._deny_links else ""
        forced = "" if _is_root() else f'command="internal-sftp -d {login.folder}{options}" '
        with (self._server / f"authorized_keys.{login.user}").open("a") as file:
            file.write(forced + login.key.with_suffix(".pub").read_text())

    def _write_config(self) -> None:
        config = SSHD_CONFIG.format(host=HOST, port=self.port, server=self._server)
        if _is_root():
            config += (
                CLIENTS_CONFIG.read_text() if self._deny_links else CLIENTS_CONFIG.read_text().replace(DENIED_LINKS, "")
            )
            _write_etc(self._server / "etc", self._logins.values())
        (self._server / "sshd_config").write_text(config)

    def _start(self) -> None:
        sshd = shutil.which("sshd")
        if sshd is None:
            raise FileNotFoundError("no sshd found: install openssh-server")
        command = [sshd, "-D", "-f", str(self._server / "sshd_config"), "-E", str(self._server / "sshd.log")]
        if _is_root():
            enter = ["unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER_NAMESPACE]
            command = [*enter, str(self._server / "etc"), str(self._base / "chroots"), *command]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_until(self._answers, "sshd to answer")

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise ChildProcessError(f"sshd ended with {self._process.returncode}: {self.log()}")
        with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
        return False


def _is_root() -> bool:
    return os.geteuid() == 0


def _parent() -> str:
    """Return a folder that nobody but root can write to, all the way up."""
    for folder in PARENTS:
        if all(_is_roots_alone(path) for path in (Path(folder), *Path(folder).parents)):
            return folder
    raise PermissionError(f"none of {', '.join(PARENTS)} will do: each must be root's and writable to root only")


def _is_roots_alone(path: Path) -> bool:
    if not path.is_dir() or path.is_symlink():
        return False
    status = path.stat()
    return status.st_uid == 0 and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def free_port() -> int:
    """Return a port of HOST that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "rosterd-lab", "-f", path], check=True)


def _write_etc(etc: Path, logins: Collection[Login]) -> None:
    """Fill the folder that sshd sees as /etc: the users it needs, and what the C library reads there."""
    etc.mkdir(mode=0o755)
    passwd = ["root:x:0:0::/root:/bin/sh", "sshd:x:61000:65534::/run/sshd:/usr/sbin/nologin"]
    passwd += [f"{login.user}:x:{login.uid}:{login.uid}::/:/usr/sbin/nologin" for login in logins]
    names = [line.split(":", 1)[0] for line in passwd]
    group = ["root:x:0:", "nogroup:x:65534:", *(f"{login.user}:x:{login.uid}:" for login in logins)]
    group.append(f"{CLIENTS_GROUP}:x:{FIRST_UID - 1}:" + ",".join(login.user for login in logins))
    _write_lines(etc / "passwd", passwd)
    _write_lines(etc / "group", group)
    _write_lines(etc / "shadow", [f"{name}:*:19000:0:99999:7:::" for name in names])  # "*": no password, not locked
    _write_lines(etc / "nsswitch.conf", ["passwd: files", "group: files", "shadow: files"])
    (etc / "ssh" / CLIENTS_GROUP).mkdir(mode=0o755, parents=True)
    for login in logins:
        shutil.copy(login.key.with_suffix(".pub"), etc / "ssh" / CLIENTS_GROUP / login.user)
    for name in COPIED_FROM_ETC:
        if (Path("/etc") / name).is_file():
            shutil.copy(Path("/etc") / name, etc / name)


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


def descendants(pid: int) -> Iterator[int]:
    """Yield the pids of all processes below `pid`, parents first."""
    for child in _children_by_parent().get(pid, []):
        yield child
        yield from descendants(child)


def _children_by_parent() -> dict[int, list[int]]:
    """Return the pids of each process's children, read from /proc/<pid>/stat: "pid (name) state parent ..."."""
    children: dict[int, list[int]] = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):  # Path.glob looks at each file, and fails if its process ends
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            parent = int(Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(pid))
    return children
