"""What the pages of the console show, to whom, and what their forms do."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from console import app, on_hold, rendering
from console.reading import Reading
from importer.model import OnHold
from importer.store.searches import people as people_search
from importer.store.searches.imports import Wanted, first_since, search
from tests.console.conftest import ANN, BAD, BOB, HEADER
from tests.engine import Engine
from tests.lab import wait_until
from tests.lab.console import Browser, Console, Page, let_in, visited
from tests.lab.daemon import Rosterd, make_inboxes
from watcher.health import obstacle

SAFE = {"/static/", "/login"}
MANY = 30  # users, more than a guard lets a file change at once
# What would be markup, or end one, wherever a name or a cell is put; a file's name has no slash.
CORPUS = (
    "<script>alert(1)<!--",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7*7 }}{% raw %}",
    "javascript:alert(1)",
    "&lt;b&gt;",
    "\u202egpj.exe",
)


def people(shift: int = 0) -> str:
    """Return a file of users; with another shift each gets another name and address."""
    rows = (f"S-{n},OPSCOM,Name{n + shift},Family{n + shift},n{n + shift}@a.example\n" for n in range(MANY))
    return HEADER + "".join(rows)


@contextlib.contextmanager
def guarded(folder: Path) -> Iterator[Rosterd]:
    """Yield an installation with limits; its daemon is down."""
    settings = {"console": {"listen": "127.0.0.1:0"}, "guard": {"identity": "10 %", "attribute": "off"}}
    with Rosterd(folder, make_inboxes(folder), settings=settings) as installation:
        for name, role, *clients in (("olga", "operator"), ("vera", "viewer"), ("betaonly", "operator", "beta")):
            let_in(folder / "state", name, role, *clients)  # type: ignore[arg-type]  # a literal, of a table
        yield installation


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Rosterd, Console]]:
    """Yield a running daemon with a file on hold that would exchange all names, and its console."""
    with guarded(tmp_path) as installation:
        installation.start()
        installation.drop("users.csv", people())
        installation.wait_for_imports(1)
        installation.drop("users.csv", people(shift=1))
        installation.wait_for_event("hold.placed")
        with Console(installation.config, tmp_path / "console.log") as console:
            yield installation, console


def number_on_hold(browser: Browser) -> int:
    """Return the number of the file that is on hold, by the link to it."""
    [link] = {link for link in Page(browser.get("/").text).links if link.startswith("/on-hold/")}
    return int(link.rpartition("/")[2])


# Overview


def test_all_is_well(console: Console) -> None:
    """The first sentence says so, and each client has its last file and its 30 days."""
    page = Page(console.logged_in("olga").get("/").text)
    assert "All is well." in page.text
    assert "users.csv partly imported" in page.text
    labels = [attributes.get("aria-label") for tag, attributes in page.elements if tag == "svg"]
    assert "1 file in 30 days, 1 row failed" in labels
    assert "4 rows came in 30 days" in page.text


def test_the_overview_leads_to_what_waits(held: tuple[Rosterd, Console]) -> None:
    """What waits for a decision is one click from the sentence that says so."""
    browser = held[1].logged_in("olga")
    page = Page(browser.get("/").text)
    assert "1 decision waits for you." in page.text
    assert 200 == browser.get(f"/on-hold/{number_on_hold(browser)}").status


# Imports


def test_imports_are_filtered(console: Console) -> None:
    """Each field of the filter leaves out what does not fit."""
    browser = console.logged_in("olga")

    def files(query: str) -> set[str]:
        return set(re.findall(r'<a href="/imports/\d+">([^<]*)</a>', browser.get(f"/imports?{query}").text))

    assert {"users.csv", "members.csv"} == files("")
    assert {"users.csv"} == files("client=acme") == files("outcome=partly") == files("file=SER") == files("code=9033")
    assert {"users.csv", "members.csv"} == files("since=2020-01-01&until=2199-12-31")
    assert (
        set() == files("until=2020-01-01") == files("since=2199-12-31") == files("file=%25") == files("client=nobody")
    )


def test_a_filter_that_means_nothing_is_answered(console: Console) -> None:
    """A day that is none is named; other nonsense finds nothing and breaks nothing."""
    browser = console.logged_in("olga")
    assert "“" not in browser.get("/imports?since=soon").text
    assert '"soon" is not a day' in Page(browser.get("/imports?since=soon").text).text
    for query in ("before=x", "before=" + "9" * 30, "client=" + "x" * 5000, "outcome=%00", "file=%ff"):
        assert 200 == browser.get(f"/imports?{query}").status, query
    assert "users.csv" in browser.get("/imports?since=0001-01-01&until=9999-12-31").text


def test_an_import_says_what_failed(console: Console) -> None:
    """Its counts, its problems with line and code, its mail and its files are on one page."""
    page = Page(console.logged_in("olga").get("/imports/1").text)
    assert "2 new, 1 failed." in page.text
    assert "email" in page.text
    assert "9033" in page.text
    assert {"/imports/1/files/0", "/imports/1/files/1", "/imports/1/files/2"} <= {*page.links}


def test_an_import_says_what_it_warned_of(tmp_path: Path) -> None:
    """Nobody whose job is to look has to open the result text to learn that there is something in it."""
    with guarded(tmp_path) as installation:
        installation.start()
        installation.drop("users.csv", HEADER + ANN)
        installation.wait_for_imports(1)
        installation.drop("users.csv", HEADER + ANN.replace("Ann,Lee", "Lee,Ann"))
        installation.wait_for_imports(2)
        with Console(installation.config, tmp_path / "console.log") as console:
            browser = console.logged_in("vera")
            page, told = Page(browser.get("/imports/2").text), json.loads(browser.get("/api/imports/2").text)
            assert "First and last name are exchanged" in page.text
            assert ["name.exchanged"] == [each["code"] for each in told["warnings"]]
            assert "name.exchanged" in installation.execute("show", "2").stdout
            assert "Warnings" not in Page(browser.get("/imports/1").text).text


def test_files_are_downloaded_and_never_shown(console: Console, rosterd: Rosterd) -> None:
    """Downloads are the upload and its answers in .bak, as attachments that a browser saves and does not show."""
    browser = console.logged_in("olga")
    upload, result, failed = (browser.get(f"/imports/1/files/{index}") for index in range(3))
    assert (HEADER + ANN + BOB + BAD).encode() == upload.body
    assert rosterd.read_bak("users.result.txt") == result.body
    assert rosterd.read_bak("users.failed.csv") == failed.body
    for answer in (upload, result, failed):
        assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''users.")
        assert "application/octet-stream" == answer.headers["content-type"]
        assert "nosniff" == answer.headers["x-content-type-options"]
    wait_until(lambda: len(console.events("console.downloaded")) >= 3, "the log")
    assert {"users"} == {str(event["file"]).partition(".")[0] for event in console.events("console.downloaded")}


@pytest.mark.parametrize(
    "path", ["/imports/1/files/3", "/imports/1/files/-1", "/imports/1/files/..%2F..%2Fstate%2Frosterd.db"]
)
def test_nothing_else_is_downloaded(console: Console, path: str) -> None:
    """A number is all that can be asked for."""
    assert console.logged_in("olga").get(path).status in (400, 404)


def test_the_name_of_a_download_is_only_a_name(tmp_path: Path) -> None:
    """Signs that end a header or a quote, lead elsewhere or are no text are escaped in the browser's file name."""
    names = (
        "a\r\nSet-Cookie: x=1.csv",
        '";filename="b.html.csv',
        "..\\..\\c.csv",
        "..%2F..%2Fd.csv",
        os.fsdecode(b"\xff.csv"),
    )
    with guarded(tmp_path) as installation:
        for name in names:
            installation.drop(name, HEADER + ANN)
        assert 0 == installation.execute("sweep").returncode
        count = len(installation.imports())
        installation.start()
        with Console(installation.config, tmp_path / "console.log") as console:
            browser = console.logged_in("olga")
            answers = [browser.get(f"/imports/{number}/files/0") for number in range(1, count + 1)]
    assert count >= 3  # names that no inbox takes are left there
    for answer in answers:
        assert 200 == answer.status
        assert re.fullmatch(r"attachment; filename\*=UTF-8''[\w.%~-]+", answer.headers["content-disposition"])
        assert "x=1" not in str(answer.headers.get_all("set-cookie"))


