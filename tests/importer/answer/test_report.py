"""What the client gets back: failed CSV, result text, mail."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from importer.attributes import ATTRIBUTES, REPORT_NAMES
from importer.characters import guarded, unguarded
from importer.model import message
from importer.settings import MailSettings
from importer.store.sqlite.rows import rejected
from importer.wording import catalogue
from importer.wording.codes import CODES
from importer.wording.template import Level
from importer.wording.times import local_time
from tests.conftest import unsynced
from tests.engine import HEADER, MAILBOX, Engine, corrected, table, without_report

pytestmark = pytest.mark.usefixtures("both_databases")

GOOD = "S1,OPSCOM,Ann,Lee,ann@example.org,ann"


# -- the failed CSV ------------------------------------------------------------------------------------------------


def test_the_failed_csv_to_the_byte(engine: Engine) -> None:
    """UTF-8 with its mark, CRLF, all quoted, the upload's columns and cells in order, then what is wrong."""
    result = engine.file(
        "unique_id;email;last_name;first_name;login_source", "S1;ann(at)example.org;Lee; Zoé;OPSCOM", "S2;;;;"
    )
    expected = (
        '"unique_id";"email";"last_name";"first_name";"login_source";'
        '"import_line";"import_code";"import_field";"import_reason"\r\n'
        '"S1";"ann(at)example.org";"Lee";"Zoé";"OPSCOM";'
        '"2";"9033";"email";"email has a code or another sign in place of @, such as %40 or (at). Enter @."\r\n'
        '"S2";"";"";"";"";"3";"9014; 9017; 9018; 9016";"login_source; first_name; last_name; email";'
        '"Enter the login source OPSCOM. If the user is already in our system, check the '
        "unique_id. If the row is not a user, delete the row. Enter the first name; if it is in last_name, move it; if "
        "there is only one name, enter it in both columns. Enter the last name; if it is in first_name, move it; if "
        "there is only one name, enter it in both columns. Enter the "
        'e-mail address."\r\n'
    )
    assert expected.encode("utf-8-sig") == result.failed


def test_a_clean_run_has_no_failed_csv(engine: Engine) -> None:
    """Where every row was applied there is nothing to correct, and no mail."""
    result = engine.rows(GOOD)
    assert (b"", None, "imported") == (result.failed, result.mail, result.receipt.outcome)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_failed_csv_has_the_delimiter_of_the_upload(engine: Engine, delimiter: str) -> None:
    """A spreadsheet that wrote semicolons reads semicolons."""
    result = engine.file(*(line.replace(",", delimiter) for line in (HEADER, "S1,OPSCOM,A,B,bad,")))
    header = delimiter.join(f'"{name}"' for name in (*HEADER.split(","), *REPORT_NAMES))
    assert header == result.failed.decode("utf-8-sig").splitlines()[0]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
def test_the_failed_csv_can_be_corrected_and_uploaded_as_it_is(engine: Engine, delimiter: str, encoding: str) -> None:
    """Saved by a spreadsheet in any way it has, with its report columns, the corrected file imports only those rows."""
    result = engine.rows(GOOD, "S2,OPSCOM,Bob,Roy,bob@example,bob", "S3,OPSCOM,Cas,Roy,cas@example,cas")
    rows = list(csv.reader(io.StringIO(result.failed.decode("utf-8-sig"))))
    rows[1][4], rows[2][4] = "bob@example.org", "still@wrong"
    again = engine.upload(table(rows, delimiter=delimiter).encode(encoding))
    assert (1, 1, {}) == (again.tally.created, again.tally.failed, again.warnings)
    assert list(REPORT_NAMES) == list(again.failed_rows[0])[-4:]
    assert 1 == again.failed.decode().count("import_line")
    assert 1 == engine.upload(corrected(again, email="cas@example.org")).tally.created
    assert ["S1", "S2", "S3"] == sorted(engine.users())


def test_a_file_that_fails_whole_is_refused_with_its_failed_csv(engine: Engine) -> None:
    """When every row fails nothing was applied: refused, with row codes and a failed CSV, not a file failure."""
    result = engine.rows("S1,CAS,A,B,a@example.org,", "S2,CAS,A,B,b@example.org,")
    assert ("refused", "", 2) == (result.receipt.outcome, result.code, len(result.failed_rows))
    told = (
        "- Lines 2-3: login_source is not a login source that we have set up. Check that each value of the row is in "
        "its column. Then enter OPSCOM."
    )
    assert told in result.text


