"""Users who are missing from a snapshot and are too many: who is asked, who decides, and what becomes of them."""

from __future__ import annotations

import email
import email.policy
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from importer.model import OnHold, Outcome
from importer.store.roster.undo import undo
from tests.engine import CLIENT, UNGUARDED, Engine, Result
from tests.importer.store.roster.test_feeds import inactive, snapshots, users
from tests.lab import wait_until
from tests.lab.daemon import Rosterd, Setting
from tests.watcher.test_approval import again
from watcher.approval.files import LOOK_INTERVAL_S, FilesOnHold
from watcher.settings import Config

pytestmark = pytest.mark.usefixtures("both_databases")

BY_CLIENT = ("operator", "client")
OPERATOR = "operator@example.org"


def guarded(engine: Engine, **changed: object) -> Engine:
    """Let all files be snapshots of sixty users, of whom those who leave are counted."""
    settings = msgspec.structs.replace(UNGUARDED, approve_by=BY_CLIENT, **changed)
    engine.mail_settings = msgspec.structs.replace(engine.mail_settings, operator=(OPERATOR,))
    snapshots(engine).settings(guard=settings)
    engine.file(*users(*range(60)))
    return engine


@pytest.fixture
def asked(engine: Engine) -> Engine:
    """Return an engine of which a snapshot lacks thirty of sixty users."""
    guarded(engine).file(*users(*range(30)))
    return engine


def files_of(engine: Engine) -> FilesOnHold:
    return FilesOnHold(Config(clients=(engine.client,), mail=engine.mail_settings), engine.store)


def question(engine: Engine) -> OnHold:
    (held,) = files_of(engine).waiting(CLIENT)
    return held


def mails(engine: Engine, *, to: str) -> list[str]:
    rows = engine.store.conn.execute("SELECT subject, recipients FROM outbox ORDER BY id").fetchall()
    return [subject for subject, recipients in rows if to in recipients]


def last_body(engine: Engine) -> str:
    (body,) = engine.store.conn.execute("SELECT body FROM outbox ORDER BY id DESC LIMIT 1").fetchone()
    text = email.message_from_bytes(body, policy=email.policy.default).get_content()
    return " ".join(str(text).split())


def test_client_and_operator_are_asked(engine: Engine) -> None:
    """The rest is applied; the answer names the upload that approves, the operator gets the commands; both once."""
    guarded(engine)
    asked = engine.file(*users(*range(30), 99))
    held = question(engine)
    assert (Outcome.IMPORTED, 1, 0, 30) == (
        asked.receipt.outcome,
        asked.tally.created,
        asked.tally.deactivated,
        held.users,
    )
    name = f"users.csv.approve-{held.code}"
    assert asked.mail is not None
    assert name in asked.mail.text
    assert name in asked.text
    assert "was imported, but 30 users are missing from it" in asked.mail.subject
    assert [f"users are missing from users.csv of {CLIENT}"] == [
        each.partition(": ")[2] for each in mails(engine, to=OPERATOR)
    ]
    again = engine.file(*users(*range(31), 99))
    assert (None, True) == (again.mail, name in again.text)
    anew = question(engine)
    assert (held.code, held.held_at, 29) == (anew.code, anew.held_at, anew.users)
    assert 1 == len(mails(engine, to=OPERATOR))


def test_many_more_who_are_missing_are_another_question(asked: Engine) -> None:
    """What grew by more than a tenth has a new code and new mail; a whole file takes the question back."""
    first = question(asked)
    more = asked.file(*users(*range(20)))
    second = question(asked)
    assert (True, True) == (first.code != second.code, more.mail is not None)
    assert 2 == len(mails(asked, to=OPERATOR))
    asked.file(*users(*range(60)))
    assert [] == files_of(asked).waiting(CLIENT)


def test_a_few_more_each_night_are_another_question_in_the_end(asked: Engine) -> None:
    """Compared is what was asked, and not the night before: what nobody was told of is not approved."""
    first = question(asked)
    codes = [first.code]
    for still in (28, 26):
        asked.file(*users(*range(still)))
        codes.append(question(asked).code)
    assert (True, False) == (codes[0] == codes[1], codes[1] == codes[2])
    assert (34, 34) == (question(asked).users, question(asked).tripped[0].count)
    assert 2 == len(mails(asked, to=OPERATOR))


