"""Commands of a user who may not look: a sentence and an exit code, never a traceback."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from operate.backup.manifest import Manifest
from operate.backup.packing import Packing
from tests import REPOSITORY
from tests.lab.daemon import Rosterd
from tests.test_docs import subcommands

HEADER = "unique_id,login_source,first_name,last_name,email\n"
ANN = "S-1,OPSCOM,Ann,Lee,ann@school.example\n"
NOBODY = 65534
NOT_PERMITTED = 77
ARGUMENTS = {
    "guide": ["--client", "acme"],
    "show": ["1"],
    "users find": ["S-1"],
    "users deactivate": ["S-1", "--client", "acme"],
    "users reactivate": ["S-1", "--client", "acme"],
    "console user add": ["olga", "--role", "viewer"],
    "console user password": ["olga"],
    "console user remove": ["olga"],
    "history": ["S-1", "--client", "acme"],
    "changes": ["--since", "0"],
    "undo": ["1"],
    "rekey": ["ids.csv", "--client", "acme"],
    "preview": ["1"],
    "approve": ["users.csv", "--client", "acme"],
    "reject": ["users.csv", "--client", "acme"],
    "feed freeze": ["acme", "--from", "2026-07-01", "--until", "2999-12-31", "--apply"],
    "guard pause": ["acme", "created", "--until", "2999-12-31", "--apply"],
    "check": ["users.csv", "--client", "acme"],
    "import": ["users.csv", "--client", "acme"],
    "replay": ["1"],
    "release": ["users.csv", "--client", "acme"],
    "refuse": ["users.csv", "--client", "acme"],
    "export person": ["S-1", "--client", "acme"],
    "export users": ["--client", "acme"],
    "erase": ["S-1", "--client", "acme", "--yes"],
    "mail show": ["1"],
    "mail retry": ["1"],
    "mail drop": ["1"],
    "hook show": ["1"],
    "hook retry": ["1"],
    "hook drop": ["1"],
    "hook test": ["tickets"],
    "client add": ["gamma"],
    "client show": ["acme"],
    "client key add": ["acme", "--key", "users.csv"],
    "client key list": ["acme"],
    "client key revoke": ["acme", "1"],
    "client set": ["acme", "--receipts"],
    "client password": ["acme", "--remove"],
    "client apply": ["users.csv"],
    "client disable": ["acme"],
    "client enable": ["acme"],
    "client remove": ["acme"],
    "pgp trust": ["acme", "users.csv"],
    "backup create": ["backup.tar"],
    "backup verify": ["whole.tar"],
    "restore": ["whole.tar"],
    "store copy": ["--to", "copy.db"],
}
NEEDS_NOTHING = {"fields", "template", "backup verify"}
NEEDS_CONFIG_ONLY = {"guide"}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Yield a folder that everybody may enter, with an installation that has imported a file; it is down."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        for inbox in ("acme", "beta"):
            (path / inbox).mkdir()
        with Rosterd(path, {inbox: path / inbox for inbox in ("acme", "beta")}) as installation:
            installation.drop("users.csv", HEADER + ANN)
            assert 0 == installation.execute("sweep").returncode
        (path / "users.csv").write_text(HEADER + ANN)
        (path / "ids.csv").write_text("old_unique_id,new_unique_id\nS-1,S-2\n")
        (path / "whole.tar").write_bytes(backup())
        (path / "clients.d").mkdir()
        (path / "clients.d" / "gamma.toml").write_text(
            '[[client]]\nname = "gamma"\ninbox = "gamma"\n[[client.feed]]\nname = "a"\nfiles = "*"\nmode = "snapshot"\n'
        )
        yield path


def backup() -> bytes:
    """Return a backup of nothing."""
    file = io.BytesIO()
    nothing = Manifest(
        version="0", made_at=datetime.now(UTC), host="", last_import=0, users=0, has_files=False, members=()
    )
    Packing(file).close(nothing)
    return file.getvalue()


@contextlib.contextmanager
def closed(path: Path) -> Iterator[None]:
    """Let nobody read a file or a folder meanwhile, not even its owner, root aside."""
    before = path.stat().st_mode
    path.chmod(0)
    try:
        yield
    finally:
        path.chmod(before & 0o7777)


def told_somebody(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user who has no rights."""
    is_root = os.geteuid() == 0
    return subprocess.run(
        [sys.executable, "-m", "operate.cli", *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "HOME": str(folder)},
        timeout=180,
        check=False,
        user=NOBODY if is_root else None,
        group=NOBODY if is_root else None,
        extra_groups=[] if is_root else None,
    )


