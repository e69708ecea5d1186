"""Lines that stood the same in an earlier file are passed over, and nobody can tell but by the time it takes."""

from __future__ import annotations

import codecs
import contextlib
import errno
import itertools
import resource
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from importer.file.table import STRETCH_ROWS
from importer.model import Interrupted
from importer.rows import damage, delta
from importer.rows.delta import Difference
from importer.settings import FeedSettings
from importer.store.personal_data import erase
from tests.engine import Engine, Result

pytestmark = pytest.mark.usefixtures("both_databases")

HEADER = "unique_id,login_source,first_name,last_name,email,city"
USERS = [f"S{number},OPSCOM,Ann,Lee,ann{number}@example.org,Hull" for number in range(100)]


class Compared(Engine):
    """An engine that notes what it found to examine in each file; None stands for all of it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.differences: list[list[int] | None] = []

    def upload(self, content: bytes | Path, *, name: str = "users.csv") -> Result:
        """Import a file."""
        self.differences.append(None)
        return super().upload(content, name=name)

    @property
    def last(self) -> list[int] | None:
        """Return the lines that were examined of the last file."""
        return self.differences[-1]


@pytest.fixture
def compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Compared]:
    """Yield an engine that compares small files, too."""
    monkeypatch.setattr(delta, "MIN_BYTES", 0)
    with contextlib.closing(Compared(tmp_path)) as engine:
        marked = delta.Difference

        def noted(lines: array[int], plain: int, gone: Sequence[str]) -> Difference:
            engine.differences[-1] = list(lines)
            return marked(lines, plain, gone)

        monkeypatch.setattr(delta, "Difference", noted)
        yield engine


def without(users: list[str], *numbers: int) -> list[str]:
    return [user for number, user in enumerate(users) if number not in numbers]


def test_the_same_file_again_is_passed_over(compared: Compared) -> None:
    """Of a file that was imported before only the header is looked at, and all users count as unchanged."""
    compared.file(HEADER, *USERS)
    result = compared.file(HEADER, *USERS)
    assert [1] == compared.last
    assert (100, 0) == (result.tally.unchanged, result.tally.rows - 100)


def test_each_feed_is_compared_with_its_own_last_file(compared: Compared) -> None:
    """A file whose name has the day in it is compared with the last one of its feed, whatever came between."""
    compared.settings(feed=tuple(FeedSettings(name=name, files=f"{name}*") for name in ("students", "staff")))
    compared.file(HEADER, *USERS, name="students1.csv")
    compared.file(HEADER, *(user.replace("S", "T").replace("ann", "tom") for user in USERS), name="staff1.csv")
    assert None is compared.last
    compared.file(HEADER, *USERS, name="students2.csv")
    assert [1] == compared.last


def test_however_little_is_read_ahead(compared: Compared, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where lines are so long that few of them are held at a time, what stands there as before is found as well."""
    monkeypatch.setattr(delta, "_AHEAD_BYTES", 1)
    compared.file(HEADER, *USERS)
    compared.file(HEADER, *USERS)
    assert [1] == compared.last


def test_rows_that_failed_are_told_again(compared: Compared) -> None:
    """A row that failed, or was warned of, is looked at each time; its failed CSV, problems and warnings come back."""
    users = [*USERS, "S200,OPSCOM,Zoe,Orr,zoe,Hull", "S201,OPSCOM,Bob,Lee,bob@example.org,N/A", USERS[7]]
    first, again = (compared.file(HEADER, *users) for _ in range(2))
    assert [1, 9, 102, 103, 104] == compared.last
    assert first.failed == again.failed
    assert first.receipt.problems == again.receipt.problems
    assert first.receipt.warnings == again.receipt.warnings
    assert (101, 1, 1) == (again.tally.unchanged, again.tally.failed, again.tally.repeated)


@pytest.mark.parametrize("unique_id", ["s7", "0S7"])
def test_ids_that_differ_little_are_told_again(compared: Compared, unique_id: str) -> None:
    """Two lines whose ids differ in case or leading zeros only are looked at each time, and warned of."""
    users = [*USERS, f"{unique_id},OPSCOM,Zoe,Orr,zoe@example.org,Hull"]
    first, again = (compared.file(HEADER, *users) for _ in range(2))
    assert [1, 9, 102] == compared.last
    assert 1 == len(first.receipt.warnings)
    assert first.receipt.warnings == again.receipt.warnings


