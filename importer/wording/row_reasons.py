"""Everything that can be wrong with a row or a value, and what to do about it; see `reasons` for the keys."""

from __future__ import annotations

from typing import Final

from importer.wording.template import Reason

_NOT_A_USER: Final = "If the row is not a user, delete the row."
_ZEROS: Final = (
    "Were leading zeros dropped? Enter the unique_id as recorded. In Excel, format the column as Text first."
)
_CAPITALS: Final = "Enter the unique_id as recorded, with its capital and small letters."
_CHECK_ID: Final = f"If the user is already in our system, check the unique_id. {_NOT_A_USER}"
_NEW_USER: Final = "Add the column. If the user is already in our system, check the unique_id."
_TO_CLEAR: Final = Reason("{column} is required and cannot be emptied.", "Enter a value.")
_ENTER_ADDRESS: Final = "Enter an address such as name@example.org."
_ENTER_PROVINCE: Final = "Enter the code of the province, territory or state. For another country, empty the cell."
_ENTER_DATE: Final = (
    "Enter it in that form, in a cell with the format Text. For many rows, format the column of your own workbook: "
    "Format Cells > Custom > yyyy-mm-dd."
)
_ALL_DIGITS: Final = "In Excel, format the column as Text and enter all digits again."
_NO_DECIMALS: Final = "Enter the number without .0, with all its leading zeros. In Excel, format the column as Text."
_NO_COMMAS: Final = "Enter the number without commas. In Excel, format the column as Text."
_NO_SPACES: Final = "Enter the number without spaces. In Excel, format the column as Text."
_NARROW: Final = "Switch the keyboard to half-width characters and type the value again."
_NO_SIGN: Final = "Enter the number alone. In Excel, format the column as Text."
_NO_MARKS: Final = 'Enter the value without these marks. If all rows have them, set the export to quote with " only.'
_ALONE: Final = "Enter the value alone. If all rows are so, change it in the export."
_PLAIN_KEYS: Final = "Type the value again, with the plain letters, digits and signs of your keyboard."
_ENTER_ID: Final = "Enter the unique_id of the user, or delete the row if it is not a user."
_ONE_ID: Final = "If two rows are the same person, use one unique_id for both."
_OWN_ADDRESS: Final = f"Enter an address that no other user has. If a family shares one, write to us. {_ONE_ID}"
_OWN_USER_NAME: Final = f"Enter a user name that no other user has. {_ONE_ID}"
_THAT_ID: Final = "If it is the same person, enter the unique_id that the failed CSV names in import_reason."
_MOVE_IDS: Final = (
    "Has your student system changed? Write to us, and we move your users to the new unique_ids. If not, export the "
    "file with the old ones."
)
_OWN_OR_THAT_ID: Final = "If it is the same person, enter that unique_id, with its leading zeros. If not,"
_KEEP_ONE: Final = "Keep the right one. If they are different people, give each a unique_id of their own."
_IN_ITS_COLUMN: Final = "Check that each value of the row is in its column. Then enter"
_TYPE_AGAIN: Final = "Delete the cell and type the value again."
_SPLIT: Final = "Bring each value back to its column: one with {delimiter} inside was probably split in two."
_MOVED: Final = (
    "Look whether a value with {delimiter} inside was split in two: bring each value back to its column. "
    "If none was, delete the empty cells at the end."
)
_BACK_LEFT: Final = (
    "Move them back to their columns. A value with {delimiter} inside was probably split in two: join its parts first."
)
_BACK_RIGHT: Final = (
    "Move them back to their columns. A cell is probably missing in front of them: enter its value, or leave it empty "
    "if nobody knows it."
)
_SHORT: Final = (
    "If the row is not a user, such as a total or a note, delete it. If it is, put each value in its column."
)
_SWITCH_OFF: Final = "Delete it, or switch it off in the export."
_ONE_CELL: Final = "Put each value into a cell of its own, or delete the row if it is not a user."

