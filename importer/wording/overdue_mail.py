"""The mail to a client whose upload has not come."""

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
