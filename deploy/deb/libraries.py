"""
The libraries of the package: which of those that others require are left out, with the reason.

Run by the package's own Python, it checks that: it imports all of rosterd, and prints what cannot be imported, which
libraries nothing imports, and which modules a library that is in use names although they are neither there nor listed
here. Exit status 1 if there is any.
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

# What only these require is left out as well: lxml, requests and more come only with premailer; those that Litestar has
# for its tests, examples and command would be 17 MB of 22.
LEFT_OUT: Final = {
    "click-default-group": "only the command of sqlite-utils imports it, and that is not installed",
    "dnspython": "email-validator imports it to ask the name server about a domain, which rosterd never does",
    "httpx": "Litestar imports it for its test client",
    "litestar-htmx": "Litestar imports it for pages that load parts of themselves by HTMX",
    "pip": "only the command of sqlite-utils imports it",
    "polyfactory": "Litestar imports it to make up examples for a description of an API, which ours does not have",
    "premailer": "yagmail imports it for mail that yagmail composes, and rosterd hands it finished bytes",
    "rich": "only the command of Litestar needs it, and structlog uses it only if it is there",
    "rich-click": "only the command of Litestar imports it, and that is not installed",
    "tabulate": "only the command of sqlite-utils imports it",
    "tzdata": "the package depends on Debian's tzdata, which Debian keeps up to date",
}
# Modules that the libraries name, and use only if they are there.
ABSENT: Final = {
    "PIL": "openpyxl, for pictures",
    "_typeshed": "anyio and Litestar, for checks of types",
    "a2wsgi": "uvicorn, for applications of another kind",
    "advanced_alchemy": "Litestar, for SQLAlchemy",
    "annotated_types": "Litestar, for pydantic",
    "annotationlib": "msgspec, from Python 3.14 on",
    "attrs": "msgspec, for classes of attrs",
    "better_exceptions": "structlog, for tracebacks on a terminal",
    "colorama": "click and structlog, on Windows",
    "curio": "sniffio, for another event loop",
    "defusedxml": "openpyxl: workbooks are read in a process with limits of memory and time",
    "dkim": "yagmail, for mail that it composes",
    "dns": "email-validator, see dnspython",
    "dotenv": "uvicorn, for files of environment variables",
    "exceptiongroup": "anyio and Litestar, before Python 3.11",
    "importlib_metadata": "Litestar, before Python 3.10",
    "keyring": "yagmail, for passwords of a desktop",
    "lxml": "openpyxl: it does without, and importer/helper_process has it do so where lxml is there",
    "numpy": "openpyxl, for numbers of numpy",
    "picologging": "Litestar, for logging of another kind",
    "premailer": "yagmail, see premailer",
    "psycopg_binary": "psycopg, for its C version with a libpq of its own; the package takes Debian's by ctypes",
    "psycopg_c": "psycopg, for its C version, which would have to be compiled",
    "psycopg_pool": "psycopg, for pools of connections",
    "pydantic": "Litestar, for models of pydantic",
    "rich": "structlog, for tracebacks on a terminal",
    "snappy": "prometheus-client, for remote writes",
    "starlette": "Litestar, for applications of Starlette",
    "tomli": "msgspec, before Python 3.11",
    "tomli_w": "msgspec, to write TOML",
    "trio": "anyio and Litestar, for another event loop",
}
BY_NAME: Final = ("uvicorn.protocols.http.h11_impl",)  # what a library imports by a name in a setting of ours
OURS: Final = ("importer", "watcher", "operate", "console")


def import_all() -> Iterator[str]:
    """Import every module of ours; yield those that cannot be, and why."""
    for name in OURS:
        for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
            try:
                importlib.import_module(module.name)
            except ImportError as error:
                yield f"{module.name}: {error}"


def import_later_ones() -> Iterator[str]:
    """Import what modules of ours import only when they need it; yield what cannot be imported."""
    for name in BY_NAME:
        importlib.import_module(name)
    for module in [module for name, module in sys.modules.items() if name.partition(".")[0] in OURS]:
        for name in named(module):
            try:
                importlib.import_module(name)
            except ImportError as error:
                yield f"{module.__name__}: {error}"


def named(module: ModuleType) -> set[str]:
    """Return the modules that a module names in its import statements, anywhere in it; none if it is compiled."""
    source = Path(module.__file__ or "")
    if source.suffix != ".py":
        return set()
    names = set()
    for node in ast.walk(ast.parse(source.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


def unused() -> Iterator[str]:
    """Yield libraries of which nothing was imported."""
    used = {name.partition(".")[0] for name in sys.modules}
    tops: dict[str, set[str]] = {}
    for top, distributions in importlib.metadata.packages_distributions().items():
        for distribution in distributions:
            tops.setdefault(distribution, set()).add(top)
    yield from (f"{name}: nothing imports it" for name in sorted(tops) if not tops[name] & used)


def unexplained() -> Iterator[str]:
    """Yield modules that are named by a library that was imported, and that are neither there nor in `ABSENT`."""
    for name, module in sorted(sys.modules.items()):
        if "site-packages" in (getattr(module, "__file__", None) or ""):
            tops = {each.partition(".")[0] for each in named(module)} - {*sys.stdlib_module_names, *ABSENT}
            missing = sorted(top for top in tops if importlib.util.find_spec(top) is None)
            yield from (f"{name}: names {top}, which is not in the package" for top in missing)


if __name__ == "__main__":
    problems = [*import_all(), *import_later_ones(), *unused(), *unexplained()]
    print("\n".join(problems))
    sys.exit(bool(problems))
