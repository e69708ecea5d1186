"""Everything that can be wrong with a file as a whole, and what to do about it; see `reasons` for the keys."""

from __future__ import annotations

from typing import Final

from importer.wording.guard_codes import GUARD_REASONS
from importer.wording.template import Reason

_SAVE_AS_CSV: Final = "In Excel: File > Save As > CSV UTF-8."
_OPEN_AND_SAVE: Final = "Open the file in Excel, choose File > Save As > CSV UTF-8, and upload that file."
_TYPE_AGAIN: Final = "Type the damaged letter on line {line} again. Then, in Excel: File > Save As > CSV UTF-8."
_UNPACK: Final = "Unpack the archive and upload the CSV file inside."
_EXPORT: Final = "Export the users as CSV UTF-8 from the program that made this file."
_UPLOAD_AGAIN: Final = "Upload the whole file again."
_EXPORT_AGAIN: Final = "Run the export again, open the file to see whether it has users, and upload it."
_INTO_CELLS: Final = (
    "In Excel, select column A and choose Data > Text to Columns > Delimited. Then: File > Save As > CSV UTF-8."
)
_ONE_ORDER: Final = (
    "Bring all users into the columns of the first line and delete line {line}, or make each part a file of its own."
)
_DELETE: Final = "Delete from it what you do not need, such as unfinished uploads. Then upload this file again."
_SPLIT: Final = "Split the file into several, each with the column names on its first line."
_EXCEL_DOES_IT: Final = "If your users are in Excel, save them there as CSV UTF-8."
_DOUBLE: Final = f'In Notepad, delete the marks inside that value, or double them: "Robert ""Bob""". {_EXCEL_DOES_IT}'
_PARTNERLESS: Final = "In Notepad, find the quotation mark without a partner on line {line}, and delete it."
_NOT_INTERRUPTED: Final = "If the upload was not interrupted,"

_KIND: Final[dict[str, Reason]] = {
    "file.not_csv/xlsx": Reason("The file is an Excel workbook, not a CSV file.", _OPEN_AND_SAVE),
    "file.not_csv/xls": Reason("The file is an old Excel workbook (.xls), not a CSV file.", _OPEN_AND_SAVE),
    "file.not_csv/excel_xml": Reason("The file is an Excel workbook in XML, not a CSV file.", _OPEN_AND_SAVE),
    "file.not_csv/html": Reason(
        "The file is a web page (HTML), not a CSV file.",
        "Open the file in Excel. If it has the users, choose File > Save As > CSV UTF-8. If it has a login page or an "
        "error, run the export again.",
    ),
    "file.not_csv/office": Reason(
        "The file is an Office document, not a CSV file.",
        "Copy the table of users to Excel, choose File > Save As > CSV UTF-8, and upload that file.",
    ),
    "file.not_csv/libreoffice": Reason(
        "The file is a LibreOffice document, not a CSV file.",
        "Open the file in LibreOffice, choose File > Save As > Text CSV with the character set UTF-8, and upload "
        "that file.",
    ),
    "file.not_csv/zip": Reason(
        "The file is a ZIP archive or an Excel workbook, not a CSV file.",
        "Unpack an archive and upload the CSV file inside. Open a workbook in Excel and choose File > Save As > CSV "
        "UTF-8.",
    ),
    "file.not_csv/archive": Reason("The file is an archive ({kind}), not a CSV file.", _UNPACK),
    "file.not_csv/program": Reason("The file is a program, such as an archive that unpacks itself (.exe).", _UNPACK),
    "file.not_csv/link": Reason("The file is only a link to another file.", "Upload the file that it leads to."),
    "file.not_csv/junk": Reason(
        "The file is a ZIP archive or an Excel workbook with something else in front, so it is damaged.",
        "Upload the file with the users as it is, without adding anything to it.",
    ),
    "file.not_csv/encrypted": Reason(
        "The file is encrypted (PGP), and we have no key for it.", "Upload the CSV file without encrypting it."
    ),
    "file.not_csv/encrypted_other": Reason(
        "The file is encrypted in a way that we cannot read.", "Upload the CSV file without encrypting it."
    ),
    "file.not_csv/key": Reason(
        "The file is a key or a certificate, not a CSV file.",
        "Upload the file with your users. If this is a private key, make a new one, as it is not secret any more.",
    ),
    "file.not_csv/pdf": Reason("The file is a PDF, not a CSV file.", _EXPORT),
    "file.not_csv/picture": Reason("The file is a picture, not a CSV file.", _EXPORT),
    "file.not_csv/database": Reason("The file is a database, not a CSV file.", _EXPORT),
    "file.not_csv/rtf": Reason(
        "The file is a text document (RTF), not a CSV file.",
        "Copy the table of users to Excel, choose File > Save As > CSV UTF-8, and upload that file.",
    ),
    "file.not_csv/error": Reason(
        'The file has an error message of the export in place of users: "{text}".', _EXPORT_AGAIN
    ),
    "file.not_csv/data": Reason("The file has its data as {kind}, not as CSV.", _EXPORT),
}

