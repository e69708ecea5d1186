"""The guide for a client: how to prepare a file, upload it, read the answer and correct it."""

from __future__ import annotations

from typing import Final

from importer.wording.template import Template

_GENERAL: Final = {
    "guide/title": "How to send us your users",
    "guide/pair": "{name}: {value}",
    "guide/follows": "The English version is below.",
    "guide/intro": "You send us a list of your users as a file. You upload the file, and we record the users within "
    "seconds. This page shows each step: prepare the file, upload it, read our answer, correct what we could not "
    "import.",
    "guide/questions": "Questions",
    "guide/ask_person": "Ask {contact}.",
    "guide/ask_address": "Write to {address}.",
    "guide/ask_both": "Ask {contact}, or write to {address}.",
    "guide/ask_nobody": "Ask the person who gave you this page.",
}

_FILE: Final = {
    "guide/file": "1. Prepare the file",
    "guide/file_what": "The file is a table. Row 1 has the names of the columns. Each further row is one user.",
    "guide/snapshot": "Each file with a name like {files} has all its users. Whom it lacks counts as somebody who has "
    "left, and becomes inactive. If it lacks very many, all of them stay active until that is approved: our answer "
    "says how. Corrected files with the rows that failed are an exception.",
    "guide/required": "These columns are required. Write their names exactly as they are here. Their order does not "
    "matter.",
    "guide/required_new": "For a user we already have, only {name} is required. The other cells may be blank.",
    "guide/used": "You also send us these columns. A file without them is fine: what we have then stays as it is.",
    "guide/names": "We read these names of yours:",
    "guide/name": "{theirs} is our {ours}.",
    "guide/name_unused": "{theirs} is not used.",
    "guide/status": "The column {column} says who is active. Enter {active} for an active user. Enter {inactive} for a "
    "user who has left: the user becomes inactive, until you send another value. Capital letters do not matter. If the "
    "cell is blank or the file does not have the column, nothing of that changes.",
    "guide/status_or": "{first} or {last}",
    "guide/protected": "These columns count only for new users: {names}. If we have a user already, we leave out what "
    "the file has there, and tell you.",
    "guide/others": "All other possible columns are listed further below.",
    "guide/unknown_refused": "Use no other columns: if a name is not known to us, we import nothing from the file.",
    "guide/unknown_ignored": "The file can have other columns. We do not read them.",
    "guide/example": "A finished file with your columns looks like this, with your own users in place of this one:",
    "guide/excel": "Save it with Excel",
    "guide/excel_text": "Open a new workbook. Select the columns with numbers, such as {name}, and choose **Text** as "
    "their number format. Otherwise Excel drops leading zeros.",
    "guide/excel_fill": "Type the names of the columns into row 1, each into a cell of its own. Put your users below.",
    "guide/excel_save": "Click **File**, then **Save As**. Choose the file type **CSV UTF-8 (Comma delimited)**. Excel "
    "may warn of data loss: that is about colours and formulas.",
    "guide/excel_name": "Give the file a name that ends in `.csv`, such as `users.csv`. You can use the same name each "
    "time.",
    "guide/workbook": "You can also upload the workbook itself (`.xlsx`): then nothing is lost on the way. We read the "
    "one sheet that has the names of the columns on its first row, as you see it, and send back as a workbook what we "
    "could not import.",
    "guide/packed": "A large file may be compressed, alone in a ZIP archive (`.zip`) or with gzip (`.csv.gz`). Do not "
    "set a password: the upload is encrypted anyway.",
    "guide/pgp": "Encrypt it with PGP",
    "guide/pgp_what": "You can encrypt the file with PGP. SFTP encrypts the upload in any case. With PGP the file "
    "stays encrypted in your folder, too.",
    "guide/pgp_required": "Each file has to be encrypted with PGP for our key, and signed with yours. We "
    "import no other.",
    "guide/pgp_key": "You need our public key, a file such as `import-key.asc`, which we send you. Compare its "
    "fingerprint with us by telephone.",
    "guide/pgp_yours": "Send us your public key once, and tell us its fingerprint by telephone.",
    "guide/pgp_kleopatra": "With Kleopatra (for Windows, a part of Gpg4win, from gpg4win.org):",
    "guide/pgp_import": "Start Kleopatra, click **Import**, and choose the file with our key. You do this only once.",
    "guide/pgp_choose": "Click **Sign/Encrypt**, and choose the file with your users.",
    "guide/pgp_for": "Under **Encrypt for others**, choose our key. Untick **Sign as** and **Encrypt with password**.",
    "guide/pgp_for_signed": "Under **Encrypt for others**, choose our key. Tick **Sign as**, and choose your key. "
    "Untick **Encrypt with password**.",
    "guide/pgp_done": "Click **Encrypt**, or **Sign / Encrypt**, then **Finish**. Upload the new file, whose name "
    "ends in `.gpg`.",
    "guide/pgp_script": "With GnuPG, in a script:",
    "guide/pgp_answer": "Our answer is in the folder `.bak` and is not encrypted. We mail no rows of an encrypted "
    "file.",
    "guide/export": "If another program writes the file, choose CSV and UTF-8 there.",
    "guide/rule_blank": "A blank cell changes nothing: what we have stays as it is.",
    "guide/rule_clear": "To empty a value that we have, write `{token}` into the cell.",
    "guide/rule_absent": "Users who are not in the file stay as they are. We delete nobody.",
    "guide/rule_again": "You can send the same users again. We record each user once.",
}

