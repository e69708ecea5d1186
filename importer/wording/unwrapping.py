"""What can be wrong with a workbook, an archive or an encrypted file, and what to do; see `codes` and `reasons`."""

from __future__ import annotations

from typing import Final

from importer.wording.template import Code, Level, Reason

_AS_WORKBOOK: Final = "Open it in Excel, choose File > Save As > Excel Workbook (.xlsx), and upload that file."
_ENCRYPT_AGAIN: Final = "Encrypt the file with the users again, for our public key."
_SIGN: Final = "Encrypt the file for our public key, and sign it with the key {fingerprint}."
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
        "pgp.wrong_key",
        Level.FILE,
        "The file is encrypted for another key",
        "Only the owner of the key that you encrypted it for can open it, and that is not us.",
        "Kleopatra had your own key as the only one to encrypt for.",
        "Encrypt the file again. Choose our public key, which we sent you, as the one to encrypt for.",
    ),
    Code(
        "pgp.expired",
        Level.FILE,
        "A PGP key has expired",
        "Our key, for which the file is encrypted, may no longer be used. Or yours has expired, with which "
        "you signed it.",
        "The key was valid for three years, until last week.",
        "Ask us for our new public key, and encrypt the file for that. If your own key has expired, extend it and "
        "send us its public part.",
    ),
    Code(
        "pgp.damaged",
        Level.FILE,
        "The encrypted file is damaged",
        "It was cut off or changed on its way. Or your program encrypts in an old way, by which changes go unnoticed.",
        "A program uploaded the file as text, and changed line ends in it.",
        _ENCRYPT_AGAIN,
    ),
    Code(
        "pgp.unsigned",
        Level.FILE,
        "The signature is missing or is not yours",
        "Your files have to be signed, so that nobody else can upload one in your name. This file has no signature, or "
        "that of another key, or it was changed after somebody signed it.",
        "In Kleopatra, Sign as was not ticked.",
        "Encrypt the file again, and sign it with the key that we know of you.",
    ),
    Code(
        "pgp.not_encrypted",
        Level.FILE,
        "The file is not encrypted",
        "Its name says that it is encrypted, or your files have to be, and everybody can read this one.",
        "`users.csv` was renamed to `users.csv.pgp`.",
        "Encrypt the file for our public key.",
    ),
    Code(
        "pgp.messages",
        Level.FILE,
        "There is more in the file than one encrypted file",
        "Two encrypted files were put together, or other text was added at the end. We cannot know what counts.",
        "A program added each export to the same file.",
        "Encrypt one file with all users, and upload that.",
    ),
    Code(
        "pgp.symmetric",
        Level.FILE,
        "The file is encrypted with a password",
        "Only who knows the password can open it, and we do not.",
        "`gpg --symmetric`, or Encrypt with password in Kleopatra.",
        "Encrypt the file for our public key, without a password.",
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
        "Unpack the archive and upload the files one by one.",
    ),
    "wrap.files/many": Reason("The archive has {count} files.", "Upload the file with the users, without an archive."),
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
    "wrap.limit/ratio/workbook": Reason(
        "The workbook unpacks to more than {limit} times its size, so it is hardly a list of users alone.",
        "Copy the users alone to a new workbook and upload that, or save the sheet as CSV UTF-8.",
    ),
    "wrap.limit/time": Reason(
        "The workbook takes too long to read.",
        "Copy the users alone to a new workbook and upload that, or save the sheet as CSV UTF-8.",
    ),
    "wrap.limit/wide": Reason(
        "The sheet has values as far as column {column}, and is too large for us.",
        "Copy the users alone to a new workbook and upload that, or save the sheet as CSV UTF-8.",
    ),
    "wrap.locked": Reason(
        "The workbook has a password.",
        "In Excel, choose File > Info > Protect Workbook > Encrypt with Password, delete the password, and save. SFTP "
        "protects the file on its way.",
    ),
    "wrap.locked/archive": Reason(
        "The archive has a password.",
        "Make the archive without a password, or upload the file in it as it is. SFTP protects it on its way.",
    ),
    "pgp.damaged": Reason("The encrypted file is damaged or cut off.", _ENCRYPT_AGAIN),
    "pgp.damaged/text": Reason(
        "An editor such as Notepad saved the encrypted file anew, and changed it.",
        "Encrypt the file with the users again, and upload what comes out without opening it.",
    ),
    "pgp.damaged/time": Reason("The file takes too long to decrypt.", _ENCRYPT_AGAIN),
    "pgp.damaged/unprotected": Reason(
        "The file is encrypted in an old way, by which nobody notices that it was changed.",
        "Encrypt it with a program of today, such as Gpg4win 4 or GnuPG 2.2.",
    ),
    "pgp.expired": Reason(
        "Our key {fingerprint} expired on {date}.", "Ask us for our new public key, and encrypt the file for that."
    ),
    "pgp.expired/signature": Reason(
        "The signature of the file, or the key that signed it, has expired.",
        "Extend the key, send us its public part, and sign and encrypt the file again.",
    ),
    "pgp.messages": Reason(
        "There is more in the file than one encrypted file.", "Encrypt one file with all users, without adding to it."
    ),
    "pgp.messages/nested": Reason(
        "There is an encrypted file in an archive, or in another encrypted file.",
        "Encrypt the file with the users once. If it is to be packed, pack it before.",
    ),
    "pgp.not_encrypted": Reason(
        "The name says that the file is encrypted, but it is not.",
        "Encrypt the file for our public key. If that is not needed, give it a name that ends in .csv.",
    ),
    "pgp.not_encrypted/key": Reason(
        "The file is a PGP key or a signature, not a file of users.",
        "Send us keys by mail, and upload files of users here.",
    ),
    "pgp.not_encrypted/message": Reason(
        "The file is packed or signed by PGP, but not encrypted.", "Encrypt the file for our public key."
    ),
    "pgp.not_encrypted/required": Reason("Your files have to be encrypted and signed, and this one is not.", _SIGN),
    "pgp.symmetric": Reason(
        "The file is encrypted with a password.", "Encrypt the file for our public key, without a password."
    ),
    "pgp.unsigned": Reason("The file has no signature.", _SIGN),
    "pgp.unsigned/bad": Reason(
        "The file was changed after it was signed, or its signature is damaged.", "Sign and encrypt the file again."
    ),
    "pgp.unsigned/other": Reason("The file is signed, but not by your key.", _SIGN),
    "pgp.wrong_key": Reason(
        "The file is encrypted, but not for our key {fingerprint}.",
        "Encrypt the file for our public key, which we sent you.",
    ),
    "sheet.choice": Reason(
        "Several sheets have column names on their first row: {sheets}.",
        "Upload each sheet as a file of its own, or delete the sheets that are not to be imported.",
    ),
    "sheet.choice/none": Reason(
        "No sheet has column names on its first row: {sheets}.",
        "Put the column names on the first row of the sheet with the users, and delete the other sheets.",
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
