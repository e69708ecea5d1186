"""Every link and every form of the console, as everybody: what is answered, and what is not told to whom."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator

import msgspec
import pytest

from tests.console.conftest import HEADER
from tests.lab import wait_until
from tests.lab.console import Answer, Browser, Console, Page, let_in
from tests.lab.daemon import Rosterd

pytestmark = pytest.mark.xdist_group("crawler")

MANY = 30  # more than a guard lets a file change at once
OTHER = "zebrina"  # the client of whom the narrowed user may see nothing
SECRET = re.compile(rb"zebrina|zesty|Zuzana", re.IGNORECASE)  # its name, its files, its users
OWN = ("/logout", "/logout/everywhere")  # forms about one's own session


class Form(msgspec.Struct, frozen=True):
    """A form of a page: where it is sent to, and what is in it before anybody types."""

    method: str
    action: str
    fields: tuple[tuple[str, str], ...]


def forms(page: str, text: str) -> Iterator[Form]:
    """Yield the forms of a page."""
    inside: tuple[str, str] | None = None
    fields: list[tuple[str, str]] = []
    for tag, attributes in [*Page(text).elements, ("form", {})]:
        if tag == "form":
            if inside:
                yield Form(*inside, tuple(fields))
            inside = (
                attributes.get("method") or "get",
                urllib.parse.urljoin(page, attributes.get("action") or page.partition("?")[0]),
            )
            fields = []
        elif tag in ("input", "select", "textarea") and attributes.get("name"):
            fields.append((str(attributes["name"]), attributes.get("value") or ""))


class Crawl(msgspec.Struct, frozen=True):
    """What somebody can reach: answers by path, and the forms that change something."""

    answers: dict[str, Answer]
    forms: dict[str, Form]  # by their actions

    @property
    def text(self) -> dict[str, Answer]:
        """Return the pages."""
        return {path: each for path, each in self.answers.items() if "text/html" in each.headers["content-type"]}


def crawl(browser: Browser, words: tuple[str, ...]) -> Crawl:
    """Follow every link from the first page and the description, and fill every search with each of the words."""
    found = Crawl({}, {})
    todo = ["/", "/api/openapi.json", *paths_of_api(words)]
    while todo:
        path = todo.pop()
        if path in found.answers:
            continue
        found.answers[path] = answer = browser.get(path)
        if "text/html" not in (answer.headers.get("content-type") or ""):
            continue
        todo += [urllib.parse.urljoin(path, link) for link in Page(answer.text).links]
        for form in forms(path, answer.text):
            if form.method == "get":
                asked = [name for name, _ in form.fields if name in ("q", "file")]
                todo += [f"{form.action}?{name}={word}" for name in asked for word in words]
            else:
                found.forms.setdefault(form.action, form)
    return found


def paths_of_api(words: tuple[str, ...]) -> list[str]:
    """Return what programs ask for, of the first imports and by each of the words."""
    asked = ["/api/overview", "/api/imports", f"/api/imports?client={OTHER}"]
    asked += [f"/api/people?q={word}" for word in words]
    return [*asked, *(f"/api/imports/{number}" for number in range(1, 4))]


def is_for_operators(path: str) -> bool:
    """Tell whether a page shows what an operator could do, or says that it cannot be done."""
    return path.endswith("/undo-preview")


def submit(browser: Browser, form: Form) -> Answer:
    """Send a form as it is, with a token that is good: that of the browser's cookie."""
    return browser.post(form.action, {**dict(form.fields), "_csrf_token": browser.cookies["rosterd-form"]})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rosterd, Console]]:
    """Yield a daemon with files, a file on hold and a mail that was given up, of each of two clients; its console."""
    folder = tmp_path_factory.mktemp("crawler")
    inboxes = {name: folder / name for name in ("acme", OTHER)}
    for inbox in inboxes.values():
        inbox.mkdir()
    settings = {"console": {"listen": "127.0.0.1:0"}, "guard": {"identity": "10 %", "attribute": "off"}}
    with Rosterd(folder, inboxes, settings=settings) as installation:
        let_in(folder / "state", "olga")
        let_in(folder / "state", "vera", "viewer")
        let_in(folder / "state", "narrow", "operator", "acme")
        installation.drop("users.csv", rows("A", "Ann"))
        installation.drop("zesty.csv", rows("Z", "Zuzana"), OTHER)
        installation.start()
        installation.wait_for_imports(2)
        installation.drop("users.csv", rows("A", "Bea"))
        installation.drop("zesty.csv", rows("Z", "Suzana"), OTHER)
        wait_until(lambda: len(installation.events("hold.placed")) >= 2, "the files on hold")
        installation.change(
            "INSERT INTO outbox (message_id, client, claim_id, sender, recipients, subject, body, state, attempts,"
            " created_at, due_at, last_error) SELECT value, value, '', 'r@x', json_array('it@' || value || '.example'),"
            " 'About ' || value, x'00', 'dead', 3, '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z', 'refused'"
            " FROM (SELECT 'acme' AS value UNION SELECT 'zebrina')"
        )
        with Console(installation.config, folder / "console.log") as console:
            yield installation, console
            assert [] == console.events("console.failed")


