"""Many trials: each on a copy of one ground, some side by side; what went wrong in which is put together."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import queue
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self, TypeVar

from tests.faults import tracing
from tests.faults.checker import left_over
from tests.faults.ground import Ground, Kind
from tests.faults.nursery import Nursery

log = logging.getLogger(__name__)

FULL = os.environ.get("ROSTERD_FAULTS") == "full"
SIDE_BY_SIDE = 4  # a trial mostly waits: for a quiet period, for the disk
RECOVERY_S = 5.0  # judged in a whole run, when the machine does nothing else
MAIL_ROUNDS = 4

Case = TypeVar("Case")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """What a trial works with."""

    nursery: Nursery
    ground: Ground


class Trials:
    """A context manager that holds the nurseries and logs the count. `failures` are sentences, the case before each."""

    def __init__(self, *, broken: str = "") -> None:
        self._broken = broken
        self._nurseries: queue.SimpleQueue[Nursery] = queue.SimpleQueue()
        self._recoveries_s: list[float] = []

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opened:
            for _ in range(SIDE_BY_SIDE):
                self._nurseries.put(opened.enter_context(Nursery(self._broken)))
            self._close = opened.pop_all().close
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        count, slowest_s = len(self._recoveries_s), max(self._recoveries_s, default=0.0)
        log.info("%d trials, the slowest recovery took %.1f s", count, slowest_s)

    @contextlib.contextmanager
    def nursery(self) -> Iterator[Nursery]:
        """Lend a nursery."""
        nursery = self._nurseries.get()
        try:
            yield nursery
        finally:
            self._nurseries.put(nursery)

    def failures(self, start: Ground, cases: Iterable[Case], trial: Callable[[Run, Case], list[str]]) -> list[str]:
        """Try every case, each on a copy next to `start` that is removed afterwards; return all that went wrong."""
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            verdicts = pool.map(lambda each: self._failures(start, each[0], each[1], trial), enumerate(cases))
            return [failure for verdict in verdicts for failure in verdict]

    def _failures(self, start: Ground, number: int, case: Case, trial: Callable[[Run, Case], list[str]]) -> list[str]:
        folder = start.folder.with_name(f"{start.folder.name}-trial-{number}")
        with self.nursery() as nursery:
            run = Run(nursery=nursery, ground=start.copy(folder))
            found = [f"{case}: {failure}" for failure in trial(run, case)]
        if found and run.ground.log.exists():
            found.append(run.ground.log.read_text())
        shutil.rmtree(folder)
        return found

    def recovered(self, run: Run, *, patience_s: float = RECOVERY_S) -> list[str]:
        """Let one run set all right by itself, in a whole run in time; then let as much time pass as mail needs."""
        started = time.monotonic()
        status = tracing.sweep(run.nursery, run.ground)
        took_s = time.monotonic() - started
        self._recoveries_s.append(took_s)
        wrong = [f"the next run ended with {status}"] if status else []
        wrong += [f"the next run took {took_s:.1f} s"] if FULL and took_s > patience_s else []
        wrong += [f"after one run: {each}" for each in left_over(run.ground)]
        for _ in range(MAIL_ROUNDS):
            if not let_mail_be_due(run.ground):
                break
            tracing.sweep(run.nursery, run.ground)
        return wrong


def let_mail_be_due(ground: Ground) -> int:
    """Change the times in the outbox as if an hour had passed; return how many mails wait."""
    if not ground.database.exists():
        return 0
    with contextlib.closing(sqlite3.connect(ground.database)) as database, database:
        an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
        database.execute("UPDATE outbox SET sent_at = min(sent_at, ?)", (f"{an_hour_ago:%Y-%m-%dT%H:%M:%SZ}",))
        return database.execute("UPDATE outbox SET due_at = created_at WHERE state = 'waiting'").rowcount


def told(failures: list[str]) -> str:
    """Return failures as text: how many, and the first of them in full."""
    return "\n".join([f"{len(failures)} failures", *failures[:40]])


def sample(of: Sequence[Case], count: int) -> list[Case]:
    """Return `count` of them, evenly spread, or all in a full run."""
    if FULL or count >= len(of):
        return list(of)
    return [of[index * len(of) // count] for index in range(count)]


def first_batch(folder: Path) -> Ground:
    """Return a new installation in which a mixed batch waits for its first run."""
    ground = Ground(folder)
    _upload_batch(ground)
    return ground


def batch_of_several(folder: Path) -> Ground:
    """Return a new installation in which several clients have a file each, which share a transaction."""
    ground = Ground(folder, clients=("acme", "beta", "gamma", "delta"))
    ground.upload("good.csv")
    ground.upload("partly.csv", Kind.PARTLY, client="beta")
    ground.upload("refused.csv", Kind.REFUSED, client="gamma")
    ground.upload("good.csv", client="delta")
    return ground


def later_batch(folder: Path, nursery: Nursery) -> Ground:
    """Return an installation that has imported files before, with another mixed batch waiting."""
    ground = first_batch(folder)
    assert tracing.sweep(nursery, ground) == 0, ground.log.read_text()
    let_mail_be_due(ground)
    _upload_batch(ground)
    return ground


def later_batch_of_several(folder: Path, nursery: Nursery) -> Ground:
    """Return an installation with another batch of several clients waiting, of which one goes on hold."""
    ground = Ground(folder, clients=("acme", "beta", "gamma", "delta", "epsilon"), roster="guarded")
    for client in ("acme", "beta", "delta"):
        ground.upload("good.csv", client=client)
    assert tracing.sweep(nursery, ground) == 0, ground.log.read_text()
    let_mail_be_due(ground)
    ground.upload("new.csv", Kind.NEWCOMER)
    ground.upload("new.csv", Kind.NEWCOMER, client="beta")
    ground.upload("newer.csv", Kind.NEWCOMER, client="beta")
    ground.upload("refused.csv", Kind.REFUSED, client="gamma")
    ground.upload("on-hold.csv", client="delta")
    ground.upload("partly.csv", Kind.PARTLY, client="epsilon")
    return ground


LATER = (later_batch, later_batch_of_several)


def _upload_batch(ground: Ground) -> None:
    ground.upload("good.csv")
    ground.upload("partly.csv", Kind.PARTLY)
    ground.upload("again.csv")
    ground.upload("refused.csv", Kind.REFUSED)
    ground.upload("again.csv")