_FIELDS: Final[dict[str, Reason]] = {
    "9003/more": Reason(
        "The row has more cells than the file has columns ({width}).",
        f"{_SPLIT} {_NOT_A_USER}",
    ),
    "9003/marks": Reason(
        "The row has more cells than the file has columns ({width}): marks such as “ or ' keep no value together.",
        'Set the export to quote values with " only.',
    ),
    "9003/marks_moved": Reason(
        "Marks such as “ or ' keep no value together: {delimiter} inside one split it, and moved the values behind it.",
        'Set the export to quote values with " only.',
    ),
    "9003/right": Reason("The values of the row are one column too far to the right from {column} on.", _BACK_LEFT),
    "9003/right_many": Reason(
        "The values of the row are {columns} columns too far to the right from {column} on.", _BACK_LEFT
    ),
    "9003/left": Reason("The values of the row are one column too far to the left from {column} on.", _BACK_RIGHT),
    "9003/left_many": Reason(
        "The values of the row are {columns} columns too far to the left from {column} on.", _BACK_RIGHT
    ),
    "9003/exchanged": Reason(
        "{first} and {second} seem to have each other's value.",
        "Exchange the two values. If all rows are so, exchange the names on the first line.",
    ),
    "9003/blank": Reason("The row has more cells than the file has columns ({width}), and other rows do not.", _MOVED),
    "9003/blank!": Reason(
        "The row has {fields} cells, the last ones empty: more than the file has columns ({width}).", _MOVED
    ),
    "9003/more!": Reason(
        "The row has {fields} cells, more than the file has columns ({width}). Too many: {surplus}.", _SPLIT
    ),
    "9003/more_secret!": Reason(
        "The row has {fields} cells, more than the file has columns ({width}). We left out cells that may be secret.",
        _SPLIT,
    ),
    "9003/joined": Reason(
        "The row and the column names of another part of the file are in one line.",
        "Delete the column names behind the row. End the last line of each part before you join them.",
    ),
    "9003/fewer": Reason("The row has fewer cells than the {width} columns of the file.", _SHORT),
    "9003/fewer!": Reason("The row has only {fields} of {width} cells.", _SHORT),
    "9003/fewer_secret!": Reason("The row has only {fields} of {width} cells. We left out what may be secret.", _SHORT),
    "9003/closing": Reason("The row looks like a closing line of the export, not like a user.", _SWITCH_OFF),
    "9003/group": Reason("The row looks like the heading of a group, not like a user.", _SWITCH_OFF),
    "9003/heading": Reason(
        "The row has a word or a date in place of a unique_id and nothing else, like the heading of a group.",
        "Delete it, or switch off groups in the export. If it is a user, enter the other values.",
    ),
    "9003/describing": Reason(
        "The row describes the columns, such as by their type, and is not a user.",
        "Delete the row, or switch it off in the export. If it is a user, correct its values.",
    ),
    "9003/text": Reason("The row has only one text, such as a title or a closing line, and no user.", _SWITCH_OFF),
    "9003/dashes": Reason(
        "The row has only dashes, which some programs write below column names or above totals.", _SWITCH_OFF
    ),
    "9003/error": Reason(
        "The row looks like an error message of the export, which may have stopped before its last user.",
        "If users are missing, run the export again and upload the new file. If not, delete the row.",
    ),
    "9003/other": Reason(
        "The row has {other} between its values, but the first line has {delimiter} between the names.",
        "Set the export to use the same in all lines, or replace it in Notepad.",
    ),
    "9003/one_cell": Reason("The whole row is in one cell.", _ONE_CELL),
    "9003/one_cell_secret!": Reason("The whole row is in one cell. We left out what may be secret.", _ONE_CELL),
}

_REQUIRED: Final[dict[str, Reason]] = {
    "9013": Reason("Enter the unique_id.", "If the row is not a user, such as a total or a note, delete the row."),
    "9014": Reason("Enter the login source; possible values: {choices}.", _CHECK_ID),
    "9014/one": Reason("Enter the login source {choice}.", _CHECK_ID),
    "9014/many": Reason("Enter the login source, such as {choices}.", _CHECK_ID),
    "9016": Reason("Enter the e-mail address.", _CHECK_ID),
    "9017": Reason(
        "Enter the first name; if it is in last_name, move it; if there is only one name, enter it in both columns.",
        _CHECK_ID,
    ),
    "9018": Reason(
        "Enter the last name; if it is in first_name, move it; if there is only one name, enter it in both columns.",
        _CHECK_ID,
    ),
    "9033": Reason("Enter a value for {column}.", _CHECK_ID),
    "9014/no_column": Reason(
        "A new user needs a login source ({choices}), but the file has no column login_source.", _NEW_USER
    ),
    "9014/no_column/one": Reason(
        "A new user needs the login source {choice}, but the file has no column login_source.", _NEW_USER
    ),
    "9014/no_column/many": Reason(
        "A new user needs a login source (such as {choices}), but the file has no column login_source.", _NEW_USER
    ),
    "9016/no_column": Reason("A new user needs an e-mail address, but the file has no column email.", _NEW_USER),
    "9017/no_column": Reason("A new user needs a first name, but the file has no column first_name.", _NEW_USER),
    "9018/no_column": Reason("A new user needs a last name, but the file has no column last_name.", _NEW_USER),
    "9033/no_column": Reason("A new user needs {column}, but the file has no such column.", _NEW_USER),
    **{f"{code}/cleared": _TO_CLEAR for code in ("9014", "9016", "9017", "9018", "9033")},
}

