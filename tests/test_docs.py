"""The documents: what they list is what the code does."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from importer.store import Store

REPOSITORY = Path(__file__).parents[1]
SOURCES = sorted([*(REPOSITORY / "watcher").glob("*.py"), *(REPOSITORY / "importer").glob("*.py")])
LEVELS = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
    "critical": "critical",
    "tell": "error",  # the daemon's alerts: an error once an hour
}
ANY_LEVEL = "as logged"
ALWAYS = frozenset({"client", "file", "claim_id"})  # said once, above the tables
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
            elif isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["event"]:
                yield from _chosen_events(node.value)


def _event(call: ast.Call, method: str) -> Iterator[Event]:
    named = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    fields = frozenset(keyword.arg for keyword in call.keywords if keyword.arg not in (None, "exc_info"))
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
    """Yield the alerts between which an assignment to `event` chooses."""
    for node in ast.walk(choice):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value):
            yield Event(node.value, LEVELS["tell"], frozenset())


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
    done = subprocess.run(
        [sys.executable, "-m", "watcher.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        timeout=30,
        check=False,
    )
    assert (int(arguments[0] == "check"), "") == (done.returncode, done.stderr)


@pytest.mark.parametrize("command", commands("sqlite3 "))
def test_the_queries_of_the_readme_run(command: str, tmp_path: Path) -> None:
    """What the README asks of the database, the database can answer."""
    path = tmp_path / "rosterd.db"
    with contextlib.closing(Store.open(path)), contextlib.closing(sqlite3.connect(path)) as reader:
        assert [] == reader.execute(shlex.split(command)[-1]).fetchall()


def test_the_exit_codes_of_the_readme_are_those_of_the_code() -> None:
    """Each exit code that the code has stands in the README, and the other way round."""
    assigned = re.findall(r"^EXIT_\w+(?:: Final)? = (\d+)", "".join(map(Path.read_text, SOURCES)), re.MULTILINE)
    told = re.findall(r"^\| (\d+) \|", (REPOSITORY / "README.md").read_text(), re.MULTILINE)
    assert {"0", *assigned} == {*told}


@pytest.mark.parametrize("document", sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]))
def test_links_lead_somewhere(document: Path) -> None:
    """A link from a document to a file of the repository finds it."""
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target
