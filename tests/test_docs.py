"""The documents: what they list is what the code does."""

from __future__ import annotations

import ast
import contextlib
import re
import shlex
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from importer.store.sqlite.database import SqliteStore
from operate import cli
from tests import REPOSITORY
from tests.lab import run_python

SOURCES = sorted(
    path for package in ("console", "watcher", "importer", "operate") for path in (REPOSITORY / package).rglob("*.py")
)
LEVELS = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
    "critical": "critical",
    "report": "error",  # the daemon's alerts: an error once an hour
    "report_error": "error",  # likewise
}
ANY_LEVEL = "as logged"
ALWAYS = frozenset({"client", "file", "claim_id"})  # said once, above the tables
NO_FIELDS = (None, "exc_info", "shared_cause")  # arguments that are not written
NAME = re.compile(r"[a-z]+\.[a-z]+")


class Event(NamedTuple):
    """One event, as the code logs it or as the catalogue has it."""

    name: str
    level: str
    fields: frozenset[str]


def logged() -> Iterator[Event]:
    """Yield an Event for every place in the code that logs one."""
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                yield from _event(node, node.func.attr)
            elif isinstance(node, ast.Dict):
                yield from _written_event(node)
            elif isinstance(node, ast.Assign | ast.keyword) and _name_of(node) in ("event", "alert"):
                yield from _chosen_events(node.value)


def _name_of(node: ast.Assign | ast.keyword) -> str | None:
    """Return to what a value is assigned, or as what it is passed."""
    return node.arg if isinstance(node, ast.keyword) else ast.unparse(node.targets[0])


def _event(call: ast.Call, method: str) -> Iterator[Event]:
    named = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    fields = frozenset(keyword.arg for keyword in call.keywords if keyword.arg not in NO_FIELDS)
    if method in {*LEVELS, "log"} and named and NAME.fullmatch(named[0]):
        yield Event(named[0], LEVELS.get(method, ANY_LEVEL), frozenset(map(str, fields)))


def _written_event(literal: ast.Dict) -> Iterator[Event]:
    """Yield the event that log.py itself writes past the log call, as a dict."""
    try:
        pairs = {ast.literal_eval(key): value for key, value in zip(literal.keys, literal.values, strict=True) if key}
        name, level = ast.literal_eval(pairs["event"]), ast.literal_eval(pairs["level"])
    except (KeyError, ValueError):
        return
    yield Event(name, level, frozenset(pairs) - {"event", "level", "at"})


def _chosen_events(choice: ast.expr) -> Iterator[Event]:
    """Yield the alerts between which an assignment to `event` chooses, or that a table has as `alert`."""
    for node in ast.walk(choice):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value):
            yield Event(node.value, LEVELS["report"], frozenset())


def catalogued() -> Iterator[Event]:
    """Yield an Event for every level of every row of the catalogue."""
    for line in (REPOSITORY / "docs" / "events.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            name, levels, fields = cells[0].strip("`"), cells[1].split(", "), re.findall(r"`(\w+)`", cells[2])
            yield from (Event(name, level, frozenset(fields)) for level in levels)


def test_every_event_is_catalogued() -> None:
    """Each event the code logs stands in docs/events.md, with its level, and the other way round."""
    assert {(event.name, event.level) for event in logged()} == {(event.name, event.level) for event in catalogued()}


def test_every_field_is_catalogued() -> None:
    """Each field that a log call names stands in the row of its event."""
    known = {event.name: event.fields | ALWAYS for event in catalogued()}
    assert {} == {
        event.name: sorted(event.fields - known[event.name]) for event in logged() if event.fields - known[event.name]
    }


def test_the_catalogue_names_no_event_twice() -> None:
    """An event has one row."""
    names = re.findall(r"^\| `([a-z.]+)`", (REPOSITORY / "docs" / "events.md").read_text(), re.MULTILINE)
    assert sorted(set(names)) == sorted(names)


def commands(program: str) -> list[str]:
    """Return the README's command lines for a program."""
    snippets = re.findall(r"```sh\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    return [line for snippet in snippets for line in snippet.splitlines() if line.startswith(program)]


@pytest.mark.parametrize("command", commands("make "))
def test_the_make_targets_of_the_readme_exist(command: str) -> None:
    """What the README lets make do, make can do."""
    assert re.search(f"^{command.split()[1]}:", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", commands("rosterd "))
def test_the_commands_of_the_readme_run(command: str, tmp_path: Path) -> None:
    """What the README shows of rosterd can be typed; `check` of a file gives its answer."""
    arguments = shlex.split(command)[1:]
    if arguments[0] != "check":
        arguments.append("--help")
    (tmp_path / "tests").symlink_to(REPOSITORY / "tests")
    done = run_python(tmp_path, "-m", "operate.cli", *arguments)
    assert int(arguments[0] == "check") == done.returncode
    assert set() == {line for line in done.stderr.splitlines() if "built-in demo" not in line}


@pytest.mark.parametrize("command", commands("sqlite3 "))
def test_the_queries_of_the_readme_run(command: str, tmp_path: Path) -> None:
    """What the README asks of the database, the database can answer."""
    path = tmp_path / "rosterd.db"
    with contextlib.closing(SqliteStore.open(path)), contextlib.closing(sqlite3.connect(path)) as reader:
        assert [] == reader.execute(shlex.split(command)[-1]).fetchall()


def test_the_exit_codes_of_the_readme_are_those_of_the_code() -> None:
    """Each exit code that the code has stands in the README, and the other way round."""
    assigned = re.findall(r"^EXIT_\w+(?:: Final)? = (\d+)", "".join(map(Path.read_text, SOURCES)), re.MULTILINE)
    told = re.findall(r"^\| (\d+) \|", (REPOSITORY / "README.md").read_text(), re.MULTILINE)
    assert {"0", *assigned} == {*told}


DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])


