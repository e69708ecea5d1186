"""What an operator may do to the daemon, and what may happen to it: down, deaf, stopped, killed."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Needs
from tests.lab import wait_until
from tests.lab.clients import Visit
from tests.lab.daemon import Rosterd

HEADER = "unique_id,login_source,first_name,last_name,email"
ANN = "1,OPSCOM,Ann,Lee,ann@school.example"
FAY_WITHOUT_EMAIL = "2,OPSCOM,Fay,Orr,"

MANY = 50_000


def many_users() -> list[str]:
    return [f"{number},OPSCOM,Ann,Lee,ann{number}@school.example" for number in range(MANY)]


def assert_as_if_undisturbed(rosterd: Rosterd) -> None:
    """Compare with the end of a run in which nothing happened."""
    rosterd.wait_for_imports(1)
    rosterd.wait_for_event("mail.sent")
    rosterd.stop()
    assert [(row["outcome"], row["created"], row["failed"]) for row in rosterd.imports()] == [("partly", 1, 1)]
    assert list(rosterd.users()) == ["1"]
    assert rosterd.inbox() == []
    assert rosterd.in_work() == []
    assert rosterd.archived() == ["users.csv", "users.failed.csv", "users.result.txt"]
    assert rosterd.read_bak("users.csv").decode().splitlines() == [HEADER, ANN, FAY_WITHOUT_EMAIL]
    assert len(rosterd.mails()) == 1


def test_file_that_lands_while_down_is_imported_at_start(acme: Visit, installed: Rosterd) -> None:
    """A file uploaded while the daemon is down is imported once it starts."""
    acme.upload("users.csv", HEADER, ANN, FAY_WITHOUT_EMAIL)

    installed.start()

    assert_as_if_undisturbed(installed)


def test_file_whose_event_is_missed_is_found_by_the_sweep(acme: Visit, tmp_path: Path, needs: Needs) -> None:
    """A file that no event announced is imported by the next sweep."""
    needs("strace")
    settings = {"service": {"sweep_interval_s": 0.5}}
    with Rosterd(tmp_path, {"acme": acme.login.inbox}, settings=settings) as rosterd:
        rosterd.start(inject="inotify_add_watch:retval=1")  # believes that it watches, and hears nothing

        acme.upload("users.csv", HEADER, ANN, FAY_WITHOUT_EMAIL)

        assert_as_if_undisturbed(rosterd)


def test_one_sweep_imports_what_is_there(acme: Visit, installed: Rosterd) -> None:
    """`rosterd sweep` waits out the quiet period of a fresh file, imports it and ends."""
    acme.upload("users.csv", HEADER, ANN)

    done = installed.execute("sweep")

    assert done.returncode == 0, done.stderr
    assert list(installed.users()) == ["1"]
    assert installed.archived() == ["users.csv", "users.result.txt"]


def test_killed_between_claim_and_commit(acme: Visit, installed: Rosterd, needs: Needs) -> None:
    """A daemon killed after the claim and before the commit imports the file at the next start."""
    needs("strace")
    installed.start(inject="fsync,fdatasync:delay_enter=300000")
    acme.upload("users.csv", HEADER, ANN, FAY_WITHOUT_EMAIL)

    wait_until(installed.in_work, "the claim")
    installed.kill9()

    assert installed.imports() == []
    installed.start()
    assert_as_if_undisturbed(installed)


def test_killed_between_commit_and_archive(acme: Visit, installed: Rosterd, needs: Needs) -> None:
    """A daemon killed after the commit and before the move to `.bak` only moves the file at the next start."""
    needs("strace")
    installed.start(inject="rename,renameat,renameat2:delay_enter=500000")
    acme.upload("users.csv", HEADER, ANN, FAY_WITHOUT_EMAIL)

    wait_until(installed.imports, "the commit")
    installed.kill9()

    assert installed.in_work() != []
    assert "users.csv" not in installed.archived()
    installed.start()
    assert_as_if_undisturbed(installed)


def test_stopped_in_the_middle_of_a_file(acme: Visit, installed: Rosterd) -> None:
    """SIGTERM in the middle of a big file ends the daemon in time; the next start imports the file once."""
    installed.start()
    acme.upload("users.csv", HEADER, *many_users())
    wait_until(installed.in_work, "the claim")

    installed.stop()
    installed.start()
    installed.wait_for_imports(1)

    assert [(row["outcome"], row["created"]) for row in installed.imports()] == [("imported", MANY)]
    assert installed.archived() == ["users.csv", "users.result.txt"]


def test_second_instance_is_refused(rosterd: Rosterd) -> None:
    """A second daemon on the same state directory ends at once with exit status 75."""
    assert rosterd.execute("run").returncode == 75