_CURLY: Final = Reason(
    "The straight quotation mark at the start of line {line}, column {column} is closed by a curly one.",
    "In Notepad, replace each curly mark (\u201c or \u201d) with a straight one, or delete both marks of the value.",
)

_END: Final[dict[str, Reason]] = {
    "file.empty": Reason("The file is empty.", _EXPORT_AGAIN),
    "file.empty/blank": Reason("The file has only empty lines.", _EXPORT_AGAIN),
    "upload.incomplete": Reason("The file looks incomplete, and we stopped it.", _UPLOAD_AGAIN),
    "upload.incomplete/row": Reason(
        "The file stops part-way through line {line}; the upload was probably interrupted.",
        f"{_UPLOAD_AGAIN} {_NOT_INTERRUPTED} fill in the missing cells of line {{line}}, or delete it if it is a "
        "closing line of the export.",
    ),
    "upload.incomplete/letter": Reason(
        "The file stops in the middle of a letter on line {line}; the upload was probably interrupted.", _UPLOAD_AGAIN
    ),
    "upload.incomplete/quotation_mark": Reason(
        "The quotation mark at the start of line {line}, column {column} is never closed; the upload was probably "
        "interrupted.",
        f"{_UPLOAD_AGAIN} {_NOT_INTERRUPTED} delete that quotation mark in Notepad.",
    ),
    "upload.incomplete/curly_mark": _CURLY,
    "upload.incomplete/quotation_mark_in_names": Reason(
        "A quotation mark in the column names on line {line} is never closed; the upload was probably interrupted.",
        f"{_UPLOAD_AGAIN} {_NOT_INTERRUPTED} delete that quotation mark in Notepad.",
    ),
    "upload.incomplete/connection": Reason("The connection ended before the upload was finished.", _UPLOAD_AGAIN),
    "upload.incomplete/no_companion": Reason(
        'The file "{name}" did not come. It must follow each upload, to say that the upload is complete.',
        'Upload your file again, and then "{name}".',
    ),
    "upload.incomplete/other_companion": Reason(
        'The file "{name}" does not match your file; one of the two was cut off, or belongs to another file.',
        'Upload your file and "{name}" again.',
    ),
    "upload.incomplete/unread": Reason(
        "We could not check in time whether the file is complete; it has very many quotation marks or line breaks in "
        "cells.",
        "Delete quotation marks and line breaks in cells, or split the file into several. Then upload again.",
    ),
}

