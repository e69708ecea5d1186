"""
Sends events to webhooks by the current settings.

Each hook has a thread of its own, so that a receiver which is slow, silent or down delays no other; the loop only reads
and writes rows. Without a secret, or with unreadable certificates, the events of that hook wait without a try.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import structlog
from structlog.typing import EventDict

from importer.hooks import events, outbox
from importer.hooks.names import of_the_log
from importer.hooks.post import Attempt, HookTransport, HookUnusable, failed
from importer.sending.sender import Pump, Sender
from importer.settings import HookSettings
from importer.store.database import Store
from importer.store.errors import StoreError
from importer.store.tables import hooks as tables
from importer.store.tables.hooks import HookEvent
from watcher.config import ConfigError, hook_secret
from watcher.health.trouble import Troubles
from watcher.log import note_events, noted_events

log = structlog.get_logger()

_POLL_S: Final = 0.1  # while an answer may come soon
_SOON_S: Final = 2.0
_INTERVAL_S: Final = 1.0
_LOOK_AGAIN_S: Final = 10.0  # to check whether a hook can be used now
_MOST_NOTED: Final = 1000
_OF_THE_LOG_ALONE: Final = ("event", "level", "at", "exc_info", "exception", "exit_code")


class Hooks:
    """The hooks that are configured. One thread uses the methods."""

    def __init__(self, store: Store, troubles: Troubles, hooks: tuple[HookSettings, ...]) -> None:
        self._store = store
        self._troubles = troubles
        self._settings = hooks
        self._lanes: dict[str, _Lane] = {}
        # Kept until they are queued, in case the database fails, or the answer to its commit is lost.
        self._noted: list[HookEvent] = []
        self._are_known = False  # what waits for hooks of before is given up
        self.next_at = -math.inf  # by the monotonic clock
        note_events(of_the_log(hooks))

    def use(self, hooks: tuple[HookSettings, ...]) -> None:
        """Use these settings from now on. What waits for a hook that is gone is given up, and can be retried."""
        names = {hook.name for hook in hooks}
        for name in self._lanes.keys() - names:
            self._lanes.pop(name).leave()
        self._settings, self._are_known = hooks, False
        for lane in self._lanes.values():
            lane.use(next(hook for hook in hooks if hook.name == lane.name))
        self.next_at = -math.inf
        note_events(of_the_log(hooks))

    @property
    def trouble(self) -> str:
        """Return which hooks cannot be used, and why."""
        return "; ".join(lane.trouble for lane in self._lanes.values() if lane.trouble)

    def move(self, at: datetime, *, at_once: bool = False) -> bool:
        """Send the next event of each hook, if it is time; return whether one is being sent."""
        now = time.monotonic()
        if now < self.next_at and not at_once:
            return False
        self.next_at = now + _INTERVAL_S if self._settings else math.inf
        try:
            under_way = [lane for lane in self._known_lanes() if lane.move(self._store, now, at)]
        except StoreError as error:
            self._troubles.report_error("store.refused", error)
            return False
        if any(lane.is_soon(now) for lane in under_way):
            self.next_at = now + _POLL_S
        return bool(under_way)

    def queue_logged(self) -> None:
        """Queue what was logged since the last call. Raises StoreError; it is queued by a later call then."""
        self._noted = [*self._noted, *map(_made, noted_events())][-_MOST_NOTED:]
        if not self._noted:
            return
        with self._store.transaction():
            for event in self._noted:
                events.queue(self._store.conn, self._settings, event)
        self._noted.clear()

    def close(self, at: datetime, wait_s: float) -> None:
        """Stop, for which it may take so long. Raises StoreError; the events are then sent again."""
        until = time.monotonic() + wait_s
        for lane in self._lanes.values():
            lane.close(self._store, at, max(until - time.monotonic(), 0.0))

    def _known_lanes(self) -> list[_Lane]:
        if not self._are_known:
            tables.give_up_unknown(self._store.conn, [hook.name for hook in self._settings], datetime.now(UTC))
            self._are_known = True
        for hook in self._settings:
            if hook.name not in self._lanes:
                self._lanes[hook.name] = _Lane(hook, self._troubles)
        return list(self._lanes.values())


class _Lane:
    """One hook: its thread, and why it cannot be used, if it cannot."""

    def __init__(self, settings: HookSettings, troubles: Troubles) -> None:
        self.name = settings.name
        self.trouble = ""
        self._settings = settings
        self._troubles = troubles
        self._sender: Sender[HookEvent, Attempt] | None = None
        self._pump: Pump[HookEvent, Attempt] | None = None
        self._is_usable = False
        self._retry_at = -math.inf
        self._began_at = math.inf  # when the event under way was handed over

    def use(self, settings: HookSettings) -> None:
        """Use these settings from the next event on; the secret may be another one, too."""
        self._settings, self._is_usable, self._retry_at = settings, False, -math.inf

    def move(self, store: Store, now: float, at: datetime) -> bool:
        """Send the next event, if the hook can be used; return whether one is being sent. Raises StoreError."""
        if not self._is_usable and now >= self._retry_at:
            self._retry_at = now + _LOOK_AGAIN_S
            self._set_up()
        if self._pump is None:
            return False
        if not self._is_usable:
            self._pump.collect(store, at)
            return self._pump.is_under_way
        was_under_way = self._pump.is_under_way
        is_under_way = self._pump.pump(store, at)
        if is_under_way and not was_under_way:
            self._began_at = now
        return is_under_way

    def is_soon(self, now: float) -> bool:
        """Tell whether the answer to what was handed over is likely to come soon."""
        return now < self._began_at + _SOON_S

    def close(self, store: Store, at: datetime, wait_s: float) -> None:
        """Stop sending. Raises StoreError."""
        if self._pump is not None:
            self._pump.close(store, at, wait_s)

    def leave(self) -> None:
        """Stop without waiting for the event under way."""
        if self._sender is not None:
            self._sender.close(0.0)

    def _set_up(self) -> None:
        try:
            transport = HookTransport(self._settings, hook_secret(self._settings))
        except (ConfigError, HookUnusable) as error:
            self.trouble = str(error)
            self._troubles.report("hook.unusable", hook=self.name, reason=self.trouble)
            return
        if self.trouble:
            log.info("hook.restored", hook=self.name)
        self.trouble, self._is_usable = "", True
        if self._sender is None:
            self._sender = Sender(transport, failed, name=f"hook-{self.name}")
            self._sender.start()
            self._pump = Pump(self._sender, functools.partial(outbox.take, hook=self.name), outbox.record)
        self._sender.use(transport)


def _made(event: EventDict) -> HookEvent:
    return events.made(event["event"], datetime.fromisoformat(event["at"]), dict(_data(event)))


def _data(event: EventDict) -> Iterable[tuple[str, events.Value]]:
    """Yield what the log has of an event, but for exceptions: those are for who mends the code."""
    for name, value in event.items():
        if name not in _OF_THE_LOG_ALONE:
            yield name, value if isinstance(value, str | int | float | bool | None) else _listed(value)


def _listed(value: object) -> events.Value:
    return [str(each) for each in value] if isinstance(value, list | tuple) else str(value)
