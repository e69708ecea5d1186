"""Who gets in to the console, and how nobody else does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from console import serve
from console.access import patience
from console.access.attempts import MOST_OF_ADDRESS, MOST_OF_NAME, MOST_OF_PAIR, WINDOW_S, Attempts
from console.access.gate import Gate, door_of
from console.access.sessions import Sessions
from console.access.users import (
    ConsoleUser,
    Directory,
    UsersUnreadable,
    changing,
    is_password,
    read_users,
    with_password,
)
from console.entrance import inside
from console.serve import listener
from tests.console.conftest import HEADER
from tests.lab import wait_until
from tests.lab.console import HOST, PASSWORD, Browser, Console, Page, let_in
from tests.lab.daemon import Rosterd, make_inboxes
from watcher.settings import Config, ConsoleSettings

OLGA = ConsoleUser(name="olga", role="operator", salt="00", key="00")
GUARDED = (
    "/",
    "/account",
    "/imports",
    "/imports/1",
    "/imports/1/files/0",
    "/on-hold",
    "/on-hold/1",
    "/nowhere",
    "/api",
)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


# Logging in


def test_a_password_lets_in(console: Console) -> None:
    """Whoever knows the password gets a cookie that no script and no other site can use, and the first page."""
    browser = console.browser()
    answer = browser.log_in("olga")
    assert (303, "/") == (answer.status, answer.headers["location"])
    [line] = [line.lower() for line in browser.cookie_lines if line.startswith("rosterd=")]
    assert {"httponly", "samesite=lax", "path=/"} <= {part.strip() for part in line.split(";")}
    assert 200 == browser.get("/").status


def test_a_wrong_password_does_not(console: Console) -> None:
    """A wrong password, or the name of nobody, is answered alike, and leads nowhere."""
    browser = console.browser()
    answers = [browser.log_in("vera", "wrong"), browser.log_in("nobody", "wrong")]
    assert [401, 401] == [answer.status for answer in answers]
    assert all("This name and password do not fit together." in answer.text for answer in answers)
    assert "rosterd" not in browser.cookies
    assert 303 == browser.get("/").status


def test_the_log_has_no_name_that_nobody_has(console: Console) -> None:
    """A password that was typed into the wrong field is not written to the log."""
    console.browser().log_in("hunter2hunter2", "x")
    assert {"", "vera", "olga", "acmeonly"} >= {str(event["user"]) for event in console.events("console.rejected")}


@pytest.mark.parametrize("path", GUARDED)
def test_nobody_sees_anything(console: Console, path: str) -> None:
    """Without a login every page leads to the form, and says nothing about whether it exists."""
    answer = console.browser().get(path)
    if path == "/api":
        assert 401 == answer.status
    else:
        assert 303 == answer.status
        assert answer.headers["location"].startswith("/login")
    assert "acme" not in answer.text


def test_nobody_changes_anything(console: Console) -> None:
    """Without a login no form is taken, and who was logged out meanwhile is told so, and comes back to the page."""
    browser = console.browser()
    for path in ("/on-hold/1/approve", "/logout", "/logout/everywhere"):
        assert 401 == browser.submit("/login", path).status
    here = f"http://{HOST}:{console.port}/on-hold/1?examples"
    answer = browser.request("POST", "/on-hold/1/approve", b"", Referer=here)
    assert 401 == answer.status
    assert "You are logged out, so nothing was done." in answer.text
    assert ("input", "/on-hold/1?examples") in [(tag, of.get("value")) for tag, of in Page(answer.text).elements]
    assert "evil" not in browser.request("POST", "/logout", b"", Referer="https://evil.example//evil.example").text
    assert "Log in first.\n" == browser.request("POST", "/api/overview", b"").text


def test_the_login_leads_to_the_page_that_was_asked_for(console: Console) -> None:
    """Whoever followed a link from a mail comes to its page."""
    browser = console.browser()
    location = browser.get("/imports?client=acme&code=9033").headers["location"]
    assert "/login?next=%2Fimports%3Fclient%3Dacme%26code%3D9033" == location
    assert (
        "/imports?client=acme&code=9033"
        == browser.log_in("olga", next="/imports?client=acme&code=9033").headers["location"]
    )


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "/\n/x",
        "",
    ],
)
def test_the_login_leads_nowhere_else(console: Console, target: str) -> None:
    """A link cannot make the login lead to another site."""
    assert "/" == inside(target)
    assert "/" == console.browser().log_in("olga", next=target).headers["location"]


# Sessions


def test_a_login_begins_a_new_session(console: Console) -> None:
    """An id that was there before the login is worth nothing after it, whoever has put it there."""
    browser = console.browser()
    browser.cookies["rosterd"] = "chosen-by-somebody-else"
    browser.log_in("olga")
    first = browser.cookies["rosterd"]
    assert "chosen-by-somebody-else" != first
    browser.cookies.pop("rosterd")
    browser.log_in("olga")
    assert browser.cookies["rosterd"] != first


def test_a_login_ends_the_session_before(console: Console) -> None:
    """Somebody who logs in where somebody is logged in leaves no session behind."""
    browser = console.logged_in("olga")
    before = browser.cookies["rosterd"]
    token = browser.token("/account")
    answer = browser.post("/login", {"_csrf_token": token, "name": "vera", "password": PASSWORD})
    assert 303 == answer.status
    stale = console.browser()
    stale.cookies["rosterd"] = before
    assert 303 == stale.get("/").status


def test_logging_out_ends_the_session(console: Console) -> None:
    """A cookie that was copied before is worth nothing after the logout."""
    browser = console.logged_in("olga")
    copied = browser.cookies["rosterd"]
    assert 303 == browser.submit("/account", "/logout").status
    browser.cookies["rosterd"] = copied
    assert 303 == browser.get("/").status


def test_the_cookie_goes_with_the_logout(tmp_path: Path) -> None:
    """Behind a proxy, too: browsers take nothing of a name with the prefix `__Host-` that is not Secure."""
    settings = {"console": {"listen": "127.0.0.1:0", "url": "https://imports.example.org"}}
    with Rosterd(tmp_path, make_inboxes(tmp_path), settings=settings) as installation:
        let_in(tmp_path / "state", "olga")
        installation.start()
        with Console(installation.config, tmp_path / "console.log") as console:
            browser = console.logged_in("olga")
            browser.submit("/account", "/logout")
    *_, line = [line for line in browser.cookie_lines if line.startswith("__Host-rosterd=")]
    assert {"Max-Age=0", "Path=/", "Secure"} <= {part.strip() for part in line.split(";")}


def test_logging_out_everywhere(console: Console) -> None:
    """All sessions of a person end, and nobody else's."""
    here, there, other = (console.logged_in(name) for name in ("olga", "olga", "vera"))
    assert 303 == here.submit("/account", "/logout/everywhere").status
    assert [303, 303, 200] == [each.get("/").status for each in (here, there, other)]


