"""What the bytes of a file tell: encodings, kinds of files, limits that hold before memory is spent."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import zipfile

import pytest

from importer.model import HoldReason, message
from importer.settings import FileSettings
from importer.wording.catalogue import words
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
    """A letter that is not UTF-8 refuses the file, with its line and what to do; nothing is guessed."""
    result = engine.upload(f"{HEADER}\r\nS0,OPSCOM,Ann,Lee,a@example.org,a\r\n{ROW}\r\n".encode("cp1252"))
    assert (message("encoding.invalid/older", line="3"),) == result.refusal
    assert "File > Save As > CSV UTF-8. If a program makes the file, write to us" in result.detail
    assert {} == engine.users()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        pytest.param(codecs.BOM_UTF8 + f"{HEADER}\n{ROW}\n".encode("cp1252"), "older", id="a mark that is not true"),
        pytest.param(f"{HEADER}\n{ROW}\n".encode("cp037"), "unreadable", id="EBCDIC"),
    ],
)
def test_an_encoding_is_told_from_a_damaged_letter(engine: Engine, content: bytes, kind: str) -> None:
    """Where all letters are in another encoding, to type one again is not the remedy."""
    [reason] = engine.upload(content).refusal
    assert f"encoding.invalid/{kind}" == reason.key


def test_fallback_encoding_is_taken_with_a_warning_that_quotes_what_was_read(engine: Engine) -> None:
    """With a fallback encoding the file is read, and the answer quotes letters so that a person sees wrong ones."""
    result = engine.settings(fallback_encoding="cp1252").upload(f"{HEADER}\r\n{ROW}\r\n".encode("cp1252"))
    assert {"S1": "Zoé"} == engine.column("first_name")
    warning = result.warnings["encoding.fallback"]
    assert (2,) == warning.lines
    assert message("encoding.fallback/samples", encoding="cp1252", samples=("Zoé",)) == warning.reason
    assert 'an older format (cp1252). We read them as: "Zoé". Check that they are right.' in result.text


def test_fallback_samples_hold_no_personal_values(engine: Engine) -> None:
    """The letters quoted to show how a file was read are never those of a personal attribute."""
    engine.settings(fallback_encoding="cp1252")
    result = engine.upload(f"{HEADER},driver_licence_num\n{ROW},É-77\n".encode("cp1252"))
    assert "É-77" not in result.text
    assert 'We read them as: "Zoé". Check' in result.text


def test_fallback_samples_are_those_of_the_header_too(engine: Engine) -> None:
    """Where only a name of a column has letters beyond ASCII, it is what is quoted."""
    engine.settings(fallback_encoding="cp1252", columns={"Prénom": "first_name"})
    content = f"{HEADER},Prénom\nS1,OPSCOM,,Roy,z@example.org,z,Ann\n".replace("first_name,", "").replace(",,", ",")
    result = engine.upload(content.encode("cp1252"))
    assert ({"S1": "Ann"}, 1) == (engine.column("first_name"), result.tally.created)
    assert 'We read them as: "Prénom". Check' in result.text


def test_a_fallback_without_samples_asks_for_no_look(engine: Engine) -> None:
    """Where all letters beyond ASCII stand in columns that are ignored, there is nothing to look at."""
    engine.settings(fallback_encoding="cp1252", unknown_columns="ignore")
    result = engine.upload(f"{HEADER},Note\nS1,OPSCOM,Ann,Roy,z@example.org,z,é\n".encode("cp1252"))
    assert "The file has letters in an older format (cp1252). In Excel" in result.text


def test_fallback_samples_are_of_rows_that_fit_the_header(engine: Engine) -> None:
    """A row with a cell too many has its cells in other columns: what is personal could be among those quoted."""
    engine.settings(fallback_encoding="cp1252")
    header = HEADER.replace(",email", ",driver_licence_num,email")
    rows = "S1,OPSCOM,A,B,Jr,\xc9-77,a@example.org,a\nS2,OPSCOM,\xc9va,B,,b@example.org,b\n"
    result = engine.upload(f"{header}\n{rows}".encode("cp1252"))
    assert {2: "9003"} == result.codes
    assert (3,) == result.warnings["encoding.fallback"].lines
    assert 'We read them as: "\xc9va". Check' in result.text


def test_fallback_samples_are_on_one_line(engine: Engine) -> None:
    """A quoted cell with a line break is shown escaped."""
    engine.settings(fallback_encoding="cp1252")
    result = engine.upload(f'{HEADER}\nS1,OPSCOM,"é\nx",Roy,z@example.org,z\n'.encode("cp1252"))
    assert r'We read them as: "é\nx".' in result.text


def test_fallback_is_not_taken_for_a_stray_byte_in_utf8(engine: Engine) -> None:
    """One stray byte in a UTF-8 file refuses it: reading all of it in the fallback would spoil every other letter."""
    content = f"{HEADER}\n{ROW}\n".encode() + "S2,OPSCOM,René,Roy,r@example.org,r\n".encode("cp1252")
    result = engine.settings(fallback_encoding="cp1252").upload(content)
    assert (message("encoding.invalid/mixed", line="3"),) == result.refusal
    assert "fallback" not in result.text


@pytest.mark.parametrize(("codec", "name"), [("cp1251", "Иванова"), ("iso8859-7", "Παππάς"), ("cp1256", "محمد")])
def test_another_alphabet_is_not_read_in_the_fallback(engine: Engine, codec: str, name: str) -> None:
    """Its letters would make names of accented letters alone."""
    content = f"{HEADER}\nS1,OPSCOM,{name},Lee,z@example.org,z\n".encode(codec)
    result = engine.settings(fallback_encoding="cp1252").upload(content)
    assert ["encoding.invalid/not_fallback"] == [each.key for each in result.refusal]


@pytest.mark.parametrize("fallback", ["", "cp1252"])
def test_chinese_that_reads_as_utf8_by_chance_is_in_an_older_format(engine: Engine, fallback: str) -> None:
    """The answer does not say that other letters of the file are right."""
    content = f"{HEADER}\nS1,OPSCOM,建国,王伟,z@example.org,z\n".encode("gb18030")
    result = engine.settings(fallback_encoding=fallback).upload(content)
    assert ["encoding.invalid/older"] == [each.key for each in result.refusal]


def test_ebcdic_of_fixed_width_is_unreadable(engine: Engine) -> None:
    """Its blanks are the @ of ASCII."""
    content = ("".join(f"{cell:20}" for cell in ROW.split(",")) * 3).encode("cp037")
    assert ["encoding.invalid/unreadable"] == [each.key for each in engine.upload(content).refusal]


def test_bytes_undefined_in_the_fallback_are_refused(engine: Engine) -> None:
    """A byte that neither UTF-8 nor the fallback knows refuses the file, at its place."""
    content = f"{HEADER}\nS1,OPSCOM,Zo\x81,Tremblay,z@example.org,z\n".encode("latin-1")
    result = engine.settings(fallback_encoding="cp1252").upload(content)
    assert (message("encoding.invalid/other", line="2"),) == result.refusal


@pytest.mark.parametrize(
    ("header", "keys"),
    [
        ("Student ID,login_source,first_name,last_name,email", ("header.unknown/did_you_mean",)),
        (
            "unique_id,fname,last_name,last_name",
            ("header.unknown/did_you_mean", "header.repeated", "header.missing/source"),
        ),
        ("sep=,\nlogin_source,first_name,last_name,email", ("header.missing",)),
        ("unique_id,login_source,first_name,last_name,email", ()),
        ("unique_id,Prénom,last_name", ()),
        ("Élèves\nunique_id,fname", ()),
        ("Users\nunique_id,Prénom,last_name", ()),
    ],
)
@pytest.mark.parametrize("fallback", ["", "ascii"])
def test_what_is_wrong_with_the_names_is_told_with_the_letters(
    engine: Engine, header: str, keys: tuple[str, ...], fallback: str
) -> None:
    """A file that is refused for its letters has its header looked at, where that is in ASCII."""
    content = f"{header}\nS1,OPSCOM,Zoé,Roy,z@example.org\n".encode("cp1252")
    first, *others = (each.key for each in engine.settings(fallback_encoding=fallback).upload(content).refusal)
    assert first.startswith("encoding.invalid/")
    assert keys == tuple(others)


PEOPLE = ("René Lévesque", "Hélène Côté", "François Beauséjour", "Benoît Müller", "Zoë Núñez", "Thérèse Bélanger")


def people(encoding: str) -> bytes:
    """Return a file of people with the letters of several languages."""
    names = (name.replace(" ", ",") for name in PEOPLE)
    rows = (f"S{n},OPSCOM,{name},u{n}@example.org,u{n}\n" for n, name in enumerate(names))
    return "".join((HEADER + "\n", "S9,OPSCOM,Ann,O'Neil,ann@example.org,ann\n", *rows)).encode(encoding)


@pytest.mark.parametrize("encoding", ["cp850", "cp437", "mac_roman"])
def test_a_fallback_that_makes_no_words_is_refused(engine: Engine, encoding: str) -> None:
    """Letters of another old encoding would be recorded as symbols and capitals inside of names."""
    engine.settings(fallback_encoding="cp1252")
    content = people(encoding).replace("ü".encode(encoding), b"u")  # which cp1252 does not have in all of them
    [reason] = engine.upload(content).refusal
    assert "encoding.invalid/" in reason.key
    assert reason.key.endswith(("/not_fallback", "/other"))
    single = f"{HEADER}\nS0,OPSCOM,Ann,Lee,b@example.org,b\nS1,OPSCOM,René,Roy,a@example.org,a\n".encode(encoding)
    assert (message("encoding.invalid/not_fallback", line="3", encoding="cp1252"),) == engine.upload(single).refusal
    assert {} == engine.users()


@pytest.mark.parametrize(
    ("fallback", "encoding", "name"),
    [
        ("latin-1", "cp1252", "D\u2019Amours"),
        ("latin-1", "cp850", "René"),
        ("iso8859-15", "mac_roman", "Noël"),
        ("cp1252", "mac_roman", "Émile"),
        ("cp1252", "mac_roman", "ÉMILE"),
        ("cp1252", "cp850", "Ángel"),
        ("mac_roman", "cp1252", "QUÉBEC"),
    ],
)
def test_one_letter_is_enough(engine: Engine, fallback: str, encoding: str, name: str) -> None:
    """Control characters, too, and signs in front of a name or among capitals, are no letters of the fallback."""
    content = f"{HEADER}\nS1,OPSCOM,Ann,{name},a@example.org,a\n".encode(encoding)
    assert ("encoding.invalid/not_fallback",) == tuple(
        each.key for each in engine.settings(fallback_encoding=fallback).upload(content).refusal
    )


@pytest.mark.parametrize("fallback", ["cp850", "mac_roman"])
def test_any_fallback_can_be_the_wrong_one(engine: Engine, fallback: str) -> None:
    """What is set up is no more certain than what a program writes."""
    [reason] = engine.settings(fallback_encoding=fallback).upload(people("cp1252")).refusal
    assert message("encoding.invalid/not_fallback", line="3", encoding=fallback) == reason


@pytest.mark.parametrize("encoding", ["cp1252", "cp850", "mac_roman"])
def test_the_right_fallback_is_taken(engine: Engine, encoding: str) -> None:
    """Letters that make names are read."""
    result = engine.settings(fallback_encoding=encoding).upload(people(encoding))
    assert ("", 7) == (result.code, result.tally.created)


@pytest.mark.parametrize(
    "name",
    [
        "McÉwan",
        "O\u2019Brien",
        "LÉVESQUE",
        "Œuvrard",
        "D\u2019Aoust",
        "“Bob” Lee",
        "Jean\u2013Luc",
        "Šimek",
        "Lee™",
        "N°5 \u2013 ½",
        "Lee…",
    ],
)
def test_odd_letters_of_right_names_are_taken(engine: Engine, name: str) -> None:
    """What is rare is not wrong, were it the only letter beyond ASCII."""
    content = f"{HEADER}\nS1,OPSCOM,Ann,{name},a@example.org,a\n".encode("cp1252")
    assert "" == engine.settings(fallback_encoding="cp1252").upload(content).code
    assert {"S1": name} == engine.column("last_name")


def test_a_mark_of_utf8_does_not_keep_the_fallback_from_a_file(engine: Engine) -> None:
    """A program that writes the mark and then its old encoding is read like one that does not, unless cut off."""
    engine.settings(fallback_encoding="cp1252")
    content = codecs.BOM_UTF8 + f"{HEADER}\n{ROW}\n".encode("cp1252")
    result = engine.upload(content)
    assert ("", {"S1": "Zoé"}) == (result.code, engine.column("first_name"))
    assert (2,) == result.warnings["encoding.fallback"].lines
    cut = codecs.BOM_UTF8 + f"{HEADER}\nS2,OPSCOM,Zoé".encode()[:-1]
    assert "upload.incomplete" == engine.upload(cut).code


def test_ebcdic_is_not_read_in_a_fallback(engine: Engine) -> None:
    """Where not even the names are letters, no fallback is meant."""
    [reason] = engine.settings(fallback_encoding="latin-1").upload(f"{HEADER}\n{ROW}\n".encode("cp037")).refusal
    assert "encoding.invalid/unreadable" == reason.key


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["Zoe", "Zoé"])
def test_utf16_without_its_mark_is_named_as_such(engine: Engine, codec: str, name: str) -> None:
    """UTF-16 without a mark is refused by its name, with letters beyond ASCII or without, fallback or not."""
    engine.settings(fallback_encoding="cp1252")
    result = engine.upload(f"{HEADER}\r\nS1,OPSCOM,{name},Roy,z@example.org,z\r\n".encode(codec))
    assert (message("encoding.invalid/unicode", encoding="UTF-16"),) == result.refusal


@pytest.mark.parametrize("codec", ["utf-8", "utf-16-be"])
@pytest.mark.parametrize("name", ["Zoe", "Zoé"])
def test_a_mark_of_another_unicode_format_is_told(engine: Engine, codec: str, name: str) -> None:
    """A program that puts the mark of UTF-16 before everything leaves letters of no language."""
    content = f"{HEADER}\r\nS1,OPSCOM,{name},Roy,z@example.org,z\r\n".encode(codec)
    assert (message("encoding.invalid/mark"),) == engine.upload(codecs.BOM_UTF16_LE + content).refusal
    if codec == "utf-8":
        assert (message("encoding.invalid/mark"),) == engine.upload(codecs.BOM_UTF16_BE + content).refusal


@pytest.mark.parametrize("fallback", ["", "cp1252"])
@pytest.mark.parametrize("name", ["Zoe", "Zoé"])
def test_line_ends_of_a_mainframe_are_named(engine: Engine, fallback: str, name: str) -> None:
    """NEL is a line end in no CSV; in Latin-1 it is one byte, and no letter of an older format."""
    text = f"{HEADER}\x85S1,OPSCOM,{name},Roy,z@example.org,z\x85"
    engine.settings(fallback_encoding=fallback)
    assert (message("header.unknown/one_line"),) == engine.upload(text.encode("latin-1")).refusal


def test_utf32_is_refused_by_its_name() -> None:
    """UTF-32, whose mark begins with that of UTF-16, is not taken for it."""
    rejected = refused(f"{HEADER}\n{ROW}\n".encode("utf-32"))
    assert (message("encoding.invalid/unicode", encoding="UTF-32"),) == rejected.reasons


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"unique_id\nS1\nS\x002\n", id="utf-8"),
        pytest.param(b"unique_id\rS1\rS\x002\r", id="old Mac line ends"),
        pytest.param("\ufeffunique_id\nS1\nS\x002\n".encode("utf-16-le"), id="utf-16"),
        pytest.param("\ufeffunique_id\né\nS\x002\n".encode(), id="behind a mark and a wide letter"),
        pytest.param(b"unique_id\nS1\n" + b"\0" * 4096, id="a tail of zeros, as after a crash"),
    ],
)
def test_nul_is_refused_with_its_place(content: bytes) -> None:
    """A NUL refuses the file and is named by its line."""
    rejected = refused(content)
    assert ((message("encoding.nul", line="3"),), 3) == (rejected.reasons, rejected.line)


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
        pytest.param(archive("mimetype"), "a ZIP archive", id="zip"),
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
        pytest.param(b"{\\rtf1\\ansi unique_id}", "RTF", id="rtf"),
        pytest.param(b"-----BEGIN PGP MESSAGE-----\n", "encrypted", id="pgp in text"),
        pytest.param(bytes.fromhex("85010c03") + bytes(200), "encrypted", id="pgp"),
        pytest.param(b"Rar!\x1a\x07\x01\x00", "RAR", id="rar"),
        pytest.param("\ufeff<html>".encode("utf-16-le"), "web page", id="html in utf-16"),
    ],
)
def test_other_kinds_of_files_are_named(content: bytes, kind: str) -> None:
    """A file that is no CSV is refused by what it is, and with how to get CSV from it; and at once, never held."""
    rejected = refused(content)
    assert "file.not_csv" == rejected.code
    assert kind in words().refusal(rejected)
    assert any(word in words().refusal(rejected) for word in ("Save", "Export", "Unpack", "without encrypting"))
    assert HoldReason.NONE is ending(content)


def test_an_excel_workbook_is_answered_with_the_menu_to_use(engine: Engine) -> None:
    """Where no workbooks are accepted, the result and the mail say where CSV is in the program at hand."""
    engine.limits = FileSettings(accept=())
    result = engine.upload(archive("[Content_Types].xml", "xl/workbook.xml"))
    assert result.mail is not None
    for text in (result.text, result.mail.text):
        assert "The file is an Excel workbook, not a CSV file." in text
        assert "Open the file in Excel, choose File > Save As > CSV UTF-8, and upload that file." in text


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
