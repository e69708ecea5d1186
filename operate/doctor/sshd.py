"""The sshd of this host: what its configuration says, which version it is, where it listens."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from operate.provision import steps

UNKNOWN: Final = (0, 0)
Address = tuple[str, int]

# `sshd -T` needs this folder, which systemd removes when sshd stops: then it gets one that nothing else sees.
_PLACE: Final = "/run/sshd"
_PLACE_OF_ITS_OWN: Final = (
    *("unshare", "--mount", "sh", "-c"),
    f'mount -t tmpfs -o mode=0755 tmpfs /run && mkdir -m 0755 {_PLACE} && exec "$@"',
    "sh",
)
_LISTENS: Final = "0A"  # TCP_LISTEN of the kernel
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where it is reached from here
_TIMEOUT_S: Final = 5.0


class Effective:
    """The effective configuration of sshd, by keywords in lower case, which not every version prints."""

    def __init__(self, told: str) -> None:
        self._values: dict[str, list[str]] = {}
        for line in told.splitlines():
            keyword, _, value = line.partition(" ")
            self._values.setdefault(keyword.lower(), []).append(value)

    def get(self, keyword: str, default: str = "") -> str:
        """Return the value of a keyword; the default if this sshd does not know it."""
        return self._values.get(keyword, [default])[-1]

    def all(self, keyword: str) -> list[str]:
        """Return the values of a keyword that may be given several times."""
        return self._values.get(keyword, [])

    def is_on(self, keyword: str) -> bool:
        """Return whether a keyword says yes."""
        return self.get(keyword, "no") == "yes"


def effective(login: str = "") -> Effective:
    """Return what holds for everybody, or for one login that comes from this machine. Raises StepFailed."""
    about = ("-C", f"user={login},host=localhost,addr=127.0.0.1") if login else ()
    place = () if os.path.isdir(_PLACE) else _PLACE_OF_ITS_OWN
    return Effective(steps.run((*place, "sshd", "-T", *about)))


@functools.cache
def version() -> tuple[int, int]:
    """Return the version, (9, 2) for "OpenSSH_9.2p1", UNKNOWN when it does not say."""
    for program in ("sshd", "ssh"):  # an sshd before 9.2 does not know -V
        with contextlib.suppress(steps.StepFailed):
            if match := re.search(r"OpenSSH_(\d+)\.(\d+)", steps.run((program, "-V"), with_errors=True)):
                return int(match[1]), int(match[2])
    return UNKNOWN


def addresses(configured: Effective) -> list[Address]:
    """Return where sshd is reached from this machine; none when it does not run."""
    return [*_listeners()] or [address for address in _configured(configured) if _greets(address)]


def _listeners() -> Iterator[Address]:
    """Yield where an sshd of this host listens. Its title says what it is for; in a container it has our mounts."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            title = (process / "cmdline").read_bytes()
            is_ours = os.path.samefile(process / "ns/mnt", "/proc/self/ns/mnt")
            if is_ours and title.startswith(b"sshd: ") and b"[listener]" in title:
                yield from _listening(process)


def _listening(process: Path) -> Iterator[Address]:
    """Yield the addresses of a process' sockets. Source: proc(5), tcp."""
    sockets = {os.readlink(fd) for fd in (process / "fd").iterdir()}
    for family, table in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        for line in (process / "net" / table).read_text(encoding="ascii").splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == _LISTENS and f"socket:[{inode}]" in sockets:
                words, port = local.split(":")
                address = struct.pack(f"={len(words) // 8}I", *(int(word, 16) for word in re.findall(".{8}", words)))
                host = socket.inet_ntop(family, address)
                yield _ANYWHERE.get(host, host), int(port, 16)


def _configured(configured: Effective) -> Iterator[Address]:
    for listed in configured.all("listenaddress"):
        host, _, port = listed.rpartition(":")
        host = host.strip("[]")
        yield _ANYWHERE.get(host, host), int(port)


def _greets(address: Address) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(address, timeout=_TIMEOUT_S) as connection:
        return connection.recv(4) == b"SSH-"
    return False