def test_a_folder_of_the_client_is_not_downloaded_from(tmp_path: Path) -> None:
    """Links, and files in a .bak that is not the service's own, are not followed or sent."""
    with guarded(tmp_path) as installation:
        installation.drop("users.csv", HEADER + ANN)
        installation.start()
        installation.wait_for_imports(1)
        bak = tmp_path / "acme" / ".bak"
        [upload] = [path for path in bak.iterdir() if path.suffix == ".csv"]
        with Console(installation.config, tmp_path / "console.log") as console:
            browser = console.logged_in("olga")
            assert 200 == browser.get("/imports/1/files/0").status
            upload.unlink()
            upload.symlink_to(tmp_path / "state" / "console-users.json")
            assert 409 == browser.get("/imports/1/files/0").status
            bak.rename(tmp_path / "elsewhere")
            bak.symlink_to(tmp_path / "elsewhere")
            answer = browser.get("/imports/1/files/1")
            assert (409, True) == (answer.status, "The reason: the service cannot open it" in answer.text)


def test_an_import_is_done_again_and_taken_back(tmp_path: Path) -> None:
    """An operator does both, an undo after its preview; ledger, history and log have who; a viewer cannot."""
    with guarded(tmp_path) as installation:
        installation.start()
        installation.drop("users.csv", HEADER + ANN)
        installation.wait_for_imports(1)
        with Console(installation.config, tmp_path / "console.log") as console:
            browser, viewer, other = (console.logged_in(name) for name in ("olga", "vera", "betaonly"))
            assert "Import it again" not in viewer.get("/imports/1").text
            for path in ("/imports/1/replay", "/imports/1/undo"):
                assert 403 == viewer.submit("/account", path).status
                assert 404 == other.submit("/account", path).status
            assert (403, 404) == (
                viewer.get("/imports/1/undo-preview").status,
                other.get("/imports/1/undo-preview").status,
            )
            assert 404 == browser.submit("/account", "/imports/1/eat").status
            assert 303 == browser.submit("/imports/1", "/imports/1/replay").status
            assert "users.csv of acme is imported again" in browser.get("/imports/1").text
            assert ("imported", 1) == tuple(
                installation.wait_for_imports(2)[-1][name] for name in ("outcome", "unchanged")
            )
            assert "Requested by olga" in Page(browser.get("/imports/2").text).text
            preview = Page(browser.get("/imports/1/undo-preview").text)
            assert "1 user becomes inactive" in preview.text
            assert "--apply" not in preview.text
            assert None is installation.users()["S-1"]["inactive_by"]
            assert 303 == browser.submit("/imports/1/undo-preview", "/imports/1/undo").status
            assert "undo" == installation.users()["S-1"]["inactive_by"]
            page = Page(browser.get("/person?client=acme&id=S-1").text)
            assert "Taken back by undo of 1 , at the request of olga" in page.text
            assert 409 == browser.get("/imports/1/undo-preview").status
            assert 409 == browser.submit("/account", "/imports/3/replay").status
            orders = [(event["user"], event["order"], event["id"]) for event in console.events("console.ordered")]
            assert [("olga", "file.replay", 1), ("olga", "roster.undo", 1)] == orders[:2]
    [replayed] = installation.events("file.replayed")
    assert ("acme", "users.csv", 1, "olga") == tuple(replayed[name] for name in ("client", "file", "id", "by"))


