from __future__ import annotations

import pytest

from importer import names
from importer.file.unwrap.kinds import KINDS
from importer.roster.order import date_in
from importer.settings import FeedSettings

RESULT_JSON = b".result.json"


@pytest.mark.parametrize(
    ("archive", "failed_csv", "uploaded"),
    [
        (b"users.20261122T074205Z.csv", b"users.20261122T074205Z.failed.csv", b"users.csv"),
        (b"users.20261122T074205Z-2.csv", b"users.20261122T074205Z-2.failed.csv", b"users.csv"),
        (b"users.20261122T074205Z.csv.gz", b"users.20261122T074205Z.failed.csv", b"users.csv.gz"),
        (
            b"users.20261122T074205Z.failed.20261123T000000Z.csv",
            b"users.20261122T074205Z.failed.20261123T000000Z.failed.csv",
            b"users.20261122T074205Z.failed.csv",
        ),
        (b"a\nb.20261122T074205Z.csv", b"a\nb.20261122T074205Z.failed.csv", b"a\nb.csv"),
        (b"users.csv", b"users.failed.csv", b"users.csv"),
    ],
    ids=["plain", "second of its name", "another ending", "failed CSV of before", "line feed", "no stamp"],
)
def test_names_around_an_archive(archive: bytes, failed_csv: bytes, uploaded: bytes) -> None:
    """The stamp in the name of an archive divides it, whatever the file is called and ends with."""
    assert failed_csv == names.failed_csv(archive)
    assert uploaded == names.as_uploaded(archive)


def test_an_answer_is_known_by_its_line_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer is known wherever names are asked for once it is in the table; not every import must have it."""
    archive = b"users.20261122T074205Z.csv"
    monkeypatch.setitem(names.ANSWERS, RESULT_JSON, lambda _: False)
    added = b"users.20261122T074205Z.result.json"
    assert added in names.answers(archive)
    assert added in names.all_of(archive)
    assert added not in names.due_answers(archive, 1)


@pytest.mark.parametrize("ending", [ending.decode() for kind in KINDS for ending in kind.endings])
def test_a_file_of_any_kind_belongs_to_a_feed_like_its_csv(ending: str) -> None:
    """A workbook, or what is packed or encrypted, belongs to the feed that a CSV file of its name belongs to."""
    feed = FeedSettings(name="students", files="students_*.csv", dated="students_%Y%m%d.csv")
    name = f"students_20261129{ending}"
    assert "students_20261129.csv" == names.as_csv(name)
    assert feed.has(name.upper())
    assert "2026-11-29T00:00:00" == date_in(name, feed.dated)
    assert not feed.has(f"staff_20261129{ending}")
    assert FeedSettings(name="students", files=f"students*{ending}").has(name)


@pytest.mark.parametrize("name", ["users.txt", "users", ".csv", "a.csv.b", "", "a.b\nc"])
def test_other_names_stay_as_they_are(name: str) -> None:
    """What ends like no kind of file is left alone."""
    assert name == names.as_csv(name)
