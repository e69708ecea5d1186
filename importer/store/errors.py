"""Errors of the database. Outside of `importer/store` only these are known, not SQLite's."""

from __future__ import annotations


class StoreError(Exception):
    """The database could not do what was asked. The text is the database's own and quotes no data."""

    remedy = ""  # what the operator does about it; of a server alone

    @property
    def advice(self) -> str:
        """Return the text, with the remedy."""
        return f"{self}: {self.remedy}" if self.remedy else str(self)


class StoreUnavailable(StoreError):
    """The cause is the host, not the statement: it may pass, or the operator can fix it."""


class StoreBusy(StoreUnavailable):
    """Another program holds the database."""


class StoreConflict(StoreBusy):
    """Two transactions were in each other's way, and this one was rolled back: the same may go well at once."""


class StoreLocked(StoreBusy):
    """Another host is working on a file of the same client."""


class StoreFull(StoreUnavailable):
    """The disk of the database, or of its temporary files, is full."""


class StoreReadOnly(StoreUnavailable):
    """The database may be read, and not be written."""


class StoreUnopened(StoreUnavailable):
    """The database, or a file that belongs to it, cannot be opened."""


class StoreUnreachable(StoreUnavailable):
    """The server of the database does not answer, or answers nobody."""


class StoreDiskFailed(StoreUnavailable):
    """The disk could not be read, written or synced."""


class StoreOutdated(StoreError):
    """The database is of an earlier build, and only the service brings it up to date."""


class StoreInterrupted(StoreUnavailable):
    """A statement was aborted, as requested."""


class StoreCorrupt(StoreError):
    """The file is damaged, or is not a database."""


class StoreUnusable(Exception):
    """The database cannot be used, and only a person can decide what to do: corrupt, foreign, or too new."""
