from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab import wait_until
from tests.lab.daemon import Rosterd

HEADER = "unique_id,login_source,first_name,last_name,email\n"
ANN = "1,OPSCOM,Ann,Lee,ann@school.example\n"
BOB = "2,OPSCOM,Bob,,bob\n"
SAME_ADDRESS_TWICE = """
    INSERT INTO users (client, unique_id, login_source, email_key, created_at, updated_at, created_import, import_id,
      import_line) SELECT client, 'x', 'OPSCOM', email_key, '', '', 1, 1, 1 FROM users"""


@pytest.fixture
def rosterd(tmp_path: Path) -> Iterator[Rosterd]:
    """Yield an installation that has imported a file with a failed row; it does not run."""
    (tmp_path / "acme").mkdir()
    with Rosterd(tmp_path, {"acme": tmp_path / "acme"}) as installation:
        installation.drop("users.csv", HEADER + ANN + BOB)
        assert installation.execute("sweep").returncode == 0
        yield installation


@pytest.fixture
def bak(tmp_path: Path) -> Path:
    return tmp_path / "acme" / ".bak"


def verified(rosterd: Rosterd, *options: str) -> tuple[int, list[str]]:
    """Return the exit code and what was found."""
    result = rosterd.execute("verify", "--json", *options)
    assert "" == result.stderr
    return result.returncode, [finding["check"] for finding in json.loads(result.stdout)["findings"]]


def archive(bak: Path) -> Path:
    [found] = [path for path in bak.iterdir() if path.name.count(".") == 2]
    return found


def test_all_is_as_promised(rosterd: Rosterd) -> None:
    """After an undisturbed import `verify` finds nothing, says so, and ends with 0."""
    assert (0, []) == verified(rosterd)
    assert "nothing is lost, duplicated or damaged" in rosterd.execute("verify").stdout


def test_a_running_daemon_does_not_disturb(rosterd: Rosterd) -> None:
    """While the daemon works `verify` finds nothing wrong either."""
    rosterd.start()
    for number in range(5):
        rosterd.drop(f"users{number}.csv", HEADER + ANN + BOB)
    assert (0, []) == verified(rosterd)


# What may happen to the folders


def _lose(bak: Path) -> None:
    archive(bak).unlink()


def _alter(bak: Path) -> None:
    path = archive(bak)
    path.write_text(path.read_text().replace("Ann", "Eve"))


def _cut(bak: Path) -> None:
    path = archive(bak)
    path.write_text(path.read_text()[:-1])


def _replace_by_link(bak: Path) -> None:
    path = archive(bak)
    path.unlink()
    path.symlink_to("/etc/passwd")


def _put_there(bak: Path) -> None:
    (bak / "other.20261122T074205Z.csv").write_text(HEADER)


def _remove_all(bak: Path) -> None:
    for path in bak.iterdir():
        path.unlink()
    bak.rmdir()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_lose, "archive.missing"),
        (_alter, "archive.changed"),
        (_cut, "archive.changed"),
        (_replace_by_link, "archive.changed"),
        (_put_there, "archive.unknown"),
        (_remove_all, "archive.missing"),
    ],
)
def test_archives_that_are_not_as_recorded(
    rosterd: Rosterd, bak: Path, change: Callable[[Path], None], expected: str
) -> None:
    """An archive that is missing, changed, or nobody's is a broken promise: exit code 2."""
    change(bak)
    assert (2, [expected]) == verified(rosterd)


def test_what_vouched_for_an_upload_may_lie_beside_it(rosterd: Rosterd, bak: Path) -> None:
    """The companion of an upload is known by the archive it is named after."""
    Path(f"{archive(bak)}.sha256").write_text("")
    assert (0, []) == verified(rosterd)


