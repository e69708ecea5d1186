from __future__ import annotations

import math
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from importer.model import HoldReason
from watcher.health.status import (
    CHANGE_INTERVAL_S,
    IDLE_INTERVAL_S,
    MAX_FILES_LISTED,
    ClientStatus,
    State,
    Status,
    StatusFile,
    count_states,
    file_status,
    listed_files,
    read_status,
    write_status,
)
from watcher.model import Waiting

AT = datetime(2026, 11, 22, 7, 42, 5, tzinfo=UTC)


def a_status(*, restarts: int = 0, at: datetime = AT) -> Status:
    return Status(pid=1, started_at=AT, written_at=at, watch_restarts=restarts)


def a_name(number: int = 1, *, held: bool = False, in_writing: bool = False, ignored: bool = False) -> Waiting:
    return Waiting(
        name=b"users%d.csv" % number,
        size_bytes=10,
        quiet_since=100.0 + number,
        due_at=math.inf if ignored else 110.0,
        in_writing=in_writing,
        held=held,
        ignored=ignored,
        hold_reason=HoldReason.CUT_OFF if held else HoldReason.NONE,
    )


class Teller:
    """What the daemon would tell, and how often it was asked."""

    def __init__(self) -> None:
        self.status = a_status()
        self.count = 0

    def look(self) -> Status:
        """Return the status, as the daemon does."""
        self.count += 1
        return self.status


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """The status comes back as it was written, from a file that only its owner can read."""
    status = a_status(restarts=3)
    write_status(str(tmp_path), status)
    assert status == read_status(str(tmp_path))
    assert 0o600 == stat.S_IMODE((tmp_path / "status.json").stat().st_mode)
    assert ["status.json"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("content", ["", "{", '{"pid": 1}', "[]"])
def test_a_file_that_is_none_of_ours_tells_nothing(tmp_path: Path, content: str) -> None:
    """A status that was cut off, or is of another version, is as good as none."""
    assert read_status(str(tmp_path)) is None
    (tmp_path / "status.json").write_text(content)
    assert read_status(str(tmp_path)) is None


def test_work_is_told_within_a_second(tmp_path: Path) -> None:
    """However often there is work, the daemon is asked once a second; the last change is not forgotten."""
    teller, file = Teller(), StatusFile(str(tmp_path))
    for tenth in range(20):
        file.keep(teller.look, tenth / 10, worked=True)
    assert 2 == teller.count
    assert 1 + CHANGE_INTERVAL_S == file.next_at

    teller.status = a_status(restarts=1)
    file.keep(teller.look, file.next_at, worked=False)
    assert teller.status == read_status(str(tmp_path))


@pytest.mark.parametrize(("clients", "looks"), [(1, 40), (1_000, 40), (10_000, 4), (100_000, 2)])
def test_many_clients_are_looked_at_less_often(tmp_path: Path, clients: int, looks: int) -> None:
    """However many clients there are, so many are looked at a second, and all of them every 30 s."""
    teller, file = Teller(), StatusFile(str(tmp_path))
    one = ClientStatus(client="acme", is_watched=True, swept_at=None, sweep_s=0.0)
    teller.status = msgspec.structs.replace(teller.status, clients=(one,) * clients)
    for tenth in range(400):
        file.keep(teller.look, tenth / 10, worked=True)
    assert looks == teller.count


def test_idle_daemon_gives_a_sign_of_life(tmp_path: Path) -> None:
    """Without any change the file is written every 30 s."""
    teller, file = Teller(), StatusFile(str(tmp_path))
    file.keep(teller.look, 0.0, worked=False)
    teller.status = a_status(at=AT + timedelta(seconds=30))
    file.keep(teller.look, IDLE_INTERVAL_S - 1, worked=False)
    assert a_status() == read_status(str(tmp_path))
    assert IDLE_INTERVAL_S == file.next_at
    file.keep(teller.look, IDLE_INTERVAL_S, worked=False)
    assert teller.status == read_status(str(tmp_path))


def test_time_alone_is_no_news(tmp_path: Path) -> None:
    """Work that changed nothing to be told does not write the file."""
    teller, file = Teller(), StatusFile(str(tmp_path))
    file.keep(teller.look, 0.0, worked=True)
    teller.status = a_status(at=AT + timedelta(seconds=2))
    file.keep(teller.look, 2.0, worked=True)
    assert a_status() == read_status(str(tmp_path))


def test_a_disk_that_refuses_costs_freshness_only(tmp_path: Path) -> None:
    """A status that cannot be written is tried again, and nothing else happens."""
    folder = tmp_path / "state"
    teller, file = Teller(), StatusFile(str(folder))
    file.keep(teller.look, 0.0, worked=True)
    folder.mkdir()
    file.keep(teller.look, 1.0, worked=True)
    assert teller.status == read_status(str(folder))


def test_a_disk_that_refuses_for_long_is_not_asked_all_the_time(tmp_path: Path) -> None:
    """However long the status cannot be written, the next try comes a while after the last."""
    teller, file = Teller(), StatusFile(str(tmp_path / "nowhere"))
    for now in (0.0, IDLE_INTERVAL_S, 100 * IDLE_INTERVAL_S):
        file.keep(teller.look, now, worked=False)
        assert file.next_at > now


@pytest.mark.parametrize(
    ("waiting", "state"),
    [
        (a_name(), State.SETTLING),
        (a_name(held=True), State.HELD),
        (a_name(in_writing=True), State.WRITING),
        (a_name(ignored=True), State.IGNORED),
    ],
    ids=lambda value: value if isinstance(value, State) else "",
)
def test_why_a_name_waits(waiting: Waiting, state: State) -> None:
    """Each name has one reason to wait, and a time of decision unless there will be none."""
    told = file_status(waiting, 105.0, AT)
    assert ("users1.csv", state, AT - timedelta(seconds=4)) == (told.file, told.state, told.since)
    assert ("cut_off" if state is State.HELD else "") == told.reason
    assert told.until == (None if state is State.IGNORED else AT + timedelta(seconds=5))


def test_those_that_wait_longest_are_told() -> None:
    """Of many names the oldest are told one by one, all are counted."""
    names = [a_name(number) for number in range(100, 0, -1)]
    told = listed_files(names, 300.0, AT)
    assert [f"users{number}.csv" for number in range(1, MAX_FILES_LISTED + 1)] == [file.file for file in told]
    assert {State.SETTLING: 100} == count_states(names)


def test_the_status_is_json_for_anybody(tmp_path: Path) -> None:
    """The file is one JSON object whose names are those of the struct."""
    write_status(str(tmp_path), a_status())
    assert set(Status.__struct_fields__) == set(msgspec.json.decode((tmp_path / "status.json").read_bytes()))


@pytest.mark.parametrize("name", ["status.json", "status.json.new"])
def test_a_link_in_place_of_the_file(tmp_path: Path, name: str) -> None:
    """The status is never written through a link."""
    (tmp_path / "precious").write_text("precious")
    (tmp_path / name).symlink_to(tmp_path / "precious")
    write_status(str(tmp_path), a_status())
    assert "precious" == (tmp_path / "precious").read_text()
    assert a_status() == read_status(str(tmp_path))
