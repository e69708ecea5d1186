"""Whole files as offices make them, and what their authors read in answer."""

from __future__ import annotations

from importer.model import message
from importer.wording.catalogue import words
from tests.engine import Engine


def crlf(*lines: str) -> str:
    """Return the lines as Windows ends them."""
    return "".join(f"{line}\r\n" for line in lines)


def test_a_french_excel(engine: Engine) -> None:
    """Excel in French: semicolons and Windows-1252, the names of provinces, dates day first."""
    text = crlf(
        "unique_id;login_source;first_name;last_name;email;city;province;postal_code;date_of_birth",
        "20011;OPSCOM;Zoé;Bélanger;zoe.belanger@example.org;Trois-Rivières;QC;G9A 1A1;2001-05-23",
        "20012;OPSCOM;François;L'Écuyer;francois@example.org;Montréal;Québec;H2X 1Y4;23/05/2001",
        "20013;OPSCOM;Noël;Côté;#NOM?;Lévis;qc;G6V 1A1;37034",
    )
    refused = engine.upload(text.encode("cp1252"))
    assert (message("encoding.invalid/older", line="2"),) == refused.refusal
    result = engine.settings(fallback_encoding="cp1252").upload(text.encode("cp1252"))
    assert {3: "9033; 9033", 4: "9033; 9033"} == result.codes
    assert 'has "Québec". It must be a two-letter code. Enter QC.' in result.reasons[3]
    assert "date_of_birth must be a date written YYYY-MM-DD" in result.reasons[3]
    assert 'has "#NOM?", an error value of a spreadsheet.' in result.reasons[4]
    assert "day number of a spreadsheet" in result.reasons[4]
    assert {"20011": "Trois-Rivières"} == engine.column("city")
    assert 'We read them as: "Zoé", "Bélanger", "Trois-Rivières"' in result.text


def test_excels_unicode_text(engine: Engine) -> None:
    """Excel's "Unicode Text": UTF-16 with tabs, quotes only where needed, rows below the table left blank."""
    text = crlf(
        "unique_id\tlogin_source\tfirst_name\tlast_name\temail\tstreet",
        '00417\tOPSCOM\tŁukasz\tO\'Brien\tlukasz@example.org\t"12 ""A"" Street, Rear"',
        "\t\t\t\t\t",
        "\t\t\t\t\t",
    )
    assert (1, {}) == ((result := engine.upload(text.encode("utf-16"))).tally.created, result.codes)
    assert {"00417": '12 "A" Street, Rear'} == engine.column("street")


def test_a_student_system_with_a_delimiter_too_many(engine: Engine) -> None:
    """A report writer that ends each row, but not its header, with a pipe and pads its columns."""
    result = engine.file(
        "unique_id |login_source|first_name |last_name   |email               |student_no",
        "S0001     |OPSCOM      |Ann        |Lee         |ann@example.org     |000123456 |",
        "----------|------------|-----------|------------|--------------------|----------|",
    )
    assert (1, {3: "9003"}) == (result.tally.created, result.codes)
    assert {"S0001": "000123456"} == engine.column("student_no")


def test_active_directory_by_powershell(engine: Engine) -> None:
    """Export-Csv of a directory: everything quoted, the directory's own names, mapped by the client's settings."""
    columns = {
        "ObjectGUID": "unique_id",
        "SamAccountName": "user_name",
        "GivenName": "first_name",
        "Surname": "last_name",
        "UserPrincipalName": "email",
        "Enabled": "",
    }
    engine.settings(columns=columns, login_source="OPSCOM")
    text = crlf(
        '"ObjectGUID","SamAccountName","GivenName","Surname","UserPrincipalName","Enabled"',
        '"6f9619ff-8b86-d011-b42d-00cf4fc964ff","alee","Ann","Lee","alee@corp.example.org","True"',
        '"7a9619ff-8b86-d011-b42d-00cf4fc964ff","ALEE",,"Roy","broy@corp.example.org","False"',
    )
    result = engine.upload(text.encode("utf-8-sig"))
    assert (1, {3: "9017; 9020"}) == (result.tally.created, result.codes)
    assert "False" == result.failed_rows[0]["Enabled"]
    typed = engine.upload(("#TYPE Microsoft.ActiveDirectory.Management.ADUser\r\n" + text).encode())
    assert (message("header.missing/title", line="2", first="1", last="1"),) == typed.refusal


