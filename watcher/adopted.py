"""
The configuration that the service uses, in a file of the state directory: config.toml may have errors by now.

Meanwhile commands about the service use this file. Like the status it is a hint, not a record, and has no secrets.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Final

import msgspec

from importer.durable import replace
from importer.fs import own_mode
from importer.roster.protection import ListUnusable, protected_users
from watcher.config import ConfigError, load_again, ping_url
from watcher.settings import Config, ServiceSettings

_FILE: Final = "adopted.json"
_STATE_DIR: Final = re.compile(r"""^[^#\n]*\bstate_dir[ \t]*=[ \t]*(["'])(.+?)\1""", re.MULTILINE)


class Adopted(msgspec.Struct, frozen=True, kw_only=True):
    """What the service uses. `former`: inboxes of earlier configurations and their clients; they may contain claims."""

    config: Config
    former: tuple[tuple[str, str], ...] = ()


class NotReloadable(Exception):
    """The service keeps its current configuration. The message says why."""


def write_adopted(config: Config, former: tuple[tuple[str, str], ...] = ()) -> None:
    """Record that the service uses this configuration from now on; on a full disk the previous record stays."""
    replaced = msgspec.structs.replace
    stored = replaced(
        config,
        service=replaced(config.service, ping_url=""),
        hook=tuple(replaced(hook, url=f"https://{hook.host}") for hook in config.hook),
    )
    note = msgspec.json.encode(Adopted(config=stored, former=former)) + b"\n"
    with contextlib.suppress(OSError):
        state_dir = config.service.state_dir
        replace(os.path.join(state_dir, _FILE), note, mode=own_mode(state_dir))


def read_adopted(path: Path) -> Config | None:
    """
    Return what the service last adopted of a configuration that has errors now; None when that is not known.

    The file is the service's own, so root must not write by it anywhere outside of that state directory.
    """
    state_dir = os.path.abspath(_state_dir_in(path))
    adopted = last_adopted(state_dir)
    if adopted is None:
        return None
    config = adopted.config
    if (config.source, config.service.state_dir) != (str(path.absolute()), state_dir):
        return None
    return msgspec.structs.replace(config, is_outdated=True)


def last_adopted(state_dir: str) -> Adopted | None:
    """Return what the service of a state directory last adopted; None when that is not known. Raises OSError."""
    try:
        return msgspec.json.decode(Path(state_dir, _FILE).read_bytes(), type=Adopted)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None


def read_again(config: Config) -> Config:
    """Read the configuration from its files again. Raises NotReloadable."""
    try:
        fresh = load_again(config)
        ping_url(fresh.service)
        for client in fresh.clients:
            protected_users(client)
    except (ConfigError, PermissionError, ListUnusable) as error:
        raise NotReloadable(str(error)) from None
    if _fixed(fresh) != _fixed(config):
        raise NotReloadable("[service], [log] and [metrics], except for ping_url, cannot change without a restart")
    return fresh


def _fixed(config: Config) -> tuple[msgspec.Struct, ...]:
    """Return what cannot change while the daemon runs."""
    return msgspec.structs.replace(config.service, ping_url=""), config.log, config.metrics


def _state_dir_in(path: Path) -> str:
    """Return the state directory that a file names, even if the rest of it is wrong."""
    with contextlib.suppress(FileNotFoundError):
        if match := _STATE_DIR.search(path.read_text(encoding="utf-8", errors="replace")):
            return os.path.join(path.absolute().parent, match[2])
    return ServiceSettings().state_dir
