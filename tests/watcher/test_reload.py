from __future__ import annotations

import contextlib
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Needs
from tests.lab import wait_until
from tests.lab.daemon import Rosterd, Setting

HEADER = "unique_id,login_source,first_name,last_name,email\n"
ANN = "1,OPSCOM,Ann,Lee,ann@school.example\n"
OPERATOR = "operator@school.example"


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "acme"
    folder.mkdir()
    return folder


@pytest.fixture
def rosterd(tmp_path: Path, inbox: Path) -> Iterator[Rosterd]:
    """Yield the running daemon with one client."""
    with Rosterd(tmp_path, {"acme": inbox}, settings={"mail": {"operator": [OPERATOR]}}) as installation:
        installation.start()
        yield installation


def test_new_client_is_served_after_a_reload(rosterd: Rosterd, tmp_path: Path) -> None:
    """A client that was added is watched and served without a restart."""
    new = tmp_path / "beta"
    new.mkdir()

    rosterd.reload(lambda text: f'{text}\n[[client]]\nname = "beta"\ninbox = "{new}"\n')
    rosterd.wait_for_event("config.reloaded")
    (new / "users.csv").write_text(HEADER + ANN)
    rosterd.wait_for_event("file.archived", client="beta")

    assert list(rosterd.users("beta")) == ["1"]


def test_removed_client_is_left_alone_after_a_reload(rosterd: Rosterd, inbox: Path, tmp_path: Path) -> None:
    """A client that was taken out of the configuration is not served any more; its files stay where they are."""
    new = tmp_path / "beta"
    new.mkdir()

    rosterd.reload(lambda text: text.replace('"acme"', '"beta"').replace(str(inbox), str(new)))
    rosterd.wait_for_event("config.reloaded")
    (inbox / "users.csv").write_text(HEADER + ANN)
    (new / "users.csv").write_text(HEADER + ANN)
    rosterd.wait_for_event("file.archived", client="beta")

    assert (inbox / "users.csv").exists()
    assert rosterd.events("file.claimed", client="acme") == []


def test_upload_of_a_client_that_is_taken_out(rosterd: Rosterd, inbox: Path, tmp_path: Path) -> None:
    """An event of a client in the moment in which the configuration loses it is forgotten."""
    new = tmp_path / "beta"
    new.mkdir()
    addition = f'\n[[client]]\nname = "beta"\ninbox = "{new}"\n'

    def wait_for_reloads(count: int) -> None:
        wait_until(lambda: len(rosterd.events("config.reloaded")) == count, f"{count} reloads")

    for number in range(1, 4):
        rosterd.reload(lambda text: text + addition)
        wait_for_reloads(2 * number - 1)
        with rosterd.stopped():  # so that it hears of the upload and of the reload at once
            (new / "users.csv").write_text(HEADER + ANN)
            rosterd.reload(lambda text: text.replace(addition, ""))
        wait_for_reloads(2 * number)
    (inbox / "users.csv").write_text(HEADER + ANN)
    rosterd.wait_for_event("file.archived", client="acme")

    assert list(rosterd.users("acme")) == ["1"]


def test_inbox_of_a_client_moves(tmp_path: Path, inbox: Path) -> None:
    """After a client has got another inbox its uploads there are heard at once, and those in the old one stay."""
    new = tmp_path / "new"
    new.mkdir()
    with Rosterd(tmp_path, {"acme": inbox}, settings={"log": {"level": "debug"}}) as rosterd:
        rosterd.start()
        reload(rosterd, str(inbox), str(new))
        wait_until(lambda: len(rosterd.events("sweep.finished")) == 2, "the sweep of the new inbox")
        (inbox / "old.csv").write_text(HEADER + ANN)
        (new / "new.csv").write_text(HEADER + ANN)
        rosterd.wait_for_event("file.archived", file="new.csv")

        assert 2 == len(rosterd.events("sweep.finished"))
        assert ["file.imported"] == [e["event"] for e in rosterd.events("file.imported")]
        assert (inbox / "old.csv").exists()


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """Return a folder for an inbox of acme's, in which a file waits."""
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "new.csv").write_text(HEADER + ANN.replace("Ann", "Eve"))
    return folder


