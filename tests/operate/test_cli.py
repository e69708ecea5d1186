"""The command line: which exit code says what, and what a person reads."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import REPOSITORY
from tests.lab import run_python

SAMPLES = REPOSITORY / "tests" / "data"

Rosterd = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def rosterd(tmp_path: Path) -> Rosterd:
    """Return a function that runs the command line to its end, in a folder of its own."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return run_python(tmp_path, "-m", "operate.cli", *arguments)

    return run


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a configuration with the client demo, and its inbox."""
    (tmp_path / "inbox").mkdir()
    path = tmp_path / "config.toml"
    path.write_text(
        '[service]\nstate_dir = "state"\n[intake]\nquiet_s = 0.2\n'
        '[[client]]\nname = "demo"\ninbox = "inbox"\nfailed_import_email = ["demo@example.org"]\n'
    )
    return path


def events(output: str) -> list[str]:
    return [json.loads(line)["event"] for line in output.splitlines()]


def test_check_passes_a_good_file(rosterd: Rosterd, config: Path, tmp_path: Path) -> None:
    """`check` of a file that would be imported whole says so, exits with 0 and leaves nothing behind."""
    result = rosterd("check", SAMPLES / "all-good.csv", "--config", config)
    assert (0, "") == (result.returncode, result.stderr)
    assert "all 4 users (4 new)" in result.stdout
    assert ["config.toml", "inbox"] == sorted(os.listdir(tmp_path))


def test_check_speaks_the_language_asked_for(rosterd: Rosterd, config: Path) -> None:
    """`--language` is that of the text, each once, whatever the client's."""
    options = ("--language", "fr", "--language", "en", "--language", "fr")
    told = rosterd("check", SAMPLES / "all-good.csv", "--config", config, *options).stdout
    assert ["all-good.csv serait importé", "all-good.csv would be imported"] == re.findall(r"all-good.csv [sw].*", told)


@pytest.mark.parametrize("sample", ["some-bad-rows.csv", "unusable-header.csv"])
def test_check_fails_a_bad_file(rosterd: Rosterd, config: Path, sample: str) -> None:
    """`check` exits with 1 when a row, or the file, would fail."""
    assert 1 == rosterd("check", SAMPLES / sample, "--config", config).returncode


def test_check_judges_against_recorded_users(rosterd: Rosterd, config: Path, tmp_path: Path) -> None:
    """`check` counts what would be new and what is there already."""
    (tmp_path / "inbox" / "users.csv").write_bytes((SAMPLES / "all-good.csv").read_bytes())
    assert 0 == rosterd("sweep", "--config", config).returncode
    assert "4 unchanged" in rosterd("check", SAMPLES / "all-good.csv", "--config", config).stdout


