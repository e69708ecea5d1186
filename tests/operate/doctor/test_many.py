"""`rosterd doctor` on a host with many clients: short, fast, and still about each of them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from operate.doctor.command import _unexplained
from operate.doctor.findings import Topic
from operate.doctor.process import _unlocking
from tests.conftest import Needs
from tests.lab.host import Host, SftpUser
from watcher.health.checks.clock import difference

CLIENTS = [f"c{number}" for number in range(102)]
AT_ONCE = 10  # added by one process, which must end within a minute on a busy machine
SNIPPET = "/etc/ssh/sshd_config.d/rosterd.conf"
# Several in one process; a hundred of these take half a minute.
ADD_ALL = """
import sys
from operate.cli import main
for name in sys.argv[2:]:
    words = ["client", "add", name, "--email", "it@school.example", "--key", sys.argv[1], "--apply"]
    main(words, standalone_mode=False)
"""
COUNTED = """
import sys
programs = []
sys.addaudithook(lambda event, about: programs.append(about[0]) if event == "subprocess.Popen" else None)
try:
    from operate.cli import main
    main(["doctor", "--json"])
finally:
    print(len(programs), *({"yagmail", "sqlite_utils"} & sys.modules.keys()), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def host(needs: Needs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Yield a host with 102 clients, and the service running."""
    needs("sshd", "sftp", "unshare", "nsenter", "setpriv", "useradd", "systemd-sysusers", "systemd-tmpfiles", root=True)
    with Host() as machine:
        key = SftpUser(machine, "any", tmp_path_factory.mktemp("keys")).public_key
        for at in range(0, len(CLIENTS), AT_ONCE):
            machine.run(sys.executable, "-c", ADD_ALL, key, *CLIENTS[at : at + AT_ONCE])
        machine.start_service()
        yield machine


@contextlib.contextmanager
def broken(host: Host, breaks: str, mends: str) -> Iterator[None]:
    """Break something of the host meanwhile, by shell commands."""
    host.run("sh", "-ec", breaks)
    try:
        yield
    finally:
        host.run("sh", "-ec", mends)


def findings(host: Host, *options: str) -> list[tuple[str, str, str]]:
    found = json.loads(host.rosterd("doctor", "--json", *options, check=False).stdout)["findings"]
    return [(each["level"], each["topic"], each["what"]) for each in found]


EVERY_INBOX = "/srv/sftp/*/upload"
KEYS = "/etc/ssh/sftpdrop"
BROKEN = {
    "nothing": (":", ":", 0),
    "inboxes open to all": (f"chmod 1777 {EVERY_INBOX}", f"chmod 1770 {EVERY_INBOX}", 102),
    "sshd": (f"sed -i s/PermitTTY/PermitTea/ {SNIPPET}", f"sed -i s/PermitTea/PermitTTY/ {SNIPPET}", 102),
    "keys": (
        f"cp -r {KEYS} /srv/kept; for file in {KEYS}/*; do echo ssh-ed25519 AAAA > $file; done",
        f"rm -r {KEYS}; mv /srv/kept {KEYS}",
        102,
    ),
    "owners": (
        f"for folder in {EVERY_INBOX}/.bak; do touch $folder/a; chown nobody $folder/a; done",
        f"rm {EVERY_INBOX}/.bak/a",
        102,
    ),
}


@pytest.mark.parametrize(("breaks", "mends", "problems"), BROKEN.values(), ids=BROKEN)
def test_a_hundred_clients_fit_on_a_screen(host: Host, breaks: str, mends: str, problems: int) -> None:
    """What is said of all clients is said once, with how many; JSON has each of them."""
    with broken(host, breaks, mends):
        lines = host.rosterd("doctor", check=False).stdout.splitlines()
        found = [topic for _, topic, _ in findings(host, "--problems") if topic.startswith("client ")]
    assert len(lines) <= 40, lines
    assert sorted(f"client {name}" for name in CLIENTS[:problems]) == sorted(found)


@pytest.mark.parametrize("breaks", ["nothing", "keys", "sshd", "owners"])
def test_no_program_is_run_for_each_client(host: Host, breaks: str) -> None:
    """A hundred clients take no more programs than one does, and no library to send mail with: each takes long."""
    with broken(host, *BROKEN[breaks][:2]):
        done = host.run(sys.executable, "-c", COUNTED, check=False)
    assert json.loads(done.stdout)["findings"]
    assert int(done.stderr) <= 11


@pytest.mark.parametrize(
    ("match", "allowed"),
    [
        ("Match User c7", {"c7"}),
        ("match user c7,c1?,!c12", {"c7", *(f"c1{digit}" for digit in "013456789")}),
        ('Match Group "c7"', {"c7"}),
    ],
)
def test_a_client_with_settings_of_its_own_is_noticed(host: Host, match: str, allowed: set[str]) -> None:
    """What only some logins are allowed is a finding about them, though sshd is not asked about each."""
    own = "/etc/ssh/sshd_config.d/a.conf"
    with broken(host, f"printf '%s\\n' '{match}' 'PermitTTY yes' 'Match all' > {own}", f"rm {own}"):
        found = {topic for _, topic, what in findings(host) if "more than SFTP: permittty" in what}
    assert {f"client {name}" for name in allowed} == found


def test_what_was_found_is_a_metric(host: Host) -> None:
    """--record keeps the counts, in a file that belongs to the service, as metrics and with a time."""
    before = host.rosterd("metrics").stdout
    with broken(host, "chmod 1777 /srv/sftp/c7/upload", "chmod 1770 /srv/sftp/c7/upload; rm /srv/sftp/c8/upload/x"):
        assert 2 == host.rosterd("doctor", "--problems", "--record", check=False).returncode
        host.run("touch", "/srv/sftp/c8/upload/.bak/x")
        assert 2 == host.rosterd("verify", "--record", check=False).returncode
        host.run("mv", "/srv/sftp/c8/upload/.bak/x", "/srv/sftp/c8/upload/x")
        found = host.rosterd("metrics").stdout
    assert "rosterd_doctor_problems" not in before
    assert 'rosterd_doctor_problems{severity="fault"} 1.0' in found
    assert 'rosterd_verify_problems{severity="fault"} 1.0' in found
    assert 'rosterd_verify_problems{severity="warning"} 0.0' in found
    assert "rosterd_doctor_timestamp_seconds 1" in found
    owner = host.path("/var/lib/rosterd").stat().st_uid
    assert {owner} == {host.path(f"/var/lib/rosterd/{name}.json").stat().st_uid for name in ("doctor", "verify")}
    assert [] == [topic for _, topic, _ in findings(host, "--problems") if topic == "state"]


def test_status_tells_what_doctor_found(host: Host) -> None:
    """A configuration that sshd refuses is a concern of the status, for each client, once doctor has been there."""
    with broken(host, *BROKEN["sshd"][:2]):
        host.rosterd("doctor", "--record", check=False)
        wrong = host.rosterd("status", check=False)
        metrics = host.rosterd("metrics").stdout
    host.rosterd("doctor", "--record", check=False)
    assert re.search(r"found 102 faults \d+ s ago: client c0: sshd's configuration cannot be read", wrong.stdout)
    assert 1 == wrong.returncode
    assert 'rosterd_doctor_problems{severity="fault"} 102.0' in metrics
    assert "rosterd doctor` found" not in host.rosterd("status", check=False).stdout


def test_status_tells_that_sshd_does_not_run(host: Host, tmp_path: Path) -> None:
    """An sshd that stopped is a concern of the status, once doctor has been there."""
    del host  # the programs are there
    with Host() as other:
        key = SftpUser(other, "acme", tmp_path).public_key
        other.rosterd("client", "add", "acme", "--email", "it@acme.example", "--key", key, "--apply")
        other.start_service()
        other.end(other.sshd)
        other.rosterd("doctor", "--record", check=False)
        stopped = other.rosterd("status", check=False)
    assert re.search(r"^`rosterd doctor` found 1 fault \d+ s ago: sshd: is not running", stopped.stdout, re.MULTILINE)
    assert 1 == stopped.returncode


@pytest.mark.parametrize(
    ("ahead_s", "said"),
    [
        (0.0, ""),
        (-299.0, ""),
        (301.0, "is 301 s behind that of the file system of /in/.work"),
        (-7200.0, "is 7200 s ahead of that of the file system of /in/.work"),
    ],
)
def test_a_clock_that_differs_from_the_file_systems(ahead_s: float, said: str) -> None:
    """Five minutes between the clock of this host and that of a file system are a fault."""
    assert said == difference("/in/.work", ahead_s)


def test_one_client_is_not_recorded(host: Host) -> None:
    """What was found of one client is not what the metric is about."""
    done = host.rosterd("doctor", "--record", "--client", "c7", check=False)
    assert (2, True) == (done.returncode, "leave out --client" in done.stderr)


def test_one_client_of_many(host: Host) -> None:
    """--client checks one client, --problems shows what is wrong; the last line counts all."""
    with broken(host, "chmod 1777 /srv/sftp/c7/upload /srv/sftp/c9/upload", f"chmod 1770 {EVERY_INBOX}"):
        whole = host.rosterd("doctor", "--client", "c7", check=False)
        short = host.rosterd("doctor", "--client", "c7", "--problems", check=False)
        other = host.rosterd("doctor", "--client", "c8", "--problems", check=False)
    assert (2, 2, 0) == (whole.returncode, short.returncode, other.returncode)
    assert all(" client c7: " in line or "->" in line for line in whole.stdout.splitlines()[:-1])
    assert [
        "fault    client c7: /srv/sftp/c7/upload: everybody can write to it, mode 1777",
        "         -> rosterd client add c7 --apply",
        "2 OK, 0 warning, 1 fault",
    ] == short.stdout.splitlines()
    assert "3 OK, 0 warning, 0 fault\n" == other.stdout


def test_a_folder_of_another_owner_is_told_once(host: Host) -> None:
    """One cause is one finding, not one each for the folder, for what is in it and for what the service says of it."""
    with broken(host, "chown nobody /srv/sftp/c7/upload/.work", "chown rosterd /srv/sftp/c7/upload/.work"):
        found = findings(host, "--client", "c7", "--problems")
    assert ["/srv/sftp/c7/upload/.work: belongs to nobody, so the service (rosterd) cannot use it"] == [
        what for _, _, what in found
    ]


@pytest.mark.parametrize(
    ("cause", "is_told"),
    [("client c7", False), ("client c8", True), ("database", True), ("mail", True), ("disk", True)],
)
def test_what_the_service_reports_is_told_unless_a_check_has_its_cause(cause: str, is_told: bool) -> None:  # noqa: FBT001
    """The trouble with an inbox that the service reports is left out if a check of the same client found a fault."""
    report = Topic("client c7").fault("its inbox cannot be used: ENOENT")
    assert ([report] if is_told else []) == [*_unexplained(iter([report]), [Topic(cause).fault("is broken")])]
    assert [report] == [*_unexplained(iter([report]), [Topic(cause).warning("is odd")])]
    refused = Topic("configuration").fault("the service refused a reload: is broken")
    assert [] == [*_unexplained(iter([refused]), [Topic(cause).fault("is broken")])]


def test_who_holds_the_lock_of_the_database_is_named(tmp_path: Path) -> None:
    """Of another program that has the database locked for long the process is named; of the service not."""
    database = tmp_path / "rosterd.db"
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as conn:
        conn.execute("PRAGMA journal_mode = wal")
        conn.execute("BEGIN IMMEDIATE")
        assert f"ps -f -p {os.getpid()};" in _unlocking(str(database), service_pid=1)
        assert "a moment ago" in _unlocking(str(database), service_pid=os.getpid())


def test_many_different_problems_are_all_named(host: Host) -> None:
    """Clients with another problem are not folded into one line."""
    with broken(host, "chmod 1777 /srv/sftp/c7/upload; chmod 0770 /srv/sftp/c9/upload", f"chmod 1770 {EVERY_INBOX}"):
        lines = host.rosterd("doctor", "--problems", check=False).stdout.splitlines()
    assert 1 == sum(line.startswith("fault    client c7: ") for line in lines)
    assert 1 == sum(line.startswith("warning  client c9: ") for line in lines)