_ENCODING: Final[dict[str, Reason]] = {
    "encoding.invalid/older": Reason(
        "Line {line} has an accented letter in an older format.",
        f"{_SAVE_AS_CSV} If a program makes the file, write to us and we will set up its format.",
    ),
    "encoding.invalid/other": Reason("Line {line} has a letter in a format that we cannot read.", _SAVE_AS_CSV),
    "encoding.invalid/not_fallback": Reason(
        "Line {line} has accented letters in another format than the one that we have set up for you ({encoding}).",
        f"{_SAVE_AS_CSV} If a program makes the file, write to us and we will set up its format.",
    ),
    "encoding.invalid/mixed": Reason(
        "Line {line} has a damaged letter, but the accented letters of other lines are right.",
        _TYPE_AGAIN,
    ),
    "encoding.invalid/damaged": Reason("Line {line} has a damaged letter.", _TYPE_AGAIN),
    "encoding.invalid/unreadable": Reason("The file is in a format that we cannot read as text.", _EXPORT),
    "encoding.invalid/unicode": Reason(
        "The file is in a Unicode format ({encoding}) that we cannot read.",
        _SAVE_AS_CSV,
    ),
    "encoding.invalid/mark": Reason(
        "The first bytes of the file say that it is UTF-16, but the rest is not.",
        f"{_SAVE_AS_CSV} If a program makes the file, set it to UTF-8.",
    ),
    "encoding.nul": Reason(
        "Line {line} has a character that is not text; the file was probably damaged on its way.",
        "Export the file again and upload it again.",
    ),
}

_QUOTES: Final[dict[str, Reason]] = {
    "csv.quoting/inner": Reason("Line {line}, column {column} has quotation marks inside a quoted value.", _DOUBLE),
    "csv.quoting/blank": Reason(
        "Line {line}, column {column} has a space after its closing quotation mark.",
        f"In Notepad, delete that space. {_EXCEL_DOES_IT}",
    ),
    "csv.quoting/backslash": Reason(
        "Line {line}, column {column} has a backslash (\\) before a quotation mark.",
        'In Notepad, replace each \\" with "". Or set the program that makes the file to double quotation marks.',
    ),
    "csv.quoting/earlier": Reason(
        "The quotation mark at the start of line {line}, column {column} is not closed on that line.",
        "In Notepad, delete that mark, or write another one at the end of the value. If the value has several lines, "
        "double the marks inside it.",
    ),
    "csv.quoting/curly": _CURLY,
    "csv.quoting/names": Reason(
        "A column name on line {line} has quotation marks inside quotation marks.",
        "In Notepad, delete all quotation marks of that column name.",
    ),
}