def test_check_of_no_file_is_a_usage_error(rosterd: Rosterd, config: Path) -> None:
    """`check` exits with 2 when there is no such file."""
    assert 2 == rosterd("check", "none.csv", "--config", config).returncode


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
def test_check_of_what_never_ends_is_a_usage_error(
    rosterd: Rosterd, config: Path, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """`check` neither waits for a pipe nor reads a device: it exits with 2 at once."""
    make(tmp_path / "users.csv")
    result = rosterd("check", tmp_path / "users.csv", "--config", config)
    assert (2, True) == (result.returncode, "is not a regular file" in result.stderr)


def test_check_with_a_database_that_is_none_cannot_answer(rosterd: Rosterd, config: Path, tmp_path: Path) -> None:
    """`check` exits with 2 when the users to judge against cannot be read."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "rosterd.db").write_bytes(b"not a database" * 100)
    result = rosterd("check", SAMPLES / "all-good.csv", "--config", config)
    assert 2 == result.returncode
    assert "cannot be checked" in result.stderr
    assert "Traceback" not in result.stderr


def test_check_asks_which_client(rosterd: Rosterd, config: Path) -> None:
    """With several clients `check` needs --client, and names them; a client that is none of them is a usage error."""
    with config.open("a") as file:
        file.write('[[client]]\nname = "beta"\ninbox = "beta"\n')
    unspecified = rosterd("check", SAMPLES / "all-good.csv", "--config", config)
    assert 2 == unspecified.returncode
    assert "demo, beta" in unspecified.stderr
    assert 0 == rosterd("check", SAMPLES / "all-good.csv", "--config", config, "--client", "beta").returncode
    assert 2 == rosterd("check", SAMPLES / "all-good.csv", "--config", config, "--client", "gamma").returncode


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_a_bad_configuration_stops_the_start(rosterd: Rosterd, config: Path, command: str) -> None:
    """A configuration that cannot be used ends the start with 78, its problems on standard error, nothing else."""
    config.write_text("[intake]\nquiet_s = -1\n")
    result = rosterd(command, "--config", config)
    assert 78 == result.returncode
    assert result.stderr == "config.toml intake.quiet_s: got -1; expected a number above 0\n"
    assert result.stdout == ""


def test_sweep_works_off_what_is_there(rosterd: Rosterd, config: Path, tmp_path: Path) -> None:
    """`sweep` imports what lies in the inbox, delivers the mail and ends with 0."""
    for sample in SAMPLES.glob("*.csv"):
        (tmp_path / "inbox" / sample.name).write_bytes(sample.read_bytes())
    result = rosterd("sweep", "--config", config)
    assert 0 == result.returncode
    assert 2 == events(result.stdout).count("file.imported")
    assert 1 == events(result.stdout).count("file.refused")
    assert [".bak", ".work"] == sorted(os.listdir(tmp_path / "inbox"))


def test_nothing_that_stands_in_a_file_is_logged(rosterd: Rosterd, config: Path, tmp_path: Path) -> None:
    """Neither the cells of rows nor those of headers are in the log at its most talkative; the answers have them."""
    config.write_text(f'{config.read_text()}[log]\nlevel = "debug"\n')
    header = "unique_id,login_source,first_name,last_name,email"
    files = {
        "rows.csv": f"{header}\nHush1,OPSCOM,Hush2,Lee,hush@example\nHush3,Hush4,Ann,Lee,a@example.org,Hush5\n",
        "header.csv": f"{header},Hush6\n",
        "no-header.csv": "Hush7,OPSCOM,Hush8,Lee,hush@example.org\n",
        "quoting.csv": f'{header}\nHush9,OPSCOM,"Hush"10,Lee,a@example.org\n',
        "wide.csv": f"{header},\n1,OPSCOM,Ann,Lee,a@example.org,Hush11\n",
    }
    for name, content in files.items():
        (tmp_path / "inbox" / name).write_text(content)
    result = rosterd("sweep", "--config", config)
    assert 5 == events(result.stdout).count("file.archived")
    assert "hush" not in (result.stdout + result.stderr).lower()
    answers = "".join(path.read_text("utf-8-sig") for path in (tmp_path / "inbox" / ".bak").glob("*.*.*.*"))
    assert {"Hush1", "Hush2", "Hush3", "Hush4", "Hush5", "Hush6"} == set(re.findall(r"Hush\d+", answers))


def test_a_database_that_is_none_has_its_own_exit_code(rosterd: Rosterd, config: Path, tmp_path: Path) -> None:
    """A database that is corrupt ends the start with 65, is told, and is left as it was."""
    (tmp_path / "state").mkdir()
    database = tmp_path / "state" / "rosterd.db"
    database.write_bytes(b"not a database" * 100)
    result = rosterd("run", "--config", config)
    assert 65 == result.returncode
    assert "daemon.failed" in events(result.stdout)
    assert database.read_bytes() == b"not a database" * 100


def test_a_state_directory_that_is_a_file_is_an_io_error(rosterd: Rosterd, config: Path, tmp_path: Path) -> None:
    """A state directory that cannot be used ends the start with 74."""
    (tmp_path / "state").write_text("")
    assert 74 == rosterd("run", "--config", config).returncode


def test_the_built_in_configuration_starts_where_it_is_called(tmp_path: Path, rosterd: Rosterd) -> None:
    """Without --config and without /etc/rosterd/config.toml the shipped defaults hold, in the current folder."""
    if os.path.exists("/etc/rosterd/config.toml"):
        pytest.skip("this host has a configuration of its own")
    (tmp_path / "var/demo/upload").mkdir(parents=True)
    assert 0 == rosterd("sweep").returncode
    assert (tmp_path / "var/state/rosterd.db").exists()


def test_commands_explain_themselves(rosterd: Rosterd) -> None:
    """--help works for the program and each command, fast enough to be asked for."""
    for command in ((), ("run",), ("sweep",), ("check",)):
        result = rosterd(*command, "--help")
        assert 0 == result.returncode
        assert "Usage:" in result.stdout


def test_sqlite_counts_no_memory_in_the_service(config: Path, tmp_path: Path) -> None:
    """The count is off before the service first uses SQLite, which could not be told later."""
    result = run_python(
        tmp_path,
        "-c",
        "import ctypes, sys\nfrom operate import cli\ntry:\n    cli.main(['sweep', '--config', sys.argv[1]])\n"
        "finally:\n    print('bytes:', ctypes.CDLL('libsqlite3.so.0').sqlite3_memory_highwater(0))",
        config,
    )
    assert (0, "bytes: 0") == (result.returncode, result.stdout.splitlines()[-1])
