"""Bytes to rows: kinds of files, encodings, delimiters, quotation marks, line ends, limits."""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import io
import json
import tempfile
import zipfile
from typing import Literal

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from importer import parse
from importer.model import FileRejected
from importer.parse import Completeness, Row, Table, completeness, survey
from importer.settings import ClientSettings, FileSettings
from tests.engine import HEADER, Engine, table

ROW = "S1,OPSCOM,Zoé,Tremblay,zoe@example.org,zoe"
CLIENT = ClientSettings(name="acme", inbox="/srv/sftp/acme", unknown_columns="ignore", login_source="OPSCOM")


def read(content: bytes, client: ClientSettings = CLIENT, limits: FileSettings | None = None) -> list[Row]:
    """Return the rows of a file with this content."""
    settings = limits or FileSettings()
    with tempfile.TemporaryFile() as raw:
        raw.write(content)
        raw.flush()
        return list(Table(raw, survey(raw, settings, client.fallback_encoding), settings, client).rows())


def reread(content: bytes, lines: list[int]) -> list[Row]:
    """Return the rows that begin in these lines, as they are read again one by one."""
    with tempfile.TemporaryFile() as raw:
        raw.write(content)
        raw.flush()
        return list(Table(raw, survey(raw, FileSettings()), FileSettings(), CLIENT).reread(lines))


def ending(content: bytes, client: ClientSettings = CLIENT) -> Completeness:
    """Return what `completeness` says of a file with this content."""
    with tempfile.TemporaryFile() as raw:
        raw.write(content)
        raw.flush()
        return completeness(raw, client)


def refused(content: bytes, client: ClientSettings = CLIENT, limits: FileSettings | None = None) -> FileRejected:
    """Return why a file with this content is refused."""
    with pytest.raises(FileRejected) as caught:
        read(content, client, limits)
    return caught.value


# -- encodings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(f"{HEADER}\n{ROW}\n".encode(), id="utf-8"),
        pytest.param(f"{HEADER}\r\n{ROW}\r\n".encode("utf-8-sig"), id="Excel's CSV UTF-8, with its mark"),
        pytest.param(f"{HEADER}\r\n{ROW}\r\n".replace(",", "\t").encode("utf-16"), id="Excel's Unicode Text"),
        pytest.param(codecs.BOM_UTF16_BE + f"{HEADER}\n{ROW}\n".encode("utf-16-be"), id="utf-16 big endian"),
    ],
)
def test_encodings_with_a_sign(engine: Engine, content: bytes) -> None:
    """UTF-8 with or without its mark, and UTF-16 with its mark, are read as what they are."""
    assert (1, "") == (engine.upload(content).tally.created, engine.upload(content).code)
    assert {"S1": "Zoé"} == engine.column("first_name")


def test_windows_1252_is_refused_with_its_place_and_both_remedies(engine: Engine) -> None:
    """A letter that is not UTF-8 refuses the file, with line, byte and what to do; nothing is guessed."""
    result = engine.upload(f"{HEADER}\r\nS0,OPSCOM,Ann,Lee,a@example.org,a\r\n{ROW}\r\n".encode("cp1252"))
    at = len(f"{HEADER}\r\nS0,OPSCOM,Ann,Lee,a@example.org,a\r\nS1,OPSCOM,Zo")
    assert "encoding.invalid" == result.code
    assert f"line 3, byte {at} (0xe9)" in result.detail
    assert 'Save the file as "CSV UTF-8", or ask us to set a fallback encoding' in result.detail
    assert {} == engine.users()


def test_fallback_encoding_is_taken_with_a_warning_that_quotes_what_was_read(engine: Engine) -> None:
    """With a fallback encoding the file is read, and the answer quotes letters so that a person sees wrong ones."""
    result = engine.settings(fallback_encoding="cp1252").upload(f"{HEADER}\r\n{ROW}\r\n".encode("cp1252"))
    assert {"S1": "Zoé"} == engine.column("first_name")
    assert 'read as cp1252. Check these: line 2 "Zoé"' in result.warnings["encoding.fallback"].detail
    assert 'line 2 "Zoé"' in result.text


