"""
Who owns the files of a client.

Files store ids. Those of a removed login would be the next user's that gets its id from useradd, and a restored
backup has the ids of its time. `find` and `chown -h` search and change: they follow no links, handle any depth, and can
be killed and run again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Final

import msgspec

from operate.provision import homes, lookups, steps
from operate.provision.accounts import user_exists
from operate.provision.steps import Step, StepFailed

_OWN: Final = (".work", ".bak")
_PRUNE_OWN: Final = ("(", "-name", ".work", "-o", "-name", ".bak", ")", "-prune")  # the roots in them are named "."


def handing_over(login: str, folder: str) -> list[Step]:
    """Return the steps that give the files of a login below a folder to the service, so that its ids can be reused."""
    if not user_exists(login):
        return []
    gid = lookups.user(login).pw_gid
    service = homes.SERVICE_USER
    return [
        _chown((f"--from={login}", service), folder, ("-user", login)),
        _chown((f"--from=:{gid}", f":{service}"), folder, ("-group", str(gid))),
    ]


def _chown(words: tuple[str, ...], folder: str, tests: tuple[str, ...]) -> Step:
    return steps.command(
        ("chown", "-hR", *words, folder), lambda: not _find((folder,), *tests, "-printf", ".", "-quit")
    )


class Ownership(msgspec.Struct, frozen=True):
    """How many entries of an inbox each pair of uid and gid owns."""

    own: Counter[tuple[int, int]]  # `.work`, `.bak` and what is in them
    uploads: Counter[tuple[int, int]]  # the inbox and what waits in it


def survey(inboxes: Iterable[str]) -> dict[str, Ownership]:
    """Return who owns what in each inbox, by one `find`: one for each of 100 takes 0.3 s. Raises StepFailed."""
    roots = {
        inbox: [inbox, *(f"{inbox}/{name}/." for name in _OWN if _is_folder(f"{inbox}/{name}"))] for inbox in inboxes
    }
    starts = [start for each in roots.values() for start in each]
    lines = Counter(_find(starts, *_PRUNE_OWN, "-o", "-printf", r"%H\t%U:%G\n"))
    owners: dict[str, Counter[tuple[int, int]]] = {start: Counter() for start in starts}
    for line, count in lines.items():
        start, _, pair = line.rpartition("\t")
        uid, _, gid = pair.partition(":")
        owners[start][int(uid), int(gid)] += count
    return {
        inbox: Ownership(own=sum((owners[start] for start in own), Counter()), uploads=owners[whole])
        for inbox, (whole, *own) in roots.items()
    }


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def ownership_steps(login: str) -> list[Step]:
    """Return the steps that give what is in the inbox of a client to the client and the service."""
    inbox = homes.inbox(login)
    own = ("chown", "-hR", f"{homes.SERVICE_USER}:{login}", *(f"{inbox}/{name}" for name in _OWN))
    uids, gids = foreign_ids(login, survey([inbox])[inbox])
    return [
        steps.command(own, lambda: not _has_misowned(login, inbox)),
        *(steps.command(("chown", "-hR", f"--from={uid}", login, inbox), lambda: False) for uid in uids),
        *(steps.command(("chown", "-hR", f"--from=:{gid}", f":{login}", inbox), lambda: False) for gid in gids),
    ]


def _has_misowned(login: str, inbox: str) -> bool:
    """Return whether anything in `.work` and `.bak` has to be given to client and service; without a login, all has."""
    if user_exists(login):
        return bool(misowned(login, survey([inbox])[inbox]))
    return bool(_find([f"{inbox}/{name}" for name in _OWN], "-mindepth", "1", "-printf", ".", "-quit"))


def misowned(login: str, owners: Ownership) -> Counter[tuple[int, int]]:
    """Return how many entries of `.work` and `.bak` each wrong owner has: not client or service, or a wrong group."""
    uids, gid = _uids(login), lookups.user(login).pw_gid
    return Counter({pair: count for pair, count in owners.own.items() if pair[0] not in uids or pair[1] != gid})


def foreign_ids(login: str, owners: Ownership) -> tuple[list[int], list[int]]:
    """Return the owners of waiting uploads other than the client, the service and root."""
    uids, gids = ({pair[part] for pair in owners.uploads} for part in (0, 1))
    return sorted(uids - _uids(login)), sorted(gids - _gids(login))


def leftovers(clients: Collection[str]) -> Iterator[tuple[str, int]]:
    """Yield the inboxes of removed clients, with the ids of their groups."""
    for name in sorted(os.listdir(homes.SFTP_ROOT)) if os.path.isdir(homes.SFTP_ROOT) else ():
        with contextlib.suppress(OSError):
            gid = os.lstat(homes.inbox(name)).st_gid
            if name not in clients and not user_exists(name) and gid not in _gids(name):
                yield homes.inbox(name), gid


def _uids(login: str) -> set[int]:
    return {0, *(lookups.user(user).pw_uid for user in (login, homes.SERVICE_USER) if user_exists(user))}


def _gids(login: str) -> set[int]:
    return {0, *(lookups.user(user).pw_gid for user in (login, homes.SERVICE_USER) if user_exists(user))}


def _find(folders: Iterable[str], *expression: str) -> list[str]:
    """Return the lines that `find` prints about the existing ones of the folders. Raises StepFailed."""
    existing = [folder for folder in folders if os.path.lexists(folder)]
    if not existing:
        return []
    done = subprocess.run(  # noqa: S603 - of the system, by arguments that were checked
        ["find", "-files0-from", "-", *expression],  # noqa: S607 - as the host's PATH has it
        input="\0".join(existing),
        capture_output=True,
        text=True,
        check=False,
        env=steps.environment(),
    )
    # Folders of finished claims vanish while it looks; -ignore_readdir_race still reported 13 in 300 walks.
    errors = [line for line in done.stderr.splitlines() if not line.endswith(os.strerror(errno.ENOENT))]
    if errors:
        raise StepFailed(errors[0])
    return done.stdout.splitlines()
