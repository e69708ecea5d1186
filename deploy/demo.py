"""
Show what rosterd does, from end to end: `make demo`.

Starts a temporary sshd on loopback and the daemon, uploads the three samples with sftp, shows the results, and stops
both. The exit status is 0 only if all results are as expected. The host is not changed.

`make demo CONSOLE=1` also serves the operator's web page, until Enter is pressed.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import textwrap
from pathlib import Path

from tests.lab import wait_until
from tests.lab.clients import Visit
from tests.lab.console import HOST, PASSWORD, Console, let_in
from tests.lab.daemon import Rosterd
from tests.lab.sshd import Sshd

SAMPLES = Path(__file__).parents[1] / "tests" / "data"
CLIENT = "demo"
PROGRAMS = ("sshd", "sftp", "ssh-keygen")
EXPECTED = {  # sample: outcome, then users created, updated, failed
    "all-good.csv": ("imported", 4, 0, 0),
    "some-bad-rows.csv": ("partly", 1, 1, 5),
    "unusable-header.csv": ("refused", 0, 0, 0),
}
SHOWN = ("unique_id", "first_name", "last_name", "email", "province")


def main() -> int:
    """Play the demo; return its exit status."""
    missing = [name for name in PROGRAMS if not shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")]
    if missing:
        print(f"The demo needs {', '.join(missing)}. On Debian: apt-get install openssh-server openssh-client")
        return 1
    with tempfile.TemporaryDirectory(prefix="rosterd-demo-") as folder, Sshd((CLIENT,), deny_links=True) as sshd:
        login = sshd.login(CLIENT)
        settings = {"console": {"listen": f"{HOST}:0"}}
        with Rosterd(Path(folder), {CLIENT: login.inbox}, settings=settings) as rosterd:
            rosterd.start()
            _upload_all(rosterd, Visit(sshd, login, Path(folder)))
            _show(rosterd)
            failures = _failures(rosterd)
            if os.environ.get("CONSOLE"):
                _serve_console(rosterd)
            _title("The log as the service writes it; on a terminal it is text for people")
    _title("Daemon and sshd are stopped, their folders are removed")
    for failure in failures:
        print(f"FAILED: {failure}")
    return 1 if failures else 0


def _upload_all(rosterd: Rosterd, visit: Visit) -> None:
    """Upload the samples one by one, each after the previous one is imported."""
    _title(f"Uploading with sftp to port {visit.sshd.port}, as {visit.login.user}")
    for number, sample in enumerate(EXPECTED, 1):
        done = visit.put(SAMPLES / sample, sample).run()
        if done.returncode:
            raise ChildProcessError(f"sftp ended with {done.returncode}: {done.stderr}")
        row = rosterd.wait_for_imports(number)[-1]
        print(f"  {sample:<22} {row['outcome']}")
    wait_until(rosterd.mails, "the mail")


def _show(rosterd: Rosterd) -> None:
    _title("The recorded users")
    for user in rosterd.users(CLIENT).values():
        print("  " + "  ".join(f"{user[column] or '':<28.28}" for column in SHOWN).rstrip())
    _title("What the client finds in .bak")
    for name in rosterd.bak(CLIENT):
        print(f"  {name}")
    _title("What the client reads about the refused file")
    print(textwrap.indent(rosterd.read_bak("unusable-header.result.txt", CLIENT).decode(), "  "))
    for mail in rosterd.mails():
        _title(f"The mail to {mail['To']}: {mail['Subject']}")
        body = mail.get_body(("plain",))
        print(textwrap.indent("" if body is None else body.get_content(), "  "))
        for attachment in mail.iter_attachments():
            print(f"  attached: {attachment.get_filename()}")
            print(textwrap.indent(attachment.get_content(), "    "))
    waiting = rosterd.query("SELECT subject FROM outbox WHERE state = 'waiting'")
    for mail_row in waiting:
        print(f'  still to come: "{mail_row["subject"]}" (a client gets at most one mail in five minutes)')


def _serve_console(rosterd: Rosterd) -> None:
    """Serve the web page until somebody presses Enter."""
    folder = rosterd.config.parent
    let_in(folder / "state", "demo")
    with Console(rosterd.config, folder / "console.log") as console:
        _title("The console, until you press Enter")
        print(f"  http://{HOST}:{console.port}/  name: demo, password: {PASSWORD}", flush=True)
        sys.stdin.readline()


def _failures(rosterd: Rosterd) -> list[str]:
    """Return what did not go as expected."""
    columns = ("outcome", "created", "updated", "failed")
    imports = {row["file"]: tuple(row[column] for column in columns) for row in rosterd.imports()}
    checks = {
        f"the ledger says {imports}": imports == EXPECTED,
        f"{len(rosterd.users(CLIENT))} users are recorded": len(rosterd.users(CLIENT)) == 5,  # noqa: PLR2004
        f"the inbox holds {rosterd.inbox(CLIENT)}": not rosterd.inbox(CLIENT),
        f".bak holds {rosterd.archived(CLIENT)}": {*EXPECTED, "some-bad-rows.failed.csv"}
        <= {*rosterd.archived(CLIENT)},
        "no mail carries the failed rows": any(any(mail.iter_attachments()) for mail in rosterd.mails()),
    }
    return [what for what, right in checks.items() if not right]


def _title(text: str) -> None:
    print(f"\n== {text}", flush=True)  # the log comes on standard error


if __name__ == "__main__":
    sys.exit(main())
