"""The table of everything that an answer can say is wrong, or warn of: the guide and docs/codes.md come from it."""

from __future__ import annotations

from typing import Final

from importer.wording.guard_codes import CHANGE_CODES, DECIDED_CODES, FEED_ROWS, GUARD_CODES
from importer.wording.template import Code, Level
from importer.wording.unwrapping import UNWRAPPING_CODES, UNWRAPPING_WARNINGS

CODE_PARTS: Final = ("title", "cause", "example", "remedy")

_SAVE: Final = "In Excel, click File, Save As, and choose CSV UTF-8."

_FILES: Final = (
    Code(
        "file.not_csv",
        Level.FILE,
        "The file is not CSV",
        "It is another kind of file, such as an Excel workbook, a PDF or a ZIP archive. Renaming it to .csv does not "
        "change what it is.",
        "`users.xlsx` was renamed to `users.csv`.",
        f"Open the file in the program that wrote it, and save it as CSV. {_SAVE}",
    ),
    Code(
        "file.empty",
        Level.FILE,
        "The file is empty",
        "It has nothing in it, or only empty lines. Usually the export found no users or was stopped.",
        "A file of 0 bytes.",
        "Export the users again, open the file to see whether they are in it, and upload it.",
    ),
    Code(
        "upload.incomplete",
        Level.FILE,
        "The file stops part-way",
        "The upload was interrupted before the end of the file. Or a quotation mark opens a value and is not closed.",
        "The last line is `S0012345,OPSCOM,Zo`, and the rest is missing.",
        "Upload the whole file again. If the upload was complete, delete the quotation mark in Notepad.",
    ),
    Code(
        "encoding.invalid",
        Level.FILE,
        "The letters are saved in a format that we cannot read",
        "The program that saved the file uses an older format for accented letters, not UTF-8.",
        "The file was saved as CSV, and not as CSV UTF-8, and has a name such as Zoé.",
        f"Save the file again. {_SAVE} If your program cannot do that, write to us.",
    ),
    Code(
        "encoding.nul",
        Level.FILE,
        "The file is damaged",
        "It has bytes that no text file has. It was damaged on its way, or is not a text file.",
        "An export was stopped because the disk was full.",
        "Export the users again and upload the new file.",
    ),
    Code(
        "csv.quoting",
        Level.FILE,
        "Quotation marks do not match",
        "A value begins with a quotation mark, and the one that should end it is missing, is a curly one, "
        "or is not at the end.",
        '`"Robert "Bob" Lee"` in place of `"Robert ""Bob"" Lee"`.',
        "Open the file in Notepad, and delete each quotation mark inside a value, or write it twice. If your users are "
        "in Excel, save them there as CSV UTF-8: Excel does it by itself.",
    ),
    Code(
        "header.unknown",
        Level.FILE,
        "We do not know the name of a column",
        "The first line has a name that is not one of ours, and that is not set up as one of yours.",
        "`Surname` in place of `last_name`.",
        "Rename the column as our answer says, or delete it. If you want to keep the name, write to us: we set it up.",
    ),
    Code(
        "header.repeated",
        Level.FILE,
        "Two columns have the same name",
        "We cannot know which of the two counts.",
        "The first line is `unique_id,email,email`.",
        "Delete one of the two columns, or give it its right name.",
    ),
    Code(
        "header.missing",
        Level.FILE,
        "A column is missing",
        "The file does not have the column unique_id, or one that new users need. Or the names of the columns are not "
        "on the first line.",
        "The first line is a title, such as `Users 2026`, or already a user.",
        "Add the column that our answer names. Delete everything above the line with the names of the columns.",
    ),
    Code(
        "header.changed",
        Level.FILE,
        "The columns change in the middle of the file",
        "A line below the first one has names of columns, too, but others or in another order. The file was put "
        "together from files with different columns.",
        "Line 1 is `unique_id,first_name,last_name`, and line 300 is `unique_id,last_name,first_name`.",
        "Bring all users into the columns of the first line, and delete the other line. Or upload each part as a file "
        "of its own.",
    ),
    Code(
        "limit.file",
        Level.FILE,
        "The file is too large",
        "It is larger than one file may be.",
        "An export with the history of ten years.",
        "Split it into several files, each with the names of the columns on its first line.",
    ),
    Code(
        "limit.inbox",
        Level.FILE,
        "The upload folder is full",
        "Files that stay in the upload folder, such as unfinished uploads, take more room than it may have.",
        "Copies of older exports in a folder of their own.",
        "Delete from the upload folder what you do not need, and upload the file again.",
    ),
    Code(
        "check.name",
        Level.FILE,
        "The name of the file has another ending than we take",
        "We tell by the name what is a file of users. One with another name stays in the folder, and is not imported.",
        "`users.csv.txt` in place of `users.csv`.",
        "Rename the file so that its name ends in `.csv`, or save it as CSV UTF-8.",
    ),
    Code(
        "check.time",
        Level.FILE,
        "Checking the file took too long",
        "We check files in the folder check only while we have nothing to import, and each for some minutes at most.",
        "A file with a million rows.",
        "Check a file with the names of the columns and the first thousand rows. To import the whole file, upload it "
        "to the folder above check.",
    ),
    Code(
        "limit.line",
        Level.FILE,
        "A line is too long",
        "A line is much longer than a user needs. Often the export does not end its lines.",
        "All users are on one line.",
        "Look at the line that our answer names, and correct the export.",
    ),
    Code(
        "limit.cell",
        Level.FILE,
        "A value is too long",
        "A value is much longer than any may be. Often a quotation mark opens it and is not closed.",
        '`"Lee` in place of `Lee`: all that follows becomes part of the name.',
        "Look in Notepad at the line that our answer names, and delete the quotation mark.",
    ),
    Code(
        "limit.columns",
        Level.FILE,
        "The file has too many columns",
        "It has more columns than a file may have.",
        "A report with one column for each day.",
        "Delete the columns that we do not need.",
    ),
    Code(
        "limit.rows",
        Level.FILE,
        "The file has too many rows",
        "It has more rows than one file may have. Empty rows count, too.",
        "A sheet that was saved with a million empty rows.",
        "Delete the empty rows, or split the file into several, each with the names of the columns on its first line.",
    ),
)

