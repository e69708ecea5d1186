"""The files with secrets next to config.toml, which the unit passes to the service as credentials."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

SECRETS: Final = ("smtp_password", "ping_url")
OF_HOOK: Final = "hook_"  # before the name of a hook


def secret_files(config_file: Path) -> list[Path]:
    """Return the files with secrets that there are."""
    folder = config_file.absolute().parent
    return sorted(path for path in folder.glob("*") if path.name in SECRETS or path.name.startswith(OF_HOOK))


def use_secret_files(config_file: Path) -> None:
    """Let this process read secrets where the unit loads them from; only the service gets them as credentials."""
    if any(os.access(path, os.R_OK) for path in secret_files(config_file)):
        os.environ.setdefault("CREDENTIALS_DIRECTORY", str(config_file.absolute().parent))
