"""One digest of everything that decides how a line is judged: the code, its libraries, and the settings."""

from __future__ import annotations

import hashlib
import sys
from typing import Final

import msgspec

from importer.rows.batches import Examination
from importer.rows.code_digest import CODE_DIGEST
from importer.rows.rules import versions

# After an update each client's next file is examined whole, once.
_CODE: Final = (CODE_DIGEST, sys.version)


def of_terms(examination: Examination) -> str:
    """Return the digest of what decides how the lines of a file are judged, its header included."""
    terms = examination.terms
    judged_by = (
        (*_CODE, *versions()),
        terms.limits,
        terms.client,
        terms.reference,
        terms.protected,
        examination.table.header,
    )
    return hashlib.sha256(msgspec.json.encode(judged_by)).hexdigest()