def test_a_quick_look_compares_sizes_and_times(rosterd: Rosterd, bak: Path) -> None:
    """With --quick contents are not read, sizes and times are; the time alone is only worth a look."""
    before = archive(bak).stat()
    _alter(bak)
    assert (1, ["archive.touched"]) == verified(rosterd, "--quick")
    os.utime(archive(bak), ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (0, []) == verified(rosterd, "--quick")
    assert (2, ["archive.changed"]) == verified(rosterd)
    _cut(bak)
    assert (2, ["archive.changed"]) == verified(rosterd, "--quick")


def test_an_answer_that_is_gone(rosterd: Rosterd, bak: Path) -> None:
    """A result or failed CSV that is gone is worth a look: exit code 1, and a sentence that names it."""
    for path in bak.glob("*.failed.csv"):
        path.unlink()
    assert (1, ["answer.missing"]) == verified(rosterd)
    assert "look: acme: import 1 (users.csv): its answer users." in rosterd.execute("verify").stdout


def test_folders_that_cannot_be_looked_into(rosterd: Rosterd, bak: Path) -> None:
    """An inbox that is gone, or a link in place of `.bak`, cannot be checked, and that is told."""
    bak.rename(bak.parent / "moved")
    bak.symlink_to("moved")
    assert (2, ["inbox.unusable"]) == verified(rosterd)
    bak.parent.rename(bak.parent.parent / "gone")
    assert (2, ["inbox.unusable"]) == verified(rosterd)


def test_claims_that_wait_for_the_daemon(rosterd: Rosterd, tmp_path: Path) -> None:
    """What lies in `.work` while the daemon is down is not lost, and told."""
    claim = tmp_path / "acme" / ".work" / "20261122T074205Z-0123abcd"
    claim.mkdir()
    (claim / "late.csv").write_text(HEADER)
    assert (1, ["claim.waiting"]) == verified(rosterd)


def test_an_import_that_is_not_archived_yet(rosterd: Rosterd, bak: Path, tmp_path: Path) -> None:
    """A recorded file still in `.work`, or not marked, is what the next start mends."""
    rosterd.change("UPDATE imports SET archived_at = NULL")
    assert (1, ["archive.unmarked"]) == verified(rosterd)
    claim = tmp_path / "acme" / ".work" / str(rosterd.imports()[0]["claim_id"])
    claim.mkdir()
    archive(bak).rename(claim / "users.csv")
    assert (1, ["archive.pending"]) == verified(rosterd)

    rosterd.start()
    wait_until(lambda: (0, []) == verified(rosterd), "the daemon to mend it")


def test_a_client_that_is_not_configured_any_more(rosterd: Rosterd, tmp_path: Path) -> None:
    """The archives of a client that was taken out are not looked at, and that is told."""
    (tmp_path / "beta").mkdir()
    acme = str(tmp_path / "acme")
    rosterd.reload(lambda text: text.replace('"acme"', '"beta"').replace(acme, str(tmp_path / "beta")))
    assert (1, ["client.unknown"]) == verified(rosterd)


# What may happen to the database


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("DELETE FROM import_problems", ["ledger.silent"]),
        ("UPDATE users SET import_id = 99", ["users.unexplained"]),
        ("UPDATE outbox SET state = 'dead'", ["mail.dead"]),
        ("UPDATE outbox SET state = 'waiting', body = x''", ["mail.empty"]),
        ("UPDATE outbox SET state = 'joined'", ["mail.lost"]),
        ("UPDATE outbox SET sent_at = NULL", ["mail.undated"]),
        ("UPDATE outbox SET claim_id = 'gone'", ["mail.unexplained"]),
        (SAME_ADDRESS_TWICE, ["users.doubled_email"]),
    ],
)
def test_a_database_that_contradicts_itself(rosterd: Rosterd, change: str, expected: list[str]) -> None:
    """Rows that cannot be true together are a broken promise."""
    rosterd.change(change)
    assert (2, expected) == verified(rosterd)


def test_a_quick_look_does_not_go_through_all_users(rosterd: Rosterd) -> None:
    """With --quick the time does not depend on the number of users."""
    rosterd.change("UPDATE users SET import_id = 99")
    assert (2, True) == (verified(rosterd)[0], "users.unexplained" in verified(rosterd)[1])
    assert (0, []) == verified(rosterd, "--quick")


def test_mail_that_nobody_tries(rosterd: Rosterd) -> None:
    """Mail that should have been tried long ago is worth a look."""
    rosterd.change("UPDATE outbox SET state = 'waiting', due_at = '2020-01-01T00:00:00Z'")
    assert (1, ["mail.overdue"]) == verified(rosterd)
    rosterd.change("UPDATE outbox SET last_error = 'SMTPServerDisconnected'")
    assert "(SMTPServerDisconnected)" in rosterd.execute("verify").stdout


def test_a_row_that_points_nowhere(rosterd: Rosterd) -> None:
    """A problem of an import that is not there is a broken promise."""
    rosterd.change("UPDATE import_problems SET import_id = 99")
    code, found = verified(rosterd)
    assert 2 == code
    assert {"database.dangling", "ledger.silent"} == set(found)


def test_a_page_that_is_torn(rosterd: Rosterd, tmp_path: Path) -> None:
    """Damage of the database file is told, in sentences, with exit code 2."""
    database = tmp_path / "state" / "rosterd.db"
    content = bytearray(database.read_bytes())
    page = content.index(b"ann@school.example") // 4096
    content[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    database.write_bytes(bytes(content))
    result = rosterd.execute("verify")
    assert 2 == result.returncode
    assert "damaged" in result.stdout or "malformed" in result.stderr
    assert "Traceback" not in result.stderr
