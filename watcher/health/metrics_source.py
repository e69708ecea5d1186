"""Where the figures for monitoring come from. What offers them is apart: it needs a library, and is not always on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from watcher.settings import Config


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where the figures come from."""

    state_dir: str
    database: Path
    clients: tuple[str, ...]
    expected_s: Mapping[str, float]  # client -> how often it should upload; those that are not held to it are left out
    has_smtp: bool = False  # else mail is only put into the Maildir


def source_of(config: Config) -> Source:
    """Return where the figures of this service come from."""
    return Source(
        state_dir=config.service.state_dir,
        database=Path(config.service.database),
        clients=tuple(config.clients_by_name),
        expected_s={client.name: client.expected_s for client in config.clients if client.expected_s is not None},
        has_smtp=bool(config.mail.host),
    )
