"""Active or not: who is inactive stays recorded, and holds no address and no user name."""

from __future__ import annotations

from typing import Final

from importer.rows.validate import KEYS

# Who made a user inactive, in `users.inactive_by`. A file that has the user makes it active again, unless it was the
# operator.
OPERATOR: Final = "operator"
UNDO: Final = "undo"
SNAPSHOT: Final = "snapshot"  # it was missing from the files of its feed
STATUS: Final = "status"  # a row said so: another has to say that it is active, while the client has such a column

TAKE_KEYS: Final = ", ".join(
    f"{key} = iif(inactive_by IS NULL, casefolded({attribute}), NULL)" for attribute, key in KEYS.items()
)