def test_a_file_that_says_nothing_of_who_is_missing_leaves_the_question(asked: Engine) -> None:
    """A corrected failed CSV, one whose rows may be anybody's and a refused one replace no question."""
    held = question(asked)
    header, *rows = users(*range(30))
    asked.file(f"{header},import_line", f"{rows[0]},2")
    asked.file(header, *rows, ",OPSCOM,Ann,Lee,x@example.org,x")
    asked.file("nothing")
    assert held == question(asked)


def test_approved_by_the_operator(asked: Engine) -> None:
    """Who is still missing is deactivated, the client is told, it counts against no limit and can be undone."""
    asked.file(*users(*range(31)))
    held, files = question(asked), files_of(asked)
    done = files.decide_on_removals(held, "approved", "operator")
    assert done is not None
    assert (29, 29) == (done.users, len(inactive(asked)))
    assert "Users who are missing from your user file users.csv" == mails(asked, to="registrar")[-1]
    ledger = "SELECT kind, file, approved_by FROM imports ORDER BY id DESC LIMIT 1"
    assert ("removals", f"removals of {held.import_id}", "operator") == asked.store.conn.execute(ledger).fetchone()
    assert None is files.decide_on_removals(held, "approved", "client")
    assert 1 == asked.file(*users(*range(30))).tally.deactivated
    assert 30 == asked.file(*users(*range(60))).tally.reinstated
    undo(asked.store, done.import_id, is_applied=True)
    assert {} == inactive(asked)


def test_nobody_is_missing_any_more(asked: Engine) -> None:
    """An approval after all have come back in corrected files deactivates nobody, and is answered so."""
    header, *rows = users(*range(60))
    asked.file(f"{header},import_line", *(f"{row},2" for row in rows))
    assert files_of(asked).decide(question(asked), "approved", "operator")
    assert ({}, []) == (inactive(asked), files_of(asked).waiting(CLIENT))


@pytest.mark.parametrize(
    ("decision", "words"),
    [("rejected", 'Our reason: "a school is missing". Upload the complete file.'), ("expired", "Nobody has approved")],
)
def test_not_approved(asked: Engine, decision: str, words: str) -> None:
    """Nobody is deactivated, the client is told, and the next snapshot asks anew, with another code."""
    held, files = question(asked), files_of(asked)
    if decision == "rejected":
        assert files.decide(held, "rejected", "operator", reason="a school is missing")
    else:
        files.tend(1.0, held.held_at + timedelta(days=1, hours=1))
        assert "files still wait for an approval" in mails(asked, to=OPERATOR)[-1]
        files.tend(2 + LOOK_INTERVAL_S, held.held_at + timedelta(days=8))
    assert ({}, []) == (inactive(asked), files.waiting(CLIENT))
    assert words in last_body(asked)
    again = asked.file(*users(*range(30)))
    assert again.mail is not None
    assert held.code != question(asked).code


def test_a_feed_that_is_no_snapshot_any_more(asked: Engine) -> None:
    """An approval deactivates nobody once the settings say that nobody leaves."""
    held = question(asked)
    asked.settings(feed=())
    assert files_of(asked).decide(held, "approved", "operator")
    assert {} == inactive(asked)


def test_the_whole_file_is_on_hold(engine: Engine) -> None:
    """With hold = "file" nothing of the snapshot is applied; approved, all of it is."""
    guarded(engine, hold="file")
    result: Result = engine.file(*users(*range(30), 99))
    held = result.receipt.on_hold
    assert held is not None
    assert ("guard.deactivated", "") == (result.receipt.code, result.receipt.approved_by)
    assert "30 of 60 active users would be deactivated" in result.text
    assert "The rest of the file was imported" not in result.text
    assert 60 == engine.store.conn.execute("SELECT count(*) FROM users WHERE inactive_by IS NULL").fetchone()[0]
    assert files_of(engine).decide(held, "approved", "operator")
    done = again(engine, held, users(*range(30), 99)[1:])
    assert (Outcome.IMPORTED, 30, 1) == (done.receipt.outcome, done.tally.deactivated, done.tally.created)


