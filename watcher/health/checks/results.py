"""When `rosterd doctor`, `verify` and `backup` last ran, and what they found: for status and metrics, in files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from importer.durable import replace
from importer.fs import own_mode
from watcher.owner import become_owner

MAX_FAULTS: Final = 3
DOCTOR: Final = "doctor"
CHECKS: Final = (DOCTOR, "verify")
BACKUP: Final = "backup"


class CheckRun(msgspec.Struct, frozen=True, kw_only=True):
    """The last run of a command."""

    at: datetime
    problems: Mapping[str, int]  # how many of each severity
    faults: tuple[str, ...] = ()  # the first of them, in words
    pgp_key_expires_at: datetime | None = None  # our key for encrypted uploads; None: never, or there is none


def record_run(
    state_dir: str,
    check: str,
    problems: Mapping[str, int],
    faults: Sequence[str] = (),
    *,
    pgp_key_expires_at: datetime | None = None,
) -> None:
    """Record a run, as the user of the service, to whom this process then belongs. Raises OSError."""
    become_owner(state_dir)
    run = CheckRun(
        at=datetime.now(UTC),
        problems=problems,
        faults=tuple(faults[:MAX_FAULTS]),
        pgp_key_expires_at=pgp_key_expires_at,
    )
    replace(_path(state_dir, check), msgspec.json.encode(run) + b"\n", mode=own_mode(state_dir))


def last_run(state_dir: str, check: str) -> CheckRun | None:
    """Return what was recorded last; None when there is nothing that this version understands."""
    try:
        with open(_path(state_dir, check), "rb") as file:
            return msgspec.json.decode(file.read(), type=CheckRun)
    except (OSError, msgspec.DecodeError):
        return None


def _path(state_dir: str, check: str) -> str:
    return os.path.join(state_dir, f"{check}.json")