def test_a_session_ends_when_it_is_not_used() -> None:
    """After the idle time it is gone; what our script asks for does not count as use."""
    clock = Clock()
    sessions = Sessions(clock, idle_s=60, most_s=1000)
    token = sessions.begin(OLGA)
    for _ in range(5):
        clock.now += 50
        assert sessions.find(token, {"olga": OLGA})
    clock.now += 50
    assert sessions.find(token, {"olga": OLGA}, is_used=False)
    clock.now += 50
    assert sessions.find(token, {"olga": OLGA}, is_used=False) is None
    assert sessions.find(token, {"olga": OLGA}) is None


def test_a_session_ends_although_it_is_used() -> None:
    """A session lasts no longer than the longest time."""
    clock = Clock()
    sessions = Sessions(clock, idle_s=60, most_s=100)
    token = sessions.begin(OLGA)
    clock.now += 59
    assert sessions.find(token, {"olga": OLGA})
    clock.now += 41
    assert sessions.find(token, {"olga": OLGA}) is None


def test_sessions_of_one_user_are_few() -> None:
    """The oldest session of a user ends when there are too many; those of others stay."""
    sessions = Sessions(Clock(), idle_s=60, most_s=100)
    users = {"olga": OLGA, "vera": ConsoleUser(name="vera", role="viewer", salt="", key="")}
    other, *tokens = sessions.begin(users["vera"]), *(sessions.begin(OLGA) for _ in range(30))
    assert sessions.find(other, users)
    assert 20 == sum(sessions.find(token, users) is not None for token in tokens)
    assert sessions.find(tokens[-1], users)


