"""Three hosts with one database under load: daemons, backends and the server are killed at random."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Needs
from tests.faults.hosts import Hosts, killed_at_random
from tests.faults.relay import Relay
from tests.faults.trials import FULL, told
from tests.lab.postgresql import PostgresqlServer

pytestmark = pytest.mark.faults
log = logging.getLogger(__name__)

CLIENTS = 20 if FULL else 4
ROUNDS = [50] * 20 if FULL else [12]
TO_FIND = [10] * 6  # it ends with the round that finds something
LOSING = {"synchronous_commit": "off", "wal_writer_delay": "10s"}

Serve = Callable[..., PostgresqlServer]


@pytest.fixture
def serve(needs: Needs) -> Iterator[Serve]:
    """Yield what starts a server; other than for most tests, a commit that was answered outlives its crash."""
    needs("postgres", "initdb", "psql")
    with contextlib.ExitStack() as started:

        def start(**settings: str) -> PostgresqlServer:
            server = PostgresqlServer(**{"synchronous_commit": "on", **settings})
            return started.enter_context(contextlib.closing(server))

        yield start


@pytest.mark.parametrize("mails_by", ["Maildir", "SMTP"] if FULL else ["Maildir"])
def test_hosts_killed_under_load(mails_by: str, tmp_path: Path, serve: Serve) -> None:
    """Whatever is killed: each file is imported once, each mail sent once, and nothing is left behind."""
    with Relay() as relay:
        hosts = Hosts(tmp_path, serve(), clients=CLIENTS, relay=relay if mails_by == "SMTP" else None)
        found = killed_at_random(hosts, ROUNDS)
    log.info("%d uploads, killed: %s", sum(len(ground.uploads) for ground in hosts.grounds.values()), hosts.killed)
    assert not found, told(found)


@pytest.mark.parametrize(
    ("mistake", "settings", "expected"),
    [
        ("beside other hosts", {}, "expected to change"),
        ("mail not leased", {}, "was delivered 2 times"),
        ("lost commits not missed", LOSING, "is in .bak and not in the ledger"),
    ],
    ids=["no lock", "no lease", "commits are lost"],
)
def test_kills_of_hosts_find(
    mistake: str, settings: dict[str, str], expected: str, tmp_path: Path, serve: Serve
) -> None:
    """Hosts that do not keep out of each other's way show, and a server that answers before it has written."""
    hosts = Hosts(tmp_path, serve(**settings), clients=2, broken=mistake)
    assert any(expected in each for each in killed_at_random(hosts, TO_FIND))
