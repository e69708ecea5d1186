"""The rejected rows of a file, which are in the working copy; what the server has of them in the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from importer.model import ProblemGroup, Tally
from importer.store.postgresql.rows.staging import Staging
from importer.store.recording import FailedRow
from importer.store.sqlite.rows.rejected import RejectedRows

_PROBLEMS: Final = ("client", "import_id", "line", "code", "field", "detail")


class Rejections:
    """The rejected rows, which are in the working copy."""

    def __init__(self, rejected: RejectedRows, staging: Staging) -> None:
        self._rejected, self._staging = rejected, staging
        self.recheck_lines = rejected.recheck_lines
        self.count_listed, self.lines = rejected.count_listed, rejected.lines

    def listed(self) -> contextlib.AbstractContextManager[Iterator[FailedRow]]:
        """Give the rejected rows that the failed CSV has room for, in file order."""
        return self._rejected.listed()

    def record_problems(self, import_id: int, tally: Tally) -> tuple[ProblemGroup, ...]:
        """Write the problems to import_problems, as many as it has room for; return all grouped, most rows first."""
        groups = self._rejected.record_problems(import_id, tally)
        if tally.failed:
            self._staging.hand_over("import_problems", _PROBLEMS, "import_problems", {"client": ":client"})
        return groups