def test_who_is_removed_is_out(console: Console, state_dir: Path) -> None:
    """Another password, or none, ends the sessions of a user at once."""
    let_in(state_dir, "temp")
    browser = console.logged_in("temp")
    assert 200 == browser.get("/").status
    let_in(state_dir, "temp", password="another good password")
    assert 303 == browser.get("/").status
    assert 303 == browser.log_in("temp", "another good password").status
    with changing(str(state_dir)) as users:
        del users["temp"]
    assert 303 == browser.get("/").status
    assert 401 == browser.log_in("temp", "another good password").status


# How many tries


def test_tries_of_a_name_are_few(console: Console, state_dir: Path) -> None:
    """After five wrong passwords the right one is not even looked at; other names still get in."""
    let_in(state_dir, "locked")
    browser = console.browser()
    assert [401] * MOST_OF_PAIR == [browser.log_in("locked", "wrong").status for _ in range(MOST_OF_PAIR)]
    answer = browser.log_in("locked")
    assert 429 == answer.status
    assert 0 < int(answer.headers["retry-after"]) <= WINDOW_S
    assert re.search(r"There were too many tries\. Try again in \d+ minutes?\.", answer.text)
    assert 303 == browser.log_in("olga").status


def test_tries_are_forgotten_after_a_while() -> None:
    """The limit counts the last 15 minutes."""
    clock = Clock()
    attempts = Attempts(clock)
    for _ in range(MOST_OF_PAIR):
        attempts.note_failure("olga", "192.0.2.1")
    assert WINDOW_S == attempts.wait_s("olga", "192.0.2.1")
    assert 0 == attempts.wait_s("olga", "192.0.2.2")
    clock.now += WINDOW_S
    assert 0 == attempts.wait_s("olga", "192.0.2.1")


def test_tries_from_an_address_are_few() -> None:
    """Names cannot be tried one after the other, nor one name from many addresses."""
    attempts = Attempts(Clock())
    for number in range(MOST_OF_ADDRESS):
        assert 0 == attempts.wait_s(f"name{number}", "192.0.2.1")
        attempts.note_failure(f"name{number}", "192.0.2.1")
    assert attempts.wait_s("another", "192.0.2.1")
    for number in range(MOST_OF_NAME):
        attempts.note_failure("olga", f"2001:db8:0:{number:x}::1")
    assert attempts.wait_s("olga", "198.51.100.1")


@pytest.mark.parametrize("address", ["192.0.2.1", ""])
def test_a_try_without_a_name_counts_as_any_other(address: str) -> None:
    """Neither does it lift the limit of the address, nor does a try count twice where the address is not known."""
    attempts = Attempts(Clock())
    attempts.note_failure("", address)
    for number in range(1, MOST_OF_ADDRESS):
        assert 0 == attempts.wait_s(f"name{number}", address)
        attempts.note_failure(f"name{number}", address)
    assert attempts.wait_s("another", address)
    attempts = Attempts(Clock())
    for _ in range(MOST_OF_PAIR):
        assert 0 == attempts.wait_s("olga", address)
        attempts.note_failure("olga", address)
    assert attempts.wait_s("olga", address)


def test_addresses_of_a_network_of_ipv6_are_one() -> None:
    """Whoever has one of them has all; addresses of IPv4 written as IPv6 are as many as they are."""
    attempts = Attempts(Clock())
    for number in range(MOST_OF_PAIR):
        attempts.note_failure("olga", f"2001:db8::{number:x}")
        attempts.note_failure("vera", f"::ffff:192.0.2.{number}")
    assert attempts.wait_s("olga", "2001:db8::ffff")
    assert 0 == attempts.wait_s("olga", "2001:db8:0:1::1")
    assert 0 == attempts.wait_s("vera", "192.0.2.9")


def test_a_success_costs_no_try() -> None:
    """Whoever logs in rightly, often, is not locked out."""
    attempts = Attempts(Clock())
    for _ in range(10 * MOST_OF_NAME):
        assert 0 == attempts.wait_s("olga", "192.0.2.1")
        attempts.note_failure("olga", "192.0.2.1")
        attempts.note_success("olga", "192.0.2.1")


# Forms


@pytest.mark.parametrize("token", [None, "", "x" * 128])
def test_a_form_of_another_site_is_refused(console: Console, token: str | None) -> None:
    """A change needs the token of the page."""
    browser = console.logged_in("olga")
    form = {} if token is None else {"_csrf_token": token}
    assert 403 == browser.post("/logout", form).status
    assert 403 == console.browser().post("/login", {"name": "olga", "password": PASSWORD, **form}).status
    assert 200 == browser.get("/").status


