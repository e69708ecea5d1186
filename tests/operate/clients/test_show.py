"""`rosterd client show`: keys, password and the last login, as far as the log of sshd tells."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.lab import wait_until
from tests.lab.host import Host, SftpUser

LOG = "/var/log/auth.log"
FORMS = {
    "rsyslog of Debian 12": lambda at: f"{at:%Y-%m-%dT%H:%M:%S.%f}+00:00 host sshd[12]: ",
    "rsyslog before": lambda at: (
        f"{at.astimezone():%b} {at.astimezone().day:>2} {at.astimezone():%H:%M:%S} host sshd[12]: "
    ),
    "OpenSSH 9.8": lambda at: f"{at:%Y-%m-%dT%H:%M:%S.%f}+00:00 host sshd-session[12]: ",
}


def shown(host: Host) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(host.rosterd("client", "show", "acme", "--json").stdout)
    return told


def in_words(host: Host) -> dict[str, str]:
    lines = [line.split("  ", 1) for line in host.rosterd("client", "show", "acme").stdout.splitlines()]
    return {name: value.strip() for name, value in lines}


def accepted(host: Host) -> list[str]:
    return [line for line in host.path("/run/sshd.log").read_text().splitlines() if line.startswith("Accepted ")]


@pytest.mark.parametrize("form", FORMS)
def test_the_last_login_is_told(host: Host, acme: SftpUser, form: str) -> None:
    """From what sshd wrote, in any form of syslog: when the last login was, from where, by which key."""
    assert 0 == acme.batch("ls").returncode
    wait_until(lambda: bool(accepted(host)), "sshd to log the login")
    at = datetime.now(UTC).replace(microsecond=0)
    older = (
        FORMS[form](datetime(at.year - 1, at.month, 1, tzinfo=UTC))
        + "Accepted password for acme from ::1 port 1 ssh2\n"
    )
    other = FORMS[form](at) + "Accepted password for acme2 from ::1 port 1 ssh2\n"
    forged = FORMS[form](at).replace("sshd", "cron") + "Accepted password for acme from ::2 port 1 ssh2\n"
    host.path(LOG).write_text(older + FORMS[form](at) + accepted(host)[-1] + "\n" + other + forged)
    told = shown(host)
    login, [key] = told["last_login"], told["keys"]
    assert (at, "publickey", "127.0.0.1") == (datetime.fromisoformat(login["at"]), login["by"], login["address"])
    assert key["fingerprint"] == login["fingerprint"]
    assert f"{at:%Y-%m-%d %H:%M:%S} UTC from 127.0.0.1, by key 1, {key['comment']}" == in_words(host)["last login"]
    host.rosterd("client", "key", "revoke", "acme", "1", "--apply")
    assert f"by a key that is revoked, {key['fingerprint']}" in in_words(host)["last login"]


def test_what_the_log_does_not_tell_is_unknown(host: Host, acme: SftpUser) -> None:
    """Without a log, and without a login in it, the last login is unknown, and it says what was searched."""
    _ = acme
    assert "unknown: no login in the journal" == in_words(host)["last login"]
    host.path(LOG).write_text("2026-01-01T00:00:00+00:00 host sshd[1]: Failed password for acme from ::1 port 1 ssh2\n")
    told = shown(host)
    assert (None, f"no login in the journal, {LOG}") == (told["last_login"], told["last_login_unknown"])


def test_a_large_log_does_not_keep_it_waiting(host: Host, acme: SftpUser) -> None:
    """A journal that takes long is left after five seconds, and of a large file only the end is searched."""
    _ = acme
    host.path("/srv/bin").mkdir()
    host.path("/srv/bin/journalctl").write_text("#!/bin/sh\nexec sleep 600\n")
    host.path("/srv/bin/journalctl").chmod(0o755)
    line = "2026-01-01T00:00:00+00:00 host sshd[1]: Accepted password for acme from ::1 port 1 ssh2\n"
    with host.path(LOG).open("w") as log:
        log.write(line)
        log.writelines(
            "2026-01-01T00:00:00+00:00 host cron[1]: nothing to see here, nothing at all\n" * 1000 for _ in range(250)
        )
    words = ("env", "PATH=/srv/bin:/usr/bin:/usr/sbin", sys.executable, "-m", "operate.cli", "client", "show", "acme")
    began = time.monotonic()
    told = host.run(*words).stdout
    assert time.monotonic() - began < 30  # not 600
    assert "unknown: no login in the journal, which was not searched to its end within 5 s" in told
    with host.path(LOG).open("a") as log:
        log.write(line)
    assert "2026-01-01 00:00:00 UTC from ::1, by password" in host.run(*words).stdout


def test_keys_and_password_are_told(host: Host, acme: SftpUser) -> None:
    """Each key has a line of its own; the password is none, set or locked; a key file that cannot be read is named."""
    said = subprocess.run(
        ["ssh-keygen", "-lf", acme.public_key], capture_output=True, text=True, check=True
    ).stdout.split()
    told = in_words(host)
    assert told["key"].startswith(f"1: {said[1]} ED25519 ")
    assert "none" == told["password"]
    words = [sys.executable, "-m", "operate.cli", "client", "password", "acme", "--set", "--expires", "2999-12-31"]
    host.run("sh", "-c", 'echo correct-horse-battery | "$@"', "sh", *words, "--apply")
    assert "set, last day 2999-12-31" == in_words(host)["password"]
    host.rosterd("client", "password", "acme", "--lock", "--apply")
    assert "locked, last day 2999-12-31" == in_words(host)["password"]
    host.run("sh", "-c", "rm /etc/ssh/sftpdrop/acme; ln -s /etc/passwd /etc/ssh/sftpdrop/acme")
    assert "/etc/ssh/sftpdrop/acme: is a symbolic link. Name the file itself" == in_words(host)["keys"]