def test_fallback_samples_hold_no_personal_values(engine: Engine) -> None:
    """The letters quoted to show how a file was read are never those of a personal attribute."""
    engine.settings(fallback_encoding="cp1252")
    result = engine.upload(f"{HEADER},driver_licence_num\n{ROW},É-77\n".encode("cp1252"))
    assert "É-77" not in result.text
    assert 'Check these: line 2 "Zoé", line 2 driver_licence_num. Better' in result.text


def test_fallback_samples_are_those_of_the_header_too(engine: Engine) -> None:
    """Where only a name of a column has letters beyond ASCII, it is what is quoted."""
    engine.settings(fallback_encoding="cp1252", columns={"Prénom": "first_name"})
    content = f"{HEADER},Prénom\nS1,OPSCOM,,Roy,z@example.org,z,Ann\n".replace("first_name,", "").replace(",,", ",")
    result = engine.upload(content.encode("cp1252"))
    assert ({"S1": "Ann"}, 1) == (engine.column("first_name"), result.tally.created)
    assert 'Check these: line 1 "Prénom". Better' in result.text


def test_a_fallback_without_samples_asks_for_no_look(engine: Engine) -> None:
    """Where all letters beyond ASCII stand in columns that are ignored, there is nothing to look at."""
    engine.settings(fallback_encoding="cp1252", unknown_columns="ignore")
    result = engine.upload(f"{HEADER},Note\nS1,OPSCOM,Ann,Roy,z@example.org,z,é\n".encode("cp1252"))
    assert 'was read as cp1252. Better, save it as "CSV UTF-8"' in result.text


def test_fallback_samples_are_of_rows_that_fit_the_header(engine: Engine) -> None:
    """A row with a cell too many has its cells in other columns: what is personal could be among those quoted."""
    engine.settings(fallback_encoding="cp1252")
    header = HEADER.replace(",email", ",driver_licence_num,email")
    rows = "S1,OPSCOM,A,B,Jr,\xc9-77,a@example.org,a\nS2,OPSCOM,\xc9va,B,,b@example.org,b,,\n"
    result = engine.upload(f"{header}\n{rows}".encode("cp1252"))
    assert {2: "9003"} == result.codes
    assert 'Check these: line 3 "\xc9va". Better' in result.text


def test_fallback_samples_are_on_one_line(engine: Engine) -> None:
    """A quoted cell with a line break is shown escaped."""
    engine.settings(fallback_encoding="cp1252")
    result = engine.upload(f'{HEADER}\nS1,OPSCOM,"é\nx",Roy,z@example.org,z\n'.encode("cp1252"))
    assert r'line 2 "é\nx"' in result.warnings["encoding.fallback"].detail


def test_fallback_is_not_taken_for_a_stray_byte_in_utf8(engine: Engine) -> None:
    """One stray byte in a UTF-8 file refuses it: reading all of it in the fallback would spoil every other letter."""
    content = f"{HEADER}\n{ROW}\n".encode() + "S2,OPSCOM,René,Roy,r@example.org,r\n".encode("cp1252")
    result = engine.settings(fallback_encoding="cp1252").upload(content)
    assert "encoding.invalid" == result.code
    assert "line 3" in result.detail
    assert "as the others are. Write the letter again" in result.detail
    assert "fallback" not in result.text


