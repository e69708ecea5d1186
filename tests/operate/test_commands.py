from __future__ import annotations

import contextlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from importer.store.sqlite.database import SqliteStore
from operate import cli
from tests import REPOSITORY

# What only some files, some settings or some commands need.
HEAVY = {
    *("asyncio", "email_validator", "litestar", "openpyxl", "premailer", "prometheus_client", "sqlite_utils"),
    *("rich.console", "tomlkit", "yagmail", "zoneinfo"),
}


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"}
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=30, check=False)


@pytest.mark.parametrize("name", cli._ELSEWHERE)
def test_the_table_of_commands_says_what_the_commands_say(name: str) -> None:
    """A command is where the table says, and its first sentence is the table's."""
    command = cli.main.get_command(click.Context(cli.main), name)
    assert command is not None
    assert cli._ELSEWHERE[name][1] == inspect.cleandoc(command.help or "").split("\n\n")[0]


def test_help_lists_every_command() -> None:
    """`rosterd --help` names every command with its first sentence."""
    told = " ".join(run(sys.executable, "-m", "operate.cli", "--help").stdout.split())
    for name, (_, summary) in cli._ELSEWHERE.items():
        assert f" {name} {summary}" in told


def test_help_is_grouped_as_the_manual_page() -> None:
    """The sections of `rosterd --help` are those of the manual page, with the same commands."""
    page = (REPOSITORY / "docs" / "rosterd.1").read_text().split(".SH COMMANDS")[1].split(".SH OPTIONS")[0]
    manual = {}
    for section in page.split("\n.SS ")[1:]:
        title, _, entries = section.partition("\n")
        named = re.findall(r"(?:^|,) *([a-z]+)", "\n".join(_plain(entries)), re.MULTILINE)
        manual[title.strip()] = set(named) & {"run", "sweep", *cli._ELSEWHERE}
    assert manual == {title: set(names.split()) for title, names in cli._SECTIONS.items()}


def _plain(entries: str) -> list[str]:
    """Return the lines of a manual page that name commands, without their markup."""
    lines = re.findall(r"^\.TP\n\.B[IR]? (.*)$", entries, re.MULTILINE)
    return [re.sub(r"\\-|[\"\[\]]", "", line) for line in lines]


def test_help_loads_nothing_that_is_slow() -> None:
    """`rosterd --help` imports no library but click, so that it comes at once."""
    loaded = imported("-m", "operate.cli", "--help")
    assert "click" in loaded
    assert set() == loaded & {
        "msgspec",
        "structlog",
        "sqlite_utils",
        "watchdog",
        "sqlite3",
        "operate.overview",
        "operate.records",
    }


@pytest.mark.parametrize(
    "command",
    [("status",), ("imports",), ("show", "1"), ("users", "zoe"), ("mail", "list"), ("client", "list")],
    ids=" ".join,
)
def test_looking_in_loads_no_more_than_it_needs(command: tuple[str, ...], tmp_path: Path) -> None:
    """Commands that only look leave alone what only the service needs, so that they answer in half a second."""
    config = tmp_path / "config.toml"
    config.write_text('[service]\nstate_dir = "."\n')
    with contextlib.closing(SqliteStore.open(tmp_path / "rosterd.db")):
        loaded = imported("-m", "operate.cli", *command, "--config", str(config))
    assert "watcher.config" in loaded
    assert ({"tomlkit"} if command == ("client", "list") else set()) == loaded & {
        *HEAVY,
        "structlog",
        "watchdog",
        "importer.file.unwrap.kinds",
    }


def test_the_service_starts_with_no_more_than_it_needs(tmp_path: Path) -> None:
    """Where the database is up to date, and nothing is to be imported or sent, no library is loaded for that."""
    config = tmp_path / "config.toml"
    config.write_text('[service]\nstate_dir = "."\n')
    SqliteStore.open(tmp_path / "rosterd.db").close()
    loaded = imported("-m", "operate.cli", "sweep", "--config", str(config))
    assert {"structlog", "watchdog", "importer.pipeline"} <= loaded
    assert set() == loaded & HEAVY


def test_a_check_makes_its_tables_without_the_migrations(tmp_path: Path) -> None:
    """Next to a database that is up to date, `rosterd check` loads no sqlite-utils for its throw-away one."""
    config, file = tmp_path / "config.toml", tmp_path / "users.csv"
    config.write_text('[service]\nstate_dir = "."\n[[client]]\nname = "acme"\ninbox = "acme"\n')
    file.write_text("unique_id,login_source,first_name\nS1,OPSCOM,Ann\n")
    SqliteStore.open(tmp_path / "rosterd.db").close()
    loaded = imported("-m", "operate.cli", "check", str(file), "--config", str(config))
    assert "importer.pipeline" in loaded
    assert set() == loaded & (HEAVY - {"email_validator"})


@pytest.mark.parametrize("module", ["importer.rows.worker", "importer.file.unwrap.child"])
def test_a_helper_process_starts_with_no_more_than_it_needs(module: str) -> None:
    """The processes that are started for one file load neither the log nor the database."""
    loaded = imported("-c", f"import {module}")
    assert "importer.model" in loaded
    assert set() == loaded & {*HEAVY, "structlog", "sqlite3", "click"}


def imported(*arguments: str) -> set[str]:
    told = run(sys.executable, "-X", "importtime", *arguments).stderr
    return {line.rpartition("|")[2].strip() for line in told.splitlines()}


@pytest.mark.parametrize(
    "command",
    [("show",), ("users",), ("replay",), ("export",), ("erase", "--yes"), ("mail", "show")],
    ids=" ".join,
)
def test_a_word_that_is_no_text_is_a_usage_error(command: tuple[str, ...], tmp_path: Path) -> None:
    """Whatever bytes a command is given, it ends with 2 and a sentence."""
    config = tmp_path / "config.toml"
    config.write_text('[service]\nstate_dir = "."\n[[client]]\nname = "acme"\ninbox = "acme"\n')
    with contextlib.closing(SqliteStore.open(tmp_path / "rosterd.db")):
        result = run(sys.executable, "-m", "operate.cli", *command, "--config", str(config), "\udcff")
    assert (2, False) == (result.returncode, "Traceback" in result.stderr)
    assert result.stderr


def test_an_unknown_command_is_a_usage_error() -> None:
    """A command that is none ends with 2 and a sentence."""
    result = run(sys.executable, "-m", "operate.cli", "impots")
    assert 2 == result.returncode
    assert "No such command" in result.stderr