# On hold


def test_an_operator_approves(held: tuple[Rosterd, Console]) -> None:
    """The page shows before and after; once approved the users are changed, and the ledger says by whom."""
    installation, console = held
    browser = console.logged_in("olga")
    number = number_on_hold(browser)
    page = Page(browser.get(f"/on-hold/{number}").text)
    assert "30 of 30 users that we knew get another identity" in page.text
    assert "Its users, as counted when the file came: 30 changed." in page.text
    assert "S-0 2 first_name Name0 Name1" in page.text
    assert "Name0" == installation.users()["S-0"]["first_name"]
    answer = browser.submit(f"/on-hold/{number}", f"/on-hold/{number}/approve")
    assert (303, "/on-hold") == (answer.status, answer.headers["location"])
    wait_until(lambda: installation.users()["S-0"]["first_name"] == "Name1", "the import")
    assert "olga" == installation.wait_for_imports(2)[-1]["approved_by"]
    [event] = wait_until(lambda: console.events("console.ordered"), "the log")
    assert ("olga", "file.approve", True) == (event["user"], event["order"], event["done"])
    once, again = browser.get("/on-hold").text, browser.get("/on-hold").text
    assert "users.csv of acme is approved" in once
    assert "users.csv of acme is approved" not in again


def test_all_changes_are_saved(held: tuple[Rosterd, Console]) -> None:
    """Who approves asks first who they are: not the examples alone, and as the command prints them."""
    installation, console = held
    browser = console.logged_in("vera")
    number = number_on_hold(browser)
    [link] = {link for link in Page(browser.get(f"/on-hold/{number}").text).links if link.endswith(".csv")}
    answer = browser.get(link)
    assert (200, "application/octet-stream") == (answer.status, answer.headers["content-type"])
    assert "attachment; filename*=UTF-8''users.csv.changes.csv" == answer.headers["content-disposition"]
    assert installation.execute("preview", str(number), "--csv").stdout.split() == answer.text.split()
    assert 1 + 3 * MANY == len(answer.text.splitlines())
    [event] = wait_until(lambda: console.events("console.downloaded"), "the log")
    assert ("vera", number) == (event["user"], event["id"])
    assert 404 == console.logged_in("betaonly").get(link).status
    assert 404 == browser.get("/on-hold/999/changes.csv").status


def test_an_import_on_hold_leads_to_the_decision(held: tuple[Rosterd, Console]) -> None:
    """Its page is where mail and ledger lead to; nothing of it can be taken back yet."""
    browser = held[1].logged_in("olga")
    number = number_on_hold(browser)
    links = {*Page(browser.get(f"/imports/{number}").text).links}
    assert f"/on-hold/{number}" in links
    assert f"/imports/{number}/undo-preview" not in links


