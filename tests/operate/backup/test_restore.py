"""`rosterd restore`: another host goes on as before; nothing living is overwritten unasked; killed, it completes."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from console.access.users import read_users
from importer.durable import write_whole
from operate import cli
from operate.provision import steps
from tests.lab import wait_until
from tests.lab.console import let_in
from tests.lab.daemon import Rosterd, make_inboxes
from tests.lab.host import Host, SftpUser

HEADER = "unique_id,login_source,first_name,last_name,email\n"
GOOD = HEADER + "S1,OPSCOM,Zoe,Roy,zoe@example.org\n"
BAD = HEADER + "S2,OPSCOM,Max,Roy,not an address\n"
UPLOAD = "/srv/sftp/acme/upload"
HASH = "$6$salt$IxDD3jeSOb5eB1CX5LBsqZFVkJdido3OUILO5Ifz5iwMuTS4XMS130MTSuDDl3aCI6WouIL9AjRbLCelDCy.g."
Needs = Callable[..., None]


# From one host to another


@pytest.fixture
def hosts(needs: Needs) -> Iterator[tuple[Host, Host]]:
    """Yield a host to leave and one to move to."""
    needs("sshd", "sftp", "unshare", "nsenter", "setpriv", "useradd", "systemd-sysusers", "systemd-tmpfiles", root=True)
    with Host() as before, Host() as after:
        yield before, after


def test_a_host_moves(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    """A client logs in as before, by key or password; users, archives and answers are there, and no upload is lost."""
    before, after = hosts
    acme = SftpUser(before, "acme", tmp_path)
    before.rosterd("client", "add", "acme", "--email", "it@acme.example", "--key", acme.public_key, "--apply")
    before.rosterd("client", "add", "beta", "--apply")
    before.rosterd("client", "disable", "beta", "--apply")
    before.run("usermod", "--password", HASH, "acme")
    service = before.start_service()
    for name, content in (("good.csv", GOOD), ("bad.csv", BAD), ("cut.csv", GOOD.rstrip("\n") + "\nS3,OPSC")):
        (tmp_path / name).write_text(content)
        assert 0 == acme.batch(f"put {tmp_path / name}").returncode
    wait_until(lambda: len(list(before.path(f"{UPLOAD}/.bak").glob("*.result.txt"))) == 2, "two answers")
    wait_until(lambda: "archive" in before.path("/run/rosterd.log").read_text(), "the archive")
    before.rosterd("backup", "/run/b.tar", "--files", "--host-keys")
    before.end(service)
    shutil.copy(before.path("/run/b.tar"), after.path("/run/b.tar"))
    uid = before.run("id", "-u", "acme").stdout.strip()
    after.run("useradd", "--uid", uid, "--user-group", "bob")

    shown = after.rosterd("restore", "/run/b.tar").stdout
    assert "useradd" in shown
    assert "acme" not in after.path("/etc/passwd").read_text()
    assert [] == list(after.path("/srv/sftp").iterdir())

    told = after.rosterd("restore", "/run/b.tar", "--host-keys", "--apply").stdout
    assert f"before it had {uid}:" in told
    assert before.path("/etc/ssh/ssh_host_rsa_key").read_bytes() == after.path("/etc/ssh/ssh_host_rsa_key").read_bytes()
    for name in ("acme", "beta"):
        entries = [host.run("getent", "shadow", name).stdout for host in hosts]
        assert entries[0] == entries[1]
    modes = {name: stat.S_IMODE(after.path(f"{UPLOAD}/{name}").lstat().st_mode) for name in (".", ".work", ".bak")}
    assert {".": 0o1770, ".work": 0o2700, ".bak": 0o2750} == modes
    after.end(after.sshd)
    after.sshd = after.start_sshd()
    after.start_service()
    assert "backup.restored" in after.path("/run/rosterd.log").read_text()
    moved = SftpUser.__new__(SftpUser)
    moved._host, moved._login, moved._key = after, "acme", acme._key
    assert 0 == moved.batch("cd /upload", "get .bak/bad.*.failed.csv /dev/null").returncode
    wait_until(lambda: "cut.csv" in after.rosterd("status", check=False).stdout, "the waiting file to be held")
    after.rosterd("release", "cut.csv")
    wait_until(lambda: list(after.path(f"{UPLOAD}/.bak").glob("cut.*.result.txt")), "it to be answered")
    names = [path.name.partition(".")[0] for path in after.path(f"{UPLOAD}/.bak").glob("*.result.txt")]
    assert ["bad", "cut", "good"] == sorted(names)
    done = after.rosterd("verify", check=False)
    assert 0 == done.returncode, done.stdout
    assert " 0 fault" in after.rosterd("doctor", check=False).stdout
    assert "S1" in after.rosterd("users", "zoe").stdout


# On one host, without logins


@pytest.fixture
def rosterd(needs: Needs, tmp_path: Path) -> Iterator[Rosterd]:
    """Yield an installation that has imported two files, has a third one waiting and a claim, and is down."""
    needs(root=True)
    with Rosterd(tmp_path, make_inboxes(tmp_path)) as installation:
        installation.drop("good.csv", GOOD)
        installation.drop("bad.csv", BAD, "beta")
        assert 0 == installation.execute("sweep").returncode
        installation.drop("waiting.csv", HEADER + "S4,OPSCOM,Amy,Roy,amy@example.org\n")
        claim = tmp_path / "beta" / ".work" / "20260101T000000Z-00000001"
        claim.mkdir()
        (claim / "claimed.csv").write_text(HEADER + "S5,OPSCOM,Ida,Roy,ida@example.org\n")
        yield installation


def run(rosterd: Rosterd, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.main, [*words, "--config", str(rosterd._config)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    return done.exit_code, done.output


def lose(rosterd: Rosterd, tmp_path: Path) -> None:
    """Lose all but the configuration, as on a new host where the inboxes are made."""
    del rosterd
    for name in ("acme", "beta", "state"):
        shutil.rmtree(tmp_path / name)
        (tmp_path / name).mkdir(mode=0o700)


def tree(tmp_path: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return what is in the inboxes: mode, time and content of each file."""
    files = [path for name in ("acme", "beta") for path in (tmp_path / name).rglob("*") if path.is_file()]
    return {
        str(path.relative_to(tmp_path)): (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes())
        for path in files
    }