_IDENTITY: Final[dict[str, Reason]] = {
    "9019": Reason("Another user already has this address.", _OWN_ADDRESS),
    "9019/line": Reason("Another user already has this address (line {line} of this file).", _OWN_ADDRESS),
    "9019/lines": Reason("These lines have the same address: {lines}.", _OWN_ADDRESS),
    "9019/line_many": Reason(
        "Other lines of this file have the same address, such as lines {first} and {other}.", _OWN_ADDRESS
    ),
    "9019/recorded": Reason("A user already recorded has this address.", f"{_THAT_ID} If not, enter another address."),
    "9019/zeros": Reason(
        "A user already recorded has this address, and the same unique_id but for leading zeros.", _ZEROS
    ),
    "9019/case": Reason(
        "A user already recorded has this address, and the same unique_id in other capitals.", _CAPITALS
    ),
    "9019/all_new": Reason(
        "All unique_ids are new, but the names and addresses are those of users whom we have.",
        _MOVE_IDS,
    ),
    "9019/zeros!": Reason("Another user already has this address, recorded as {unique_id}.", _ZEROS),
    "9019/case!": Reason("Another user already has this address, recorded as {unique_id}.", _CAPITALS),
    "9019/recorded!": Reason(
        "A user already recorded has this address (unique_id {unique_id}).", f"{_OWN_OR_THAT_ID} enter another address."
    ),
    "9020": Reason("Another user already has this user name.", _OWN_USER_NAME),
    "9020/line": Reason("Another user already has this user name (line {line} of this file).", _OWN_USER_NAME),
    "9020/lines": Reason("These lines have the same user name: {lines}.", _OWN_USER_NAME),
    "9020/line_many": Reason(
        "Other lines of this file have the same user name, such as lines {first} and {other}.", _OWN_USER_NAME
    ),
    "9020/recorded": Reason(
        "A user already recorded has this user name.", f"{_THAT_ID} If not, enter another user name."
    ),
    "9020/zeros": Reason(
        "A user already recorded has this user name, and the same unique_id but for leading zeros.", _ZEROS
    ),
    "9020/case": Reason(
        "A user already recorded has this user name, and the same unique_id in other capitals.", _CAPITALS
    ),
    "9020/all_new": Reason(
        "All unique_ids are new, but the names and user names are those of users whom we have.",
        _MOVE_IDS,
    ),
    "9020/zeros!": Reason("Another user already has this user name, recorded as {unique_id}.", _ZEROS),
    "9020/case!": Reason("Another user already has this user name, recorded as {unique_id}.", _CAPITALS),
    "9020/recorded!": Reason(
        "A user already recorded has this user name (unique_id {unique_id}).",
        f"{_OWN_OR_THAT_ID} enter another user name.",
    ),
    "id.recycled": Reason(
        "We have this unique_id for somebody who has left, with another name and e-mail address.",
        "Give the new user another unique_id. If it is the same person, write to us.",
    ),
    "9022": Reason("Several lines have the same unique_id but different details.", _KEEP_ONE),
    "9022/lines": Reason("Lines {first} and {last} have the same unique_id but different details.", _KEEP_ONE),
    "9022/many": Reason("Lines {first} and more have the same unique_id but different details.", _KEEP_ONE),
}

