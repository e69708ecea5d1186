"""
What each harness does to an installation, and how the end is judged.

The tests run them on the build as it is, and expect no failure; `test_harness_bites.py` on builds that are broken on
purpose, and expects some. Failures are sentences.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults import tracing
from tests.faults.checker import left_over, violations
from tests.faults.ground import Ground, Kind, Upload
from tests.faults.nursery import Nursery
from tests.faults.relay import Relay
from tests.faults.tracing import Point
from tests.faults.trials import MAIL_ROUNDS, Run, Trials, let_mail_be_due
from tests.lab import wait_until
from tests.lab.clients import Visit
from tests.lab.sshd import Sshd


def entries(ground: Ground) -> list[dict[str, str]]:
    """Return what the runs have logged."""
    lines = ground.log.read_text().splitlines() if ground.log.exists() else []
    return [json.loads(line) for line in lines if line.startswith("{")]


def alerts(ground: Ground) -> list[dict[str, str]]:
    """Return what the operator was told."""
    return [entry for entry in entries(ground) if entry["level"] in ("error", "critical")]


# Killed


def judged(trials: Trials, run: Run) -> list[str]:
    """Return what is wrong now, and after the next run; meanwhile the client goes on with its work."""
    found = [f"at once: {failure}" for failure in violations(run.ground, finished=False, in_order=True)]
    run.ground.upload("again.csv", Kind.PARTLY)
    found += trials.recovered(run)
    return found + violations(run.ground, finished=True, in_order=True)


def killed(trials: Trials, start: Ground, points: Iterable[Point]) -> list[str]:
    """Kill a sweep before each of these calls, and let the next one recover."""

    def trial(run: Run, point: Point) -> list[str]:
        tracing.sweep_killed_at(run.nursery, run.ground, point)
        return judged(trials, run)

    return trials.failures(start, points, trial)


def killed_again(
    trials: Trials, start: Ground, first: Point, spread: Callable[[list[Point]], list[Point]]
) -> list[str]:
    """Kill a sweep before `first`, and its recovery before each of those of its calls that `spread` chooses."""
    left = start.folder.with_name(f"{start.folder.name}-{first.call}-{first.number}")
    killed_once = start.copy(left)
    with trials.nursery() as nursery:
        tracing.sweep_killed_at(nursery, killed_once, first)
        recovery = tracing.points(nursery, killed_once.copy(left.with_suffix(".recovered")))
    return [f"{first}, then {failure}" for failure in killed(trials, killed_once, spread(recovery))]


def killed_in_the_mail_thread(trials: Trials, start: Ground, steps: Iterable[int]) -> list[str]:
    """Kill a sweep before each of these steps of the thread that delivers mail."""

    def trial(run: Run, number: int) -> list[str]:
        arguments = ("sweep", "--config", run.ground.config)
        status = run.nursery.run(*arguments, log=run.ground.log, kill_sender_at=number)
        return judged(trials, run) + ([] if status == -9 else [f"was not killed, but ended with {status}"])

    return trials.failures(start, steps, trial)


def killed_while_mailing(trials: Trials, start: Ground, points: Iterable[Point]) -> list[str]:
    """Kill a sweep that mails by SMTP before each of these calls; every trial has a server of its own."""

    def trial(run: Run, point: Point) -> list[str]:
        with Relay() as relay:
            run.ground.mail_by(relay.port)
            tracing.sweep_killed_at(run.nursery, run.ground, point)
            found = [f"at once: {each}" for each in violations(run.ground, finished=False, mails=relay.mails)]
            found += trials.recovered(run)
            return found + violations(run.ground, finished=True, mails=relay.mails)

    return trials.failures(start, points, trial)


# Refused

EXIT_IO_ERROR = 74


@dataclasses.dataclass(frozen=True)
class Refusal:
    """A call that fails. After EINTR a program tries again, for ever if need be: so that one comes once."""

    point: Point
    error: str
    for_good: bool


def refused(trials: Trials, start: Ground, refusals: Iterable[Refusal]) -> list[str]:
    """Let each of these calls of a sweep fail, and let the next one go on, the cause being gone."""

    def trial(run: Run, refusal: Refusal) -> list[str]:
        status, came_there = tracing.sweep_refused_at(
            run.nursery, run.ground, refusal.point, refusal.error, for_good=refusal.for_good
        )
        found = [f"at once: {failure}" for failure in violations(run.ground, finished=False)]
        if refusal.point.call != "write":  # which the log needs, too
            found += wrongly_told(run.ground, status)
        # Which thread syncs what of several files differs from run to run.
        if came_there and (refusal.point.call, refusal.error) == ("fsync", "EIO"):
            found += wrongly_gone_on(run.ground, status)
        run.ground.upload("again.csv", Kind.PARTLY)
        found += trials.recovered(run)
        return found + violations(run.ground, finished=True)

    return trials.failures(start, refusals, trial)


def wrongly_told(ground: Ground, status: int) -> Iterator[str]:
    """Yield what is wrong about what the operator was told: once of each client, and of whatever kept files waiting."""
    told = alerts(ground)
    if len(told) > len({alert.get("client") for alert in told}):
        yield f"told {len(told)} times: {[(alert['event'], alert.get('reason')) for alert in told]}"
    if status < 0:
        yield f"hung, and was ended with {status}"
    elif not told and len(entries(ground)) == len(ground.log.read_text().splitlines()):
        # A configuration is refused on standard error.
        left = left_over(ground)
        if status or left:
            yield f"ended with {status}, told nobody why, and {left}"


def wrongly_gone_on(ground: Ground, status: int) -> Iterator[str]:
    """Yield what is wrong after a sync that failed: it must end the run at once. SQLite's own are fdatasync."""
    last = entries(ground)[-1]
    if (status, last["event"]) != (EXIT_IO_ERROR, "daemon.failed"):
        yield f"went on after a sync that failed, to {last['event']}, and ended with {status}"


