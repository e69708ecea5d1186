"""The database, read-only, for commands; an unreadable one ends them with a sentence, not a traceback."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import NoReturn

import click

from importer.store import queries
from importer.store.connection import Connection
from importer.store.errors import StoreError, StoreUnusable
from operate.options import unknown_client
from watcher.exits import EXIT_CANNOT_ANSWER
from watcher.owner import check_access, raise_if_denied
from watcher.settings import Config


@contextlib.contextmanager
def database(config: Config) -> Iterator[Connection]:
    """Open the database of the service; ends the program when that cannot be read. Raises PermissionError."""
    place = config.service.place
    check_access(place, os.O_RDONLY)
    try:
        with place.reading() as conn:
            yield conn
    except (StoreError, StoreUnusable) as error:
        raise_if_denied(error, place)
        missing = (
            "it does not exist yet; the service creates it at its first start" if place.is_missing else _reason(error)
        )
        cannot_answer(f"{place.name}: cannot be read: {missing}")


def _reason(error: StoreError | StoreUnusable) -> str:
    return error.advice if isinstance(error, StoreError) else str(error)


def check_known(config: Config, conn: Connection, client: str | None) -> None:
    """End with a usage error when the client is neither configured nor recorded."""
    known = {*queries.clients(conn), *config.clients_by_name}
    if client is not None and client not in known:
        raise unknown_client(client, known)


def cannot_answer(reason: str) -> NoReturn:
    """End the program because the answer cannot be known."""
    click.echo(reason, err=True)
    sys.exit(EXIT_CANNOT_ANSWER)
