"""The source of metrics. The exporter is a module of its own: it needs a library, and is optional."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from importer.store.places import Place
from watcher.settings import Config


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What the metrics are read from."""

    state_dir: str
    database: Place
    clients: tuple[str, ...]
    expected_s: Mapping[str, float]  # client -> how often it should upload; without those that need not
    hooks: tuple[str, ...] = ()
    is_mail_sent: bool = False  # else mail is only stored in the Maildir


def source_of(config: Config) -> Source:
    """Return the source of metrics for this configuration."""
    return Source(
        state_dir=config.service.state_dir,
        database=config.service.place,
        clients=tuple(config.clients_by_name),
        expected_s={client.name: client.expected_s for client in config.clients if client.expected_s is not None},
        hooks=tuple(hook.name for hook in config.hook),
        is_mail_sent=config.mail.is_sent,
    )
