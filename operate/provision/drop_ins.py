"""The files of clients.d: one for each client that `rosterd client add` made, called after it."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Final

from watcher.config import read_settings

ENDING: Final = ".toml"
DISABLED_ENDING: Final = ".toml.disabled"  # not read by the service


def settings_file(config_file: Path, name: str, ending: str = ENDING) -> Path:
    """Return where a client's file is, or would be."""
    return config_file.absolute().parent / "clients.d" / (name + ending)


def settings_files(config_file: Path, name: str) -> list[Path]:
    """Return those files of a client that are there, the disabled one last."""
    both = (settings_file(config_file, name, ending) for ending in (ENDING, DISABLED_ENDING))
    return [path for path in both if os.path.lexists(path)]


def clients_of(path: Path) -> set[str]:
    """Return the names of all clients that a file is about; none when it cannot be read."""
    try:
        tables = tomllib.loads(read_settings(path)).get("client", [])
        return {str(table["name"]) for table in tables}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return set()
