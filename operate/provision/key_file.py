"""
The file with the public keys of a client: its lines, and the steps that change them.

A change replaces the whole file, so that sshd reads the old keys or the new ones. Whoever changes one has the folder
locked. A command that is killed leaves the old file, and a temporary one that the next change removes.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from importer.durable import sync, write_durably
from operate.output import shown
from operate.provision import homes, keys
from operate.provision.keys import PROBE, KeyLine, PublicKey
from operate.provision.steps import Step, locked

Change = Callable[[list[str]], list[str]]

_MODE: Final = 0o644  # sshd reads it as the client


def present(name: str) -> list[KeyLine]:
    """Return the lines that sshd tries for a client; none if there is no file. Raises KeyRefused, OSError."""
    try:
        return [line for _, line in keys.key_lines(Path(homes.keys(name)))]
    except FileNotFoundError:
        return []


def line_of(key: PublicKey, expires_at: float | None, *, in_utc: bool = True) -> str:
    """Return the line that admits a key, until a moment; `in_utc` is what sshd knows from OpenSSH 9.1 on."""
    if expires_at is None:
        return key.text
    expiry = (
        time.strftime("%Y%m%d%H%M%SZ", time.gmtime(expires_at))
        if in_utc
        else time.strftime("%Y%m%d%H%M%S", time.localtime(expires_at))
    )
    return f'expiry-time="{expiry}" {key.text}'


def adding(name: str, lines: Sequence[str]) -> Step:
    """Return the step that adds lines; each replaces one that has the same key."""
    own = {_key_in(line) for line in lines}

    def change(before: list[str]) -> list[str]:
        others = [line for line in before if line in lines or _key_in(line) not in own]
        return [*others, *(line for line in lines if line not in others)]

    return _changing(name, "\n".join([f"add to {homes.keys(name)}:", *lines]), change)


def removing(name: str, line: KeyLine) -> Step:
    """Return the step that removes a line; without the last one, the file."""

    def change(before: list[str]) -> list[str]:
        return [each for each in before if each.strip(" \t\r") != line.text]

    what = f"{line.fingerprint} {line.comment}" if line.fingerprint else line.text
    return _changing(name, f"remove from {homes.keys(name)}:\n{shown(what, limit=200)}", change)


def _key_in(line: str) -> str:
    match = re.search(rf"(?:^|[ \t]){keys.KEY}(?=[ \t\r]|$)", line)
    return f"{match[1]} {match[2]}" if match else ""


def _changing(name: str, shows: str, change: Change) -> Step:
    return Step(shows, partial(_is_changed, name, change), partial(_change, name, change))


def _is_changed(name: str, change: Change) -> bool:
    before = _lines(name)
    return change(before) == before


def _change(name: str, change: Change) -> None:
    with locked(homes.KEYS) as fd:
        after = [line for line in change(_lines(name)) if not PROBE.fullmatch(line)]
        if after:
            content = "".join(f"{line}\n" for line in after).encode("utf-8", "surrogateescape")
            write_durably(fd, os.fsencode(name), [content], mode=_MODE)
        else:
            os.unlink(name, dir_fd=fd)
            sync(fd)


def _lines(name: str) -> list[str]:
    try:
        content = Path(homes.keys(name)).read_bytes()
    except FileNotFoundError:
        return []
    return content.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n") if content else []
