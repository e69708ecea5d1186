"""The files for the host: each is accepted by the program that reads it, and says what the code needs."""

from __future__ import annotations

import configparser
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import REPOSITORY
from watcher import exits

DEPLOY = REPOSITORY / "deploy"
UNIT = DEPLOY / "rosterd.service"
CONSOLE = DEPLOY / "rosterd-console.service"
MAX_EXPOSURE = 1.3

Needs = Callable[..., None]


def output(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert 0 == done.returncode, done.stderr
    return done.stdout + done.stderr


def directive(name: str) -> list[str]:
    """Return the words of a directive of the unit."""
    return [word for value in re.findall(rf"^{name}=(.*)", UNIT.read_text(), re.MULTILINE) for word in value.split()]


def test_the_jail_is_that_of_sshd() -> None:
    """The jail for fail2ban turns on the one for sshd that fail2ban has, and never blocks this machine."""
    jails = configparser.ConfigParser(interpolation=None)
    jails.read(DEPLOY / "fail2ban" / "rosterd.conf")
    assert ["sshd"] == jails.sections()
    jail = jails["sshd"]
    assert jail.getboolean("enabled")
    assert {"127.0.0.1/8", "::1"} <= {*jail["ignoreip"].split()}  # where the probe of doctor comes from
    assert ("systemd", "normal") == (jail["backend"], jail["mode"])
    assert {"bantime", "findtime", "maxretry"} <= {*jail}


@pytest.mark.parametrize("unit", [UNIT, CONSOLE], ids=lambda unit: str(unit.name))
def test_the_units_expose_little(needs: Needs, unit: Path) -> None:
    """A unit's exposure, as systemd counts it, is at most 1.3, against 9.6 for a service without a sandbox."""
    needs("systemd-analyze")
    told = output("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    exposure = re.search(rf"exposure level for {unit.name}: ([\d.]+)", told)
    assert exposure is not None, told
    assert float(exposure[1]) <= MAX_EXPOSURE


@pytest.mark.parametrize("unit", [UNIT, CONSOLE], ids=lambda unit: str(unit.name))
def test_the_units_are_understood(needs: Needs, unit: Path) -> None:
    """No line of a unit is wrong to systemd; the programs and their manual are not installed here."""
    needs("systemd-analyze")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=60, check=False
    )
    complaints = [line for line in done.stderr.splitlines() if "rosterd" in line and "not executable" not in line]
    assert [] == complaints


@pytest.mark.parametrize("unit", [*DEPLOY.glob("timers/*")], ids=lambda unit: str(unit.name))
def test_the_timers_are_understood(needs: Needs, unit: Path) -> None:
    """No line of the timers, and of what they start, is wrong to systemd."""
    needs("systemd-analyze")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=60, check=False
    )
    assert [] == [line for line in done.stderr.splitlines() if "rosterd" in line and "not executable" not in line]


def test_the_unit_asks_for_two_capabilities_only() -> None:
    """The service may read what clients made unreadable, and ask for leases; it cannot get more."""
    expected = {"CAP_DAC_READ_SEARCH", "CAP_LEASE"}
    assert expected == {*directive("AmbientCapabilities")} == {*directive("CapabilityBoundingSet")}


def test_what_a_person_has_to_see_is_not_restarted() -> None:
    """A damaged database, a second instance, files of a wrong owner and a bad configuration do not get better by it."""
    codes = {exits.EXIT_UNUSABLE_DATABASE, exits.EXIT_RUNNING_ALREADY, exits.EXIT_NOT_PERMITTED, exits.EXIT_CONFIG}
    assert {*map(str, codes)} == {*directive("RestartPreventExitStatus")}


def test_what_may_get_better_is_started_again_with_pauses_and_an_end() -> None:
    """After a failed disk, or an error of ours, systemd waits and tries again, until it did so too often."""
    (restart,), (pause,), (most,), (within,) = map(
        directive, ("Restart", "RestartSec", "StartLimitBurst", "StartLimitIntervalSec")
    )
    assert ("always", "10min") == (restart, within)
    assert str(exits.EXIT_IO_ERROR) not in directive("RestartPreventExitStatus")
    assert 0 < int(pause.removesuffix("s")) * int(most) < 600 / 2


def test_the_user_and_the_group_can_be_made(needs: Needs, tmp_path: Path) -> None:
    """systemd-sysusers makes the service's user and the group of the clients' logins."""
    needs("systemd-sysusers", root=True)
    (tmp_path / "etc").mkdir()
    output("systemd-sysusers", f"--root={tmp_path}", DEPLOY / "sysusers.d" / "rosterd.conf")
    name, *_, home, shell = _entry(tmp_path, "passwd", "rosterd")
    assert ("rosterd", "/var/lib/rosterd", "/usr/sbin/nologin") == (name, home, shell)
    assert _entry(tmp_path, "group", "sftpdrop")


def test_the_folders_can_be_made(needs: Needs, tmp_path: Path) -> None:
    """systemd-tmpfiles makes what sshd and the service need, and leaves it when it is there."""
    needs("systemd-tmpfiles", "systemd-sysusers", root=True)
    (tmp_path / "etc").mkdir()
    output("systemd-sysusers", f"--root={tmp_path}", DEPLOY / "sysusers.d" / "rosterd.conf")
    for _ in range(2):
        output("systemd-tmpfiles", f"--root={tmp_path}", "--create", DEPLOY / "tmpfiles.d" / "rosterd.conf")
    (root,) = directive("RootDirectory")
    modes = {path: (tmp_path / path[1:]).stat().st_mode & 0o7777 for path in ("/srv/sftp", "/var/lib/rosterd", root)}
    assert {"/srv/sftp": 0o755, "/var/lib/rosterd": 0o710, root: 0o755} == modes


def test_python_is_told_where_not_to_look() -> None:
    """No Python that a document or script starts looks into the current folder, but for what a checkout holds."""
    top = DEPLOY.parent
    sources = [top / "Makefile", top / "README.md", *top.glob("docs/*.md"), *top.glob("deploy/deb/*"), top / ".ci/run"]
    for source in sources:
        for told in re.findall(r"(?:python[0-9.]*|PYTHON\))\"? [^|;&\n]*?-[mc]\b.*", source.read_text()):
            of_checkout = re.search(r" -m (pytest|bench|deploy\.(demo|deb\.runtime_lock)|docs\.generate)\b", told)
            assert of_checkout or re.search(r" -[IP] -[mc]\b", told), f"{source}: {told}"


def _entry(root: Path, table: str, name: str) -> list[str]:
    lines = (root / "etc" / table).read_text().splitlines()
    return next((line.split(":") for line in lines if line.startswith(f"{name}:")), [])