def test_a_form_of_another_browser_is_refused(console: Console) -> None:
    """A token belongs to the browser that got it."""
    browser, other = console.logged_in("olga"), console.logged_in("vera")
    assert 403 == browser.post("/logout", {"_csrf_token": other.token("/account")}).status
    assert 200 == browser.get("/").status


def test_a_restart_of_the_console_lets_everybody_in_again(console: Console, rosterd: Rosterd) -> None:
    """A browser that has a token of before gets another one: forms with the old one are refused for ever."""
    browser = console.logged_in("olga")
    with Console(rosterd.config, rosterd.config.parent / "restarted.log") as restarted:
        later = restarted.browser()
        later.cookies |= browser.cookies
        assert 303 == later.get("/").status
        assert 303 == later.log_in("olga").status
        assert later.cookies["rosterd-form"] != browser.cookies["rosterd-form"]
        assert 303 == later.submit("/account", "/logout").status


def test_a_page_changes_nothing(console: Console) -> None:
    """What changes something cannot be done by a link."""
    browser = console.logged_in("olga")
    for path in ("/logout", "/logout/everywhere", "/on-hold/1/approve"):
        assert browser.get(path).status in (404, 405)
    assert 200 == browser.get("/").status


# Requests


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9189", "127.0.0.1.evil.example", "localhost:x", "", "[::1]x"]
)
def test_other_names_of_the_host_are_not_answered(console: Console, host: str) -> None:
    """A site whose name leads to this address gets nothing, not even the form."""
    for browser in (console.browser(), console.logged_in("olga")):
        assert 421 == browser.get("/login", Host=host).status


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:9189", "[::1]:9189"])
def test_names_of_this_host_are_answered(console: Console, host: str) -> None:
    """A tunnel may end at any port."""
    assert 200 == console.browser().get("/login", Host=host).status


def test_a_large_request_is_refused(console: Console) -> None:
    """A body above 64 KiB is not taken, whether its length is said or not."""
    assert 413 == console.browser().post("/login", {"name": "x" * 70_000}).status
    chunks = iter([b"name=" + b"x" * 50_000, b"x" * 50_000])
    form = "application/x-www-form-urlencoded"
    answer = console.browser().request("POST", "/login", chunks, Content_Type=form)  # type: ignore[arg-type]  # http.client takes an iterator
    assert (413, True) == (answer.status, "The request is too large." in answer.text)
    assert [] == console.events("console.failed")


def test_who_goes_away_in_the_middle_of_a_form_is_no_fault(console: Console) -> None:
    """Nothing is logged as a fault of ours: anybody could fill the log with it."""
    for _ in range(3):
        with socket.create_connection((HOST, console.port), timeout=60) as connection:
            head = "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            connection.sendall(f"{head}Content-Length: 100\r\n\r\nname=olga".encode())
    assert 303 == console.browser().log_in("olga").status
    assert [] == console.events("console.failed")


def test_a_large_head_is_refused(console: Console) -> None:
    """All of it comes at once, so that uvicorn has no incomplete one to measure."""
    browser = console.logged_in("olga")
    assert 200 == browser.get("/people?q=" + "x" * 30_000).status
    assert 431 == browser.get("/people?q=" + "x" * 33_000).status
    assert 431 == console.browser().get("/login", X_Much="x" * 33_000).status


def test_a_page_is_asked_for_without_its_body(console: Console) -> None:
    """What watches whether the console answers asks by HEAD."""
    browser = console.logged_in("olga")
    page, head = browser.get("/imports"), browser.request("HEAD", "/imports")
    assert (200, b"") == (head.status, head.body)
    assert page.headers["content-length"] == head.headers["content-length"]
    assert 200 == console.browser().request("HEAD", "/login").status
    assert 303 == console.browser().request("HEAD", "/imports").status


@pytest.mark.parametrize(
    "path", ["/login", "/", "/nowhere", "/imports/1", "/imports/999", "/static/console.css", "/static/../users.py"]
)
def test_every_answer_is_guarded(console: Console, path: str) -> None:
    """No page, redirect or error lacks the headers that keep a browser from doing more than it says."""
    for browser in (console.browser(), console.logged_in("olga")):
        headers = browser.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none';")
        assert "unsafe" not in headers["content-security-policy"]
        assert "nosniff" == headers["x-content-type-options"]
        assert path.startswith("/static/") or "no-store" == headers["cache-control"]
        assert "server" not in headers