@contextlib.contextmanager
def claimed(rosterd: Rosterd, inbox: Path, tmp_path: Path) -> Iterator[None]:
    """Let a file be claimed that cannot be imported meanwhile, as somebody else writes to the database."""
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "rosterd.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        (inbox / "old.csv").write_text(HEADER + ANN)
        rosterd.wait_for_event("file.claimed")
        yield


@pytest.mark.parametrize("by", ["reload", "restart", "reload and restart"])
def test_what_was_claimed_in_the_old_inbox_is_finished(
    rosterd: Rosterd, inbox: Path, new: Path, tmp_path: Path, by: str
) -> None:
    """After the inbox of a client has moved, files in `.work` of the old one are imported, before any newer one."""
    with claimed(rosterd, inbox, tmp_path):
        if by != "restart":
            reload(rosterd, str(inbox), str(new))
        if by != "reload":
            rosterd.kill9()
        if by == "restart":
            rosterd.reload(lambda text: text.replace(str(inbox), str(new)))
    if by != "reload":
        rosterd.start()
    rosterd.wait_for_event("file.archived", file="new.csv")

    assert ["old.csv", "new.csv"] == [event["file"] for event in rosterd.events("file.imported")]
    assert ["Eve"] == [user["first_name"] for user in rosterd.users().values()]
    assert {str(inbox)} == {event["inbox"] for event in rosterd.events("claims.followed")}
    assert [[], []] == [[*folder.glob(".work/*")] for folder in (inbox, new)]
    assert [1, 1] == [len([*folder.glob(".bak/*.result.txt")]) for folder in (inbox, new)]


BLOCKED = """
import os
from watcher.inbox import processing
archive = processing.archive_claims
def blocked(*arguments, **options):
    if os.path.exists({block!r}):
        raise OSError(28, "No space left on device")
    return archive(*arguments, **options)
processing.archive_claims = blocked
"""


def test_what_was_recorded_in_the_old_inbox_is_not_missed(tmp_path: Path, inbox: Path, new: Path) -> None:
    """A file that is recorded and still in `.work` of the old inbox is archived there, and not said to be missing."""
    block = tmp_path / "block"
    block.touch()
    with Rosterd(tmp_path, {"acme": inbox}, settings={"log": {"level": "debug"}}) as rosterd:
        rosterd.planted = BLOCKED.format(block=str(block))
        rosterd.start()
        (inbox / "old.csv").write_text(HEADER + ANN)
        rosterd.wait_for_event("file.deferred")
        swept = len(rosterd.events("sweep.finished"))
        reload(rosterd, str(inbox), str(new))
        wait_until(lambda: len(rosterd.events("sweep.finished")) > swept, "the sweep of the new inbox")
        block.unlink()
        rosterd.wait_for_event("file.archived", file="old.csv")
        assert [] == rosterd.events("archive.missing")


def test_an_inbox_that_moves_with_all_that_is_in_it(rosterd: Rosterd, inbox: Path, tmp_path: Path) -> None:
    """A folder that was renamed, together with its claims, is resumed."""
    with claimed(rosterd, inbox, tmp_path):
        inbox.rename(tmp_path / "new")
        reload(rosterd, str(inbox), str(tmp_path / "new"))
    rosterd.wait_for_event("file.archived", file="old.csv")
    assert not inbox.exists()


def test_what_was_claimed_of_a_client_that_is_taken_out(
    rosterd: Rosterd, inbox: Path, new: Path, tmp_path: Path
) -> None:
    """What is in `.work` of a client that is taken out of the configuration stays there, and the log says where."""
    with claimed(rosterd, inbox, tmp_path):
        before = (tmp_path / "rosterd.toml").read_text()
        rosterd.reload(lambda text: text.replace('"acme"', '"beta"').replace(str(inbox), str(new)))
        left = rosterd.wait_for_event("claims.left", client="acme")
    assert (str(inbox), 1) == (left["inbox"], left["files"])
    rosterd.reload(lambda _: before)
    rosterd.wait_for_event("file.archived", client="acme")


def reload(rosterd: Rosterd, old: str = "", new: str = "") -> None:
    """Let the daemon read its configuration again, with one text in place of another."""
    before = len(rosterd.events("config.reloaded"))
    rosterd.reload(lambda text: text.replace(old, new))
    wait_until(lambda: len(rosterd.events("config.reloaded")) > before, "the reload")


