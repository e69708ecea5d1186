"""An installation with a console; the daemon runs unless a test stops it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.console import Console, let_in
from tests.lab.daemon import Rosterd, make_inboxes

HEADER = "unique_id,login_source,first_name,last_name,email\n"
ANN = "S-1,OPSCOM,Ann,Lee,ann@school.example\n"
BOB = "S-2,OPSCOM,Bob,Roy,bob@school.example\n"
BAD = "S-3,OPSCOM,Cy,Poe,cy at school\n"


@pytest.fixture(scope="module")
def rosterd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rosterd]:
    """Yield a running daemon that has imported one file of acme and one of beta."""
    folder = tmp_path_factory.mktemp("console")
    settings = {"console": {"listen": "127.0.0.1:0"}}
    with Rosterd(folder, make_inboxes(folder), settings=settings) as installation:
        let_in(folder / "state", "olga")
        let_in(folder / "state", "vera", "viewer")
        let_in(folder / "state", "acmeonly", "operator", "acme")
        installation.start()
        installation.drop("users.csv", HEADER + ANN + BOB + BAD)
        installation.drop("members.csv", HEADER + "B-1,OPSCOM,Zed,Ace,zed@beta.example\n", "beta")
        installation.wait_for_imports(2)
        yield installation


@pytest.fixture(scope="module")
def console(rosterd: Rosterd) -> Iterator[Console]:
    """Yield the console of that daemon."""
    with Console(rosterd.config, rosterd.config.parent / "console.log") as running:
        yield running


@pytest.fixture
def state_dir(rosterd: Rosterd) -> Path:
    """Return where users of the console are recorded."""
    return rosterd.config.parent / "state"