def test_an_operator_rejects(held: tuple[Rosterd, Console]) -> None:
    """Nobody is changed, and the file is refused."""
    installation, console = held
    browser = console.logged_in("olga")
    number = number_on_hold(browser)
    form = {"reason": "two <b>classes</b> are\n exchanged."}
    assert 409 == browser.submit(f"/on-hold/{number}", f"/on-hold/{number}/reject", {"reason": "x" * 501}).status
    assert 303 == browser.submit(f"/on-hold/{number}", f"/on-hold/{number}/reject", form).status
    wait_until(lambda: installation.imports()[-1]["code"] == "guard.rejected", "the refusal")
    page = Page(browser.get(f"/imports/{installation.imports()[-1]['id']}").text)
    assert "Rejected by olga" in page.text
    assert 'Our reason: "two <b>classes</b> are exchanged".' in page.text
    assert "Name0" == installation.users()["S-0"]["first_name"]


def test_a_viewer_does_not_decide(held: tuple[Rosterd, Console]) -> None:
    """A viewer sees the page, has no buttons, and a form that was made by hand is refused."""
    installation, console = held
    browser = console.logged_in("vera")
    number = number_on_hold(browser)
    assert "Approve" not in browser.get(f"/on-hold/{number}").text
    for decision in ("approve", "reject"):
        assert 403 == browser.submit("/account", f"/on-hold/{number}/{decision}").status
    assert [] == console.events("console.ordered")
    assert "on_hold" == installation.imports()[-1]["outcome"]
    [waiting] = json.loads(browser.get("/api/on-hold").text)
    assert (number, "", 30) == (waiting["import_id"], waiting["code"], waiting["tripped"][0]["count"])
    counts = {"created": 0, "updated": 30, "reinstated": 0, "unchanged": 0, "deactivated": 0, "failed": 0}
    assert {**waiting, "counts": counts} == json.loads(browser.get(f"/api/on-hold/{number}").text)


def test_nobody_decides_on_files_of_others(held: tuple[Rosterd, Console]) -> None:
    """Who looks after another client neither sees what is on hold nor decides on it."""
    _, console = held
    number = number_on_hold(console.logged_in("olga"))
    browser = console.logged_in("betaonly")
    assert 404 == browser.get(f"/on-hold/{number}").status == browser.get(f"/api/on-hold/{number}").status
    assert [] == json.loads(browser.get("/api/on-hold").text)
    assert 404 == browser.submit("/account", f"/on-hold/{number}/approve").status
    assert "acme" not in browser.get("/on-hold").text + browser.get("/").text


def test_what_was_decided_is_not_decided_again(held: tuple[Rosterd, Console]) -> None:
    """The second of two people gets a page that says so."""
    installation, console = held
    first, second = console.logged_in("olga"), console.logged_in("olga")
    number = number_on_hold(first)
    token = second.token(f"/on-hold/{number}")
    assert 303 == first.submit(f"/on-hold/{number}", f"/on-hold/{number}/reject").status
    wait_until(lambda: installation.imports()[-1]["code"] == "guard.rejected", "the refusal")
    assert second.post(f"/on-hold/{number}/approve", {"_csrf_token": token}).status in (404, 409)


def test_without_the_service_nothing_is_decided(held: tuple[Rosterd, Console]) -> None:
    """The pages say that the service is down and how to start it, and the database is as it was."""
    installation, console = held
    browser = console.logged_in("olga")
    number = number_on_hold(browser)
    installation.stop()
    page = Page(browser.get("/").text)
    assert "The service is not running." in page.text
    assert "systemctl start rosterd" in page.text
    answer = browser.submit(f"/on-hold/{number}", f"/on-hold/{number}/approve")
    assert 409 == answer.status
    assert "Nothing was decided." in answer.text
    answer = browser.get(f"/on-hold/{number}/changes.csv")
    assert (409, True) == (answer.status, "The reason: the service hands files over, and is not running" in answer.text)
    assert "on_hold" == installation.imports()[-1]["outcome"]


# Clients


