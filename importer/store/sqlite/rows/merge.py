"""What a row changes of the user that is recorded: its values, and whether it is active."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

from importer import attributes
from importer.rows.batches import Terms
from importer.rows.validate import CLEARED, User
from importer.store.sqlite.rows.inactive import FAILS, Inactive
from importer.store.sqlite.rows.protected import Protected
from importer.store.sqlite.rows.rejected import TAKEN, RejectedRows

Known = tuple[int, str | None, str | None, User]  # rowid, feeds, inactive_by, and the values in the file's columns
STATE: Final = attributes.STATUS.name
_NOTHING: Final[tuple[tuple[str, ...], User]] = ((), ())


class Merge:
    """Decides on the rows of one file. `inactive` counts those who come back or leave, `protected` what is left out."""

    def __init__(self, columns: Sequence[str], terms: Terms, rejected: RejectedRows) -> None:
        self._columns = columns
        self._id_at = columns.index("unique_id")
        self._is_key = [column in TAKEN for column in columns]
        self._status_at = columns.index(STATE) if STATE in columns else None
        self.inactive = Inactive(columns, terms.client, rejected)
        self.protected = Protected(columns, terms, rejected)

    def changes(self, user: User, known: Known) -> tuple[tuple[str, ...], User] | None:
        """Return the columns that a row changes, and their values. None: the row fails."""
        _, _, inactive_by, old = known
        differs = [now is not None and now != was for now, was in zip(user, old, strict=False)]
        if True not in differs and not inactive_by and self._status_at is None:  # as most are
            return _NOTHING
        state, has_left = inactive_by, False
        if self._status_at is not None:
            differs[self._status_at], has_left = False, user[self._status_at] == attributes.INACTIVE
        if user[self._id_at] in self.protected.users:
            self.protected.keep(user, old, differs, is_moved=has_left != bool(inactive_by))
            return _NOTHING
        if inactive_by or has_left:  # has no keys, whatever the file says
            state = self.inactive.state_after(user, old, inactive_by)
            if state == FAILS:
                return None
            differs = [is_other and not is_key for is_other, is_key in zip(differs, self._is_key, strict=True)]
        if self.protected.has_fields:
            differs = self.protected.without_fields(user, old, differs)
        values = [None if now == CLEARED else now for now in itertools.compress(user, differs)]
        if state != inactive_by:
            return (*itertools.compress(self._columns, differs), STATE), (*values, state)
        if any(differs) and values != list(itertools.compress(old, differs)):
            return tuple(itertools.compress(self._columns, differs)), tuple(values)
        return _NOTHING