def test_lines_may_move(compared: Compared) -> None:
    """Users that were added, removed or changed do not hide that the others stand there as before."""
    compared.file(HEADER, *USERS)
    users = [
        "N1,OPSCOM,New,One,n1@example.org,",
        *without(USERS, *range(20, 40), 60),
        "N2,OPSCOM,New,Two,n2@example.org,",
    ]
    users[50] = users[50].replace("Hull", "Gatineau")
    result = compared.file(HEADER, *users)
    assert [1, 2, 52, len(users) + 1] == compared.last
    assert (2, 1, 78) == (result.tally.created, result.tally.updated, result.tally.unchanged)


def test_a_user_that_another_file_changed_is_looked_at(compared: Compared) -> None:
    """What another file has changed since is set back by the full file, as if it were looked at as a whole."""
    compared.file(HEADER, *USERS)
    compared.file(HEADER, USERS[3].replace("Hull", "Gatineau"), name="moved.csv")
    result = compared.file(HEADER, *USERS)
    assert [1, 5] == compared.last
    assert 1 == result.tally.updated
    assert "Hull" == compared.users("city")["S3"]["city"]


def test_a_line_that_stays_contradicts_one_that_is_new(compared: Compared) -> None:
    """The same id with different content fails in both lines, also when one of them stood in the last file."""
    compared.file(HEADER, *USERS)
    result = compared.file(HEADER, *USERS, USERS[3].replace("Hull", "Gatineau"))
    assert [1, 5, 102] == compared.last
    assert {5: "9022", 102: "9022"} == result.codes


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE users SET city = 'Gatineau' WHERE unique_id = 'S3'",
        "UPDATE users SET city = 'Gatineau', import_id = 0 WHERE unique_id = 'S3'",
        "UPDATE users SET city = 'Gatineau', import_id = import_id + 1 WHERE unique_id = 'S3'",
        "UPDATE OR REPLACE users SET unique_id = 'S3', city = 'Gatineau' WHERE unique_id = 'S4'",
        """INSERT OR REPLACE INTO users (client, unique_id, login_source, city, created_at, updated_at, created_import,
             import_id, import_line) SELECT client, unique_id, login_source, 'Gatineau', created_at, updated_at,
             created_import, import_id, import_line FROM users WHERE unique_id = 'S3'""",
        "DELETE FROM users WHERE unique_id = 'S3'",
        "DELETE FROM users",
    ],
)
def test_after_an_edit_by_hand_all_is_looked_at(compared: Compared, statement: str) -> None:
    """What somebody changed in the database, or whom, is set right by the next file."""
    compared.file(HEADER, *USERS)
    expected = compared.users()
    compared.store.conn.execute(statement)
    compared.file(HEADER, *USERS)
    assert compared.last is None
    assert expected == compared.users()


@pytest.mark.sqlite
def test_an_erased_user_comes_back_with_the_next_file(compared: Compared) -> None:
    """Also a user that somebody inserted by hand, and no import ever changed, is recorded again after an erasure."""
    compared.file(HEADER, USERS[3])
    compared.store.conn.execute("UPDATE users SET created_import = 0, import_id = 0")
    compared.file(HEADER, *USERS)
    erase(compared.store, compared.client.name, "S3")
    assert 1 == compared.file(HEADER, *USERS).tally.created


def test_what_an_import_undoes_is_no_edit_by_hand(compared: Compared) -> None:
    """Rows that another file brought and that do not count leave the files of other names comparable."""
    compared.file(HEADER, *USERS)
    clashing = ["N1,OPSCOM,New,One,ann7@example.org,", USERS[8].replace("ann8@", "ann9@").replace("Hull", "Gatineau")]
    assert {2: "9019", 3: "9019"} == compared.file(HEADER, *clashing, name="other.csv").codes
    compared.file(HEADER, *USERS)
    assert [1] == compared.last