def test_a_client_has_inbox_settings_guide_and_trend(tmp_path: Path) -> None:
    """Its page says what needs attention, how the inbox is, what came, what is expected, and what is configured."""
    with guarded(tmp_path) as installation:
        config = installation.config.read_text()
        feed = '[[client.feed]]\nname = "staff"\nfiles = "staff*"\nmode = "snapshot"\n'
        installation.config.write_text(config.replace("[[client]]", '[[client]]\nexpect_every = "36h"', 1) + feed)
        installation.start()
        installation.drop("users.csv", HEADER + ANN + BAD)
        entry = installation.wait_for_imports(1)[0]
        installation.drop("cut.csv", HEADER + '"S-9,OPSCOM,Cut')
        installation.wait_for_event("file.held")
        with Console(installation.config, tmp_path / "console.log") as console:
            browser = console.logged_in("olga")
            wait_until(lambda: "is held" in browser.get("/clients/acme").text, "the status")
            page = Page(browser.get("/clients/acme").text)
            assert "acme: 1 file is held" in page.text
            assert "State watched" in page.text
            assert "Next expected by" in page.text
            assert "1 file in 30 days, 1 row failed." in page.text
            assert "expect_every 36h" in page.text
            assert f"/imports/{entry['id']}" in page.links
            assert "staff staff* states all users" in Page(browser.get("/clients/beta").text).text
            assert {"/clients/acme", "/clients/beta"} <= {*Page(browser.get("/clients").text).links}
            assert "beta" not in Page(browser.get("/clients?q=CM").text).links
            details = json.loads(browser.get("/api/clients/acme").text)
            assert ("36h", 1) == (
                details["settings"]["expect_every"],
                sum(d["failed"] for d in details["days"].values()),
            )
            viewer = console.logged_in("vera")
            assert "Refuse it" not in viewer.get("/clients/acme").text
            assert 403 == viewer.submit("/account", "/clients/acme/held/release", {"file": "cut.csv"}).status
            assert 404 == console.logged_in("betaonly").submit("/account", "/clients/acme/held/refuse").status
            assert 404 == browser.submit("/account", "/clients/acme/held/eat", {"file": "cut.csv"}).status
            assert 409 == browser.submit("/account", "/clients/acme/held/refuse", {"file": "../x"}).status
            assert 303 == browser.submit("/clients/acme", "/clients/acme/held/refuse", {"file": "cut.csv"}).status
            assert "cut.csv is refused, and the client is notified." in browser.get("/clients/acme").text
            assert ("cut.csv", "olga") == tuple(
                installation.wait_for_imports(2)[-1][key] for key in ("file", "requested_by")
            )


def test_a_guide_is_shown_and_downloaded(console: Console) -> None:
    """It is the one that the command writes, for the host that is typed in; nothing else is put into it."""
    browser = console.logged_in("olga")
    page = Page(browser.get("/clients/acme/guide?host=sftp.acme.example&port=2222").text)
    assert "How to send us your users" in page.text
    assert "sftp.acme.example" in page.text
    answer = browser.get("/clients/acme/guide.html?host=sftp.acme.example")
    assert "attachment; filename*=UTF-8''acme.html" == answer.headers["content-disposition"]
    assert answer.text.startswith("<!DOCTYPE html>")
    for nonsense in ("host=%3Cb%3E", "port=99999999", "port=0", "language=xx", "host=a%20b"):
        assert "<b>" not in browser.get(f"/clients/acme/guide?{nonsense}").text
    for path in ("/clients/gamma", "/clients/gamma/guide", "/clients/..%2Facme", "/api/clients/gamma"):
        assert 404 == browser.get(path).status, path


