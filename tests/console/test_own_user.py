"""The console as the package runs it: a user of its own, in the group of the service, that reads and writes nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import Needs
from tests.lab import wait_until
from tests.lab.console import PASSWORD, Browser
from tests.lab.host import Host
from tests.lab.sshd import free_port

STATE = "/var/lib/rosterd"
UPLOAD = "/srv/sftp/acme/upload"
HEADER = "unique_id,login_source,first_name,last_name,email\n"
USERS = [f"S-{number},OPSCOM,Ann,Lee,ann{number}@school.example\n" for number in range(60)]
AS_CONSOLE = ("setpriv", "--reuid=rosterd-console", "--regid=rosterd-console", "--init-groups", "--no-new-privs")
ROSTERD = (sys.executable, "-m", "operate.cli")


class Site:
    """A host with the client acme and an operator, olga; service and console run as their users."""

    def __init__(self, host: Host) -> None:
        self.host = host
        port = free_port()
        with host.path("/etc/rosterd/config.toml").open("a") as config:
            config.write(f'[console]\nlisten = "127.0.0.1:{port}"\n')
        host.rosterd("client", "add", "acme", "--email", "it@acme.example", "--apply")
        host.run("sh", "-c", f"echo '{PASSWORD}' | {' '.join(ROSTERD)} console user add olga --role operator")
        self.service = host.start_service()
        log = host.path("/run/console.log")
        self.console = host.start(*AS_CONSOLE, *ROSTERD, "console", log=log)
        wait_until(lambda: "console.started" in log.read_text(), "the console")
        self.browser = Browser(port)
        assert 303 == self.browser.log_in("olga").status

    def upload(self, name: str, *rows: str) -> None:
        """Put a file that only the client may read into its inbox."""
        self.host.path("/srv/new").write_text(HEADER + "".join(rows))
        self.host.run("install", "-o", "acme", "-g", "acme", "-m", "0600", "/srv/new", f"{UPLOAD}/{name}")

    def shows(self, path: str, text: str) -> bool:
        """Tell whether a page has a text."""
        answer = self.browser.get(path)
        return answer.status == 200 and text in answer.text

    def as_console(self, program: str) -> subprocess.CompletedProcess[str]:
        """Run a program of Python as the console's user."""
        return self.host.run(*AS_CONSOLE, sys.executable, "-c", program, check=False)

    def stop(self) -> None:
        """Stop the service: the last to close the database removes its log."""
        self.host.end(self.service)
        assert not self.host.path(f"{STATE}/rosterd.db-wal").exists()

    def kill(self) -> None:
        """Kill the service, which leaves the log of the database and its index."""
        os.kill(self.service.pid, signal.SIGKILL)
        self.service.wait()
        assert self.host.path(f"{STATE}/rosterd.db-wal").exists()


@pytest.fixture
def site(needs: Needs) -> Iterator[Site]:
    needs("sshd", "unshare", "nsenter", "setpriv", "useradd", "systemd-sysusers", "systemd-tmpfiles", root=True)
    with Host() as host:
        site = Site(host)
        site.upload("users.csv", *USERS)
        wait_until(lambda: site.shows("/imports", "users.csv"), "the import")
        wait_until(lambda: not list(host.path(f"{UPLOAD}/.work").iterdir()), "its archive")
        yield site
        sys.stderr.write(host.path("/run/console.log").read_text())  # pytest shows it with a test that failed


def test_pages_whatever_becomes_of_the_service(site: Site) -> None:
    """Pages have what is recorded while the service runs, after it was killed, while it is stopped, and afterwards."""
    for end in (site.kill, site.stop):
        wait_until(lambda: site.shows("/", "All is well"), "the service")
        end()
        assert site.shows("/", "The service is not running")
        assert site.shows("/imports/1", "60 new")
        assert site.shows("/people?q=S-59", "ann59@school.example")
        answer = site.browser.get("/imports/1/files/0")
        assert (409, True) == (answer.status, "systemctl start rosterd" in answer.text)
        site.service = site.host.start_service()
    site.upload("more.csv", *USERS, "S-99,OPSCOM,Zoe,Roy,zoe@school.example\n")
    wait_until(lambda: site.shows("/people?q=S-99", "zoe@school.example"), "the next import")


