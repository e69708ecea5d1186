"""Text to rows: delimiters, quotation marks, line ends, limits; and that no bytes do any harm."""

from __future__ import annotations

import contextlib
import csv
import io
from typing import Literal

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from importer.file import table
from importer.file.scan import CHUNK_BYTES
from importer.file.table import Row
from importer.model import FileRejected, HoldReason, message
from importer.settings import FileSettings
from importer.wording.catalogue import words
from tests.engine import HEADER, Engine
from tests.reading import CLIENT, ROW, ending, read, refused, reread


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_delimiters_and_line_ends(engine: Engine, delimiter: str, line_end: str) -> None:
    """Each of the four delimiters is found, with each way to end a line."""
    result = engine.upload(f"{HEADER}{line_end}{ROW}{line_end}".replace(",", delimiter).encode())
    assert 1 == result.tally.created


def test_mixed_line_ends_count_as_an_editor_counts_them(engine: Engine) -> None:
    """Line feed, carriage return and both together each end one line, in one file too."""
    result = engine.upload(f"{HEADER}\r\nS1,X,,,,\rS2,X,,,,\n\r\nS3,X,,,,\n\rS4,X,,,,\n".encode())
    assert [2, 3, 5, 7] == sorted(result.codes)


def test_sep_line_is_tried_first_and_counted_as_a_line(engine: Engine) -> None:
    """Excel's first line "sep=;" names the delimiter and is line 1."""
    result = engine.file("sep=;", HEADER.replace(",", ";"), "S1;X;Ann;Lee, M.Sc.;a@example.org;a")
    assert {3: "9015"} == result.codes
    assert "Lee, M.Sc." == result.failed_rows[0]["last_name"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("word", ["Column", "Colonne"])
def test_names_that_excel_made_up_are_passed_over(engine: Engine, word: str, delimiter: str) -> None:
    """A table that Excel loaded without detecting types has a line of numbered names above: that is line 1."""
    numbered = delimiter.join(f"{word}{number}" for number in range(1, HEADER.count(",") + 2))
    engine.settings(columns={"1": "", "Col": "city"})  # a part of such a name is none of a client's names
    result = engine.file(
        numbered, HEADER.replace(",", delimiter), "S1,X,Ann,Lee,a@example.org,a".replace(",", delimiter)
    )
    assert {3: "9015"} == result.codes


def test_numbered_names_of_a_client_are_its_names(engine: Engine) -> None:
    """Where a client's columns are called so, the line is its header."""
    names = ["unique_id", "login_source", "first_name", "last_name", "email"]
    mapped = {f"Column{number}": name for number, name in enumerate(names, 1)}
    result = engine.settings(columns=mapped).file(",".join(mapped), ROW.rpartition(",")[0])
    assert 1 == result.tally.created


def test_a_wrong_sep_line_does_no_harm(engine: Engine) -> None:
    """When "sep=" names a delimiter that the header does not have, the others are tried."""
    assert 1 == engine.file("sep=;", HEADER, ROW).tally.created
    assert 1 == engine.file('"sep=:"', HEADER, ROW).tally.unchanged


def test_most_known_names_decide_the_delimiter(engine: Engine) -> None:
    """A header with semicolons inside a comma-separated name, or the other way round, is still read rightly."""
    engine.settings(unknown_columns="ignore")
    result = engine.file(
        "unique_id;login_source;first_name;last_name;email;Notes, a, b, c, d, e, f", "1;OPSCOM;A;B;a@example.org;"
    )
    assert 1 == result.tally.created


@pytest.mark.parametrize(
    ("header", "strange"),
    [
        pytest.param("unique_id|login_source|a,email,foo,bar|b", ("a,email,foo,bar", "b"), id="most known names"),
        pytest.param("UserUUID;Surname;a,b,c,d,e;f", ("a,b,c,d,e", "f"), id="most near misses"),
        pytest.param("foo;bar;baz,qux", ("foo", "bar", "baz,qux"), id="most fields"),
        pytest.param("foo;bar,baz", ("foo;bar", "baz"), id="the comma"),
    ],
)
def test_how_the_delimiter_is_chosen(engine: Engine, header: str, strange: tuple[str, ...]) -> None:
    """Most known names decide, then most near misses, then most fields, then the comma."""
    assert message("header.unknown/strange_many", names=strange) in engine.file(header, "1").refusal


def test_names_that_nothing_separates_are_told_as_such(engine: Engine) -> None:
    """Where neither of the delimiters is between the names, that is the one thing to correct."""
    assert (message("header.unknown/one_name", line="1"),) == engine.file("unique_id.login_source", "1.2").refusal


@pytest.mark.parametrize("separator", ["^", "~", ":", "#", "\xa6"])
@pytest.mark.parametrize("names", [("unique_id", "login_source", "x"), ('"Student ID"', '"First Name"', '"Last Name"')])
def test_another_separator_is_told(engine: Engine, separator: str, names: tuple[str, ...]) -> None:
    """A character that separates known names is named as what it is."""
    expected = message("header.unknown/separator", line="1", separator=separator)
    assert (expected,) == engine.file(separator.join(names), "1").refusal


@pytest.mark.parametrize("separator", ["::", "~~", "^|^", "|~|", "\x01"])
def test_a_separator_that_excel_cannot_take_has_another_remedy(engine: Engine, separator: str) -> None:
    """Several characters, or one that nobody can type, can be told but not chosen in Excel."""
    expected = message(
        "header.unknown/separator_other", line="1", separator="\\x01" if separator == "\x01" else separator
    )
    assert (expected,) == engine.file(separator.join(("unique_id", "login_source", "email")), "1").refusal


def test_doubled_delimiters_have_blank_columns_between_them(engine: Engine) -> None:
    """Where each delimiter is written twice, every second column has neither name nor values, and does no harm."""
    result = engine.file(HEADER.replace(",", "||"), "S1,OPSCOM,Ann,Lee,a@example.org,a".replace(",", "||"))
    assert ("", 1, {"S1": "Lee"}) == (result.code, result.tally.created, engine.column("last_name"))


@pytest.mark.parametrize("marked", ["*{}", "{}*", "%{}", "#{}", "${}", "{}:"])
def test_marks_around_names_are_no_separators(engine: Engine, marked: str) -> None:
    """What is written at each name is told name by name: it is the comma that separates them."""
    written = [marked.format(name) for name in ("unique_id", "first_name", "email")]
    assert [("header.unknown/spelling", name) for name in written] == [
        (reason.key, dict(reason.params)["name"])
        for reason in engine.file(",".join(written), "1,2,3").refusal
        if reason.code == "header.unknown"
    ]


@pytest.mark.parametrize("names", ["unique_id  login_source first_name", "Student ID    First Name    Last Name"])
def test_columns_of_a_fixed_width_are_told(engine: Engine, names: str) -> None:
    """Names that only spaces separate are those of a report with columns of a fixed width."""
    expected = message("header.unknown/spaces", line="1")
    assert (expected,) == engine.file(names, "A1         OPSCOM       Ann").refusal


@pytest.mark.parametrize("line_end", ["\x85", "\u2028", "\x1e", r"\n", r"\r\n"])
def test_line_ends_of_another_kind_are_told_as_such(engine: Engine, line_end: str) -> None:
    """A file whose lines end in another way is one long line of names; that is told, and none of the names."""
    content = f"{HEADER}{line_end}{ROW}{line_end}".encode()
    assert (message("header.unknown/one_line"),) == engine.upload(content).refusal
    assert (message("header.unknown/one_line"),) == engine.upload(content + b"\n").refusal


def test_cells_may_hold_delimiters_quotes_and_line_breaks() -> None:
    """A quoted cell may hold the delimiter, doubled quotes and line breaks; the line is where its row begins."""
    content = b'unique_id,note,city\n1,"a, ""b""\r\nc","d"\n\n2,"",e\n'
    assert [Row(2, ["1", 'a, "b"\r\nc', "d"]), Row(5, ["2", "", "e"])] == read(content)


def test_quotes_that_rfc_4180_does_not_know_and_people_write() -> None:
    """A blank before an opening quote is skipped; a quote in a cell that does not begin with one is literal."""
    content = b'unique_id,height,city\n1, "5\'10""",Ottawa\n2,5\'10",Hull\n'
    assert [["1", "5'10\"", "Ottawa"], ["2", "5'10\"", "Hull"]] == [row.cells for row in read(content)]


def test_a_broken_quotation_is_refused_where_it_began_and_where_it_broke(engine: Engine) -> None:
    """What follows a closing quote refuses the file; the answer names where the cell began and where it broke."""
    result = engine.rows('S1,OPSCOM,Ann,"Lee', 'the "younger" one",a@example.org,a')
    assert "csv.quoting" == result.code
    assert (message("csv.quoting/earlier", line="2", column="4"),) == result.refusal
    assert 2 == (result.receipt.refusal.line if result.receipt.refusal else 0)


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ('"Robert "Bob" Roy"', "inner"),
        ('"5" nails"', "inner"),
        (r'"Robert \"Bob\" Roy"', "backslash"),
        ('"Lee" ', "blank"),
        ('"Lee"  ', "blank"),
        ('"Lee\u201d,"Roy"', "curly"),
    ],
)
@pytest.mark.parametrize("after", [",a@example.org,a", ""])
def test_what_follows_a_closing_quotation_mark_is_told(engine: Engine, cell: str, kind: str, after: str) -> None:
    """A space behind the closing mark has another remedy than marks inside the value."""
    expected = message(f"csv.quoting/{kind}", line="2", column="4")
    assert (expected,) == engine.rows(f"S1,OPSCOM,Ann,{cell}{after}").refusal


