"""What can be wrong with a workbook or an archive, and what to do about it; see `codes` and `reasons`."""

from __future__ import annotations

from typing import Final

from importer.wording.template import Code, Level, Reason

_AS_WORKBOOK: Final = "Open it in Excel, choose File > Save As > Excel Workbook (.xlsx), and upload that file."
_UPLOAD_INSIDE: Final = "Unpack the archive and upload the file with the users as it is."

UNWRAPPING_CODES: Final = (
    Code(
        "wrap.damaged",
        Level.FILE,
        "The workbook or archive cannot be opened",
        "It was damaged on its way, or the program that made it did not finish.",
        "A workbook that Excel offers to repair.",
        "Open it. If that works, save it under another name and upload that file. If not, export the users again.",
    ),
    Code(
        "wrap.files",
        Level.FILE,
        "The archive does not have exactly one file of users",
        "We take one file out of an archive, a CSV file or a workbook. If there are several, we cannot know which "
        "one counts.",
        "`users.zip` with `students.csv` and `staff.csv` in it.",
        "Upload the files one by one, without an archive.",
    ),
    Code(
        "wrap.limit",
        Level.FILE,
        "The workbook or archive is too large inside",
        "What comes out of it has more than we accept, or would be very many times its own size.",
        "A workbook with a million formatted rows, of which 200 are users.",
        "Copy the users alone to a new workbook and upload that, or save the sheet as CSV UTF-8.",
    ),
    Code(
        "wrap.locked",
        Level.FILE,
        "The file has a password",
        "Nobody but those who know the password can open it, and we do not.",
        "A workbook with File > Info > Protect Workbook > Encrypt with Password.",
        "Remove the password and upload the file again. SFTP encrypts it on its way.",
    ),
    Code(
        "sheet.choice",
        Level.FILE,
        "We cannot tell which sheet has the users",
        "Several sheets of the workbook have names of columns on their first row, or none has.",
        "A workbook with the sheets `Students` and `Staff`.",
        "Delete or hide the other sheets, or upload each sheet as a file of its own.",
    ),
)

UNWRAPPING_WARNINGS: Final = (
    Code(
        "sheet.hidden",
        Level.WARNING,
        "Rows or columns of the sheet are hidden",
        "A filter or a person hid them. We imported them like all others.",
        "Rows 12 to 40 are filtered out.",
        "Show them and look at them. If they are not users, delete them and upload the workbook again.",
        is_mailed=True,
    ),
    Code(
        "sheet.merged",
        Level.WARNING,
        "Cells of the sheet are merged",
        "Merged cells have one value, in the first of them. The others are blank for us.",
        "One `city` for the rows 2 to 9.",
        "Unmerge the cells, enter the value in each row, and upload the workbook again.",
        is_mailed=True,
    ),
)

UNWRAPPING_REASONS: Final[dict[str, Reason]] = {
    "file.empty/workbook": Reason(
        "The workbook has no rows that can be seen.", "Look whether the sheet with the users is hidden, and show it."
    ),
    "file.not_csv/xlsb": Reason("The file is a binary Excel workbook (.xlsb), which we cannot read.", _AS_WORKBOOK),
    "wrap.damaged": Reason(
        "The archive cannot be opened. It is damaged, or has a form that we do not know.", _UPLOAD_INSIDE
    ),
    "wrap.damaged/workbook": Reason(
        "The workbook cannot be read. It is damaged, or the program that made it does not keep to the standard.",
        _AS_WORKBOOK,
    ),
    "wrap.files": Reason(
        "The archive has {count} files that could be the users: {names}.",
        "Upload them one by one, without an archive.",
    ),
    "wrap.files/many": Reason("The archive has {count} files.", "Upload the one with the users, without an archive."),
    "wrap.files/none": Reason("The archive has no file in it.", "Upload the file with the users as it is."),
    "wrap.files/nested": Reason("The archive has another archive in it.", _UPLOAD_INSIDE),
    "wrap.limit": Reason(
        "There are more than {limit} MB in the file, the most that we accept.",
        "Split the users into several files, each with the column names on its first line.",
    ),
    "wrap.limit/memory": Reason(
        "The workbook is too large for us: it has too many different texts or formats.",
        "Save the sheet with the users as CSV UTF-8, and upload that file.",
    ),
    "wrap.limit/ratio": Reason(
        "The file unpacks to more than {limit} times its size, so it is hardly a list of users.", _UPLOAD_INSIDE
    ),
    "wrap.limit/time": Reason(
        "The workbook takes too long to read.",
        "Copy the users alone to a new workbook and upload that, or save the sheet as CSV UTF-8.",
    ),
    "wrap.locked": Reason(
        "The workbook has a password.",
        "In Excel, choose File > Info > Protect Workbook > Encrypt with Password, delete the password, and save. SFTP "
        "protects the file on its way.",
    ),
    "wrap.locked/archive": Reason(
        "The archive has a password.", "Upload the file without one. SFTP protects it on its way."
    ),
    "sheet.choice": Reason(
        "Several sheets have column names on their first row: {sheets}.",
        "Upload each as a file of its own, or delete the sheets that are not to be imported.",
    ),
    "sheet.choice/none": Reason(
        "No sheet has column names on its first row: {sheets}.",
        "Put the column names on the first row of the sheet with the users, and delete the others.",
    ),
    "sheet.hidden": Reason(
        "These rows are hidden in the sheet. We imported them, too.",
        "Show all rows. If these are not users, delete them and upload the workbook again.",
    ),
    "sheet.hidden/columns": Reason(
        "These columns are hidden in the sheet: {columns}. We imported them, too.",
        "Show them and check their values.",
    ),
    "sheet.merged": Reason(
        "Cells of the sheet are merged: {places}. Only the first cell of each has a value for us.",
        "Unmerge them, enter the value in each cell, and upload the workbook again.",
    ),
}