def test_bytes_undefined_in_the_fallback_are_refused(engine: Engine) -> None:
    """A byte that neither UTF-8 nor the fallback knows refuses the file, at its place."""
    content = f"{HEADER}\nS1,OPSCOM,Zo\x81,Tremblay,z@example.org,z\n".encode("latin-1")
    result = engine.settings(fallback_encoding="cp1252").upload(content)
    assert "encoding.invalid" == result.code
    assert f"line 2, byte {content.index(0x81)}: not a letter in UTF-8, nor in cp1252" in result.detail
    assert 'Save the file as "CSV UTF-8"' in result.detail
    assert "ask us" not in result.detail


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["Zoe", "Zoé"])
def test_utf16_without_its_mark_is_named_as_such(engine: Engine, codec: str, name: str) -> None:
    """UTF-16 without a mark is refused by its name, with letters beyond ASCII or without, fallback or not."""
    engine.settings(fallback_encoding="cp1252")
    result = engine.upload(f"{HEADER}\r\nS1,OPSCOM,{name},Roy,z@example.org,z\r\n".encode(codec))
    assert "encoding.invalid" == result.code
    assert "looks like UTF-16 without its mark" in result.detail


def test_utf32_is_refused_by_its_name() -> None:
    """UTF-32, whose mark begins with that of UTF-16, is not taken for it."""
    assert "the file is UTF-32" in refused(f"{HEADER}\n{ROW}\n".encode("utf-32")).detail


@pytest.mark.parametrize(
    ("content", "line", "byte"),
    [
        pytest.param(b"unique_id\nS1\nS\x002\n", 3, 14, id="utf-8"),
        pytest.param(b"unique_id\rS1\rS\x002\r", 3, 14, id="old Mac line ends"),
        pytest.param("\ufeffunique_id\nS1\nS\x002\n".encode("utf-16-le"), 3, 30, id="utf-16"),
        pytest.param("\ufeffunique_id\né\nS\x002\n".encode(), 3, 17, id="behind a mark and a wide letter"),
        pytest.param(b"unique_id\nS1\n" + b"\0" * 4096, 3, 13, id="a tail of zeros, as after a crash"),
    ],
)
def test_nul_is_refused_with_its_place(content: bytes, line: int, byte: int) -> None:
    """A NUL refuses the file and is named by line and byte."""
    rejected = refused(content)
    assert ("encoding.nul", line) == (rejected.code, rejected.line)
    assert f"line {line}: NUL at byte {byte}." in rejected.detail


@pytest.mark.parametrize("cut", ["unique_id\nZoé".encode()[:-1], "\ufeffunique_id\nZo".encode("utf-16-le")[:-1]])
def test_a_file_cut_within_a_letter_is_incomplete(cut: bytes) -> None:
    """A file that ends in the middle of a letter, and is otherwise fine, was cut off."""
    whole = "unique_id\né\n".encode() + cut[10:] if cut[:1] == b"u" else cut
    assert "upload.incomplete" == refused(whole).code


# -- what is not CSV -----------------------------------------------------------------------------------------------


