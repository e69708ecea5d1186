"""The sentences around the problems: subjects, what happened, what to do."""

from __future__ import annotations

from typing import Final

from importer.wording.template import Template

_IN_EXCEL: Final = (
    'In Excel, select Data > From Text/CSV, choose the file, and select "Do not detect data types". A double click '
    "would change dates and remove leading zeros."
)
_NOTHING: Final = "We imported nothing from this file, and nothing has changed in our system."

LAYOUT: Final[dict[str, Template]] = {
    "rows": Template("{count} row", "{count} rows"),
    # The subject, and the title of the answer. "some": of the rows; "all" of them, "both" if there are two.
    "subject/refused": Template("Your user file {file} was not imported"),
    "subject/on_hold": Template("Your user file {file} is on hold"),
    "subject/some": Template(
        "Your user file {file}: {count} of {total} rows needs correcting",
        "Your user file {file}: {count} of {total} rows need correcting",
    ),
    "subject/all": Template(
        "Your user file {file}: its only row needs correcting",
        "Your user file {file}: all {count} rows need correcting",
    ),
    "subject/both": Template("Your user file {file}: both rows need correcting"),
    "subject/removals": Template(
        "Your user file {file} was imported, but {count} user is missing from it",
        "Your user file {file} was imported, but {count} users are missing from it",
    ),
    "subject/warned": Template(
        "Your user file {file} was imported with {count} warning",
        "Your user file {file} was imported with {count} warnings",
    ),
    "subject/imported": Template("Your user file {file} was imported"),
    # What happened.
    "summary/all": Template(
        "We imported {count} user ({details}).",
        "We imported all {count} users ({details}).",
    ),
    "summary/both": Template("We imported both users ({details})."),
    "summary/some": Template(
        "We imported {count} of {total} users ({details}).",
        "We imported {count} of {total} users ({details}).",
    ),
    "summary/none": Template(_NOTHING),
    "summary/refused": Template(_NOTHING),
    "summary/no_users": Template("The file has no users, and nothing has changed in our system."),
    "summary/on_hold": Template(
        "We have imported nothing from this file yet: it would change more than one file should change without a "
        "question. Nothing has changed in our system."
    ),
    "summary/on_hold_again": Template(
        "The file was approved, but by now it would change more, so we ask again. Nothing has changed in our system."
    ),
    "summary/approved": Template("The file was on hold, and was approved."),
    "summary/sheet": Template('We read the sheet "{sheet}"; a line is a row of it.'),
    "summary/failed": Template("{count} row needs correcting.", "{count} rows need correcting."),
    "count/created": Template("{count} new", "{count} new"),
    "count/updated": Template("{count} changed", "{count} changed"),
    "summary/deactivated": Template(
        "{count} user who is not in the file is not active any more.",
        "{count} users who are not in the file are not active any more.",
    ),
    "check/summary/deactivated": Template(
        "{count} user who is not in the file would not be active any more.",
        "{count} users who are not in the file would not be active any more.",
    ),
    "summary/left": Template(
        "{count} user is not active any more, because the status in the file says so.",
        "{count} users are not active any more, because the status in the file says so.",
    ),
    "check/summary/left": Template(
        "{count} user would not be active any more, because the status in the file says so.",
        "{count} users would not be active any more, because the status in the file says so.",
    ),
    "count/reinstated": Template("{count} active again", "{count} active again"),
    "count/unchanged": Template("{count} unchanged", "{count} unchanged"),
    # The same of a dry run; "trial": of a file in the folder "check" of the client.
    "summary/trial": Template("This was a check: nothing was imported."),
    "check/subject/refused": Template("{file} would not be imported"),
    "check/subject/on_hold": Template("{file} would be on hold"),
    "check/subject/some": Template(
        "{file}: {count} of {total} rows needs correcting", "{file}: {count} of {total} rows need correcting"
    ),
    "check/subject/all": Template("{file}: its only row needs correcting", "{file}: all {count} rows need correcting"),
    "check/subject/both": Template("{file}: both rows need correcting"),
    "check/subject/removals": Template(
        "{file} would be imported, but {count} user is missing from it",
        "{file} would be imported, but {count} users are missing from it",
    ),
    "check/subject/warned": Template(
        "{file} would be imported with {count} warning", "{file} would be imported with {count} warnings"
    ),
    "check/subject/imported": Template("{file} would be imported"),
    "check/summary/all": Template(
        "We would import {count} user ({details}).",
        "We would import all {count} users ({details}).",
    ),
    "check/summary/both": Template("We would import both users ({details})."),
    "check/summary/some": Template(
        "We would import {count} of {total} users ({details}).",
        "We would import {count} of {total} users ({details}).",
    ),
    "check/summary/none": Template("We would import nothing from this file."),
    "check/summary/refused": Template("We would import nothing from this file."),
    "check/summary/on_hold": Template(
        "We would import nothing from this file until somebody approves it: it would change more than one file should "
        "change without a question."
    ),
    "check/summary/no_users": Template("The file has no users, and nothing would change in our system."),
    # What to do. "part": not all rows are attached; "whole": not even in the failed CSV.
    "heading/steps": Template("What to do"),
    "step/open/mail": Template("Open the attached file {name}. " + _IN_EXCEL),
    "step/open/part": Template(
        "Open the file {name}, which is in the folder .bak. Attached is only its first row. " + _IN_EXCEL,
        "Open the file {name}, which is in the folder .bak. Attached are only its first {count} rows. " + _IN_EXCEL,
    ),
    "step/open/bak": Template(
        "Open the file {name}, which is in the folder .bak. We do not mail its rows, as your file was encrypted. "
        + _IN_EXCEL
    ),
    "step/open/file": Template("Open the file {name}, which is in this folder. " + _IN_EXCEL),
    "step/correct": Template(
        "Correct the cells. The last column says what is wrong in each row, and import_line which line of your file it "
        "was. Delete rows that are not users. If no row is left, you are done."
    ),
    "step/save": Template("Save the file as CSV UTF-8. You can leave the last four columns in it."),
    "step/upload": Template("Upload it as usual. We import its rows, and change nobody else."),
    "step/book/mail": Template("Open the attached workbook {name}."),
    "step/book/bak": Template("Open the workbook {name}, which is in the folder .bak."),
    "step/book/file": Template("Open the workbook {name}, which is in this folder."),
    "step/book/correct": Template(
        "Correct the yellow cells. The last column says what is wrong in each row, and import_line which row of your "
        "sheet it was. Delete rows that are not users. If no row is left, you are done."
    ),
    "step/book/save": Template("Save the workbook. You can leave the last four columns in it."),
    "step/whole/look": Template(
        "Look at the file {name}. It has {listed} of the {failed} rows that need correcting. The last column says what "
        "is wrong in each row."
    ),
    "step/whole/correct": Template(
        "Correct all {failed} rows where the file comes from, or delete rows that are not users."
    ),
    "step/whole/upload": Template("Upload the whole file again. Users that we imported stay as they are."),
    "step/check/correct": Template("Correct the rows below, or delete rows that are not users."),
    "step/check/save": Template("Save the file as CSV UTF-8."),
    "step/check/book": Template("Save the workbook."),
    "step/trial/look": Template(
        "Look at the file {name}, which is in the folder check. The last column says what is wrong in each row."
    ),
    "step/trial/again": Template(
        "Upload your file to the folder check again. If all is right then, upload it to the folder above check: from "
        "there we import it."
    ),
    "step/trial/import": Template("To have the file imported, upload it to the folder above check."),
    "step/check/on_hold": Template(
        "Look at what is listed below. If it is right, the file has to be approved once it is uploaded."
    ),
    "step/on_hold/look": Template(
        "Look at what we list below. If it is wrong, correct the file and upload it again as {file}: it replaces this "
        "one."
    ),
    "step/on_hold/approve": Template(
        "If it is right, upload a file with the name {name}. It can be empty. Without it we give the file up after "
        "{count} day.",
        "If it is right, upload a file with the name {name}. It can be empty. Without it we give the file up after "
        "{count} days.",
    ),
    "step/on_hold/wait": Template(
        "If it is right, you do not need to do anything. We look at the file within {count} day, and you get an "
        "answer.",
        "If it is right, you do not need to do anything. We look at the file within {count} days, and you get an "
        "answer.",
    ),
    "step/on_hold/failed": Template(
        "Some rows need correcting in any case: they are in the file {name}. You can correct and upload them now."
    ),
    "step/removals/look": Template(
        "Check whether the users who are not in the file have left. If not, upload the complete file: then nobody is "
        "deactivated."
    ),
    "step/removals/approve": Template(
        "If they have left, upload a file with the name {name}. It can be empty. It deactivates the users who are "
        "missing. Without it they stay active."
    ),
    "step/removals/wait": Template(
        "If they have left, you do not need to do anything. We look at it within {count} day, and you get an answer. "
        "Until then these users stay active.",
        "If they have left, you do not need to do anything. We look at it within {count} days, and you get an answer. "
        "Until then these users stay active.",
    ),
    "step/check/removals": Template(
        "If they have left, that has to be approved once the file is uploaded. Until then these users stay active."
    ),
    "step/refused/correct": Template("Correct the file as described below."),
    "step/refused/saved": Template("Save the file and upload it again."),
    "step/refused/that": Template("Upload that file."),
    "step/refused/each": Template("Upload each of these files."),
    "step/refused/upload": Template("Save the file as CSV UTF-8 and upload it again."),
    # Uploads that were to approve a file.
    "approval/subject": Template("Your upload {name} approves no file"),
    "approval/wrong": Template(
        "We have no file on hold that your upload {name} could approve. Copy the name from our last answer about the "
        "file, or write to us. We removed the upload, and nothing has changed in our system."
    ),
    "approval/not_allowed": Template(
        "Files on hold cannot be approved by an upload, so we removed {name}. We look at the file and answer; if it is "
        "urgent, write to us."
    ),
    # The decision about users who are missing from a file.
    "removals/subject": Template("Users who are missing from your user file {file}"),
    "removals/approved": Template(
        "It was approved that the user who is missing from your file {file} has left. We deactivated this user. If "
        "that is wrong, write to us: we can take it back.",
        "It was approved that the users who are missing from your file {file} have left. We deactivated {count} users. "
        "If that is wrong, write to us: we can take it back.",
    ),
    "removals/none": Template(
        "It was approved that the users who are missing from your file {file} have left. Since then they have all been "
        "in a file again, so we deactivated nobody."
    ),
    "removals/rejected": Template(
        "We did not approve that the users who are missing from your file {file} have left, so they stay active. "
        "Upload the complete file. If they have all left, write to us."
    ),
    "removals/rejected/why": Template(
        "We did not approve that the users who are missing from your file {file} have left, so they stay active. Our "
        "reason: {reason}. Upload the complete file. If they have all left, write to us."
    ),
    "removals/expired": Template(
        "Nobody has approved in time that the users who are missing from your file {file} have left, so they stay "
        "active. If they have left, upload the file again, and write to us."
    ),
    # The time in which files of a feed are not imported.
    "freeze/subject": Template("We import no files from you from {first} through {last}"),
    "freeze/text": Template(
        "From {first} through {last} we import no user files from you. You can upload files as usual: we keep each "
        "one, but do not apply it, and answer so. Upload a new file after {last}. If something cannot wait, write to "
        "us."
    ),
    "freeze/subject/feed": Template("We import no {feed} files from you from {first} through {last}"),
    "freeze/text/feed": Template(
        "From {first} through {last} we import no user files from you whose names are like {files}. You can upload "
        "them as usual: we keep each one, but do not apply it, and answer so. Upload a new file after {last}. If "
        "something cannot wait, write to us. Other files are imported as before."
    ),
    "freeze_ended/subject": Template("We import your files again"),
    "freeze_ended/text": Template(
        "We had written that we would import no user files from you for a time. That has ended early: from now on we "
        "import your files as usual. Upload your newest file again, if we answered that we did not import it."
    ),
    "freeze_ended/subject/feed": Template("We import your {feed} files again"),
    "freeze_ended/text/feed": Template(
        "We had written that we would import no user files from you for a time whose names are like {files}. That has "
        "ended early: from now on we import them as usual. Upload your newest file again, if we answered that we did "
        "not import it."
    ),
    # What needs correcting.
    "heading/problems": Template("What needs correcting"),
    "heading/warnings": Template("Warnings"),
    "heading/lines": Template("Line"),
    "heading/column": Template("Column"),
    "heading/problem": Template("Problem"),
    "heading/remedy": Template("What to do"),
    "bullet": Template("{where}: {text}"),
    "lines": Template("Line {lines}", "Lines {lines}"),
    "lines_from": Template("{count} row, line {line}", "{count} rows, first line {line}"),
    "more/problems": Template("There is {count} more kind of problem.", "There are {count} more kinds of problems."),
    "more/warnings": Template("There is {count} more warning.", "There are {count} more warnings."),
    "more/see": Template("See the last column of the file {name}."),
    "as_above": Template("What to do: see import_line {line}."),
    "more_rows": Template(
        "There is {count} more row for which this file has no room.",
        "There are {count} more rows for which this file has no room.",
    ),
    # For support.
    "heading/support": Template("For support"),
    "support/contact": Template("Questions: {contact}"),
    "support/archive": Template("Your file is {archive} in the folder .bak."),
    "support/import": Template("Import {id}, {time}"),
    "support/codes": Template("Codes: {codes}"),
    "support/code": Template("Code {code}"),
    "support/guide": Template("Guide"),
    # Mails about several files.
    "digest_subject": Template("{count} report about your user files", "{count} reports about your user files"),
    "digest": Template("This mail has {count} report.", "This mail has {count} reports."),
    "overflow_subject": Template("There are more reports about your user files than we mail"),
    "overflow": Template(
        "There are more reports about your user files than can wait to be mailed: at most {mails}, or {mib} MiB. "
        "This mail replaces all further ones of the hour from {hour} on.\n\n"
        "We processed the files all the same, and no result is lost: the folder .bak has one for each file, and a file "
        "of the rows that we did not import."
    ),
}