def test_other_settings_judge_anew(compared: Compared) -> None:
    """After a change of the settings all lines are judged by the new ones."""
    compared.file(HEADER, *USERS)
    compared.settings(limits={"city": 3})
    assert {"9030"} == set(compared.file(HEADER, *USERS).codes.values())


def test_another_header_judges_anew(compared: Compared) -> None:
    """The same lines under another header are other users."""
    compared.file(HEADER, *USERS)
    result = compared.file("unique_id,login_source,last_name,first_name,email,city", *USERS)
    assert compared.last is None
    assert 100 == result.tally.updated


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes()[:-9] + b"Hell\n"), Path.unlink])
def test_an_archive_that_is_not_what_it_was_is_not_trusted(compared: Compared, damage: object) -> None:
    """A file in `.bak` that was changed, or is gone, is no reason to pass anything over."""
    compared.file(HEADER, *USERS)
    [archive] = (compared.folder / ".bak").iterdir()
    assert callable(damage)
    damage(archive)
    assert 99 == compared.file(HEADER, *USERS[1:], USERS[0].replace("Hull", "Aylmer")).tally.unchanged
    assert compared.last is None


def test_rows_are_counted_all(compared: Compared) -> None:
    """The limit of rows holds for those that are looked at and those that are passed over, together."""
    compared.limits = msgspec.structs.replace(compared.limits, max_rows=len(USERS))
    compared.file(HEADER, *USERS)
    assert 100 == compared.file(HEADER, *USERS).tally.unchanged
    assert [1] == compared.last
    assert "limit.rows" == compared.file(HEADER, *USERS, "N1,OPSCOM,New,One,n1@example.org,").code


