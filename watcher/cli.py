"""The command line. Maps how things ended to exit codes; imports what a command needs when it runs, to start fast."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import click

if TYPE_CHECKING:
    from importer.settings import ClientSettings
    from watcher.config import Config

# From 64 on they are those of sysexits.h: systemd restarts after some of them and lets a person look at the others.
EXIT_WOULD_FAIL: Final = 1
EXIT_CANNOT_CHECK: Final = 2  # also click's own, for a wrong command line
EXIT_UNUSABLE_DATABASE: Final = 65
EXIT_UNEXPECTED: Final = 70
EXIT_IO_ERROR: Final = 74
EXIT_CONFIG: Final = 78

_LONG_WORK_BYTES: Final = 5 << 20

_INSTALLED_CONFIG: Final = Path("/etc/rosterd/config.toml")
_PACKAGE: Final = Path(__file__).resolve().parent

_config_option = click.option(
    "--config",
    "config_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help=f"Configuration; by default {_INSTALLED_CONFIG}, or the built-in one when that is missing.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rosterd")
def main() -> None:
    """Import the user lists that client organisations upload by SFTP."""


@main.command()
@_config_option
def run(config_file: Path | None) -> None:
    """Watch the inboxes and import what lands in them, until told to stop."""
    from watcher.daemon import run_daemon

    _exit_with(_loaded(config_file), run_daemon)


@main.command()
@_config_option
def sweep(config_file: Path | None) -> None:
    """Import what lies in the inboxes now, then end."""
    from watcher.daemon import sweep_once

    _exit_with(_loaded(config_file), sweep_once)


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path))
@_config_option
@click.option(
    "--client", "client_name", metavar="NAME", help="Whose settings and users count; needed if there are several."
)
@click.option("--json", "as_json", is_flag=True, help="Answer with one JSON object, for programs.")
def check(file: Path, config_file: Path | None, client_name: str | None, *, as_json: bool) -> None:
    """
    Say what would become of FILE, and change nothing.

    Exits with 0 when every row would be applied, 1 when anything would fail, 2 when FILE cannot be checked.
    """
    from importer.check import check_file
    from importer.store import StoreUnusable

    config = _loaded(config_file)
    client = _chosen(config, client_name)
    database = Path(config.service.database)
    try:
        with _progress_bar(file) as progress:
            answer = check_file(
                file, client, file=config.file, reference=config.reference, database=database, progress=progress
            )
    except (OSError, sqlite3.Error, StoreUnusable) as error:
        click.echo(f"{file}: cannot be checked: {error}", err=True)
        sys.exit(EXIT_CANNOT_CHECK)
    click.echo(answer.as_json() if as_json else answer.text)
    sys.exit(0 if answer.passes else EXIT_WOULD_FAIL)


@contextlib.contextmanager
def _progress_bar(file: Path) -> Iterator[Callable[[int], None]]:
    """Yield what to tell the byte reached; shows a bar for a large file on a terminal, nothing anywhere else."""
    size_bytes = file.stat().st_size
    if size_bytes < _LONG_WORK_BYTES or not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(length=size_bytes, label=file.name, file=sys.stderr) as bar:
        yield lambda position: bar.update(position - bar.pos)


def _chosen(config: Config, name: str | None) -> ClientSettings:
    """Return the client of that name, or the only one; anything else is a usage error."""
    names = ", ".join(client.name for client in config.clients) or "none"
    matching = [client for client in config.clients if name in (None, client.name)]
    if not matching:
        raise click.UsageError(f'no client "{name}" is configured; there is: {names}')
    if len(matching) > 1:
        raise click.UsageError(f"several clients are configured, choose one by --client: {names}")
    return matching[0]


def _loaded(config_file: Path | None) -> Config:
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


def _exit_with(config: Config, act: Callable[[Config], int]) -> NoReturn:
    """Run a command that logs, and end with its exit code, or with the one for what it raised."""
    from watcher.log import configured

    with configured(config.log):
        code = _code_of(config, act)
    sys.exit(code)


def _code_of(config: Config, act: Callable[[Config], int]) -> int:
    import structlog

    from importer.store import StoreUnusable

    log = structlog.get_logger()
    try:
        return act(config)
    except StoreUnusable:
        log.critical("daemon.failed", exc_info=True, exit_code=EXIT_UNUSABLE_DATABASE)
        return EXIT_UNUSABLE_DATABASE
    except (sqlite3.Error, OSError):
        log.critical("daemon.failed", exc_info=True, exit_code=EXIT_IO_ERROR)
        return EXIT_IO_ERROR
    except Exception:
        log.critical("daemon.failed", exc_info=True, exit_code=EXIT_UNEXPECTED)
        return EXIT_UNEXPECTED


if __name__ == "__main__":
    main()