_CHARACTERS: Final[dict[str, Reason]] = {
    "9033/line_break": Reason("{column} has a line break or a tab inside.", "Write the value on one line."),
    "9033/control": Reason("{column} has an invisible control character ({character}).", _TYPE_AGAIN),
    "9033/lost_control": Reason("{column} has a damaged letter ({character}).", "Enter the letter again."),
    "9033/lost_letter": Reason("{column} has \ufffd in place of a letter.", "Enter the letter again."),
    "9033/error_value": Reason(
        "{column} has an error value of a spreadsheet, such as #REF!.",
        "Correct the formula, or enter the value itself.",
    ),
    "9033/error_value!": Reason(
        '{column} has "{value}", an error value of a spreadsheet.', "Correct the formula, or enter the value itself."
    ),
    "9033/formula": Reason('{column} is written as a formula (="...").', 'Enter the value without =" and ".'),
    "9033/result": Reason(
        "{column} has a formula, or a format that we cannot show, in place of a value.",
        "In Excel, copy the column, choose Paste Special > Values, and upload the file again.",
    ),
    "9033/shortened": Reason(
        "{column} has a long number that a spreadsheet shortened to one like 1.2E+05.", _ALL_DIGITS
    ),
    "9033/shortened!": Reason('{column} has "{value}", a long number that a spreadsheet shortened.', _ALL_DIGITS),
    "9033/no_id": Reason("{column} has a word that is not a unique_id.", _ENTER_ID),
    "9033/no_id!": Reason('{column} has "{value}", which is not a unique_id.', _ENTER_ID),
    "9033/zeros": Reason("The unique_id is that of a recorded user, but for leading zeros.", _ZEROS),
    "9033/decimal": Reason("{column} has a number that a program wrote with .0 at its end.", _NO_DECIMALS),
    "9033/decimal!": Reason('{column} has "{value}", a number that a program wrote with .0 at its end.', _NO_DECIMALS),
    "9033/thousands": Reason("{column} has a number with a comma between its thousands.", _NO_COMMAS),
    "9033/thousands!": Reason('{column} has "{value}", a number with a comma between its thousands.', _NO_COMMAS),
    "9033/thousands_mark": Reason("{column} has a number with signs between its thousands.", _NO_SIGN),
    "9033/thousands_mark!": Reason('{column} has "{value}", a number with signs between its thousands.', _NO_SIGN),
    "9033/thousands_space": Reason("{column} has a number with spaces between its thousands.", _NO_SPACES),
    "9033/thousands_space!": Reason('{column} has "{value}", a number with spaces between its thousands.', _NO_SPACES),
    "9033/full_width": Reason("{column} has full-width digits or letters.", _NARROW),
    "9033/full_width!": Reason('{column} has "{value}" in full-width digits or letters.', _NARROW),
    "9033/in_marks": Reason(
        "The values of the row are in marks that we do not expect: {mark}.",
        'Set the export to quote with " only. Or, in Notepad, delete the marks around each value.',
    ),
    "9033/quoted_twice": Reason(
        "The values of the row are quoted twice.",
        "Set the export to quote each value only once. Or, in Excel, delete the marks around each value.",
    ),
    "9033/formatted": Reason("{column} has a number with a sign that a spreadsheet added, such as $ or %.", _NO_SIGN),
    "9033/formatted!": Reason('{column} has "{value}", a number with a sign that a spreadsheet added.', _NO_SIGN),
    "9033/marks": Reason("{column} has quotation marks, or \\ before one.", _NO_MARKS),
    "9033/marks!": Reason('{column} has "{value}", with quotation marks or a \\ that we do not expect.', _NO_MARKS),
    "9033/around": Reason("{column} has brackets or signs around the value.", _ALONE),
    "9033/around!": Reason('{column} has "{value}", with brackets or signs around the value.', _ALONE),
    "9033/edge": Reason("{column} has a sign before or behind the value.", _ALONE),
    "9033/edge!": Reason('{column} has "{value}", with a sign before or behind the value.', _ALONE),
    "9033/label": Reason("{column} has a word such as ID or No. in front of the value.", _ALONE),
    "9033/label!": Reason('{column} has "{value}", with a word such as ID or No. in front of the value.', _ALONE),
    "9033/alphabet": Reason(
        "{column} has Cyrillic or Greek letters that look like Latin ones.", "Type the value again with Latin letters."
    ),
    "9033/alphabet!": Reason(
        '{column} has "{value}", with Cyrillic or Greek letters that look like Latin ones.',
        "Type the value again with Latin letters.",
    ),
    "9033/odd_sign": Reason("{column} has a sign that no keyboard has, such as a long dash or \xb2.", _PLAIN_KEYS),
    "9033/odd_sign!": Reason(
        '{column} has "{value}", with a sign that no keyboard has, such as a long dash or \xb2.', _PLAIN_KEYS
    ),
    "9033/invisible": Reason("{column} has an invisible character ({character}).", _TYPE_AGAIN),
    "9033/no_day": Reason("{column} has a day that only means that the date is not known.", "Empty the cell."),
    "9033/placeholder": Reason("{column} has a word for a missing value.", "Empty the cell."),
}

