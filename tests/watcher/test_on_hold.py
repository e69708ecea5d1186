"""Files above a limit: on hold without any effect, approved, rejected, replaced, given up; others go on."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.lab import wait_until
from tests.lab.daemon import Rosterd

Found = TypeVar("Found")

HEADER = "unique_id,login_source,first_name,last_name,email\n"
SETTINGS: dict[str, dict[str, object]] = {
    "intake": {"quiet_s": 0.1, "unterminated_grace_s": 0.1},
    "guard": {"identity": "10 %", "identity_floor": 2, "attribute": "off", "approve_by": ["operator", "client"]},
    "mail": {"reply_to": "imports@rosterd.example", "operator": ["operator@rosterd.example"]},
}


def users(surname: str = "Lee", *, count: int = 4, more: str = "") -> str:
    """Return a file of users; another surname makes each of them somebody else."""
    rows = (f"{n},OPSCOM,Ann,{surname}{n},{surname.lower()}{n}@school.example\n" for n in range(count))
    return HEADER + "".join(rows) + more


@pytest.fixture
def rosterd(tmp_path: Path, folders: dict[str, Path]) -> Iterator[Rosterd]:
    """Yield the running daemon, with four users of acme."""
    with Rosterd(tmp_path, folders, settings=SETTINGS) as installation:  # type: ignore[arg-type]
        installation.start()
        installation.drop("first.csv", users())
        installation.wait_for_imports(1)
        installation.wait_for_event("file.archived")
        yield installation


def until(condition: Callable[[], Found]) -> Found:
    return wait_until(condition, "what a file on hold leads to")


def surnames(rosterd: Rosterd) -> set[str]:
    return {re.sub(r"\d", "", str(user["last_name"])) for user in rosterd.users().values()}


def hold(rosterd: Rosterd, name: str = "users.csv", content: str = "") -> None:
    rosterd.drop(name, content or users("Roy"))
    rosterd.wait_for_event("hold.placed", file=name)
    until(lambda: any(each.startswith(name[:-4]) and each.endswith(".result.txt") for each in rosterd.bak()))


def outcomes(rosterd: Rosterd) -> dict[str, str]:
    return {str(each["file"]): f"{each['outcome']} {each['code']}".strip() for each in rosterd.imports()}


def end(rosterd: Rosterd, name: str = "users.csv") -> str:
    """Wait until the file is archived; return how it ended."""
    until(lambda: any(re.fullmatch(rf"{name[:-4]}\.[0-9TZ-]+\.csv", each) for each in rosterd.bak()))
    return outcomes(rosterd)[name]


def code(rosterd: Rosterd) -> str:
    [(found,)] = [tuple(row.values()) for row in rosterd.query("SELECT code FROM on_hold WHERE decision = ''")]
    return str(found)


def test_nothing_is_applied_until_the_operator_approves(rosterd: Rosterd) -> None:
    """Result text and mails come at once, over a restart the file goes on waiting, others go on; then it is applied."""
    hold(rosterd, content=users("Roy", more="9,OPSCOM,,,\n"))
    assert ({"Lee"}, "on_hold guard.identity") == (surnames(rosterd), outcomes(rosterd)["users.csv"])
    assert ["users.failed.csv", "users.result.txt"] == sorted(
        re.sub(r"\.[0-9TZ]+\.", ".", name) for name in rosterd.bak() if name.startswith("users")
    )
    rosterd.kill9()
    rosterd.start()
    rosterd.drop("other.csv", users("Kim"), client="beta")
    rosterd.wait_for_event("file.imported", client="beta")
    assert "on_hold guard.identity" == outcomes(rosterd)["users.csv"]
    assert "acme: users.csv is on hold" in rosterd.execute("status").stdout
    told = rosterd.execute("preview", "users.csv").stdout
    assert "4 of 4 users that we knew get another identity" in told
    assert "0 created, 4 updated, 0 unchanged, 1 failed" in told
    rows = [*csv.DictReader(io.StringIO(rosterd.execute("preview", "2", "--csv").stdout))]
    assert ("2", "0", "changed", "last_name", "Lee0", "Roy0") == tuple(rows[0].values())
    assert 8 == len(rows)
    answer = rosterd.execute("approve", "users.csv", "--client", "acme")
    assert 0 == answer.returncode, answer.stderr
    assert "partly" == end(rosterd)
    assert {"Roy"} == surnames(rosterd)
    subjects = until(lambda: {str(mail["To"]): str(mail["Subject"]) for mail in rosterd.mails()})
    assert "users.csv of acme is on hold" in subjects["operator@rosterd.example"]


def test_doctor_says_how_to_decide(rosterd: Rosterd) -> None:
    """It names the oldest file on hold of a client, for how long it is, and the commands."""
    hold(rosterd)
    told = rosterd.execute("doctor").stdout
    assert re.search(r"client acme: 1 file is on hold, users\.csv for \d", told)
    assert "rosterd preview 2; then: rosterd approve users.csv --client acme, or: rosterd reject users.csv" in told
    rosterd.execute("reject", "users.csv", "--client", "acme")
    end(rosterd)
    assert "on hold" not in rosterd.execute("doctor").stdout


def test_a_rejected_file_is_refused(rosterd: Rosterd) -> None:
    """Nothing of it is applied, the client is told, with the reason, and so is whoever looks it up."""
    hold(rosterd)
    reject = ("reject", "users.csv", "--client", "acme", "--reason")
    assert 1 == rosterd.execute(*reject, "x" * 501).returncode
    assert 1 == rosterd.execute(*reject, "\x1b[2J").returncode
    assert 0 == rosterd.execute(*reject, " two classes are\nexchanged. ").returncode
    assert "refused guard.rejected" == end(rosterd)
    assert {"Lee"} == surnames(rosterd)
    told = b" ".join(rosterd.read_bak("users.result.txt").split())
    assert b'we did not approve it. Our reason: "two classes are exchanged".' in told
    shown = rosterd.execute("show", str(rosterd.imports()[-1]["id"])).stdout
    assert "rejected by operator: two classes are exchanged" in shown
    assert 2 == rosterd.execute("approve", "users.csv", "--client", "acme").returncode


def test_other_files_of_the_client_wait_in_order(rosterd: Rosterd) -> None:
    """Behind a file on hold newer ones wait in the inbox, and status says behind which; a corrected one does not."""
    hold(rosterd)
    rosterd.drop("later.csv", users("Kim", count=1))
    rosterd.drop("users.failed.csv", HEADER.replace("\n", ",import_line\n") + "7,OPSCOM,Eve,Fox,eve@school.example,9\n")
    rosterd.wait_for_event("file.imported", file="users.failed.csv")
    assert ["later.csv"] == [name for name in rosterd.inbox() if not name.startswith(".")]
    until(lambda: re.search(r"later\.csv +behind .*users\.csv", rosterd.execute("status").stdout))
    rosterd.execute("approve", "users.csv", "--client", "acme")
    assert "imported" == end(rosterd, "later.csv")
    assert ["first.csv", "users.failed.csv", "users.csv", "later.csv"] == [each["file"] for each in rosterd.imports()]


def test_a_newer_file_of_the_same_name_replaces_it(rosterd: Rosterd) -> None:
    """The older one is refused, and its code stays good for the newer one, which would do the same."""
    hold(rosterd)
    first = code(rosterd)
    rosterd.drop("users.csv", users("Fox"))
    until(lambda: len(rosterd.events("hold.placed")) == 2)
    rosterd.wait_for_event("file.refused", code="guard.superseded")
    assert first == code(rosterd)
    rosterd.drop("users.csv", users())
    rosterd.wait_for_event("file.imported", file="users.csv")
    until(lambda: not rosterd.in_work())
    assert {"Lee"} == surnames(rosterd)
    assert 2 == len(rosterd.events("file.refused", code="guard.superseded"))


def test_a_file_imported_by_hand_needs_an_approval(rosterd: Rosterd, tmp_path: Path) -> None:
    """`rosterd import` says that its file is on hold; with --approve it is imported at once."""
    path = tmp_path / "byhand.csv"
    path.write_text(users("Roy"))
    answer = rosterd.execute("import", str(path), "--client", "acme")
    assert (1, True) == (answer.returncode, "byhand.csv is on hold (guard.identity)" in answer.stdout)
    assert "on hold in .work" in rosterd.execute("show", str(rosterd.imports()[-1]["id"])).stdout
    assert {"Lee"} == surnames(rosterd)
    approved = rosterd.execute("import", str(path), "--client", "acme", "--approve")
    assert (0, True) == (approved.returncode, "byhand.csv: imported: 0 created, 4 updated" in approved.stdout)
    assert {"Roy"} == surnames(rosterd)


def test_the_client_approves_by_an_upload(rosterd: Rosterd) -> None:
    """A file named as the mail says imports the one on hold; a wrong code is told, removed and counts for nothing."""
    hold(rosterd)
    rosterd.drop("users.csv.approve-AAAAAA", "")
    rosterd.wait_for_event("approval.refused", file="users.csv.approve-AAAAAA")
    assert {"Lee"} == surnames(rosterd)
    rosterd.drop(f"users.csv.approve-{code(rosterd).lower()}", "whatever")
    assert "imported" == end(rosterd)
    assert {"Roy"} == surnames(rosterd)
    assert ["client"] == [each["approved_by"] for each in rosterd.query("SELECT approved_by FROM imports WHERE id = 3")]
    assert [{"client": "acme"}] == rosterd.query("SELECT client FROM outbox WHERE subject LIKE '%approves no file'")
    assert [] == [name for name in rosterd.inbox() if not name.startswith(".")]


def test_leavers_by_a_status_wait_for_an_approval(tmp_path: Path) -> None:
    """A file in which very many have left is on hold over a restart, with all who would leave; approved, they do."""
    inbox = tmp_path / "acme"
    inbox.mkdir()

    def file(left: int) -> str:
        rows = users(count=20).splitlines()[1:]
        states = ["LEFT" if number < left else "A" for number in range(20)]
        lines = [f"{HEADER.strip()},Enrolment", *(f"{row},{state}" for row, state in zip(rows, states, strict=True))]
        return "\n".join(lines) + "\n"

    with Rosterd(tmp_path, {"acme": inbox}, settings=SETTINGS) as rosterd:  # type: ignore[arg-type]
        status = '\n[client.status]\ncolumn = "Enrolment"\nactive = ["A"]\ninactive = ["LEFT"]\n'
        rosterd.start()
        rosterd.reload(lambda text: text + status)
        rosterd.wait_for_event("config.reloaded")
        rosterd.drop("first.csv", file(0))
        rosterd.wait_for_imports(1)
        hold(rosterd, content=file(8))
        assert "on_hold guard.deactivated" == outcomes(rosterd)["users.csv"]
        rosterd.kill9()
        rosterd.start()
        told = rosterd.execute("preview", "2").stdout
        assert "8 of 20 active users leave, by Enrolment in this file or within the last 7 days." in told
        rows = [*csv.DictReader(io.StringIO(rosterd.execute("preview", "2", "--csv").stdout))]
        assert [(str(line), "deactivated") for line in range(2, 10)] == [(row["line"], row["change"]) for row in rows]
        assert 0 == rosterd.execute("approve", "users.csv", "--client", "acme").returncode
        assert "imported" == end(rosterd)
        assert 8 == sum(user["inactive_by"] == "status" for user in rosterd.users().values())


def test_a_pass_is_shown_with_its_last_day(rosterd: Rosterd) -> None:
    """Status and list say the day that was asked for, not the midnight at its end."""
    given = rosterd.execute("guard", "pause", "acme", "created", "--until", "2999-01-05", "--apply")
    assert "paused through 2999-01-05" in given.stdout
    assert "created of acme through 2999-01-05" in rosterd.execute("status").stdout
    assert re.search(r"acme\s+created\s+2999-01-05\n", rosterd.execute("guard", "list").stdout)