def archive(*names: str) -> bytes:
    """Return a zip archive of these files, which is what workbooks are."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name in names:
            packed.writestr(name, "<x/>")
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        pytest.param(archive("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook", id="xlsx"),
        pytest.param(archive("mimetype"), "zip archive", id="zip"),
        pytest.param(
            b"PK\x03\x04" + bytes(26) + b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet",
            "a LibreOffice document",
            id="ods",
        ),
        pytest.param(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(504), "an old Excel workbook", id="xls"),
        pytest.param(gzip.compress(b"unique_id\n1\n"), "gzip", id="gzip"),
        pytest.param(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF", id="pdf"),
        pytest.param(b"\n  <!DOCTYPE html>\n<html><body><table>", "web page", id="html"),
        pytest.param(b"<table border=1><tr><td>unique_id", "web page", id="html table named csv"),
        pytest.param(
            b'<?xml version="1.0"?>\n<?mso-application progid="Excel.Sheet"?>\n<Workbook', "Excel", id="xml97"
        ),
        pytest.param(b"<users><user id='1'/></users>", "XML", id="xml"),
        pytest.param(json.dumps([{"unique_id": "1"}]).encode(), "JSON", id="json"),
        pytest.param(b"{\\rtf1\\ansi unique_id}", "rich text", id="rtf"),
        pytest.param("\ufeff<html>".encode("utf-16-le"), "web page", id="html in utf-16"),
    ],
)
def test_other_kinds_of_files_are_named(content: bytes, kind: str) -> None:
    """A file that is no CSV is refused by what it is, and with how to get CSV from it; and at once, never held."""
    rejected = refused(content)
    assert "file.not_csv" == rejected.code
    assert kind in rejected.detail
    assert any(word in rejected.detail for word in ("Save", "Export", "Unpack"))
    assert Completeness.WHOLE is ending(content)


def test_an_excel_workbook_is_answered_with_the_menu_to_use(engine: Engine) -> None:
    """Whoever uploads a workbook is told where CSV is in the program at hand, in the result and in the mail."""
    result = engine.upload(archive("[Content_Types].xml", "xl/workbook.xml"))
    assert "this is an Excel workbook, not CSV. In Excel choose Save As, CSV UTF-8" in result.text
    assert result.mail is not None
    assert "In Excel choose Save As, CSV UTF-8" in result.mail.text


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xef\xbb\xbf", id="a byte order mark"),
        pytest.param(b"\r\n  \r\n\t\r\n", id="blanks"),
        pytest.param(b"sep=;\r\n", id="sep="),
        pytest.param(b",,,\r\n,,,\r\n", id="delimiters"),
        pytest.param(b"\x1a", id="an end-of-file mark"),
        pytest.param("\ufeff \r\n".encode("utf-16-le"), id="blanks in utf-16"),
    ],
)
def test_files_without_content_are_empty(content: bytes) -> None:
    """A file of nothing but blanks, marks, delimiters or "sep=" is file.empty."""
    assert "file.empty" == refused(content).code


def test_header_only_is_imported_with_a_mailed_warning(engine: Engine) -> None:
    """A header without users is no failure, but a broken export looks like this: it is mailed as a warning."""
    result = engine.rows()
    assert ("imported", 0) == (result.receipt.outcome, result.tally.rows)
    assert "file.no_users" in result.warnings
    assert result.mail is not None


# -- delimiters and quotation marks --------------------------------------------------------------------------------


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
    ("header", "taken"),
    [
        pytest.param("unique_id|login_source|a,email", "a pipe", id="most known names"),
        pytest.param("UserUUID;Surname;a,b,c,d,e", "a semicolon", id="most near misses"),
        pytest.param("foo;bar;baz,qux", "a semicolon", id="most fields"),
        pytest.param("foo;bar,baz", "a comma", id="the comma"),
    ],
)
def test_how_the_delimiter_is_chosen(engine: Engine, header: str, taken: str) -> None:
    """Most known names decide, then most near misses, then most fields, then the comma."""
    assert f"read with {taken}" in engine.file(header, "1").detail


def test_the_delimiter_taken_is_told_in_a_refusal(engine: Engine) -> None:
    """A refusal of the header says how it was read, or that nothing separates the names."""
    assert "read with a semicolon between the names" in engine.file("unique_id;foo", "1;2").detail
    assert "no comma, semicolon, tab or pipe between the names" in engine.file("unique_id:login_source", "1:2").detail


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
    assert "line 2, column 4" in result.detail
    assert "broken in line 3" in result.detail
    assert "a comma" in result.detail
    assert 2 == (result.receipt.refusal.line if result.receipt.refusal else 0)


def test_an_open_quote_is_refused_where_it_opened_with_both_causes(engine: Engine) -> None:
    """A quote that is never closed: the answer names its line and column, and that the upload may be cut off."""
    result = engine.rows(ROW, 'S2,OPSCOM,Ann,"Lee,a@example.org,a', "S3,OPSCOM,Bob,Roy,b@example.org,b")
    assert "upload.incomplete" == result.code
    assert "line 3, column 4" in result.detail
    assert "cut off" in result.detail
    assert "a stray one: double it or remove it" in result.detail


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
    assert Completeness.WHOLE is ending(f"{HEADER}\r\n{ROW}\r\n\x1a".encode())


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
    assert Completeness.WHOLE is ending(content)
    assert ending(content[: -len(line_end.encode(encoding.removesuffix("-sig").replace("16", "16-le")))]) in (
        Completeness.UNTERMINATED,
        Completeness.WHOLE,
    )


@given(content=st.binary(max_size=300) | st.text('",;\t\n\r ab=sep\0\ufeffé', max_size=60).map(str.encode))
@example(content=b"x" * 40)
@pytest.mark.parametrize("begin", [b"", b"unique_id,first_name\n", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbfsep=;\r\n"])
def test_no_bytes_crash_the_parser(begin: bytes, content: bytes) -> None:
    """Whatever the bytes, a file is read or refused, and its completeness is told."""
    for fallback in ("", "cp1252", "shift_jis"):
        client = msgspec.structs.replace(CLIENT, fallback_encoding=fallback)
        with contextlib.suppress(FileRejected):
            read(begin + content, client, FileSettings(max_line_bytes=64, max_cell_chars=32, max_columns=8, max_rows=5))
    assert ending(begin + content) in Completeness


# -- completeness --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unique_id,city\n1,Hull\n", Completeness.WHOLE),
        ("unique_id,city\r1,Hull\r", Completeness.WHOLE),
        ("unique_id,city\n1,Hull", Completeness.UNTERMINATED),
        ('unique_id,city\n1,"Hull"', Completeness.UNTERMINATED),
        ('unique_id,city\n1,"Hu\nll"', Completeness.UNTERMINATED),
        ("unique_id,city", Completeness.UNTERMINATED),
        ("unique_id,city,\n1,Hull", Completeness.UNTERMINATED),
        ("unique_id,city\n1,Hull\n2", Completeness.CUT_OFF),
        ('unique_id,city\n"1\n\n', Completeness.OPEN_QUOTE),
        ('unique_id,city\n1,"Hull', Completeness.OPEN_QUOTE),
        ('unique_id,city\n1,"Hull\n2,Ottawa\n', Completeness.OPEN_QUOTE),
        ('"unique_id,city\n1,Hull\n', Completeness.OPEN_QUOTE),
        ("unique_id,city\n1,5'10\"\n", Completeness.WHOLE),
        ("unique_id,city\n1,5'10\"", Completeness.UNTERMINATED),
        ("", Completeness.EMPTY),
        (" \r\n", Completeness.EMPTY),
        ("no,such,names\n1", Completeness.WHOLE),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_completeness(text: str, expected: Completeness, encoding: str) -> None:
    """From its end and its quotes a file is told to be whole, without its last line end, cut off, open, or empty."""
    assert expected is ending(text.encode(encoding))


@pytest.mark.parametrize("header", ["unique_id,login_sou", "uniq", "unique_id,login_source,email,emai"])
def test_a_header_that_does_not_end_may_be_cut_off(header: str) -> None:
    """A header that is refused, and is all there is, may go on in its last name: it is waited for, unless it ends."""
    client = msgspec.structs.replace(CLIENT, unknown_columns="refuse")
    assert Completeness.UNTERMINATED is ending(header.encode(), client)
    assert Completeness.WHOLE is ending(f"{header}\n".encode(), client)


def test_a_short_last_row_is_whole_where_short_rows_are_taken() -> None:
    """A client whose rows may lack cells at the end cannot be told to be cut off by them."""
    client = msgspec.structs.replace(CLIENT, short_rows="pad")
    assert Completeness.UNTERMINATED is ending(b"unique_id,city\n1,Hull\n2", client)


@pytest.mark.parametrize("cut", range(1, 140))
def test_every_prefix_of_an_upload_is_told_from_the_whole(cut: int) -> None:
    """An upload cut anywhere is cut off, open or unterminated, unless the cut falls just behind a row."""
    whole = table(
        [["unique_id", "first_name", "city"], *([str(n), 'Zoé "Z"', "Hull,\r\nQC"] for n in range(5))]
    ).encode()
    ends = {len(whole) - len(whole.split(b'QC"\r\n', n)[-1]) for n in range(1, 6)} | {whole.index(b"\r\n") + 2}
    told = ending(whole[:-cut])
    behind_a_row = {end - back for end in ends for back in (0, 1)}
    assert (len(whole) - cut in behind_a_row) == (told is Completeness.WHOLE)


def test_an_unterminated_last_row_that_is_short_is_incomplete(engine: Engine) -> None:
    """A file whose last line neither ends nor has all its fields was cut off: nothing of it is applied."""
    result = engine.upload(f"{HEADER}\n{ROW}\nS2,OPSCOM,Bo".encode())
    assert "upload.incomplete" == result.code
    assert "line 3: the file ends in the middle of a row" in result.detail
    assert {} == engine.users()


def test_an_unterminated_last_row_that_is_whole_is_imported_with_a_warning(engine: Engine) -> None:
    """A last line without its end but with all its fields is imported, and its line is named."""
    result = engine.upload(f"{HEADER}\n{ROW}".encode())
    assert (1, 2) == (result.tally.created, result.warnings["file.unterminated"].first_line)


def test_an_unterminated_last_cell_over_the_limit_is_told_by_the_limit(engine: Engine) -> None:
    """A last row that is too large to be looked at for its end is refused for what it is."""
    content = f"{HEADER}\nS1,OPSCOM,{'x' * 200_000}".encode()
    assert Completeness.UNTERMINATED is ending(content)
    assert "limit.cell" == engine.upload(content).code


def test_completeness_reads_no_endless_line() -> None:
    """A line over the limit is left to the import, which names it."""
    assert Completeness.WHOLE is ending(b"unique_id\n" + b"x" * 3_000_000)


def test_an_unterminated_file_is_mailed_only_when_it_is_news(engine: Engine) -> None:
    """Some exporters never end the last line: the warning is mailed when the client's file before did end it."""
    mailed = [
        engine.upload(f"{HEADER}\n{ROW}{end}".encode()).mail is not None for end in ("", "", "\n", "", "", "\n", "\n")
    ]
    assert [True, False, False, True, False, False, False] == mailed