STATE = ["state", "state/rosterd.db"]
CONFIGURATION = ["rosterd.toml", "clients.d", "clients.d/gamma.toml"]


@pytest.mark.parametrize("path", list(subcommands()), ids=" ".join)
@pytest.mark.parametrize("situation", [*STATE, *CONFIGURATION])
def test_every_command_says_that_it_is_not_permitted(folder: Path, situation: str, path: tuple[str, ...]) -> None:
    """Without the right to read configuration, state directory or database a command ends with 77 and one sentence."""
    name = " ".join(path)
    options = [] if name in NEEDS_NOTHING else ["--config", str(folder / "rosterd.toml")]
    with closed(folder / situation):
        done = told_somebody(folder, *path, *ARGUMENTS.get(name, []), *options)
    written = done.stdout + done.stderr
    assert "Traceback" not in written
    assert '"frames"' not in written
    is_served = name in NEEDS_NOTHING or (name in NEEDS_CONFIG_ONLY and situation in STATE)
    assert (0 if is_served else NOT_PERMITTED) == done.returncode, written
    if not is_served:
        assert 1 == len(written.splitlines())
    assert [] == [path.name for path in (folder / "acme").glob("*.csv")]


def test_the_sentence_names_file_and_user(folder: Path) -> None:
    """The sentence says which file, to whom, and what to do."""
    with closed(folder / "state"):
        told = told_somebody(folder, "imports", "--config", str(folder / "rosterd.toml")).stderr
    assert told.startswith(f"{folder}/state/rosterd.db: permission denied to ")
    assert "Run it as root or as the user of the service" in told


def test_the_owner_of_the_folder_is_told_which_file_is_not_theirs(folder: Path) -> None:
    """Where SQLite says only that it cannot open the database, the sentence is that of the file that keeps it out."""
    state, before = folder / "state", (folder / "state").stat()
    if os.geteuid() == 0:
        os.chown(state, NOBODY, NOBODY)
    try:
        with closed(state / "rosterd.db"):
            done = told_somebody(folder, "imports", "--config", str(folder / "rosterd.toml"))
    finally:
        os.chown(state, before.st_uid, before.st_gid)
    assert NOT_PERMITTED == done.returncode
    assert done.stderr.startswith(f"{state}/rosterd.db: permission denied to ")


@pytest.mark.parametrize("command", ["release", "refuse"])
def test_the_sentence_names_the_socket(folder: Path, command: str) -> None:
    """Where the service may not be asked the sentence says so likewise."""
    options = ("users.csv", "--client", "acme", "--config", str(folder / "rosterd.toml"))
    with closed(folder / "state"):
        told = told_somebody(folder, command, *options).stderr
    assert told.startswith(f"{folder}/state/control.sock: permission denied to ")
    assert "Run it as root or as the user of the service" in told


def test_what_cannot_be_read_for_other_reasons_is_a_sentence(folder: Path, tmp_path: Path) -> None:
    """A path that leads through a file ends a command with 2 and a sentence."""
    config = tmp_path / "config.toml"
    shutil.copy(folder / "rosterd.toml", config)
    config.write_text(config.read_text().replace(f"{folder}/state", f"{folder}/users.csv/state"))
    for command in (("status",), ("imports",), ("verify",), ("metrics",), ("export", "S-1", "--client", "acme")):
        done = subprocess.run(
            [sys.executable, "-m", "operate.cli", *command, "--config", config],
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
            timeout=180,
            check=False,
        )
        assert 2 == done.returncode
        assert "Traceback" not in done.stderr
        assert 1 == len(done.stderr.splitlines())
