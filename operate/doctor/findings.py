"""What `rosterd doctor` finds, one line each: what was checked, the result, and what to do about it."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from datetime import datetime

import msgspec


class Severity(enum.IntEnum):
    """How severe it is; the most severe is the exit status."""

    OK = 0
    WARNING = 1  # works, but not as well as it could, or not for all
    FAULT = 2  # something does not work, or is not safe


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was checked."""

    level: Severity
    topic: str  # "database", "client acme"
    what: str
    remedy: str = ""
    pgp_key_expires_at: datetime | None = None  # if it is about our key for encrypted uploads, and that expires


Findings = Iterator[CheckResult]


class Topic:
    """Makes findings about one topic."""

    def __init__(self, name: str) -> None:
        self._name = name

    def ok(self, what: str) -> CheckResult:
        """Return that something is right."""
        return CheckResult(level=Severity.OK, topic=self._name, what=what)

    def hint(self, what: str, remedy: str) -> CheckResult:
        """Return something that is right, and how it could be better."""
        return CheckResult(level=Severity.OK, topic=self._name, what=what, remedy=remedy)

    def warning(self, what: str, remedy: str = "") -> CheckResult:
        """Return something that the operator should know."""
        return CheckResult(level=Severity.WARNING, topic=self._name, what=what, remedy=remedy)

    def fault(self, what: str, remedy: str = "") -> CheckResult:
        """Return something that the operator must fix."""
        return CheckResult(level=Severity.FAULT, topic=self._name, what=what, remedy=remedy)