def test_what_is_restored_is_what_was(rosterd: Rosterd, tmp_path: Path) -> None:
    """Files come back with mode and time; the next start imports what waits, once, and `verify` has no complaint."""
    let_in(tmp_path / "state", "olga")
    users = read_users(str(tmp_path / "state"))
    before = tree(tmp_path)
    assert 0 == run(rosterd, "backup", str(tmp_path / "b.tar"), "--files")[0]
    lose(rosterd, tmp_path)
    code, told = run(rosterd, "restore", str(tmp_path / "b.tar"))
    assert (0, {}) == (code, tree(tmp_path))
    assert "add --apply" in told
    assert 0 == run(rosterd, "restore", str(tmp_path / "b.tar"), "--apply")[0]
    assert before == tree(tmp_path)
    assert users == read_users(str(tmp_path / "state"))  # of the console; with another mode it would refuse them
    assert 0 == rosterd.execute("sweep").returncode
    assert ["bad.csv", "claimed.csv", "good.csv", "waiting.csv"] == sorted(
        str(row["file"]) for row in rosterd.imports()
    )
    assert 0 == rosterd.execute("verify").returncode
    assert not list((tmp_path / "state").glob("rest*"))


WRITING_ACME = range(2, 5)  # between the step and its last file


class Killed(BaseException):
    """The process ended here."""