@pytest.mark.parametrize(("limit", "value"), [("MOST_LINES", 3), ("_MOST_BYTES", 99)])
def test_what_differs_too_much_is_looked_at_whole(
    compared: Compared, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    """Neither memory nor disk is spent on a file that has little in common with the one before."""
    compared.file(HEADER, *USERS)
    monkeypatch.setattr(delta, limit, value)
    result = compared.file(HEADER, *(user.replace("Hull", "Gatineau") for user in USERS))
    assert compared.last is None
    assert 100 == result.tally.updated


def test_a_file_that_was_refused_takes_nobodys_place(compared: Compared) -> None:
    """A refused file is not what the next one is compared with."""
    compared.file(HEADER, *USERS)
    compared.file(HEADER, *USERS, 'S300,"')
    compared.file(HEADER, *USERS)
    assert [1] == compared.last


@pytest.mark.parametrize(("before", "after"), [(b"", codecs.BOM_UTF8), (codecs.BOM_UTF8, b"")])
def test_a_mark_at_the_front_belongs_to_its_file_alone(compared: Compared, before: bytes, after: bytes) -> None:
    """A byte order mark that one file has and the other has not shifts no line: rows that failed fail again."""
    lines = ["", HEADER, *without(USERS, 5), "S200,OPSCOM,Zoe,Orr,zoe,Hull"]
    text = "".join(f"{line}\r\n" for line in lines).encode()
    first, again = (compared.upload(mark + text) for mark in (before, after))
    assert [1, 2, 102] == compared.last
    assert {102: "9033"} == first.codes == again.codes


@pytest.mark.parametrize("before", [b"", b"\x1a"])
@pytest.mark.parametrize("after", [b"", b"\x1a", b"\x1a\x1a"])
def test_a_mark_at_the_end_belongs_to_its_file_alone(compared: Compared, before: bytes, after: bytes) -> None:
    """One 0x1A at the end is not part of the last row, a second one is, however the previous file ended."""
    text = "\n".join([HEADER, *USERS]).encode()
    assert 100 == compared.upload(text + before).tally.created
    expected = {101: "9033"} if after == b"\x1a\x1a" else {}
    assert expected == compared.upload(text + after).codes
    assert compared.last is not None


def test_a_header_that_was_a_user_is_a_header(compared: Compared) -> None:
    """A header that stood among the users of the last file is still the header of this one."""
    compared.settings(required=(), login_source="OPSCOM")
    compared.file('"unique_id",city', "unique_id,city", *(f"S{number},Hull" for number in range(20)))
    result = compared.file("unique_id,city", *(f"T{number},Hull" for number in range(20)))
    assert ("", 20) == (result.code, result.tally.created)


def test_too_many_users_that_others_changed_are_no_obstacle(
    compared: Compared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When other files have changed more users than are kept in memory, a file is looked at whole, and imported."""
    compared.file(HEADER, *USERS)
    compared.file(HEADER, *(user.replace("Hull", "Gatineau") for user in USERS[:20]), name="moved.csv")
    monkeypatch.setattr(delta, "MOST_LINES", 8)
    assert 20 == compared.file(HEADER, *USERS).tally.updated
    assert compared.last is None


def turns_true_after(moments: int) -> Callable[[], bool]:
    passed = iter(range(moments))
    return lambda: next(passed, None) is None


def test_stopped_at_any_moment_an_import_can_be_tried_again(engine: Engine) -> None:
    """Wherever an import was stopped, the next try does the same work, also while the error is still in hand."""
    engine.file(HEADER, *USERS)
    users = [USERS[0].replace("ann0@", "ann1@"), *USERS[1:9], "N1,OPSCOM,New,One,ann2@example.org,"]
    errors = []
    with engine.claimed("\n".join([HEADER, *users, ""]).encode()) as claim:
        for moments in itertools.count():
            try:
                receipt = engine.importer().import_file(claim, engine.client, stopping=turns_true_after(moments))
            except Interrupted as error:
                errors.append(error)
            else:
                break
    assert {"9019"} == {group.code for group in receipt.problems}
    assert len(errors) > 5


def test_a_disk_that_fills_up_leaves_no_table_locked(engine: Engine) -> None:
    """After an answer that could not be written the file is imported at the next try."""
    engine.file(HEADER, *USERS)
    lines = [HEADER, *USERS, *(f"N{number},OPSCOM,New,One,bad," for number in range(5000))]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with engine.claimed("\n".join(lines).encode()) as claim:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, hard))
        try:
            with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is looked at below
                engine.importer().import_file(claim, engine.client)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert 5000 == engine.importer().import_file(claim, engine.client).tally.failed
    assert errno.EFBIG == caught.value.errno


def test_few_of_very_many_ids_that_end_in_zeros_are_looked_at_again(compared: Compared) -> None:
    """Numbers that may have lost digits are warned of each night, and do not make each night as long as the first."""
    users = [f"{10**15 + number * 10},OPSCOM,Ann,Lee,a{number}@example.org,Hull" for number in range(2500)]
    first, second = compared.file(HEADER, *users), compared.file(HEADER, *users)
    assert 2500 == second.tally.unchanged
    assert len(compared.last or users) < damage.MOST_LOST + STRETCH_ROWS
    told = "- unique_id has long numbers that end in zeros in more than 1,000 rows, the first on line 2."
    assert (True, True) == (told in first.text, told in second.text)


def test_ids_that_end_in_zeros_among_others_are_passed_over(compared: Compared) -> None:
    """Where other long numbers have all their digits, one of them is looked at again, as it tells so of all."""
    users = [f"{10**15 + number},OPSCOM,Ann,Lee,a{number}@example.org,Hull" for number in range(2500)]
    compared.file(HEADER, *users)
    users[10] = users[10].replace("Ann", "Eva")
    assert (1, {}) == ((result := compared.file(HEADER, *users)).tally.updated, result.warnings)
    assert 3 == len(compared.last or users)


def test_days_of_birth_are_counted_of_what_changes(compared: Compared) -> None:
    """Many new users of one day are told, once; the day that Unix counts from is told by its share of the file."""
    header = HEADER.replace("city", "date_of_birth")
    users = [f"S{n},OPSCOM,Ann,Lee,a{n}@example.org,{1920 + n // 10}-02-{n % 10 + 10}" for n in range(1000)]
    new = [f"T{n},OPSCOM,Ann,Lee,b{n}@example.org,2001-01-01" for n in range(10)]
    epoch = [f"U{n},OPSCOM,Ann,Lee,c{n}@example.org,1970-01-01" for n in range(6)]
    compared.file(header, *users)
    assert 10 == compared.file(header, *users, *new, *epoch).warnings["value.placeholder"].rows
    assert {} == compared.file(header, *users, *new, *epoch).warnings
    assert compared.last is not None
    assert 7 == len(compared.last)
