"""Each question has the same answer in both databases; what only SQLite understands is not among them yet."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from importer.model import Change, OnHold
from importer.store import baselines, copying, integrity, ledger, mail_queue, personal_data, queries, retention
from importer.store.connection import Connection
from importer.store.database import Store
from importer.store.roster import changes, held_files, history, ids, pauses
from importer.store.searches import activity, export, imports, people
from importer.store.searches.imports import Wanted
from importer.store.sqlite.copying import SqliteSide
from importer.store.tables import hooks, replays, strays
from tests.engine import CLIENT, HEADER, Engine
from tests.lab.postgresql import PostgresqlServer

AT = datetime(2026, 11, 22, 7, 42, 5, tzinfo=UTC)
DAY = timedelta(days=1)
FAR = datetime(2100, 1, 1, tzinfo=UTC)
NAMES = ("claim_id", "client", "feed", "file")

TABLES = ("imports", "import_problems", "outbox", "hook_events", "hook_totals", "on_hold", "strays", "user_changes")

Ask = Callable[[Connection], Any]
QUESTIONS: dict[str, Ask] = {
    "ledger.find": lambda conn: [ledger.find(conn, f"20261122T074205Z-{number:08x}") for number in range(6)],
    "ledger.unarchived": lambda conn: ledger.unarchived(conn, CLIENT),
    "ledger.last_warnings": lambda conn: ledger.last_warnings(conn, CLIENT, file="users.csv", before=""),
    "baselines": lambda conn: (
        baselines.exist(conn, CLIENT),
        baselines.of_missing_rows(conn, CLIENT, "", 0),
        baselines.of_missing_rows(conn, CLIENT, "", 100),
    ),
    "integrity.records": integrity.records,
    "integrity.find": lambda conn: [integrity.find(conn, CLIENT, id_) for id_ in ("2", "x", "-1")],
    "mail.next": lambda conn: mail_queue.next_mail(conn, FAR, last_retry_s=60),
    "mail.waiting": lambda conn: mail_queue.waiting(conn, CLIENT, at_most=100),
    "mail.never_tried": lambda conn: [
        mail_queue.never_tried(conn, mail, at_most=9) for mail in mail_queue.mails(conn, [1, 2])
    ],
    "hooks.counts": hooks.counts,
    "hooks.events": lambda conn: hooks.events(conn, hook=None, states=["dead", "waiting"], limit=9),
    "strays": lambda conn: sorted(strays.known(conn, CLIENT).items()),
    "pauses": lambda conn: (pauses.active(conn, AT), pauses.active(conn, AT, CLIENT), pauses.freezes(conn, AT)),
    "pauses.ended": pauses.ended_early,
    "held.waiting": lambda conn: (held_files.waiting(conn), held_files.waiting(conn, CLIENT)),
    "held.find": lambda conn: (held_files.find(conn, "held-1"), held_files.is_used(conn, CLIENT, "CODE")),
    "held.code_of": lambda conn: [held_files.code_of(conn, id_) for id_ in ("901", "902", "nonsense")],
    "queries.imports": lambda conn: queries.imports(conn, client=None, since=None, failed=False, limit=9),
    "queries.failed": lambda conn: queries.imports(conn, client=CLIENT, since=AT, failed=True, limit=9),
    "queries.find_import": lambda conn: [queries.find_import(conn, id_) for id_ in ("2", "20261122T074205Z-00000003")],
    "queries.totals": lambda conn: sorted(queries.totals(conn), key=lambda total: total.outcome),
    "queries.clients": queries.clients,
    "queries.last": lambda conn: (
        queries.last_imports(conn, [CLIENT, "nobody"]),
        queries.last_uploads_at(conn, [CLIENT, "nobody"]),
    ),
    "queries.last_finished_at": queries.last_finished_at,
    "queries.unarchived": lambda conn: (queries.unarchived_by_client(conn), queries.count_unarchived(conn)),
    "queries.problems": lambda conn: [queries.problems(conn, CLIENT, id_) for id_ in range(1, 5)],
    "queries.rows_with_problems": lambda conn: queries.count_rows_with_problems(conn, CLIENT, 2),
    "queries.removals": lambda conn: queries.count_removals_on_hold(conn, 902),
    "queries.archive_name": lambda conn: queries.archive_name(conn, 1),
    "queries.find_user": lambda conn: queries.find_user(conn, CLIENT, "S1"),
    "queries.mails": lambda conn: (
        queries.mails(conn, client=None, states=["waiting", "sent"], limit=9),
        queries.mails(conn, client=CLIENT, states=["dead"], limit=9),
        queries.mails_of(conn, "20261122T074205Z-00000002"),
        queries.find_mail(conn, 1),
    ),
    "queries.mail_counts": lambda conn: (
        queries.mails_sent(conn),
        queries.mails_failing(conn),
        queries.mails_by_client(conn, "waiting"),
        queries.count_mails(conn, "dead"),
        queries.failing_mail(conn),
        queries.oldest_waiting_mail(conn),
    ),
    "queries.users": lambda conn: [
        queries.users(conn, text, client=client, limit=9, is_inactive=former)
        for text, client, former in (
            ("S1", None, False),
            ("ZOE@example.org", CLIENT, False),
            ("nn l", None, False),
            ("zOÉ", None, False),
            ("o", None, False),
            ("", CLIENT, True),
            ("", None, False),
        )
    ],
    "queries.used_attributes": lambda conn: queries.used_attributes(conn, CLIENT),
    "queries.similar_ids": lambda conn: sorted(queries.similar_ids(conn, CLIENT, "s9")),
    "queries.durations": lambda conn: queries.durations(conn, [0.5, 60.0])[0],
    "integrity.findings": lambda conn: sorted(
        map(str, [*integrity.ledger_findings(conn, quick=False), *integrity.outbox_findings(conn, FAR)])
    ),
    "history": lambda conn: [
        (history.of_person(conn, CLIENT, id_), history.story(conn, CLIENT, id_)) for id_ in ("S1", "s2", "nobody")
    ],
    "retention.clients": retention.clients,
    "retention.due": lambda conn: retention.due(conn, CLIENT, FAR),
    "search": lambda conn: [
        imports.search(conn, wanted, 9)
        for wanted in (
            Wanted(),
            Wanted(clients=(CLIENT, "beta"), outcome="partly", since=AT, until=FAR),
            Wanted(file="SERS", code="9001", before=99),
        )
    ],
    "people": lambda conn: [
        people.begin_with(conn, text, clients, is_of_all=is_of_all, limit=9)
        for text, clients, is_of_all in (
            ("S", [CLIENT, "beta"], True),
            ("zoe@", [CLIENT], False),
            ("ZO", [CLIENT], False),
            ("s", ["beta"], False),
            ("s", [], False),
        )
    ],
    "people.named": lambda conn: [people.named(conn, text, CLIENT, 9) for text in ("zoé", "ann", "R", "Ann R")],
    "changes": lambda conn: [
        [*changes.since(conn, cursor, client)] for cursor, client in ((0, None), (1, CLIENT), (2, None), (0, "beta"))
    ],
    "history.later_id": lambda conn: [history.later_id(conn, CLIENT, id_) for id_ in ("former", "S1")],
    "activity": lambda conn: (activity.of_client(conn, CLIENT, 1), activity.of_day(conn, AT, None)),
    "export": lambda conn: [
        (export.count(conn, CLIENT, with_former=former), [*export.people(conn, CLIENT, with_former=former)])
        for former in (True, False)
    ],
}


@pytest.fixture(scope="module")
def both(postgresql: PostgresqlServer, tmp_path_factory: pytest.TempPathFactory) -> Any:  # noqa: ANN401 - a generator
    """Yield two databases with the same rows: of some files, and of what is next to them."""
    from importer.store.postgresql.copying import PostgresqlSide  # noqa: PLC0415 - takes libpq
    from importer.store.postgresql.database import PostgresqlStore  # noqa: PLC0415 - likewise

    folder = tmp_path_factory.mktemp("same")
    with (
        contextlib.closing(Engine(folder)) as engine,
        contextlib.closing(PostgresqlStore.open(postgresql.new_database())) as other,
    ):
        fill(engine)
        copying.copy(SqliteSide(engine.store), PostgresqlSide(other), lambda _: None)
        for each in (engine.store, other):
            put_next_to(each)
        first = other.conn.execute("SELECT min(unique_id) FROM users").fetchone()
        other.conn.execute(
            "UPDATE users SET missed = NULL WHERE unique_id = ?", first
        )  # PostgreSQL puts it behind others
        yield engine.store, other


def fill(engine: Engine) -> None:
    """Import files that end in each way."""
    engine.rows("S1,OPSCOM,Ann,Lee,ann@example.org,ann", "s2,OPSCOM,Zoé,Roy,zoe@example.org,zoe")
    engine.rows("S1,OPSCOM,Ann,Ray,ann@example.org,ann", "S3,OPSCOM,,Roy,nowhere,", "S4,OPSCOM,A,B,ann@example.org,x")
    engine.upload(b"%PDF-1.7")
    engine.upload(f"{HEADER}\nS5,OPSCOM,Bo,Lee,bo@example.org,bo".encode())
    engine.rows("former,OPSCOM,Al,Lee,al@example.org,al", "gone,OPSCOM,Al,,,")
    ids.rekey(engine.store, CLIENT, [("former", "new")], is_applied=True)
    personal_data.erase(engine.store, CLIENT, "gone")


def put_next_to(store: Store) -> None:
    """Put something into each other table."""
    with store.transaction():
        ledger.mark_archived(store.conn, ["20261122T074205Z-00000001"], AT)
        for number in (1, 2):
            held_files.add(store.conn, held(number))
        held_files.decide(store.conn, ["held-1"], "approved", "operator", AT)
        pauses.add(store.conn, CLIENT, ["created"], AT + DAY)
        for feed in ("", "staff"):
            pauses.freeze(store.conn, CLIENT, feed, AT, AT + DAY, AT)
        for frozen in pauses.freezes(store.conn, AT):
            pauses.note_announced(store.conn, frozen)
        pauses.freeze(store.conn, CLIENT, "staff", AT, AT, AT)
        replays.add(store.conn, CLIENT, 7, 8, "ann", AT)
        strays.put(
            store.conn, CLIENT, [strays.Stray(path=b"\xff.txt", seen_at=AT), strays.Stray(path=b"a", seen_at=AT)]
        )
        event = hooks.HookEvent(
            id=0,
            event_id="e",
            hook="",
            event="mail.dead",
            client=CLIENT,
            state="",
            body="{}",
            attempts=0,
            created_at=AT,
            due_at=AT,
            ended_at=None,
            last_error="",
        )
        hooks.insert(store.conn, event, ["chat", "tickets"])
        hooks.mark_dead(
            store.conn, hooks.events(store.conn, hook="chat", states=["waiting"], limit=1)[0], "HTTP 500", AT
        )


def held(number: int) -> OnHold:
    named = dict.fromkeys(NAMES, CLIENT) | {"claim_id": f"held-{number}", "kind": "removals" if number == 2 else "file"}
    change = Change(guard="created", count=3, of=9, lines=(2, 3))
    facts = {"import_id": 900 + number, "is_correction": False, "code": "CODE", "held_at": AT, "approval_days": 3}
    return OnHold(**named, **facts, tripped=(change,), changes=(change,), is_for_client=True, users=number)  # type: ignore[arg-type]


@pytest.mark.xdist_group("postgresql")
@pytest.mark.parametrize("question", QUESTIONS)
def test_both_databases_answer_alike(both: tuple[Store, Store], question: str) -> None:
    """Whatever is asked, rows, their order and their types are the same."""
    expected, actual = (QUESTIONS[question](store.conn) for store in both)
    assert expected == actual
    assert repr(expected) == repr(actual)
    assert expected not in (None, [], {})


def change(store: Store) -> list[object]:
    """Change rows in each way that needs nothing of SQLite alone; return what the functions tell."""
    conn, claim = store.conn, "20261122T074205Z-00000002"
    told: list[object] = []
    with store.transaction():
        import_id = ledger.next_id(conn, "acme")
        ledger.add_action(conn, import_id, client=CLIENT, kind="undo", title="undo of 1", users=2)
        conn.execute("DELETE FROM imports WHERE id = ?", (import_id,))  # times and ids are of each database's own
        ledger.note_approval(conn, 1, "operator")
        ledger.mark_rewritten(conn, 2, "f" * 64, 3)
        ledger.mark_archived(conn, [claim], AT)
        baselines.forget(conn, "beta")
        told += [mail_queue.retry(conn, 1, AT), mail_queue.drop(conn, 2), mail_queue.drop(conn, 99)]
        mail_queue.mark_sent(conn, 1, AT, "")
        told += [hooks.retry(conn, 1, AT), hooks.drop(conn, 2, AT), hooks.give_up_unknown(conn, [], AT)]
        told += [held_files.decide(conn, ["held-1", "held-2"], "expired", "", AT)]
        strays.drop(conn, CLIENT, [b"a"])
        held_files.add(conn, held(1))
    retention.note_pass(store, AT)
    told += [retention.forget_mails(store, CLIENT, FAR)]
    told += [retention.forget_history(store, CLIENT, retention.begin_history(store, FAR))]
    told += [retention.forget_hook_events(store, FAR)]
    told += [retention.forget_problems(store, CLIENT, FAR) for _ in range(3)]
    return told


@pytest.mark.xdist_group("postgresql")
def test_both_databases_change_alike(both: tuple[Store, Store]) -> None:
    """What a function changes, and what it tells of it, is the same. It comes last: rows are gone then."""
    ours, theirs = both
    assert change(ours) == change(theirs)
    for table in TABLES:
        columns = ours.conn.execute("SELECT group_concat(name, ', ') FROM pragma_table_info(?)", (table,)).fetchone()[0]
        query = f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3"  # noqa: S608 - names of ours
        assert ours.conn.execute(query).fetchall() == theirs.conn.execute(query).fetchall(), table