# Killed at random, under load

KINDS = (Kind.GOOD, Kind.GOOD, Kind.PARTLY, Kind.REFUSED)
FILES_PER_SESSION = 5
SESSION_EVERY_S = 0.5  # of all clients together; more would leave the daemon no processor to be killed on
S_PER_FILE = 0.1  # that the last run may take for what waits


def killed_under_load(trials: Trials, folder: Path, *, clients: int, lives_s: Sequence[float]) -> list[str]:
    """Let clients upload by SFTP while the daemon is started and killed after each of these times, then recover."""
    names = [f"client{number}" for number in range(clients)]
    stop = threading.Event()
    with Sshd(names) as sshd, trials.nursery() as nursery:
        ground = Ground(folder / "ground", inboxes={name: sshd.login(name).inbox for name in names})
        visits = [Visit(sshd, sshd.login(name), folder / name) for name in names]
        with ThreadPoolExecutor(clients) as pool:
            for visit in visits:
                visit.home.mkdir()
            uploading = [pool.submit(_upload_until, stop.is_set, visit, ground) for visit in visits]
            try:
                _kill_again_and_again(nursery, ground, lives_s)
            finally:
                stop.set()
            for each in uploading:
                each.result()
        found = violations(ground, finished=False, in_order=True)
        found += trials.recovered(Run(nursery=nursery, ground=ground), patience_s=S_PER_FILE * len(ground.uploads))
        found += violations(ground, finished=True, in_order=True)
    assert len(ground.uploads) >= clients * FILES_PER_SESSION
    return found


def lives_s(count: int, *, longest_s: float) -> list[float]:
    """Return how long each daemon lives: moments that nobody chose, the same ones every time."""
    chance = random.Random(5)  # noqa: S311 - no secret
    return [chance.uniform(0.05, longest_s) for _ in range(count)]


def _kill_again_and_again(nursery: Nursery, ground: Ground, lives: Sequence[float]) -> None:
    """Count every second life from the moment that the daemon is ready, the others from its first step."""
    for number, life_s in enumerate(lives):
        logged_bytes = ground.log.stat().st_size if ground.log.exists() else 0
        pid = nursery.start("run", "--config", ground.config, log=ground.log)
        os.kill(pid, signal.SIGCONT)
        if number % 2:
            wait_for_start(ground, logged_bytes)
        time.sleep(life_s)
        os.kill(pid, signal.SIGKILL)
        assert nursery.wait(pid) == -signal.SIGKILL


