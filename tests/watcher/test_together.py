"""Small files of several clients that wait at the same time: they share a transaction, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import wait_until
from tests.lab.daemon import Rosterd

CLIENTS = ("acme", "beta", "gamma", "delta")
HEADER = "unique_id,login_source,first_name,last_name,email\n"
SETTINGS: dict[str, dict[str, float | str]] = {
    "intake": {"quiet_s": 0.2},
    "log": {"level": "debug"},
    "guard": {"attribute": "10 %", "attribute_floor": 0},
}
# Each import is counted; that of beta, unless it is alone, fails once all others before it are done.
PLANTED = """
from importer import pipeline
from importer.store.sqlite import database
import_file = pipeline.Importer.import_file
def planted(self, claim, client, **more):
    with open({told!r}, "a") as file:
        print(client.name, self._store._parts is not None, file=file)
    if client.name == "beta" and self._store._parts is not None and {fails}:
        raise OSError(5, "Input/output error")
    return import_file(self, claim, client, **more)
pipeline.Importer.import_file = planted
"""
# Happens once, in a group: before its folders are opened, between the imports of two files, or after the commit.
MISHAP = """
import os, shutil, signal, subprocess
from importer import pipeline
from watcher.inbox import processing
holder, name = {{
    "before": (processing.Processing, "process_together"),
    "between": (pipeline.Importer, "import_file"),
    "after": (processing, "archive_claims"),
}}[{when!r}]
real, left = getattr(holder, name), [{count}]
def planted(*given, **more):
    left[0] -= 1
    if left[0] == 0:
        {what}
    return real(*given, **more)
setattr(holder, name, planted)
"""
TO_ANOTHER_PLACE = "os.rename({0!r}, {0!r} + '-before'); os.symlink({outside!r}, {0!r})"
ERASE = """
        folder = f"/proc/{{subprocess.Popen({command!r}, stdout=open({told!r}, 'w')).pid}}/fd"
        while not any("socket:" in os.readlink(each.path) for each in os.scandir(folder)):  # it has given the order
            os.sched_yield()
