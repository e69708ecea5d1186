"""The folder `check` by the running daemon: every file in it is answered there, and nothing else follows."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from openpyxl import Workbook, load_workbook

from tests.lab import wait_until
from tests.lab.daemon import Rosterd, make_inboxes

HEADER = "unique_id,login_source,first_name,last_name,email"
ANN = "1,OPSCOM,Ann,Lee,ann@school.example"
BAD = "2,OPSCOM,Ben,,ben@school.example"
STAMP = re.compile(r"\.\d{8}T\d{6}Z\.")


def lines(*rows: str) -> str:
    return "".join(f"{row}\n" for row in (HEADER, *rows))


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Rosterd]:
    """Yield an installation whose clients have the folder, not started."""
    with Rosterd(tmp_path, make_inboxes(tmp_path), client_settings={"check_folder": True}) as installation:
        yield installation


@pytest.fixture
def check(tmp_path: Path) -> Path:
    """Return the folder of acme, once the service has made it."""
    return tmp_path / "acme" / "check"


def put(check: Path, name: str, content: str) -> Path:
    """Let a whole file appear at once."""
    beside = check.parent.parent / f"next-{name}"
    beside.write_text(content)
    return beside.rename(check / name)


def answered(rosterd: Rosterd, count: int) -> list[dict[str, object]]:
    """Wait until so many files were answered; return what the log says of them."""
    wait_until(lambda: len(rosterd.events("check.answered")) >= count, f"{count} answers")
    return rosterd.events("check.answered")


def names_in(check: Path) -> list[str]:
    return sorted(STAMP.sub(".", name) for name in os.listdir(check))


def text_of(check: Path, name: str = "users") -> str:
    [path] = [each for each in check.glob(f"{name}.*.check.txt") if STAMP.sub(".", each.name) == f"{name}.check.txt"]
    return " ".join(path.read_text().split())


def test_a_file_is_answered_where_it_is(installed: Rosterd, check: Path) -> None:
    """A file in `check` gets preview, problems and failed CSV next to it; no user, ledger row or mail comes of it."""
    installed.start()
    put(check, "users.csv", lines(ANN, BAD))
    [event] = answered(installed, 1)
    installed.stop()

    assert ("users.csv", "partly", 2, 1) == tuple(event[key] for key in ("file", "outcome", "rows", "failed"))
    assert ["users.check.txt", "users.csv", "users.failed.csv"] == names_in(check)
    text = text_of(check)
    assert text.startswith(
        "users.csv: 1 of 2 rows needs correcting This was a check: nothing was imported. We would import 1 of 2 users "
        "(1 new). 1 row needs correcting. What to do 1. Look at the file users."
    )
    assert "Line 3: Enter the last name" in text
    [failed] = check.glob("users.*.failed.csv")
    assert "Ben" in failed.read_text()
    assert failed.name in text
    assert ([], {}, [], []) == (installed.imports(), installed.users(), installed.mails(), installed.bak())


def test_a_good_file_is_told_where_to_go(installed: Rosterd, check: Path) -> None:
    """Of a file without problems there is no failed CSV, and the answer says how to have it imported."""
    installed.start()
    put(check, "users.csv", lines(ANN))
    answered(installed, 1)
    assert ["users.check.txt", "users.csv"] == names_in(check)
    assert text_of(check).endswith("To have the file imported, upload it to the folder above check.")


def test_a_refused_file_is_answered(installed: Rosterd, check: Path) -> None:
    """A file that would be refused as a whole, here for an unknown column, is told so; it is not held."""
    installed.start()
    put(check, "users.csv", "unique_id,shoe\n1,44\n")
    [event] = answered(installed, 1)
    assert ("refused", "header.unknown") == (event["outcome"], event["code"])
    assert "This was a check: nothing was imported." in text_of(check)


def test_a_workbook_gets_its_rows_back_as_one(installed: Rosterd, check: Path) -> None:
    """Whoever tries out a workbook gets the rows to correct as a workbook, too; its name stays whole in the answers."""
    installed.start()
    book = Workbook()
    for row in (HEADER, ANN, BAD):
        book.active.append(row.split(","))
    book.save(check.parent.parent / "users.xlsx")
    (check.parent.parent / "users.xlsx").rename(check / "users.xlsx")
    [event] = answered(installed, 1)
    assert ("partly", 1) == (event["outcome"], event["failed"])
    answers = [f"users.xlsx.{ending}" for ending in ("check.txt", "failed.csv", "failed.xlsx")]
    assert ["users.xlsx", *answers] == names_in(check)
    [failed] = check.glob("*.failed.xlsx")
    assert "Ben" in [cell.value for row in load_workbook(failed).active for cell in row]
    assert f"Look at the file {failed.name}" in text_of(check, "users.xlsx")


def test_a_file_of_another_name_is_told_so(installed: Rosterd, check: Path) -> None:
    """A name that no rule takes is answered with those that are taken; the file is not read."""
    installed.start()
    put(check, "users.csv.txt", lines(ANN))
    [event] = answered(installed, 1)
    assert ("refused", "check.name") == (event["outcome"], event["code"])
    text = text_of(check, "users.csv.txt")
    assert 'We take names like these: "*.csv"' in text
    assert ["users.csv.txt", "users.csv.txt.check.txt"] == names_in(check)


def test_an_approval_is_told_where_it_belongs(installed: Rosterd, check: Path) -> None:
    """The name that approves a file on hold approves nothing in this folder, and whoever waits for it is told so."""
    installed.start()
    put(check, "users.csv.approve-7K2QXM", "")
    [event] = answered(installed, 1)
    assert ("refused", "check.name") == (event["outcome"], event["code"])
    assert "Upload this file to the folder above check." in text_of(check, "users.csv.approve-7K2QXM")


def test_status_and_metrics_tell_of_checks(installed: Rosterd, check: Path) -> None:
    """`status` says how many files wait to be checked, metrics also how many were: here one, then another one."""
    installed.start()
    put(check, "users.csv", lines(ANN, BAD))
    answered(installed, 1)
    with (check / "more.csv").open("w") as being_written:
        being_written.write(lines(ANN))
        being_written.flush()
        wait_until(lambda: "files to check  1 of acme" in squeezed(installed, "status"), "the status")
        figures = installed.execute("metrics").stdout
    assert 'rosterd_checks_waiting{client="acme"} 1.0\n' in figures
    assert 'rosterd_checks_total{client="acme",outcome="partly"} 1.0\n' in figures
    assert 'rosterd_checks_total{client="acme",outcome="imported"} 0.0\n' in figures
    answered(installed, 2)
    counted = 'rosterd_checks_total{client="acme",outcome="imported"} 1.0\n'
    wait_until(lambda: counted in installed.execute("metrics").stdout, "the count")
    assert "files to check" not in squeezed(installed, "status")


def squeezed(rosterd: Rosterd, command: str) -> str:
    return re.sub(" {2,}", "  ", rosterd.execute(command).stdout)


def test_receipts_are_mailed_once(tmp_path: Path, check: Path) -> None:
    """A client that gets mail about clean runs is mailed the answer, once, and about no import."""
    settings = {"check_folder": True, "receipts": True}
    with Rosterd(tmp_path, make_inboxes(tmp_path), client_settings=settings) as rosterd:
        rosterd.start()
        put(check, "users.csv", lines(ANN))
        answered(rosterd, 1)
        rosterd.wait_for_event("mail.sent")
        rosterd.stop()
        [mail] = rosterd.mails()
        assert "users.csv would be imported" == mail["Subject"]
        assert [] == rosterd.imports()


def test_what_is_imported_meanwhile_counts(installed: Rosterd, check: Path) -> None:
    """A check compares with the users as they are, also with those that the same client has just imported."""
    installed.start()
    installed.drop("users.csv", lines(ANN))
    installed.wait_for_imports(1)
    put(check, "again.csv", lines(ANN))
    [event] = answered(installed, 1)
    assert 1 == event["unchanged"]


def test_a_single_pass_checks_as_well(installed: Rosterd, check: Path) -> None:
    """`rosterd sweep` makes the folder, and answers what is in it."""
    assert 0 == installed.execute("sweep").returncode
    put(check, "users.csv", lines(ANN))
    assert 0 == installed.execute("sweep").returncode
    assert ["users.check.txt", "users.csv"] == names_in(check)


def test_the_folder_is_the_clients_own_without_the_setting(tmp_path: Path, check: Path) -> None:
    """Without `check_folder` nothing is checked; a file in a folder of that name is reported like in any other."""
    with Rosterd(tmp_path, make_inboxes(tmp_path)) as rosterd:
        check.mkdir()
        put(check, "users.csv", lines(ANN))
        rosterd.start()
        assert "check/users.csv" == rosterd.wait_for_event("file.ignored")["file"]
        rosterd.stop()
        assert ["users.csv"] == names_in(check)


def test_a_reload_turns_it_on(tmp_path: Path, check: Path) -> None:
    """The setting takes effect with a reload: the folder is made and watched."""
    with Rosterd(tmp_path, make_inboxes(tmp_path)) as rosterd:
        rosterd.start()
        rosterd.reload(lambda text: text.replace('name = "acme"', 'name = "acme"\ncheck_folder = true'))
        wait_until(check.exists, "the folder")
        put(check, "users.csv", lines(ANN))
        answered(rosterd, 1)


# Restarts


def test_a_restart_answers_nothing_twice(installed: Rosterd, check: Path) -> None:
    """What is answered follows from the folder: the next start answers only what is new, changed or uploaded again."""
    installed.start()
    for name in ("same.csv", "again.csv", "renamed.csv"):
        put(check, name, lines(ANN))
    answered(installed, 3)
    installed.stop()
    put(check, "again.csv", lines(ANN, BAD))
    (check / "renamed.csv").rename(check / "other.csv")

    installed.start()
    events = answered(installed, 5)
    put(check, "last.csv", lines(ANN))
    answered(installed, 6)
    assert ["again.csv", "other.csv"] == sorted(str(event["file"]) for event in events[3:])
    assert 6 == len(installed.events("check.answered"))


STEPS = {
    "the failed CSV": "real = a.write_durably; a.write_durably = lambda *a, **more: (real(*a, **more), os._exit(9))",
    "the mail": "real = a.trial.add_mail; a.trial.add_mail = lambda *args: (real(*args), os._exit(9))",
    "the dry run": "a.Answering.write = lambda *args: os._exit(9)",
}


@pytest.mark.parametrize("step", STEPS)
def test_killed_after_each_step(step: str, tmp_path: Path, check: Path) -> None:
    """Killed before the answer is whole, the next start answers once more, under the same names, and mails once."""
    settings = {"check_folder": True, "receipts": True}
    with Rosterd(tmp_path, make_inboxes(tmp_path), client_settings=settings) as rosterd:
        check.mkdir()
        check.chmod(0o1770)
        put(check, "users.csv", lines(ANN, BAD))
        rosterd.planted = f"import os\nfrom watcher.checking import answers as a\n{STEPS[step]}\n"
        rosterd.start()
        assert 9 == rosterd.wait_for_end()
        assert not [name for name in names_in(check) if name.endswith("check.txt")]
        rosterd.planted = ""
        rosterd.start()
        answered(rosterd, 1)
        rosterd.wait_for_event("mail.sent")
        rosterd.stop()

        assert ["users.check.txt", "users.csv", "users.failed.csv"] == names_in(check)
        assert 1 == len(rosterd.mails())
        assert [] == os.listdir(tmp_path / "state" / "checks")


def test_killed_after_the_answer(installed: Rosterd, check: Path) -> None:
    """Killed once the answer is whole, the next start finds nothing to do."""
    installed.start()
    put(check, "users.csv", lines(ANN))
    answered(installed, 1)
    installed.kill9()
    installed.start()
    put(check, "other.csv", lines(ANN))
    events = answered(installed, 2)
    assert "other.csv" == events[1]["file"]


def test_a_corrected_file_has_no_failed_csv_of_before(tmp_path: Path, check: Path) -> None:
    """A failed CSV that a killed process left is removed when nothing fails any more."""
    with Rosterd(tmp_path, make_inboxes(tmp_path), client_settings={"check_folder": True}) as rosterd:
        check.mkdir()
        check.chmod(0o1770)
        put(check, "users.csv", lines(ANN, "2,OPSCOM,,,"))
        rosterd.planted = f"import os\nfrom watcher.checking import answers as a\n{STEPS['the failed CSV']}\n"
        rosterd.start()
        assert 9 == rosterd.wait_for_end()
        assert ["users.csv", "users.failed.csv"] == names_in(check)
        rosterd.planted = ""
        # Meanwhile the user is known, for whom blank cells change nothing.
        rosterd.drop("users.csv", lines("2,OPSCOM,Ben,Roy,ben@school.example"))
        rosterd.start()
        answered(rosterd, 1)
        assert ["users.check.txt", "users.csv"] == names_in(check)
