"""The daemon under load, killed at random again and again; its clients upload by real SFTP meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Needs
from tests.faults import harnesses
from tests.faults.trials import FULL, Trials, told

pytestmark = pytest.mark.faults

CLIENTS = 20 if FULL else 6
LIVES_S = harnesses.lives_s(1000, longest_s=0.8) if FULL else harnesses.lives_s(200, longest_s=0.3)


def test_killed_under_load(tmp_path: Path, needs: Needs) -> None:
    """Whenever the daemon is killed while many clients upload: every file is imported once, in the order it came."""
    needs("sshd", "sftp")
    with Trials() as trials:
        found = harnesses.killed_under_load(trials, tmp_path, clients=CLIENTS, lives_s=LIVES_S)
    assert not found, told(found)