"""
REMOVED = "shutil.rmtree({0!r})"


@pytest.fixture
def rosterd(tmp_path: Path) -> Iterator[Rosterd]:
    inboxes = {client: tmp_path / client for client in CLIENTS}
    for inbox in inboxes.values():
        inbox.mkdir()
    with Rosterd(tmp_path, inboxes, settings=SETTINGS) as rosterd:
        yield rosterd


def users(*names: str) -> str:
    return HEADER + "".join(f"{name},OPSCOM,{name},Lee,{name}@school.example\n" for name in names)


def upload_at_once(tmp_path: Path, files: dict[str, str]) -> None:
    """Let a file of each client be there as the service starts, so that all of them are due at once."""
    for client, content in files.items():
        (tmp_path / client / "users.csv").write_text(content)


def wait_for(rosterd: Rosterd, event: str, count: int) -> None:
    wait_until(lambda: len(rosterd.events(event)) >= count, f"{count} x {event}")


def rows(rosterd: Rosterd, statement: str) -> list[tuple[str | int | None, ...]]:
    return [tuple(row.values()) for row in rosterd.query(statement)]


@pytest.mark.parametrize("fails", [False, True])
def test_files_that_wait_together(rosterd: Rosterd, tmp_path: Path, *, fails: bool) -> None:
    """Right, partly right and refused files share a transaction; if one fails, each is imported alone, and once."""
    told = tmp_path / "told"
    rosterd.planted = PLANTED.format(told=str(told), fails=fails)
    bad = users("Ann") + "Bob,OPSCOM,Bob,Lee,\n"
    upload_at_once(tmp_path, {"acme": users("Ann"), "beta": users("Ann"), "gamma": bad, "delta": "name\nAnn\n"})

    rosterd.start()
    wait_for(rosterd, "file.archived", len(CLIENTS))

    tries = told.read_text().splitlines()
    assert "beta True" in tries
    assert fails == ("beta False" in tries)
    assert [("acme",), ("beta",), ("gamma",)] == rows(rosterd, "SELECT client FROM users ORDER BY client")
    outcomes = rows(rosterd, "SELECT client, outcome FROM imports ORDER BY client")
    assert [("acme", "imported"), ("beta", "imported"), ("delta", "refused"), ("gamma", "partly")] == outcomes
    for client in CLIENTS:
        assert 1 == len([*(tmp_path / client / ".bak").glob("*.result.txt")])
        assert [] == [*(tmp_path / client / ".work").iterdir()]
    assert [] == [*rosterd.events("file.deferred"), *rosterd.events("file.failed")]


def hold_one_of_all(rosterd: Rosterd, tmp_path: Path) -> None:
    """Have a file of beta, which gives all its users other names, go on hold in a transaction with those of others."""
    upload_at_once(tmp_path, {client: users("Ann", "Bob") for client in CLIENTS})
    rosterd.start()
    wait_for(rosterd, "file.archived", len(CLIENTS))
    rosterd.stop()
    renamed = users("Ann", "Bob").replace(",Lee,", ",Roy,")
    upload_at_once(tmp_path, {"acme": users("Eve"), "beta": renamed, "gamma": users("Eve"), "delta": users("Eve")})
    told = tmp_path / "told"
    rosterd.planted = PLANTED.format(told=str(told), fails=False)
    rosterd.start()
    rosterd.wait_for_event("hold.placed", client="beta")
    assert "beta True" in told.read_text().splitlines()


def test_a_file_on_hold_takes_nothing_from_others(rosterd: Rosterd, tmp_path: Path) -> None:
    """What a file that goes on hold has done is rolled back, and nothing of those beside it."""
    hold_one_of_all(rosterd, tmp_path)
    wait_for(rosterd, "file.archived", 2 * len(CLIENTS) - 1)

    assert [("Lee",), ("Lee",)] == rows(rosterd, "SELECT last_name FROM users WHERE client = 'beta'")
    newcomers = "SELECT client FROM users WHERE unique_id = 'Eve' ORDER BY client"
    assert [("acme",), ("delta",), ("gamma",)] == rows(rosterd, newcomers)


def test_a_file_that_was_on_hold_shares_nothing(rosterd: Rosterd, tmp_path: Path) -> None:
    """What was decided on it is done, also where files of others wait beside it that share a transaction."""
    hold_one_of_all(rosterd, tmp_path)

    with rosterd.stopped():  # so that all are claimed together; the newer file of beta replaces the one on hold
        upload_at_once(tmp_path, {client: users("Kim") for client in CLIENTS})
        for client in CLIENTS:
            if client != "beta":
                (tmp_path / client / "more.csv").write_text(users("Pat"))
    wait_for(rosterd, "file.archived", 4 * len(CLIENTS) - 1)

    outcomes = rows(rosterd, "SELECT outcome, code FROM imports WHERE client = 'beta' ORDER BY id")
    assert [*[("imported", "")] * 2, ("refused", "guard.superseded")] == sorted(outcomes)
    assert [("superseded",)] == rows(rosterd, "SELECT decision FROM on_hold")


def group_with(rosterd: Rosterd, tmp_path: Path, when: str, what: str) -> None:
    """Start the service on a file of each client, and let something happen while they share a transaction."""
    count = 3 if when == "between" else 1  # those of acme and beta are imported, and not committed
    rosterd.planted = MISHAP.format(when=when, count=count, what=what)
    upload_at_once(tmp_path, {client: users("Ann") for client in CLIENTS})
    rosterd.start()


@pytest.mark.parametrize(
    ("when", "folder", "what"),
    [
        ("before", "delta", TO_ANOTHER_PLACE),
        ("between", "delta", TO_ANOTHER_PLACE),
        ("after", "delta/.bak", TO_ANOTHER_PLACE),
        ("before", "delta", REMOVED),
        ("between", "delta/.work", REMOVED),
        ("after", "delta/.bak", REMOVED),
        ("after", "delta", REMOVED),
    ],
)
def test_a_folder_that_goes_away(rosterd: Rosterd, tmp_path: Path, when: str, folder: str, what: str) -> None:
    """Files of others are imported and archived at once, nothing is written where a link leads, and no row is left."""
    outside = tmp_path / "outside"
    outside.mkdir()
    group_with(rosterd, tmp_path, when, what.format(str(tmp_path / folder), outside=str(outside)))

    others = set(CLIENTS) - {"delta"}
    wait_until(lambda: others <= {entry["client"] for entry in rosterd.events("file.archived")}, "those of others")
    assert [] == [*outside.iterdir()]
    path = tmp_path / folder
    if path.is_symlink():
        path.unlink()
        Path(f"{path}-before").rename(path)
    (tmp_path / "delta").mkdir(exist_ok=True)
    rosterd.stop()
    assert [] == rows(rosterd, "SELECT claim_id FROM imports WHERE client <> 'delta' AND archived_at IS NULL")
    assert 0 == rosterd.execute("sweep").returncode
    assert [(1,)] * len(others) == rows(rosterd, "SELECT count(*) FROM imports WHERE client <> 'delta' GROUP BY client")


def test_a_second_signal_to_stop(rosterd: Rosterd, tmp_path: Path) -> None:
    """It takes back what a group has done so far; the next start imports each file once."""
    group_with(rosterd, tmp_path, "between", "[os.kill(os.getpid(), signal.SIGTERM) for _ in range(2)]")
    rosterd.stop()
    assert [] == rows(rosterd, "SELECT claim_id FROM imports")

    rosterd.planted = ""
    rosterd.start()
    wait_for(rosterd, "file.archived", len(CLIENTS))
    assert [(client,) for client in sorted(CLIENTS)] == rows(rosterd, "SELECT client FROM imports ORDER BY client")


def test_another_configuration(rosterd: Rosterd, tmp_path: Path) -> None:
    """A client that leaves the configuration while its file shares a transaction has it imported, and then no more."""
    rosterd.start()
    rosterd.stop()
    text = rosterd.config.read_text()
    start = text.index("[[client]]", text.index("beta") - 40)
    without = text[:start] + text[text.index("[[client]]", start + 1) :]
    assert 'name = "beta"' not in without
    what = f"open({str(rosterd.config)!r}, 'w').write({without!r}); os.kill(os.getpid(), signal.SIGHUP)"
    group_with(rosterd, tmp_path, "between", what)
    wait_for(rosterd, "file.archived", len(CLIENTS))
    rosterd.wait_for_event("config.reloaded")

    (tmp_path / "beta" / "more.csv").write_text(users("Bob"))
    (tmp_path / "acme" / "more.csv").write_text(users("Bob"))
    wait_for(rosterd, "file.archived", len(CLIENTS) + 1)
    assert [("acme", 2), ("beta", 1), ("delta", 1), ("gamma", 1)] == rows(
        rosterd, "SELECT client, count(*) FROM users GROUP BY client ORDER BY client"
    )


def test_an_order_meanwhile(rosterd: Rosterd, tmp_path: Path) -> None:
    """A user who is erased while a file that names her shares a transaction is erased after that, with the history."""
    upload_at_once(tmp_path, {"acme": users("Ann", "Bob")})
    rosterd.start()
    wait_for(rosterd, "file.archived", 1)
    rosterd.stop()
    told = tmp_path / "told"
    command = [
        sys.executable,
        "-m",
        "operate.cli",
        "erase",
        "Ann",
        "--client=acme",
        "--yes",
        f"--config={rosterd.config}",
    ]
    group_with(rosterd, tmp_path, "between", ERASE.format(command=command, told=str(told)))
    wait_for(rosterd, "file.archived", 1 + len(CLIENTS))
    wait_until(lambda: told.exists() and "removed: users 1" in told.read_text(), "the answer")
    assert [("Bob",)] == rows(rosterd, "SELECT unique_id FROM users WHERE client = 'acme'")