@pytest.mark.parametrize("at", range(13))
def test_killed_anywhere_it_completes(
    at: int, rosterd: Rosterd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before any step or any file, nothing starts on what is there, and the same command does the rest."""
    before = tree(tmp_path)
    assert 0 == run(rosterd, "backup", str(tmp_path / "b.tar"), "--files")[0]
    lose(rosterd, tmp_path)
    counts = iter(range(1000))

    def dying(act: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            if next(counts) == at:
                raise Killed
            return act(*arguments, **options)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(steps, "make", dying(steps.make))
        patched.setattr("operate.backup.placing.write_whole", dying(write_whole))
        with pytest.raises(Killed):
            run(rosterd, "restore", str(tmp_path / "b.tar"), "--apply")
    if at:
        refused = rosterd.execute("sweep")
        assert (77, True) == (refused.returncode, "run `rosterd restore FILE --apply` again" in refused.stdout)
    if at in WRITING_ACME:
        (tmp_path / "acme" / ".new-0123456789abcdef").write_text("of a process that was killed")
    assert 0 == run(rosterd, "restore", str(tmp_path / "b.tar"), "--apply")[0]
    assert before == tree(tmp_path)
    assert 0 == rosterd.execute("sweep").returncode
    assert 0 == rosterd.execute("verify").returncode
    assert 4 == len(rosterd.imports())


def test_a_living_installation_is_kept(rosterd: Rosterd, tmp_path: Path) -> None:
    """Where there are users nothing is restored unless asked; then the database is kept aside."""
    assert 0 == run(rosterd, "backup", str(tmp_path / "b.tar"), "--files")[0]
    code, told = run(rosterd, "restore", str(tmp_path / "b.tar"), "--apply")
    assert (2, True) == (code, "has 1 users, and imports up to 2; --replace keeps it aside" in told)
    assert not (tmp_path / "state" / "restoring.json").exists()
    with rosterd:
        rosterd.start()
        code, told = run(rosterd, "restore", str(tmp_path / "b.tar"), "--apply", "--replace")
        assert (2, True) == (code, "the service runs" in told)


def test_an_older_database_imports_nothing_twice(rosterd: Rosterd, tmp_path: Path) -> None:
    """Back on an older state, what was imported since is named, what waited is imported once, and the log tells."""
    assert 0 == run(rosterd, "backup", str(tmp_path / "b.tar"))[0]
    rosterd.drop("later.csv", HEADER + "S6,OPSCOM,Eva,Roy,eva@example.org\n")
    assert 0 == rosterd.execute("sweep").returncode
    code, told = run(rosterd, "restore", str(tmp_path / "b.tar"), "--apply", "--replace")
    assert (0, True) == (code, "inboxes and archives" in told)
    assert (tmp_path / "state" / "rosterd.db.before-restore").exists()
    log = rosterd.execute("sweep").stdout
    assert 1 == log.count('"backup.restored"')
    assert 0 == log.count('"file.imported"')
    assert 0 == rosterd.execute("sweep").stdout.count('"backup.restored"')
    found = json.loads(rosterd.execute("verify", "--json").stdout)["findings"]
    assert {"archive.unknown"} == {each["check"] for each in found}
    assert {"later", "waiting", "claimed"} == {name for name in ("later", "waiting", "claimed") if name in str(found)}


def test_files_that_settings_name_come_back(rosterd: Rosterd, tmp_path: Path) -> None:
    """Certificates, secrets and lists below the folder of the configuration are restored; of others it is said so."""
    etc, elsewhere = tmp_path, tmp_path.parent / f"{tmp_path.name}-elsewhere"
    hook = '[[hook]]\nname = "t"\nurl = "https://t.example"\nevents = ["*"]\n'
    hook += 'secret_file = "hook_t"\nca_file = "tls/ca.pem"\n'
    named = f'protected_users = "{elsewhere}/protected"\n'
    rosterd.reload(lambda text: text.replace('name = "acme"\n', f'name = "acme"\n{named}') + hook)
    elsewhere.mkdir()
    (etc / "tls").mkdir()
    files = {etc / "tls" / "ca.pem": "certificate\n", etc / "hook_t": "secret\n", elsewhere / "protected": "S1\n"}
    for path, content in files.items():
        path.write_text(content)
    assert 0 == run(rosterd, "backup", str(etc / "b.tar"))[0]
    lose(rosterd, tmp_path)
    (etc / "hook_t").unlink()
    shutil.rmtree(etc / "tls")
    code, told = run(rosterd, "restore", str(etc / "b.tar"), "--apply")
    assert (0, "certificate\n", "secret\n") == (code, *((etc / name).read_text() for name in ("tls/ca.pem", "hook_t")))
    assert f"not restored: {elsewhere}/protected, as it is outside of {etc}" in told
    assert "named/client/acme/protected_users" in told
    (elsewhere / "protected").unlink()
    told = run(rosterd, "backup", str(etc / "again.tar"))[1]
    assert f"left out: {elsewhere}/protected: a setting names it, and it does not exist" in told


def test_a_backup_does_not_choose_any_folder(rosterd: Rosterd, tmp_path: Path) -> None:
    """A folder with files that was never an inbox is not filled because the configuration in a backup says so."""
    assert 0 == run(rosterd, "backup", str(tmp_path / "b.tar"), "--files")[0]
    lose(rosterd, tmp_path)
    (tmp_path / "acme" / "authorized_keys").write_text("of somebody\n")
    code, told = run(rosterd, "restore", str(tmp_path / "b.tar"), "--apply")
    assert (2, True) == (code, "expected an empty folder" in told)
    assert ["acme/authorized_keys"] == [*tree(tmp_path)]


def test_what_is_not_a_backup_changes_nothing(rosterd: Rosterd, tmp_path: Path) -> None:
    """A damaged backup ends the command with 2 before anything is written."""
    assert 0 == run(rosterd, "backup", str(tmp_path / "b.tar"), "--files")[0]
    lose(rosterd, tmp_path)
    whole = (tmp_path / "b.tar").read_bytes()
    (tmp_path / "b.tar").write_bytes(whole[:-2048])
    code, told = run(rosterd, "restore", str(tmp_path / "b.tar"), "--apply")
    assert 2 == code, told
    assert {} == tree(tmp_path)
    assert [] == list((tmp_path / "state").iterdir())