def test_rows_found_unchanged_count_as_applied(engine: Engine) -> None:
    """A file of known users with one bad row is partly imported."""
    engine.rows(GOOD)
    assert "partly" == engine.rows(GOOD, "S2,CAS,A,B,b@example.org,").receipt.outcome


TRICKY = "'=+-@\uff1d\uff0d\ufe62\u2212\t\r\n,;| \"\x01\u200b\u2060\ufeff\xa0\u3000\u2028\u034f\ufe0f\u3164a"


WIDE_SIGNS = "\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u207c\u207a\u207b\u208c\u208a\u208b\u2212"


def is_run(part: str) -> bool:
    """Tell whether a spreadsheet that passes over what nobody sees, and folds wide signs, would run a cell."""
    unseen = ("Cc", "Cf", "Zs", "Zl", "Zp", "Mn")
    seen = [char for char in part if unicodedata.category(char) not in unseen and char != "\u3164"]
    return bool(seen) and unicodedata.normalize("NFKC", seen[0]) in ("=", "+", "-", "\u2212", "@")


@given(cell=st.text(TRICKY, max_size=8) | st.text())
def test_the_guard_is_undone(cell: str) -> None:
    """What the guard makes of any cell no spreadsheet runs, and taking the guard off gives the cell back."""
    shown = guarded(cell)
    assert not is_run(shown)
    assert not shown.startswith(("\t", "\r", "\n"))
    assert cell == unguarded(shown)


@given(cell=st.text(TRICKY, max_size=8))
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_part_of_a_cell_is_not_run_either(cell: str, separator: str) -> None:
    """Whoever takes another separator for that of the file, and line breaks for ends of rows, finds nothing to run."""
    parts = re.split(f"[\r\n{re.escape(separator)}]", guarded(cell))
    assert [] == [part for part in parts if is_run(part)]
    assert [] == [part for part in parts[1:] if is_run(part.replace('"', ""))]


@pytest.mark.parametrize(("delimiter", "other"), [(";", ","), (",", ";"), ("\t", ","), (",", "\t")])
def test_a_failed_csv_read_with_another_separator(engine: Engine, delimiter: str, other: str) -> None:
    """A failed CSV that a program splits at another separator than its own has no cell that it would run."""
    hostile = f'x{other}=cmd{other} "@SUM(1)"\n=1+1'
    header = [*HEADER.split(","), "street", "city"]
    row = ["S1", "OPSCOM", "=A", "B", "a@example", "", hostile, f'"{other}=2'.replace('"', "y")]
    shown = engine.upload(table([header, row], delimiter=delimiter).encode()).failed.decode("utf-8-sig")
    cells = [cell for line in csv.reader(io.StringIO(shown), delimiter=other) for cell in line]
    assert len(cells) > 4
    assert [] == [cell for cell in cells if is_run(cell.replace('"', ""))]


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("'=1+1", "''=1+1"),
        ("+1", "'+1"),
        ("@a", "'@a"),
        ("'s-Gravenhage", "'s-Gravenhage"),
        ("a=1", "a=1"),
        *((f"{sign}1", f"'{sign}1") for sign in WIDE_SIGNS),
        *((f"{unseen}=1", f"'{unseen}=1") for unseen in "\ufeff\u2060\xa0\x00\u034f\ufe0f\u3164"),
        *((f"a{end}@b", f"a{end}'@b") for end in ",;|\t\r\n"),
        ("\n=1", "'\n'=1"),
        ("\u200b=1", "'\u200b=1"),
        ("12 Main St, Apt 2", "12 Main St, Apt 2"),
        ("1 Main\r\nApt 2", "1 Main\r\nApt 2"),
        ("a;=1", "a;'=1"),
        ("a;'=1", "a;''=1"),
    ],
)
def test_the_guard(cell: str, shown: str) -> None:
    """Only cells a spreadsheet would run, and those that look guarded, get one apostrophe more."""
    assert shown == guarded(cell)


