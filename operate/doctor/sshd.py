"""The sshd of this host: what its configuration says, which version it is, the addresses it listens on."""

from __future__ import annotations

import contextlib
import functools
import glob
import os
import re
import shlex
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from operate.provision import accounts, steps

UNKNOWN: Final = (0, 0)
Address = tuple[str, int]

# `sshd -T` needs this folder, which systemd removes when sshd stops: then it gets a private one.
_PLACE: Final = "/run/sshd"
_PLACE_OF_ITS_OWN: Final = (
    *("unshare", "--mount", "sh", "-c"),
    f'mount -t tmpfs -o mode=0755 tmpfs /run && mkdir -m 0755 {_PLACE} && exec "$@"',
    "sh",
)
_CONFIG: Final = "/etc/ssh/sshd_config"
_DEEPEST: Final = 16  # Include lines within each other. Source: servconf.c
_LISTENS: Final = "0A"  # TCP_LISTEN of the kernel
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where it is reached from here
_TIMEOUT_S: Final = 5.0


class Effective:
    """The effective configuration of sshd, by keywords in lower case, which not every version prints."""

    def __init__(self, output: str) -> None:
        self._values: dict[str, list[str]] = {}
        for line in output.splitlines():
            keyword, _, value = line.partition(" ")
            self._values.setdefault(keyword.lower(), []).append(value)

    def get(self, keyword: str, default: str = "") -> str:
        """Return the value of a keyword; the default if this sshd does not have it."""
        return self._values.get(keyword, [default])[-1]

    def all(self, keyword: str) -> list[str]:
        """Return the values of a keyword that may be given several times."""
        return self._values.get(keyword, [])

    def is_on(self, keyword: str) -> bool:
        """Return whether a keyword is set to yes."""
        return self.get(keyword, "no") == "yes"


def effective(login: str = "") -> Effective:
    """Return the configuration for everybody, or for one login from this machine. Raises StepFailed."""
    about = ("-C", f"user={login},host=localhost,addr=127.0.0.1") if login else ()
    place = () if os.path.isdir(_PLACE) else _PLACE_OF_ITS_OWN
    return Effective(steps.run((*place, "sshd", "-T", *about)))


class Configurations:
    """The configuration for each login, asked once for those that no Match line tells apart: 8 ms a time."""

    def __init__(self) -> None:
        try:
            self._patterns: set[str] | None = set(_match_patterns(_CONFIG))
        except (OSError, ValueError):
            self._patterns = None  # each login is asked for
        self._by_login: dict[str, Effective] = {}
        self._known: dict[object, Effective | str] = {}  # or why it cannot be read

    def of(self, login: str) -> Effective:
        """Return the configuration for a login. Raises StepFailed."""
        if login in self._by_login:
            return self._by_login[login]
        alike = login if self._patterns is None else frozenset(self._matching(login, self._patterns))
        if alike not in self._known:
            try:
                self._known[alike] = effective(login)
            except steps.StepFailed as error:
                self._known[alike] = str(error).replace(f"user={login},", "user=%u,")
        known = self._known[alike]
        if isinstance(known, str):
            raise steps.StepFailed(known.replace("user=%u,", f"user={login},"))
        self._by_login[login] = known
        return known

    def of_all(self) -> Effective:
        """Return one for what no Match line changes, such as addresses. Raises StepFailed."""
        return next(iter(self._by_login.values()), None) or effective()

    def _matching(self, login: str, patterns: set[str]) -> Iterator[str]:
        names = [login, *accounts.groups(login)]
        return (pattern for pattern in patterns if any(matches(pattern, name) for name in names))


def matches(pattern: str, name: str) -> bool:
    """Return whether a pattern of sshd matches: it has * and ?, unlike a shell nothing else."""
    return bool(_expression(pattern).fullmatch(name))


@functools.cache
def _expression(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."))


def _match_patterns(path: str, depth: int = 0) -> Iterator[str]:
    """
    Yield every word of the Match lines of a configuration and of what it includes.

    Logins that match the same of them, by name and groups, have the same configuration. Raises OSError, ValueError.
    """
    for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        keyword, *words = shlex.split(re.sub(r"^(\s*\w+)\s*=", r"\1 ", line), comments=True) or [""]
        if keyword.lower() == "include" and depth < _DEEPEST:
            for each in (file for word in words for file in glob.glob(os.path.join(os.path.dirname(_CONFIG), word))):
                yield from _match_patterns(each, depth + 1)
        elif keyword.lower() == "match":
            yield from (part.lstrip("!") for word in words for part in re.split("[,=]", word))


@functools.cache
def version() -> tuple[int, int]:
    """Return the version, (9, 2) for "OpenSSH_9.2p1", UNKNOWN if it does not show it."""
    for program in ("sshd", "ssh"):  # an sshd before 9.2 does not know -V
        with contextlib.suppress(steps.StepFailed):
            if match := re.search(r"OpenSSH_(\d+)\.(\d+)", steps.run((program, "-V"), with_errors=True)):
                return int(match[1]), int(match[2])
    return UNKNOWN


def addresses(configured: Effective) -> list[Address]:
    """Return the addresses of sshd, as seen from this machine; none when it does not run."""
    return [*_listeners()] or [address for address in _configured(configured) if _is_ssh_server(address)]


def _listeners() -> Iterator[Address]:
    """Yield the addresses of an sshd of this host: a listener by its title, and with our mounts, not in a container."""
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


def _is_ssh_server(address: Address) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(address, timeout=_TIMEOUT_S) as connection:
        return connection.recv(4) == b"SSH-"
    return False