def test_a_database_dump(engine: Engine) -> None:
    """SELECT INTO OUTFILE: tabs, line feeds, a mark for what is empty; words that mean nothing are told by column."""
    result = engine.file(
        "unique_id\tlogin_source\tfirst_name\tlast_name\temail\tcity\tdate_of_birth\tphone_cell",
        "1\tOPSCOM\tAnn\tNull\tann@example.org\t\\N\t\t\\N",
        "2\tOPSCOM\tBob\tRoy\tbob@example.org\t\\N\t\\N\t555",
    )
    assert {3: "9033"} == result.codes
    assert [("last_name", 1), ("city", 1), ("phone_cell", 1)] == [
        (each.field, each.rows) for each in result.receipt.warnings
    ]
    last_name, *others = (words().remedy(each.reason) for each in result.receipt.warnings)
    assert last_name.endswith("A person named Null needs no change.")
    assert ["remove the word.", "remove the word."] == [each[-16:] for each in others]


def test_what_a_spreadsheet_did_to_numbers(engine: Engine) -> None:
    """Long ids turned into 1.2E+05, columns too narrow, formulas instead of text, references gone."""
    result = engine.file(
        "unique_id,login_source,first_name,last_name,email,student_no,phone_cell",
        "4.00123E+11,OPSCOM,Ann,Lee,ann@example.org,1,",
        '"=""00417""",OPSCOM,Bob,Roy,bob@example.org,2,',
        "S3,OPSCOM,Cas,Roy,cas@example.org,########,",
        "S4,OPSCOM,#REF!,Roy,dan@example.org,4,",
        "S5,OPSCOM,Eve,Roy,eve@example.org,5,6.13555E+09",
    )
    assert (1, dict.fromkeys((2, 3, 4, 5), "9033")) == (result.tally.created, result.codes)
    assert "enter all digits again" in result.reasons[2]
    assert "Enter the value without" in result.reasons[3]
    assert "value.damaged" in result.warnings
    assert '\'="00417"' not in result.failed.decode()
    assert '=""00417""' in result.failed.decode()


def test_a_tired_intern(engine: Engine) -> None:
    """Typed by hand: a comma in a street, two addresses in a cell, a row copied twice, one of them changed."""
    result = engine.file(
        "unique_id,login_source,first_name,last_name,email,street",
        "S1,OPSCOM,Ann,Lee,ann@example.org,12 Main St, Unit 4",
        "S2,OPSCOM,Bob,Roy,bob@example.org; roy@example.org,1 Main St",
        "S3,OPSCOM,Cas,Roy,Cas Roy <cas@example.org>,1 Main St",
        "S4,OPSCOM,Dan,Roy,dan@example.org,1 Main St",
        "S5,OPSCOM,Eve,Roy,eve@example.org,1 Main St",
        "S4,OPSCOM,Dan,Roi,dan@example.org,1 Main St",
        "S5, OPSCOM,Eve,Roy, eve@example.org,1 Main St",
        "",
    )
    assert {2: "9003", 3: "9033", 4: "9033", 5: "9022", 7: "9022"} == result.codes
    assert 'The row has 7 cells, more than the file has columns (6). Too many: "Unit 4".' in result.reasons[2]
    assert (1, 1) == (result.tally.created, result.tally.repeated)


def test_a_nightly_export_of_what_changed(engine: Engine) -> None:
    """Only the id and what changed: everything else of the users stays; a new user lacks what only a full file has."""
    engine.settings(login_source="OPSCOM")
    engine.file(
        "unique_id,first_name,last_name,email,phone_cell,user_type_id",
        "1,Ann,Lee,ann@example.org,613 555 0100,2",
        "2,Bob,Roy,bob@example.org,613 555 0101,2",
    )
    result = engine.file("unique_id,phone_cell,user_type_id", "1,613 555 0199,", "2,,2", "3,613 555 0102,2")
    assert (0, 1, 1) == (result.tally.created, result.tally.updated, result.tally.unchanged)
    assert {4: "9017; 9018; 9016"} == result.codes
    assert {"1": "613 555 0199", "2": "613 555 0101"} == engine.column("phone_cell")


def test_an_old_mac(engine: Engine) -> None:
    """Carriage returns alone end the lines, and the line of a mistake is the one an editor shows."""
    text = (
        "unique_id,login_source,first_name,last_name,email\rS1,OPSCOM,Ann,Lee,ann@example.org\rS2,OPSCOM,Bob,,b@x.org\r"
    )
    assert {3: "9018"} == engine.upload(text.encode()).codes


def test_a_report_with_a_title_and_a_sum(engine: Engine) -> None:
    """Title lines above the header refuse the file with the lines to delete; a sum below it fails as a row."""
    lines = (
        "unique_id,login_source,first_name,last_name,email",
        "S1,OPSCOM,Ann,Lee,ann@example.org",
        "Total: 1 user,,,,",
    )
    titled = engine.file("Registrar's Office,,,,", "Active students,,,,", ",,,,", *lines)
    assert (message("header.missing/titles", line="4", first="1", last="3"),) == titled.refusal
    assert {3: "9003"} == engine.file(*lines).codes


