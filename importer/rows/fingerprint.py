"""What says how a line is judged, in one digest: the code, what it is built on, and the settings."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

import msgspec

from importer.rows.batches import Examination


def _code(folder: Traversable) -> Iterator[Traversable]:
    """Yield the files of a package, sources or compiled, also inside a zip file."""
    for each in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if each.is_dir() and each.name != "__pycache__":
            yield from _code(each)
        elif each.name.endswith((".py", ".pyc")):
            yield each


def _digest_of_code() -> str:
    """Return a digest of the whole importer."""
    digest = hashlib.sha256()
    for file in _code(files("importer")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


# Of the whole package, so that no module can be forgotten: after an update each client's next file is examined whole,
# once. Taken at the start, when the files are still those that run.
_CODE: Final = (_digest_of_code(), sys.version, version("email-validator"), version("idna"))


def of_terms(examination: Examination) -> str:
    """Return a digest of all that says how the lines of a file are judged; the header is a part of it."""
    terms = examination.terms
    judged_by = (_CODE, terms.limits, terms.client, terms.reference, examination.table.header)
    return hashlib.sha256(msgspec.json.encode(judged_by)).hexdigest()