def test_an_open_quote_is_refused_where_it_opened_with_both_causes(engine: Engine) -> None:
    """A quote that is never closed: the answer names its line and column, and that the upload may be cut off."""
    result = engine.rows(ROW, 'S2,OPSCOM,Ann,"Lee,a@example.org,a', "S3,OPSCOM,Bob,Roy,b@example.org,b")
    assert "upload.incomplete" == result.code
    assert (message("upload.incomplete/quotation_mark", line="3", column="4"),) == result.refusal
    assert "the upload was probably interrupted. Upload the whole file again. If the upload was not" in result.detail


def test_a_quotation_mark_that_is_closed_by_a_curly_one_is_told(engine: Engine) -> None:
    """Word processors turn marks: the file looks cut off, and the answer names the marks."""
    result = engine.rows(ROW, 'S2,OPSCOM,Ann,"Lee\u201d,a@example.org,a', "S3,OPSCOM,Bob,Roy,b@example.org,b")
    assert (message("upload.incomplete/curly_mark", line="3", column="4"),) == result.refusal


def test_broken_quotes_in_the_header_are_told_as_such(engine: Engine) -> None:
    """Quotation marks of the header are judged as strictly as those of the rows, before its names are."""
    assert "upload.incomplete" == engine.file('"unique_id,login_source', "1,OPSCOM").code
    assert "csv.quoting" == engine.file('"unique_id"x,login_source', "1,OPSCOM").code