_BLANK: Final = "A user whom we do not have yet needs it, and the cell is blank or the column is missing."

_ROWS: Final = (
    Code(
        "9003",
        Level.ROW,
        "The row has too many or too few values, or is not a user",
        "A comma inside a value splits it in two. Or values are missing, or are some columns away from their own. Or "
        "the row is a total, the heading of a group, a line of dashes or an error message, which the export writes "
        "between users or below them.",
        "`12 Main St, Unit 4` without quotation marks, or a last row `Total: 812`.",
        "Bring each value back to its column, such as by joining its parts in one cell of Excel, and save as CSV "
        "UTF-8. Delete a row that is not a user, or switch it off in the export.",
    ),
    Code(
        "9013",
        Level.ROW,
        "The unique_id is missing",
        "The cell is blank. Often the row is not a user, but a total or a note.",
        "`,OPSCOM,Zoé,Tremblay,zoe.tremblay@example.org`",
        "Enter the unique_id of the user, or delete the row.",
    ),
    Code(
        "9014",
        Level.ROW,
        "The login source is missing",
        _BLANK,
        "`S0012345,,Zoé,Tremblay,zoe.tremblay@example.org`",
        "Enter one that our answer names, or delete the row. For a user whom we have, check the unique_id.",
    ),
    Code(
        "9015",
        Level.ROW,
        "We do not know the login source",
        "The value is not one of those that we have set up.",
        "`ops-com` in place of `OPSCOM`.",
        "Enter one that our answer names, letter for letter. If you need another one, write to us.",
    ),
    Code(
        "9016",
        Level.ROW,
        "The e-mail address is missing",
        _BLANK,
        "`S0012345,OPSCOM,Zoé,Tremblay,`",
        "Enter the address, or delete the row. For a user whom we have, check the unique_id.",
    ),
    Code(
        "9017",
        Level.ROW,
        "The first name is missing",
        _BLANK,
        "`S0012345,OPSCOM,,Tremblay,zoe.tremblay@example.org`",
        "Enter the first name, or delete the row. For a user whom we have, check the unique_id.",
    ),
    Code(
        "9018",
        Level.ROW,
        "The last name is missing",
        _BLANK,
        "`S0012345,OPSCOM,Zoé,,zoe.tremblay@example.org`",
        "Enter the last name, or delete the row. For a user whom we have, check the unique_id.",
    ),
    Code(
        "9019",
        Level.ROW,
        "Another user has this e-mail address",
        "Each user needs an address of their own. Capitals make no difference.",
        "Zoé and her brother both have `tremblay@example.org`. Or Zoé has a new unique_id.",
        "Give each user their own address. For a family with one, write to us. If both are the same person, use the "
        "unique_id that we have. If all users have new unique_ids, write to us.",
    ),
    Code(
        "9020",
        Level.ROW,
        "Another user has this user name",
        "Each user needs a user name of their own. Capitals make no difference.",
        "Zoé and Zacharie Tremblay both have `ztremblay`.",
        "Give each user their own user name. If both are the same person, use the unique_id that we have. If all users "
        "have new unique_ids, write to us.",
    ),
    Code(
        "9022",
        Level.ROW,
        "Several rows have the same unique_id",
        "They say different things, and we cannot know which is right.",
        "Lines 4 and 5 have `S0012345`, with two different e-mail addresses.",
        "Keep the right row and delete the others. If they are two people, correct one unique_id.",
    ),
    Code(
        "9030",
        Level.ROW,
        "A value has too many characters",
        "It is longer than its column may be. We do not cut values.",
        "A street of 30 characters in `street2`, which has at most 20.",
        "Shorten the value.",
    ),
    Code(
        "9033",
        Level.ROW,
        "A value does not fit its column",
        "It breaks the rule of its column, or has a character that nobody typed.",
        "`23/05/2001` in `date_of_birth`, or `Ontario` in `province`.",
        "Correct the value as the reason in the row says, or delete the row if it is not a user.",
    ),
)

