"""`rosterd doctor` on a real host: all is well, then one thing is broken after the other, and it is named."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from operate.doctor.findings import Topic
from operate.doctor.process import _rights
from operate.doctor.service import _covered
from tests.lab import wait_until
from tests.lab.host import Host, SftpUser
from tests.lab.smtpd import PASSWORD, USER, MailServer
from tests.lab.sshd import free_port

UPLOAD = "/srv/sftp/acme/upload"
SSHD = "/etc/ssh/sshd_config.d/rosterd.conf"
CONFIG = "/etc/rosterd/config.toml"
# What this machine, and not the host made of it, decides.
FOREIGN = {"clock", "disk", "log", "kernel"}

READ = ["/srv/certs", "/srv/dns"]  # where the mail settings, and the host's resolver, may lead

Needs = Callable[..., None]
Lines = list[tuple[str, str, str]]  # level, topic, what


@pytest.fixture(scope="module", autouse=True)
def _needed(needs: Needs) -> None:
    needs("sshd", "sftp", "unshare", "nsenter", "setpriv", "useradd", "systemd-sysusers", "systemd-tmpfiles", root=True)


@pytest.fixture(scope="module")
def host(_needed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Yield a host with the client acme, and the service running."""
    with Host() as machine:
        user = SftpUser(machine, "acme", tmp_path_factory.mktemp("keys"))
        machine.rosterd("client", "add", "acme", "--email", "it@acme.example", "--key", user.public_key, "--apply")
        machine.start_service()
        machine.path("/srv/damaged.db").write_bytes(b"no database at all" * 500)
        foreign = "import sqlite3; sqlite3.connect('/srv/foreign.db').execute('CREATE TABLE things (name)')"
        machine.run(sys.executable, "-c", foreign)
        yield machine


def examine(host: Host) -> tuple[int, Lines]:
    """Return the exit status and the findings that are about the host as it was made."""
    done = host.rosterd("doctor", "--json", check=False)
    assert "" == done.stderr
    told = json.loads(done.stdout)
    lines = [(each["level"], each["topic"], each["what"]) for each in told["findings"]]
    assert done.returncode == {"ok": 0, "warning": 1, "fault": 2}[told["worst"]]
    return done.returncode, [line for line in lines if line[1] not in FOREIGN]


def wrong(host: Host) -> Lines:
    """Return the findings that are not OK, but for the mail server that no host here has."""
    return [line for line in examine(host)[1] if line[0] != "ok" and line[:2] != ("warning", "mail")]


def test_a_host_as_it_should_be_has_no_findings(host: Host) -> None:
    """After `client add`, with the service running as its user and with its rights, all is OK but for a mail server."""
    _, lines = examine(host)
    assert [("warning", "mail")] == [line[:2] for line in lines if line[0] != "ok"]
    # Of sshd there is a line from OpenSSH 9.8 on.
    topics = {line[1] for line in lines} - {"sshd"}
    assert {"configuration", "service", "state", "database", "mail", "clients", "client acme"} == topics
    assert ("ok", "clients", "their guides name no one to ask") in lines


def test_it_reads_well(host: Host) -> None:
    """Each line says how it is, about what; what is not well has its remedy below; the last line counts."""
    lines = host.rosterd("doctor", check=False).stdout.splitlines()
    assert f"OK       configuration: {CONFIG}; clients: acme" == lines[0]
    assert lines[-1].endswith(" fault")


class Fault(NamedTuple):
    """One thing to break, by a shell command, how to mend it, and what has to be said of it."""

    breaks: str
    mends: str
    level: str
    topic: str
    said: str


def edited(path: str, edit: str) -> tuple[str, str]:
    """Return commands that edit a file by sed, and that bring it back."""
    return f"cp {path} {path}.kept; sed -i '{edit}' {path}", f"mv {path}.kept {path}"


def checking(makes: str) -> tuple[str, str]:
    """Return commands that make something in place of a folder `check` and turn it on, and that undo both."""
    edits, mends = edited("/etc/rosterd/clients.d/acme.toml", "$ a check_folder = true")
    return f"{makes}; {edits}", f"rm -r {UPLOAD}/check; {mends}"


def owned(path: str, change: str, back: str) -> tuple[str, str]:
    return f"{change} {path}", f"{back} {path}"


def appended(section: str, **settings: str | int) -> tuple[str, str]:
    """Return commands that add a section to the configuration, and that bring it back."""
    lines = [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in settings.items())]
    return f"cp {CONFIG} {CONFIG}.kept; printf '%s\\n' {shlex.join(lines)} >> {CONFIG}", f"mv {CONFIG}.kept {CONFIG}"


