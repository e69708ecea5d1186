"""Guards: their codes, about files on hold, decisions and changes below the limits; and why a file is on hold."""

from __future__ import annotations

from typing import Final

from importer.wording.template import Code, Level, Reason

GUARD_CODES: Final = (
    Code(
        "guard.identity",
        Level.HOLD,
        "Many users would get another identity",
        "Of many users that we know at least two of name, e-mail address, user name and date of birth would change.",
        "One column was sorted without the others.",
        "Look at the lines that our answer names. Correct the file and upload it again, or have it approved.",
    ),
    Code(
        "guard.attribute",
        Level.HOLD,
        "Many users would get another value of the same attribute",
        "Most users that we know would get another name, e-mail address, user name or date of birth.",
        "The domain of all e-mail addresses is new. Or another column has the name of this one.",
        "Look at the lines that our answer names. Correct the file and upload it again, or have it approved.",
    ),
    Code(
        "guard.created",
        Level.HOLD,
        "Very many users would be new",
        "The file has more new users than we know of you at all.",
        "The unique_ids have other digits than before, so that all users seem to be new.",
        "Check the unique_ids. Correct the file and upload it again, or have it approved.",
    ),
    Code(
        "guard.deactivated",
        Level.HOLD,
        "Very many users would be deactivated",
        "The file should have all users, and many whom we have are not in it. Or their status says that they left.",
        "Yesterday's file had 800 users, today's has 400. Or the status of most users is now `LEFT`.",
        "Correct the file and upload it again. If these users have all left, have the file approved.",
    ),
    Code(
        "guard.undone",
        Level.HOLD,
        "Values that we took back would come again",
        "An earlier file was wrong, and we have undone it. This file has the same values again.",
        "The export that gave everybody a wrong last name ran once more.",
        "Correct the values where the file comes from and upload it again, or have it approved.",
    ),
    Code(
        "guard.fewer_rows",
        Level.HOLD,
        "The file has far fewer rows than the last one",
        "Usually users are missing by mistake, because the export was stopped or filtered.",
        "The last file had 1200 rows, this one has 90.",
        "Upload a file with all users, or have it approved.",
    ),
)

DECIDED_CODES: Final = (
    Code(
        "guard.rejected",
        Level.FILE,
        "The file was not approved",
        "The file was on hold, because it would have changed very much, and we decided that it is wrong.",
        "All users would have had another last name.",
        "Correct the file and upload it again. If it is right, write to us.",
    ),
    Code(
        "guard.superseded",
        Level.FILE,
        "A newer file replaced this one",
        "The file was on hold, and you uploaded another one before it was approved.",
        "The file of yesterday was on hold when the file of today came.",
        "There is nothing to do.",
    ),
    Code(
        "order.older",
        Level.FILE,
        "A later file was imported before",
        "The date in the name of the file is before that of a file which we have imported.",
        "`students_20261128.csv` came after `students_20261129.csv`.",
        "Upload the newest file. If the name has the wrong date, correct it.",
    ),
    Code(
        "feed.frozen",
        Level.FILE,
        "We import no files at this time",
        "For some time, such as the summer, we import no files of this kind. We have announced it by mail.",
        "A file came on 15 July, and we import none in July.",
        "Upload a new file after that time. If it cannot wait, write to us.",
    ),
    Code(
        "guard.expired",
        Level.FILE,
        "Nobody approved the file in time",
        "The file was on hold, because it would have changed very much, and nobody answered.",
        "The file came at the beginning of the holidays.",
        "Upload the file again. If it is right, write to us.",
    ),
)

FEED_ROWS: Final = (
    Code(
        "id.recycled",
        Level.ROW,
        "The unique_id was another person's",
        "We have it for somebody who has left, with another name and another e-mail address.",
        "`S0012345` was Zoé Tremblay, who has left, and is now Ann Lee.",
        "Give the new user a unique_id that nobody had before. If it is the same person, write to us.",
    ),
)

