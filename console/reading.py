"""What the console reads: the configuration that is in force, and the database, of one moment for one page."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from console.access.users import ConsoleUser
from importer.store import queries
from importer.store.connection import Connection
from importer.store.errors import StoreError, StoreUnusable
from importer.store.places import Place
from watcher.adopted import read_adopted
from watcher.config import ConfigError, load_again
from watcher.settings import Config


class DatabaseUnreadable(Exception):
    """No page can be shown. The message says why."""


class Reading(msgspec.Struct, frozen=True):
    """All that one page is made of: what its reader may see."""

    config: Config  # with the clients whom the reader may see
    conn: Connection
    user: ConsoleUser

    def of_one(self, client: str) -> Reading:
        """Return the same as if its reader saw this client alone."""
        clients = tuple(each for each in self.config.clients if each.name == client)
        config = msgspec.structs.replace(self.config, clients=clients)
        return Reading(config, self.conn, msgspec.structs.replace(self.user, clients=(client,)))


class Installation:
    """One rosterd on this host."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._seen = _signature(config)

    def config(self) -> Config:
        """Return the configuration; while the files have errors that which the service uses, as the commands do."""
        signature = _signature(self._config)
        if signature != self._seen:
            try:
                self._config = load_again(self._config)
            except (ConfigError, OSError):
                # Without what the service adopted, that of before goes on.
                in_use = read_adopted(Path(self._config.source)) or self._config
                self._config = msgspec.structs.replace(
                    in_use, source=self._config.source, base=self._config.base, is_outdated=True
                )
            self._seen = signature
        return self._config

    @contextlib.contextmanager
    def reading(self, user: ConsoleUser) -> Iterator[Reading]:
        """Yield what this user may see. Raises DatabaseUnreadable."""
        config = self.config()
        place = config.service.place
        seen = tuple(client for client in config.clients if user.sees(client.name))
        try:
            with place.reading() as conn:
                yield Reading(msgspec.structs.replace(config, clients=seen), conn, user)
        except (StoreError, StoreUnusable) as error:
            raise DatabaseUnreadable(_reason(place, error)) from error


def known_clients(reading: Reading) -> list[str]:
    """Return the clients whom the reader sees, those that are not configured any more, too."""
    recorded = (name for name in queries.clients(reading.conn) if reading.user.sees(name))
    return sorted({*reading.config.clients_by_name, *recorded}, key=str.casefold)


def _reason(place: Place, error: Exception) -> str:
    if place.is_missing:
        return f"{place.name}: it does not exist yet; the service creates it at its first start"
    return f"{place.name}: {error}"


def _signature(config: Config) -> object:
    """Return a value that changes with the files of the configuration."""
    main = Path(config.source)
    with contextlib.suppress(OSError):
        files = [main, *sorted(main.parent.glob("clients.d/*.toml"))]
        return [(path.name, *_identity(path)) for path in files]
    return None


def _identity(path: Path) -> tuple[int, int, int]:
    info = path.stat()
    return info.st_ino, info.st_mtime_ns, info.st_size
