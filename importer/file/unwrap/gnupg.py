"""
The `gpg` program of the host, each time in a short home of its own, which is gone afterwards, and its agent with it.

The home has a copy of the public keys, and a link to the folder of the private ones, which never leave the key home.
The agent listens at sockets in the home: their paths may have 107 bytes, so a home in a deep folder does not work
(measured with 120). A killed process leaves its home behind, without any secret in it; the next one removes it, with an
agent that may still run. Nothing is asked of a network.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from importer import fs

PUBLIC_KEYS: Final = "pubring.kbx"
PRIVATE_KEYS: Final = "private-keys-v1.d"
_PREFIX: Final = "rosterd-pgp-"
_LONGEST_FOLDER: Final = 107 - len(f"/{_PREFIX}12345678/S.gpg-agent.browser")
_FRESH_S: Final = 60.0  # in which a home may be one that is being made
_COMMAND_S: Final = 60.0  # for all that goes through no upload; making a key takes 2 s
_START_S: Final = 20.0  # of an agent; the watchdog of the service waits 60 s for a sign of life
_KILL_S: Final = 10.0
_MOST_ANSWER_BYTES: Final = 16 << 20
_NEVER: Final = sys.maxsize
_OPTIONS: Final = (
    "--no-options",
    "--batch",
    "--no-tty",
    "--quiet",
    "--pinentry-mode=error",
    "--trust-model=always",
    "--disable-dirmngr",
    "--no-auto-key-retrieve",
    "--no-auto-key-locate",
    "--no-random-seed-file",
    "--no-permission-warning",
)


class GnuPGFailed(OSError):
    """A program of GnuPG did not do what it has to; the text says which, and what it said."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key with its subkeys."""

    fingerprint: str  # in capitals, of the primary key
    user: str
    is_revoked: bool
    expires_at: datetime | None  # since when nothing can be encrypted for it; None: never
    ids: tuple[str, ...]  # of it and of its subkeys, 16 hexadecimal digits
    subkeys: tuple[str, ...]  # their fingerprints


def is_installed() -> bool:
    """Tell whether the host has the programs: Debian's gpg does not depend on its agent."""
    return all(shutil.which(name, path=environment()["PATH"]) for name in ("gpg", "gpg-agent", "gpgconf"))


def has_key(key_home: str) -> bool:
    """Tell whether a key was made there. Raises PermissionError."""
    try:
        os.stat(os.path.join(key_home, PUBLIC_KEYS))
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


@contextlib.contextmanager
def home(key_home: str) -> Iterator[str]:
    """Yield the path of a home with the keys of a key home, if it has any. Raises OSError."""
    if not is_installed():
        raise GnuPGFailed(errno.ENOENT, "the host has no gpg, or no agent for it: apt install gpg gpg-agent")
    folder = _folder()
    _remove_left(folder)
    path = tempfile.mkdtemp(prefix=_PREFIX, dir=folder)
    try:
        with fs.open_folder(path) as fd:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.symlink(os.path.join(key_home, PRIVATE_KEYS), os.path.join(path, PRIVATE_KEYS))
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                Path(path, PUBLIC_KEYS).write_bytes(Path(key_home, PUBLIC_KEYS).read_bytes())
            with _agent(path):
                yield path
    finally:
        _end(path)


@contextlib.contextmanager
def _agent(path: str) -> Iterator[None]:
    """Run the agent of a home. It ends, within seconds, with a process that ends with us: also when we are killed."""
    with subprocess.Popen(  # noqa: S603 - by arguments of ours
        ["gpg-agent", "--homedir", path, "--disable-scdaemon", "--daemon", "cat"],  # noqa: S607 - as PATH has them
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(),
        bufsize=0,
    ) as process:
        try:
            _wait_for_agent(process)
            yield
        finally:
            process.kill()


def _wait_for_agent(process: subprocess.Popen[bytes]) -> None:
    """Wait until an agent listens: it runs its command then, which repeats what it reads. Raises GnuPGFailed."""
    assert process.stdin is not None  # noqa: S101 - they are pipes
    assert process.stdout is not None  # noqa: S101
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(b"\n")
    poll = select.poll()
    poll.register(process.stdout, select.POLLIN)
    if not poll.poll(_START_S * 1000) or not process.stdout.read(1):
        raise GnuPGFailed(errno.EIO, "gpg-agent: has not started")


