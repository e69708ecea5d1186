"""What several modules of fault tests use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Needs
from tests.faults.trials import Trials


@pytest.fixture(scope="module")
def trials(needs: Needs) -> Iterator[Trials]:
    """Yield what runs many trials side by side: its processes take longer to load than a trial."""
    needs("strace")
    with Trials() as running:
        yield running
