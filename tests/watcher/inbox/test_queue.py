from __future__ import annotations

import math

from watcher.inbox.queue import FIRST_RETRY_S, Backlog


def test_claim_behind_a_deferred_one_is_not_due() -> None:
    """A claim that may not overtake an older one of its client is due when that is, not before."""
    backlog = Backlog()
    backlog.add("acme", "older")
    backlog.add("acme", "newer")

    backlog.defer("acme", "older", 0.0)

    assert not backlog.next_due(0.0).claims
    assert backlog.next_due_at() == FIRST_RETRY_S
    assert backlog.next_due(FIRST_RETRY_S).claims == [("acme", "older")]


def test_deferred_claim_holds_up_no_other_client() -> None:
    """A claim that waits for another try leaves the claims of other clients alone."""
    backlog = Backlog()
    backlog.defer("acme", "theirs", 0.0)
    backlog.add("beta", "ours")

    assert backlog.next_due(0.0).claims == [("beta", "ours")]
    assert backlog.next_due_at() == -math.inf


def test_small_files_of_different_clients_are_next_together() -> None:
    """Claims that were just made are worked on together, of each client the oldest; a left or a large one alone."""
    backlog = Backlog()
    for client, claim_id, size_bytes in (
        ("acme", "1", 100),
        ("acme", "2", 100),
        ("beta", "3", 100),
        ("gamma", "4", math.inf),
        ("delta", "5", 100),
    ):
        backlog.add(client, claim_id, size_bytes)

    assert backlog.next_due(0.0).claims == [("acme", "1"), ("beta", "3")]
    backlog.drop("1")
    backlog.drop("3")
    assert backlog.next_due(0.0).claims == [("acme", "2")]
    backlog.drop("2")
    assert backlog.next_due(0.0).claims == [("gamma", "4")]


def test_files_that_share_a_transaction_are_few_and_small() -> None:
    """Nobody waits for long until those are done that were taken together."""
    backlog = Backlog()
    for number in range(100):
        backlog.add(f"small{number}", f"small{number}", 100)
    assert 2 <= len(backlog.next_due(0.0).claims) < 100
    assert not backlog.next_due(0.0).has_room

    backlog = Backlog()
    backlog.add("acme", "1", 200 << 10)
    assert backlog.next_due(0.0).has_room
    backlog.add("beta", "2", 200 << 10)
    assert backlog.next_due(0.0).claims == [("acme", "1")]


def test_claim_that_failed_is_next_alone() -> None:
    """A claim that failed once shares nothing: it could fail for others again."""
    backlog = Backlog()
    backlog.add("acme", "1", 100)
    backlog.add("beta", "2", 100)
    backlog.separate("1")

    assert backlog.next_due(0.0).claims == [("acme", "1")]
    assert not backlog.next_due(0.0).has_room
