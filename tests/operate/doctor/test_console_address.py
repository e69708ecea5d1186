"""The certificate at the console's address, which is the proxy's: what doctor says of a wrong one."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from operate.doctor.findings import CheckResult, Severity
from operate.doctor.service import console_findings
from tests.lab.sshd import free_port
from tests.lab.web import WebServer
from watcher.settings import ConsoleSettings

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """Return an authority that this host knows."""
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    return made


def found(
    authority: trustme.CA, name: str = "localhost", since: datetime = NOW - DAY, until: datetime = NOW + 90 * DAY
) -> CheckResult:
    """Return what is said of a proxy with such a certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name, not_before=since, not_after=until).configure_cert(context)
    with WebServer(context) as server:
        return only(console_findings(ConsoleSettings(url=server.url.replace("127.0.0.1", "localhost"))))


def only(findings: Iterable[CheckResult]) -> CheckResult:
    [finding] = findings
    assert "console" == finding.topic
    return finding


def test_a_good_certificate_is_well(authority: trustme.CA) -> None:
    """It is said until when it is valid."""
    finding = found(authority)
    assert Severity.OK == finding.level
    assert f"valid until {NOW + 90 * DAY:%Y-%m-%d}" in finding.what


@pytest.mark.parametrize(
    ("certificate", "said"),
    [
        ({"name": "imports.example.org"}, "Hostname mismatch"),
        ({"since": NOW - 90 * DAY, "until": NOW - DAY}, "certificate has expired"),
        ({"since": NOW + DAY}, "certificate is not yet valid"),
    ],
    ids=["another name", "expired", "not yet valid"],
)
def test_a_wrong_certificate_is_a_fault(authority: trustme.CA, certificate: dict[str, datetime], said: str) -> None:
    """Browsers refuse the page, so the operator, who cannot see it, is told here why, and what to do."""
    finding = found(authority, **certificate)  # type: ignore[arg-type]  # of the table
    assert (Severity.FAULT, True) == (finding.level, said in finding.what), finding.what
    assert not finding.what.endswith(".")
    assert "reload the proxy" in finding.remedy


def test_one_that_ends_soon_is_told(authority: trustme.CA) -> None:
    """There is time to mend it."""
    finding = found(authority, until=NOW + 3 * DAY)
    assert Severity.WARNING == finding.level
    assert f"expires on {NOW + 3 * DAY:%Y-%m-%d}" in finding.what


@pytest.mark.usefixtures("authority")
def test_an_unknown_authority_is_told() -> None:
    """Browsers may know an authority of the organisation that this host does not."""
    finding = found(trustme.CA())
    assert Severity.WARNING == finding.level
    assert "update-ca-certificates" in finding.remedy


def test_a_proxy_that_does_not_answer_is_told() -> None:
    """It may be that only this host cannot reach it."""
    finding = only(console_findings(ConsoleSettings(url=f"https://localhost:{free_port()}")))
    assert (Severity.WARNING, True) == (finding.level, "ConnectionRefusedError" in finding.what)


def test_without_an_address_nothing_is_said() -> None:
    """A console behind a tunnel has no certificate."""
    assert [] == [*console_findings(ConsoleSettings())]