_TRIAL: Final[dict[str, str | Template]] = {
    "guide/trial": "First: try the file out",
    "guide/trial_what": "Before your first upload, and whenever your export changes, let us check the file: we tell "
    "you what we would import and what you need to correct, and import nothing.",
    "guide/trial_upload": "Upload the file as described in {upload}, but into the folder `check`. You find it in our "
    "folder `{folder}`: double-click **check** in WinSCP or FileZilla before you drag the file.",
    "guide/trial_look": "Wait a minute, and press **F5**. A file such as `users.20261122T074205Z.check.txt` is next "
    "to yours. Double-click it: it says what would happen, and what to do.",
    "guide/trial_failed": "If rows need correcting, they are in a file such as `users.20261122T074205Z.failed.csv` "
    "next to it. Its last column says what is wrong.",
    "guide/trial_again": "Correct your own file, and upload it to `check` again. If nothing needs correcting, upload "
    "it to `{folder}`: from there we import it.",
    "guide/trial_kept": Template(
        "We delete what is in the folder `check` after {count} day. You can delete your own files there at any time.",
        "We delete what is in the folder `check` after {count} days. You can delete your own files there at any time.",
    ),
}

_UPLOAD: Final = {
    "guide/upload": "2. Upload the file",
    "guide/upload_what": "You need a program that uploads by SFTP, such as WinSCP (for Windows, from winscp.net) or "
    "FileZilla (for Windows and Mac, from filezilla-project.org). Both are free. Enter these details there:",
    "guide/host": "Host name",
    "guide/port": "Port",
    "guide/login": "User name",
    "guide/folder": "Folder",
    "guide/secret": "You also need a password or a key file. If you have neither, ask us.",
    "guide/winscp": "With WinSCP",
    "guide/winscp_start": "Start WinSCP. The window **Login** opens. Select **New Site** on its left.",
    "guide/winscp_details": "Choose **SFTP** as **File protocol**. Enter `{host}` as **Host name**, `{port}` as **Port "
    "number** and `{login}` as **User name**.",
    "guide/winscp_secret": "Enter your password. If you have a key file instead, click **Advanced**, then "
    "**Authentication** below **SSH**, choose your file as **Private key file**, and click **OK**.",
    "guide/winscp_login": "Click **Save**, so that WinSCP remembers the details. Then click **Login**.",
    "guide/winscp_trust": "The first time, WinSCP asks whether to trust our server. Compare the fingerprint that it "
    "shows with ours, under {it}. If they are the same, click **Accept** (in older versions, **Yes**).",
    "guide/winscp_drag": "The left half of the window shows your computer. The right half shows our folder `{folder}`. "
    "Drag the file from the left to the right.",
    "guide/winscp_taken": "Wait some seconds, then press **Ctrl+R**. When the file is gone from the right half, we "
    "have it.",
    "guide/winscp_bak": "Our answer is in the folder `.bak` on the right. If you do not see that folder, press "
    "**Ctrl+Alt+H**: it shows hidden files.",
    "guide/filezilla": "With FileZilla",
    "guide/filezilla_details": "Start FileZilla. Fill in the line at the top: `sftp://{host}` as **Host**, `{login}` "
    "as **Username**, your password as **Password**, `{port}` as **Port**. Click **Quickconnect**.",
    "guide/filezilla_key": "If you have a key file instead of a password, click **File**, **Site Manager**, **New "
    "site**. Choose **SFTP** as **Protocol** and **Key file** as **Logon Type**. Enter `{host}` as **Host**, `{port}` "
    "as **Port** and `{login}` as **User**, choose your **Key file**, and click **Connect**.",
    "guide/filezilla_trust": "The first time, FileZilla shows the fingerprint of our server. Compare it with ours, "
    "under {it}. If they are the same, tick **Always trust this host** and click **OK**.",
    "guide/filezilla_drag": "The left half of the window shows your computer. The right half shows our folder "
    "`{folder}`. Drag the file from the left to the right.",
    "guide/filezilla_taken": "Wait some seconds, then press **F5**. When the file is gone from the right half, we have "
    "it.",
    "guide/filezilla_bak": "Our answer is in the folder `.bak` on the right. FileZilla shows it although it is hidden.",
    "guide/companion_done": "Then upload a second file, so that we know that the first is complete. It has the same "
    "name and `.done` at the end: for `users.csv`, `users.csv.done`. It can be empty.",
    "guide/companion_digest": "Then upload a second file, so that we know that the first is complete. It has the same "
    "name and `.{kind}` at the end: for `users.csv`, `users.csv.{kind}`. It contains the {kind} checksum of the "
    "first. Your IT department can set this up.",
    "guide/interrupted": "If the upload is interrupted, start it again, or let the program resume it.",
}

