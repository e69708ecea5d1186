"""The one table of everything an answer can say is wrong, with cause and remedy; documents are made from it."""

from __future__ import annotations

import enum
from typing import Final

import msgspec


class Level(enum.Enum):
    """What a code means for the file."""

    FILE = "nothing of the file is applied"
    ROW = "the row is not applied"
    WARNING = "applied all the same"


class Code(msgspec.Struct, frozen=True):
    """One code: what it is called, why it happens, what to do about it."""

    code: str
    level: Level
    title: str
    cause: str
    remedy: str


_TABLE: Final = (
    Code(
        "file.not_csv",
        Level.FILE,
        "the file is not CSV",
        "A workbook, an archive, a PDF or a web page was uploaded, perhaps renamed to .csv.",
        "Open it in the program it comes from and save it as CSV; in Excel: Save As, CSV UTF-8.",
    ),
    Code(
        "file.empty",
        Level.FILE,
        "the file is empty",
        "The export wrote nothing, or the upload was cut off before its first byte.",
        "Run the export again, look into the file, upload it again.",
    ),
    Code(
        "upload.incomplete",
        Level.FILE,
        "the file breaks off",
        "The upload was cut off and not resumed, or a quotation mark is opened and never closed.",
        "Upload the whole file again; if it was whole, double or remove the stray quotation mark.",
    ),
    Code(
        "file.shrunk",
        Level.FILE,
        "the file has far fewer rows than the one before",
        "The export left out a part of the users, or the upload was cut off between two rows.",
        "Upload a file of all users, or ask us to let this one through.",
    ),
    Code(
        "encoding.invalid",
        Level.FILE,
        "the file is not UTF-8 text",
        "The program that wrote the file used another encoding, such as Windows-1252 or UTF-16 without a mark.",
        'Save the file as "CSV UTF-8", or ask us to set a fallback encoding for your organisation.',
    ),
    Code(
        "encoding.nul",
        Level.FILE,
        "the file holds a NUL byte",
        "The file was damaged on its way, or is not text.",
        "Export the file again and upload it again.",
    ),
    Code(
        "csv.quoting",
        Level.FILE,
        "quotation marks do not match",
        "A cell that begins with a quotation mark does not end with one just before the next delimiter.",
        "Write each quotation mark inside a quoted cell twice, or remove it.",
    ),
    Code(
        "header.unknown",
        Level.FILE,
        "a column name is not known",
        "The first line has a name that is none of the possible names.",
        "Rename the column as proposed, remove it, or ask us to map it.",
    ),
    Code(
        "header.repeated",
        Level.FILE,
        "a column name stands twice",
        "Two columns have the same name, so that it is open which one counts.",
        "Remove or rename one of them.",
    ),
    Code(
        "header.missing",
        Level.FILE,
        "a required column is missing",
        "The line of names has no column unique_id; or it is not the first line, or not there at all.",
        "Add the column, or make the line of names the first.",
    ),
    Code(
        "limit.file",
        Level.FILE,
        "the file is too large",
        "The file has more bytes than one import may have.",
        "Split the file into several, each with the line of names.",
    ),
    Code(
        "limit.line",
        Level.FILE,
        "a line is too long",
        "A line has more bytes than any row of users needs.",
        "Look at the line; an export that writes no line ends makes the whole file one line.",
    ),
    Code(
        "limit.cell",
        Level.FILE,
        "a cell is too long",
        "A cell has more characters than any value needs; a quotation mark that is never closed does this too.",
        "Look at the line where the cell begins; double or remove the stray quotation mark.",
    ),
    Code(
        "limit.columns",
        Level.FILE,
        "too many columns",
        "The first line has more columns than a file of users may have.",
        "Remove the columns that are not needed.",
    ),
    Code(
        "limit.rows",
        Level.FILE,
        "too many rows",
        "The file has more rows, or more blank ones, than one import may have.",
        "Split the file into several, each with the line of names, or remove the blank rows.",
    ),
    Code(
        "9003",
        Level.ROW,
        "the row has another number of fields than the header",
        "A delimiter inside a value is not quoted, or cells are missing at the end.",
        "Put the value in quotation marks, or add the missing cells.",
    ),
    Code("9013", Level.ROW, "unique id required", "The cell is blank.", "Fill in the user's unique id."),
    Code(
        "9014",
        Level.ROW,
        "login source required",
        "The user is new and the login source is blank, or its column is missing.",
        "Fill in one of the login sources.",
    ),
    Code(
        "9015",
        Level.ROW,
        "login source not configured",
        "The value is none of the login sources set up here.",
        "Use one of those that are, letter for letter, or ask us to add it.",
    ),
    Code(
        "9016",
        Level.ROW,
        "e-mail required",
        "The user is new and the e-mail is blank, or its column is missing.",
        "Fill in the address.",
    ),
    Code(
        "9017",
        Level.ROW,
        "first name required",
        "The user is new and the first name is blank, or its column is missing.",
        "Fill in the first name.",
    ),
    Code(
        "9018",
        Level.ROW,
        "last name required",
        "The user is new and the last name is blank, or its column is missing.",
        "Fill in the last name.",
    ),
    Code(
        "9019",
        Level.ROW,
        "e-mail belongs to another user",
        "After this file two users would have the address.",
        "Give each user an address of their own, or send the right unique id.",
    ),
    Code(
        "9020",
        Level.ROW,
        "user name belongs to another user",
        "After this file two users would have the user name.",
        "Give each user a user name of their own, or send the right unique id.",
    ),
    Code(
        "9022",
        Level.ROW,
        "the unique id stands in the file more than once",
        "Rows with the same unique id say different things, so that it is open which one counts.",
        "Keep one row for each unique id.",
    ),
    Code(
        "9030",
        Level.ROW,
        "too many characters",
        "The value is longer than the attribute may be; nothing is ever cut.",
        "Shorten the value.",
    ),
    Code(
        "9033",
        Level.ROW,
        "value invalid",
        "The value breaks the rule of its attribute, or holds a character that cannot be meant.",
        "Correct the value as the reason says.",
    ),
    Code(
        "file.no_users",
        Level.WARNING,
        "the file has a header and no users",
        "A broken export looks like this.",
        "Look at the export if users were expected.",
    ),
    Code(
        "file.unterminated",
        Level.WARNING,
        "the last line does not end",
        "The file may have been cut off inside its last cell.",
        "Compare the last row with the source.",
    ),
    Code(
        "file.substitute",
        Level.WARNING,
        "an end-of-file mark was dropped",
        "The file ends with byte 0x1A, as old DOS programs write it.",
        "Nothing to do.",
    ),
    Code(
        "encoding.fallback",
        Level.WARNING,
        "the file was read in the fallback encoding",
        "The file is not UTF-8, and a fallback encoding is set for your organisation.",
        'Check the letters that are quoted; better, save the file as "CSV UTF-8".',
    ),
    Code(
        "encoding.garbled",
        Level.WARNING,
        "letters look wrongly decoded",
        "The program that wrote the file read UTF-8 text as something else.",
        "Look at the value, and at how the export reads its own source.",
    ),
    Code(
        "column.secret",
        Level.WARNING,
        "a secret was uploaded",
        "The file has a column of tokens or passwords. It was neither stored nor sent back.",
        "Leave the column out, and change what it held.",
    ),
    Code(
        "columns.disagree",
        Level.WARNING,
        "two columns for the same thing disagree",
        "Both names of one attribute are in the file, with different values in a row; the first counts.",
        "Keep one of the two columns.",
    ),
    Code(
        "row.repeated",
        Level.WARNING,
        "equal rows stand in the file more than once",
        "They count once.",
        "Remove the repetition from the export.",
    ),
    Code(
        "id.case",
        Level.WARNING,
        "unique ids that differ in case only are two users",
        "The file has an id in capitals and in small letters; each is taken for a user of its own.",
        "Write each unique id always the same way.",
    ),
    Code(
        "id.recorded_case",
        Level.WARNING,
        "new users have the unique id of an earlier one, but for capitals",
        "An earlier file wrote the id in other capitals; the new one was taken for a user of its own, beside that one.",
        "Write each unique id always the same way; ask the operator to remove the user who is not meant.",
    ),
    Code(
        "value.damaged",
        Level.WARNING,
        "a number looks damaged by a spreadsheet",
        "A spreadsheet has turned a long number into one like 1.2E+05.",
        "Format the column as text in the spreadsheet and fill it in again.",
    ),
    Code(
        "value.placeholder",
        Level.WARNING,
        "NULL, N/A, none or a dash stands there as a value",
        "Such a word may be meant to say that there is no value; if nothing else is wrong with the row, it is stored.",
        "Leave the cell blank instead.",
    ),
)

CODES: Final[dict[str, Code]] = {code.code: code for code in _TABLE}
