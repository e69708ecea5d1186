"""Commands on both databases."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.lab.daemon import Rosterd


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))]
)
def on_both(request: pytest.FixtureRequest) -> Callable[[Rosterd], None]:
    """Return what puts the database of an installation where it is to be: a file, then a server with the same rows."""
    if request.param == "sqlite":
        return lambda _: None
    server = request.getfixturevalue("postgresql")
    return lambda installation: installation.move_to(server)
