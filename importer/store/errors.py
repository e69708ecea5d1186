"""What can go wrong with the database, in words of ours: nobody outside `importer/store` knows SQLite's."""

from __future__ import annotations


class StoreError(Exception):
    """The database did not do what it was told. The text is the database's own and quotes no data."""


class StoreUnavailable(StoreError):
    """The host is to blame, not what was asked: time, or the operator, may cure it."""


class StoreBusy(StoreUnavailable):
    """Another program holds the database."""


class StoreFull(StoreUnavailable):
    """The disk of the database, or of its temporary files, is full."""


class StoreReadOnly(StoreUnavailable):
    """The database may be read, and not be written."""


class StoreUnopened(StoreUnavailable):
    """The database, or a file that belongs to it, cannot be opened."""


class StoreDiskFailed(StoreUnavailable):
    """The disk could not be read, written or synced."""


class StoreInterrupted(StoreUnavailable):
    """A statement was left halfway, as it was asked to."""


class StoreCorrupt(StoreError):
    """The file is damaged, or is no database."""


class StoreUnusable(Exception):
    """The database cannot be worked with and must be left as it is for a person: corrupt, foreign, or too new."""
