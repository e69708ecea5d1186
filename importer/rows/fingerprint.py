"""What says how a line is judged, in one digest: the code, what it is built on, and the settings."""

from __future__ import annotations

import hashlib
import sys
from importlib.metadata import version
from typing import Final

import msgspec

from importer.rows.batches import Examination
from importer.rows.code_digest import CODE_DIGEST

# After an update each client's next file is examined whole, once.
_CODE: Final = (CODE_DIGEST, sys.version, version("email-validator"), version("idna"))


def of_terms(examination: Examination) -> str:
    """Return a digest of all that says how the lines of a file are judged; the header is a part of it."""
    terms = examination.terms
    judged_by = (_CODE, terms.limits, terms.client, terms.reference, examination.table.header)
    return hashlib.sha256(msgspec.json.encode(judged_by)).hexdigest()