_ANSWER: Final = {
    "guide/answer": "3. Read our answer",
    "guide/mail_problems": "We send an e-mail to {addresses} if something needs correcting. If everything was "
    "imported, you get no e-mail.",
    "guide/mail_always": "We send an e-mail to {addresses} after each upload.",
    "guide/mail_never": "We send no e-mail about it.",
    "guide/bak": "In any case, our answer is in the folder `.bak` next to your upload. Its files have the name of "
    "yours and the date and time (UTC), such as `users.20261122T074205Z`:",
    "guide/bak_result": "The one that ends in `.result.txt` says what we imported, and what needs correcting.",
    "guide/bak_failed": "The one that ends in `.failed.csv` has the rows that we could not import, each with the "
    "reason. It is there only if there are such rows.",
    "guide/bak_upload": "The one that ends in `Z.csv` is your file.",
    "guide/partly": "We import every row that is in order, even if others are not.",
}

_CORRECT: Final = {
    "guide/correct": "4. Correct what we could not import",
    "guide/correct_source": "The safest way: correct the values where your list comes from, save it again, and upload "
    "the whole file again.",
    "guide/correct_failed": "Or correct the rows that failed, and upload only them:",
    "guide/correct_get": "Take the file that ends in `.failed.csv`. It is attached to our e-mail, and in the folder "
    "`.bak`.",
    "guide/correct_open": "Open a new workbook in Excel. Click **Data**, then **From Text/CSV**, and choose the file. "
    "Do not open it with a double click: Excel would drop leading zeros.",
    "guide/correct_load": "Choose **Do not detect data types** below **Data Type Detection**. Click **Load**. "
    "Excel adds a line with **Column1**, **Column2** and so on. It can stay.",
    "guide/correct_cells": "Correct the cells. The column `import_reason` says what is wrong with each row. Delete "
    "rows that are not users. The columns that begin with `import_` can stay.",
    "guide/correct_above": "If very many rows have the same problem, later ones say only `see import_line 2` in place "
    "of what to do. The row with that number in the column `import_line` says it in full.",
    "guide/correct_save": "Click **File**, then **Save As**. Choose the file type **CSV UTF-8 (Comma delimited)**.",
    "guide/correct_upload": "Upload the file as before. We import its rows, and leave all other users as they are.",
    "guide/correct_many": "That file has at most {rows} rows, or {size} MiB. If more failed, its last row says how "
    "many. Then correct the values where your list comes from, and upload the whole file again.",
}

