"""
SFTP clients as people have them: each driver says how one program uploads one file, as a Command to run or to start.

A Command is run to its end (`run`) or started, to be stalled or killed half-way (`start`). `DRIVERS` holds all of them.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.lab.sshd import HOST, Login, Sshd

PATIENCE_S = 180.0  # of a client for its server
PYTHON_CLIENTS = Path(__file__).with_name("python_clients.py")


@dataclasses.dataclass(frozen=True)
class Command:
    """A client's command line, what it reads on its standard input, and its home: nothing is read from the user's."""

    arguments: tuple[str, ...]
    home: Path
    script: str = ""

    def run(self) -> subprocess.CompletedProcess[str]:
        """Run the client to its end; raises subprocess.TimeoutExpired when it never comes."""
        return subprocess.run(
            self.arguments,
            input=self.script,
            env=self._environment(),
            timeout=PATIENCE_S,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self) -> subprocess.Popen[str]:
        """Start the client in a process group of its own; whoever asked ends it."""
        process = subprocess.Popen(
            self.arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environment(),
            text=True,
            process_group=0,
        )
        assert process.stdin is not None
        process.stdin.write(self.script)
        process.stdin.flush()
        return process

    def _environment(self) -> dict[str, str]:
        return os.environ | {"HOME": str(self.home), "RCLONE_CONFIG": os.devnull, "LC_ALL": "C.UTF-8"}


@dataclasses.dataclass(frozen=True)
class Visit:
    """One client organisation at the server: who logs in where, and a private folder for what its programs keep."""

    sshd: Sshd
    login: Login
    home: Path

    @property
    def address(self) -> str:
        """Return `user@host`."""
        return f"{self.login.user}@{HOST}"

    def remote(self, name: str) -> str:
        """Return the full path of a file in the inbox as the client sees it."""
        return f"{self.login.folder}/{name}"

    def write(self, name: str, *lines: str) -> Path:
        """Write a file on the client's own disk, as lines."""
        path = self.home / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    def upload(self, name: str, *lines: str) -> None:
        """Upload lines by OpenSSH sftp; the client must be content."""
        self.execute(f'put "{self.write("export.csv", *lines)}" "{name}"')

    def execute(self, *commands: str) -> None:
        """Run an OpenSSH sftp session; the client must be content."""
        done = self.batch(*commands).run()
        assert (done.returncode, done.stderr) == (0, "")

    def command(self, *arguments: object, script: str = "") -> Command:
        """Return a command of this visit."""
        return Command(tuple(map(str, arguments)), self.home, script)

    def batch(self, *lines: str) -> Command:
        """Return an OpenSSH sftp session that executes `lines` and ends at the first that fails."""
        return self._sftp(script="".join(f"{line}\n" for line in lines))

    def put(self, local: Path, name: str, *, preserve: bool = False, sync: bool = False) -> Command:
        """Return an upload by OpenSSH sftp; `preserve` keeps mode and times (-p), `sync` waits for the disk (-f)."""
        options = [*(["-p"] if preserve else []), *(["-f"] if sync else [])]
        return self._sftp(*options, script=f'put "{local}" "{name}"\n')

    def _sftp(self, *options: str, script: str) -> Command:
        target = f"{self.address}:{self.login.folder}"
        return self.command("sftp", "-q", *options, *self.connection("-P"), "-b", "-", target, script=script)

    def connection(self, port_option: str) -> list[str]:
        """Return the arguments by which an OpenSSH program finds the server and logs in."""
        return [port_option, str(self.sshd.port), *self.sshd.ssh_options(self.login)]

    def putty(self, program: str, *arguments: object) -> Command:
        """Return a PuTTY command; these know keys in PuTTY's own format only."""
        key = self.login.key.with_suffix(".ppk")
        if not key.exists():
            subprocess.run(["puttygen", self.login.key, "-o", key, "-O", "private"], check=True, capture_output=True)
        known = ["-i", key, "-hostkey", self.sshd.host_key_fingerprint]
        return self.command(program, "-batch", "-P", self.sshd.port, *known, *arguments)

    def python(self, what: str, local: Path, name: str) -> Command:
        """Return an upload by `python_clients.py`."""
        where = [self.sshd.port, self.login.user, self.login.key, self.sshd.known_hosts]
        return self.command(sys.executable, PYTHON_CLIENTS, what, *where, local, self.remote(name))


@dataclasses.dataclass(frozen=True)
class Driver:
    """One way to upload: the command for one file, and what it needs on the machine: programs, paths of devices."""

    upload: Callable[[Visit, Path, str], Command]
    programs: tuple[str, ...] = ()


def _sftp_preserving(visit: Visit, local: Path, name: str) -> Command:
    return visit.put(local, name, preserve=True)


def _sftp_syncing(visit: Visit, local: Path, name: str) -> Command:
    return visit.put(local, name, sync=True)


def _scp(visit: Visit, local: Path, name: str) -> Command:
    return visit.command("scp", "-q", *visit.connection("-P"), local, f"{visit.address}:{visit.remote(name)}")


