"""The console as a process of its own, and a browser without JavaScript that keeps cookies and fills in forms."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import urllib.parse
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple, Self

from console.access.users import ConsoleUser, Role, changing, with_password
from tests import REPOSITORY
from tests.lab import wait_until

HOST = "127.0.0.1"
PASSWORD = "correct horse battery staple"
STOP_WITHIN_S = 60


def let_in(state_dir: Path, name: str, role: Role = "operator", *clients: str, password: str = PASSWORD) -> None:
    """Add a user of the console, as the command does."""
    user = ConsoleUser(name=name, role=role, clients=clients, salt="", key="")
    with changing(str(state_dir)) as users:
        users[name] = with_password(user, password)


class Console:
    """`rosterd console` on a port of its own, of an installation whose configuration listens on port 0."""

    def __init__(self, config: Path, log: Path) -> None:
        self._config = config
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "operate.cli", "console", "--config", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=REPOSITORY,
            )
        try:
            wait_until(lambda: self.events("console.started"), "the console")
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        self.port = int(str(self.events("console.started")[0]["address"]).rpartition(":")[2])
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        assert self._process is not None
        sys.stderr.write(self._log.read_text())  # pytest shows it with a test that failed
        self._process.terminate()
        try:
            status = self._process.wait(STOP_WITHIN_S)
        finally:
            self._process.kill()
            self._process.wait()
        assert failure is not None or status == 0

    @property
    def pid(self) -> int:
        """Return the running process."""
        assert self._process is not None
        return self._process.pid

    def events(self, name: str) -> list[dict[str, object]]:
        """Return the log entries of this name, oldest first."""
        lines = self._log.read_text().splitlines(keepends=True) if self._log.exists() else []
        entries = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}\n")]
        return [entry for entry in entries if entry["event"] == name]

    def browser(self) -> Browser:
        """Return a browser that nobody has used."""
        return Browser(self.port)

    def logged_in(self, name: str, password: str = PASSWORD) -> Browser:
        """Return a browser in which somebody has logged in."""
        browser = self.browser()
        assert 303 == browser.log_in(name, password).status
        return browser


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        """Return it as text."""
        return self.body.decode()


class Browser:
    """A browser. It follows no redirect by itself."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.cookies: dict[str, str] = {}
        self.cookie_lines: list[str] = []  # as they were set, oldest first

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Send a request as it is, with the cookies."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection = self.connected()
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            answer = Answer(response.status, response.msg, response.read())
        finally:
            connection.close()
        for line in answer.headers.get_all("set-cookie") or ():
            self.cookie_lines.append(line)
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value.strip('"')
        return answer

    def connected(self) -> http.client.HTTPConnection:
        """Return a connection for one request."""
        return http.client.HTTPConnection(HOST, self._port, timeout=180)

    def get(self, path: str, **headers: str) -> Answer:
        """Ask for a page."""
        return self.request("GET", path, None, **headers)

    def post(self, path: str, form: Mapping[str, str]) -> Answer:
        """Send a form as it is."""
        body = urllib.parse.urlencode(form).encode()
        return self.request("POST", path, body, Content_Type="application/x-www-form-urlencoded")

    def submit(self, page: str, action: str, form: Mapping[str, str] | None = None) -> Answer:
        """Fill in a form of a page and send it, with what is hidden in it."""
        return self.post(action, {"_csrf_token": self.token(page), **(form or {})})

    def token(self, page: str) -> str:
        """Return what forms of a page have to carry."""
        found = re.search(r'name="_csrf_token" value="([^"]+)"', self.get(page).text)
        assert found, f"{page} has no form"
        return found[1]

    def log_in(self, name: str, password: str = PASSWORD, **more: str) -> Answer:
        """Fill in the form."""
        return self.submit("/login", "/login", {"name": name, "password": password, **more})


class Page(HTMLParser):
    """The elements of a page, and where its links lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take in an element."""
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Take in a text."""
        self.words.append(data)

    @property
    def text(self) -> str:
        """Return all texts, with single blanks."""
        return " ".join(" ".join(self.words).split())

    @property
    def links(self) -> list[str]:
        """Return where its links lead, but for places on the page."""
        hrefs = [attributes.get("href") for tag, attributes in self.elements if tag == "a"]
        return [href for href in hrefs if href and not href.startswith("#")]


def visited(browser: Browser, start: str = "/") -> dict[str, Answer]:
    """Follow every link from a page; return all answers by their paths."""
    answers: dict[str, Answer] = {}
    todo = [start]
    while todo:
        path = todo.pop()
        if path in answers:
            continue
        answers[path] = answer = browser.get(path)
        if "text/html" in (answer.headers.get("content-type") or ""):
            todo += [urllib.parse.urljoin(path, link) for link in Page(answer.text).links]
    return answers
