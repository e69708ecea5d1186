"""What `rosterd doctor` asks the programs of the host for all clients at once: one process for each takes too long."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from operate.doctor.logins import key_files
from operate.doctor.sshd import Configurations
from operate.provision import accounts, keys, ownership
from operate.provision.steps import StepFailed


class Survey:
    """The configuration of sshd for each login, fingerprints of keys, owners of files; needs root, else it is empty."""

    def __init__(self, clients: Iterable[tuple[str, str]]) -> None:
        """`clients` has login and inbox of each."""
        self._owners: dict[str, ownership.Ownership] = {}
        self.configurations = Configurations()
        self.fingerprints: dict[str, str] = {}
        logins = {login: inbox for login, inbox in clients if accounts.user_exists(login)}
        if os.geteuid() == 0 and logins:
            self.fingerprints = keys.fingerprints(key for login in logins for key in self._keys(login))
            with contextlib.suppress(
                StepFailed
            ):  # each inbox is then asked for, so that only its own client has the line
                self._owners = ownership.survey(logins.values())

    def ownership_of(self, inbox: str) -> ownership.Ownership:
        """Return who owns what in an inbox. Raises StepFailed."""
        return self._owners[inbox] if inbox in self._owners else ownership.survey([inbox])[inbox]

    def _keys(self, login: str) -> Iterator[str]:
        with contextlib.suppress(StepFailed, OSError, keys.KeyRefused):  # the findings about the client say so
            for path in key_files(login, self.configurations.of(login)):
                with contextlib.suppress(OSError, keys.KeyRefused):
                    yield from keys.keys_in(Path(os.path.realpath(path)))
