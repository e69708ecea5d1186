"""`rosterd pgp`: the key is made once, is in backups, and what clients encrypt for it is imported."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from importer.file.unwrap import gnupg
from operate import cli
from operate.backup import placing
from operate.backup.holdings import add_pgp
from operate.backup.manifest import Manifest
from operate.backup.packing import Packing
from operate.backup.reading import opened
from operate.doctor.findings import Severity
from operate.doctor.pgp import pgp_findings
from operate.provision import steps
from tests.lab import wait_until
from tests.lab.daemon import Rosterd
from tests.lab.pgp import PAST, PgpUser
from watcher.config import load
from watcher.health.checks.results import DOCTOR, last_run

HANGS_S = 1_000_000 + os.getpid()  # by which its process is found
NOW = datetime(2026, 11, 30, tzinfo=UTC)
HEADER = "unique_id,login_source,first_name,last_name,email\n"
ANN = "S1,OPSCOM,Ann,Lee,ann@school.example\n"
Needs = Callable[..., None]


@pytest.fixture
def client(needs: Needs) -> Iterator[PgpUser]:
    needs("gpg", "gpg-agent", "gpgconf")
    with PgpUser("client") as user:
        yield user


@pytest.fixture
def config_file(needs: Needs, tmp_path: Path) -> Path:
    """Return the configuration of an installation that accepts encrypted uploads and has no key yet."""
    needs("gpg", "gpg-agent", "gpgconf")
    (tmp_path / "acme").mkdir()
    (tmp_path / "state").mkdir(mode=0o700)
    config = tmp_path / "config.toml"
    config.write_text(
        '[service]\nstate_dir = "state"\n[file]\naccept = ["gz", "pgp"]\n'
        '[[client]]\nname = "acme"\ninbox = "acme"  # its inbox\n'
    )
    return config


def rosterd(config_file: Path, *words: str) -> Result:
    return CliRunner().invoke(cli.main, [*words, "--config", str(config_file)])


def made(config_file: Path) -> str:
    """Make the key, and return its fingerprint."""
    done = rosterd(config_file, "pgp", "init")
    assert 0 == done.exit_code, done.output
    return done.output.split()[3]


def doctor(config_file: Path) -> list[tuple[Severity, str, str]]:
    return [(each.level, each.what, each.remedy) for each in pgp_findings(load(config_file))]


def test_what_is_encrypted_for_the_key_is_imported(config_file: Path, client: PgpUser) -> None:
    """The key is made once, only the service can read it, and its public part is what clients encrypt for."""
    assert [Severity.FAULT] == [level for level, *_ in doctor(config_file)]
    assert 2 == rosterd(config_file, "pgp", "public-key").exit_code
    fingerprint = made(config_file)
    again = rosterd(config_file, "pgp", "init")
    assert (2, True) == (again.exit_code, fingerprint in again.output)
    home = config_file.parent / "state" / "pgp"
    assert {0o600, 0o700} == {stat.S_IMODE(path.stat().st_mode) for path in (home, *home.rglob("*"))}
    client.gpg("--import", sent=rosterd(config_file, "pgp", "public-key").output.encode())
    upload = client.gpg("--encrypt", "--recipient", fingerprint, sent=(HEADER + ANN).encode())
    (config_file.parent / "users.csv.pgp").write_bytes(upload)
    checked = rosterd(config_file, "check", str(config_file.parent / "users.csv.pgp"))
    assert (0, True) == (checked.exit_code, "would be imported" in checked.output), checked.output
    assert [Severity.OK] == [level for level, *_ in doctor(config_file)]


def test_a_key_that_soon_expires_is_renewed(config_file: Path) -> None:
    """Doctor warns twenty days before our key expires and says what to do; after that the same key is valid again."""
    fingerprint = made(config_file)
    state = config_file.parent / "state"
    for days, expected in (("19d", Severity.WARNING), ("25d", Severity.OK), ("1", Severity.FAULT)):
        expire(state / "pgp", fingerprint, days if days != "1" else "seconds=1")
        if days == "1":
            wait_until(lambda: doctor(config_file)[0][0] is Severity.FAULT, "the key to expire")
        level, what, remedy = doctor(config_file)[0]
        assert expected is level, what
        assert ("rosterd pgp renew" in remedy) is (level is not Severity.OK)
    renewed = rosterd(config_file, "pgp", "renew")
    assert (0, fingerprint) == (renewed.exit_code, renewed.output.split()[3]), renewed.output
    assert [Severity.OK] == [level for level, *_ in doctor(config_file)]


def test_what_doctor_records_of_the_key(config_file: Path) -> None:
    """The metrics get the expiry of our key from the timer of doctor, and nothing once it never expires."""
    fingerprint = made(config_file)
    state = config_file.parent / "state"
    for after, days in (("25d", 25), ("never", None)):
        expire(state / "pgp", fingerprint, after)
        rosterd(config_file, "doctor", "--record")
        run = last_run(str(state), DOCTOR)
        assert run is not None
        left = run.pgp_key_expires_at and run.pgp_key_expires_at - run.at
        assert days == (left and round(left / timedelta(days=1)))


def expire(key_home: Path, fingerprint: str, after: str) -> None:
    """Have a key and its subkeys expire after a time."""
    with gnupg.home(str(key_home)) as path:
        gnupg.run(path, "--quick-set-expire", fingerprint, after)
        gnupg.run(path, "--quick-set-expire", fingerprint, after, "*")
        shutil.copy(Path(path, gnupg.PUBLIC_KEYS), key_home / gnupg.PUBLIC_KEYS)


def test_trust(config_file: Path, client: PgpUser, needs: Needs) -> None:
    """The key of a client is added, and its signature required, once that was asked for; comments stay."""
    needs(root=True)
    made(config_file)
    key, before = config_file.parent / "client.asc", config_file.read_text()
    key.write_bytes(client.public_key)
    shown = rosterd(config_file, "pgp", "trust", "acme", str(key))
    assert (0, before) == (shown.exit_code, config_file.read_text())
    assert client.fingerprint in shown.output
    done = rosterd(config_file, "pgp", "trust", "acme", str(key), "--apply")
    assert 0 == done.exit_code, done.output
    assert (client.fingerprint,) == load(config_file).clients[0].require_signature
    assert "# its inbox" in config_file.read_text()
    assert [Severity.OK] * 2 == [level for level, *_ in doctor(config_file)]
    assert "Nothing to do" in rosterd(config_file, "pgp", "trust", "acme", str(key), "--apply").output
    for content, said in (
        (b"nonsense", "is not a PGP key"),
        (client.gpg("--export-secret-keys", "--armor"), "has a private key"),
        (client.public_key + client.public_key, "2 keys"),
    ):
        key.write_bytes(content)
        refused = rosterd(config_file, "pgp", "trust", "acme", str(key), "--apply")
        assert (2, True) == (refused.exit_code, said in refused.output), refused.output


def test_a_signature_is_required_only_where_it_can_be_checked(config_file: Path) -> None:
    """A required signature without encrypted uploads, or that is no fingerprint, is an error of the configuration."""
    text = config_file.read_text()
    config_file.write_text(text.replace('"pgp"', '"zip"') + f"require_signature = {'A' * 40!r}\n")
    assert 'expected none, or "pgp" in [file] accept' in rosterd(config_file, "pgp", "init").output
    config_file.write_text(text + 'require_signature = "0xABC"\n')
    assert "fingerprint of a PGP key" in rosterd(config_file, "pgp", "init").output


def test_doctor_names_keys_that_are_not_known(config_file: Path) -> None:
    """A client whose key we lack cannot upload anything: that is a fault."""
    made(config_file)
    with PgpUser("late", expires="30d", made_at=PAST) as late:
        config_file.write_text(config_file.read_text() + f'require_signature = ["{late.fingerprint}"]\n')
        assert Severity.FAULT is doctor(config_file)[1][0]
        assert "rosterd pgp trust acme FILE --apply" in doctor(config_file)[1][2]
        with gnupg.home(str(config_file.parent / "state" / "pgp")) as path:
            gnupg.run(path, "--import", sent=late.public_key)
            shutil.copy(Path(path, gnupg.PUBLIC_KEYS), config_file.parent / "state" / "pgp" / gnupg.PUBLIC_KEYS)
    assert (Severity.FAULT, True) == (
        doctor(config_file)[1][0],
        "has expired on 2025-01-31" in doctor(config_file)[1][1],
    )


def test_a_backup_has_the_key_and_a_restore_brings_it_back(config_file: Path, tmp_path: Path) -> None:
    """With the backup what was encrypted can be decrypted elsewhere; nobody else gets to read the private key."""
    fingerprint = made(config_file)
    with (tmp_path / "backup.tar").open("wb") as file:
        packing = Packing(file)
        add_pgp(packing, tmp_path / "state" / "pgp")
        packing.close(manifest())
    restored = tmp_path / "other" / "pgp"
    restored.parent.mkdir()
    with opened(tmp_path / "backup.tar") as backup:
        assert 3 == len(backup.manifest.members)
        plan = placing.pgp(backup, restored, (os.geteuid(), os.getegid()))
        assert not any(step.is_done() for step in plan)
        for step in plan:
            steps.make(step)
        assert all(step.is_done() for step in placing.pgp(backup, restored, (os.geteuid(), os.getegid())))
    assert {0o600, 0o700} == {stat.S_IMODE(path.stat().st_mode) for path in (restored, *restored.rglob("*"))}
    with gnupg.home(str(restored)) as path:
        assert [fingerprint] == [key.fingerprint for key in gnupg.own_keys(path)]
        text = gnupg.run(path, "--encrypt", "--recipient", fingerprint, sent=b"secret")
        assert b"secret" == gnupg.run(path, "--decrypt", sent=text)


def manifest() -> Manifest:
    return Manifest(version="0", made_at=NOW, host="", last_import=0, users=0, has_files=False, members=())


def test_a_service_that_is_killed_while_gpg_hangs(tmp_path: Path, client: PgpUser) -> None:
    """After SIGKILL in the middle of a decryption neither gpg nor its agent is left, and the next start imports."""
    (tmp_path / "acme").mkdir()
    (tmp_path / "bin").mkdir()
    hanging = tmp_path / "bin" / "gpg"
    hanging.write_text(
        f'#!/bin/sh\ncase "$*" in *--decrypt*) touch {tmp_path}/hangs; exec sleep {HANGS_S};; esac\n'
        f'exec {shutil.which("gpg")} "$@"\n'
    )
    hanging.chmod(0o755)
    with tempfile.TemporaryDirectory(prefix="homes-", dir="/tmp") as temporary:
        environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "SQLITE_TMPDIR": temporary}
        settings = {"file": {"accept": ["pgp"]}}
        with Rosterd(tmp_path, {"acme": tmp_path / "acme"}, settings=settings, environment=environment) as service:
            key = service.execute("pgp", "init")
            assert 0 == key.returncode, key.stderr
            client.gpg("--import", sent=service.execute("pgp", "public-key").stdout.encode())
            service.start()
            upload = client.gpg("--encrypt", "--recipient", key.stdout.split()[3], sent=(HEADER + ANN).encode())
            (tmp_path / "users.csv.pgp").write_bytes(upload)
            (tmp_path / "users.csv.pgp").rename(tmp_path / "acme" / "users.csv.pgp")
            wait_until((tmp_path / "hangs").exists, "gpg to hang")
            service.kill9()
            wait_until(lambda: not running(temporary), "gpg and its agent to end")
            hanging.unlink()
            service.start()
            service.wait_for_event("file.archived")
            assert upload == next((tmp_path / "acme" / ".bak").glob("*.csv.pgp")).read_bytes()
            assert b"Ann" not in b"".join(path.read_bytes() for path in Path(temporary).rglob("*.*") if path.is_file())


def running(folder: str) -> list[str]:
    """Return the processes that were started for a home in a folder."""
    lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if f"--homedir {folder}/" in line or line == f"sleep {HANGS_S}"]