def test_holds_go_on_over_reloads(tmp_path: Path, inbox: Path) -> None:
    """A held file is given up in its time, however often the configuration is read again, and is told of once."""
    settings = {"intake": {"quiet_s": 0.2, "resume_grace_s": 3.0}}
    with Rosterd(tmp_path, {"acme": inbox}, settings=settings) as rosterd:
        rosterd.start()
        (inbox / "users.csv").write_text(HEADER + "1,OPSCOM")
        rosterd.wait_for_event("file.held")

        def reloaded() -> bool:
            reload(rosterd)
            return bool(rosterd.events("file.refused"))

        wait_until(reloaded, "the end of the hold")
        assert [1, 1] == [len(rosterd.events(name)) for name in ("file.held", "file.refused")]


def test_trouble_is_told_once_over_reloads(tmp_path: Path, inbox: Path) -> None:
    """What was told once is not told again because the configuration was read again."""
    settings: dict[str, dict[str, Setting]] = {
        "service": {"ping_url": "http://127.0.0.1:1/secret", "sweep_interval_s": 0.5},
    }
    clients = {"acme": inbox, "beta": tmp_path / "missing"}
    once = ("file.held", "file.ignored", "inbox.unusable", "ping.failed")
    with Rosterd(tmp_path, clients, settings=settings) as rosterd:
        (tmp_path / "missing").mkdir()
        rosterd.start()
        rosterd.wait_for_event("ping.failed")
        (tmp_path / "missing").rename(tmp_path / "elsewhere")
        rosterd.wait_for_event("inbox.unusable")
        (inbox / "users.csv").write_text(
            HEADER + "".join(ANN.replace("1,", f"{n},").replace("ann", f"ann{n}") for n in range(9))
        )
        rosterd.wait_for_imports(1)
        (inbox / "link.csv").symlink_to("/etc/hostname")
        (inbox / "users.csv").write_text(HEADER + '"')
        rosterd.wait_for_event("file.held")
        rosterd.wait_for_event("file.ignored")
        for number in range(2, 4):
            reload(rosterd)
            (inbox / f"{number}.csv").write_text(HEADER + "".join(f"{ANN}" for _ in range(9)))
            rosterd.wait_for_imports(number)

        assert dict.fromkeys(once, 1) == {name: len(rosterd.events(name)) for name in once}


def test_held_file_is_judged_by_new_settings(tmp_path: Path, inbox: Path) -> None:
    """A file that is held is let through as soon as the settings by which it was held are changed."""
    with Rosterd(tmp_path, {"acme": inbox}, client_settings={"companion": "done"}) as rosterd:
        rosterd.start()
        (inbox / "users.csv").write_text(HEADER + ANN)
        rosterd.wait_for_event("file.held", reason="unaccompanied")
        reload(rosterd, 'companion = "done"', 'companion = ""')
        rosterd.wait_for_imports(1)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("\n[intake]\n", "rosterd.toml"),  # no TOML: the table is there already
        ('\n[[client]]\nname = "acme"\ninbox = "/nowhere"\n', "acme"),
        ("\nnonsense = 1\n", "nonsense"),
        ('\n[[client]]\nname = "beta"\ninbox = "/nowhere\\u0000"\n', "client.beta.inbox"),
        ("\nnonsense = " + "[" * 100_000, "not TOML"),
    ],
    ids=["syntax", "client twice", "unknown key", "NUL", "too deep"],
)
def test_bad_reload_keeps_the_old_configuration(rosterd: Rosterd, inbox: Path, fault: str, reason: str) -> None:
    """A configuration with a fault changes nothing, and the log says what the fault is."""
    rosterd.reload(lambda text: text + fault)
    refused = rosterd.wait_for_event("config.refused")
    (inbox / "users.csv").write_text(HEADER + ANN)
    rosterd.wait_for_imports(1)

    assert reason in str(refused["reason"])
    assert list(rosterd.users()) == ["1"]


