"""
Who owns the files of a client.

Files keep numbers. What a removed login leaves would belong to whom useradd gives its number next, and what a backup
brings back belongs to the numbers of then. `find` and `chown -h` look and change, as neither follows links, depth does
not hurt them, and they can be killed and run again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import subprocess
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from operate.provision import layout, steps
from operate.provision.accounts import user_exists
from operate.provision.steps import Step, StepFailed

_OWN: Final = (".work", ".bak")
_PRINT: Final = ("-printf", r"%U:%G\n")


def handing_over(login: str, folder: str) -> list[Step]:
    """Return the steps that give to the service what a login has below a folder, so that its numbers can be reused."""
    if not user_exists(login):
        return []
    gid = pwd.getpwnam(login).pw_gid
    service = layout.SERVICE_USER
    return [
        _chown((f"--from={login}", service), folder, ("-user", login)),
        _chown((f"--from=:{gid}", f":{service}"), folder, ("-group", str(gid))),
    ]


def _chown(words: tuple[str, ...], folder: str, tests: tuple[str, ...]) -> Step:
    return steps.command(
        ("chown", "-hR", *words, folder), lambda: not _find((folder,), *tests, "-printf", ".", "-quit")
    )


def mending(login: str) -> list[Step]:
    """Return the steps after which what is in a client's inbox belongs to the client and the service."""
    inbox = layout.inbox(login)
    own = ("chown", "-hR", f"{layout.SERVICE_USER}:{login}", *(f"{inbox}/{name}" for name in _OWN))
    uids, gids = foreign_ids(login, inbox)
    return [
        steps.command(own, lambda: not misowned(login, inbox)),
        *(steps.command(("chown", "-hR", f"--from={uid}", login, inbox), lambda: False) for uid in uids),
        *(steps.command(("chown", "-hR", f"--from=:{gid}", f":{login}", inbox), lambda: False) for gid in gids),
    ]


def misowned(login: str, inbox: str) -> list[str]:
    """
    Return "uid:gid" of each entry of `.work` and `.bak` that is neither client's nor service's, or not of its group.

    Without a login that is any. Raises StepFailed.
    """
    folders = [f"{inbox}/{name}" for name in _OWN]
    if not user_exists(login):
        return _find(folders, "-mindepth", "1", *_PRINT, "-quit")
    return _find(folders, *_other(_uids(login), {pwd.getpwnam(login).pw_gid}), *_PRINT)


def foreign_ids(login: str, inbox: str) -> tuple[list[int], list[int]]:
    """Return the users and groups of waiting uploads that are neither the client's, the service's nor root's."""
    uids, gids = _uids(login), _gids(login)
    own = [word for name in _OWN for word in ("-path", f"{inbox}/{name}", "-prune", "-o")]
    pairs = {tuple(map(int, line.split(":"))) for line in _find((inbox,), *own, *_other(uids, gids), *_PRINT)}
    return sorted({uid for uid, _ in pairs} - uids), sorted({gid for _, gid in pairs} - gids)


def leftovers(clients: Collection[str]) -> Iterator[tuple[str, int]]:
    """Yield the inboxes of removed clients, and the number of their group."""
    for name in sorted(os.listdir(layout.SFTP_ROOT)) if os.path.isdir(layout.SFTP_ROOT) else ():
        with contextlib.suppress(OSError):
            gid = os.lstat(layout.inbox(name)).st_gid
            if name not in clients and not user_exists(name) and gid not in _gids(name):
                yield layout.inbox(name), gid


def _uids(login: str) -> set[int]:
    return {0, *(pwd.getpwnam(user).pw_uid for user in (login, layout.SERVICE_USER) if user_exists(user))}


def _gids(login: str) -> set[int]:
    return {0, *(pwd.getpwnam(user).pw_gid for user in (login, layout.SERVICE_USER) if user_exists(user))}


def _other(uids: set[int], gids: set[int]) -> list[str]:
    """Return the expression of `find` for what belongs to none of these users, or none of these groups."""
    users, groups = (
        [word for number in sorted(numbers) for word in ("!", test, str(number))]
        for test, numbers in (("-uid", uids), ("-gid", gids))
    )
    return ["(", *users, "-o", *groups, ")"]


def _find(folders: Iterable[str], *expression: str) -> list[str]:
    """Return the lines that `find` prints about those folders that are there. Raises StepFailed."""
    there = [folder for folder in folders if os.path.lexists(folder)]
    if not there:
        return []
    done = subprocess.run(  # noqa: S603 - of the system, by arguments that were checked
        ["find", *there, *expression],  # noqa: S607 - as the host's PATH has it
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
