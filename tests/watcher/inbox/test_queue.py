from __future__ import annotations

import math

from watcher.inbox.queue import FIRST_RETRY_S, Backlog


def test_claim_behind_a_deferred_one_is_not_due() -> None:
    """A claim that may not overtake an older one of its client is due when that is, not before."""
    backlog = Backlog()
    backlog.add("acme", "older")
    backlog.add("acme", "newer")

    backlog.defer("acme", "older", 0.0)

    assert backlog.next_due(0.0) is None
    assert backlog.next_due_at() == FIRST_RETRY_S
    assert backlog.next_due(FIRST_RETRY_S) == ("acme", "older")


def test_deferred_claim_holds_up_no_other_client() -> None:
    """A claim that waits for another try leaves the claims of other clients alone."""
    backlog = Backlog()
    backlog.defer("acme", "theirs", 0.0)
    backlog.add("beta", "ours")

    assert backlog.next_due(0.0) == ("beta", "ours")
    assert backlog.next_due_at() == -math.inf