_WAITING: Final[dict[str, str | Template]] = {
    "guide/waiting": "If your file stays in the folder",
    "guide/waiting_open": "Wait a minute, and close the program that wrote or uploaded the file. While a program has "
    "it open, we do not take it.",
    "guide/waiting_cut": Template(
        "A file that looks cut off, or is empty, waits for a minute, so that you can resume the upload. Then we "
        "refuse it.",
        "A file that looks cut off, or is empty, waits for {count} minutes, so that you can resume the upload. Then we "
        "refuse it.",
    ),
    "guide/waiting_on_hold": "If we answer that a file is on hold, it would change very many users at once, and we "
    "import nothing of it yet. The answer names the lines. If they are wrong, upload a corrected file with the same "
    "name. If they are right, do what the answer says. Files with other names stay in the folder meanwhile.",
    "guide/waiting_fewer_rows": "A file with far fewer users than your last one waits until we have looked at it.",
    "guide/waiting_csv": "The name of the file must end in one of these: {endings}. It must not begin with a dot or "
    "look temporary, such as `users.csv.part`.",
    "guide/waiting_name": "We take only names like `{pattern}`, and none that begin with a dot or look temporary.",
    "guide/waiting_strays": Template(
        "We do not open files with other names, such as `users.csv.txt`, nor look into folders that you make. A minute "
        "after such an upload we send you an e-mail that says what to do. You get it once for each name.",
        "We do not open files with other names, such as `users.csv.txt`, nor look into folders that you make. About "
        "{count} minutes after such an upload we send you an e-mail that says what to do. You get it once for each "
        "name.",
    ),
}

_REFERENCE: Final = {
    "guide/columns": "All columns",
    "guide/column": "Column",
    "guide/limit": "Characters at most",
    "guide/content": "Content",
    "guide/codes": "What our messages mean",
    "guide/codes_what": "Each message has a code. This is what it means, and what to do.",
    "guide/codes/file": "Nothing of the file was imported",
    "guide/codes/hold": "Nothing of the file is imported until somebody approves it",
    "guide/codes/row": "A row was not imported",
    "guide/codes/warning": "Warnings: everything was imported",
    "guide/codes_example": "Example: {text}",
    "guide/codes_remedy": "What to do: {text}",
    "guide/scripts": "Uploading by a script",
    "guide/scripts_what": "Use one of these lines. They work with a key that has no passphrase:",
    "guide/scripts_linux": "Linux, Mac and others:",
    "guide/scripts_windows": "PowerShell on Windows 10 or newer:",
}

_IT: Final = {
    "guide/it": "For your IT department",
    "guide/it_host_keys": "The fingerprints of our server (host keys):",
    "guide/it_no_host_keys": "Ask us for the fingerprint of our server (host key), and compare it when you first "
    "connect.",
    "guide/it_key": "Use a key rather than a password. `ssh-keygen -t ed25519` makes one, and so does PuTTYgen, which "
    "comes with WinSCP. Send us the public key only. The private key stays with you.",
    "guide/it_server": "The server offers SFTP only: no FTP, no FTPS, no shell. The file disappears from the folder "
    "when we take it; do not check its size there afterwards.",
    "guide/connect": "If your program cannot connect",
    "guide/connect_old": 'It says "no matching key exchange method", "Unable to exchange encryption keys" or '
    '"Couldn\'t agree a key exchange algorithm": the program is too old. It knows only `diffie-hellman-group` methods, '
    "which servers with OpenSSH 10 do not accept. These versions, and all newer ones, work:",
    "guide/program": "Program or library",
    "guide/since": "From version",
    "guide/connect_ask": "If you cannot update the program, tell us its name and version.",
    "guide/since_filezilla": "any version from 2018 on",
    "guide/program_libssh2": "curl, PHP and others that use libssh2",
    "guide/since_libssh2": "libssh2 1.9 (2019) with OpenSSL; builds with WinCNG, on Windows, may not work",
    "guide/since_jsch": "the maintained version, `com.github.mwiede:jsch`; the original up to 0.1.50 does not work",
}

_ALL: Final[dict[str, str | Template]] = {
    **_GENERAL,
    **_FILE,
    **_TRIAL,
    **_UPLOAD,
    **_ANSWER,
    **_CORRECT,
    **_WAITING,
    **_REFERENCE,
    **_IT,
}
GUIDE: Final[dict[str, Template]] = {
    key: each if isinstance(each, Template) else Template(each) for key, each in _ALL.items()
}
