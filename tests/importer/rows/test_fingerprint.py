"""A change of the rules is noticed, whoever forgets to give it a number."""

from __future__ import annotations

import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import REPOSITORY

DIGEST = "from importer.rows import fingerprint; print(fingerprint._CODE)"
# Imports one file in the current folder; the number is that of the file.
IMPORT = """
import pathlib, sys
from importer.rows import delta
from tests.engine import HEADER, Engine

delta.MIN_BYTES = 0
engine = Engine(pathlib.Path())
engine._files = int(sys.argv[1])
users = (f"S{number},OPSCOM,Ann,Lee,ann{number}@example.org,ann-lee-{number}" for number in range(20))
tally = engine.rows(*users).tally
print(tally.created, tally.unchanged, tally.failed)
engine.close()
"""


def package(folder: Path) -> Path:
    """Copy the package into a folder, without what is compiled."""
    shutil.copytree(REPOSITORY / "importer", folder / "importer", ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "importer"


def run(code: str, *args: str, at: Path, folder: Path) -> str:
    """Run code with the package from `at`; the rest comes from the repository."""
    path = f"{at}{os.pathsep}{REPOSITORY}"
    command = [sys.executable, "-B", "-c", code, *args]
    return subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": path}, check=True, capture_output=True, text=True
    ).stdout


def as_folder(folder: Path) -> Path:
    return folder


def as_zip(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder), "zip", folder))


def as_compiled(folder: Path) -> Path:
    for source in (folder / "importer").rglob("*.py"):
        compiled, mode = source.with_suffix(".pyc"), py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(source), str(compiled), source.name, doraise=True, invalidation_mode=mode)
        source.unlink()
    return folder


@pytest.mark.parametrize("installed", [as_folder, as_zip, as_compiled])
def test_any_change_of_the_code_gives_another_digest(tmp_path: Path, installed: object) -> None:
    """However the package is installed, the digest is that of its code, and another one after any change."""
    assert callable(installed)
    digests = []
    for name, change in (("one", ""), ("same", ""), ("other", "\nCHANGED = True\n")):
        with (package(tmp_path / name) / "file" / "header.py").open("a") as module:
            module.write(change)
        digests.append(run(DIGEST, at=installed(tmp_path / name), folder=tmp_path))
    assert digests[0] == digests[1] != digests[2]


def test_changed_rules_judge_lines_that_stayed_the_same(tmp_path: Path) -> None:
    """A row that was right by the rules of yesterday and is wrong by those of today fails, though its line stayed."""
    attributes = package(tmp_path / "code") / "attributes.py"
    assert "20 0 0\n" == run(IMPORT, "0", at=tmp_path / "code", folder=tmp_path)
    assert "0 20 0\n" == run(IMPORT, "1", at=tmp_path / "code", folder=tmp_path)
    user_name = 'name="user_name", limit='
    attributes.write_text(attributes.read_text().replace(f"{user_name}50", f"{user_name}9"))
    assert "0 10 10\n" == run(IMPORT, "2", at=tmp_path / "code", folder=tmp_path)
