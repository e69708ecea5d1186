"""Who may import whom: the layers of the tree, and one module for each library."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import REPOSITORY

MODULES = {
    ".".join(source.relative_to(REPOSITORY).with_suffix("").parts): source
    for layer in ("console", "watcher", "importer", "operate")
    for source in sorted((REPOSITORY / layer).rglob("*.py"))
}
# Each library's sharp edges are blunted in the modules named here and nowhere else.
HOMES = {
    "anyio": {"console.entrance"},
    "click": {"console.command", *(name for name in MODULES if name.startswith("operate."))},
    "jinja2": {"console.rendering"},
    "litestar": {name for name in MODULES if name.startswith("console.")},
    "markupsafe": {"console.rendering"},
    "h11": {"console.access.patience"},
    "uvicorn": {"console.access.patience", "console.serve"},
    "prometheus_client": {"watcher.health.prometheus"},
    "email_validator": {"importer.rows.rules"},
    "idna": {"importer.rows.rules"},
    "openpyxl": {"importer.file.unwrap.workbook", "importer.answer.failed_workbook"},
    "psycopg": {name for name in MODULES if name.startswith("importer.store.postgresql.")},
    "sqlite_utils": {name for name in MODULES if name.startswith("importer.store.sqlite.")},
    "tomlkit": {"operate.provision.edits"},
    "watchdog": {"watcher.inbox.events"},
    "yagmail": {"importer.mail.smtp"},
}
# Words in statements that PostgreSQL does not know, and the modules of importer/store that still have some.
OF_SQLITE = re.compile(
    r"temp\.|TEMP |\browid\b|PRAGMA|GLOB|INDEXED|(?:INSERT|UPDATE) OR|x''|"
    r"json_\w+\(|\biif\(|ifnull\(|\bchar\(|casefolded\("
)
ONLY_SQLITE = {
    *("roster.counts", "roster.feeds"),
}
EVERYWHERE = {"msgspec", "structlog"}
# Who may import whom, see docs/architecture.md: a package those after it, a folder those before it and the ground, a
# module that is in no folder and not of the ground everything of its package.
PACKAGES = ("console.", "operate.", "watcher.", "importer.")
FOLDERS = {
    "importer": ("wording", "roster", "file", "rows", "store", "sending", "mail", "hooks", "answer"),
    "watcher": ("health", "approval", "strays", "inbox", "checking", "control", "readers", "outgoing"),
    "operate": ("provision", "doctor", "clients", "pgp", "backup", "pages", "roster", "hooks", "store"),
    "console": ("access",),
}
GROUND = {
    package: set(names.split())
    for package, names in {
        "importer": (
            "attributes characters disk_space durable durations fs helper_process model names patterns settings"
        ),
        "watcher": "adopted config decode exits lock log model notify owner settings signals",
        "operate": "change database folders options output",
        "console": "",
    }.items()
}
MOST_LINES, MOST_IMPORTS, MOST_MODULES = 450, 16, 15
MOST_CLASS_LINES, MOST_METHODS = 200, 15


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


def ours(module: str) -> set[str]:
    """Return the modules of ours that a module imports."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{name.name}" for name in node.names} & MODULES.keys()
            found |= inside or ({node.module} & MODULES.keys())
    return found


def floor(module: str) -> int:
    """Return the place of a module in its package: 0 for what all of it may use, the highest for what may use all."""
    package, *inside = module.split(".")
    if len(inside) > 1:
        return 1 + FOLDERS[package].index(inside[0])
    return 0 if inside[0] in GROUND[package] else 1 + len(FOLDERS[package])


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_imported_from_above(module: str) -> None:
    """Packages, and folders within a package, import those below them only, as docs/architecture.md draws them."""
    package = module.partition(".")[0]
    above = PACKAGES[: PACKAGES.index(f"{package}.")]
    assert [] == [name for name in ours(module) if name.startswith(above)]
    assert [] == [name for name in ours(module) if name.startswith(f"{package}.") and floor(name) > floor(module)]


@pytest.mark.parametrize("package", ["importer", "watcher", "operate"])
def test_the_folders_are_as_drawn(package: str) -> None:
    """docs/architecture.md draws the folders of each package, those that may import others above them."""
    head, *lines = (REPOSITORY / "docs" / "architecture.md").read_text().split("\noperate ------>")[1].splitlines()
    column = slice(at := f"operate ------>{head}".index(package), at + 16)
    drawn = [name[:-1] for line in lines[: lines.index("```")] if (name := line[column].strip()).endswith("/")]
    assert [*reversed(FOLDERS[package])] == drawn


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_read_in_one_sitting(module: str) -> None:
    """A module has at most 450 lines, and imports at most 16 others of ours."""
    assert len(MODULES[module].read_text().splitlines()) <= MOST_LINES
    assert len(ours(module)) <= MOST_IMPORTS


@pytest.mark.parametrize("module", MODULES)
def test_a_class_is_one_thing(module: str) -> None:
    """A class has at most 200 lines and 15 methods."""
    classes = [node for node in ast.walk(ast.parse(MODULES[module].read_text())) if isinstance(node, ast.ClassDef)]
    lines = {each.name: (each.end_lineno or each.lineno) - each.lineno + 1 for each in classes}
    methods = {each.name: sum(isinstance(part, ast.FunctionDef) for part in each.body) for each in classes}
    assert {} == {name: count for name, count in lines.items() if count > MOST_CLASS_LINES}
    assert {} == {name: count for name, count in methods.items() if count > MOST_METHODS}


def test_a_folder_is_held_in_mind() -> None:
    """A folder has at most 15 modules."""
    folders = Counter(source.parent for source in MODULES.values() if source.name != "__init__.py")
    assert {} == {str(folder): modules for folder, modules in folders.items() if modules > MOST_MODULES}


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith("importer.store.sqlite.")])
def test_only_the_store_knows_sqlite(module: str) -> None:
    """No module outside importer/store/sqlite imports sqlite3: the store has errors and answers of its own."""
    assert "sqlite3" not in tops(module)


@pytest.mark.parametrize("module", MODULES)
def test_a_library_is_used_at_home_only(module: str) -> None:
    """A library is imported by the modules that are its home; a new one needs a home first."""
    libraries = tops(module) - {*sys.stdlib_module_names} - {"console", "watcher", "importer", "operate"} - EVERYWHERE
    assert {library for library in libraries if module in HOMES.get(library, set())} == libraries


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("importer.store.")])
def test_statements_are_for_both_databases(module: str) -> None:
    """Only the modules of a list, which is to become empty, use what SQLite alone understands."""
    if not module.startswith(("importer.store.sqlite.", "importer.store.postgresql.")):
        words = {*OF_SQLITE.findall(MODULES[module].read_text())}
        assert (module.removeprefix("importer.store.") in ONLY_SQLITE) == bool(words), words


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
