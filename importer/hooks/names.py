"""Which events can be told to a webhook, by their names in the log; hooks name them by patterns."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

from importer.settings import HookSettings

# How a file ends is queued by the transaction that records it: `events.add_receipt`.
OF_FILES: Final = ("file.imported", "file.refused", "hold.placed", "removals.placed")
# The others are queued when they are logged. None is about a hook, or one that fails would tell itself of it.
OF_THE_LOG: Final = (
    *("file.held", "file.unread", "file.ignored", "files.ignored", "file.deferred", "file.failed"),
    *("hold.decided", "approval.refused", "upload.missed", "claims.left", "archive.missing"),
    *("inbox.unusable", "inbox.restored", "inbox.full", "inbox.emptied", "intake.unprobed", "sessions.unheard"),
    *("check.unusable", "check.restored"),
    *("clock.differs", "clock.agrees", "host.faulty", "host.recovered"),
    *(
        "watch.lost",
        "watch.restored",
        "store.refused",
        "store.restored",
        "store.rewound",
        "copy.refused",
        "retention.deferred",
    ),
    *("mail.dead", "mail.stuck", "mail.unusable", "mail.restored", "mail.overflowed", "ping.failed", "ping.restored"),
    *("daemon.started", "config.reloaded", "config.refused", "backup.made", "backup.restored"),
)
TEST: Final = "hook.test"  # by `rosterd hook test` alone


def are_known(pattern: str) -> bool:
    """Tell whether a pattern stands for any event."""
    return any(fnmatchcase(event, pattern) for event in (*OF_FILES, *OF_THE_LOG))


def wanted(hook: HookSettings, event: str) -> bool:
    """Tell whether a hook is to be told of an event."""
    return any(fnmatchcase(event, pattern) for pattern in hook.events)


def of_the_log(hooks: Iterable[HookSettings]) -> frozenset[str]:
    """Return the names of the events that have to be queued when they are logged."""
    return frozenset(event for hook in hooks for event in OF_THE_LOG if wanted(hook, event))
