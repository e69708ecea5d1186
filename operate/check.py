"""`rosterd check`: the import of a file without its effect."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

import click
import msgspec

from importer.dry_run import DryRun
from importer.durable import SyncFailed
from importer.store.errors import StoreError, StoreUnusable
from operate.options import chosen_client, client_option, config_option, json_option, language_option, progress_bar
from watcher.exits import EXIT_CANNOT_ANSWER, EXIT_WOULD_FAIL
from watcher.owner import check_access, raise_if_denied
from watcher.settings import Config


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path))
@config_option
@client_option
@language_option
@json_option
def check(
    file: Path, config: Config, client_name: str | None, languages: tuple[Literal["en", "fr"], ...], *, as_json: bool
) -> None:
    """
    Dry run: show how FILE would be imported.

    Exits with 0 when every row would be applied, 1 when anything would fail, 2 when FILE cannot be checked.
    """
    if not file.is_file():  # a pipe cannot be read twice, a device may never end
        raise click.BadParameter(f"{file} is not a regular file.", param_hint="FILE")
    client = chosen_client(config, client_name)
    client = msgspec.structs.replace(client, language=tuple(dict.fromkeys(languages)) or client.language)
    database = config.service.place
    check_access(database, os.O_RDONLY)
    try:
        with progress_bar(file.name, file.stat().st_size) as progress:
            dry_run = DryRun(file=config.file, reference=config.reference, database=database, progress=progress)
            answer = dry_run.check(file, client)
    except PermissionError:
        raise
    except (OSError, SyncFailed, StoreError, StoreUnusable) as error:
        raise_if_denied(error, database)
        click.echo(f"{file}: cannot be checked: {error}", err=True)
        sys.exit(EXIT_CANNOT_ANSWER)
    click.echo(answer.as_json() if as_json else answer.text.rstrip())
    sys.exit(0 if answer.passes else EXIT_WOULD_FAIL)
