"""What several modules of fault tests use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Needs
from tests.faults.trials import Trials


@pytest.fixture
def trials(tmp_path: Path, needs: Needs) -> Iterator[Trials]:
    """Yield what runs many trials side by side."""
    needs("strace")
    with Trials(tmp_path) as running:
        yield running