def test_blank_rows_and_trailing_empty_columns_are_skipped(engine: Engine) -> None:
    """Rows of nothing but blanks and delimiters, and columns that are empty to the end, are no rows and no columns."""
    result = engine.file(f"{HEADER},,,", "", ",,,,,,,,", f"{ROW},,,", "   ", ' ,"", ,,,,,,', "S2,X,,,,,,,")
    assert {7: "9015; 9017; 9018; 9016"} == result.codes
    assert 2 == result.tally.rows
    assert "," * 3 not in result.failed.decode().partition("\n")[0]


def test_what_excel_leaves_to_the_right_is_no_column(engine: Engine) -> None:
    """16,384 columns of which only the first have names are not too many."""
    assert 1 == engine.file(HEADER + "," * 16_378, ROW + "," * 16_378).tally.created


def test_a_trailing_end_of_file_mark_is_dropped_with_a_warning(engine: Engine) -> None:
    """Byte 0x1A at the very end, as DOS programs write it, is left out and told."""
    result = engine.upload(f"{HEADER}\r\n{ROW}\r\n\x1a".encode())
    assert (1, True) == (result.tally.created, "file.substitute" in result.warnings)
    assert "file.unterminated" not in result.warnings
    assert HoldReason.NONE is ending(f"{HEADER}\r\n{ROW}\r\n\x1a".encode())


