"""
Whose the files of a client are.

Files keep numbers. What a removed login leaves would belong to whom useradd gives its number next, and what a backup
brings back belongs to the numbers of then. `find` and `chown -h` look and change, as neither follows links, depth does
not hurt them, and they can be killed and run again.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable
from typing import Final

from operate import layout, steps
from operate.accounts import user_exists
from operate.steps import Step

_OWN: Final = (".work", ".bak")


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
    Return what in `.work` and `.bak` belongs to neither client nor service, or not to the client's group.

    Without a login that is all there is. Raises StepFailed.
    """
    folders = [f"{inbox}/{name}" for name in _OWN]
    if not user_exists(login):
        return _find(folders, "-mindepth", "1", "-printf", r"%U:%G\n", "-quit")
    users = [word for uid in sorted(_uids(login)) for word in ("!", "-uid", str(uid))]
    group = ("!", "-gid", str(pwd.getpwnam(login).pw_gid))
    return _find(folders, "(", *users, "-o", *group, ")", "-printf", r"%U:%G\n")


def foreign_ids(login: str, inbox: str) -> tuple[list[int], list[int]]:
    """Return the users and groups of waiting uploads that are neither the client's, the service's nor root's."""
    own = [word for name in _OWN for word in ("-path", f"{inbox}/{name}", "-prune", "-o")]
    pairs = {
        tuple(map(int, line.split(":"))) for line in _find((inbox,), *own, "-mindepth", "1", "-printf", r"%U:%G\n")
    }
    return sorted({uid for uid, _ in pairs} - _uids(login)), sorted({gid for _, gid in pairs} - _gids(login))


def _uids(login: str) -> set[int]:
    return {0, *(pwd.getpwnam(user).pw_uid for user in (login, layout.SERVICE_USER) if user_exists(user))}


def _gids(login: str) -> set[int]:
    return {0, *(pwd.getpwnam(user).pw_gid for user in (login, layout.SERVICE_USER) if user_exists(user))}


def _find(folders: Iterable[str], *expression: str) -> list[str]:
    """Return the lines that `find` prints about those folders that are there. Raises StepFailed."""
    there = [folder for folder in folders if os.path.lexists(folder)]
    return steps.run(("find", *there, *expression)).splitlines() if there else []
