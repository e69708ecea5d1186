"""A file as a whole: ids that stand in it more than once, and memory that stays bounded."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator

import pytest

from importer.file.scan import scan
from importer.file.table import STRETCH_ROWS, Stretch, Table
from importer.rows import duplicates
from importer.rows.batches import Examination, Terms
from importer.rows.duplicates import Duplicates
from importer.settings import ClientSettings, FileSettings, ReferenceSettings
from tests.engine import HEADER, Engine

pytestmark = pytest.mark.usefixtures("both_databases")

FAR = STRETCH_ROWS + 100  # rows that lie in different batches
FILLER = tuple(f"F{n},OPSCOM,Fil,Ler,f{n}@example.org,f{n}" for n in range(FAR))


def test_one_id_with_different_content_fails_in_all_its_rows(engine: Engine) -> None:
    """Rows of one id that differ all fail, and each says in which lines the id stands."""
    result = engine.rows(
        "S1,OPSCOM,Ann,Lee,ann@example.org,ann",
        "S2,OPSCOM,Bob,Roy,bob@example.org,bob",
        "S1,OPSCOM,Anna,Lee,ann@example.org,ann",
        "S1,OPSCOM,Ann,Lee,ann@example.org,ann",
    )
    assert {2: "9022", 4: "9022", 5: "9022"} == result.codes
    told = (
        "Lines 2, 4 and 5 have the same unique_id but different details. Keep the right one. If they are different "
        "people, give each a unique_id of their own."
    )
    assert {told} == {*result.reasons.values()}
    assert ["S2"] == list(engine.users())
    assert f"- {told}" in result.text


def test_many_lines_are_named_ten_at_a_time(engine: Engine) -> None:
    """An export that gives everyone the same id is answered in a sentence that can be read."""
    result = engine.rows(*(f"0,OPSCOM,A,B,a{n}@example.org,a{n}" for n in range(2 * FAR)))
    assert (2 * FAR, 0) == (result.tally.failed, len(engine.users()))
    assert "Lines 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and more have the same unique_id" in result.reasons[2 * FAR]


@pytest.mark.parametrize("between", [(), FILLER], ids=["near", "far apart"])
@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
def test_a_repetition_undoes_what_went_before(engine: Engine, between: tuple[str, ...], *, known: bool) -> None:
    """However far apart, rows of one id that differ leave the user as it was, or not there at all."""
    first, other = "S1,OPSCOM,Ann,Lee,ann@example.org,ann", "S1,OPSCOM,Eve,Lee,eve@example.org,eve"
    if known:
        engine.rows("S1,OPSCOM,Old,Lee,old@example.org,old")
    before = engine.users()
    result = engine.rows(
        first, "T1,OPSCOM,Tom,Lee,old@example.org,ann", *between, other, "T2,OPSCOM,Tim,Lee,t@example.org,EVE"
    )
    last = 4 + len(between)
    assert {2, last} | ({3} if known else set()) == set(result.codes)
    assert result.codes[2].startswith("9022")
    assert result.codes[last].startswith("9022")
    users = engine.users()
    assert before == {unique_id: user for unique_id, user in users.items() if unique_id in before}
    assert {"T2"} | (set() if known else {"T1"}) == {each for each in users if each[0] == "T"}
    assert len(between) + 1 + (not known) == result.tally.created


def test_unchanged_users_that_repeat_are_not_counted(engine: Engine) -> None:
    """A row that changes nothing and turns out to contradict a later one counts as failed only."""
    engine.rows("S1,OPSCOM,Ann,Lee,ann@example.org,ann")
    result = engine.rows("S1,OPSCOM,Ann,Lee,ann@example.org,ann", *FILLER, "S1,OPSCOM,Eve,Lee,ann@example.org,ann")
    assert (len(FILLER), 0, 0, 2) == (
        result.tally.created,
        result.tally.updated,
        result.tally.unchanged,
        result.tally.failed,
    )


def test_rows_with_their_own_problems_keep_them(engine: Engine) -> None:
    """A row whose id repeats has its own problems too; a damaged id that stands twice is 9033 and 9022."""
    result = engine.rows(
        "1.2E+05,OPSCOM,Ann,Lee,ann@example.org,ann",
        "1.2E+05,OPSCOM,Bob,Roy,bob@example.org,bob",
        "S1,CAS,Ann,,a1@example.org,a1",
        "S1,OPSCOM,Ann,Lee,a1@example.org,a1",
    )
    assert {2: "9033; 9022", 3: "9033; 9022", 4: "9015; 9022; 9018", 5: "9022"} == result.codes


def test_equal_rows_count_once_with_a_warning(engine: Engine) -> None:
    """Rows that say the same, after trimming and normalising, collapse; they are counted apart."""
    result = engine.settings(unknown_columns="ignore").file(
        f"{HEADER},province,Row",
        "S1,OPSCOM,Zoé,Lee,zoe@example.org,zoe,ON,1",
        *(f"{row},," for row in FILLER),
        " S1 ,OPSCOM, Zoe\u0301\xa0,Lee,zoe@example.org,zoe,on,2",
        "S1,OPSCOM,Zoé,Lee,zoe@example.org,zoe,ON,3",
    )
    assert (1 + FAR, 2, 0) == (result.tally.created, result.tally.repeated, result.tally.failed)
    assert (2, FAR + 3) == (result.warnings["row.repeated"].rows, result.warnings["row.repeated"].first_line)
    assert "The file already has the same row further up. We counted it once." in result.text
    assert FAR + 3 == result.tally.rows


def test_equal_rows_that_fail_fail_once(engine: Engine) -> None:
    """Of equal rows with a problem the first is in the failed CSV, the others are repetitions of it."""
    result = engine.rows(*["S1,OPSCOM,,Lee,a@example.org,a"] * 3)
    assert ({2: "9017"}, 2) == (result.codes, result.tally.repeated)


def test_rows_with_the_wrong_number_of_fields_repeat_nothing(engine: Engine) -> None:
    """What looks like the id of a row that does not fit the header is not taken for one."""
    result = engine.rows(
        "S1,OPSCOM,Ann,Lee,ann@example.org,ann", "S1,OPSCOM", "S1,OPSCOM,Lee, Ann,ann@example.org,ann,x"
    )
    assert {3: "9003", 4: "9003"} == result.codes
    assert 1 == result.tally.created


def test_rows_without_id_repeat_nothing(engine: Engine) -> None:
    """Blank ids are not the same id."""
    assert {2: "9013", 3: "9013"} == engine.rows(",OPSCOM,A,B,a@example.org,", ",OPSCOM,C,D,c@example.org,").codes


@pytest.mark.parametrize("between", [(), FILLER], ids=["near", "far apart"])
def test_ids_that_differ_in_case_are_two_users_with_a_warning(engine: Engine, between: tuple[str, ...]) -> None:
    """Case counts in an id; that two ids differ in nothing else is told, once for each later spelling."""
    result = engine.rows(
        "ab1,OPSCOM,Ann,Lee,ann@example.org,ann",
        *between,
        "AB1,OPSCOM,Bob,Roy,bob@example.org,bob",
        "AB1,OPSCOM,Bob,Roy,bob@example.org,bob",
        "Ab1,OPSCOM,Cas,Roy,cas@example.org,cas",
    )
    assert (3 + len(between), 1) == (result.tally.created, result.tally.repeated)
    second = 3 + len(between)
    assert (2, (2, second, second + 2)) == (result.warnings["id.case"].rows, result.warnings["id.case"].lines)


def test_ids_that_differ_in_leading_zeros_are_two_users_with_a_warning(engine: Engine) -> None:
    """A part of the file went through Excel: both are imported, and it is told where, capitals or not."""
    row = "{},OPSCOM,Ann,Lee,a{}@example.org,a{}"
    ids = ("00123", "124", "123", "0124", "0ab", "AB", "", "0", "00", "7")
    result = engine.rows(*(row.format(each, n, n) for n, each in enumerate(ids)))
    assert (9, {8: "9013"}) == (result.tally.created, result.codes)
    assert [("id.case/zeros", 3, (2, 3, 4, 5, 6, 7))] == [
        (each.reason.key, each.rows, each.lines) for each in result.receipt.warnings if each.code == "id.case"
    ]
    pair = engine.emptied().rows(row.format("0123", 1, 1), row.format("123", 2, 2))
    assert "- The unique_ids in lines 2 and 3 differ only in leading zeros." in pair.text


def test_held_rows_lack_what_new_users_need(engine: Engine) -> None:
    """A row held back for a look-alike id is judged as new or known like any other."""
    result = engine.file("unique_id,login_source,email", "ab1,OPSCOM,a@example.org", "AB1,OPSCOM,b@example.org")
    assert {2: "9017; 9018", 3: "9017; 9018"} == result.codes


def test_batches_are_small_however_large_the_rows_are() -> None:
    """Rejected rows wait in memory with their cells: few of them at a time when they are large."""
    with tempfile.TemporaryFile() as raw:
        cell = b"x" * 60_000
        raw.write(b"unique_id,login_source,first_name,last_name,email\n")
        raw.writelines(b"S%d,OPSCOM,%b,%b,%b\n" % (n, cell, cell, cell) for n in range(100))
        raw.writelines(b"S%d,OPSCOM,%b,%b,y\n" % (n, cell, cell) for n in range(100))
        raw.flush()
        client = ClientSettings(name="acme", inbox="/srv/sftp/acme")
        limits = FileSettings()
        examination = Examination(raw, Terms(scan(raw, limits), limits, client, ReferenceSettings()))
        sizes = [sum(len(cell) for row in batch.rejected for cell in row.cells) for batch in examination.batches()]
    assert 100 * 180_000 < sum(sizes)
    assert 5 << 20 > max(sizes)


@pytest.mark.parametrize(("rows", "size_bytes"), [(10_000, 200_000), (60_000, 1_200_000)])
def test_repeats_are_found_in_any_number_of_rows(rows: int, size_bytes: int) -> None:
    """Of many ids exactly those that stood before wait, but for a few in vain; groups tell all lines of each."""
    repeats = Duplicates(size_bytes)
    ids = [f"id{n}" for n in range(rows)]
    first = repeats.held_back(ids, list(range(2, rows + 2)))
    late = [rows + 2, rows + 3, rows + 4, rows + 5, rows + 6]
    second = repeats.held_back(["ID7", f"id{rows - 1}", "", "new", "ID7"], late)
    assert 100 > len(list(first))
    assert {0, 1, 4} <= set(second)
    assert 2 not in set(second)
    lines = [line for group in repeats.groups() for line in group]
    assert {9, -late[0], -late[4], rows + 1, -late[1]} <= set(lines)
    assert 200 > len(lines)
    assert sorted(map(abs, lines)) == list(map(abs, lines))


def test_ids_that_only_may_have_come_before_are_settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of so many rows that most are held in vain is read three times more, not twice for each 8,000 of them."""
    monkeypatch.setattr(duplicates, "_WORDS", 1 << 8)  # full after some thousand rows
    passes = []

    def reread(table: Table, wanted: Iterable[int]) -> Iterator[Stretch]:
        passes.append(table)
        return read_again(table, wanted)

    read_again = Table.reread
    monkeypatch.setattr(Table, "reread", reread)
    with tempfile.TemporaryFile() as raw:
        raw.write(f"{HEADER}\n".encode())
        raw.writelines(b"S%d,OPSCOM,Ann,Lee,a%d@example.org,a%d\n" % (n, n, n) for n in range(40_000))
        raw.write(b"S7,OPSCOM,Eve,Lee,eve@example.org,eve\n")
        raw.flush()
        client, limits = ClientSettings(name="acme", inbox="/srv/sftp/acme"), FileSettings()
        examination = Examination(raw, Terms(scan(raw, limits), limits, client, ReferenceSettings()))
        batches = [*examination.batches()]
    retracted = {unique_id for batch in batches for unique_id in batch.retracted}
    applied = [unique_id for batch in batches for unique_id in batch.complete.columns[0] if unique_id not in retracted]
    assert {f"S{n}" for n in range(40_000) if n != 7} == {*applied}
    assert len({*applied}) == len(applied)
    assert [9, 40_002] == [row.line for batch in batches for row in batch.rejected + batch.partial]
    assert 3 == len(passes)
