"""
Everything that can be wrong with a row or a value, or is worth a warning, and what to do about it.

The key is the code, "/" and what is particular to the case. No template has a parameter with the value of a cell, but
those whose key ends in "!": those are for the failed CSV alone.
"""

from __future__ import annotations

from typing import Final

from importer.wording.row_reasons import ROW_REASONS
from importer.wording.template import Reason
from importer.wording.warning_reasons import WARNING_REASONS

REASONS: Final[dict[str, Reason]] = {**ROW_REASONS, **WARNING_REASONS}