def prose(document: Path) -> str:
    """Return a document without its blocks of code."""
    return re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document: those of its headings, as the site and code hosts make them, and its own."""
    headings = re.findall(r"^#+ (.*)$", prose(document), re.MULTILINE)
    own = re.findall(r'^<a id="([^"]+)"></a>$', prose(document), re.MULTILINE)
    return {*own, *(re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """A link finds its file in the repository, and its anchor in that document."""
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", prose(document)):
        name, _, anchor = target.partition("#")
        found = (document.parent / name).resolve() if name else document
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def test_the_site_has_every_document() -> None:
    """Each document stands in the navigation of the site, once."""
    listed = re.findall(r"^ +- (?:\w+: )?([\w-]+\.md)$", (REPOSITORY / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(
        ["CHANGELOG.md", "SECURITY.md", *(path.name for path in (REPOSITORY / "docs").glob("*.md"))]
    ) == sorted(listed)


def test_how_to_report_a_vulnerability_is_found() -> None:
    """The README and the front page of the site lead to how a vulnerability is reported, and what is promised."""
    told = (REPOSITORY / "SECURITY.md").read_text()
    assert "(SECURITY.md)" in (REPOSITORY / "README.md").read_text()
    assert "(../SECURITY.md)" in (REPOSITORY / "docs/index.md").read_text()
    headings = ["Reporting a vulnerability", "Supported versions", "What is promised", "What is not promised"]
    assert headings == re.findall(r"^## (.*)$", told, re.MULTILINE)
    assert "@" not in told  # nobody can vouch for an address here


def typed(document: Path) -> list[str]:
    """Return the calls of rosterd in a document's blocks of shell, without what comes after a pipe."""
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("# ") for block in blocks for line in block.splitlines()]
    return [re.split(r" [|>#;]", line)[0] for line in lines if line.startswith("rosterd ")]


@pytest.mark.parametrize("line", sorted({line for document in DOCUMENTS for line in typed(document)}))
def test_what_the_documents_type_exists(line: str) -> None:
    """Each command, with each of its options, is one that rosterd has."""
    words = shlex.split(line)[1:]
    context, command = click.Context(cli.main), cli.main.get_command(click.Context(cli.main), words.pop(0))
    while isinstance(command, click.Group):
        command = command.get_command(context, words.pop(0))
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    assert set() == {word for word in words if word.startswith("--")} - known


# The manual and the completion


def subcommands() -> Iterator[tuple[str, ...]]:
    """Yield every command, those of groups with their group."""
    for name in cli.main.list_commands(click.Context(cli.main)):
        yield from _below((name,), cli.main.get_command(click.Context(cli.main), name))


def _below(path: tuple[str, ...], command: click.Command | None) -> Iterator[tuple[str, ...]]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _below((*path, name), inner)
    else:
        yield path


@pytest.mark.parametrize("command", list(subcommands()), ids=" ".join)
def test_the_manual_names_every_command(command: tuple[str, ...]) -> None:
    """The manual page explains each command under its name."""
    page = re.sub(r"\\([-&])", r"\1", (REPOSITORY / "docs" / "rosterd.1").read_text())
    assert re.search(rf"^\.B[IR]? .*\b{' '.join(command)}\b", page, re.MULTILINE)


def test_the_manual_has_the_exit_codes() -> None:
    """The manual page tells the exit codes that the README does."""
    section = (REPOSITORY / "docs" / "rosterd.1").read_text().split(".SH EXIT STATUS")[1].split(".SH")[0]
    told = re.findall(r"^\| (\d+) \|", (REPOSITORY / "README.md").read_text(), re.MULTILINE)
    assert told == re.findall(r"^\.B (\d+)$", section, re.MULTILINE)


@pytest.mark.parametrize(
    ("shell", "cword", "names"),
    [
        ("bash", "1", r"^plain,([a-z]+)$"),
        ("zsh", "1", r"^plain\n([a-z]+)\n"),
        ("fish", "", r"^plain,([a-z]+)"),
    ],
)
def test_the_completion_offers_every_command(shell: str, cword: str, names: str) -> None:
    """What the shell asks for after `rosterd ` is the list of commands."""
    program = "from operate.cli import main; main(prog_name='rosterd')"
    asked = {"_ROSTERD_COMPLETE": f"{shell}_complete", "COMP_WORDS": "rosterd ", "COMP_CWORD": cword}
    offered = run_python(REPOSITORY, "-c", program, **asked).stdout
    assert {name for name, *_ in subcommands()} == {*re.findall(names, offered, re.MULTILINE)}