def _lftp(visit: Visit, local: Path, name: str, *, temp_file: bool = False) -> Command:
    ssh = shlex.join(["ssh", "-a", "-x", *visit.sshd.ssh_options(visit.login)])
    steps = [
        "set cmd:fail-exit yes",
        "set net:max-retries 1",
        f"set xfer:use-temp-file {'yes' if temp_file else 'no'}",
        f"set sftp:connect-program '{ssh}'",
        f"open -p {visit.sshd.port} sftp://{visit.login.user}:unused@{HOST}",
        f"put '{local}' -o '{visit.remote(name)}'",
        "bye",
    ]
    return visit.command("lftp", "--norc", "-c", "; ".join(steps))


def _lftp_temp_file(visit: Visit, local: Path, name: str) -> Command:
    return _lftp(visit, local, name, temp_file=True)


def _rclone(visit: Visit, local: Path, name: str) -> Command:
    settings = {
        "host": HOST,
        "port": visit.sshd.port,
        "user": visit.login.user,
        "key_file": visit.login.key,
        "known_hosts_file": visit.sshd.known_hosts,
        "shell_type": "none",
    }
    remote = ",".join([":sftp", *(f"{key}={value}" for key, value in settings.items())])
    once = ["--retries", "1", "--low-level-retries", "1"]
    return visit.command("rclone", *once, "copyto", local, f"{remote}:{visit.remote(name)}")


def _psftp(visit: Visit, local: Path, name: str) -> Command:
    script = visit.home / "psftp.script"
    script.write_text(f'put "{local}" "{visit.remote(name)}"\n')
    return visit.putty("psftp", "-b", script, visit.address)


def _pscp(visit: Visit, local: Path, name: str) -> Command:
    return visit.putty("pscp", "-sftp", local, f"{visit.address}:{visit.remote(name)}")


def _curl(visit: Visit, local: Path, name: str) -> Command:
    host_key = visit.sshd.host_key_fingerprint.removeprefix("SHA256:")
    key = ["--key", visit.login.key, "--pubkey", visit.login.key.with_suffix(".pub"), "--user", f"{visit.login.user}:"]
    url = f"sftp://{HOST}:{visit.sshd.port}{visit.remote(name)}"
    return visit.command("curl", "-sS", "--hostpubsha256", host_key, *key, "-T", local, url)


def _sshfs(visit: Visit, copy: str) -> Command:
    """Return a shell that mounts the inbox, runs `copy` (which finds it in $mount), and unmounts it again."""
    mount = visit.home / "mount"
    mount.mkdir(exist_ok=True)
    target = f"{visit.address}:{visit.login.folder}"
    connect = shlex.join(["sshfs", *visit.connection("-p"), target, str(mount)])
    steps = f'mount={mount}; {connect} || exit; {copy}; status=$?; fusermount3 -u "$mount"; exit $status'
    return visit.command("sh", "-c", steps)


def _sshfs_cp(visit: Visit, local: Path, name: str) -> Command:
    return _sshfs(visit, f'cp {shlex.quote(str(local))} "$mount"/{shlex.quote(name)}')


def _sshfs_rsync(visit: Visit, local: Path, name: str) -> Command:
    return _sshfs(visit, f'rsync {shlex.quote(str(local))} "$mount"/{shlex.quote(name)}')


def _sshfs_rsync_inplace(visit: Visit, local: Path, name: str) -> Command:
    return _sshfs(visit, f'rsync --inplace {shlex.quote(str(local))} "$mount"/{shlex.quote(name)}')


def _in_python(what: str) -> Driver:
    def upload(visit: Visit, local: Path, name: str) -> Command:
        return visit.python(what, local, name)

    return Driver(upload)


DRIVERS = {
    "sftp": Driver(Visit.put, ("sftp",)),
    "sftp -p": Driver(_sftp_preserving, ("sftp",)),
    "sftp -f": Driver(_sftp_syncing, ("sftp",)),
    "scp": Driver(_scp, ("scp",)),
    "lftp": Driver(_lftp, ("lftp",)),
    "lftp use-temp-file": Driver(_lftp_temp_file, ("lftp",)),
    "rclone": Driver(_rclone, ("rclone",)),
    "psftp": Driver(_psftp, ("psftp", "puttygen")),
    "pscp": Driver(_pscp, ("pscp", "puttygen")),
    "curl": Driver(_curl, ("curl",)),
    "sshfs cp": Driver(_sshfs_cp, ("sshfs", "fusermount3", "/dev/fuse")),
    "sshfs rsync": Driver(_sshfs_rsync, ("sshfs", "fusermount3", "/dev/fuse", "rsync")),
    "sshfs rsync --inplace": Driver(_sshfs_rsync_inplace, ("sshfs", "fusermount3", "/dev/fuse", "rsync")),
    "paramiko": _in_python("paramiko"),
    "asyncssh": _in_python("asyncssh"),
    "WinSCP": _in_python("winscp"),
    "Cyberduck": _in_python("cyberduck"),
    "rclone 1.63": _in_python("rclone"),
}


class StalledUpload:
    """
    An upload that writes the first half of a file and then sits on the open handle until told to go on.

    A context manager: entered, the first half is on the server's disk; left, the client is gone, finished or not.
    """

    def __init__(self, visit: Visit, local: Path, name: str) -> None:
        self._command = visit.python("stalled", local, name)

    def __enter__(self) -> Self:
        self._process = self._command.start()
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "stalled\n"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def go_on(self) -> int:
        """Write the rest, close, and return the client's exit status."""
        self._process.communicate("\n", timeout=PATIENCE_S)
        return self._process.returncode