_WARNINGS: Final = (
    Code(
        "file.no_users",
        Level.WARNING,
        "The file has no users",
        "It has the names of the columns and nothing below them.",
        "An export with a filter that nobody passes.",
        "If there should be users, correct the export and upload the file again.",
    ),
    Code(
        "file.unterminated",
        Level.WARNING,
        "The last line may be cut off",
        "It does not end like the other lines. Perhaps its last value is not complete.",
        "The last value is `zoe.tremblay@example.o`.",
        "Compare the last user with your list. If something is missing, upload the file again.",
    ),
    Code(
        "file.substitute",
        Level.WARNING,
        "The file ends with a mark of an old program",
        "Some old programs write an invisible character at the end. We left it out.",
        "An export from a program for DOS.",
        "There is nothing to do.",
    ),
    Code(
        "encoding.fallback",
        Level.WARNING,
        "We read the letters in an older format",
        "The file is not UTF-8. We read it in the format that is set up for you.",
        "`Zoé` may have become `ZoŽ`.",
        f"Look at the letters that our answer names. It is safer to save the file as UTF-8. {_SAVE}",
        is_mailed=True,
    ),
    Code(
        "encoding.garbled",
        Level.WARNING,
        "Some letters look garbled",
        "A program read letters in another format, or wrote codes in their place, before it wrote the file.",
        "`ZoÃ©`, `Zo&eacute;` or `Zo?` in place of `Zoé`.",
        "Correct the letters where your list comes from, and upload the file again.",
        is_mailed=True,
    ),
    Code(
        "column.secret",
        Level.WARNING,
        "The file has passwords or other secrets",
        "We neither stored them nor sent them back, but they left your system.",
        "A column called `password`.",
        "Leave the column out of the file, and change these passwords.",
        is_mailed=True,
    ),
    Code(
        "columns.ignored",
        Level.WARNING,
        "Columns that we do not know were ignored",
        "The first line has names that we do not know, and your settings allow that.",
        "A column is called `Homeroom`.",
        "If we should import the column, rename it, or write to us and we will set up its name.",
        is_mailed=True,
    ),
    Code(
        "columns.disagree",
        Level.WARNING,
        "Two columns for the same thing disagree",
        "The file has both names that a column can have, with different values. We took the first.",
        "`province` is `ON`, and `state` is `QC`.",
        "Delete one of the two columns.",
    ),
    Code(
        "header.again",
        Level.WARNING,
        "The names of the columns are in the file more than once",
        "The file was put together from several. We passed over each further line of names.",
        "Line 300 is the same as line 1.",
        "Check that all parts are in the file, and delete the further lines of names in the export.",
        is_mailed=True,
    ),
    Code(
        "row.repeated",
        Level.WARNING,
        "Some rows are in the file more than once",
        "They are the same in every cell. We took each once.",
        "Zoé Tremblay is on line 4 and, the same, on line 90.",
        "Delete the copies where your list comes from.",
    ),
    Code(
        "id.case",
        Level.WARNING,
        "Two users differ only in the capitals or leading zeros of their unique_id",
        "We take them for two users, because capitals and zeros count. Excel drops leading zeros.",
        "`S0012345` and `s0012345`, or `00123` and `123`.",
        "If they are the same person, always write the unique_id the same way, and write to us.",
        is_mailed=True,
    ),
    Code(
        "id.recorded_case",
        Level.WARNING,
        "A new user has the unique_id of another one, but for capitals or leading zeros",
        "An earlier file wrote the unique_id in other capitals, or with leading zeros, which Excel drops. "
        "We now have two users.",
        "Earlier files had `S0012345`, this one has `s0012345`. Or `00123`, and now `123`.",
        "Always write the unique_id the same way. Write to us, and we remove the user who is not meant.",
        is_mailed=True,
    ),
    Code(
        "value.damaged",
        Level.WARNING,
        "A program changed a number",
        "A spreadsheet shortened it, lost its last digits or made a date of it, or a program wrote .0 at its end.",
        "`1.2E+05` in place of `123456`, `2-Jan` in place of `1-2`, `6135550100.0` in place of `6135550100`.",
        "Format the column as Text in Excel, enter the number again, and upload the file.",
        is_mailed=True,
    ),
    Code(
        "email.letters",
        Level.WARNING,
        "An e-mail address has unusual letters",
        "It has accents, a curly apostrophe or full-width characters. Most mail systems cannot deliver to it.",
        "`rené.côté@example.org` in place of `rene.cote@example.org`.",
        "Compare the address with the one that the person uses, and correct it.",
        is_mailed=True,
    ),
    Code(
        "email.misspelt",
        Level.WARNING,
        "An e-mail address is probably misspelt",
        "Its end is nearly that of a provider of many people, or an end that no address has.",
        "`ann.lee@gmial.com` in place of `ann.lee@gmail.com`, or an address that ends in `.con`.",
        "Compare the address with the one that the person uses, and correct it.",
        is_mailed=True,
    ),
    Code(
        "name.doubtful",
        Level.WARNING,
        "A name has an address or a number, or is two in one",
        "Values may be in the wrong columns, or a column has the whole name. We stored them as they are.",
        "`ann.lee@example.org` or `Lee, Ann` in `first_name`.",
        "Look at the order of the columns, correct the name, and upload the file again.",
        is_mailed=True,
    ),
    Code(
        "row.shifted",
        Level.WARNING,
        "Values of a row seem to be in the wrong columns",
        "A cell is missing, or a comma split a value in two, and the values behind it moved. Or a value is of another "
        "kind than its column. The row has as many cells as it should, so we stored it.",
        "`ON` in `city` and `12 Main St` in `phone_cell`.",
        "Bring each value of the row back to its column, and upload the file again.",
        is_mailed=True,
    ),
    Code(
        "value.marks",
        Level.WARNING,
        "Marks or remarks are part of a value",
        'The export quotes values with other marks than ", or somebody wrote a sign or a remark next to the value. We '
        "stored them with it.",
        "`O\\'Brien`, `“Ann”`, `#100`, `Lee (deceased)` or `ann@example.org.old`.",
        'Set the export to quote values with " only, and delete signs and remarks there. Upload the file again.',
        is_mailed=True,
    ),
    Code(
        "value.placeholder",
        Level.WARNING,
        "A word or a day is in place of a value",
        "We stored it as it is, but it looks as if it means that the value is not known. A day is told that very many "
        "people have as their date of birth.",
        "`N/A` in `phone_cell`, or `1900-01-01` in `date_of_birth`.",
        "Leave the cell blank if you do not have the value.",
    ),
)

_ALL_WARNINGS: Final = (*_WARNINGS, *UNWRAPPING_WARNINGS, *CHANGE_CODES)
_ALL: Final = (*_FILES, *UNWRAPPING_CODES, *DECIDED_CODES, *GUARD_CODES, *_ROWS, *FEED_ROWS, *_ALL_WARNINGS)
CODES: Final[dict[str, Code]] = {code.code: code for code in _ALL}
MAILED: Final = frozenset(code.code for code in _ALL_WARNINGS if code.is_mailed)
