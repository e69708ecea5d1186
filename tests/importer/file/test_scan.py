"""What the bytes of a file tell: encodings, kinds of files, limits that hold before memory is spent."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import zipfile

import pytest

from importer.model import HoldReason
from tests.engine import HEADER, Engine
from tests.reading import ROW, ending, refused


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
    assert HoldReason.NONE is ending(content)


def test_an_excel_workbook_is_answered_with_the_menu_to_use(engine: Engine) -> None:
    """Whoever uploads a workbook is told where CSV is in the program at hand, in the result and in the mail."""
    result = engine.upload(archive("[Content_Types].xml", "xl/workbook.xml"))
    assert "This is an Excel workbook, not CSV. In Excel choose Save As, CSV UTF-8" in result.text
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