def test_an_export_cut_off_by_a_full_disk(engine: Engine) -> None:
    """The file ends in the middle of a row: nothing of it is applied, and the line is named."""
    result = engine.upload(
        b"unique_id,login_source,first_name,last_name,email\nS1,OPSCOM,Ann,Lee,ann@example.org\nS2,OPSCOM,Bo"
    )
    assert ("upload.incomplete", {}) == (result.code, engine.users())
    assert "The file stops part-way through line 3" in result.text
    assert "Upload the whole file again" in result.text


def test_a_german_excel(engine: Engine) -> None:
    """Excel in German: `sep=;`, Windows-1252, its own error values, a decimal comma in what was a long number."""
    text = crlf(
        "sep=;",
        "unique_id;login_source;first_name;last_name;email;phone_cell;date_of_birth",
        "00301;OPSCOM;Jürgen;Groß;juergen@example.org;;2001-05-23",
        "4,00123E+11;OPSCOM;Käthe;#NV;kaethe@example.org;;23.05.2001",
        "00303;OPSCOM;Uwe;#BEZUG!;uwe@example.org;+49 30 1234;",
    )
    result = engine.settings(fallback_encoding="cp1252").upload(text.encode("cp1252"))
    assert {4: "9033; 9033; 9033", 5: "9033"} == result.codes
    assert 'has "4,00123E+11", a long number that a spreadsheet shortened.' in result.reasons[4]
    assert {"00301": "Groß"} == engine.column("last_name")
    assert "'+49 30 1234" == result.failed_rows[1]["phone_cell"]


def test_google_sheets(engine: Engine) -> None:
    """A download of Google Sheets: line feeds, the last line not ended, its own error values, guarded phone numbers."""
    result = engine.upload(
        b"unique_id,login_source,first_name,last_name,email,phone_cell\n"
        b"G1,OPSCOM,Ann,Lee,ann@example.org,+1 613 555 0100\n"
        b"G2,OPSCOM,Bob,#ERROR!,bob@example.org,+1 613 555 0101\n"
        b"G3,OPSCOM,Cas,#N/A,cas@example.org,'+1 613 555 0102\n"
        b"G4,OPSCOM,Dan,Roy,dan@example.org,'+1 613 555 0103"
    )
    assert {3: "9033", 4: "9033"} == result.codes
    assert {"G1": "+1 613 555 0100", "G4": "+1 613 555 0103"} == engine.column("phone_cell")
    assert ["'+1 613 555 0101", "'+1 613 555 0102"] == [row["phone_cell"] for row in result.failed_rows]
    assert "file.unterminated" in result.warnings


def test_a_directory_with_addresses_of_its_own_network(engine: Engine) -> None:
    """A directory gives addresses at corp.local: the remedy says what is wrong with them, not how to write one."""
    result = engine.file(
        "unique_id,login_source,first_name,last_name,email",
        "1,OPSCOM,Ann,Lee,alee@corp.local",
        "2,OPSCOM,Bob,Roy,broy@CORP.LOCAL",
    )
    assert "Lines 2-3: email has a domain that no mail can reach" in result.text


def test_two_exports_put_together(engine: Engine) -> None:
    """A second header in the middle of a file is passed over; the users on both sides are imported."""
    header = "unique_id,login_source,first_name,last_name,email"
    result = engine.file(
        header, "1,OPSCOM,Ann,Lee,ann@example.org", header, "2,OPSCOM,Bob,Roy,bob@example.org", "Page 1 of 1", ",,,,"
    )
    assert (2, {5: "9003"}, (3,)) == (result.tally.created, result.codes, result.warnings["header.again"].lines)
    assert "The row looks like a closing line of the export" in result.reasons[5]


def test_a_hand_over_of_names(engine: Engine) -> None:
    """Marriages and successions: names and addresses that pass from user to user inside one file are taken."""
    header = "unique_id,login_source,first_name,last_name,email,user_name"
    engine.file(
        header,
        "A,OPSCOM,Ann,Lee,dean@example.org,dean",
        "B,OPSCOM,Bob,Roy,vice@example.org,vice",
        "C,OPSCOM,Cas,Roy,c@example.org,c",
    )
    result = engine.file(
        header,
        "A,OPSCOM,Ann,Lee,a@example.org,a",
        "B,OPSCOM,Bob,Roy,Dean@example.org,DEAN",
        "C,OPSCOM,Cas,Roy,vice@example.org,vice",
        "D,OPSCOM,Dan,Roy,C@example.org,C",
    )
    assert (1, 3, {}) == (result.tally.created, result.tally.updated, result.codes)
    assert {"A": "a", "B": "DEAN", "C": "vice", "D": "C"} == engine.column("user_name")