def test_nobody_is_imported_unprotected(rosterd: Rosterd, inbox: Path, tmp_path: Path) -> None:
    """A list of protected users is read for each file: while it is missing, files wait, and a reload is refused."""
    (inbox / "users.csv").write_text(HEADER + ANN)
    rosterd.wait_for_imports(1)
    protected = tmp_path / "protected"
    protected.write_text("1\n")
    rosterd.reload(lambda text: f'{text}\nprotected_users = "{protected}"\n')
    rosterd.wait_for_event("config.reloaded")
    protected.rename(tmp_path / "gone")
    (inbox / "users.csv").write_text(HEADER + ANN.replace("Lee", "Roy"))
    deferred = rosterd.wait_for_event("file.deferred", file="users.csv")
    assert f"protected_users {protected}: No such file or directory" in str(deferred["reason"])
    rosterd.reload(lambda text: text)
    refused = rosterd.wait_for_event("config.refused")
    assert f"protected_users {protected}: No such file or directory" == refused["reason"]
    (tmp_path / "gone").rename(protected)
    rosterd.wait_for_imports(2)
    assert rosterd.users()["1"]["last_name"] == "Lee"


def test_state_directory_cannot_change_while_running(rosterd: Rosterd, tmp_path: Path) -> None:
    """What only a restart can change refuses the whole reload."""
    rosterd.reload(lambda text: text.replace(str(tmp_path / "state"), str(tmp_path / "elsewhere")))
    assert "restart" in str(rosterd.wait_for_event("config.refused")["reason"])


def test_operator_is_mailed_of_trouble_with_the_host(rosterd: Rosterd, inbox: Path) -> None:
    """Trouble that a client cannot end is told to the operator by mail, once."""
    (inbox / ".bak").rmdir()
    (inbox / ".bak").write_text("in the way")
    (inbox / "users.csv").write_text(HEADER + ANN)
    rosterd.wait_for_event("mail.sent")

    [mail] = rosterd.mails()
    assert mail["To"] == OPERATOR
    assert "acme" in str(mail["Subject"])
    (inbox / ".bak").unlink()
    rosterd.reload(lambda text: text)  # sweeps at once
    rosterd.wait_for_imports(1)


def test_nothing_begins_on_a_disk_that_is_nearly_full(tmp_path: Path, inbox: Path, needs: Needs) -> None:
    """Below the floor of free space a file stays where it is; it is imported when there is room again."""
    needs("mount", root=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m,mode=755", "tmpfs", inbox], check=True)
    try:
        ballast = inbox / "ballast"
        ballast.write_bytes(bytes(40 << 20))
        with Rosterd(tmp_path, {"acme": inbox}) as rosterd:
            rosterd.start()
            (inbox / "users.csv").write_text(HEADER + ANN)
            deferred = rosterd.wait_for_event("file.deferred")
            assert str(deferred["reason"]).startswith("ENOSPC")
            assert (inbox / "users.csv").exists()
            told = f"acme: files wait and will be retried: ENOSPC: less than 64 MiB are free in {inbox}."
            wait_until(lambda: told in rosterd.execute("status").stdout, "status to name it")
            assert 'rosterd_imports_deferred{client="acme"} 1.0' in rosterd.execute("metrics").stdout
            ballast.unlink()
            rosterd.wait_for_imports(1)
            wait_until(lambda: told not in rosterd.execute("status").stdout, "all to be well")
    finally:
        subprocess.run(["umount", "--lazy", inbox], check=True)


def test_no_file_begins_that_its_temporary_files_would_not_fit(tmp_path: Path, inbox: Path, needs: Needs) -> None:
    """A large file waits for room where a small one, and one that is too large to be read at all, do not."""
    needs("mount", root=True)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m,mode=755", "tmpfs", temporary], check=True)
    try:
        settings = {"file": {"max_file_bytes": 8 << 20}}
        environment = {"SQLITE_TMPDIR": str(temporary)}
        with Rosterd(tmp_path, {"acme": inbox}, settings=settings, environment=environment) as rosterd:
            rosterd.start()
            (inbox / "small.csv").write_text(HEADER + ANN)
            (inbox / "too-large.csv").write_text(HEADER + ANN * (9 * (1 << 20) // len(ANN)))
            rosterd.wait_for_imports(2)
            (inbox / "large.csv").write_text(HEADER + ANN * (7 * (1 << 20) // len(ANN)))
            deferred = rosterd.wait_for_event("file.deferred")
            assert str(deferred["reason"]).endswith(f"MiB are free in {temporary}")
            subprocess.run(["mount", "-o", "remount,size=170m", temporary], check=True)
            rosterd.wait_for_imports(3)
    finally:
        subprocess.run(["umount", "--lazy", temporary], check=True)