def test_a_locked_database_is_told_and_waited_for(site: Site) -> None:
    """While a program keeps the database to itself pages say so; afterwards they are there again."""
    site.stop()
    lock = (
        "import sqlite3, time",
        f"conn = sqlite3.connect('{STATE}/rosterd.db', isolation_level=None)",
        "conn.execute('PRAGMA locking_mode = EXCLUSIVE')",
        "conn.execute('CREATE TABLE other (value)')",
        "print('locked', flush=True)",
        "time.sleep(600)",
    )
    log = site.host.path("/run/lock.log")
    locking = site.host.start(sys.executable, "-c", "\n".join(lock), log=log)
    wait_until(lambda: "locked" in log.read_text(), "the lock")
    answer = site.browser.get("/imports")
    assert (503, True) == (answer.status, "The database cannot be read" in answer.text)
    site.host.end(locking)
    site.host.start_service()
    wait_until(lambda: site.shows("/imports", "users.csv"), "the page")


def test_files_come_by_way_of_the_service(site: Site) -> None:
    """Archives are downloaded, and a file that its client alone may read is previewed and decided on."""
    denied = site.as_console(f"import os; os.listdir('{UPLOAD}/.bak')")
    assert "PermissionError" in denied.stderr
    answer = site.browser.get("/imports/1/files/0")
    assert (200, (HEADER + "".join(USERS)).encode()) == (answer.status, answer.body)
    site.upload("others.csv", *(row.replace("Lee", "Moe") for row in USERS))
    wait_until(lambda: site.shows("/on-hold", "others.csv"), "the hold")
    assert site.shows("/on-hold/2", "Moe")
    assert 303 == site.browser.submit("/on-hold/2", "/on-hold/2/approve").status
    wait_until(lambda: site.shows("/people?q=S-59", "Moe"), "the import")


def test_what_a_console_that_was_taken_over_cannot_do(site: Site) -> None:
    """It changes no file of the service, sees no inbox, and gives no order but those of the pages, under a name."""
    for path in ("rosterd.db", "rosterd.db-wal", "rosterd.db-shm", "status.json", "adopted.json", "lock"):
        assert "PermissionError" in site.as_console(f"open('{STATE}/{path}', 'r+b')").stderr, path
    for program in (
        f"import os; os.listdir('{STATE}')",
        f"open('{STATE}/new', 'w')",
        f"import os; os.listdir('{STATE}/mail')",
        f"import os; os.unlink('{STATE}/console-users.json')",
        f"import os; os.listdir('{UPLOAD}')",
        f"import sqlite3; sqlite3.connect('{STATE}/rosterd.db').execute('VACUUM')",
    ):
        assert 1 == site.as_console(program).returncode, program
    ask = f"from watcher.control.client import Order, ask; print(ask('{STATE}', Order(do='%s', id='1', by='%s')).text)"
    for do, by in (("reload", "olga"), ("person.erase", "olga"), ("roster.undo", ""), ("roster.undo", "operator")):
        assert "only root and the user of the service may" in site.as_console(ask % (do, by)).stdout, (do, by)
    assert "may" not in site.as_console(ask % ("mail.retry", "olga")).stdout
    hand = "from watcher.control.client import ask_for_file; ask_for_file(%r, 'archive.open', 'acme', %r)"
    for name in (b"../users.csv", b"..", b"", b".work"):
        assert "FileNotFoundError" in site.as_console(hand % (STATE, name)).stderr, name
    assert site.shows("/people?q=S-59", "ann59@school.example")


def test_who_may_log_in_is_the_consoles_to_read(site: Site) -> None:
    """The file is the console's own, of mode 0600; root writes it, the service's user cannot."""
    users = site.host.run("stat", "-c", "%U %G %a", f"{STATE}/console-users.json").stdout
    assert "rosterd-console rosterd-console 600\n" == users
    as_service = ("setpriv", "--reuid=rosterd", "--regid=rosterd", "--init-groups")
    done = site.host.run(*as_service, *ROSTERD, "console", "user", "remove", "olga", check=False)
    assert (77, True) == (done.returncode, "run it as root" in done.stderr)
    for change in (("chown", "rosterd:rosterd"), ("touch",)):
        site.host.run(*change, f"{STATE}/console-users.json")
    answer = site.browser.get("/")
    assert (503, True) == (answer.status, "chown rosterd-console:" in answer.text)
    site.host.rosterd("console", "user", "remove", "olga", check=False)
    assert 200 == site.browser.get("/login").status
