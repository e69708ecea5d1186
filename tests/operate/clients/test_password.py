"""Passwords of a client at a real sshd: set, expired, locked, removed; and never shown."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import paramiko  # type: ignore[import-untyped]
import pytest

from tests.lab.host import Host, SftpUser
from tests.lab.sshd import HOST

PASSWORD = "correct horse: battery $taple"
OTHER = "Zoë's other passphrase"


def change(host: Host, *options: str, sent: str = "") -> subprocess.CompletedProcess[str]:
    """Run `client password acme` with a line on its standard input."""
    words = [sys.executable, "-m", "operate.cli", "client", "password", "acme", *options]
    return host.run("sh", "-c", 'printf "%s" "$0" | "$@"', sent, *words, check=False)


def is_let_in(host: Host, password: str) -> bool:
    """Return whether a session with this password can look into the inbox."""
    with paramiko.SSHClient() as client:
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        try:
            client.connect(
                HOST, host.port, "acme", password, allow_agent=False, look_for_keys=False, timeout=30, auth_timeout=30
            )
            with client.open_sftp() as sftp:
                sftp.listdir("/upload")
        except (paramiko.SSHException, EOFError):
            return False
        except OSError as error:  # sshd lets an expired password in, and ends the session at any moment after that
            if error.args != ("Socket is closed",):
                raise
            return False
        return True


def by_key(user: SftpUser) -> bool:
    return user.batch("ls").returncode == 0


def test_a_password_is_set_and_changed(host: Host, acme: SftpUser) -> None:
    """A password comes from standard input, lets in next to the key, and is in no output."""
    dry = change(host, "--set")
    assert (0, True) == (dry.returncode, "chpasswd" in dry.stdout)
    assert not is_let_in(host, PASSWORD)
    done = change(host, "--set", "--apply", sent=PASSWORD + "\n")
    assert 0 == done.returncode, done.stderr
    assert "horse" not in done.stdout + done.stderr
    assert (True, False, True) == (is_let_in(host, PASSWORD), is_let_in(host, OTHER), by_key(acme))
    change(host, "--set", "--apply", sent=OTHER)
    assert (False, True) == (is_let_in(host, PASSWORD), is_let_in(host, OTHER))


def test_a_locked_password_lets_nobody_in(host: Host, acme: SftpUser) -> None:
    """Locked, the password is refused and the key is not; unlocked it lets in again; removed it is gone."""
    change(host, "--set", "--apply", sent=PASSWORD)
    for option, is_open in (("--lock", False), ("--unlock", True), ("--remove", False)):
        assert 0 == change(host, option, "--apply").returncode
        assert (is_open, True) == (is_let_in(host, PASSWORD), by_key(acme)), option
        assert "Nothing to do" in change(host, "--remove" if option == "--remove" else option, "--apply").stdout
    refused = change(host, "--lock", "--apply")
    assert (2, True) == (refused.returncode, "has no password" in refused.stderr)


def test_a_password_ends_with_its_last_day(host: Host, acme: SftpUser) -> None:
    """After its last day a password lets nobody in, nor does a key; `never` takes the limit back."""
    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"
    assert 0 == change(host, "--set", "--expires", tomorrow, "--apply", sent=PASSWORD).returncode
    told = host.run("chage", "--iso8601", "--list", "acme").stdout
    assert f"Password expires\t\t\t\t\t: {tomorrow}" in told
    assert is_let_in(host, PASSWORD)
    assert "Nothing to do" in change(host, "--expires", tomorrow, "--apply").stdout
    host.run("chage", "--lastday", "2020-01-01", "acme")
    assert (False, False) == (is_let_in(host, PASSWORD), by_key(acme))
    assert 0 == change(host, "--expires", "never", "--apply").returncode
    assert (True, True) == (is_let_in(host, PASSWORD), by_key(acme))


def test_a_last_day_goes_with_its_password(host: Host, acme: SftpUser) -> None:
    """PAM asks also without a password whether it is over: a removed one takes its last day with it."""
    assert "Nothing to do" in change(host, "--remove", "--apply").stdout
    assert 0 == change(host, "--set", "--expires", "90d", "--apply", sent=PASSWORD).returncode
    assert 0 == change(host, "--remove", "--apply").returncode
    assert "Nothing to do" in change(host, "--remove", "--apply").stdout
    host.run("chage", "--lastday", "2020-01-01", "acme")  # as if it were long ago
    assert by_key(acme)


def test_a_password_that_sshd_does_not_accept_is_told(host: Host, acme: SftpUser) -> None:
    """Where sshd takes no passwords, and where a lock would stop the keys, the command says so."""
    _ = acme
    conf = host.path("/etc/ssh/sshd_config.d/00.conf")
    conf.write_text("PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n")
    assert "sshd accepts no passwords of acme" in change(host, "--set", "--apply", sent=PASSWORD).stdout
    refused = change(host, "--lock", "--apply")
    assert (2, True) == (refused.returncode, "use --remove" in refused.stderr)


NO_PASSWORDS = {"empty": "", "short": "hunter2", "two lines": f"{PASSWORD}\nroot:{PASSWORD}", "long": "a" * 257}


@pytest.mark.parametrize("sent", NO_PASSWORDS.values(), ids=NO_PASSWORDS)
def test_what_is_no_password_is_refused(host: Host, acme: SftpUser, sent: str) -> None:
    """Nothing but one line of some length becomes a password; nothing of it is shown, and no other login is changed."""
    _ = acme
    before = host.path("/etc/shadow").read_text()
    refused = change(host, "--set", "--apply", sent=sent)
    assert (2, True) == (refused.returncode, "expected one line of 12 to 256 characters" in refused.stderr)
    assert not sent or sent[:6] not in refused.stderr
    assert before == host.path("/etc/shadow").read_text()


@pytest.mark.parametrize("options", [(), ("--set", "--lock"), ("--expires", "1d", "--remove")], ids=" ".join)
def test_it_is_said_what_to_give(host: Host, acme: SftpUser, options: tuple[str, ...]) -> None:
    """No change, or two that exclude each other, is a usage error."""
    _ = acme
    refused = change(host, *options)
    assert (2, True) == (refused.returncode, "give --set, --expires or both" in refused.stderr)


def test_only_a_client_gets_a_password(host: Host, acme: SftpUser, tmp_path: Path) -> None:
    """A login that is not a client's is left alone."""
    _ = acme, tmp_path
    words = ("client", "password", "daemon", "--set", "--apply")
    refused = host.rosterd(*words, check=False)
    assert (2, True) == (refused.returncode, "so it is not a client" in refused.stderr)