# -- limits --------------------------------------------------------------------------------------------------------


SMALL = FileSettings(max_file_bytes=5000, max_line_bytes=1000, max_cell_chars=100, max_columns=4, max_rows=3)


@pytest.mark.parametrize(
    ("content", "code", "place"),
    [
        pytest.param(b"unique_id\n" + b"1\n" * 2496, "limit.file", "5,002 bytes", id="file"),
        pytest.param(b"unique_id\r1\r" + b"x" * 1001, "limit.line", "line 3", id="line"),
        pytest.param(
            b"\xff\xfe" + ("unique_id\n1\n" + "x" * 1001).encode("utf-16-le"), "limit.line", "line 3", id="line16"
        ),
        pytest.param(b"unique_id,city\n1," + b"x" * 101 + b"\n", "limit.cell", "line 2, column 2", id="cell"),
        pytest.param(b'unique_id,city\n1,"' + b"x\n" * 51 + b'"\n', "limit.cell", "line 2, column 2", id="lines"),
        pytest.param(b"unique_id," + b"x" * 101 + b"\n1,2\n", "limit.cell", "line 1", id="name"),
        pytest.param(b"unique_id,a,b,c,d\n1,2,3,4,5\n", "limit.columns", "5 columns; at most 4", id="columns"),
        pytest.param(b"unique_id\n1\n\n\n2\n3\n\n4\n", "limit.rows", "line 8", id="rows"),
    ],
)
def test_limits(content: bytes, code: str, place: str) -> None:
    """What is over a limit refuses the file by that limit, with its place."""
    rejected = refused(content, limits=SMALL)
    assert code == rejected.code
    assert place in rejected.detail


def test_blank_rows_are_not_read_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blank rows are skipped, but for so many that they would keep others waiting."""
    monkeypatch.setattr(parse, "MOST_BLANK_ROWS", 3)
    assert refused(b"unique_id\n1\n\n\n,\n\n2\n").detail.startswith("line 8: 3 blank rows stand above")
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