_NAMES: Final[dict[str, Reason]] = {
    "header.unknown/spelling": Reason(
        'Line {line} has a column name that we do not know: "{name}".',
        'Rename the column "{name}" to "{expected}".',
    ),
    "header.unknown/did_you_mean": Reason(
        'Line {line} has a column name that we do not know: "{name}".',
        'Rename the column "{name}" to "{expected}" if that is what it contains. If not, delete it.',
    ),
    "header.unknown/already": Reason(
        'The columns "{name}" and "{expected}" seem to have the same meaning.',
        'Delete "{name}". If it has the right values, delete "{expected}" instead and rename "{name}" to that.',
    ),
    "header.unknown/several": Reason(
        'Several columns seem to be "{expected}": {names}.',
        'Rename the one with the right values to "{expected}". Delete the others.',
    ),
    "header.unknown/marks": Reason(
        "The column names on line {line} are in marks that we do not expect: {mark}.",
        'Set the export to quote with " only. Or, in Notepad, delete the marks around each name and value.',
    ),
    "header.unknown/strange": Reason(
        "We do not know the column {names}.",
        "Rename or delete the column {names}, or write to us and we will set up its name.",
    ),
    "header.unknown/strange_many": Reason(
        "We do not know these columns: {names}.",
        "Rename or delete the columns that we do not know, or write to us and we will set up your names.",
    ),
    "header.unknown/strange_more": Reason(
        "We do not know these columns: {names} and {count} more.",
        "Rename or delete the columns that we do not know, or write to us and we will set up your names.",
    ),
    "header.unknown/boxes": Reason(
        "The file has boxes of a report that have no name there: {names}.",
        "Name the boxes in the report as we expect the columns, or delete the columns that you do not need.",
    ),
    "header.unknown/passwords": Reason(
        'The column "{name}" seems to have passwords, which we never import.',
        'Delete the column "{name}". If it has real passwords, change them.',
    ),
    "header.unknown/tokens": Reason(
        'The column "{name}" seems to have secret keys, which we never import.',
        'Delete the column "{name}". If it has real keys, replace them.',
    ),
    "header.unknown/mapping": Reason(
        'Our settings for your column "{name}" are wrong: "{expected}" does not exist.',
        "Write to us. We will correct the settings, and you can upload the file again.",
    ),
    "header.unknown/one_name": Reason(
        "Line {line} has no comma, semicolon or tab between names.",
        "Delete the lines above the column names, such as a title or an error message. If line {line} has the names, "
        "in Excel: Data > Text to Columns > Delimited, then File > Save As > CSV UTF-8.",
    ),
    "header.unknown/separator": Reason(
        'Line {line} has "{separator}" between the column names. We expect a comma, semicolon or tab.',
        'In Excel: Data > Text to Columns > Delimited > Other "{separator}", then File > Save As > CSV UTF-8.',
    ),
    "header.unknown/separator_other": Reason(
        'Line {line} has "{separator}" between the column names. We expect a comma, semicolon or tab.',
        "Choose one of them in the program that makes the file, and export it again.",
    ),
    "header.unknown/spaces": Reason(
        "Line {line} has spaces between the column names. We expect a comma, semicolon or tab.",
        "In Excel: Data > Text to Columns > Fixed width, then File > Save As > CSV UTF-8.",
    ),
    "header.unknown/transposed": Reason(
        "Each user has a column, with the column names in column A. We expect a row for each user.",
        "In Excel: copy the table, Paste Special > Transpose on a new sheet, then File > Save As > CSV UTF-8.",
    ),
    "header.unknown/list": Reason(
        "Each value is on a line of its own, after its name. We expect a row for each user.",
        "Choose CSV in the program that makes the file, and export it again.",
    ),
    "header.unknown/each_line": Reason(
        "Column names are in each row, next to values, and not only on line {line}.",
        "Have the export write each column name once, on the first line, or delete them from the other rows.",
    ),
    "header.unknown/one_line": Reason(
        "The whole file is one line, because its line ends are of a kind that we do not know.",
        "Choose the line ends of Windows (CRLF) in the program that makes the file, and export it again.",
    ),
    "header.unknown/quoted_line": Reason(
        "Quotation marks around the whole of line {line} make one name of all column names.", _INTO_CELLS
    ),
    "header.unknown/nameless": Reason(
        "Column {columns} has values but no name on line {line}.",
        "Name column {columns} or delete it. Its first value is on line {first}. If it is the only one, a value of "
        "that row was probably split in two.",
    ),
    "header.unknown/nameless_many": Reason(
        "Columns {columns} have values but no name on line {line}.",
        "Name or delete each of the columns {columns}. The first values are on line {first}.",
    ),
    "header.repeated": Reason('Two columns are called "{name}".', "Delete column {first} or column {second}."),
    "header.repeated/many": Reason(
        '{count} columns are called "{name}".', "Delete all but one of the columns {columns}."
    ),
    "header.unknown/row_numbers": Reason(
        "Column A has no name on line {line} and seems to have row numbers, the first one on line {first}.",
        "Leave the row numbers out of the export, or delete them from each line.",
    ),
    "header.unknown/numbered": Reason(
        'The column "{name}" seems to number the rows, not the users.',
        'Leave the row numbers out of the export, or delete the column "{name}".',
    ),
    "header.unknown/too_few": Reason(
        "Each row has {count} values, more than line {line} has column names ({width}).",
        "Add the missing name. If none is missing, {delimiter} splits a value: join its parts in one cell in Excel, or "
        "have the export put values in quotation marks.",
    ),
    "header.missing": Reason(
        'The column "unique_id" is missing.',
        'Rename the column that identifies each user, such as a student number, to "unique_id", or add such a column.',
    ),
    "header.missing/which": Reason(
        'No column is called "unique_id". It may be one of: {names}.',
        'Rename the one with a value for each user to "unique_id", the others to "student_no" or "employ_no". If none '
        "has, write to us.",
    ),
    "header.missing/needed": Reason(
        "New users need columns that the file does not have: {names}.", "If the file has new users, add these columns."
    ),
    "header.missing/source": Reason(
        "New users need columns that the file does not have: {names}.",
        "If the file has new users, add these columns. In login_source, enter how each signs in, such as OPSCOM.",
    ),
    "header.missing/title": Reason(
        "The column names are on line {line}. We expect them on the first line.", "Delete line {first}."
    ),
    "header.missing/titles": Reason(
        "The column names are on line {line}. We expect them on the first line.", "Delete lines {first} to {last}."
    ),
    "header.missing/below": Reason(
        "The column names are on line {line}, below users. We expect them on the first line.",
        "Move line {line} to the top of the file.",
    ),
    "header.missing/user": Reason(
        "Line {line} is a user. We expect column names there.",
        'Insert a first line that names your columns, one name in each cell and in their order, such as: "{names}".',
    ),
    "header.missing/user_more": Reason(
        "Line {line} is a user. We expect column names there.",
        "Insert a first line that names your {count} columns, one name in each cell and in their order, such as: "
        '"{names}".',
    ),
}

