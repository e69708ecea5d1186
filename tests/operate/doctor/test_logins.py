"""What `rosterd doctor` says of a login, and whether sshd agrees: each is broken on a real host and then tried."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from operate.doctor import sshd
from operate.doctor.sshd import Effective
from tests.lab import wait_until
from tests.lab.host import Host, SftpUser

KEYS = "/etc/ssh/sftpdrop/acme"
SETTINGS = "/etc/ssh/sshd_config.d/00-more.conf"
PROBE_LINE = re.compile(r'restrict,expiry-time="\d{14}Z",from="127\.0\.0\.1" ssh-ed25519 \S+ rosterd-doctor-probe\n')

Needs = Callable[..., None]


@pytest.fixture(scope="module")
def host(needs: Needs) -> Iterator[Host]:
    """Yield a host with rosterd's files in place; the service does not run."""
    needs("sshd", "sftp", "unshare", "nsenter", "setpriv", "useradd", "systemd-sysusers", "systemd-tmpfiles", root=True)
    with Host() as machine:
        yield machine


@pytest.fixture(scope="module")
def acme(host: Host, tmp_path_factory: pytest.TempPathFactory) -> SftpUser:
    """Return the client acme, added as an operator does."""
    user = SftpUser(host, "acme", tmp_path_factory.mktemp("keys"))
    host.rosterd("client", "add", "acme", "--email", "it@acme.example", "--key", user.public_key, "--apply")
    return user


@pytest.fixture(autouse=True)
def _as_it_was(host: Host, acme: SftpUser) -> Iterator[None]:
    """Bring back what a test breaks."""
    keys = host.path(KEYS).read_bytes()
    yield
    host.run(
        "sh",
        "-c",
        f"rm -rf {KEYS} {SETTINGS} /etc/nologin; usermod -e '' -p '*' acme; chage -M 99999 -d 2026-01-01 acme",
    )
    host.run(
        "sh", "-c", "chmod 0755 /etc/ssh/sftpdrop; touch /etc/ssh/sftpdrop/acme; chmod 0644 /etc/ssh/sftpdrop/acme"
    )
    host.path(KEYS).write_bytes(keys)
    host.reload_sshd()
    assert acme.public_key.read_bytes() == keys


def findings(host: Host, *options: str) -> list[tuple[str, str, str]]:
    """Return level, topic and text of what doctor finds about sshd and its logins."""
    told = json.loads(host.rosterd("doctor", "--json", *options, check=False).stdout)
    lines = [(each["level"], each["topic"], each["what"]) for each in told["findings"]]
    return [line for line in lines if line[1].startswith(("sshd", "client "))]


def more(*lines: str) -> str:
    """Return the command that adds lines to what holds for all logins."""
    return f"printf '%s\\n' {' '.join(repr(line) for line in lines)} > {SETTINGS}"


WRONG_KEYS = {
    "key junk": (f"echo junk > {KEYS}", "line 1: is not a public key"),
    "key cut off": (f"sed -i 's/^\\(.\\{{50\\}}\\).*/\\1/' {KEYS}", "line 1: is not a public key"),
    "key with a byte order mark": (f"sed -i '1s/^/\\xef\\xbb\\xbf/' {KEYS}", "line 1: is not a public key"),
    "key private": (f"ssh-keygen -q -t ed25519 -N '' -f /srv/k; mv /srv/k {KEYS}; chmod 644 {KEYS}", "is not a public"),
    "key in comments": (f"sed -i 's/^/#/' {KEYS}", "contains no key"),
    "key empty": (f": > {KEYS}", "contains no key"),
    "key expired": (f"sed -i 's/^/expiry-time=\"20200101\" /' {KEYS}", "the key has expired"),
}
SHUT = {
    "key unreadable": (f"chmod 0600 {KEYS}", "acme cannot read it"),
    "key for others to write": (f"chmod 0664 {KEYS}", f"{KEYS}: sshd accepts no key"),
    "folder for others to write": ("chmod 0775 /etc/ssh/sftpdrop", "/etc/ssh/sftpdrop: sshd accepts no key"),
    "key of somebody's": (f"chown daemon {KEYS}", f"{KEYS}: sshd accepts no key"),
    "key a folder": (f"rm {KEYS}; mkdir {KEYS}", "acme cannot read it"),
    "key of a kind": (more("PubkeyAcceptedAlgorithms rsa-sha2-512"), "does not accept keys of type ssh-ed25519"),
    "no keys taken": (more("PubkeyAuthentication no"), "sshd accepts no publickey"),
    "more than a key": (more("AuthenticationMethods publickey,password"), "sshd accepts no publickey"),
    "account expired": ("usermod -e 2020-02-03 acme", "its account expired on 2020-02-03"),
    "account expires today": ("usermod -e $(date -u +%F) acme", "its account expired on"),
    "password to be changed": ("chage -d 0 acme", "it must change its password first"),
    "password expired": ("chage -M 1 -d 2020-01-01 acme", "its password expired on 2020-01-02"),
    "locked, without PAM": (more("UsePAM no") + "; usermod -p '!' acme", "its password is locked"),
    "AllowUsers": (more("AllowUsers beta root", "AllowUsers acm acmee"), "sshd refuses acme because of AllowUsers"),
    "DenyUsers": (more("DenyUsers root a?m*"), "sshd refuses acme because of DenyUsers"),
    "AllowGroups": (more("AllowGroups root [as]*"), "sshd refuses acme because of AllowGroups"),
    "DenyGroups": (more("DenyGroups sftp*"), "sshd refuses acme because of DenyGroups"),
    "nologin": ("touch /etc/nologin", "/etc/nologin exists, so only root can log in"),
}
OPEN = {
    "as it was": "true",
    "key with options": f'sed -i \'s/^/restrict,expiry-time="20990101",command="a b" /\' {KEYS}',
    "key with line ends of Windows": f"sed -i 's/$/\\r/' {KEYS}",
    "locked, with PAM": "usermod -p '!' acme",
    "expires later": "usermod -e 2099-01-01 acme; chage -M 90 acme; chage -d $(date +%F) acme",
    "allowed": more(
        "AllowUsers a*@127.0.0.1 beta", "AllowGroups sftpdrop", "DenyUsers acme@192.0.2.*", "DenyGroups b*"
    ),
    "asked for a key": more("AuthenticationMethods password publickey"),
}