_VALUES: Final[dict[str, Reason]] = {
    "9015": Reason("{column} is not a login source that we have set up.", f"{_IN_ITS_COLUMN} one of: {{choices}}."),
    "9015/one": Reason("{column} is not a login source that we have set up.", f"{_IN_ITS_COLUMN} {{choice}}."),
    "9015/many": Reason(
        "{column} is not a login source that we have set up.", f"{_IN_ITS_COLUMN} one of ours, such as {{choices}}."
    ),
    "9030": Reason("{column} must be {limit} characters or fewer.", "Shorten the value."),
    "9030!": Reason("{column} has {length} characters. It must be {limit} or fewer.", "Shorten the value."),
    "9030/address": Reason("{column} has more than {limit} characters, which no address has.", "Correct the address."),
    "9033/province": Reason("{column} must be a two-letter code, such as ON.", _ENTER_PROVINCE),
    "9033/province!": Reason('{column} has "{value}". It must be a two-letter code, such as ON.', _ENTER_PROVINCE),
    "9033/province_meant!": Reason('{column} has "{value}". It must be a two-letter code.', "Enter {code}."),
    "9033/type/one": Reason("{column} is not a type that we have set up.", "Enter {choice}."),
    "9033/type": Reason("{column} is not a type that we have set up.", "Enter one of: {choices}."),
    "9033/type/many": Reason("{column} is not a type that we have set up.", "Enter one of ours, such as {choices}."),
    "9033/status": Reason("{column} has a status that we do not know.", "Enter one of: {choices}."),
    "9033/status/many": Reason("{column} has a status that we do not know.", "Enter one of ours, such as {choices}."),
    "9033/digits": Reason("{column} must have only digits.", "Enter the number of the type."),
    "9033/date": Reason("{column} must be a date written YYYY-MM-DD, such as 2001-05-23.", _ENTER_DATE),
    "9033/day_number": Reason(
        "{column} has the day number of a spreadsheet in place of a date such as 2001-05-23.", _ENTER_DATE
    ),
    "9033/no_such_day": Reason("{column} is a day that does not exist.", "Correct the date."),
    "9033/out_of_range": Reason("{column} must be a day from {first} to today.", "Correct the date."),
}

_ADDRESSES: Final[dict[str, Reason]] = {
    "9033/address": Reason("{column} is not an e-mail address.", _ENTER_ADDRESS),
    "9033/mailto": Reason('{column} begins with "mailto:".', "Enter the address alone."),
    "9033/remark": Reason("{column} has more than the address.", "Enter the address alone."),
    "9033/brackets": Reason("{column} has more than the address.", "Enter only the part between < and >."),
    "9033/addresses": Reason("{column} has more than one address, or more than one @.", "Enter one address."),
    "9033/no_at": Reason("{column} has no @.", f"{_ENTER_ADDRESS} If somebody has none, write to us."),
    "9033/no_plain_at": Reason("{column} has a code or another sign in place of @, such as %40 or (at).", "Enter @."),
    "9033/markup": Reason("{column} has a code of a web page, such as &amp; or &#39;.", _ENTER_ADDRESS),
    "9033/comma": Reason("{column} has a comma in place of a dot.", "Replace the comma with a dot."),
    "9033/punctuation": Reason("{column} ends with a punctuation mark.", "Delete the punctuation mark."),
    "9033/blank": Reason("{column} has a space inside.", "Delete the space."),
    "9033/domain": Reason(
        "{column} has a domain that no mail can reach, such as .local.", "Enter an address that mail can reach."
    ),
}

ROW_REASONS: Final[dict[str, Reason]] = {
    **_FIELDS,
    **_REQUIRED,
    **_IDENTITY,
    **_CHARACTERS,
    **_VALUES,
    **_ADDRESSES,
}
