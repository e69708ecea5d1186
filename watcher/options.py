"""What commands have in common: the configuration they run on, and the client they are about."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from watcher.exits import EXIT_CONFIG

if TYPE_CHECKING:
    from importer.settings import ClientSettings
    from watcher.config import Config

_INSTALLED_CONFIG: Final = Path("/etc/rosterd/config.toml")
_PACKAGE: Final = Path(__file__).resolve().parent
_LONG_WORK_BYTES: Final = 5 << 20


def _loaded(_context: click.Context, _parameter: click.Parameter, config_file: Path | None) -> Config:
    """Return the configuration, or end with EXIT_CONFIG and its problems on standard error."""
    from watcher.config import ConfigError, load

    try:
        if config_file is not None:
            return load(config_file)
        if _INSTALLED_CONFIG.exists():
            return load(_INSTALLED_CONFIG)
        return load(_built_in_config(), base=Path.cwd())
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_CONFIG)


def _built_in_config() -> Path:
    """Return the config.toml of this checkout, or the copy an installed package carries."""
    carried = _PACKAGE / "config.toml"
    return carried if carried.exists() else _PACKAGE.parent / "config.toml"


# Gives the command its `config`, loaded and checked.
config_option: Final = click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path),
    callback=_loaded,
    help=f"Configuration; by default {_INSTALLED_CONFIG}, or the built-in one when that is missing.",
)
# Gives the command its `config_file`: for what has to look at a configuration that may be wrong, or change it.
config_file_option: Final = click.option(
    "--config",
    "config_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    default=_INSTALLED_CONFIG,
    show_default=True,
    help="Configuration; clients stand in clients.d beside it.",
)


class ClientName(click.ParamType[str]):
    """
    The name of a client from a command line: what a configuration may call one, so no path and no control characters.

    Every command that takes one declares it with this type, before it can become part of a path or of a message.
    """

    name = "client"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name, or fail with what one looks like."""
        from importer.settings import CLIENT_NAME

        if not re.match(CLIENT_NAME, value):
            expected = 'up to 63 letters, digits, ".", "_" and "-", a letter or digit first'
            self.fail(f"{json.dumps(value)} cannot be a login or a client; expected {expected}", param, ctx)
        return value


client_option: Final = click.option(
    "--client",
    "client_name",
    metavar="NAME",
    type=ClientName(),
    help="Whose file it is; needed if there are several clients.",
)
json_option: Final = click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for programs.")


def chosen_client(config: Config, name: str | None) -> ClientSettings:
    """Return the client of that name, or the only one; anything else is a usage error."""
    names = ", ".join(client.name for client in config.clients) or "none"
    matching = [client for client in config.clients if name in (None, client.name)]
    if not matching:
        raise click.UsageError(f'no client "{name}" is configured; there is: {names}')
    if len(matching) > 1:
        raise click.UsageError(f"several clients are configured, choose one by --client: {names}")
    return matching[0]


@contextlib.contextmanager
def progress_bar(file: Path) -> Iterator[Callable[[int], None]]:
    """Yield what to tell the byte reached; shows a bar for a large file on a terminal, nothing anywhere else."""
    size_bytes = file.stat().st_size
    if size_bytes < _LONG_WORK_BYTES or not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(length=size_bytes, label=file.name, file=sys.stderr) as bar:
        yield lambda position: bar.update(position - bar.pos)
