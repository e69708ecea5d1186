"""
The claims that are not done: which is next, and when a large one is preempted for files of other clients.

One transaction imports one file: without preemption others would wait 20 to 40 s for a million new users. The check
that the import makes, also from within SQLite, reads only values: clocks, and the events that other threads have
queued. No folder is opened until the import was aborted and rolled back.

With a database on a server several claims are processed at a time, each of another client. Nothing is preempted there:
small files never wait for large ones.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import Final

import msgspec

from importer.durations import back_off_s
from importer.model import Claim
from watcher.inbox.events import EventQueue
from watcher.inbox.large_files import LARGE_BYTES, Readings
from watcher.inbox.settle import Settling
from watcher.settings import Config
from watcher.signals import Signals

FIRST_RETRY_S: Final = 1.0
LAST_RETRY_S: Final = 60.0
# New users, which take longest, are imported at 5 to 18 MiB a second.
_BYTES_PER_S: Final = 8 << 20
_CHECK_INTERVAL_S: Final = 0.05
# So many times the bytes of a workbook or an archive are in it. A claim that was left behind counts as large.
_MORE_IN_OTHERS: Final = 16
AHEAD: Final = 64  # claims that wait while as many are processed as may be: each turn looks through them
_TOGETHER: Final = 32  # claims that share a transaction: what is shared by more does not count any more
_TOGETHER_BYTES: Final = 256 << 10  # of all their files, so that nobody waits long for the others


class _Deferred:
    """A claim in `.work` that waits for its next try; `blocks`: nothing newer of the client may overtake it."""

    def __init__(self, client: str, size_bytes: float = math.inf, *, is_plain: bool = False) -> None:
        self.client = client
        self.is_small = size_bytes * (1 if is_plain else _MORE_IN_OTHERS) < LARGE_BYTES
        self.shared_bytes = size_bytes if is_plain else math.inf  # infinite: nothing is shared with other claims
        self.due_at = -math.inf
        self.first_tried_at = math.inf
        self.was_preempted = False
        self.failures = 0
        self.blocks = True
        self.is_on_hold = False


class Due(msgspec.Struct, frozen=True):
    """Claims to work on now, by client and id; `has_room`: one that comes now may share a transaction with them."""

    claims: list[tuple[str, str]]
    has_room: bool
    is_small: bool


class Running:
    """
    The claims that are being processed next to the loop, `at_once` at a time: none if that is 0.

    While all of them are large, a small one is processed in addition.
    """

    def __init__(self, at_once: int = 0) -> None:
        self.at_once = at_once
        self._claims: dict[str, tuple[str, bool]] = {}  # to client, and whether it is small

    @property
    def claims(self) -> Collection[str]:
        """Return the ids of the claims."""
        return self._claims.keys()

    def clients(self) -> set[str]:
        """Return the clients, none of whom may have another claim processed."""
        return {client for client, _ in self._claims.values()}

    def has_room(self, *, is_small: bool) -> bool:
        """Return whether another claim may be begun."""
        has_small = any(small for _, small in self._claims.values())
        return len(self._claims) < self.at_once or not self.at_once or (is_small and not has_small)

    def begin(self, due: Due) -> None:
        """Note that the claim that is due is being processed."""
        ((client, claim_id),) = due.claims
        self._claims[claim_id] = client, due.is_small

    def end(self, claim_id: str) -> None:
        """Note that it is not any more."""
        del self._claims[claim_id]


class _Claims:
    """Claims by their ids, oldest first, and how many each client has."""

    def __init__(self) -> None:
        self.by_id: dict[str, _Deferred] = {}
        self.counts: Counter[str] = Counter()  # the status asks for each client

    def put(self, claim_id: str, claim: _Deferred, *, is_oldest: bool = False) -> _Deferred:
        """Return the claim of this id, which is this one if there was none."""
        if claim_id not in self.by_id:
            self.by_id[claim_id] = claim
            self.counts[claim.client] += 1
        if is_oldest:
            self.by_id = {claim_id: self.by_id.pop(claim_id), **self.by_id}
        return self.by_id[claim_id]

    def pop(self, claim_id: str) -> None:
        """Remove a claim, if it is there."""
        if claim := self.by_id.pop(claim_id, None):
            self.counts[claim.client] -= 1

    def next_ones(self, running: Running) -> Iterator[tuple[str, _Deferred]]:
        """Yield the claims that wait for no older one of their client, nor for others that are being processed."""
        has_room = {is_small: running.has_room(is_small=is_small) for is_small in (True, False)}
        if any(has_room.values()):
            yield from (each for each in self.oldest(running) if has_room[each[1].is_small])

    def oldest(self, running: Running) -> Iterator[tuple[str, _Deferred]]:
        """Yield the claims that wait for no older one of their client."""
        waiting = running.clients()
        for claim_id, claim in self.by_id.items():
            if claim.client not in waiting:
                yield claim_id, claim
            if claim.blocks:
                waiting.add(claim.client)


class Backlog:
    """
    Claims to process, oldest first: just made, left behind, or deferred. Pure; the clock is passed in.

    `at_once`: how many are processed at a time, next to the loop; 0: by the loop, and then small ones together.
    """

    def __init__(self, at_once: int = 0) -> None:
        self.running = Running(at_once)
        self._claims = _Claims()

    def add(
        self,
        client: str,
        claim_id: str,
        size_bytes: float = math.inf,
        *,
        is_plain: bool = False,
        is_oldest: bool = False,
    ) -> None:
        """
        Add a claim that is due now, unless it waits already; to be called in the order of claims.

        `size_bytes` is that of a file which was just claimed. One that `is_plain` may share a transaction with others,
        one that `is_oldest` comes before all that wait.
        """
        self._claims.put(claim_id, _Deferred(client, size_bytes, is_plain=is_plain), is_oldest=is_oldest)

    def separate(self, claim_id: str) -> None:
        """Let a claim share nothing with others."""
        if claim := self._claims.by_id.get(claim_id):
            claim.shared_bytes = math.inf

    def defer(self, client: str, claim_id: str, now: float, *, blocks: bool = True) -> None:
        """Defer a claim, each time for longer."""
        claim = self._claims.put(claim_id, _Deferred(client))
        claim.blocks, claim.shared_bytes = blocks, math.inf
        claim.failures += 1
        claim.due_at = now + back_off_s(claim.failures, first_s=FIRST_RETRY_S, last_s=LAST_RETRY_S)

    def note_try(self, claim_id: str, now: float) -> float:
        """Note that a claim could start; return when it could for the first time."""
        claim = self._claims.by_id[claim_id]
        claim.first_tried_at = min(claim.first_tried_at, now)
        return claim.first_tried_at

    def preempt(self, claim_id: str, now: float) -> bool:
        """Defer a claim for a moment, for files of other clients; return whether it was deferred so before."""
        claim = self._claims.by_id[claim_id]
        claim.due_at = now + FIRST_RETRY_S
        was_preempted, claim.was_preempted = claim.was_preempted, True
        return was_preempted

    def hold(self, claim_id: str) -> None:
        """Leave a claim until it is decided on; others of its client go on. It shares nothing any more."""
        if claim := self._claims.by_id.get(claim_id):
            claim.due_at, claim.blocks, claim.is_on_hold = math.inf, False, True
            claim.shared_bytes = math.inf

    def resume(self, claim_id: str) -> None:
        """Work on a claim again that was on hold: it is due now, and nothing newer may overtake it."""
        if (claim := self._claims.by_id.get(claim_id)) and claim.is_on_hold:
            claim.due_at, claim.blocks, claim.is_on_hold = -math.inf, True, False

    def keep(self, clients: Collection[str]) -> None:
        """Drop the claims of all other clients; they stay in `.work` until the client is configured again."""
        for claim_id in [claim_id for claim_id, claim in self._claims.by_id.items() if claim.client not in clients]:
            self._claims.pop(claim_id)

    def drop(self, claim_id: str) -> None:
        """Remove a claim that is done."""
        self._claims.pop(claim_id)

    @property
    def is_ahead(self) -> bool:
        """Return whether another small file, if it were claimed, would only wait behind many that wait already."""
        oldest = (claim for _, claim in self._claims.oldest(self.running))
        waiting = (claim for claim in oldest if claim.is_small and claim.due_at == -math.inf)
        return self.running.at_once > 0 and len([*itertools.islice(waiting, AHEAD)]) == AHEAD

    def next_due(self, now: float) -> Due:
        """
        Return the claim that is next: it is due and waits for no older one of its client.

        With it come those of other clients that may share a transaction with it.
        """
        together: list[tuple[str, str]] = []
        most = 1 if self.running.at_once else _TOGETHER
        is_small = False
        room_bytes: float = _TOGETHER_BYTES
        for claim_id, claim in self._claims.next_ones(self.running):
            if claim.due_at > now:
                continue
            room_bytes -= claim.shared_bytes
            if together and (room_bytes < 0 or len(together) == most):
                break
            together.append((claim.client, claim_id))
            is_small = is_small or claim.is_small
        return Due(together, has_room=room_bytes > 0 and 0 < len(together) < most, is_small=is_small)

    def next_due_at(self, *, without: str = "") -> float:
        """Return when the next claim of any other client is due, infinity for never."""
        claims = (claim for _, claim in self._claims.next_ones(self.running) if claim.client != without)
        return min((claim.due_at for claim in claims), default=math.inf)

    def count(self, client: str) -> int:
        """Return how many claims of a client are not done."""
        return self._claims.counts[client]

    def blocked(self) -> set[str]:
        """Return the clients whose new files must wait."""
        return {claim.client for claim in self._claims.by_id.values() if claim.blocks}


class Preemption:
    """Decides whether a large file must wait, or its import be aborted; never, if not `watching`."""

    def __init__(
        self,
        settling: Settling,
        readings: Readings,
        backlog: Backlog,
        events: EventQueue,
        signals: Signals,
        *,
        watching: bool,
    ) -> None:
        self._settling = settling
        self._readings = readings
        self._backlog = backlog
        self._events = events
        self._signals = signals
        self.should_abort = signals.should_abort  # whether a stop aborts the current file
        self._watching = watching

    def use(self, config: Config) -> None:
        """Use this configuration from now on."""
        self._quiet_s = config.intake.quiet_s
        self._give_way_s = config.intake.give_way_s
        self._max_file_bytes = config.file.max_file_bytes

    def must_wait(self, claim: Claim) -> bool:
        """Return whether another client has a file ready, or will have before a large file would be imported."""
        now, without = time.monotonic(), self._unready(claim.client)
        if now >= self._turn_at(claim):
            return False
        due_at = min(self._settling.next_ready_at(without=without), self._events.quiet_since(without) + self._quiet_s)
        return self._backlog.next_due_at(without=claim.client) <= now or due_at <= now + claim.size_bytes / _BYTES_PER_S

    def check_for(self, claim: Claim) -> Callable[[], bool]:
        """
        Return the check for whether to abort the current import: for a stop, or for files of other clients.

        Other claims do not count: two large files would defer each other for ever. The known names change only between
        two files, so they are read once.
        """
        turn_at = self._turn_at(claim)
        if turn_at == -math.inf:
            return self.should_abort
        without = self._unready(claim.client)
        names_at = self._settling.next_ready_at(without=without)
        check_at = -math.inf

        def should_abort() -> bool:
            nonlocal check_at
            if self.should_abort():
                return True
            now = time.monotonic()
            if self._signals.stop_asked or not check_at <= now < turn_at:
                return False
            check_at = now + _CHECK_INTERVAL_S
            return min(names_at, self._events.quiet_since(without) + self._quiet_s) <= now

        return should_abort

    def _turn_at(self, claim: Claim) -> float:
        """Return until when a file is deferred for others; that costs nothing but time."""
        is_long = LARGE_BYTES <= claim.size_bytes <= self._max_file_bytes and not claim.refusal
        if not (self._watching and is_long):
            return -math.inf
        return self._backlog.note_try(claim.claim_id, time.monotonic()) + self._give_way_s

    def _unready(self, client: str) -> set[str]:
        """Return the clients whose names do not count: this one, and those that cannot be served now."""
        return {client, *self._backlog.blocked(), *self._readings.unready()}