@pytest.mark.parametrize(
    ("breaks", "said", "probed"),
    [*((*each, "ok") for each in WRONG_KEYS.values()), *((*each, "fault") for each in SHUT.values())],
    ids=[*WRONG_KEYS, *SHUT],
)
def test_what_keeps_a_login_out_is_named(host: Host, acme: SftpUser, breaks: str, said: str, probed: str) -> None:
    """What makes sshd refuse a login is a fault with its cause; another key fares no better, unless it is the key."""
    host.run("sh", "-c", breaks)
    lines = findings(host)
    assert [(level, said) for level, _, what in lines if said in what] == [("fault", said)], lines
    host.reload_sshd()
    assert 0 != acme.batch("ls").returncode
    assert {level for level, _, what in findings(host, "--probe") if "with a temporary key" in what} <= {probed}


@pytest.mark.parametrize("changes", OPEN.values(), ids=OPEN)
def test_what_sshd_lets_in_is_well(host: Host, acme: SftpUser, changes: str) -> None:
    """What sshd does not mind is no finding, and a login with a key made for it reaches the inbox."""
    host.run("sh", "-c", changes)
    before = host.path(KEYS).read_bytes()
    host.reload_sshd()
    assert 0 == acme.batch("ls").returncode
    lines = findings(host, "--probe")
    assert [] == [line for line in lines if line[0] != "ok"]
    assert ("ok", "client acme", "a test login as acme with a temporary key reached /upload") in lines
    assert (before, ["acme"]) == (
        host.path(KEYS).read_bytes(),
        [path.name for path in host.path(KEYS).parent.iterdir()],
    )


def test_one_bad_key_of_two_is_a_warning(host: Host) -> None:
    """A line that sshd passes over is told as long as another key works, but not as a fault."""
    host.run("sh", "-c", f"echo junk >> {KEYS}")
    assert [("warning", "client acme", f"{KEYS} line 2: is not a public key")] == [
        line for line in findings(host) if line[0] != "ok"
    ]


def test_a_password_that_sshd_does_not_take_is_a_fault(host: Host) -> None:
    """A login with a password only is told of a sshd that takes none."""
    host.run("sh", "-c", f"rm {KEYS}; echo acme:correct-horse | chpasswd")
    assert [] == [line for line in findings(host, "--probe") if line[0] != "ok"]
    host.run("sh", "-c", more("PasswordAuthentication no"))
    assert [("fault", "client acme")] == [line[:2] for line in findings(host) if line[0] != "ok"]


