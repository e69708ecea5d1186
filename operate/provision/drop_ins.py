"""The files of clients.d: one for each client that `rosterd client add` made, named after it."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from operate.provision import accounts
from watcher.config import ConfigError, load, read_settings

ENDING: Final = ".toml"
DISABLED_ENDING: Final = ".toml.disabled"  # not read by the service


def settings_file(config_file: Path, name: str, ending: str = ENDING) -> Path:
    """Return the path of the file of a client, which may not exist."""
    return config_file.absolute().parent / "clients.d" / (name + ending)


def settings_files(config_file: Path, name: str) -> list[Path]:
    """Return the existing files of a client, the disabled one last."""
    both = (settings_file(config_file, name, ending) for ending in (ENDING, DISABLED_ENDING))
    return [path for path in both if os.path.lexists(path)]


def known_names(config_file: Path) -> set[str]:
    """Return the clients of this host: those configured, those disabled, and all logins; also of a faulty file."""
    names = {path.name.partition(".toml")[0] for path in settings_file(config_file, "").parent.glob("*.toml*")}
    with contextlib.suppress(ConfigError):
        names |= {*load(config_file).clients_by_name}
    return names | {*accounts.logins()}


def clients_of(path: Path) -> set[str]:
    """Return the names of all clients in a file; none when it cannot be read."""
    try:
        info = path.stat()
    except OSError:
        return set()
    return {*_clients_of(path, info.st_ino, info.st_mtime_ns, info.st_size)}


@functools.lru_cache(maxsize=4096)  # of a thousand clients each is looked for in the files of all
def _clients_of(path: Path, *_: int) -> frozenset[str]:
    """Return the names in a file, which is another one once it was changed."""
    try:
        tables = tomllib.loads(read_settings(path)).get("client", [])
        return frozenset(str(table["name"]) for table in tables)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return frozenset()


def problems_with(config_file: Path, texts: Mapping[Path, str]) -> Iterator[str]:
    """Yield the problems of the configuration with other texts of some of its files, by loading a copy of it."""
    folder = config_file.absolute().parent
    if missing := {str(path.parent) for path in texts if not path.parent.is_dir()}:
        yield from (f"{path}: does not exist. Create it" for path in sorted(missing))
        return
    with tempfile.TemporaryDirectory() as copy:
        try:
            shutil.copy(config_file, copy)
            if (folder / "clients.d").is_dir():
                shutil.copytree(folder / "clients.d", Path(copy, "clients.d"))
            for changed, text in texts.items():
                Path(copy, changed.relative_to(folder)).write_text(text, encoding="utf-8")
            load(Path(copy, config_file.name), base=folder)
        except OSError as error:
            yield f"{error.filename}: {error.strerror}"
        except ConfigError as error:
            yield from error.problems