def _folder() -> str:
    """Return a folder for homes that is not too deep."""
    folders = (os.path.abspath(fs.temporary_folder()), "/var/tmp", "/tmp")  # noqa: S108 - a home is made by mkdtemp
    return next((each for each in folders if len(os.fsencode(each)) <= _LONGEST_FOLDER), folders[-1])


def _remove_left(folder: str) -> None:
    """Remove the homes of killed processes: those that nobody has locked."""
    for left in Path(folder).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), fs.open_folder(left) as fd:
            info = os.fstat(fd)
            if info.st_uid == os.geteuid() and abs(time.time() - info.st_mtime) > _FRESH_S:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _end(str(left))


def _end(path: str) -> None:
    """Remove a home; its agent ends with it."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(  # noqa: S603 - by arguments of ours
            ["gpgconf", "--homedir", path, "--kill", "all"],  # noqa: S607 - as the host's PATH has it
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_KILL_S,
            check=False,
            env=environment(),
        )
    shutil.rmtree(path, ignore_errors=True)


def environment() -> dict[str, str]:
    """Return the environment of the programs: nothing in it changes what they do."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}


def command(path: str, *arguments: str) -> list[str]:
    """Return the command line of gpg in a home."""
    return ["gpg", "--homedir", path, *_OPTIONS, *arguments]


def run(path: str, *arguments: str, sent: bytes = b"") -> bytes:
    """Run gpg in a home, with `sent` as its input, and return its output. Raises GnuPGFailed."""
    try:
        done = subprocess.run(  # noqa: S603 - by arguments of ours
            command(path, *arguments),
            input=sent,
            capture_output=True,
            timeout=_COMMAND_S,
            check=False,
            env=environment(),
        )
    except subprocess.TimeoutExpired:
        raise GnuPGFailed(errno.ETIMEDOUT, f"gpg {arguments[0]}: has not ended in {_COMMAND_S:.0f} s") from None
    if done.returncode or len(done.stdout) > _MOST_ANSWER_BYTES:
        said = " ".join(done.stderr.decode(errors="replace").split())
        raise GnuPGFailed(errno.EIO, said or f"gpg {arguments[0]}: ended with {done.returncode}")
    return done.stdout


# Keys


def own_keys(path: str) -> list[Key]:
    """Return the keys of a home that have a private part. Raises GnuPGFailed."""
    return listed(run(path, "--with-colons", "--list-secret-keys").decode(errors="replace").splitlines())


def keys(path: str) -> list[Key]:
    """Return all keys of a home. Raises GnuPGFailed."""
    return listed(run(path, "--with-colons", "--list-keys").decode(errors="replace").splitlines())


def listed(lines: Sequence[str]) -> list[Key]:
    """Return the keys in a listing with colons. Source: doc/DETAILS of GnuPG."""
    records = [line.split(":") for line in lines]
    starts = [number for number, fields in enumerate(records) if fields[0] in ("pub", "sec")]
    return [_key(records[start:end]) for start, end in zip(starts, [*starts[1:], len(records)], strict=False)]


def _key(records: list[list[str]]) -> Key:
    parts = [fields for fields in records if fields[0] in ("pub", "sec", "sub", "ssb")]
    primary, *subkeys = parts
    fingerprints = [fields[9].upper() for fields in records if fields[0] == "fpr"]
    encrypts = [_expiry(fields) for fields in subkeys if "e" in fields[11] and fields[1] != "r"]
    expires_at = min(_expiry(primary), max(encrypts, default=_NEVER))
    return Key(
        fingerprint=fingerprints[0],
        user=next((fields[9] for fields in records if fields[0] == "uid"), ""),
        is_revoked=primary[1] == "r",
        expires_at=None if expires_at == _NEVER else datetime.fromtimestamp(expires_at, UTC),
        ids=tuple(fields[4].upper() for fields in parts),
        subkeys=tuple(fingerprints[1:]),
    )


def _expiry(fields: list[str]) -> int:
    return int(fields[6]) if fields[6].isdecimal() else _NEVER
