"""
Exit codes of the program.

From 64 on the codes are those of sysexits.h: systemd restarts the service after some of them, the others need a person.
"""

from __future__ import annotations

from typing import Final

EXIT_WOULD_FAIL: Final = 1
EXIT_CANNOT_ANSWER: Final = 2  # also click's own, for a wrong command line
EXIT_UNUSABLE_DATABASE: Final = 65
EXIT_UNEXPECTED: Final = 70
EXIT_IO_ERROR: Final = 74
EXIT_RUNNING_ALREADY: Final = 75
EXIT_NOT_PERMITTED: Final = 77
EXIT_CONFIG: Final = 78