_CHANGED: Final[dict[str, Reason]] = {
    "header.changed/order": Reason("Line {line} is a line of column names again, in another order.", _ONE_ORDER),
    "header.changed/table": Reason(
        "Another table begins on line {line}: it has column names of its own.",
        "Delete the other table, from line {line} on, or make each table a file of its own.",
    ),
    "header.changed/names": Reason("Line {line} is a line of column names again, with other names.", _ONE_ORDER),
}

_LIMITS: Final[dict[str, Reason]] = {
    "limit.file": Reason("The file has more than {limit} MB, the most that we accept.", _SPLIT),
    "limit.file/kb": Reason("The file has more than {limit} KB, the most that we accept.", _SPLIT),
    "limit.inbox": Reason(
        "With this file your upload folder would have more than {limit} MB, the most allowed. Other files in it have "
        "{used} MB.",
        _DELETE,
    ),
    "limit.inbox/kb": Reason(
        "With this file your upload folder would have more than {limit} KB, the most allowed. Other files in it have "
        "{used} KB.",
        _DELETE,
    ),
    "check.name": Reason(
        "We do not import a file of this name.",
        "We take names like these: {names}. Rename the file, or save it as one of that kind, and upload it again.",
    ),
    "check.name/approval": Reason(
        "A file with this name approves another one, but not in the folder check.",
        "Upload this file to the folder above check.",
    ),
    "check.time": Reason(
        "We could not check the file to its end: it takes too long, or we had too much to import.",
        "Check a file with the names of the columns and the first thousand rows. To import the whole file, upload it "
        "to the folder above check.",
    ),
    "limit.line": Reason(
        "Line {line} is too long for one user.",
        "Each user needs a line: check that the export starts a new line for each user.",
    ),
    "limit.line/some": Reason(
        "A line is too long for one user.",
        "Each user needs a line: check that the export starts a new line for each user.",
    ),
    "limit.line/record": Reason(
        "The row that begins on line {line} goes on over too many lines; a quotation mark is probably never closed.",
        _PARTNERLESS,
    ),
    "limit.cell": Reason(
        "The cell on line {line}, column {column} has more than {limit} characters.",
        "If a quotation mark opens the cell and none closes it, delete that mark. If not, shorten the cell.",
    ),
    "limit.cell/name": Reason(
        "A column name on line {line} is far too long; a quotation mark is probably never closed.",
        _PARTNERLESS,
    ),
    "limit.columns": Reason(
        "Line {line} has {count} columns. At most {limit} are allowed.", "Delete the columns that you do not need."
    ),
    "limit.rows": Reason("The file has more than {limit} rows, the most that we accept.", _SPLIT),
    "limit.rows/blank": Reason(
        "The file has more than {limit} empty rows above line {line}.", "Delete the empty rows and upload it again."
    ),
}

FILE_REASONS: Final[dict[str, Reason]] = {
    **_KIND,
    **_END,
    **_ENCODING,
    **_QUOTES,
    **_NAMES,
    **_CHANGED,
    **_LIMITS,
    **GUARD_REASONS,
}