def test_a_locked_database_and_a_full_disk_are_told(
    rosterd: Rosterd, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the service could not record is told with what mends it; a disk that is too full is told before."""
    browser = console.logged_in("olga")
    token = browser.token("/account")
    with contextlib.closing(sqlite3.connect(rosterd.config.parent / "state" / "rosterd.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = browser.post("/imports/1/undo", {"_csrf_token": token})
    assert 409 == answer.status
    assert "Another program writes to" in answer.text
    assert "StoreBusy" not in answer.text
    monkeypatch.setattr(obstacle, "FREE_BYTES", 1 << 80)
    assert "make room on it" in obstacle.full_disk(str(rosterd.config.parent))


# People


def test_people_are_found_by_how_something_of_them_begins(console: Console) -> None:
    """By id, address and user name of all clients; by name of one client; each links to the person's page."""
    browser = console.logged_in("olga")

    def found(query: str) -> set[str]:
        links = Page(browser.get(f"/people?{query}").text).links
        return {link.rpartition("id=")[2] for link in links if link.startswith("/person?")}

    assert {"S-1", "S-2"} == found("q=S-")
    assert (
        {"S-1"} == found("q=ANN@SCHOOL") == found("q=S-1") == found("q=lee&client=acme") == found("q=Ann+L&client=acme")
    )
    assert {"B-1"} == found("q=zed") == found("q=B&client=beta")
    assert set() == found("q=%25") == found("q=S-&client=beta") == found("q=nobody&client=nobody") == found("q=")


def test_a_person_has_values_and_history(held: tuple[Rosterd, Console]) -> None:
    """What is recorded, and what each import changed, with file, line, old and new value, and who approved."""
    installation, console = held
    browser = console.logged_in("olga")
    number = number_on_hold(browser)
    browser.submit(f"/on-hold/{number}", f"/on-hold/{number}/approve")
    wait_until(lambda: installation.users()["S-0"]["first_name"] == "Name1", "the import")
    page = Page(browser.get("/person?client=acme&id=S-0").text)
    assert "Name1 Family1 Active" in page.text
    assert "Changed by users.csv , line 2, approved by olga" in page.text
    assert "first_name before: Name0 → , now: Name1" in page.text
    assert "Recorded by users.csv , line 2" in page.text
    for path in ("/person?client=acme&id=S-99", "/person?client=gamma&id=S-0", "/person"):
        assert 404 == browser.get(path).status


# Mail


def test_mail_is_tried_again_or_dropped(rosterd: Rosterd, console: Console) -> None:
    """What was given up is on its page, one click from the overview; an operator has it tried again, or dropped."""
    rosterd.change(
        "INSERT INTO outbox (id, message_id, client, claim_id, sender, recipients, subject, body, state, attempts,"
        " created_at, due_at, last_error) SELECT 900 + value, 'm' || value, iif(value = 1, 'acme', 'beta'), '', 'r@x',"
        " '[\"it@acme.example\"]', '<b>Subject' || value, x'00', 'dead', 3, '2026-01-01T00:00:00Z',"
        " '2026-01-01T00:00:00Z', 'refused' FROM json_each('[1,2]')"
    )
    browser, viewer, narrowed = (console.logged_in(name) for name in ("olga", "vera", "acmeonly"))
    try:
        assert "/mail" in Page(browser.get("/").text).links
        page = Page(browser.get("/mail").text)
        assert "<b>Subject1 given up To it@acme.example, about acme 3 tries: refused" in page.text
        assert "Subject1" in viewer.get("/mail").text
        assert "Subject2" not in narrowed.get("/mail").text
        assert 403 == viewer.submit("/account", "/mail/901/drop").status
        assert 404 == narrowed.submit("/account", "/mail/902/drop").status
        assert 404 == browser.submit("/account", "/mail/901/eat").status
        assert 303 == browser.submit("/mail", "/mail/901/drop").status
        assert "mail 901 will not be sent." in browser.get("/mail").text
        assert 409 == browser.submit("/account", "/mail/901/retry").status
        assert 303 == narrowed.submit("/account", "/logout").status
    finally:
        rosterd.change("DELETE FROM outbox WHERE id > 900")


def test_an_event_for_a_webhook_is_tried_again_or_dropped(rosterd: Rosterd, console: Console) -> None:
    """What a hook did not take is one click from the overview; of no client only for who sees all."""
    rosterd.change(
        "INSERT INTO hook_events (id, event_id, hook, event, client, state, attempts, created_at, due_at, last_error,"
        " body) SELECT 900 + value, 'e' || value, 'tickets', 'file.refused', iif(value = 1, 'acme', ''), 'dead', 9,"
        " '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z', '<b>500', '{}' FROM json_each('[1,2]')"
    )
    browser, narrowed = (console.logged_in(name) for name in ("olga", "acmeonly"))
    try:
        overview = Page(browser.get("/").text)
        assert "2 events were given up for the hook tickets" in overview.text
        assert "/mail" in overview.links
        assert "file.refused of acme, for tickets given up 9 tries: <b>500" in Page(browser.get("/mail").text).text
        assert "tickets" not in narrowed.get("/").text
        assert 404 == narrowed.submit("/account", "/hooks/902/drop").status
        assert 404 == browser.submit("/account", "/hooks/902/eat").status
        assert 403 == console.logged_in("vera").submit("/account", "/hooks/902/drop").status
        assert 303 == browser.submit("/mail", "/hooks/902/drop").status
        assert "event 902 will not be sent." in browser.get("/mail").text
    finally:
        rosterd.change("DELETE FROM hook_events WHERE id > 900")


# Who sees what


def test_a_narrowed_user_sees_one_client(console: Console) -> None:
    """No page, link or download that this user can reach, or guess, has anything of another client."""
    browser = console.logged_in("acmeonly")
    answers = visited(browser)
    assert "/imports/1" in answers
    for path, answer in answers.items():
        assert answer.status == 200, path
        assert "beta" not in answer.text.replace("Alphabeta", ""), path
        assert "members.csv" not in answer.text, path
    for path in (
        "/imports/2",
        "/imports/2/files/0",
        "/person?client=beta&id=B-1",
        "/clients/beta",
        "/clients/beta/guide",
    ):
        assert 404 == browser.get(path).status
    assert "zed@" not in browser.get("/people?q=B-1").text + browser.get("/people?q=zed&client=beta").text
    assert "ann@" in browser.get("/people?q=S-1").text
    assert "members" not in browser.get("/imports?client=beta").text


def test_every_link_works(console: Console) -> None:
    """A viewer and an operator can follow every link of every page."""
    for name in ("olga", "vera"):
        answers = visited(console.logged_in(name))
        assert {"/imports/1", "/imports/2", "/account", "/on-hold", "/people", "/clients/beta"} <= {*answers}
        answers |= visited(console.logged_in(name), "/people?q=S-")
        assert "/person?client=acme&id=S-1" in answers
        assert {200} == {answer.status for answer in answers.values()}


def test_every_route_that_changes_is_guarded() -> None:
    """A route that takes a form is for operators only, unless it is about one's own session."""
    changing = {
        handler.fn.__name__: bool(handler.guards)
        for handler in app.HANDLERS
        if {"POST", "PUT", "PATCH", "DELETE"} & {str(method) for method in handler.http_methods}
    }
    assert {
        "login": False,
        "logout": False,
        "logout_everywhere": False,
        "decide": True,
        "replay": True,
        "undo": True,
        "change_event": True,
        "change_mail": True,
        "end_hold": True,
    } == changing


# Hostile names and values


def test_nothing_that_a_client_writes_is_markup(tmp_path: Path) -> None:
    """Names of files, cells and everything quoted from them are text on every page, and look like what they are."""
    with guarded(tmp_path) as installation:
        for number, text in enumerate(CORPUS):
            quoted = text.replace('"', '""')
            bad = f'"{quoted}",OPSCOM,"{quoted}","{quoted}","{quoted}"\n'
            good = f'X-{number},OPSCOM,"{quoted}","{quoted}",x{number}@a.example\n'
            installation.drop(f"{text}.csv", HEADER + bad + good)
        installation.drop("header.csv", '"<b>","{{ 7*7 }}"\n1,2\n')
        assert 0 == installation.execute("sweep").returncode
        with Console(installation.config, tmp_path / "console.log") as console:
            browser = console.logged_in("olga")
            answers = visited(browser) | visited(browser, "/people?q=X-")
    pages = {path: Page(answer.text) for path, answer in answers.items() if "/files/" not in path}
    assert len(pages) >= len(CORPUS)
    # The service does not run, and without it nobody can say what an undo would do, nor have a file.
    assert {} == {
        path: answer.status
        for path, answer in answers.items()
        if answer.status != (409 if path.endswith("/undo-preview") or "/files/" in path else 200)
    }
    words = " ".join(page.text for page in pages.values())
    assert "<script>alert(1)<!--.csv" in words
    assert "{{ 7*7 }}{% raw %}.csv" in words
    assert "\u202e" not in words
    for path, page in pages.items():
        for tag, attributes in page.elements:
            assert tag not in ("img", "b", "iframe"), path
            assert not [name for name in attributes if name.startswith("on") or name == "style"], path
            assert not (attributes.get("href") or "").startswith("javascript:"), path
            assert tag != "script" or (attributes["src"] or "").startswith("/static/"), path


# Trouble


def test_a_database_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """Before its first start, and while it is locked or damaged, the console answers, and says what it lacks."""
    with guarded(tmp_path) as installation, Console(installation.config, tmp_path / "console.log") as console:
        browser = console.logged_in("olga")
        answer = browser.get("/")
        assert 503 == answer.status
        assert "it does not exist yet; the service creates it at its first start" in answer.text
        assert 0 == installation.execute("sweep").returncode
        assert 200 == browser.get("/").status
        database = tmp_path / "state" / "rosterd.db"
        with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("BEGIN EXCLUSIVE")
            answer = browser.get("/")
            assert 503 == answer.status
            assert "The database cannot be read." in answer.text
            assert "locked" in answer.text
        assert 200 == browser.get("/").status
        database.write_bytes(b"damaged" * 1000)
        assert 503 == browser.get("/imports").status


def test_a_bad_configuration_is_told(tmp_path: Path) -> None:
    """While config.toml has errors the console goes on, and says so."""
    with guarded(tmp_path) as installation:
        installation.start()
        with Console(installation.config, tmp_path / "console.log") as console:
            browser = console.logged_in("olga")
            assert "configuration has errors" not in browser.get("/").text
            good = installation.config.read_text()
            installation.config.write_text(good + "\nnonsense = 1\n")
            assert "configuration has errors" in browser.get("/").text
            installation.config.write_text(good.replace('name = "beta"', 'name = "gamma"'))
            text = browser.get("/").text
            assert "configuration has errors" not in text
            assert "gamma" in text


# For programs


def test_pages_are_there_as_json(console: Console, rosterd: Rosterd) -> None:
    """What a page shows is there as JSON, in the structs that the commands print."""
    browser = console.logged_in("olga")

    def answer(path: str) -> Any:  # noqa: ANN401 - JSON
        got = browser.get(path)
        assert (200, "application/json") == (got.status, got.headers["content-type"]), path
        return json.loads(got.text)

    def printed(*command: str) -> Any:  # noqa: ANN401 - JSON
        return json.loads(rosterd.execute(*command, "--json").stdout)

    assert printed("imports") == answer("/api/imports")
    assert printed("show", "1") == answer("/api/imports/1")
    assert printed("history", "S-1", "--client", "acme") == answer("/api/person?client=acme&id=S-1")["history"]
    assert printed("users", "S-1") == answer("/api/people?q=S-1")
    assert [] == answer("/api/overview")["concerns"]
    assert {"mails", "events"} == {*answer("/api/mail")}
    assert [2] == [each["id"] for each in answer("/api/imports?client=beta")]
    assert [1] == [each["id"] for each in answer("/api/imports?before=2")]
    for path, status in (
        ("/api/imports/99", 404),
        ("/api/imports?since=soon", 400),
        ("/api/imports?before=x", 400),
        ("/api/imports?before=" + "9" * 30, 400),
        ("/api/people", 400),
        ("/api/nothing", 404),
        ("/api/nothing.json", 404),
    ):
        got = browser.get(path)
        assert (status, "application/json") == (got.status, got.headers["content-type"]), path


def test_the_description_names_what_is_there(console: Console) -> None:
    """The description is JSON without a page, and needs a login like everything else."""
    described = json.loads(console.logged_in("olga").get("/api/openapi.json").text)
    paths = {"/api/overview", "/api/imports", "/api/imports/{number}", "/api/people", "/api/person"}
    paths |= {"/api/clients", "/api/clients/{name}", "/api/on-hold", "/api/on-hold/{number}", "/api/mail"}
    assert paths == {*described["paths"]}
    assert 401 == console.browser().get("/api/openapi.json").status


def test_a_narrowed_user_gets_json_of_one_client(console: Console) -> None:
    """JSON has no more than the pages."""
    browser = console.logged_in("acmeonly")
    lists = (
        "/api/overview",
        "/api/clients",
        "/api/on-hold",
        "/api/imports",
        "/api/mail",
        "/api/people?q=B-",
        "/api/people?q=zed",
    )
    for path in (*lists, "/api/imports?client=beta", "/api/clients/acme"):
        got = browser.get(path)
        assert 200 == got.status, path
        assert "beta" not in got.text, path
    for path in ("/api/imports/2", "/api/person?client=beta&id=B-1", "/api/clients/beta"):
        assert 404 == browser.get(path).status, path


# Looks


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours. Source: WCAG 2.2, relative luminance."""

    def luminance(colour: str) -> float:
        parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_words_can_be_read() -> None:
    """Every colour of words has a contrast of 4.5:1 to what is behind it, light and dark; edges and fills 3:1."""
    css = rendering.STATIC["console.css"].decode()
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", part))
        for part in css.split("@media print")[0].split("prefers-color-scheme: dark")
    )
    for colours in (light, dark):
        for name in ("ink", "soft", "accent", "good", "warn", "bad"):
            for behind in ("paper", "raised"):
                assert contrast(colours[name], colours[behind]) >= 4.5, (name, behind)
        assert contrast(colours["on-accent"], colours["accent"]) >= 4.5
        for name in ("edge", "good-fill", "bad-fill"):
            assert contrast(colours[name], colours["paper"]) >= 3, name


def test_pages_are_for_screen_readers(console: Console) -> None:
    """Every page has a language, one main heading, headings in order, a label for each field, names for its charts."""
    for path, answer in visited(console.logged_in("olga")).items():
        if "/files/" in path:
            continue
        elements = Page(answer.text).elements
        tags = [tag for tag, _ in elements]
        assert ("html", {"lang": "en"}) in elements, path
        assert 1 == tags.count("h1") == tags.count("main"), path
        labelled = {attributes.get("for") for tag, attributes in elements if tag == "label"}
        fields = [a for tag, a in elements if tag in ("input", "select", "textarea") and a.get("type") != "hidden"]
        assert all(field.get("id") in labelled for field in fields), path
        assert all("scope" in attributes for tag, attributes in elements if tag == "th"), path
        charts = [attributes for tag, attributes in elements if tag == "svg"]
        assert all("aria-label" in each or "aria-labelledby" in each for each in charts), path


def test_few_files_on_hold_are_read_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is read in a process of its own, and whoever may look could ask for very many."""
    monkeypatch.setattr(on_hold, "_PATIENCE_S", 0.0)
    monkeypatch.setattr(on_hold, "_AT_A_TIME", threading.BoundedSemaphore(1))
    with on_hold._AT_A_TIME:
        examples, trouble = on_hold._by_the_file(cast("Reading", None), cast("OnHold", None), list)
    assert (None, True) == (examples, "load this page again" in trouble)


# The questions to the database


def test_people_are_searched_by_indexes(engine: Engine) -> None:
    """No question of the search goes through all users."""
    question = people_search._BEGINS.format(clients="(:client_0)")
    sql = f"EXPLAIN QUERY PLAN SELECT unique_id FROM {question}"  # noqa: S608 - a constant of ours
    values = {"client_0": "acme", "is_of_all": 1, "key": "", "key_end": "", "limit": 1, "text": "", "text_end": ""}
    plan = [row[3] for row in engine.store.conn.execute(sql, values).fetchall()]
    assert [] == [step for step in plan if step.startswith("SCAN users")]
    assert {"users_by_id", "users_by_email", "users_by_user_name"} <= {
        name for step in plan for name in step.split() if name.startswith("users_")
    }


def test_a_search_reads_only_what_it_needs(engine: Engine) -> None:
    """Searching for a client goes by its index, and the first import since a moment is found by halving."""
    conn = engine.store.conn
    engine.upload((HEADER + ANN).encode())
    [entry] = search(conn, Wanted(clients=("acme",)), 10)
    assert [] == search(conn, Wanted(clients=()), 10)
    assert [] == search(conn, Wanted(clients=("beta",)), 10)
    assert [] == search(conn, Wanted(before=entry.id), 10)
    assert 1 == first_since(conn, entry.finished_at)
    assert 2 == first_since(conn, entry.finished_at.replace(year=2999))
