"""The harnesses find the mistakes they are there for: each, run on a build that is broken on purpose, does not pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Needs
from tests.faults import (
    harnesses,
    test_errors,
    test_hooks,
    test_mail,
    test_model,
    test_on_hold,
    test_restore,
    test_strays,
    tracing,
)
from tests.faults.disk import Disk, power_cut_at
from tests.faults.ground import Ground, Kind
from tests.faults.nursery import Nursery
from tests.faults.relay import Fault, Relay
from tests.faults.trials import Trials, batch_of_several, first_batch
from watcher.lock import locked

pytestmark = pytest.mark.faults

ROUNDS = 24
STARTS = 8
LOCKED_S = 30.0  # for more than one try, with 5 s of waiting in each

Harness = Callable[[Trials, Ground, list[tracing.Point]], list[str]]


def killed_again(trials: Trials, start: Ground, points: list[tracing.Point]) -> list[str]:
    return [
        failure
        for first in points[::8]
        for failure in harnesses.killed_again(trials, start, first, lambda calls: calls[:: len(calls) // 4])
    ]


def refused(trials: Trials, start: Ground, points: list[tracing.Point]) -> list[str]:
    refusals = test_errors.refusals(points)
    return harnesses.refused(trials, start, refusals[:: len(test_errors.ERRORS) + 1])


def sync_refused(trials: Trials, start: Ground, points: list[tracing.Point]) -> list[str]:
    return harnesses.refused(trials, start, test_errors.sync_refusals(points))


@pytest.mark.parametrize(
    ("harness", "mistake", "told"),
    [
        (harnesses.killed, "archive before commit", "is in .bak and not in the ledger"),
        (harnesses.killed, "mail before commit", "was delivered and is not in the outbox"),
        (harnesses.killed, "commit piecemeal", "user ("),
        (killed_again, "archive before commit", "is in .bak and not in the ledger"),
        (killed_again, "commit piecemeal", "user ("),
        (refused, "archive before commit", "is in .bak and not in the ledger"),
        (refused, "mail before commit", "was delivered and is not in the outbox"),
        (refused, "commit piecemeal", "user ("),
        (sync_refused, "sync again", "went on after a sync that failed"),
    ],
)
def test_faults_at_calls_find(harness: Harness, mistake: str, told: str, tmp_path: Path, needs: Needs) -> None:
    """A wrong order of steps shows when the run is killed, or refused something, in between."""
    needs("strace")
    start = first_batch(tmp_path / "first")
    with Trials(broken=mistake) as trials:
        with trials.nursery() as nursery:
            points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"))
        rounds = (points[first::ROUNDS] for first in range(ROUNDS))  # spread over the run; one hit is enough
        assert any(told in failure for chosen in rounds for failure in harness(trials, start, chosen))


def test_kills_of_a_run_of_several_clients_find(tmp_path: Path, needs: Needs) -> None:
    """Files that are moved before the transaction that they share ends show when the run is killed in between."""
    needs("strace")
    start = batch_of_several(tmp_path / "several")
    with Trials(broken="archive together before commit") as trials:
        with trials.nursery() as nursery:
            points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"))
        rounds = (points[first::ROUNDS] for first in range(ROUNDS))
        assert any(
            "is in .bak and not in the ledger" in failure
            for chosen in rounds
            for failure in harnesses.killed(trials, start, chosen)
        )


def test_kills_while_a_client_is_told_find(tmp_path: Path, needs: Needs) -> None:
    """Names that are noted before their mail is shows when the run is killed in between."""
    needs("strace")
    with Trials(broken="strays in pieces") as trials:
        with trials.nursery() as nursery:
            start = test_strays.with_a_stray(tmp_path / "start", nursery)
            points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"))
        rounds = (points[first::ROUNDS] for first in range(ROUNDS))
        assert any(
            "0 mails about the name" in failure
            for chosen in rounds
            for failure in test_strays.killed(trials, start, chosen)
        )


@pytest.mark.parametrize(
    ("situation", "mistake", "told"),
    [
        ("a file goes on hold", "hold in pieces", "on hold, and told 0 times"),
        ("the operator pauses the limit", "released by a pause", "decisions=('approved',)"),
        ("the client approves removals", "removals in pieces", "letters=0"),
        ("a freeze is announced, and a file comes", "freeze in pieces", "letters=0"),
        ("a freeze is announced, and a file comes", "freeze ignored", "outcomes=('imported', 'imported')"),
        ("a file is tried out", "check answered first", "checked=('users.check.txt', 'users.csv')"),
        ("a file is tried out", "check kept", "user ('acme', 'user-2'): expected None"),
    ],
)
def test_kills_of_what_waits_find(situation: str, mistake: str, told: str, tmp_path: Path, needs: Needs) -> None:
    """What is applied unasked, or not committed with what it belongs to, shows when the run is killed."""
    needs("strace")
    chosen = test_on_hold.SITUATIONS[situation]
    with Trials(broken=mistake) as trials:
        with trials.nursery() as nursery:
            start, points = chosen.make(tmp_path / "start", nursery)
        shown = [point for point in points if point.call.startswith(("rename", "fsync"))]  # what files become
        rounds = (shown, *(points[first::ROUNDS] for first in range(ROUNDS)))
        found = (each for few in rounds for each in test_on_hold.killed(trials, start, few, chosen))
        assert any(told in failure for failure in found)


def test_kills_of_a_run_that_tells_a_hook_find(tmp_path: Path, needs: Needs) -> None:
    """An event that is not committed with the end of its file shows when the run is killed in between."""
    needs("strace")
    start = test_hooks.hooked(tmp_path / "start")
    with Trials(broken="events after commit") as trials:
        points = test_hooks.points_of(trials, start, tmp_path / "undisturbed")
        rounds = (points[first::ROUNDS] for first in range(ROUNDS))
        assert any(
            "queued 0 times" in failure for chosen in rounds for failure in test_hooks.killed(trials, start, chosen)
        )


def test_kills_of_a_restore_find(tmp_path: Path, needs: Needs) -> None:
    """A restore that lets the service start in the middle of it shows when it is killed."""
    needs("strace", root=True)
    with Trials(broken="restore without a mark") as trials:
        with trials.nursery() as nursery:
            start = test_restore.lost(tmp_path / "start", nursery)
            points = test_restore.points_of(nursery, start, tmp_path / "undisturbed")
        rounds = (points[first::ROUNDS] for first in range(ROUNDS))
        assert any(
            "a start on half a restore ended with 0" in failure
            for chosen in rounds
            for failure in test_restore.killed(trials, start, chosen)
        )


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        ("commit without sync", "not in the ledger, yet told"),
        ("import without sync", "lost: "),
        ("claim without sync", "lost: "),
    ],
)
def test_power_cuts_find(mistake: str, told: str, tmp_path: Path, needs: Needs) -> None:
    """What was taken as durable and is not shows when the power fails later."""
    needs("strace", "mkfs.ext4", "losetup", "/dev/loop-control", root=True)
    start = first_batch(tmp_path / "first")
    with Disk(tmp_path) as disk, Trials(broken=mistake) as trials, trials.nursery() as nursery:
        undisturbed = start.copy(tmp_path / "undisturbed")
        undisturbed.upload("volatile.csv")
        moves = [point for point in tracing.points(nursery, undisturbed) if point.call == "renameat2"]
        found = any(
            told in each for point in reversed(moves) for each in power_cut_at(trials, nursery, disk, start, point)
        )

    assert found


def test_kills_under_load_find(tmp_path: Path, needs: Needs) -> None:
    """Files that are moved before they are recorded show when the daemon is killed at random."""
    needs("sshd", "sftp")
    lives_s = harnesses.lives_s(60, longest_s=0.5)
    with Trials(broken="archive before commit") as trials:
        found = harnesses.killed_under_load(trials, tmp_path, clients=6, lives_s=lives_s)
    assert [failure for failure in found if "is in .bak and not in the ledger" in failure]


def test_mail_servers_find(tmp_path: Path) -> None:
    """A mail that is given up at its first failure shows when the server was away."""
    with (
        Relay() as relay,
        Nursery("mail taken as sent") as nursery,
        pytest.raises(AssertionError, match="never arrived"),
    ):
        test_mail.misbehaves(Fault("MAIL", "451 later"), relay, nursery, tmp_path)


@pytest.fixture
def waiting(tmp_path: Path) -> Ground:
    """Return an installation in which files wait."""
    ground = Ground(tmp_path / "ground")
    for number in range(STARTS):
        ground.upload(f"{number}.csv", Kind.PARTLY)
    return ground


def test_lock_of_the_database_finds(waiting: Ground) -> None:
    """Trouble that is told at every try shows while the database is locked."""
    with Nursery("trouble told every time") as nursery:
        assert [each for each in harnesses.locked_out(nursery, waiting, LOCKED_S) if each.startswith("told ")]


def test_starts_at_once_find(waiting: Ground) -> None:
    """Runs that do not keep out of each other's way show when many start at once."""
    with Nursery("run beside others") as nursery:
        assert harnesses.started_at_once(nursery, waiting, STARTS)


