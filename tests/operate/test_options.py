"""What all commands have in common: client names, the configuration when none is named, the terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from operate import cli
from operate.options import ClientName, is_plain_terminal, unknown_client
from operate.roster import export_users
from tests import REPOSITORY
from tests.conftest import Needs
from tests.lab import completions, run_python
from tests.lab.daemon import Rosterd, make_inboxes
from tests.test_docs import subcommands

HEADER = "unique_id,login_source,first_name,last_name,email\n"
ANN = "S-1,OPSCOM,Ann,Lee,ann@school.example\n"
ROSTERD = (sys.executable, "-m", "operate.cli")


@pytest.fixture(scope="module")
def rosterd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rosterd]:
    """Yield an installation with the clients acme and beta that has imported a file of each; it is down."""
    folder = tmp_path_factory.mktemp("options")
    inboxes = make_inboxes(folder)
    with Rosterd(folder, inboxes) as installation:
        for client in inboxes:
            installation.drop("users.csv", HEADER + ANN + "S-2,OPSCOM,Bob\n", client)
        assert 0 == installation.execute("sweep").returncode
        installation.change(
            """INSERT INTO hook_events (id, event_id, hook, event, client, created_at, due_at, body)
               VALUES (1, 'evt_1', 'tickets', 'mail.dead', '', '2026-11-22T00:00:00Z', '2026-11-22T00:00:00Z', '{}')"""
        )
        yield installation


def of(path: tuple[str, ...]) -> click.Command:
    command: click.Command | None = cli.main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(cli.main), name)
    assert command is not None
    return command


# Client names


def test_every_client_option_is_a_client_name() -> None:
    """Wherever a command takes --client, the name is checked before anything is done with it."""
    options = {
        (path, parameter.name): isinstance(parameter.type, ClientName)
        for path in subcommands()
        for parameter in of(path).params
        if "--client" in parameter.opts
    }
    assert options
    assert {True} == set(options.values()), options


@pytest.mark.parametrize(
    "name", ["../beta", "acme/../beta", "..", ".", "", "a\nb", "\x1b[31m", "-x", "/acme", "a" * 64]
)
def test_what_cannot_be_a_client_is_refused(rosterd: Rosterd, name: str) -> None:
    """A name with a slash, a control character or the like is a usage error, and drives no terminal."""
    result = rosterd.execute("imports", f"--client={name}")
    assert (2, "") == (result.returncode, result.stdout)
    assert "cannot be the name of a login or a client" in result.stderr
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("imports",),
        ("users", "S-1"),
        ("mail", "list"),
        ("export", "S-1"),
        ("erase", "S-1", "--yes"),
        ("release", "users.csv"),
        ("refuse", "users.csv"),
        ("check", "config.toml"),
        ("import", "config.toml"),
        ("guide",),
    ],
    ids=" ".join,
)
def test_an_unknown_client_is_a_usage_error(rosterd: Rosterd, command: tuple[str, ...]) -> None:
    """A client that nobody knows ends any command with 2, the nearest name and all names."""
    result = rosterd.execute(*command, "--client", "Acmee")
    assert (2, "") == (result.returncode, result.stdout)
    assert 'unknown client "Acmee"; did you mean "acme"? known clients: acme, beta' in result.stderr


@pytest.mark.parametrize(
    "command",
    [("undo",), ("mail", "show"), ("mail", "retry"), ("hook", "show"), ("hook", "drop"), ("imports", "--limit")],
    ids=" ".join,
)
def test_a_number_that_no_database_can_hold_is_a_sentence(rosterd: Rosterd, command: tuple[str, ...]) -> None:
    """A number above that of any row ends a command with one line, as any other number does that is not there."""
    result = rosterd.execute(*command, str(1 << 63))
    assert (result.returncode, result.stdout) in {(1, ""), (2, "")}
    assert [True] == [line.count("Overflow") == 0 for line in result.stderr.splitlines()]


def test_an_unknown_client_of_many_is_told_which_are_similar() -> None:
    """With many clients the message has the nearest names, and how many there are."""
    text = str(unknown_client("shool7", [f"school{number}" for number in range(1000)]))
    assert text.startswith('unknown client "shool7"; did you mean "school7" or ')
    assert text.endswith("? 1000 clients are known; rosterd client list shows them")
    assert 3 == text.count('"school')


@pytest.mark.parametrize("command", ["imports", "release cut.csv", "mail list", "guide", "export S-1"])
def test_client_names_are_completed(rosterd: Rosterd, command: str, tmp_path: Path) -> None:
    """The shell completes the names of clients, from the configuration that the line names."""
    line = f"rosterd {command} --config {rosterd._config} --client "
    assert ["acme", "beta"] == completions(line, tmp_path)
    assert ["beta"] == completions(f"{line}b", tmp_path)


@pytest.mark.parametrize("content", ["not TOML", None], ids=["faulty", "missing"])
def test_completion_survives_a_configuration(content: str | None, tmp_path: Path) -> None:
    """Where the configuration cannot be used nothing is offered, and nothing is said."""
    config = tmp_path / "config.toml"
    if content is not None:
        config.write_text(content)
    assert [] == completions(f"rosterd imports --config {config} --client ", tmp_path)


# The configuration


def test_a_command_says_that_it_uses_the_demo(rosterd: Rosterd, tmp_path: Path) -> None:
    """Without a configuration one line on standard error says that the built-in demo is used; with one, none."""
    if os.path.exists("/etc/rosterd/config.toml"):
        pytest.skip("this host has a configuration of its own")
    (tmp_path / "users.csv").write_text(HEADER + ANN)
    done = run_python(tmp_path, "-m", "operate.cli", "check", "users.csv", "--json")
    assert 0 == done.returncode
    assert 1 == done.stderr.count("built-in demo")
    assert 1 == len(done.stderr.splitlines())
    json.loads(done.stdout)
    assert "" == rosterd.execute("imports").stderr


# What is printed


def on_a_terminal(*command: str, folder: Path, **environment: str) -> bytes:
    """Return all that a command writes when its output is a terminal."""
    controller, terminal = pty.openpty()
    usual = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    with subprocess.Popen(
        [*ROSTERD, *command],
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        cwd=folder,
        env={**usual, "TERM": "xterm", "PYTHONPATH": str(REPOSITORY), **environment},
    ):
        os.close(terminal)
        written = b""
        try:
            while piece := os.read(controller, 65536):
                written += piece
        except OSError:  # how Linux tells the end
            pass
    os.close(controller)
    return written


PLAIN = {"xterm": {}, "NO_COLOR": {"NO_COLOR": "1"}, "empty": {"NO_COLOR": ""}, "dumb": {"TERM": "dumb"}}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("command", ["doctor", "check"])
def test_a_plain_terminal_gets_no_escape_sequences(rosterd: Rosterd, tmp_path: Path, command: str, name: str) -> None:
    """With NO_COLOR or TERM=dumb neither colours nor a progress bar are drawn, and everything is said all the same."""
    large = tmp_path / "users.csv"
    large.write_text(HEADER + "".join(f"{n},OPSCOM,Ann,Lee,a{n}@school.example\n" for n in range(130_000)))
    words = {"doctor": ("doctor",), "check": ("check", str(large), "--client", "acme")}[command]
    written = on_a_terminal(*words, "--config", str(rosterd._config), folder=tmp_path, **PLAIN[name])
    assert (name in ("xterm", "empty")) == (b"\x1b" in written)
    assert {"doctor": b"configuration: ", "check": b"130,000"}[command] in written


@pytest.mark.parametrize("name", PLAIN)
def test_a_long_check_of_archives_shows_how_far_it_is(tmp_path: Path, name: str) -> None:
    """`verify` draws a bar on a terminal when it has much to read; a plain terminal gets none."""
    with Rosterd(tmp_path, make_inboxes(tmp_path)) as installation:
        installation.drop("users.csv", HEADER + ANN)
        assert 0 == installation.execute("sweep").returncode
        [archive] = (tmp_path / "acme" / ".bak").glob("users.*Z.csv")
        os.truncate(archive, 1 << 29)
        installation.change("UPDATE imports SET size_bytes = 1 << 29, sha256 = ''")
        command = ("verify", "--config", str(installation._config))
        written = on_a_terminal(*command, folder=tmp_path, **PLAIN[name])
        quick = on_a_terminal(*command, "--quick", folder=tmp_path, **PLAIN[name])
    assert (name in ("xterm", "empty")) == (b"archives" in written.partition(b"Checked")[0])
    assert b"\x1b" not in quick
    assert b"Checked 1 import" in written


def test_a_backup_shows_how_far_it_is(tmp_path: Path, needs: Needs) -> None:
    """Writing, comparing and restoring a large backup draw a bar on a terminal, and nothing of it into a pipe."""
    needs(root=True)
    with Rosterd(tmp_path, make_inboxes(tmp_path)) as installation:
        installation.drop("users.csv", HEADER + ANN)
        assert 0 == installation.execute("sweep").returncode
        with (tmp_path / "acme" / "waiting.txt").open("wb") as large:
            large.truncate(8 << 20)
        config = ("--config", str(installation._config))
        commands: tuple[tuple[str, ...], ...] = (
            ("backup", "create", "b.tar", "--files", *config),
            ("backup", "verify", "b.tar"),
            ("restore", "b.tar", "--replace", *config),
        )
        for command in commands:
            written = on_a_terminal(*command, folder=tmp_path)
            assert b"b.tar  [#" in written, written
        piped = run_python(tmp_path, "-m", "operate.cli", "backup", "verify", "b.tar")
    assert (0, False) == (piped.returncode, "[#" in piped.stdout + piped.stderr)


def test_an_export_shows_how_far_it_is(rosterd: Rosterd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users that go into a file are counted on the terminal; where they are shown there is no bar among them."""
    assert "users" not in rosterd.execute("export", "users", "--client", "acme").stderr
    monkeypatch.setattr(export_users, "_LONG_WORK_USERS", 1)
    monkeypatch.setattr(export_users, "_ROWS_BETWEEN", 1)
    bars: list[int] = []

    @contextlib.contextmanager
    def bar(length: int, label: str, *, is_long: bool) -> Iterator[Callable[[int], None]]:
        bars.append(length if is_long else 0)
        assert "users" == label
        yield bars.append

    monkeypatch.setattr(export_users, "steps_bar", bar)
    done = CliRunner().invoke(cli.main, ["export", "users", "--client", "acme", "--config", str(rosterd._config)])
    assert (0, [1, 1]) == (done.exit_code, bars)