def test_idle_connections_keep_nobody_out(console: Console) -> None:
    """While 200 connections say nothing, or stop in the middle of a request, others are answered."""
    with contextlib.ExitStack() as idle:
        for number in range(200):
            connection = idle.enter_context(socket.create_connection((HOST, console.port), timeout=60))
            if number % 2:
                connection.sendall(b"GET /login HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        assert 200 == console.browser().get("/login").status


def test_a_socket_is_for_the_group(tmp_path: Path) -> None:
    """The group of the service, which a proxy can be in, reaches the socket, whatever the umask of the unit is."""
    path = tmp_path / "console.sock"
    for _ in range(2):  # the second finds what the first has left
        os.umask(0o077)
        with listener(str(path)):
            assert 0o660 == path.stat().st_mode & 0o777


def test_cookies_are_for_https_alone_behind_a_proxy() -> None:
    """With an address of the proxy, or on an address that others reach, cookies are Secure and bound to the host."""
    loopback, behind, public, unix = (
        door_of(ConsoleSettings(listen=listen, url=url))
        for listen, url in (
            ("127.0.0.1:9189", ""),
            ("127.0.0.1:9189", "https://imports.example.org"),
            ("192.0.2.1:9189", ""),
            ("/run/rosterd-console/console.sock", "https://imports.example.org"),
        )
    )
    assert [False, True, True, True] == [door.is_secure for door in (loopback, behind, public, unix)]
    assert ["rosterd", "__Host-rosterd"] == [loopback.cookie, behind.cookie]
    assert ("imports.example.org",) == unix.hosts


# Users


def test_only_the_hash_of_a_password_is_stored(state_dir: Path) -> None:
    """The file is the service's own, and has no password."""
    path = state_dir / "console-users.json"
    assert 0o600 == path.stat().st_mode & 0o777
    assert PASSWORD not in path.read_text()
    olga = read_users(str(state_dir))["olga"]
    assert is_password(olga, PASSWORD)
    assert not is_password(olga, PASSWORD + " ")
    assert not is_password(None, PASSWORD)
    assert with_password(olga, PASSWORD).key != olga.key


def test_a_file_that_others_can_read_lets_nobody_in(tmp_path: Path) -> None:
    """A wrong mode, or damage, closes the console and says what to do."""
    let_in(tmp_path, "olga")
    directory = Directory(str(tmp_path))
    assert ["olga"] == [*directory.users()]
    path = tmp_path / "console-users.json"
    path.chmod(0o644)
    with pytest.raises(UsersUnreadable, match=re.escape("mode 0644; expected 0600")):
        directory.users()
    path.chmod(0o600)
    path.write_text('{"users": [{"name": "olga", "role": "god", "salt": "", "key": ""}]}')
    with pytest.raises(UsersUnreadable, match="god"):
        directory.users()


def test_while_nobody_can_log_in_all_pages_say_why(console: Console, state_dir: Path) -> None:
    """Also to a browser that nobody has logged in by, before a password is typed in vain."""
    path = state_dir / "console-users.json"
    browser = console.browser()
    token = browser.token("/login")
    path.chmod(0o644)
    try:
        form = {"_csrf_token": token, "name": "olga", "password": PASSWORD}
        answers = [browser.get("/"), browser.get("/login"), browser.post("/login", form)]
    finally:
        path.chmod(0o600)
    assert [503] * 3 == [answer.status for answer in answers]
    assert all("Nobody can log in: " in each.text and f"chmod 600 {path}" in each.text for each in answers)


def test_the_browser_of_these_tests_keeps_cookies(console: Console) -> None:
    """What is set comes back: or the tests above would refuse everything."""
    browser: Browser = console.logged_in("olga")
    assert {"rosterd", "rosterd-form"} == {*browser.cookies}


# A proxy that says who asks


def asked(gate: Gate, *headers: tuple[str, str], path: str = "/") -> tuple[int, str]:
    """Return what is answered to a request with these headers."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:  # noqa: ANN401 - as ASGI has it
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    encoded = [(name.encode(), value.encode()) for name, value in (("host", "imports.example.org"), *headers)]
    scope = {"type": "http", "method": "GET", "path": path, "headers": encoded, "client": None}
    asyncio.run(gate(scope, receive, send))
    return sent[0]["status"], sent[-1]["body"].decode()


def behind(folder: Path, listen: str, header: str = "") -> Gate:
    """Return a gate behind a proxy; who passes is told who they are."""

    async def app(scope: Any, _receive: Any, send: Any) -> None:  # noqa: ANN401 - as ASGI has it
        user = scope["user"]
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": f"{user.name if user else None}".encode()})

    console = ConsoleSettings(url="https://imports.example.org", listen=listen, proxy_user_header=header)
    return Gate(app, door_of(console), Sessions(Clock(), idle_s=9, most_s=9), Directory(str(folder)))


def test_a_proxy_says_who_asks(tmp_path: Path) -> None:
    """On the socket its header lets a known user in without a password, unless it is there twice, or not at all."""
    with changing(str(tmp_path)) as users:
        users["olga"] = OLGA
    gate = behind(tmp_path, "/run/c.sock", "X-Remote-User")
    assert (200, "olga") == asked(gate, ("x-remote-user", "olga"))
    for headers in (
        [],
        [("x-remote-user", "nobody")],
        [("x-remote-user", "")],
        [("x-remote-user", "olga"), ("X-Remote-User", "olga")],
        [("x-remote-user", "olga,vera")],
        [("x-remote_user", "olga")],
    ):
        for path in ("/", "/login", "/api/overview"):
            status, text = asked(gate, *headers, path=path)
            assert (403, True) == (status, "named nobody who may log in" in text)
    with changing(str(tmp_path)) as users:
        del users["olga"]
    assert 403 == asked(gate, ("x-remote-user", "olga"))[0]


def test_that_header_is_not_believed_elsewhere(tmp_path: Path) -> None:
    """On an address and port, and without the setting, it lets nobody in."""
    with changing(str(tmp_path)) as users:
        users["olga"] = OLGA
    tcp = behind(tmp_path, "127.0.0.1:9189", "X-Remote-User")
    unset = behind(tmp_path, "/run/c.sock")
    for gate in (tcp, unset):
        assert 303 == asked(gate, ("x-remote-user", "olga"))[0]
    assert not is_password(msgspec.structs.replace(OLGA, salt="", key=""), "")


# Peers that are slow, or go away


def test_a_download_that_nobody_takes_is_closed(tmp_path: Path) -> None:
    """Whoever goes away in the middle of it leaves no file open: a process may have 1024 of them."""
    users = "".join(f"S-{number},OPSCOM,Ann,Lee,ann{number}@school.example\n" for number in range(100_000))
    settings = {"console": {"listen": "127.0.0.1:0"}}
    with Rosterd(tmp_path, make_inboxes(tmp_path), settings=settings) as installation:
        let_in(tmp_path / "state", "olga")
        installation.drop("users.csv", HEADER + users)
        installation.start()
        installation.wait_for_imports(1)
        with Console(installation.config, tmp_path / "console.log") as console:
            cookie = console.logged_in("olga").cookies["rosterd"]
            request = f"GET /imports/1/files/0 HTTP/1.1\r\nHost: localhost\r\nCookie: rosterd={cookie}\r\n\r\n"
            for _ in range(3):
                with socket.create_connection((HOST, console.port), timeout=60) as connection:
                    connection.sendall(request.encode())
                    assert connection.recv(15) == b"HTTP/1.1 200 OK"
            wait_until(lambda: not _archives_opened_by(console.pid), "the files to be closed")


def _archives_opened_by(pid: int) -> list[Path]:
    opened = [path.resolve() for path in Path(f"/proc/{pid}/fd").iterdir()]
    return [path for path in opened if ".bak" in path.parts]


def test_a_slow_peer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends nothing, or half a request, is cut off after a time, while others are answered."""

    async def app(_scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - as ASGI has it
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body", "body": b""})

    monkeypatch.setattr(patience, "SEND_S", 0.3)
    monkeypatch.setattr(serve, "make_app", lambda _: app)
    server = serve.server_of(Config())
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(serve.listener("127.0.0.1:0"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.handle_exit, signal.SIGTERM, None)
        address = listening.getsockname()
        head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n"
        slow = [stack.enter_context(socket.create_connection(address, timeout=60)) for _ in range(3)]
        for connection, sent in zip(slow, (b"", head, head + b"\r\n1234"), strict=True):
            connection.sendall(sent)
        for connection in slow:
            with contextlib.suppress(ConnectionResetError):
                assert b"" == connection.recv(1)
        quick = stack.enter_context(socket.create_connection(address, timeout=60))
        quick.sendall(head + b"\r\n123456789")
        assert quick.recv(100).startswith(b"HTTP/1.1 204")
