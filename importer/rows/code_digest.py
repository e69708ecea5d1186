"""Which code of the importer this process runs, as a digest: an update replaces files under a running service."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


def _code(folder: Traversable) -> Iterator[Traversable]:
    """Yield the files of a package, sources or compiled, also inside a zip file."""
    for each in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if each.is_dir() and each.name != "__pycache__":
            yield from _code(each)
        elif each.name.endswith((".py", ".pyc")):
            yield each


def _package() -> Traversable:
    folder = Path(__file__).parents[1]
    if folder.is_dir():
        return folder
    from importlib.resources import files  # takes 3 ms of each worker, and is only needed for a zip file

    return files("importer")


def _digest_of_code() -> str:
    """Return a digest of the whole importer, in 3 ms."""
    digest = hashlib.sha256()
    for file in _code(_package()):
        digest.update(file.read_bytes())
    return digest.hexdigest()


# Of the whole package, so that no module can be forgotten. Taken at the start, when the files are still those that run.
CODE_DIGEST: Final = _digest_of_code()
