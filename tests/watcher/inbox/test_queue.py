from __future__ import annotations

import math

from watcher.inbox.large_files import LARGE_BYTES
from watcher.inbox.queue import AHEAD, FIRST_RETRY_S, Backlog


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
        backlog.add(client, claim_id, size_bytes, is_plain=True)

    assert backlog.next_due(0.0).claims == [("acme", "1"), ("beta", "3")]
    backlog.drop("1")
    backlog.drop("3")
    assert backlog.next_due(0.0).claims == [("acme", "2")]
    backlog.drop("2")
    assert backlog.next_due(0.0).claims == [("gamma", "4")]


def test_a_file_that_was_on_hold_is_next_alone() -> None:
    """What was decided on it is asked for only where it is worked on alone."""
    backlog = Backlog()
    for client in ("acme", "beta"):
        backlog.add(client, client, 100, is_plain=True)
    backlog.hold("acme")
    backlog.resume("acme")

    assert backlog.next_due(0.0).claims == [("acme", "acme")]


def test_files_that_share_a_transaction_are_few_and_small() -> None:
    """Nobody waits for long until those are done that were taken together."""
    backlog = Backlog()
    for number in range(100):
        backlog.add(f"small{number}", f"small{number}", 100, is_plain=True)
    assert 2 <= len(backlog.next_due(0.0).claims) < 100
    assert not backlog.next_due(0.0).has_room

    backlog = Backlog()
    backlog.add("acme", "1", 200 << 10, is_plain=True)
    assert backlog.next_due(0.0).has_room
    backlog.add("beta", "2", 200 << 10, is_plain=True)
    assert backlog.next_due(0.0).claims == [("acme", "1")]


def test_claim_that_failed_is_next_alone() -> None:
    """A claim that failed once shares nothing: it could fail for others again."""
    backlog = Backlog()
    backlog.add("acme", "1", 100, is_plain=True)
    backlog.add("beta", "2", 100, is_plain=True)
    backlog.separate("1")

    assert backlog.next_due(0.0).claims == [("acme", "1")]
    assert not backlog.next_due(0.0).has_room


def started(backlog: Backlog) -> list[str]:
    """Begin what may be processed now; return the claims."""
    begun = []
    while (due := backlog.next_due(0.0)).claims:
        begun += [claim_id for _, claim_id in due.claims]
        backlog.running.begin(due)
    return begun


def test_as_many_claims_at_a_time_as_there_are_workers() -> None:
    """Claims of different clients are processed next to each other, never two of one, and no more than told."""
    backlog = Backlog(at_once=2)
    for client, claim_id in (("acme", "1"), ("acme", "2"), ("beta", "3"), ("gamma", "4")):
        backlog.add(client, claim_id, 100, is_plain=True)

    assert ["1", "3"] == started(backlog)
    assert backlog.next_due_at() == math.inf
    backlog.running.end("3")
    backlog.drop("3")
    assert ["4"] == started(backlog)
    backlog.running.end("1")
    backlog.defer("acme", "1", 0.0)
    assert [] == started(backlog)
    backlog.drop("1")
    assert ["2"] == started(backlog)


def test_nothing_newer_overtakes_a_claim_that_is_processed() -> None:
    """A claim that nobody has to wait for, such as one that was on hold, still has its client to itself meanwhile."""
    backlog = Backlog(at_once=2)
    backlog.add("acme", "older")
    backlog.defer("acme", "older", -100.0, blocks=False)
    assert ["older"] == started(backlog)
    backlog.add("acme", "newer")
    backlog.keep({"beta"})
    backlog.add("acme", "older")  # its client was taken out of the configuration for a moment
    assert [] == started(backlog)


def test_a_small_file_waits_for_no_large_one() -> None:
    """While all are large one small file is processed in addition, and one after the other of those that come."""
    backlog = Backlog(at_once=2)
    large = {"acme": LARGE_BYTES, "beta": math.inf, "gamma": LARGE_BYTES}
    for client, size_bytes in large.items():
        backlog.add(client, client, size_bytes, is_plain=client != "gamma")
    backlog.add("delta", "delta", LARGE_BYTES - 1)  # in a workbook: how large is what is in it?
    backlog.add("epsilon", "epsilon", 100, is_plain=True)
    backlog.add("zeta", "zeta", 100)

    assert ["acme", "beta", "epsilon"] == started(backlog)
    backlog.running.end("epsilon")
    backlog.drop("epsilon")
    assert ["zeta"] == started(backlog)
    backlog.running.end("acme")
    backlog.drop("acme")
    assert [] == started(backlog)
    backlog.running.end("zeta")
    backlog.drop("zeta")
    assert ["gamma"] == started(backlog)


def test_no_more_is_claimed_than_is_imported_soon() -> None:
    """Of many small claims that wait another would only be the next; large, deferred and blocked ones do not count."""
    backlog = Backlog(at_once=2)
    for number in range(AHEAD):
        backlog.add(f"client{number}", f"small{number}", 100, is_plain=True)
        backlog.add(f"client{number}", f"newer{number}", 100, is_plain=True)
    for number in range(AHEAD):
        backlog.add(f"large{number}", f"large{number}", LARGE_BYTES, is_plain=True)
    were_ahead = [backlog.is_ahead]
    assert ["small0", "small1"] == started(backlog)
    were_ahead.append(backlog.is_ahead)
    for number in range(2):
        backlog.add(f"more{number}", f"more{number}", 100, is_plain=True)
    were_ahead.append(backlog.is_ahead)
    backlog.defer("more1", "more1", 0.0)
    assert [True, False, True, False] == [*were_ahead, backlog.is_ahead]


def test_one_after_the_other_there_is_always_a_look() -> None:
    """Where the loop itself imports, what waits is as much as shares a transaction."""
    backlog = Backlog()
    for number in range(2 * AHEAD):
        backlog.add(f"client{number}", f"small{number}", 100, is_plain=True)
    assert not backlog.is_ahead


def test_claims_of_a_client_are_counted_as_they_come_and_go() -> None:
    """A claim counts once, until it is done or its client is configured no more."""
    backlog = Backlog()
    for claim_id in ("1", "1", "2"):
        backlog.add("acme", claim_id)
    backlog.add("beta", "3")
    backlog.defer("acme", "2", 0.0)
    backlog.defer("acme", "4", 0.0)
    assert [3, 1, 0] == [backlog.count(client) for client in ("acme", "beta", "gamma")]
    backlog.drop("1")
    backlog.drop("1")
    assert 2 == backlog.count("acme")
    backlog.keep({"beta"})
    assert [0, 1] == [backlog.count(client) for client in ("acme", "beta")]
