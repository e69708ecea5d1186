"""Importing by comparison against importing whole: nobody can tell them apart."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from importer.rows import delta
from importer.store.sqlite.rows.protected import Protected
from importer.store.sqlite.rows.rejected import RejectedRows
from tests.differential.history import TellingDifference, check
from tests.faults.trials import FULL
from tests.lab.postgresql import PostgresqlServer

log = logging.getLogger(__name__)
# Measuring what other tests reach as well would take twice as long.
pytestmark = [pytest.mark.faults, pytest.mark.no_cover]

HISTORIES = 20_000 if FULL else 1_000
ON_SERVER = 1_000 if FULL else 30  # each takes about a second
PARTS = 20  # which can be run side by side


@pytest.mark.parametrize("part", range(PARTS))
def test_passing_over_what_stayed_the_same_changes_nothing(fleeting: Path, part: int) -> None:
    """Whatever happened before: users, counts, problems, warnings and answers are those of a look at every line."""
    first = random.SystemRandom().randrange(1 << 32) if FULL else 0
    share = HISTORIES // PARTS
    check(range(first + part * share, first + (part + 1) * share), fleeting)
    log.info("%d histories from %d on", share, first + part * share)


@pytest.mark.xdist_group("postgresql")
def test_a_server_does_what_a_file_does(fleeting: Path, postgresql: PostgresqlServer) -> None:
    """The same with a database on a server: it ends as a file does that is looked at whole."""
    first = random.SystemRandom().randrange(1 << 32) if FULL else 0
    check(range(first, first + ON_SERVER), fleeting, postgresql)
    log.info("%d histories on a server from %d on", ON_SERVER, first)


# In place of what is right; each was made once, or is easily made.
MISTAKES: dict[str, tuple[object, str, Callable[..., object]]] = {
    "each file begins with a mark": (delta, "text_bounds", lambda raw: (3, raw.seek(0, 2))),
    "rows that were undone are forgotten": (RejectedRows, "lines", lambda _: []),
    "lines that stay contradict none": (delta, "_ids_in", lambda *_: ()),
    "what is left out is told once": (Protected, "_note", lambda _, lines, line: lines.append(line)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_shows(fleeting: Path, monkeypatch: pytest.MonkeyPatch, mistake: str) -> None:
    """A comparison with a mistake made on purpose is told from importing whole."""
    monkeypatch.setattr(*MISTAKES[mistake])
    with pytest.raises(TellingDifference):
        check(range(1000), fleeting)