def rows(letter: str, name: str) -> str:
    """Return users of whom each is called so; one row has a fault that is quoted."""
    plain = (f"{letter}-{n},OPSCOM,{name}{n},{name}{n},{name}{n}@{name}.example\n" for n in range(MANY))
    return HEADER + "".join(plain) + f"{letter}-x,OPSCOM,{name},{name},{name} at {name}\n"


@pytest.fixture(scope="module")
def everything(site: tuple[Rosterd, Console]) -> Crawl:
    """Return all that an operator of all clients can reach."""
    return crawl(site[1].logged_in("olga"), ("A-29", "Z-29", "zesty"))


def kept(installation: Rosterd) -> list[object]:
    """Return what forms could have changed."""
    tables = ("outbox", "on_hold", "imports")
    return [installation.query(f"SELECT * FROM {table}") for table in tables]  # noqa: S608 - names of ours


def test_an_operator_reaches_everything(everything: Crawl) -> None:
    """Every link leads to a page; what another client has is seen, or the tests below would prove nothing."""
    assert {200} == {answer.status for path, answer in everything.answers.items() if not is_for_operators(path)}
    told = [path for path, answer in everything.answers.items() if SECRET.search(answer.body)]
    for kind in (
        "/imports/",
        "/on-hold/",
        "/person",
        "/people",
        "/mail",
        "/api/imports",
        "/api/people",
        "/api/overview",
    ):
        assert any(path.startswith(kind) for path in told), kind
    assert any("/files/" in path for path in told)
    assert {"approve", "reject", "retry", "drop"} <= {action.rpartition("/")[2] for action in everything.forms}


def test_a_viewer_changes_nothing(site: tuple[Rosterd, Console], everything: Crawl) -> None:
    """A viewer reaches every page and no form but those of the own session; sending the others is refused."""
    installation, console = site
    browser = console.logged_in("vera")
    seen = crawl(browser, ("A-29", "Z-29", "zesty"))
    assert {path for path in everything.answers if not is_for_operators(path)} == {*seen.answers}
    assert {200} == {answer.status for answer in seen.answers.values()}
    assert {403} == {browser.get(path).status for path in everything.answers if is_for_operators(path)}
    assert {*OWN} == {*seen.forms}
    before = kept(installation)
    for action, form in everything.forms.items():
        if action not in OWN:
            assert 403 == submit(browser, form).status, action
    assert before == kept(installation)


def test_a_narrowed_user_learns_nothing_of_others(site: tuple[Rosterd, Console], everything: Crawl) -> None:
    """No page, JSON, download or error has anything of another client, whether it is linked, guessed or sent."""
    installation, console = site
    browser = console.logged_in("narrow")
    seen = crawl(browser, ("A-29",))
    assert {200, 404} >= {answer.status for path, answer in seen.answers.items() if not is_for_operators(path)}
    assert {200} == {answer.status for path, answer in seen.text.items() if not is_for_operators(path)}
    assert any("/files/" in path for path in seen.answers)
    asked = {path: browser.get(path) for path in everything.answers if path not in seen.answers}
    for path, answer in {**seen.answers, **asked}.items():
        told = re.sub(rb"\b(value|href)=\"[^\"]*\"", b"", answer.body)  # what was asked for is said again
        assert answer.status in (200, 400, 404, 409), path
        assert not SECRET.search(told), path
    before = kept(installation)
    others = {action: form for action, form in everything.forms.items() if action not in seen.forms}
    assert {"approve", "reject", "retry", "drop"} <= {action.rpartition("/")[2] for action in others}
    for action, form in others.items():
        answer = submit(browser, form)
        assert 404 == answer.status, action
        assert not SECRET.search(answer.body), action
    assert before == kept(installation)


def test_nobody_learns_anything(site: tuple[Rosterd, Console], everything: Crawl) -> None:
    """Without a login every path leads to the form or is refused, alike whether it exists; no form is taken."""
    installation, console = site
    browser = console.browser()
    token = browser.token("/login")
    before = kept(installation)
    for path in (*everything.answers, "/nowhere", "/imports/999"):
        answer = browser.get(path)
        assert (401 if path.startswith("/api") else 303) == answer.status, path
        assert not answer.body or not SECRET.search(answer.body), path
    for action, form in everything.forms.items():
        assert 401 == browser.post(action, {**dict(form.fields), "_csrf_token": token}).status, action
    assert before == kept(installation)


def test_every_form_does_something(site: tuple[Rosterd, Console], everything: Crawl) -> None:
    """Sent as it is by an operator, every form is carried out, or a page says why not; none is an error of ours."""
    browser = site[1].logged_in("olga")
    for action, form in everything.forms.items():
        if action not in OWN:
            answer = submit(browser, form)
            assert answer.status in (200, 303, 400, 404, 409), action  # 404: decided by the form before
            assert answer.status in (200, 303) or Page(answer.text).text, action
    for action in OWN:
        assert 303 == submit(site[1].logged_in("olga"), everything.forms[action]).status
