"""Who may import whom: the layers of the tree, and one module for each library."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import REPOSITORY

MODULES = {
    ".".join(source.relative_to(REPOSITORY).with_suffix("").parts): source
    for layer in ("watcher", "importer", "operate")
    for source in sorted((REPOSITORY / layer).rglob("*.py"))
}
# Each library's sharp edges are blunted in the modules named here and nowhere else.
HOMES = {
    "click": {name for name in MODULES if name.startswith("operate.")},
    "prometheus_client": {"watcher.health.prometheus"},
    "email_validator": {"importer.rows.rules"},
    "sqlite_utils": {name for name in MODULES if name.startswith("importer.store.")},
    "watchdog": {"watcher.inbox.events"},
    "yagmail": {"importer.mail.smtp"},
}
EVERYWHERE = {"msgspec", "structlog"}


def imports(module: str) -> Iterator[str]:
    """Yield the full names that a module imports from."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""


def tops(module: str) -> set[str]:
    return {name.partition(".")[0] for name in imports(module)}


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("importer.")])
def test_importer_does_not_know_watcher(module: str) -> None:
    """The importer takes a claimed file and gives a receipt, whoever claimed it."""
    assert not {"watcher", "operate"} & tops(module)


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("watcher.")])
def test_watcher_does_not_know_operate(module: str) -> None:
    """The service works without the operator's commands; the command line finds them by name when they are called."""
    assert "operate" not in tops(module)


@pytest.mark.parametrize("module", MODULES)
def test_a_library_is_used_at_home_only(module: str) -> None:
    """A library is imported by the modules that are its home; a new one needs a home first."""
    libraries = tops(module) - {*sys.stdlib_module_names} - {"watcher", "importer", "operate"} - EVERYWHERE
    assert {library for library in libraries if module in HOMES.get(library, set())} == libraries


def test_only_log_configures_logging() -> None:
    """No module but watcher.log sets up structlog or adds handlers to the root logger."""
    assert {"watcher.log"} == {name for name, source in MODULES.items() if "structlog.configure" in source.read_text()}


def lazily_read(source: Path) -> Iterator[int]:
    """Yield the lines where a result of SQL is gone through row by row without anything that closes it."""
    tree = ast.parse(source.read_text())
    assigned = {
        ast.unparse(node.targets[0]) for node in ast.walk(tree) if isinstance(node, ast.Assign) and asks(node.value)
    }
    for node in ast.walk(tree):
        taken = (
            [node.iter]
            if isinstance(node, ast.For | ast.comprehension)
            else node.args
            if isinstance(node, ast.Call)
            else []
        )
        closed = isinstance(node, ast.Call) and ast.unparse(node.func) == "contextlib.closing"
        yield from (each.lineno for each in taken if not closed and (asks(each) or ast.unparse(each) in assigned))


def asks(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "execute"


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("importer.")])
def test_no_statement_is_left_open(module: str) -> None:
    """What SQL returns is fetched at once, or closed: an error must not leave a table locked, nor the log growing."""
    assert [] == [*lazily_read(MODULES[module])]