def test_starts_at_once_find_lost_lines(waiting: Ground) -> None:
    """Runs that end before their log is written show when many of them are refused at once."""
    with Nursery("end before the log") as nursery, locked(str(waiting.state)):  # or else all may have their turn
        assert [each for each in harnesses.started_at_once(nursery, waiting, STARTS) if each.endswith("said so")]


@pytest.mark.parametrize("mistake", ["archive before commit", "commit piecemeal"])
def test_model_finds(mistake: str) -> None:
    """
    A wrong order of steps shows to the rules and the judge of the model, at some step of a crash.

    Each step in turn, as sequences drawn at random meet the few that matter in some runs only.
    """
    with Nursery(mistake) as nursery, pytest.raises(AssertionError):
        test_model.crash_at_every_step(nursery)


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        ("superseded left", "left in work"),
        ("rejected applied", "on hold, and told 2 times"),
        ("approved applied twice", "user ('acme', 'user-1')"),
        ("misses counted twice", "user ('acme', 'user-1')"),
        ("states not undone", "user ('acme', 'user-3')"),
    ],
)
def test_model_finds_wrong_decisions(mistake: str, told: str) -> None:
    """A decision that is not done, done twice or done by halves shows to the judge of the model."""
    with Nursery(mistake) as nursery, pytest.raises(AssertionError) as raised:
        test_model.decide_in_every_way(nursery)
    assert told in str(raised.value)


@pytest.mark.parametrize("mistake", ["removals unasked", "removals of others"])
def test_model_finds_wrong_removals(mistake: str) -> None:
    """Users who leave unasked, or whom another feed states, show to the judge of the model."""
    with Nursery(mistake) as nursery, pytest.raises(AssertionError, match=r"user \('acme', 'user-1'\)"):
        test_model.ask_before_users_leave(nursery)