def test_an_sshd_that_does_not_run_is_told_once(needs: Needs, tmp_path: Path) -> None:
    """With sshd stopped there is one fault about it, however many clients there are."""
    needs("sshd", "unshare", "nsenter", "useradd", "systemd-sysusers", "systemd-tmpfiles", root=True)
    with Host() as host:
        for name in ("acme", "beta"):
            key = SftpUser(host, name, tmp_path).public_key
            host.rosterd("client", "add", name, "--email", "it@acme.example", "--key", key, "--apply")
        assert [] == [line for line in findings(host, "--probe") if line[0] != "ok"]
        host.end(host.sshd)
        host.run("rmdir", "/run/sshd")  # as systemd does
        expected = [("fault", "sshd", "is not running, so no one can log in")]
        assert expected == [line for line in findings(host, "--probe") if line[0] != "ok"]
        assert not host.path("/run/sshd").exists()
        told = json.loads(host.rosterd("doctor", "--json", check=False).stdout)["findings"]
        [remedy] = [each["remedy"] for each in told if (each["level"], each["topic"]) == ("fault", "sshd")]
        assert "systemctl reset-failed ssh; systemctl start ssh" in remedy


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["ended", "killed"])
def test_a_probe_that_is_ended_leaves_nothing_that_works(host: Host, number: signal.Signals) -> None:
    """Whoever ends a probe, its key is out again, or good for a minute on this machine, and gone with the next one."""
    before = host.path(KEYS).read_text()
    host.path("/srv/bin").mkdir(exist_ok=True)
    host.path("/srv/bin/sftp").write_text("#!/bin/sh\nexec sleep 60\n")
    host.path("/srv/bin/sftp").chmod(0o755)
    command = ("env", "PATH=/srv/bin:/usr/bin:/usr/sbin", sys.executable, "-m", "operate.cli", "doctor", "--probe")
    doctor = host.start(*command, log=host.path("/run/doctor.log"))
    wait_until(lambda: host.path(KEYS).read_text() != before, "the key to be let in")
    wait_until(lambda: "sleep" in host.run("ps", "-o", "args=", "--ppid", str(doctor.pid)).stdout, "sftp to run")
    doctor.send_signal(number)
    doctor.wait(120)
    left = host.path(KEYS).read_text().removesuffix(before)
    if number == signal.SIGTERM:
        assert "" == left
    else:
        assert PROBE_LINE.fullmatch(left), left
        assert [] == [line for line in findings(host) if line[0] != "ok"]
    assert [] == [line for line in findings(host, "--probe") if line[0] != "ok"]
    assert before == host.path(KEYS).read_text()


def test_owner_and_mode_of_the_keys_stay(host: Host) -> None:
    """A probe leaves the file of keys to whom it belonged, byte for byte, whatever its last line is like."""
    host.path(KEYS).write_bytes(before := host.path(KEYS).read_bytes().rstrip() + b" caf\xe9")
    host.run("sh", "-c", f"chown root:acme {KEYS}; chmod 0640 {KEYS}")
    gid = host.path(KEYS).stat().st_gid
    assert [] == [line for line in findings(host, "--probe") if line[0] != "ok"]
    found = host.path(KEYS).stat()
    assert (before, gid, 0o640) == (host.path(KEYS).read_bytes(), found.st_gid, found.st_mode & 0o777)


NEWER = """\
#!/bin/sh
[ "$1" = -V ] && { echo 'OpenSSH_10.0p2 Debian-7, OpenSSL 3.5.0' >&2; exit; }
/usr/sbin/sshd "$@" | sed 's/^[a-z]*/\\U&/'
echo 'PerSourcePenalties crash:90 authfail:5 noauth:1'
echo 'PerSourcePenaltyExemptList none'
"""


def test_a_newer_openssh_is_understood(host: Host) -> None:
    """With OpenSSH 10 dead sessions end in half the time, keywords may be in capitals, and penalties are told of."""
    host.path("/srv/new").mkdir(exist_ok=True)
    host.path("/srv/new/sshd").write_text(NEWER)
    host.path("/srv/new/sshd").chmod(0o755)
    config = host.path("/etc/rosterd/config.toml")
    usual = config.read_text()
    config.write_text("[intake]\nresume_grace_s = 60.0\n")
    command = (sys.executable, "-m", "operate.cli", "doctor")
    try:
        told = {
            path: host.run("env", f"PATH={path}:/usr/bin:/usr/sbin", *command, check=False).stdout
            for path in ("/usr/sbin", "/srv/new")
        }
    finally:
        config.write_text(usual)
    assert "only after 120 s" in told["/usr/sbin"] or sshd.version() >= (10, 0)
    assert "closes dead connections" not in told["/srv/new"]
    assert "OK       client acme: sshd allows acme only SFTP, and only in its folder" in told["/srv/new"]
    assert "exempt (PerSourcePenaltyExemptList): none" in told["/srv/new"]


def test_keywords_are_compared_without_case() -> None:
    """Whatever capitals `sshd -T` prints, a keyword is found, with all its values."""
    effective = Effective("ForceCommand internal-sftp -d/upload\nallowusers a\nAllowUsers B\nUSEPAM yes\n")
    assert "internal-sftp -d/upload" == effective.get("forcecommand")
    assert ["a", "B"] == effective.all("allowusers")
    assert (True, False) == (effective.is_on("usepam"), effective.is_on("strictmodes"))
