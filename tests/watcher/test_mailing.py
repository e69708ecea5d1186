"""What keeps mail from leaving stops mail, and nothing else; it is told, and mends itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab import wait_until
from tests.lab.daemon import Rosterd, Setting
from tests.lab.smtpd import PASSWORD, USER, MailServer
from tests.lab.sshd import HOST

HEADER = "unique_id,login_source,first_name,last_name,email\n"
ANN_AMISS = "1,OPSCOM,Ann,Lee,ann\n2,OPSCOM,Bob,Ray,bob@school.example\n"


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[MailServer]:
    with MailServer(tmp_path) as server:
        yield server


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """Return the folder in which systemd hands secrets over; there are none yet."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    return folder


@pytest.fixture
def rosterd(tmp_path: Path, relay: MailServer, secrets: Path) -> Iterator[Rosterd]:
    """Yield an installation that logs in at the relay; it does not run."""
    (tmp_path / "acme").mkdir()
    mail: dict[str, Setting] = {
        "host": HOST,
        "port": relay.port,
        "user": USER,
        "ca_file": str(relay.ca_file),
        "operator": ["ops@school.example"],
    }
    environment = {"CREDENTIALS_DIRECTORY": str(secrets)}
    with Rosterd(tmp_path, {"acme": tmp_path / "acme"}, settings={"mail": mail}, environment=environment) as installed:
        yield installed


def figure(rosterd: Rosterd, name: str) -> str:
    """Return a figure without labels."""
    [value] = [
        line.split()[1] for line in rosterd.execute("metrics").stdout.splitlines() if line.startswith(f"{name} ")
    ]
    return value


def make_unreadable(secrets: Path) -> None:
    (secrets / "smtp_password").mkdir()


def make_empty(secrets: Path) -> None:
    (secrets / "smtp_password").write_text("\n")  # what the unit hands over when there is no such file


MISSING: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda _: None, "without a password"),
    "empty": (make_empty, "without a password"),
    "unreadable": (make_unreadable, "Is a directory"),
}


@pytest.mark.parametrize(("prepare", "reason"), MISSING.values(), ids=MISSING)
def test_without_the_password_only_mail_waits(
    rosterd: Rosterd, relay: MailServer, secrets: Path, prepare: Callable[[Path], object], reason: str
) -> None:
    """Without the password files are imported, the trouble is told everywhere, and mail leaves once it is there."""
    prepare(secrets)
    rosterd.start()
    rosterd.drop("users.csv", HEADER + ANN_AMISS)
    rosterd.wait_for_imports(1)

    assert reason in str(rosterd.wait_for_event("mail.unusable")["reason"])
    wait_until(lambda: "Mail cannot be sent and waits" in rosterd.execute("status").stdout, "status to say so")
    assert "0.0" == figure(rosterd, "rosterd_mail_usable")
    findings = json.loads(rosterd.execute("doctor", "--json").stdout)["findings"]
    assert {"fault"} == {each["level"] for each in findings if each["topic"] == "mail"}
    assert {0} == {row["attempts"] for row in rosterd.query("SELECT attempts FROM outbox")}
    retried = rosterd.execute("mail", "retry", "1")
    assert (0, True) == (retried.returncode, "is retried as soon as mail can be sent: " in retried.stdout)

    password = secrets / "smtp_password"
    if password.is_dir():
        password.rmdir()
    password.write_text(f"{PASSWORD}\n")
    rosterd.wait_for_event("mail.restored")
    wait_until(lambda: relay.deliveries, "mail")
    wait_until(lambda: "1.0" == figure(rosterd, "rosterd_mail_usable"), "the figure")
    assert "Mail cannot be sent" not in rosterd.execute("status").stdout


def test_a_single_pass_imports_without_the_password(rosterd: Rosterd) -> None:
    """`rosterd sweep` imports what is there, though mail has to wait."""
    rosterd.drop("users.csv", HEADER + ANN_AMISS)
    assert 0 == rosterd.execute("sweep").returncode
    assert ["2"] == list(rosterd.users())
    assert ["waiting"] == [row["state"] for row in rosterd.query("SELECT state FROM outbox WHERE client = 'acme'")]


def test_a_reload_lets_mail_leave(rosterd: Rosterd, relay: MailServer, secrets: Path) -> None:
    """Certificates that cannot be read stop mail only, and a reload with the right ones lets it leave at once."""
    (secrets / "smtp_password").write_text(PASSWORD)
    rosterd.reload(lambda text: text.replace("authority.pem", "nowhere.pem"))
    rosterd.start()
    rosterd.drop("users.csv", HEADER + ANN_AMISS)
    rosterd.wait_for_imports(1)
    assert "ca_file" in str(rosterd.wait_for_event("mail.unusable")["reason"])

    rosterd.reload(lambda text: f"{text}\n# still wrong\n")
    rosterd.wait_for_event("config.reloaded")
    rosterd.reload(lambda text: text.replace("nowhere.pem", "authority.pem"))
    rosterd.wait_for_event("mail.restored")
    wait_until(lambda: relay.deliveries, "mail")


def test_a_reload_does_not_put_an_end_to_mail(rosterd: Rosterd, relay: MailServer, secrets: Path) -> None:
    """A reload by which no mail could leave any more keeps the old configuration, and mail goes on."""
    (secrets / "smtp_password").write_text(PASSWORD)
    rosterd.start()
    wait_until(lambda: "1.0" == figure(rosterd, "rosterd_mail_usable"), "the figure")
    rosterd.reload(lambda text: text.replace("authority.pem", "nowhere.pem"))
    assert "ca_file" in str(rosterd.wait_for_event("config.refused")["reason"])
    rosterd.drop("users.csv", HEADER + ANN_AMISS)
    wait_until(lambda: relay.deliveries, "mail")


def test_an_unreadable_sign_of_life_stops_no_import(rosterd: Rosterd, secrets: Path) -> None:
    """When the URL of the sign of life cannot be read files are imported, and log and status say what is wrong."""
    (secrets / "ping_url").mkdir()
    rosterd.start()
    rosterd.drop("users.csv", HEADER + ANN_AMISS)
    rosterd.wait_for_imports(1)
    assert "Is a directory" in str(rosterd.wait_for_event("ping.failed")["reason"])
    wait_until(lambda: "The heartbeat fails" in rosterd.execute("status").stdout, "status to say so")


def test_mail_that_reaches_nobody_does_not_look_sent(tmp_path: Path) -> None:
    """Without an SMTP server status, metrics, list and log say that mail only goes into the Maildir; doctor warns."""
    (tmp_path / "acme").mkdir()
    with Rosterd(tmp_path, {"acme": tmp_path / "acme"}) as rosterd:
        rosterd.start()
        rosterd.drop("users.csv", HEADER + ANN_AMISS)
        assert "no SMTP server: in the Maildir only" == rosterd.wait_for_event("mail.sent")["reason"]
        maildir = str(tmp_path / "state" / "mail")
        assert f"no SMTP server is configured: only stored in {maildir}" in rosterd.execute("status").stdout
        assert maildir == json.loads(rosterd.execute("status", "--json").stdout)["maildir"]
        assert "in the Maildir only" in rosterd.execute("mail", "list", "--all").stdout
        assert "0.0" == figure(rosterd, "rosterd_mail_by_smtp")
        findings = json.loads(rosterd.execute("doctor", "--json").stdout)["findings"]
        [(level, what, remedy)] = [(f["level"], f["what"], f["remedy"]) for f in findings if f["topic"] == "mail"]
        assert ("warning", True, True) == (level, "reaches no one" in what, "[mail] host" in remedy)
