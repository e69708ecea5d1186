"""Mail to a client that answers no upload: one has not come, or a file has a name that is not imported."""

from __future__ import annotations

from typing import Final

from importer.wording.template import Template

OVERDUE: Final[dict[str, Template]] = {
    "overdue/since": Template("We have had no user file from you since {since}."),
    "overdue/never": Template("We have had no user file from you yet."),
    "overdue/subject/since": Template("No user file from you since {since}"),
    "overdue/subject/never": Template("No user file from you yet"),
    "overdue/every/min": Template(
        "We expect one at least every minute.", "We expect one at least every {count} minutes."
    ),
    "overdue/every/h": Template("We expect one at least every hour.", "We expect one at least every {count} hours."),
    "overdue/every/d": Template("We expect one at least every day.", "We expect one at least every {count} days."),
    "overdue/stays": Template("Until a file comes, all users in our system stay as they are."),
    "overdue/steps": Template("What to do"),
    "overdue/by_hand": Template("If you upload the file yourself, upload it now."),
    "overdue/by_program": Template(
        "If a program exports and uploads it, ask your IT department whether that program still runs and what error it "
        "reports."
    ),
    "overdue/uploaded": Template(
        "If you have uploaded a file since then, look whether it is still in the upload folder, and whether its name "
        "ends in .csv."
    ),
    "overdue/reply": Template("If you need help, reply to this e-mail."),
    "overdue/ask": Template("If you need help, ask {contact}."),
    "overdue/ask_or_reply": Template("If you need help, ask {contact}, or reply to this e-mail."),
    "overdue/once": Template("You get this e-mail once. You get another one only if a later file is overdue."),
}

STRAYS: Final[dict[str, Template]] = {
    "strays/subject/one": Template("Your file {name} was not imported"),
    "strays/subject": Template("{count} of your files was not imported", "{count} of your files were not imported"),
    "strays": Template(
        "There is a file in the upload folder that we do not import, because of its name or its place. We have not "
        "opened it, and nothing has changed in our system.",
        "There are {count} files in the upload folder that we do not import, because of their names or their place. We "
        "have not opened them, and nothing has changed in our system.",
    ),
    "strays/folder": Template("We do not look into folders. Upload the file into the upload folder itself."),
    "strays/ending": Template("The name must end in {ending}. Rename the file to {better}."),
    "strays/kind": Template(
        "The name must end in one of these: {endings}. If the file is of such a kind, add its ending to the name. If "
        "not, save it as CSV UTF-8 and upload that file."
    ),
    "strays/pattern": Template(
        "We only take files with names like these: {patterns}. Rename the file, and it is imported."
    ),
    "strays/encrypted": Template(
        "We cannot decrypt it. Upload the file without encryption: SFTP protects it on its way."
    ),
    "strays/packed": Template("We cannot open this kind of archive. Upload the file in it as it is."),
    "strays/companion": Template(
        "We do not use such files from you. Delete it, and have the program that uploads it leave it out."
    ),
    "strays/approval": Template(
        "This name approves no file. Use the name exactly as it is in our e-mail about the file on hold."
    ),
    "strays/more": Template("There is one more such file.", "There are {count} more such files."),
    "strays/once": Template(
        "You get this e-mail once for each name. Delete from the upload folder what you do not need any more."
    ),
}
