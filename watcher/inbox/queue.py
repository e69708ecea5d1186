"""The claims that are not done: just made, left behind by an earlier run, or put off. Pure; the clock is passed in."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Final

from importer.durations import back_off_s

FIRST_RETRY_S: Final = 1.0
LAST_RETRY_S: Final = 60.0


class _Deferred:
    """A claim in `.work` that waits for another try; `blocks`: nothing newer of the client may overtake it."""

    def __init__(self, client: str) -> None:
        self.client = client
        self.due_at = -math.inf
        self.first_tried_at = math.inf
        self.gave_way = False
        self.failures = 0
        self.blocks = True


class Backlog:
    """Claims to go on with, oldest first: just made, left behind, or put off. The folders say more than their ids."""

    def __init__(self) -> None:
        self._claims: dict[str, _Deferred] = {}

    def add(self, client: str, claim_id: str) -> None:
        """Add a claim to go on with now, unless it waits already; to be called in the order of claims."""
        self._claims.setdefault(claim_id, _Deferred(client))

    def defer(self, client: str, claim_id: str, now: float, *, blocks: bool = True) -> None:
        """Put a claim off, each time for longer."""
        claim = self._claims.setdefault(claim_id, _Deferred(client))
        claim.blocks = blocks
        claim.failures += 1
        claim.due_at = now + back_off_s(claim.failures, first_s=FIRST_RETRY_S, last_s=LAST_RETRY_S)

    def note_try(self, claim_id: str, now: float) -> float:
        """Note that a claim is to be begun; return when it was so for the first time."""
        claim = self._claims[claim_id]
        claim.first_tried_at = min(claim.first_tried_at, now)
        return claim.first_tried_at

    def give_way(self, claim_id: str, now: float) -> bool:
        """Put a claim off for a moment, so that other clients go first; return whether it had done so before."""
        claim = self._claims[claim_id]
        claim.due_at = now + FIRST_RETRY_S
        gave_way, claim.gave_way = claim.gave_way, True
        return gave_way

    def keep(self, clients: Collection[str]) -> None:
        """Forget the claims of all other clients; they lie in `.work` until the client is back."""
        self._claims = {claim_id: claim for claim_id, claim in self._claims.items() if claim.client in clients}

    def drop(self, claim_id: str) -> None:
        """Forget a claim that is done."""
        self._claims.pop(claim_id, None)

    def next_due(self, now: float) -> tuple[str, str] | None:
        """Return client and id of a claim that is due and has no older one of its client to wait for."""
        return next(((claim.client, claim_id) for claim_id, claim in self._first_ones() if claim.due_at <= now), None)

    def next_due_at(self, *, without: str = "") -> float:
        """Return when the next claim of any client but that one is due, infinity for never."""
        return min((claim.due_at for _, claim in self._first_ones() if claim.client != without), default=math.inf)

    def _first_ones(self) -> Iterator[tuple[str, _Deferred]]:
        """Yield the claims that have no older one of their client to wait for."""
        waiting: set[str] = set()
        for claim_id, claim in self._claims.items():
            if claim.client not in waiting:
                yield claim_id, claim
            if claim.blocks:
                waiting.add(claim.client)

    def count(self, client: str) -> int:
        """Return how many claims of a client are not done."""
        return sum(claim.client == client for claim in self._claims.values())

    def blocked(self) -> set[str]:
        """Return the clients whose new files have to wait."""
        return {claim.client for claim in self._claims.values() if claim.blocks}