def test_cells_a_spreadsheet_would_run_are_guarded_in_every_column(engine: Engine) -> None:
    """Ignored columns and names of columns are guarded like all else."""
    result = engine.settings(unknown_columns="ignore").file(
        f"{HEADER},=cmd|x,Notes", 'S1,CAS,"=HYPERLINK(""http://x"")",+B,a@example.org,,@SUM(1),-1'
    )
    assert [] == [
        cell
        for row in csv.reader(io.StringIO(result.failed.decode("utf-8-sig")))
        for cell in row
        if cell[:1] in set("=+-@")
    ]


words = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Cf", "Zl", "Zp", "Co", "Cn"]), max_size=12
) | st.sampled_from(
    ["=1+1", "'=1+1", "''-x", "'s-Gravenhage", '"', '""', ";", ",", "\t", " x ", "-", "NULL", "éà", "1.2E+05"]
)


@pytest.fixture
def shared(fleeting: Path) -> Iterator[Engine]:
    """Yield an engine for all examples, which mails nothing."""
    with unsynced(Engine(fleeting)) as engine:
        yield engine.settings(failed_import_email=())


@pytest.mark.sqlite
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=st.lists(words, min_size=4, max_size=4), dialect=st.sampled_from([",", ";", "\t", "|"]))
def test_any_row_comes_back_as_it_was(shared: Engine, cells: list[str], dialect: str) -> None:
    """A row that fails, corrected in the failed CSV alone, is stored as one that was right at once."""
    header = ["unique_id", "login_source", "email", "first_name", "last_name", "street", "city"]
    assume(all(cell.strip() for cell in cells[:2]))
    right = shared.emptied().upload(
        table([header, ["S1", "OPSCOM", "a@example.org", *cells]], delimiter=dialect).encode()
    )
    stored = shared.users(*header[3:])
    assume(right.tally.created == 1)  # what has a fault of its own is not corrected by its address
    failed = shared.emptied().upload(
        table([header, ["S1", "OPSCOM", "a(at)example.org", *cells]], delimiter=dialect).encode()
    )
    assert {} == shared.users()
    assert 1 == shared.upload(corrected(failed, email="a@example.org")).tally.created
    assert stored == shared.users(*header[3:])


def test_cells_with_line_breaks_come_back_whole(engine: Engine) -> None:
    """A cell over two lines fails its row alone, and stands in the failed CSV as it was."""
    result = engine.rows('S1,OPSCOM,"Ann\r\nMarie",Lee,a@example.org,a', "S2,OPSCOM,B,C,b@example.org,b")
    assert ({2: "9033"}, 1) == (result.codes, result.tally.created)
    assert "Ann\r\nMarie" == result.failed_rows[0]["first_name"]


# -- result text and mail ------------------------------------------------------------------------------------------


def test_the_result_in_sentences(engine: Engine) -> None:
    """The result says what happened, counts, what is wrong and where first, and what to do."""
    engine.rows(GOOD)
    bad = [f"B{n},OPSCOM,A,B,b{n}@example.org,,03/04/200{n}" for n in range(3)]
    result = engine.file(
        f"{HEADER},date_of_birth", *(f"{row}," for row in (GOOD,)), *bad, "S5,OPSCOM,A,B,s5@example.org,,"
    )
    told, _, support = result.text.partition(" For support ")
    time = catalogue.words().say(local_time(result.receipt.finished_at, ""))
    assert (
        "Your user file users.csv: 3 of 5 rows need correcting "
        "We imported 2 of 5 users (1 new, 1 unchanged). 3 rows need correcting. "
        "What to do "
        "1. Open the file users.20261122T074205Z-2.failed.csv, which is in this folder. In Excel, select Data > From "
        'Text/CSV, choose the file, and select "Do not detect data types". A double click would change dates and '
        "remove leading zeros. "
        "2. Correct the cells. The last column says what is wrong in each row, and import_line which line of your file "
        "it was. Delete rows that are not users. If no row is left, you are done. "
        "3. Save the file as CSV UTF-8. You can leave the last four columns in it. "
        "4. Upload it as usual. We import its rows, and change nobody else. "
        "What needs correcting "
        "- Lines 3-5: date_of_birth must be a date written YYYY-MM-DD, such as 2001-05-23. Enter it in that form, "
        "in a cell with the format Text. For many rows, format the column of your own workbook: Format Cells > Custom "
        "> yyyy-mm-dd."
    ) == told
    assert (
        "- Your file is users.20261122T074205Z-2.csv in the folder .bak. "
        f"- Import {result.receipt.claim.claim_id}, {time} "
        "- Codes: 9033"
    ) == support