def test_an_empty_wish_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR counts when it is not empty."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "")
    assert not is_plain_terminal()


ARGUMENTS = {
    "show": ["1"],
    "users find": ["S-"],
    "history": ["S-1", "--client", "acme"],
    "mail show": ["1"],
    "hook show": ["1"],
    "check": [__file__, "--client", "acme"],
}
LISTS = {
    "console user list",
    "imports",
    "users find",
    "history",
    "mail list",
    "hook list",
    "fields",
    "client list",
    "client key list",
}
JSON_LINES = {("changes",)}  # for a reader that goes on where it stopped


@pytest.mark.parametrize(
    "path",
    [path for path in subcommands() if "--json" in str([p.opts for p in of(path).params]) and path not in JSON_LINES],
    ids=" ".join,
)
def test_json_is_one_document(rosterd: Rosterd, path: tuple[str, ...], needs: Needs, tmp_path: Path) -> None:
    """With --json a command prints one document, a list where it lists, also when that is empty or has one item."""
    name = " ".join(path)
    needs(root=path[0] in ("client", "backup"))
    arguments = ["acme"] if name in ("client show", "client key list") else ARGUMENTS.get(name, [])
    options = [] if name in ("fields", "backup verify") else ["--config", str(rosterd._config)]
    if path[0] == "backup":
        arguments = [str(tmp_path / name)]
    if name == "client apply":
        arguments = [str(tmp_path / "clients.csv")]
        (tmp_path / "clients.csv").write_text("name\nacme\n")
    if name == "backup verify":
        rosterd.execute("backup", arguments[0])
    done = subprocess.run(
        [*ROSTERD, *path, *arguments, "--json", *options],
        capture_output=True,
        text=True,
        timeout=180,
        cwd=REPOSITORY,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert (list if name in LISTS else dict) is type(json.loads(done.stdout))


def test_a_list_of_none_or_one_is_a_list(rosterd: Rosterd) -> None:
    """A program need not tell one item, or none, from many."""
    for words, count in (
        (("users", "nobody"), 0),
        (("imports", "--since", "2999-01-01"), 0),
        (("users", "S-1", "--client", "acme"), 1),
        (("imports", "--limit", "1"), 1),
    ):
        assert count == len(json.loads(rosterd.execute(*words, "--json").stdout))