def test_identifiers_are_text(engine: Engine) -> None:
    """Leading zeros, long digits and what looks like a number stay letter for letter."""
    engine.rows("007,OPSCOM,Ann,Lee,a@example.org,0012", "1e3,OPSCOM,Bob,Roy,b@example.org,12345678901234567890")
    assert {"007": "0012", "1e3": "12345678901234567890"} == engine.column("user_name")


@given(
    rows=st.lists(
        st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=3, max_size=3)
    ),
    delimiter=st.sampled_from(",;\t|"),
    # Only where a row ends in both, the module puts every cell with either of them between quotes.
    line_end_and_quoting=st.sampled_from([("\r\n", csv.QUOTE_MINIMAL), ("\n", csv.QUOTE_ALL), ("\r", csv.QUOTE_ALL)]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
@example(
    rows=[["a\rb", '"', "\x1a"]], delimiter=",", line_end_and_quoting=("\r\n", csv.QUOTE_MINIMAL), encoding="utf-16"
)
def test_what_is_written_is_read(
    rows: list[list[str]], delimiter: str, line_end_and_quoting: tuple[str, Literal[0, 1]], encoding: str
) -> None:
    """Any table of cells that the csv module writes, in any dialect and encoding, is read back as it was."""
    out = io.StringIO(newline="")
    line_end, quoting = line_end_and_quoting
    writer = csv.writer(out, delimiter=delimiter, lineterminator=line_end, quoting=quoting)
    writer.writerow(["unique_id", "note", "city"])
    writer.writerows(rows)
    content = out.getvalue().encode(encoding)
    # Blanks before a cell are not kept, as those before an opening quote may not be.
    shown = [[cell.lstrip(" ") for cell in row] for row in rows if any(map(str.strip, row))]
    found = read(content)
    assert shown == [[cell.lstrip(" ") for cell in row.cells] for row in found]
    assert found == reread(content, [row.line for row in found])
    assert HoldReason.NONE is ending(content)
    assert ending(content[: -len(line_end.encode(encoding.removesuffix("-sig").replace("16", "16-le")))]) in (
        HoldReason.UNTERMINATED,
        HoldReason.NONE,
    )


@given(
    lines=st.lists(st.text("ab ,'\t\x0b\u2028é", max_size=8) | st.text('ab ,"', max_size=8) | st.just('"a, b",c')),
    line_end=st.sampled_from(["\n", "\r\n", "\r", "\n\r\n"]),
)
@example(lines=["a", 'b,"c', 'd,"e', '"f",g'], line_end="\n")
@example(lines=["a, b", "c,  d"], line_end="\n")
@example(lines=["a," + "b" * 101, "c"], line_end="\n")
def test_what_is_split_is_what_the_csv_module_reads(lines: list[str], line_end: str) -> None:
    """Lines below the first chunk are split in faster ways if they can be, with the same cells."""
    filler = ["1," + "x" * 98] * (CHUNK_BYTES // 100)
    text = line_end.join((*lines, ""))
    content = line_end.join(("unique_id,city", *filler, text)).encode()
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    try:
        expected = [cells for cells in reader if any(map(str.strip, cells))]
    except csv.Error:
        expected = None
    try:
        found = read(content, limits=FileSettings(max_cell_chars=100))
    except FileRejected:
        assert expected is None or any(len(cell) > 100 for cells in expected for cell in cells)
    else:
        assert expected == [row.cells for row in found[len(filler) :]]


@given(content=st.binary(max_size=300) | st.text('",;\t\n\r ab=sep\0\ufeffé', max_size=60).map(str.encode))
@example(content=b"x" * 40)
@example(content=b"\xef\xbb\xbf\r\0")
@pytest.mark.parametrize("begin", [b"", b"unique_id,first_name\n", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbfsep=;\r\n"])
def test_no_bytes_crash_the_parser(begin: bytes, content: bytes) -> None:
    """Whatever the bytes, a file is read or refused, and its completeness is told."""
    for fallback in ("", "cp1252", "shift_jis"):
        client = msgspec.structs.replace(CLIENT, fallback_encoding=fallback)
        with contextlib.suppress(FileRejected):
            read(begin + content, client, FileSettings(max_line_bytes=64, max_cell_chars=32, max_columns=8, max_rows=5))
    assert ending(begin + content) in HoldReason


# -- limits --------------------------------------------------------------------------------------------------------


SMALL = FileSettings(max_file_bytes=5000, max_line_bytes=1000, max_cell_chars=100, max_columns=4, max_rows=3)


@pytest.mark.parametrize(
    ("content", "code", "place"),
    [
        pytest.param(b"unique_id\n" + b"1\n" * 2496, "limit.file", "4 KB", id="file"),
        pytest.param(b"unique_id\r1\r" + b"x" * 1001, "limit.line", "Line 3", id="line"),
        pytest.param(
            b"\xff\xfe" + ("unique_id\n1\n" + "x" * 1001).encode("utf-16-le"), "limit.line", "Line 3", id="line16"
        ),
        pytest.param(b"unique_id,city\n1," + b"x" * 101 + b"\n", "limit.cell", "line 2, column 2", id="cell"),
        pytest.param(
            b"unique_id,city,street\n1," + b"x" * 101 + b',"y"\n', "limit.cell", "line 2, column 2", id="followed"
        ),
        pytest.param(b'unique_id,city\n1,"' + b"x\n" * 51 + b'"\n', "limit.cell", "line 2, column 2", id="lines"),
        pytest.param(b"unique_id," + b"x" * 101 + b"\n1,2\n", "limit.cell", "line 1", id="name"),
        pytest.param(b"unique_id,a,b,c,d\n1,2,3,4,5\n", "limit.columns", "5 columns. At most 4", id="columns"),
        pytest.param(b"unique_id\n1\n\n\n2\n3\n\n4\n", "limit.rows", "more than 3 rows", id="rows"),
    ],
)
def test_limits(content: bytes, code: str, place: str) -> None:
    """What is over a limit refuses the file by that limit, with its place."""
    rejected = refused(content, limits=SMALL)
    assert code == rejected.code
    assert place in words().refusal(rejected)


def test_blank_rows_are_not_read_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blank rows are skipped, but for so many that they would keep others waiting."""
    monkeypatch.setattr(table, "MOST_BLANK_ROWS", 3)
    expected = message("limit.rows/blank", line="8", limit=3)
    assert (expected,) == refused(b"unique_id\n1\n\n\n,\n\n2\n").reasons
    assert 2 == len(read(b"unique_id\n1\n\n\n,\n2\n"))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"unique_id\n" + b"1" * 100 + b"\n2\n3\n" + b"\n" * 4885, id="file"),
        pytest.param(b"unique_id,a,b,c,,,,\n" + b",".join([b"x" * 100] * 4) + b"," * 597 + b"\n", id="cells and line"),
        pytest.param(b"\n\n\nunique_id\n\n1\n\n2\n\n\n3\n\n\n\n\n", id="rows between blank lines"),
    ],
)
def test_limits_are_not_below_what_they_say(content: bytes) -> None:
    """What just fits is taken; blank lines are no rows."""
    assert 1 <= len(read(content, limits=SMALL)) <= 3


def test_a_row_over_many_lines_is_bounded() -> None:
    """A row that goes on for eight times a line, each cell within its limit, is refused where it begins."""
    limits = FileSettings(max_line_bytes=1 << 16, max_cell_chars=1 << 16)
    lines = (b'"' + b"x" * 60_000 + b'\n",') * 40
    rejected = refused(b"unique_id,city\n1,2\n3," + lines + b"\n", limits=limits)
    assert ("limit.line", 3) == (rejected.code, rejected.line)