def test_rows_that_are_undone_have_room_for_their_reasons_in_two_languages(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's long id in both languages was counted, too: the failed CSV keeps to its bound."""
    monkeypatch.setattr(rejected, "MOST_FAILED_BYTES", 40_000)
    engine.settings(language=("en", "fr"))
    lines = [f"{'é' * 40}{n:010d},OPSCOM,A,B,a{n}@example.org,u{n}" for n in range(100)]
    assert 100 == engine.rows(*lines).tally.created
    result = engine.rows(*(f"x{line[1:]}" for line in lines))
    assert 100 == result.tally.failed
    assert 20 < result.receipt.listed < 100
    assert len(result.failed) <= 40_000 + 1_000


def test_a_whole_column_that_is_wrong_is_one_line(engine: Engine) -> None:
    """A problem of very many rows is told once, with the first line that has it."""
    rows = [f"B{n},OPSCOM,A,B,b{n}@example.org,,03/04/2001" for n in range(412)]
    result = engine.file(f"{HEADER},date_of_birth", *rows)
    assert "- 412 rows, first line 2: date_of_birth must be a date written YYYY-MM-DD, such as 2001-05" in result.text


@pytest.mark.sqlite
def test_values_stand_in_the_failed_csv_alone(engine: Engine) -> None:
    """Result and mail body tell line, field and reason of a row, and none of its values."""
    header = ["unique_id", "login_source", "first_name", "last_name", "email", *list(ATTRIBUTES)[6:]]
    row = ["Q-id" * 20, "Q-source", "Q\tfirst", "Q-last", "Q(at)mail", *(f"Q-{name}" * 30 for name in header[5:])]
    result = engine.upload(table([header, row]).encode())
    assert result.mail is not None
    assert "Q-" in result.failed.decode()
    assert "Q-" not in result.text + result.mail.text + result.mail.html + result.mail.subject
    assert "Q-" not in "".join(line for line in engine.store.conn.iterdump() if "outbox" not in line)


def test_many_kinds_of_problems_are_cut_short(engine: Engine) -> None:
    """The result tells the twenty most frequent problems and points to the failed CSV for the rest."""
    header = ["unique_id", "login_source", "first_name", "last_name", "email", *list(ATTRIBUTES)[6:]]
    result = engine.upload(table([header, ["x\ty"] * len(header)]).encode())
    left = len(result.receipt.problems) - 20
    more = (
        f"There are {left} more kinds of problems. See the last column of the file users.20261122T074205Z.failed.csv."
    )
    assert 20 == result.text.count("has a line break or a tab inside")
    assert more in result.text


def test_lines_of_the_result_are_short(engine: Engine) -> None:
    """The text can be read in any window: no line is longer than 72 letters, but for what must not be broken."""
    result = engine.file("UserUUID,First Name,Last Name,Email Address,password", "1,2,3,4,5")
    folder = engine.folder / result.receipt.claim.claim_id
    assert 72 >= max(map(len, (folder / ".result.txt").read_text().splitlines()))


@pytest.mark.sqlite
def test_a_file_failure_names_cause_place_and_remedy(engine: Engine) -> None:
    """Result and mail of a refused file say that nothing was applied, why, where, and what to do."""
    result = engine.rows(GOOD, 'S2,OPSCOM,"Bob"by,Roy,b@example.org,b')
    assert result.mail is not None
    for text in (result.text, result.mail.text):
        assert "We imported nothing from this file, and nothing has changed in our system." in text
        assert "What to do 1. " in text
        assert " Line 3, column 3" in text
        assert 'In Notepad, delete the marks inside that value, or double them: "Robert ""Bob""".' in text
        assert "2. Save the file and upload it again." in text
        assert "Your file is users.20261122T074205Z.csv in the folder .bak." in text
        assert text.endswith("- Codes: csv.quoting")
    assert {} == result.mail.attachments
    assert "Your user file users.csv was not imported" == result.mail.subject


def test_a_row_failure_is_mailed_with_the_failed_csv(engine: Engine) -> None:
    """The mail goes to the client's address, counts in its subject, with the failed CSV under its name in .bak."""
    result = engine.rows(GOOD, "S2,OPSCOM,Bob,Roy,bob@example,b")
    assert result.mail is not None
    assert ((MAILBOX,), "Your user file users.csv: 1 of 2 rows needs correcting") == (
        result.mail.recipients,
        result.mail.subject,
    )
    assert {"users.20261122T074205Z.failed.csv": result.failed} == result.mail.attachments


def test_several_recipients_and_those_for_all(engine: Engine) -> None:
    """A client may name several addresses; else those named for all are mailed; else nobody."""
    both = engine.settings(failed_import_email=("a@example.org", "b@example.org")).rows("S1,X,,,,").mail
    assert ("a@example.org", "b@example.org") == (both.recipients if both else ())
    assert None is engine.settings(failed_import_email=()).rows("S1,X,,,,").mail
    engine.mail_settings = MailSettings(reply_to="admin@example.org", failed_import_email=("all@example.org",))
    default = engine.rows("S1,X,,,,").mail
    assert default is not None
    assert ("all@example.org",) == default.recipients
    assert "admin@example.org" in default.sender


def test_receipts_mail_clean_runs_too(engine: Engine) -> None:
    """With receipts = true every run is mailed."""
    result = engine.settings(receipts=True).rows(GOOD)
    assert "Your user file users.csv was imported" == (result.mail.subject if result.mail else "")


@pytest.mark.parametrize("cell", ["x", "y" * 9000], ids=["many rows", "large rows"])
def test_a_large_failed_csv_is_attached_in_part(engine: Engine, cell: str) -> None:
    """At most 1000 rows and 5 MiB are attached, whole rows only; then the mail says where the whole lies."""
    result = engine.settings(unknown_columns="ignore").rows(
        *(f'S{n},X,A,B,s{n}@example.org,,"{cell}\n{n}"' for n in range(1200)), header=f"{HEADER},Notes"
    )
    assert result.mail is not None
    ((name, attached),) = result.mail.attachments.items()
    rows = list(csv.reader(io.StringIO(attached.decode("utf-8-sig"), newline=""), strict=True))
    assert 5 << 20 >= len(attached)
    assert (1000 if cell == "x" else 550) <= len(rows) - 1 <= 1000
    assert {11} == set(map(len, rows))
    assert f"Open the file {name}, which is in the folder .bak." in result.mail.text
    assert f"Attached are only its first {len(rows) - 1:,} rows." in result.mail.text
    assert 1200 == len(result.failed_rows)


def test_what_is_written_of_very_many_failed_rows_is_bounded(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a bound rows are counted, not listed: result, mail and failed CSV say how many, and what to do then."""
    monkeypatch.setattr(rejected, "MOST_FAILED_ROWS", 3)
    monkeypatch.setattr(rejected, "MOST_PROBLEMS", 4)
    engine.rows(GOOD)
    undone = [f"T{n},OPSCOM,A,B,ann@example.org," for n in range(1200)]
    result = engine.rows(*(f"R{n},X,A,,r{n}@example,r{n}" for n in range(1300)), *undone)

    assert (2500, 3) == (result.tally.failed, len(result.failed_rows))
    groups = {(group.code, group.field, group.rows) for group in result.receipt.problems}
    assert {
        ("9015", "login_source", 1300),
        ("9033", "email", 1300),
        ("9018", "last_name", 1300),
        ("9019", "email", 1200),
    } == groups
    assert [(4,)] == engine.store.conn.execute("SELECT count(*) FROM import_problems").fetchall()
    more = [
        row["import_reason"].count("There are 2,497 more rows for which this file has no room.")
        for row in result.failed_rows
    ]
    assert [0, 0, 1] == more
    assert result.mail is not None
    for text in (result.text, result.mail.text):
        assert "It has 3 of the 2,500 rows that need correcting." in text
        assert "Upload the whole file again. Users that we imported stay as they are." in text
        assert "Attached" not in text
    assert 3 == engine.upload(corrected(result, login_source="OPSCOM", last_name="B", email="")).tally.rows


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("names", "rows", "row"),
    [
        (list(ATTRIBUTES), 20_000, ",\x01" * 23),
        (["unique_id", *(f"c{n}" for n in range(255))], 45_000, ""),
        (["unique_id", "first_name", "last_name", "email"], 90_000, ",,,"),
    ],
    ids=["wrong cells", "short rows", "nothing but ids"],
)
def test_a_small_file_does_not_become_a_large_answer(engine: Engine, names: list[str], rows: int, row: str) -> None:
    """Rows of a few bytes, with many columns or problems, take at most 32 MiB in `.bak` and 20 in the database."""
    engine.settings(unknown_columns="ignore", login_source="OPSCOM")
    result = engine.file(",".join(names), *(f"{n}{row}" for n in range(rows)))
    assert rows == result.tally.failed == max(group.rows for group in result.receipt.problems)
    assert 1 << 20 < len(result.failed) < 32 << 20
    (size_bytes,) = engine.store.conn.execute("SELECT page_count * 4096 FROM pragma_page_count").fetchone()
    assert size_bytes < 20 << 20


@pytest.mark.parametrize("languages", [("en",), ("fr",), ("en", "fr")])
def test_of_very_many_rows_the_later_ones_refer_to_the_first(engine: Engine, languages: tuple[str, ...]) -> None:
    """Each row says what is wrong with it; what to do about it is told in 1000 rows, and where to read it in others."""
    engine.settings(language=languages)
    days = [f"S{n},OPSCOM,Ann,Lee,a{n}@example.org,u{n},03/04/2001,Ontario" for n in range(1100)]
    other = "S2000,OPSCOM,Ann,Lee,b@example.org,v,2001-04-03,Manitoba"
    reasons = [
        row["import_reason"] for row in engine.file(f"{HEADER},date_of_birth,province", *days, other).failed_rows
    ]
    for language, texts in zip(languages, zip(*(each.split(" / ") for each in reasons), strict=True), strict=True):
        day, remedy = catalogue.words(language).sentences(message("9033/date", column="date_of_birth"))
        code = catalogue.words(language).explained(
            message("9033/province_meant!", column="province", value="Ontario", code="ON")
        )
        above = catalogue.words(language).say(message("as_above", line="2"))
        assert {f"{code} {day} {remedy}"} == {*texts[:1000]}
        assert {f"{code} {day} {above}"} == {*texts[1000:1100]}
        assert texts[1100].endswith("MB.")


def test_names_of_files_are_shown_printable(engine: Engine) -> None:
    """A file name of any bytes is shown escaped, in the subject too."""
    result = engine.file(HEADER, "S1,X,,,,", name="a\x1b[31m\nb\udcff\u202e.csv")
    assert r"a\x1b[31m\nb\xff\u202e.csv" in result.text
    assert result.mail is not None
    assert r"Your user file a\x1b[31m\nb\xff\u202e.csv: its only row needs correcting" == result.mail.subject


def test_every_code_has_cause_and_remedy() -> None:
    """The table of codes says of each what it is, why it happens, what to do."""
    assert [] == [
        code for code in CODES.values() if not (code.title and code.cause.endswith(".") and code.remedy.endswith("."))
    ]
    assert {
        "9003",
        "9013",
        "9014",
        "9015",
        "9016",
        "9017",
        "9018",
        "9019",
        "9020",
        "9022",
        "9030",
        "9033",
        "id.recycled",
    } == {code.code for code in CODES.values() if code.level is Level.ROW}


def test_echoed_rows_hold_only_what_was_uploaded(engine: Engine) -> None:
    """Corrections made by the import, such as normalised letters, do not appear in the cells sent back."""
    result = engine.rows("S1,OPSCOM,Zoe\u0301,Lee\xa0,bad,ann")
    assert ["S1", "OPSCOM", "Zoe\u0301", "Lee\xa0", "bad", "ann"] == without_report(result.failed_rows[0])
