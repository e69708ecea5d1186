"""
A host of its own to install on: private /etc, /srv, /var/lib and /run, with real users, real sshd, real folders.

Made of this machine by a mount namespace that one process holds open; commands are run in it by nsenter. What they
change is gone with it, and this machine is as it was. Needs root.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests import REPOSITORY
from tests.lab import wait_until
from tests.lab.sshd import HOST, descendants, free_port

DEPLOY = REPOSITORY / "deploy"
SERVICE_CAPABILITIES = "-all,+dac_read_search,+lease"  # as in the unit

# /etc is copied before anything covers it; the copy is on a tmpfs of the namespace. All hosts see the processes of this
# machine, so their logins have ids of their own: else a session on one would be taken for one on another.
ENTER = r"""
set -e
mount -t tmpfs -o mode=0755 tmpfs /srv
cp -a /etc /srv/.etc
sed -i "s/^\([UG]ID_MIN\).*/\1 $((2000 + $$ % 380 * 150))/" /srv/.etc/login.defs
mount --bind /srv/.etc /etc
mount -t tmpfs -o mode=0755 tmpfs /var/lib
mount -t tmpfs -o mode=0755 tmpfs /var/log
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -m 0755 /run/sshd
echo ready
read ended
"""


class Host:
    """The host as a context manager. Entered, the package's files are in place, sshd listens, no client is there."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert self._holder.stdout is not None
            assert self._holder.stdout.readline() == b"ready\n"
            self.install()
            self.run("ssh-keygen", "-A")
            self.sshd = self.start_sshd()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.path("/run/rosterd.log").exists():
            sys.stderr.write(self.path("/run/rosterd.log").read_text())  # pytest shows it with a test that failed
        for process in self._started:
            self.end(process)
        self._holder.communicate(b"\n")

    def path(self, path: str) -> Path:
        """Return a path of the host as one of this machine."""
        return Path(f"/proc/{self._holder.pid}/root{path}")

    def run(self, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command on the host to its end."""
        done = subprocess.run(
            self._inside(command), capture_output=True, text=True, check=False, timeout=180, cwd=REPOSITORY
        )
        assert not (check and done.returncode), f"{command}: {done.stdout}{done.stderr}"
        return done

    def run_unread(self, *command: str | Path) -> int:
        """Run a command whose output nobody reads, as behind `| head` once that has ended; return its exit code."""
        reading, writing = os.pipe()
        os.close(reading)
        try:
            return subprocess.run(
                self._inside(command), stdout=writing, check=False, timeout=180, cwd=REPOSITORY
            ).returncode
        finally:
            os.close(writing)

    def rosterd(self, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `rosterd ...` on the host, as root."""
        return self.run(sys.executable, "-m", "operate.cli", *arguments, check=check)

    def start_service(self) -> subprocess.Popen[bytes]:
        """Start the service, as its user and with its capabilities, and wait until it watches."""
        identity = ["setpriv", "--reuid=rosterd", "--regid=rosterd", "--init-groups", "--no-new-privs"]
        rights = [f"--{which}={SERVICE_CAPABILITIES}" for which in ("bounding-set", "inh-caps", "ambient-caps")]
        log = self.path("/run/rosterd.log")
        service = self.start(*identity, *rights, sys.executable, "-m", "operate.cli", "run", log=log)
        wait_until(lambda: "daemon.started" in log.read_text(), "daemon.started")
        return service

    def start_sshd(self) -> subprocess.Popen[bytes]:
        """Start sshd on a port of its own, with what its configuration says now, and wait until it answers."""
        self.port = free_port()
        self.path("/etc/ssh/sshd_config.d/lab.conf").write_text(f"ListenAddress {HOST}:{self.port}\nPidFile none\n")
        sshd = self.start("/usr/sbin/sshd", "-D", "-e", log=self.path("/run/sshd.log"))
        wait_until(self._answers, "sshd to answer")
        return sshd

    def reload_sshd(self) -> None:
        """Let sshd read its configuration again."""
        log = self.path("/run/sshd.log")
        times = log.read_text().count("Server listening")
        self.sshd.send_signal(signal.SIGHUP)
        wait_until(lambda: log.read_text().count("Server listening") > times, "sshd to listen again")

    def start(self, *command: str | Path, log: Path) -> subprocess.Popen[bytes]:
        """Start a command on the host; it is ended with it, at the latest."""
        with log.open("ab") as output:
            process = subprocess.Popen(
                self._inside(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=REPOSITORY
            )
        self._started.append(process)
        return process

    @staticmethod
    def end(process: subprocess.Popen[bytes]) -> None:
        """End what was started, and the sessions below it."""
        below = list(descendants(process.pid))
        process.terminate()
        process.wait(120)
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)

    def _inside(self, command: Sequence[str | Path]) -> list[str]:
        environment = ["env", f"PYTHONPATH={REPOSITORY}", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"]
        enter = ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", f"--wdns={REPOSITORY}"]
        return [*enter, *environment, *map(str, command)]

    def install(self) -> None:
        """Put in place what the package does."""
        for path in (self.path("/etc/ssh/sshd_config.d"), self.path("/etc/rosterd/clients.d")):
            path.mkdir(parents=True, exist_ok=True)
        shutil.copy(DEPLOY / "sshd_config.d" / "rosterd.conf", self.path("/etc/ssh/sshd_config.d"))
        self.path("/etc/rosterd/config.toml").write_text("[intake]\nquiet_s = 0.3\n")
        self.run("systemd-sysusers", DEPLOY / "sysusers.d" / "rosterd.conf")
        self.run("systemd-tmpfiles", "--create", DEPLOY / "tmpfiles.d" / "rosterd.conf")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
        return False


class SftpUser:
    """A client at the host: a key pair, and OpenSSH's sftp."""

    def __init__(self, host: Host, login: str, home: Path) -> None:
        self._host = host
        self._login = login
        self._key = home / f"{login}.key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self._key], check=True)

    @property
    def public_key(self) -> Path:
        """Return the file with the key to let in."""
        return self._key.with_suffix(".key.pub")

    def batch(self, *lines: str) -> subprocess.CompletedProcess[str]:
        """Run an sftp session that executes `lines` and ends at the first that fails."""
        settings = {
            "IdentityFile": self._key,
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
        }
        options = [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]
        return subprocess.run(
            ["sftp", "-F", "none", *options, "-P", str(self._host.port), "-b", "-", f"{self._login}@{HOST}"],
            input="".join(f"{line}\n" for line in lines),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