def test_another_guard_holds_the_removals_with_the_file(engine: Engine) -> None:
    """A snapshot that trips another guard, too, is on hold with its removals, and approved with them."""
    guarded(engine, fewer_rows="10 %")
    held = engine.file(*users(*range(30))).receipt.on_hold
    assert held is not None
    assert {"deactivated", "fewer_rows"} == {each.guard for each in held.tripped}
    assert [held.claim_id] == [each.claim_id for each in files_of(engine).waiting(CLIENT)]


# Killed right here, what does the next start find?


@pytest.mark.parametrize(
    "step",
    [
        "importer.store.roster.held_files.decide",
        "importer.store.roster.removal._deactivate",
        "watcher.approval.files.outbox.add",
        "importer.store.roster.history.record",
        "importer.store.ledger.note_approval",
    ],
)
def test_a_crash_before_the_commit_decides_nothing(asked: Engine, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Decision, deactivation and mail are all there or none; asked once more, all of it is done, once."""
    held, before = question(asked), len(mails(asked, to="registrar"))
    with monkeypatch.context() as crashing:
        crashing.setattr(step, lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            files_of(asked).decide(held, "approved", "client")
    assert (held, {}, before) == (question(asked), inactive(asked), len(mails(asked, to="registrar")))
    assert files_of(asked).decide(held, "approved", "client")
    assert (30, before + 1) == (len(inactive(asked)), len(mails(asked, to="registrar")))


def test_a_crash_before_the_question_is_committed_asks_later(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows, question and both mails are one: what fails in between leaves none of them."""
    guarded(engine)
    before = len(mails(engine, to=""))
    with monkeypatch.context() as crashing:
        crashing.setattr("importer.answer.operator_mail.outbox.add", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            engine.file(*users(*range(30), 99))
    assert ([], before) == (files_of(engine).waiting(CLIENT), len(mails(engine, to="")))
    assert 30 == engine.file(*users(*range(30), 99)).receipt.removals.users  # type: ignore[union-attr]


def test_an_upload_that_has_approved_is_removed_by_the_next_look(asked: Engine, tmp_path: Path) -> None:
    """Killed between the commit and the removal of the upload: it approves nothing again, and nobody is told."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    held, before = question(asked), len(mails(asked, to=""))
    inbox_fd = os.open(inbox, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(2):  # as it is after a kill: the service begins anew, and the upload is there again
        (inbox / f"users.csv.approve-{held.code}").touch()
        files_of(asked).take_approval(CLIENT, f"users.csv.approve-{held.code}".encode(), inbox_fd)
    os.close(inbox_fd)
    assert (30, [], before + 1) == (len(inactive(asked)), os.listdir(inbox), len(mails(asked, to="")))


# The whole way

SETTINGS: dict[str, dict[str, Setting]] = {
    "intake": {"quiet_s": 0.1, "unterminated_grace_s": 0.1},
    "guard": {"approve_by": [*BY_CLIENT], "fewer_rows": "off"},
    "mail": {"reply_to": "imports@rosterd.example", "operator": [OPERATOR]},
}
FEED = {"name": "all", "files": "*", "mode": "snapshot"}


@pytest.fixture
def rosterd(tmp_path: Path, folders: dict[str, Path]) -> Iterator[Rosterd]:
    """Yield the running daemon; a snapshot of acme lacks thirty of sixty users."""
    with Rosterd(tmp_path, folders, settings=SETTINGS, client_settings={"feed": [FEED]}) as installation:
        installation.start()
        installation.drop("users.csv", "\n".join((*users(*range(60)), "")))
        installation.wait_for_imports(1)
        installation.drop("users.csv", "\n".join((*users(*range(30)), "")))
        installation.wait_for_event("removals.placed", feed="all")
        yield installation


def still_active(rosterd: Rosterd) -> int:
    ((count,),) = [tuple(row.values()) for row in rosterd.query("SELECT count(*) FROM users WHERE inactive_by IS NULL")]
    return int(str(count))


def test_the_client_approves_by_an_upload(rosterd: Rosterd) -> None:
    """A file named as the mail says deactivates who is missing, over a restart, too; it is removed."""
    rosterd.kill9()
    rosterd.start()
    code = str(rosterd.query("SELECT code FROM on_hold WHERE decision = ''")[0]["code"])
    rosterd.drop("users.csv.approve-WRONG2", "")
    rosterd.wait_for_event("approval.refused")
    assert 60 == still_active(rosterd)
    rosterd.drop(f"users.csv.approve-{code}", "")
    rosterd.wait_for_event("hold.decided", decision="approved", by="client")
    assert 30 == still_active(rosterd)
    wait_until(lambda: not [name for name in rosterd.inbox() if "approve" in name], "the approvals are removed")
    (subject, *_) = [row["subject"] for row in rosterd.query("SELECT subject FROM outbox ORDER BY id DESC")]
    assert "Users who are missing from your user file users.csv" == subject


def test_the_operator_sees_and_approves(rosterd: Rosterd) -> None:
    """Status, imports and preview say how many are missing and who; approve deactivates them, and nothing is left."""
    shown = rosterd.execute("status").stdout
    assert "acme: 30 users are missing from users.csv and active until you decide: `rosterd preview 2 --csv`" in shown
    assert "2: 30 users are missing and active until you decide, since " in rosterd.execute("imports").stdout
    assert "removals: 30 users are still missing" in rosterd.execute("preview", "2").stdout
    assert '"","S30","deactivated","name","Ann Lee30",""' in rosterd.execute("preview", "2", "--csv").stdout
    assert "client acme: 1 file is on hold, the removals of users.csv for " in rosterd.execute("doctor").stdout
    assert 'rosterd_on_hold{client="acme",kind="removals"} 1.0' in rosterd.execute("metrics").stdout
    assert 'rosterd_removals_on_hold_users{client="acme"} 30.0' in rosterd.execute("metrics").stdout
    assert "30 users are deactivated" in rosterd.execute("approve", "users.csv", "--client", "acme").stdout
    assert 30 == still_active(rosterd)
    assert "missing from users.csv" not in rosterd.execute("status").stdout
    assert 2 == rosterd.execute("approve", "users.csv", "--client", "acme").returncode


def test_the_number_of_last_night(rosterd: Rosterd) -> None:
    """The mail of the only question names an import; its number is good while a newer file asks the same."""
    rosterd.drop("users.csv", "\n".join((*users(*range(31)), "")))
    rosterd.wait_for_imports(3)
    assert "import         3" in rosterd.execute("preview", "2").stdout
    assert "29 users are deactivated" in rosterd.execute("approve", "2", "--client", "acme").stdout
    assert 31 == still_active(rosterd)
    assert 2 == rosterd.execute("approve", "2", "--client", "acme").returncode


def test_an_import_by_hand(rosterd: Rosterd, tmp_path: Path) -> None:
    """`rosterd import` says that removals are on hold; with --approve they are approved at once."""
    file = tmp_path / "by hand" / "users.csv"
    file.parent.mkdir()
    file.write_text("\n".join((*users(*range(30)), "")))
    told = rosterd.execute("import", str(file), "--client", "acme").stdout
    assert "30 users are missing from it and stay active: `rosterd preview 3 --csv` lists them" in told
    assert 60 == still_active(rosterd)
    assert "30 users are deactivated" in rosterd.execute("import", str(file), "--client", "acme", "--approve").stdout
    assert 30 == still_active(rosterd)


def test_the_operator_rejects(rosterd: Rosterd) -> None:
    """Nobody is deactivated, without the service, too."""
    rosterd.kill9()
    assert "stay active" in rosterd.execute("reject", "2", "--client", "acme").stdout
    assert 60 == still_active(rosterd)


def test_whom_another_feed_states_meanwhile_stays(engine: Engine) -> None:
    """Of two who are missing, one is in a file of the other feed before the removals are approved."""
    settings = msgspec.structs.replace(UNGUARDED, deactivated="0 %", deactivated_floor=0)
    snapshots(engine, "students", "staff").settings(guard=settings)
    engine.file(*users(*range(9)), name="students1.csv")
    engine.file(*users(*range(2, 9)), name="students2.csv")
    engine.file(*users(0), name="staff1.csv")
    files_of(engine).decide(question(engine), "approved", "operator")
    assert {"S1": "snapshot"} == inactive(engine)
    engine.file(*users(*range(2, 9)), name="students3.csv")
    assert {"S1": "snapshot"} == inactive(engine)
