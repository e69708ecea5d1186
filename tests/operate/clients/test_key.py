"""Keys of a client at a real sshd: which it lets in, until when, and what the file of keys is like."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Needs
from tests.lab.host import Host, SftpUser

KEYS = "/etc/ssh/sftpdrop/acme"
NAMES = ("zoe", "max")


@pytest.fixture
def others(host: Host, acme: SftpUser, tmp_path: Path) -> dict[str, SftpUser]:
    """Return two more people of acme, whose keys are not known yet."""
    _ = acme
    for name in NAMES:
        (tmp_path / name).mkdir()
    return {name: SftpUser(host, "acme", tmp_path / name) for name in NAMES}


def add(host: Host, user: SftpUser, *options: str) -> str:
    return host.rosterd("client", "key", "add", "acme", "--key", user.public_key, *options, "--apply").stdout


def listed(host: Host) -> list[tuple[int, str, str]]:
    keys = json.loads(host.rosterd("client", "key", "list", "acme", "--json").stdout)
    return [(each["number"], each["comment"], each["state"]) for each in keys]


def is_let_in(user: SftpUser) -> bool:
    return user.batch("ls").returncode == 0


def test_several_keys_let_in(host: Host, acme: SftpUser, others: dict[str, SftpUser], tmp_path: Path) -> None:
    """A second key with a comment and an expiry uploads next to the first one, and is listed with both."""
    before = host.path(KEYS).read_text()
    words = ("--key", others["zoe"].public_key, "--comment", "Zoe, laptop", "--expires", "2999-12-31")
    assert 'expiry-time="30000101000000Z"' in host.rosterd("client", "key", "add", "acme", *words).stdout
    assert before == host.path(KEYS).read_text()
    add(host, others["zoe"], *words[2:])
    (tmp_path / "users.csv").write_text("unique_id\n")
    assert 0 == others["zoe"].batch(f"put {tmp_path / 'users.csv'}").returncode
    assert is_let_in(acme)
    assert not is_let_in(others["max"])
    [_, key] = json.loads(host.rosterd("client", "key", "list", "acme", "--json").stdout)
    said = subprocess.run(
        ["ssh-keygen", "-lf", others["zoe"].public_key], capture_output=True, text=True, check=True
    ).stdout.split()
    assert (said[1], "Zoe, laptop", "3000-01-01T00:00:00Z") == (key["fingerprint"], key["comment"], key["expires_at"])
    assert said[1] in host.rosterd("client", "key", "list", "acme").stdout


def test_an_expired_key_lets_nobody_in(host: Host, acme: SftpUser, others: dict[str, SftpUser]) -> None:
    """After its expiry a key is refused and listed as expired; added again with a new expiry it is valid."""
    add(host, others["zoe"], "--expires", "1d", "--comment", "Zoe")
    assert is_let_in(others["zoe"])
    text = host.path(KEYS).read_text()
    expiry = text.split('expiry-time="')[1].split('"')[0]
    host.path(KEYS).write_text(text.replace(expiry, "20200101000000Z"))
    assert (False, True) == (is_let_in(others["zoe"]), is_let_in(acme))
    assert (2, "Zoe", "expired") == listed(host)[1]
    told = add(host, others["zoe"])
    assert "as number 2, expired, expires 2020-01-01 00:00:00 UTC" in told
    assert "Nothing to do" in told
    add(host, others["zoe"], "--expires", "never")
    assert is_let_in(others["zoe"])
    assert (2, "Zoe", "valid") == listed(host)[1]


@pytest.mark.parametrize("by", ["number", "fingerprint", "comment"])
def test_a_revoked_key_lets_nobody_in(host: Host, acme: SftpUser, others: dict[str, SftpUser], by: str) -> None:
    """A key is revoked by its number, fingerprint or comment; the others let in as before."""
    add(host, others["zoe"], "--comment", "Zoe")
    [_, key] = json.loads(host.rosterd("client", "key", "list", "acme", "--json").stdout)
    named = str({**key, "number": "2"}[by])
    assert is_let_in(others["zoe"])
    assert key["fingerprint"] in host.rosterd("client", "key", "revoke", "acme", named).stdout
    assert is_let_in(others["zoe"])
    host.rosterd("client", "key", "revoke", "acme", named, "--apply")
    assert (False, True) == (is_let_in(others["zoe"]), is_let_in(acme))
    again = host.rosterd("client", "key", "revoke", "acme", named, "--apply", check=False)
    assert (2, True) == (again.returncode, "no key is called" in again.stderr)


def test_the_last_key_is_said_to_be_that(host: Host, acme: SftpUser) -> None:
    """Revoking the last key says so and removes the file, as doctor and `client add` expect it without keys."""
    assert "the last valid key" in host.rosterd("client", "key", "revoke", "acme", "1", "--apply").stdout
    assert not host.path(KEYS).exists()
    assert not is_let_in(acme)
    assert "No keys" in host.rosterd("client", "key", "list", "acme").stdout
    add(host, acme)
    assert is_let_in(acme)


def test_a_comment_of_two_keys_is_not_enough(host: Host, others: dict[str, SftpUser]) -> None:
    """Where a comment names several keys, none is revoked, and their numbers are told."""
    for user in others.values():
        add(host, user, "--comment", "office")
    before = host.path(KEYS).read_text()
    refused = host.rosterd("client", "key", "revoke", "acme", "office", "--apply", check=False)
    assert (2, True) == (refused.returncode, "2 keys are called office, numbers 2, 3" in refused.stderr)
    assert before == host.path(KEYS).read_text()


def test_known_keys_are_told(host: Host, acme: SftpUser, tmp_path: Path) -> None:
    """A key that the client has is not added again; one that another client has, too, is told of."""
    before = host.path(KEYS).read_text()
    assert "already, as number 1" in add(host, acme)
    assert before == host.path(KEYS).read_text()
    beta = SftpUser(host, "beta", tmp_path)
    host.rosterd("client", "add", "beta", "--key", beta.public_key, "--apply")
    assert "Note: beta has the key" in add(host, beta)


def test_adding_the_client_again_keeps_its_keys(host: Host, acme: SftpUser, others: dict[str, SftpUser]) -> None:
    """`client add --key` adds a key that is missing, and takes away none."""
    add(host, others["zoe"], "--expires", "90d")
    before = host.path(KEYS).read_text()
    assert "Nothing to do" in host.rosterd("client", "add", "acme", "--key", acme.public_key, "--apply").stdout
    assert before == host.path(KEYS).read_text()
    host.rosterd("client", "add", "acme", "--key", others["max"].public_key, "--apply")
    assert before == host.path(KEYS).read_text()[: len(before)]
    assert all(map(is_let_in, (acme, *others.values())))


def test_other_lines_stay_and_sshd_reads_the_file(host: Host, acme: SftpUser, others: dict[str, SftpUser]) -> None:
    """Comments and options that an operator wrote stay byte for byte; owner and mode are what sshd insists on."""
    own = f'# of the first year\n\nno-pty,from="127.0.0.1" {acme.public_key.read_text().rstrip()}  \n'
    host.path(KEYS).write_text(own)
    host.run("sh", "-c", f"chown daemon:daemon {KEYS}; chmod 0662 {KEYS}")
    assert not is_let_in(acme)
    add(host, others["zoe"])
    assert host.path(KEYS).read_text() == own + others["zoe"].public_key.read_text()
    assert "0 0 644\n" == host.run("stat", "-c", "%u %g %a", KEYS).stdout
    assert (True, True) == (is_let_in(acme), is_let_in(others["zoe"]))


REFUSED = {
    "private": ("cat {key}", (), "is a private key"),
    "options": ("echo 'command=\"sh\" '$(cat {key}.pub)", (), "has options before the key"),
    "authority": ("echo cert-authority $(cat {key}.pub)", (), "has options before the key"),
    "DSA": ("echo ssh-dss AAAAB3NzaC1kc3MAAACB zoe", (), "ssh-keygen -t ed25519"),
    "weak": ("ssh-keygen -q -t rsa -b 1024 -N '' -f /srv/weak; cat /srv/weak.pub", (), "ssh-keygen -t ed25519"),
    "much": ("head -c 100000 /dev/zero", (), "has more than 64 KiB"),
    "line end in the comment": ("cat {key}.pub", ("--comment", "a\nssh-rsa AAAA"), "expected one line"),
    "past": ("cat {key}.pub", ("--expires", "2020-01-01"), "is over already"),
    "no moment": ("cat {key}.pub", ("--expires", "soon"), "expected the last day"),
}


@pytest.mark.parametrize(("content", "options", "said"), REFUSED.values(), ids=REFUSED)
def test_nothing_else_becomes_a_key(
    host: Host, others: dict[str, SftpUser], content: str, options: tuple[str, ...], said: str
) -> None:
    """What comes by standard input is checked like a file; refused, it changes nothing, and is not shown."""
    before = host.path(KEYS).read_text()
    key = str(others["zoe"].public_key).removesuffix(".pub")
    words = [sys.executable, "-m", "operate.cli", "client", "key", "add", "acme", "--key", "-", *options, "--apply"]
    produced = f"{{ {content.format(key=key)}; }} | " + '"$@"'
    refused = host.run("sh", "-c", produced, "sh", *words, check=False)
    assert (2, True) == (refused.returncode, said in refused.stderr), refused.stderr
    assert "AAAAB3" not in refused.stderr
    assert before == host.path(KEYS).read_text()


def test_a_change_that_is_killed_leaves_the_old_keys(
    host: Host, acme: SftpUser, others: dict[str, SftpUser], needs: Needs
) -> None:
    """Killed before the new file has its name, the old keys let in; the next change removes what is left."""
    needs("strace")
    kill = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=/^rename", "-e", "inject=/^rename:signal=KILL"]
    words = ["client", "key", "add", "acme", "--key", str(others["zoe"].public_key), "--apply"]
    host.run(*kill, sys.executable, "-m", "operate.cli", *words, check=False)
    assert 2 == len(list(host.path("/etc/ssh/sftpdrop").iterdir()))
    assert (True, False) == (is_let_in(acme), is_let_in(others["zoe"]))
    host.rosterd(*words)
    assert ["acme"] == [path.name for path in host.path("/etc/ssh/sftpdrop").iterdir()]
    assert (True, True) == (is_let_in(acme), is_let_in(others["zoe"]))


def test_changes_at_once_lose_none(host: Host, tmp_path: Path, acme: SftpUser) -> None:
    """Several commands at the same time add all their keys."""
    _ = acme
    for number in range(5):
        (tmp_path / str(number)).mkdir()
    users = [SftpUser(host, "acme", tmp_path / str(number)) for number in range(5)]
    words = [sys.executable, "-m", "operate.cli", "client", "key", "add", "acme", "--apply", "--key"]
    running = [host.start(*words, user.public_key, log=tmp_path / "log") for user in users]
    assert [0] * 5 == [process.wait(60) for process in running], (tmp_path / "log").read_text()
    assert 6 == len(listed(host))


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize("words", [("add", "--key", "-"), ("list",), ("revoke", "1")], ids=" ".join)
def test_only_a_client_has_keys(host: Host, words: tuple[str, ...]) -> None:
    """Neither an unknown login nor one of the system is given keys, or shown them."""
    command, *options = words
    unknown = host.rosterd("client", "key", command, "acmee", *options, check=False)
    assert (2, True) == (unknown.returncode, 'did you mean "acme"?' in unknown.stderr)
    if command != "list":
        foreign = host.rosterd("client", "key", command, "daemon", *options, check=False)
        assert (2, True) == (foreign.returncode, "so it is not a client" in foreign.stderr)