def wait_for_start(ground: Ground, logged_bytes: int) -> None:
    """Wait until a daemon is ready; its log had so many bytes before."""

    def is_ready() -> bool:
        with ground.log.open("rb") as log:
            log.seek(logged_bytes)
            return b'"daemon.started"' in log.read()

    wait_until(is_ready, "the start")


def _upload_until(done: Callable[[], bool], visit: Visit, ground: Ground) -> None:
    """Upload files under names of their own, one SFTP session after the other, with pauses."""
    client = visit.login.name
    pause_s = SESSION_EVERY_S * len(ground.clients)
    while not done():
        uploads = [ground.next_upload(KINDS[number % len(KINDS)], client=client) for number in range(FILES_PER_SESSION)]
        # In the names' own order, too: the clock of a file system has steps of 4 ms, in which two uploads fit.
        visit.execute(*(f'put "{_written(visit, upload)}" "{upload.number:06}.csv"' for upload in uploads))
        ground.uploads.extend(uploads)
        time.sleep(pause_s)


def _written(visit: Visit, upload: Upload) -> Path:
    path = visit.home / f"{upload.number}.csv"
    path.write_bytes(upload.content)
    return path


# Looked at while it runs


@contextlib.contextmanager
def still(pid: int) -> Iterator[None]:
    """Let all threads of a process stand still: a file that moves while one looks seems to be nowhere."""
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: _stands_still(pid), "the stop")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _stands_still(pid: int) -> bool:
    try:
        stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):  # a thread that was ending
        return False
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)


def is_idle(pid: int, ground: Ground) -> bool:
    """Tell whether a running daemon has dealt with all uploads."""
    with still(pid):
        return not left_over(ground)


# Locked out

RESUMED_S = 240.0  # the pauses between tries double up to one minute; SQLite itself waits 5 s in each


def locked_out(nursery: Nursery, ground: Ground, seconds: float) -> list[str]:
    """Let another program hold the database of a running daemon for so long, while files of all clients come in."""
    pid = nursery.start("run", "--config", ground.config, log=ground.log)
    os.kill(pid, signal.SIGCONT)
    try:
        wait_until(lambda: is_idle(pid, ground), "the imports before")
        with contextlib.closing(sqlite3.connect(ground.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            until = time.monotonic() + seconds
            for client in ground.clients:
                ground.upload("locked-out.csv", Kind.PARTLY, client=client)
            wait_until(lambda: alerts(ground), "the alert")
            with still(pid):
                found = [f"locked: {failure}" for failure in violations(ground, finished=False)]
            while time.monotonic() < until and len(alerts(ground)) == 1:
                time.sleep(0.1)
            other.execute("ROLLBACK")
        wait_until(lambda: is_idle(pid, ground), "the imports after", patience_s=RESUMED_S)
    finally:
        os.kill(pid, signal.SIGTERM)
        status = nursery.wait(pid)
    found += [f"ended with {status}"] if status else []
    found += wrongly_told(ground, 0)
    for _ in range(MAIL_ROUNDS):
        if let_mail_be_due(ground):
            tracing.sweep(nursery, ground)
    return found + violations(ground, finished=True)


# Started many times

EXIT_RUNNING_ALREADY = 75


def started_at_once(nursery: Nursery, ground: Ground, count: int) -> list[str]:
    """Let so many sweeps begin at once: one has its turn after the other, or is refused and says so."""
    pids = [nursery.start("sweep", "--config", ground.config, log=ground.log) for _ in range(count)]
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    statuses = collections.Counter(nursery.wait(pid) for pid in pids)
    found = [f"ended with {status}" for status in statuses.keys() - {0, EXIT_RUNNING_ALREADY}]
    said = sum(entry["event"] == "daemon.refused" for entry in entries(ground))
    if said != statuses[EXIT_RUNNING_ALREADY]:
        found.append(f"{statuses[EXIT_RUNNING_ALREADY]} were refused, {said} said so")
    return found + violations(ground, finished=True)