CHANGE_CODES: Final = (
    Code(
        "id.inactive",
        Level.WARNING,
        "We have deactivated the user",
        "Somebody asked us to. The file does not make the user active again.",
        "`S0012345` is in the file, and cannot sign in.",
        "If the user should be active, write to us. If not, nothing has to be done.",
    ),
    Code(
        "id.protected",
        Level.WARNING,
        "The user is protected, and stays as it is",
        "Files do not change some users, such as those who look after the system. The rest of the file was imported.",
        "The file has another last name for `S0012345`, who is protected.",
        "If the user should be changed, write to us. If not, nothing has to be done.",
    ),
    Code(
        "value.protected",
        Level.WARNING,
        "A value is protected, and we left out its change",
        "Some columns count only for new users. We keep what we have, and import the rest of the row.",
        "The e-mail addresses are protected, and the file has another one for Zoé Tremblay.",
        "If the new value is right, write to us. If not, nothing has to be done.",
    ),
    Code(
        "snapshot.on_hold",
        Level.WARNING,
        "Very many users are missing from the file",
        "The file should have all users, and many whom we have are not in it. The rest of the file was imported, and "
        "nobody was deactivated. Usually the export stopped or was filtered.",
        "Yesterday's file had 800 users, today's has 400.",
        "Upload the complete file. If these users have all left, our answer says how that is approved.",
        is_mailed=True,
    ),
    Code(
        "snapshot.unknown",
        Level.WARNING,
        "We cannot tell who is missing from the file",
        "Rows fail whose unique_id is missing or damaged. They may belong to users who seem to be missing, so nobody "
        "was deactivated.",
        "The unique_id is `1.23E+05` in some rows.",
        "Correct these rows in the export, and upload the complete file again.",
        is_mailed=True,
    ),
    Code(
        "id.reassigned",
        Level.WARNING,
        "A unique_id now has another person",
        "We have the unique_id with another first and last name, and another e-mail address or date of birth.",
        "`S0012345` was Zoé Tremblay, and is now Ann Lee with another address.",
        "If the unique_id was given to somebody else, write to us: what belongs to the first person is now the "
        "second one's. Give each person a unique_id of their own.",
        is_mailed=True,
    ),
    Code(
        "name.exchanged",
        Level.WARNING,
        "First and last name are exchanged",
        "We have what is now the first name as last name, and the other way round.",
        "`Tremblay` in `first_name` and `Zoé` in `last_name`.",
        "Check the order of these columns in the export, and upload the file again.",
        is_mailed=True,
    ),
    Code(
        "changes.many",
        Level.WARNING,
        "A large part of the users is changed at once",
        "Most of the users in the file get another name, address, user name or date of birth, or most users are new. "
        "That is right after a change of your e-mail domain, and wrong if a column was sorted without the others.",
        "All 15 users of a file get another last name.",
        "Look at some of the users that our answer names. If they are wrong, correct the file and upload it again.",
        is_mailed=True,
    ),
)

_SORTED_ALONE: Final = "Check that no column was sorted or moved without the others."

# The same for one and for many, but not in each language.
_OTHER_IDENTITY: Final = (
    "{count} of {total} users that we knew would get another identity: several of name, e-mail address, user name and "
    "date of birth."
)
_OTHER_VALUE: Final = "{count} of {total} users that we knew would get another {column}."
_MISSING: Final = (
    "{count} of {total} active users would be deactivated: missing from this file and those of the last 7 days."
)
_LEAVING: Final = "{count} of {total} active users would leave, by {column} in this file or within the last 7 days."
_COMING_AGAIN: Final = "{count} of {total} values that we have taken back from an earlier file would come again."

GUARD_REASONS: Final[dict[str, Reason]] = {
    "guard.identity": Reason(
        _OTHER_IDENTITY,
        _SORTED_ALONE,
        _OTHER_IDENTITY,
    ),
    "guard.attribute": Reason(_OTHER_VALUE, _SORTED_ALONE, _OTHER_VALUE),
    "guard.created": Reason(
        "{count} user would be new. We have {total}.",
        "Check that the unique_ids are those of before.",
        "{count} users would be new. We have {total}.",
    ),
    "guard.deactivated": Reason(
        _MISSING,
        "Check that all users are in the file.",
        _MISSING,
    ),
    "guard.deactivated/status": Reason(
        _LEAVING,
        "Check the values of {column}.",
        _LEAVING,
    ),
    "guard.undone": Reason(
        _COMING_AGAIN,
        "Check whether the mistake of that file is corrected where the file comes from.",
        _COMING_AGAIN,
    ),
    "guard.fewer_rows": Reason(
        "The file has {count} row fewer than your last one, which had {total}.",
        "Check that all users are in the file.",
        "The file has {count} rows fewer than your last one, which had {total}.",
    ),
    "guard.rejected": Reason(
        "The file was on hold, and we did not approve it.",
        "Correct the file and upload it again. If it is right as it is, write to us.",
    ),
    "guard.rejected/why": Reason(
        "The file was on hold, and we did not approve it. Our reason: {reason}.",
        "Correct the file and upload it again. If it is right as it is, write to us.",
    ),
    "guard.superseded": Reason(
        'The file was on hold, and your newer file "{name}" replaced it.', "You do not need to upload this one again."
    ),
    "order.older": Reason(
        "We have already imported a file of {date}, which is later than the date in the name of this one.",
        "Upload the newest file. If the name has the wrong date, correct it.",
    ),
    "feed.frozen": Reason(
        "From {first} through {last} we import no files like this one. We keep it, but do not apply it.",
        "Upload a new file after {last}. If it cannot wait, write to us.",
    ),
    "guard.expired": Reason(
        "The file was on hold, and nobody approved it in time.",
        "Upload the file again. If it is right as it is, write to us.",
    ),
}