FAULTS = {
    "inbox removed": Fault(f"mv {UPLOAD} /srv/x", f"mv /srv/x {UPLOAD}", "fault", "client acme", "No such file"),
    "inbox a link": Fault(
        f"mv {UPLOAD} /srv/x; ln -s /srv/x {UPLOAD}",
        f"rm {UPLOAD}; mv /srv/x {UPLOAD}",
        "fault",
        "client acme",
        "is not a folder",
    ),
    "inbox the client's": Fault(
        f"chown acme:rosterd {UPLOAD}; chmod 2770 {UPLOAD}",
        f"chown rosterd:acme {UPLOAD}; chmod 01770 {UPLOAD}",  # without the zero the folder keeps its set-group-id bit
        "warning",
        "client acme",
        "who can rename or remove .bak",
    ),
    "inbox somebody's": Fault(
        *owned(UPLOAD, "chown nobody", "chown rosterd"), "fault", "client acme", "cannot move uploads out of it"
    ),
    "inbox root's": Fault(
        *owned(UPLOAD, "chown root", "chown rosterd"), "fault", "client acme", "cannot move uploads out of it"
    ),
    "inbox not sticky": Fault(
        *owned(UPLOAD, "chmod 0770", "chmod 1770"), "warning", "client acme", "has no sticky bit"
    ),
    "inbox open": Fault(*owned(UPLOAD, "chmod 1777", "chmod 1770"), "fault", "client acme", "everybody can write"),
    "archive the client's": Fault(
        *owned(f"{UPLOAD}/.bak", "chown acme", "chown rosterd"),
        "fault",
        "client acme",
        "is not a folder that the service owns",
    ),
    "archive writable": Fault(
        *owned(f"{UPLOAD}/.bak", "chmod 2770", "chmod 2750"), "fault", "client acme", "mode 2770 gives others access"
    ),
    "archive unreadable": Fault(
        *owned(f"{UPLOAD}/.bak", "chgrp rosterd", "chgrp acme"), "warning", "client acme", "cannot read it"
    ),
    "chroot not root's": Fault(
        *owned("/srv/sftp/acme", "chmod g+w", "chmod g-w"), "fault", "client acme", "sshd refuses the login"
    ),
    "login disabled": Fault("usermod -e 1 acme", "usermod -e '' acme", "warning", "client acme", "is disabled"),
    "no key": Fault(
        "mv /etc/ssh/sftpdrop/acme /srv/x",
        "mv /srv/x /etc/ssh/sftpdrop/acme",
        "warning",
        "client acme",
        "cannot log in",
    ),
    "protected users missing": Fault(
        *edited("/etc/rosterd/clients.d/acme.toml", '$ a protected_users = "acme.protected"'),
        "fault",
        "client acme",
        "protected_users /etc/rosterd/acme.protected: No such file or directory; nothing is imported meanwhile",
    ),
    "check folder the client's": Fault(
        *checking(f"install -d -o acme -g acme {UPLOAD}/check"), "fault", "client acme", "check: belongs to acme"
    ),
    "check folder a link": Fault(
        *checking(f"ln -s /srv {UPLOAD}/check"), "fault", "client acme", "is not a folder, so nothing is checked"
    ),
    "check folder shut": Fault(
        *checking(f"install -d -o rosterd -g rosterd -m 1770 {UPLOAD}/check"),
        "fault",
        "client acme",
        "the client cannot write to it: group rosterd, mode 1770",
    ),
    "check folder not sticky": Fault(
        *checking(f"install -d -o rosterd -g acme -m 2770 {UPLOAD}/check"),
        "warning",
        "client acme",
        "check: has no sticky bit",
    ),
    "check folder left": Fault(
        f"install -d -o rosterd -g acme -m 3770 {UPLOAD}/check",
        f"rm -r {UPLOAD}/check",
        "warning",
        "client acme",
        "check_folder is off",
    ),
    "sessions unheard": Fault(
        *edited("/etc/rosterd/clients.d/acme.toml", '$ a log_socket = "dev/log"'),
        "warning",
        "client acme",
        "no session log reaches the service",
    ),
    "no snippet": Fault(
        f"mv {SSHD} /srv/x", f"mv /srv/x {SSHD}", "fault", "client acme", "the ChrootDirectory of acme is none"
    ),
    "sshd broken": Fault(*edited(SSHD, "s/PermitTTY/PermitTea/"), "fault", "client acme", "cannot be read"),
    "a shell": Fault(*edited(SSHD, "s/internal-sftp/bash/"), "fault", "client acme", "expected internal-sftp"),
    "words lost": Fault(*edited(SSHD, "s/-P/-l INFO -l INFO -P /"), "fault", "client acme", "after the ninth"),
    "links allowed": Fault(*edited(SSHD, "s/-P.*//"), "warning", "client acme", "can create links"),
    "forwarding": Fault(*edited(SSHD, "s/PermitTTY no/PermitTTY yes/"), "fault", "client acme", "more than SFTP"),
    "dead connections": Fault(
        *edited(SSHD, "s/ClientAliveInterval 15/ClientAliveInterval 0/"), "warning", "client acme", "dead connections"
    ),
    "resume grace": Fault(
        *edited(CONFIG, "s/quiet_s.*/resume_grace_s = 60.0/"), "warning", "client acme", "only after 120 s"
    ),
    "bad configuration": Fault(*edited(CONFIG, "s/0.3/-1/"), "fault", "configuration", "expected a number above 0"),
    "no address": Fault(
        *edited("/etc/rosterd/clients.d/acme.toml", "/email/d"), "warning", "client acme", "no one gets mail"
    ),
    "setting of before": Fault(
        *edited("/etc/rosterd/clients.d/acme.toml", "s/^inbox/shrink_guard = 80\\ninbox/"),
        "warning",
        "client acme",
        "has the deprecated setting shrink_guard = 80",
    ),
    "SMTP down": Fault(
        *appended("mail", host="127.0.0.1", port=free_port(), security="none"), "fault", "mail", "Connection refused"
    ),
    "textfile not written": Fault(
        *appended("metrics", textfile="/srv/nowhere/rosterd.prom"),
        "warning",
        "metrics",
        "No such file",
    ),
    "no read copy": Fault(
        *appended("service", read_copy="/srv/nowhere/users.db"),
        "fault",
        "readers",
        "No such file",
    ),
    "state directory open": Fault(
        *owned("/var/lib/rosterd", "chmod 0755", "chmod 0710"), "fault", "state", "others can access it"
    ),
    "another member of the group": Fault(
        "usermod -aG rosterd nobody", "gpasswd -d nobody rosterd", "fault", "state", "nobody can read the database"
    ),
    "users of the console": Fault(
        "install -m 0600 /dev/null /var/lib/rosterd/console-users.json",
        "rm /var/lib/rosterd/console-users.json",
        "fault",
        "state",
        "so nobody can log in to the console",
    ),
    "database damaged": Fault(
        *appended("service", database="/srv/damaged.db"), "fault", "database", "file is not a database"
    ),
    "no reply_to": Fault(
        *appended("mail", host="127.0.0.1", port=9), "warning", "clients", "where no one reads their replies"
    ),
    "database foreign": Fault(
        *appended("service", database="/srv/foreign.db"), "fault", "database", "is not a database of rosterd"
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_is_broken_is_named(host: Host, fault: Fault) -> None:
    """What is wrong is told with its level, and the exit status is that of the worst; mended, all is OK again."""
    host.run("sh", "-c", fault.breaks)
    try:
        status, lines = examine(host)
    finally:
        host.run("sh", "-c", fault.mends)
    found = [(level, topic) for level, topic, what in lines if fault.said in what]
    assert (fault.level, fault.topic) in found, lines
    assert status >= {"warning": 1, "fault": 2}[fault.level]
    # The service looks again at an inbox that it could not use every 10 s.
    wait_until(lambda: not wrong(host), "all to be well again")


def test_a_service_that_does_not_run_is_a_fault(tmp_path: Path) -> None:
    """The service's end is told; the rest is examined all the same."""
    with Host() as host:
        user = SftpUser(host, "acme", tmp_path)
        host.rosterd("client", "add", "acme", "--email", "it@acme.example", "--key", user.public_key, "--apply")
        assert [("fault", "service", "is not running")] == wrong(host)
        # Without the first word systemd refuses a start after too many of them.
        said = host.rosterd("doctor", check=False).stdout
        assert "systemctl reset-failed rosterd; systemctl start rosterd" in said


@pytest.mark.parametrize(
    ("settings", "level", "said"),
    [
        ({}, "ok", f"answers, logged in as {USER}"),
        ({"ca_file": ""}, "fault", "certificate"),
        ({"security": "tls"}, "fault", "SSL"),
    ],
    ids=["all well", "unknown authority", "wrong security"],
)
def test_the_mail_server_is_tried(host: Host, tmp_path: Path, settings: dict[str, str], level: str, said: str) -> None:
    """Connecting, TLS and login are tried with the password that the unit hands over, and no mail is sent."""
    secret = host.path("/etc/rosterd/smtp_password")
    with MailServer(tmp_path) as server:
        usual: dict[str, str | int] = {"host": "127.0.0.1", "port": server.port, "user": USER}
        breaks, mends = appended("mail", **(usual | {"ca_file": str(server.ca_file)} | settings))
        host.run("sh", "-c", breaks)
        secret.write_text(f"{PASSWORD}\n")
        try:
            _, lines = examine(host)
        finally:
            host.run("sh", "-c", mends)
            secret.unlink()
    [(found, _, what)] = [line for line in lines if line[1] == "mail"]
    assert (level, True) == (found, said in what), what
    assert (0, False) == (server.attempts, PASSWORD in str(lines))


def test_whom_clients_can_ask_is_looked_at(host: Host) -> None:
    """With an address for replies and a contact there is nothing to say about questions of clients."""
    breaks, mends = appended("mail", host="127.0.0.1", port=9, reply_to="help@example.org", contact="Marie")
    host.run("sh", "-c", breaks)
    try:
        _, lines = examine(host)
    finally:
        host.run("sh", "-c", mends)
    assert [] == [line for line in lines if line[1] == "clients"]


def test_a_login_without_a_password_is_a_fault(host: Host) -> None:
    """A mail login whose password is nowhere is told as a fault of mail, with where it belongs."""
    breaks, mends = appended("mail", host="127.0.0.1", port=25, user=USER)
    host.run("sh", "-c", breaks)
    try:
        _, lines = examine(host)
    finally:
        host.run("sh", "-c", mends)
    [(level, _, what)] = [line for line in lines if line[1] == "mail"]
    assert level == "fault"
    assert "smtp_password" in what


@pytest.mark.parametrize(
    ("root", "bound", "remedies"),
    [
        ("/run/rosterd", "/var/lib/rosterd:/var/lib/rosterd:rbind -/srv:/srv:rbind", []),
        ("/run/rosterd", "/var/lib/rosterd:/var/lib/rosterd:rbind /srv/s:/srv/s:rbind", ["/srv/sftp/acme", *READ]),
        ("/run/rosterd", "-/srv:/srv:rbind", ["/var/lib/rosterd"]),
        ("/run/nowhere", "/var/lib/rosterd:/var/lib/rosterd:rbind -/srv:/srv:rbind", ["systemd-tmpfiles --create"]),
    ],
    ids=["all well", "not the folders", "not the state directory", "no root"],
)
def test_what_the_unit_hides_is_a_fault(host: Host, root: str, bound: str, remedies: list[str]) -> None:
    """What the service needs and does not find below the root that the unit gives it is told, with what lets it in."""
    told = f"RootDirectory={root}\nBindPaths={bound}\nBindReadOnlyPaths=/etc:/etc:rbind\n"
    breaks, mends = appended("mail", host="0.0.0.0", port=free_port(), ca_file=f"{READ[0]}/ca.pem")  # noqa: S104
    resolver = "/etc/resolv.conf"
    host.run("sh", "-c", f"{breaks}; mv {resolver} {resolver}.kept; ln -s {READ[1]}/resolv.conf {resolver}")
    host.path("/srv/bin").mkdir()
    host.path("/srv/bin/systemctl").write_text(f"#!/bin/sh\nprintf '{told}'\n")
    host.path("/srv/bin/systemctl").chmod(0o755)
    doctor = (sys.executable, "-m", "operate.cli", "doctor", "--json")
    try:
        done = host.run("env", f"PATH=/srv/bin:{os.environ['PATH']}", *doctor, check=False)
    finally:
        host.run("sh", "-c", f"{mends}; mv {resolver}.kept {resolver}; rm -r /srv/bin")
    found = [each["remedy"] for each in json.loads(done.stdout)["findings"] if each["topic"] == "service"]
    assert remedies == [re.sub(r".* Bind\w+=", "", remedy).partition(";")[0] for remedy in found if remedy]


def test_a_relay_that_the_unit_shuts_out_is_noticed() -> None:
    """An address counts as let through when any network of the unit's list has it."""
    addresses = {"192.0.2.25", "127.0.0.1", "2001:db8::25"}
    assert addresses == _covered(addresses, "0.0.0.0/0 ::/0")
    assert {"127.0.0.1"} == _covered(addresses, "127.0.0.0/8 ::1/128")
    assert {"192.0.2.25"} == _covered(addresses, "192.0.2.25/32")
    assert set() == _covered(addresses, "")


def test_another_process_is_not_taken_for_the_service() -> None:
    """Where the service has its number in another container, the rights of whoever has it here say nothing."""
    first = 1  # never the service: that is started by it, or by a test
    assert [f"process {first} cannot be examined"] == [each.what for each in _rights(Topic("service"), first)]
