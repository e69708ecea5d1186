"""What was imported all the same and should be looked at, and what to do about it; see `reasons` for the keys."""

from __future__ import annotations

from typing import Final

from importer.wording.template import Reason

_UPLOAD_AGAIN: Final = "Correct them in the export and upload again."
_SAVE_UTF8: Final = "In Excel: File > Save As > CSV UTF-8."
_NAME_THEM: Final = "If we should import one of them, rename it, or write to us and we will set up its name."
_UNKNOWN_DAY: Final = "Enter the real date, or leave the cell blank if you do not know it."
_SAME_ID: Final = "Write each unique_id the same way everywhere."
_ZEROS_STAY: Final = (
    "If they are one person, write the unique_id the same way everywhere, in a column with the format Text, and ask us "
    "to remove the other user."
)
_SORTED_ALONE: Final = "Check that no column was sorted or moved without the others."

WARNING_REASONS: Final[dict[str, Reason]] = {
    "file.no_users": Reason(
        "The file has column names but no users.", "If you expected users, check the export and upload it again."
    ),
    "file.unterminated": Reason(
        "The last line has no end, so its last value may be cut off.", "Compare the last row with your own records."
    ),
    "file.substitute": Reason(
        "We ignored an old end-of-file mark at the end of the file.", "You do not need to do anything."
    ),
    "encoding.fallback": Reason("The file has letters in an older format ({encoding}).", _SAVE_UTF8),
    "encoding.fallback/samples": Reason(
        "The file has letters in an older format ({encoding}). We read them as: {samples}.",
        f"Check that they are right. {_SAVE_UTF8}",
    ),
    "encoding.garbled": Reason("Some letters in {column} look garbled (é became Ã©).", _UPLOAD_AGAIN),
    "encoding.garbled/older": Reason(
        "{column} has signs in place of letters, such as \u201a or \u017d for é. A program misread an older format.",
        _UPLOAD_AGAIN,
    ),
    "encoding.garbled/markup": Reason(
        "{column} has codes of a web page, such as &eacute; or <br>, in place of letters.", _UPLOAD_AGAIN
    ),
    "encoding.garbled/escaped": Reason(
        "{column} has codes such as \\u00e9, =C3=A9 or %C3%A9 in place of letters.", _UPLOAD_AGAIN
    ),
    "encoding.garbled/invisible": Reason(
        "{column} has invisible characters that break words or turn their direction.", "Type these values again."
    ),
    "encoding.garbled/lost": Reason(
        "{column} seems to have lost letters: it has a sign such as ?, # or \u25a1 in their place.", _UPLOAD_AGAIN
    ),
    "encoding.garbled/dots": Reason("{column} seems to have lost letters: it has dots in their place.", _UPLOAD_AGAIN),
    "encoding.garbled/alphabet": Reason(
        "{column} has words with letters of two alphabets, such as a Cyrillic letter that looks like a Latin one.",
        "Type these values again.",
    ),
    "encoding.garbled/blank": Reason(
        "{column} has special spaces, such as no-break spaces, inside names.",
        "Replace them with plain spaces in the export and upload again.",
    ),
    "column.secret": Reason(
        'The column "{title}" has passwords or tokens. We did not store them or send them back.',
        "Delete the column from the export, and change the passwords or tokens.",
    ),
    "columns.ignored": Reason("We ignored columns that we do not know: {names}.", _NAME_THEM),
    "columns.ignored/did_you_mean": Reason(
        'We ignored the column "{name}", which may be "{expected}".',
        'If it is, rename the column "{name}" to "{expected}", and upload the file again.',
    ),
    "columns.ignored/more": Reason("We ignored columns that we do not know: {names} and {count} more.", _NAME_THEM),
    "columns.disagree": Reason(
        "The columns {columns} mean the same but have different values. We used the first one that is not empty.",
        "Delete all but one of these columns.",
    ),
    "header.again": Reason(
        "The column names are in the file again. We skipped these lines.",
        "Check that all parts are in the file, and delete the lines in the export.",
    ),
    "row.repeated": Reason(
        "The file already has the same row further up. We counted it once.",
        "Delete the repeated rows in the export.",
    ),
    "id.inactive": Reason(
        "We have deactivated this user. The file does not make the user active again.",
        "If the user should be active, write to us.",
    ),
    "id.protected": Reason(
        "We protect this user, so the file changes nothing of the user.",
        "If it should, write to us. If not, nothing has to be done.",
    ),
    "value.protected": Reason(
        "We keep {names} as recorded when the user was new. We imported the rest of the row.",
        "If a new value is right, write to us. If not, nothing has to be done.",
    ),
    "snapshot.on_hold": Reason(
        "{count} of {total} users is not in the file. That is more than may leave unasked, so we deactivated nobody.",
        "Upload the complete file. If it was complete, do what is said above.",
        "{count} of {total} users are not in the file. That is very many, so we deactivated nobody.",
    ),
    "snapshot.on_hold/week": Reason(
        "{count} of {total} users is not in the file. With those of the last 7 days they are {sum}. That is very "
        "many, so we deactivated nobody.",
        "Upload the complete file. If it was complete, do what is said above.",
        "{count} of {total} users are not in the file. With those of the last 7 days they are {sum}. That is very "
        "many, so we deactivated nobody.",
    ),
    "snapshot.unknown": Reason(
        "We cannot read whose some of the rows are that failed, so we deactivated nobody.",
        "Correct these rows in the export, and upload the complete file again.",
    ),
    "id.case": Reason("Some unique_ids differ only in capital letters. We treated each as a separate user.", _SAME_ID),
    "id.case/lines": Reason(
        "The unique_ids in lines {first} and {last} differ only in capital letters. We treated them as two users.",
        _SAME_ID,
    ),
    "id.case/zeros": Reason(
        "Some unique_ids differ only in leading zeros. We treated each as a separate user.", _ZEROS_STAY
    ),
    "id.case/zeros/lines": Reason(
        "The unique_ids in lines {first} and {last} differ only in leading zeros. We treated them as two users.",
        _ZEROS_STAY,
    ),
    "id.recorded_case": Reason(
        "New users have the unique_id of an earlier user, but with other capital letters. We created them as well.",
        f"{_SAME_ID} Ask us to delete the users that should not exist.",
    ),
    "id.recorded_case/zeros": Reason(
        "New users have the unique_id of an earlier user, but for leading zeros. We created them as well.",
        "In Excel, format the column as Text, and enter the zeros. Ask us to delete the users that should not exist.",
    ),
    "id.reassigned": Reason(
        "The unique_id is recorded for a person with another name, and another e-mail address or date of birth.",
        "If the unique_id was given to somebody else, write to us. Give each person a unique_id of their own.",
    ),
    "name.exchanged": Reason(
        "First and last name are exchanged, compared with what we have recorded.",
        "Check the order of the columns first_name and last_name in the export.",
    ),
    "name.exchanged/columns": Reason(
        "first_name seems to have the last names, and last_name the first names.",
        "Check the order of the columns first_name and last_name in the export.",
    ),
    "changes.many/identity": Reason(
        "{count} of {total} users that we knew gets another identity: several of name, e-mail address, user name and "
        "date of birth.",
        _SORTED_ALONE,
        "{count} of {total} users that we knew get another identity: several of name, e-mail address, user name and "
        "date of birth.",
    ),
    "changes.many/attribute": Reason(
        "{count} of {total} users that we knew gets another {column}.",
        _SORTED_ALONE,
        "{count} of {total} users that we knew get another {column}.",
    ),
    "changes.many/fewer_rows": Reason(
        "The file has {count} row fewer than your last one, which had {total}.",
        "Check that all users are in the file.",
        "The file has {count} rows fewer than your last one, which had {total}.",
    ),
    "changes.many/created": Reason(
        "{count} user is new. Before this file we had {total}.",
        "Check that the unique_ids are those of before.",
        "{count} users are new. Before this file we had {total}.",
    ),
    "changes.many/deactivated": Reason(
        "{count} of {total} active users is missing from this file and those of the last 7 days.",
        "Check that all users are in the file.",
        "{count} of {total} active users are missing from this file and those of the last 7 days.",
    ),
    "changes.many/deactivated_status": Reason(
        "{count} of {total} active users leaves, by {column} in this file or within the last 7 days.",
        "Check the values of {column}.",
        "{count} of {total} active users leave, by {column} in this file or within the last 7 days.",
    ),
    "changes.many/undone": Reason(
        "{count} of {total} values that we have taken back from an earlier file comes again.",
        "Check whether the mistake of that file is corrected where the file comes from.",
        "{count} of {total} values that we have taken back from an earlier file come again.",
    ),
    "value.damaged": Reason(
        "{column} has a long number that a spreadsheet shortened to one like 1.2E+05.",
        "In Excel, format the column as Text, enter all digits and upload again.",
    ),
    "value.damaged/decimal": Reason(
        "{column} has a number that a program wrote with .0 at its end, and we stored it.",
        "In the export, write the column as text. In Excel, format it as Text, enter all digits and upload again.",
    ),
    "value.damaged/digits": Reason(
        "{column} has long numbers that end in zeros. A spreadsheet writes zeros for all digits after the 15th.",
        "Compare them with your own records. In Excel, format the column as Text, enter all digits and upload again.",
    ),
    "value.damaged/digits_many": Reason(
        "{column} has long numbers that end in zeros in more than {count} rows, the first on line {line}.",
        "If they end otherwise in your own records, format the column as Text in Excel, enter all digits and upload "
        "again.",
    ),
    "value.damaged/date": Reason(
        "{column} has dates or times, such as 2-Jan or 10:30, in place of numbers. A spreadsheet makes them of numbers "
        "such as 1-2.",
        "Compare them with your own records. In Excel, format the column as Text, enter each value and upload again.",
    ),
    "value.damaged/number": Reason(
        "{column} has numbers that a spreadsheet wrote with commas or a sign such as $ or %, and we stored them so.",
        "In the export, write the column as text. In Excel, format it as Text, enter each number and upload again.",
    ),
    "value.damaged/spaces": Reason(
        "{column} has numbers with spaces between their thousands, and we stored them so.",
        "If the spaces are not part of the number, write the column as text in the export and upload again.",
    ),
    "value.damaged/dots": Reason(
        "{column} has numbers with dots between their thousands, such as 1.234, and we stored them so.",
        "If the dots are not part of it, write the column as text in the export, and write to us to remove the user "
        "whom the file has made.",
    ),
    "value.damaged/full_width": Reason(
        "{column} has digits or letters in a special form, such as full-width ones or \ufb01 in place of fi, and we "
        "stored them so.",
        "Type the values again with plain letters and digits.",
    ),
    "value.placeholder/day": Reason(
        "{column} has 1900-01-01, which usually means that nobody entered it.", _UNKNOWN_DAY
    ),
    "value.placeholder/old": Reason(
        "{column} has a day more than 110 years ago, which is probably not the real one.", _UNKNOWN_DAY
    ),
    "value.placeholder/young": Reason(
        "{column} has a day less than two years ago, which is probably not the real one.", _UNKNOWN_DAY
    ),
    "value.placeholder/epoch": Reason(
        "{column} has 1970-01-01 in several rows, which usually means that nobody entered it.", _UNKNOWN_DAY
    ),
    "value.placeholder/common_day": Reason(
        "{column} has the same date in so many rows that it is probably not the real one.", _UNKNOWN_DAY
    ),
    "email.misspelt": Reason(
        '{column} has addresses that end in "{found}", and we stored them. "{expected}" is probably meant.',
        "Compare the addresses with the real ones, and correct them in the export.",
    ),
    "email.letters": Reason(
        "{column} has letters such as é or a curly apostrophe, which few mail systems accept.",
        "Compare the address with the real one.",
    ),
    "name.doubtful": Reason(
        "{column} has an address or a number in place of a name or with it, and we stored it.",
        "Look whether the columns are in the right order, and correct the name in the export.",
    ),
    "name.doubtful/whole": Reason(
        "{column} seems to have first and last name together, and we stored it so.",
        "Enter each name in its own column, first_name and last_name, in the export and upload again.",
    ),
    "row.shifted": Reason(
        "{first}, {second} and perhaps more have values that seem to belong in other columns, and we stored them.",
        "Look whether a cell is missing or a value was split in two. Correct the row in the export and upload again.",
    ),
    "row.shifted/column": Reason(
        "{first} has addresses, and {second} is empty: the two columns are perhaps exchanged.",
        "Look whether the names on line 1 are those of the columns. Correct them in the export and upload again.",
    ),
    "row.shifted/one": Reason(
        "{first} has a value that seems to belong in {second}, and we stored it.",
        "Look whether the values of the row are in the right columns. Correct the row in the export and upload again.",
    ),
    "row.shifted/id": Reason(
        "{column} has a login source in place of the number of a user, and we stored it.",
        "Look whether the values of the row are in the right columns. Write to us to remove a user who does not exist.",
    ),
    "row.shifted/source": Reason(
        "{column} has a login source in place of a name, and we stored it.",
        "Look whether the values of the row are in the right columns. Correct the row in the export and upload again.",
    ),
    "row.shifted/province": Reason(
        "{column} has the code of a province in place of a name, and we stored it.",
        "Look whether the values of the row are in the right columns. Correct the row in the export and upload again.",
    ),
    "row.shifted/phone": Reason(
        "{column} has something other than a phone number, or letters among its digits, and we stored it.",
        "Look whether the values of the row are in the right columns, and enter the number. If there is none, write "
        "to us to remove the value.",
    ),
    "row.shifted/other": Reason(
        "{column} has a value of another kind, such as a date, a phone number or an e-mail address, and we stored it.",
        "Look whether the values of the row are in the right columns. Correct the row in the export and upload again.",
    ),
    "value.marks/remark": Reason(
        "{column} has a remark such as (deceased), inactive or .old with the value, and we stored both.",
        "Delete the remark in the export and upload again. If it says that somebody has left, write to us.",
    ),
    "value.marks/sign": Reason(
        "{column} has a sign such as # at the value, or ; between two, and we stored it so.",
        "If the value is without the sign, delete it in the export and upload again. If it is a unique_id, also write "
        "to us to remove the new user.",
    ),
    "value.marks/two": Reason(
        "{column} seems to have two values in one cell, such as S2 and S3, and we stored them as one.",
        "If they are two users, give each a row, and write to us to remove the user whom the file has made.",
    ),
    "value.marks": Reason(
        "{column} has quotation marks at or around the value, two in place of one, or \\ before one. We stored them.",
        'Delete these marks in the export. If all rows have them, set the export to quote with " only.',
    ),
    "value.placeholder": Reason(
        "{column} has a word or sign for a missing value, such as NULL, unknown or ?, and we stored it.",
        "If it means a missing value, enter the real one. If there is none, leave the cell blank from now on, and "
        "write to us to remove the word.",
    ),
    "value.placeholder/address": Reason(
        "{column} has an address such as none@none.com, which is hardly the one of a person, and we stored it.",
        "Enter the real address. If somebody has none, write to us.",
    ),
    "value.placeholder/id": Reason(
        "{column} has a word or number such as NEW, TEST or 0 that is hardly the one of a user, and we stored it.",
        "If it is not, enter the real one, and write to us to remove the user whom the file has made.",
    ),
    "value.placeholder/id_words": Reason(
        "{column} has words without a number, such as a name, and we stored them.",
        "If it is not the real one, enter that, and write to us to remove the user whom the file has made.",
    ),
    "value.placeholder/sample": Reason(
        "{column} is that of a user in a sample or a test, such as First Last or Test User, and we stored it.",
        "If the row is from a template, delete it, and write to us to remove the user whom the file has made.",
    ),
    "value.placeholder/name": Reason(
        "{column} has a word or sign for a missing value, such as NULL, unknown or ?, and we stored it.",
        "If it means a missing value, enter the real one. A person named Null needs no change.",
    ),
    "value.placeholder/number": Reason(
        "{column} has a number such as 0 or 000-000-0000 that hardly belongs to a person, and we stored it.",
        "Enter the real one. If there is none, leave the cell blank from now on, and write to us to remove the number.",
    ),
}
