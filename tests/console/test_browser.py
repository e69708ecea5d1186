"""The console as people use it: in a real browser, which runs scripts, or does not."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.console.conftest import HEADER
from tests.lab import wait_until
from tests.lab.chromium import PAPER, PHONE, PROGRAMS, Chromium
from tests.lab.console import Console, let_in, visited
from tests.lab.daemon import Rosterd, make_inboxes

pytestmark = pytest.mark.xdist_group("chromium")

MANY = 30  # more than a guard lets a file change at once
# Each would call alert() wherever it became markup, or code.
CORPUS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' autofocus onfocus='alert(1)",
    "</title></textarea><svg onload=alert(1)>",
    "{{ 7*7 }}${alert(1)}",
    "javascript:alert(1)//",
    "&lt;img src=x onerror=alert(1)&gt;",
    "`<iframe src=javascript:alert(1)>`",
)
NAMES = (*(text.replace("/", "\u2215") for text in CORPUS), os.fsdecode(b"\xff<b onclick=alert(1)>\x80"))
# Pages renew themselves a hundred times as often, also in a browser that two tests have told so.
FASTER = "if (!window.slow) { window.slow = setInterval; setInterval = (what, after_ms) => slow(what, after_ms / 100) }"
MARKUP = "img, iframe, main script, [onclick], [onfocus], [onerror], [onload]"


@pytest.fixture(autouse=True)
def _nothing_leaks() -> None:
    """Take the place of the check for each test: the browser starts processes as it likes, and ends them at its end."""


def rows(shift: int = 0) -> str:
    """Return users; with a shift each is somebody else by name and address."""
    plain = (f"S-{n},OPSCOM,Name{n + shift},Family{n + shift},n{n + shift}@a.example\n" for n in range(MANY))
    quoted = (text.replace('"', '""') for text in CORPUS)
    more = str(shift or "")
    odd = (f'X-{n},OPSCOM,"{text}{more}","{text}{more}",x{n}{more}@a.example\n' for n, text in enumerate(quoted))
    return HEADER + "".join((*plain, *odd))


def bad_rows() -> str:
    """Return users none of whom can be imported, as each value is something else."""
    quoted = (text.replace('"', '""') for text in CORPUS)
    return HEADER + "".join(f'"{text}","{text}","{text}","{text}","{text}"\n' for text in quoted)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rosterd, Console]]:
    """Yield a running daemon with files of all kinds, one of acme and one of beta on hold, and its console."""
    folder = tmp_path_factory.mktemp("site")
    settings = {"console": {"listen": "127.0.0.1:0"}, "guard": {"identity": "10 %", "attribute": "off"}}
    with Rosterd(folder, make_inboxes(folder), settings=settings) as installation:
        for name, role in (("olga", "operator"), ("vera", "viewer"), ("locked", "operator")):
            let_in(folder / "state", name, role)  # type: ignore[arg-type]  # a literal, of a table
        for name in NAMES:
            installation.drop(f"{name}.csv", bad_rows())
        installation.drop("header.csv", f'"{CORPUS[0]}","{CORPUS[4]}"\n1,2\n')
        for client in ("acme", "beta"):
            installation.drop("users.csv", rows(), client)
        installation.start()
        installation.wait_for_imports(len(NAMES) + 3)
        for client in ("acme", "beta"):
            installation.drop(f"{NAMES[1]}.csv", rows(shift=1), client)
        wait_until(lambda: len(installation.events("hold.placed")) >= 2, "the files on hold")
        _give_up_mail(folder / "state" / "rosterd.db")
        with Console(installation.config, folder / "console.log") as console:
            yield installation, console


def _give_up_mail(database: Path, name: str = "m") -> None:
    """Add mail that was given up, and whose every text would be markup."""
    with contextlib.closing(sqlite3.connect(database)) as conn, conn:
        conn.executemany(
            "INSERT INTO outbox (message_id, client, claim_id, sender, recipients, subject, body, state, attempts,"
            " created_at, due_at, last_error) VALUES (?, 'acme', '', 'r@x', json_array(?), ?, x'00', 'dead', 3,"
            " '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z', ?)",
            [(f"{name}{number}", text, text, text) for number, text in enumerate(CORPUS)],
        )


@pytest.fixture(scope="module")
def window(
    site: tuple[Rosterd, Console], needs: Callable[..., None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Chromium]:
    """Yield the browser."""
    needs(*PROGRAMS)
    address = f"http://127.0.0.1:{site[1].port}"
    with Chromium(tmp_path_factory.mktemp("chromium"), address) as chromium:
        yield chromium


@pytest.fixture
def chromium(window: Chromium) -> Chromium:
    """Return the browser, as if nobody had used it."""
    window.forget()
    return window


@pytest.fixture(scope="module")
def paths(site: tuple[Rosterd, Console]) -> list[str]:
    """Return every page that an operator can reach."""
    browser = site[1].logged_in("olga")
    starts = ("/", "/people?q=X-")
    answers = {path: answer for start in starts for path, answer in visited(browser, start).items()}
    return [path for path, answer in answers.items() if "text/html" in answer.headers["content-type"]]


def kinds(paths: list[str]) -> list[str]:
    """Return one page of each kind."""
    return [*{re.sub(r"\d+|\?.*", "", path): path for path in paths}.values()]


def held_of(client: str, console: Console) -> str:
    """Return the page of the client's file that is on hold."""
    page = console.logged_in("olga").get("/on-hold").text
    found = re.search(rf'<a href="(/on-hold/\d+)"><strong>{client}</strong>', page)
    assert found, page
    return found[1]


# What an operator does


def test_a_password_lets_in_and_a_wrong_one_does_not(chromium: Chromium) -> None:
    """The keyboard is enough: the name has the focus, and after a wrong password the password has it."""
    chromium.open("/imports")
    assert "/login?next=%2Fimports" == chromium.path
    chromium.wait_for_focus("name")
    chromium.keys("olga", Keys.TAB, "wrong", Keys.ENTER)
    chromium.wait_for("This name and password do not fit together.")
    chromium.wait_for_focus("password")
    assert "trouble" == chromium.find("#password").get_attribute("aria-describedby")
    chromium.keys("correct horse battery staple", Keys.ENTER)
    chromium.wait_for("users.csv")
    assert "/imports" == chromium.path


def test_many_wrong_passwords_lock_out(site: tuple[Rosterd, Console], chromium: Chromium) -> None:
    """After five the right one is not taken either, and the page says for how long."""
    for _ in range(4):
        site[1].browser().log_in("locked", "wrong")
    chromium.log_in("locked", "wrong")
    chromium.wait_for("do not fit together")
    chromium.log_in("locked")
    chromium.wait_for("There were too many tries. Try again in 15 minutes.")


def test_a_form_without_its_token_changes_nothing(site: tuple[Rosterd, Console], chromium: Chromium) -> None:
    """What another site could send is refused, in words."""
    path = held_of("acme", site[1])
    chromium.log_in("olga")
    chromium.open(path)
    chromium.script("document.querySelectorAll('[name=_csrf_token]').forEach(field => field.value = 'x')")
    chromium.press("Approve")
    chromium.wait_for("You may not do that.")
    assert path == held_of("acme", site[1])


def test_a_viewer_cannot_approve(site: tuple[Rosterd, Console], chromium: Chromium) -> None:
    """The page has no button for a viewer; a request made by hand, with a good token, is refused."""
    path = held_of("acme", site[1])
    chromium.log_in("vera")
    chromium.open(path)
    assert "You may look; an operator decides." in chromium.text
    assert "Approve" not in chromium.text
    status = chromium.script(
        "const form = new URLSearchParams([['_csrf_token', document.querySelector('[name=_csrf_token]').value]]);"
        "return fetch(arguments[0], {method: 'POST', body: form}).then(answer => answer.status)",
        f"{path}/approve",
    )
    assert 403 == status
    assert "Name0" == site[0].users()["S-0"]["first_name"]


def test_an_operator_approves_what_is_on_hold(site: tuple[Rosterd, Console], chromium: Chromium) -> None:
    """From the sentence on the first page to the users that changed, and to the history that says who decided."""
    installation, console = site
    path = held_of("beta", console)
    chromium.log_in("olga")
    assert "decisions wait for you" in chromium.heading
    chromium.find(f'a[href="{path}"]').click()
    chromium.wait_for("Your decision")
    assert "Name0" in chromium.text
    chromium.press("Approve")
    chromium.wait_for("of beta is approved")
    focused = "return document.activeElement.textContent"
    wait_until(lambda: "of beta is approved" in chromium.script(focused), "what was done to be read aloud")
    wait_until(lambda: installation.users("beta")["S-0"]["first_name"] == "Name1", "the import")
    chromium.press("People")
    chromium.fill(q="S-0", client="beta")
    chromium.press("Find")
    chromium.wait_for("Name1 Family1")
    chromium.press("S-0")
    chromium.wait_for("approved by olga")
    assert {"Name0", "Family0", "n0@a.example"} == {each.text for each in chromium.all("del")}
    assert {"Name1", "Family1", "n1@a.example"} <= {each.text for each in chromium.all("ins")}


def test_a_file_is_saved_and_not_shown(chromium: Chromium) -> None:
    """A download has the name of the file, and the page stays."""
    chromium.log_in("olga")
    chromium.open("/imports?client=beta&outcome=imported")
    chromium.press("users.csv")
    chromium.wait_for("In the ledger")
    page = chromium.path
    chromium.find("a[download]").click()
    saved = wait_until(lambda: [*chromium.downloads.glob("users.*.csv")], "the download")
    assert rows().encode() == saved[0].read_bytes()
    assert page == chromium.path


def test_nothing_is_left_behind_after_the_logout(chromium: Chromium) -> None:
    """Whoever goes back in the browser sees the login, and no page from its cache."""
    chromium.log_in("olga")
    chromium.open("/people?q=S-")
    chromium.press("Log out")
    chromium.wait_for("Password")
    chromium.driver.back()
    chromium.wait_for("Password")
    assert "Family" not in chromium.text


# What scripts do, and what works without


def test_all_of_it_works_without_scripts(site: tuple[Rosterd, Console], chromium: Chromium) -> None:
    """Logging in, looking, searching and logging out need no script; times are in UTC."""
    chromium.scripts(are_on=False)
    chromium.log_in("vera")
    assert re.search(r"As of .* UTC", chromium.text)
    for page in ("On hold", "Imports", "People", "Mail", "vera"):
        chromium.press(page)
        assert 1 == len(chromium.all("h1"))
    chromium.open("/people")
    chromium.fill(q="S-1")
    chromium.press("Find")
    chromium.wait_for("Family1")
    chromium.press("Log out")
    chromium.wait_for("Password")
    assert site[1].events("console.left")


def test_times_are_those_of_the_reader(chromium: Chromium) -> None:
    """Times are in the zone of the browser, and in UTC for whoever points at them."""
    chromium.emulate("Emulation.setTimezoneOverride", timezoneId="Pacific/Kiritimati")
    try:
        chromium.log_in("vera")
        chromium.open("/imports")
        time = chromium.find("time")
        told = chromium.script(
            "return new Intl.DateTimeFormat(undefined, {dateStyle: 'medium', timeStyle: 'short',"
            " timeZone: 'Pacific/Kiritimati'}).format(new Date(arguments[0].dateTime))",
            time,
        )
        assert told == time.text
        assert str(time.get_attribute("title")).endswith(" UTC")
    finally:
        chromium.emulate("Emulation.setTimezoneOverride", timezoneId="")


def test_what_is_printed_is_for_paper(chromium: Chromium, paths: list[str]) -> None:
    """On paper a page is black on white, also from a dark one, with times in UTC, and with nothing to click."""
    chromium.log_in("olga")
    odd = [path for path in paths if re.match(r"/imports/1$|/person\?client=acme&id=X", path)][:2]
    assert len(odd) == 2
    for path in dict.fromkeys((*odd, *kinds(paths))):
        chromium.open(path)
        with chromium.printing("dark"):
            assert not [each for each in chromium.all("nav, form, button, .button, .skip") if each.is_displayed()], path
            style = chromium.script(
                "const {color, backgroundColor} = getComputedStyle(document.documentElement);"
                "return [color, backgroundColor]"
            )
            assert ["rgb(0, 0, 0)", "rgb(255, 255, 255)"] == style, path
            assert all(each.value_of_css_property("display") == "table-row" for each in chromium.all("tbody tr")), path
            assert all(
                "UTC" in chromium.script("return getComputedStyle(arguments[0], '::after').content", each)
                for each in chromium.all("p time, dd time")
            ), path
            assert chromium.script("return document.documentElement.scrollWidth") <= PAPER, path
            assert [] == chromium.barriers("color-contrast"), path


def test_the_overview_renews_itself(site: tuple[Rosterd, Console], chromium: Chromium) -> None:
    """What happens while the page is open is shown on it, without a reload; what is as it was is not exchanged."""
    chromium.log_in("vera")
    chromium.emulate("Page.addScriptToEvaluateOnNewDocument", source=FASTER)
    chromium.open("/")
    chromium.script("window.stays = document.querySelector('#clients').parentElement")
    given_up = re.search(r"(\d+) mails were given up", chromium.text)
    assert given_up, chromium.text
    _give_up_mail(site[0].config.parent / "state" / "rosterd.db", "later")
    chromium.wait_for(f"{int(given_up[1]) + len(CORPUS)} mails were given up")
    assert chromium.script("return window.stays === document.querySelector('#clients').parentElement")


def test_an_overview_that_is_not_renewed_says_so(site: tuple[Rosterd, Console], chromium: Chromium) -> None:
    """What was well an hour ago is not shown as if it were so now: the page says so, or asks for the password again."""
    chromium.log_in("vera")
    chromium.emulate("Page.addScriptToEvaluateOnNewDocument", source=FASTER)
    chromium.open("/")
    chromium.emulate("Network.enable")
    network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    chromium.emulate("Network.emulateNetworkConditions", offline=True, **network)
    try:
        chromium.wait_for("This page cannot be renewed")
    finally:
        chromium.emulate("Network.emulateNetworkConditions", offline=False, **network)
    wait_until(lambda: not chromium.all(".stale:not([hidden])"), "the page of now")
    site[1].logged_in("vera").submit("/account", "/logout/everywhere")
    chromium.wait_for("Password")
    assert "/login" == chromium.path


# What clients write


def test_nothing_that_a_client_writes_is_run(chromium: Chromium, paths: list[str]) -> None:
    """No name of a file, cell or mail becomes markup or code: nothing is run, and nothing had to be forbidden."""
    chromium.log_in("olga")
    seen = ""
    odd = [path for path in paths if re.match(r"/imports/\d|/person\?client=acme&id=X", path)]
    for path in dict.fromkeys((*kinds(paths), *odd, "/people?q=X-")):
        chromium.open(path)
        assert not chromium.all(MARKUP), path
        seen += chromium.text
    assert [] == chromium.problems()
    for text in (*CORPUS, NAMES[-1].encode("utf-8", "backslashreplace").decode().replace("\\udc", "\\x")):
        assert text in seen


def test_nothing_in_an_address_is_run(chromium: Chromium) -> None:
    """What a link from elsewhere has in its parameters and path is text, too."""
    chromium.log_in("olga")
    value = urllib.parse.quote("".join(CORPUS), safe="")
    for path in (
        f"/people?q={value}&client={value}",
        f"/imports?client={value}&file={value}&code={value}&since={value}&outcome={value}",
        f"/person?client={value}&id={value}",
        f"/on-hold/1/{value}",
        f"/{value}",
        f"/login?next={value}",
    ):
        chromium.open(path)
        assert not chromium.all(MARKUP), path
    assert [] == chromium.problems()
    chromium.open(f"/login?next={urllib.parse.quote('javascript:alert(1)')}")
    assert "/" == chromium.path


# Who does not see, or click, or has a small screen


def test_pages_have_no_barriers(chromium: Chromium, paths: list[str]) -> None:
    """Of names, roles, headings and contrast axe-core finds no fault, light or dark; no page is wider than a phone."""
    chromium.open("/login")
    assert [] == chromium.barriers()
    chromium.log_in("olga")
    for path in (*kinds(paths), "/nowhere"):
        chromium.open(path)
        assert [] == chromium.barriers(), path
        with chromium.looking(PHONE, "dark"):
            assert chromium.script("return document.documentElement.scrollWidth") <= PHONE, path
            assert [] == chromium.barriers("color-contrast"), path


def test_words_are_not_torn(chromium: Chromium, paths: list[str]) -> None:
    """On a desk codes, outcomes and heads of columns are on one line each; short names are on any screen."""
    chromium.log_in("olga")
    whole = (
        "return [...document.querySelectorAll(arguments[0])].filter(each => {"
        " const range = document.createRange(); range.selectNodeContents(each);"
        " return new Set([...range.getClientRects()].map(line => line.top)).size > 1"
        "}).map(each => each.textContent)"
    )
    for path in kinds(paths):
        chromium.open(path)
        assert [] == chromium.script(whole, "thead th, td .outcome, td code"), path
        assert not re.search(r"[a-z][.,:;][A-Z]", chromium.find("main").text), path
        for width in (740, 900):
            with chromium.looking(width, "light"):
                assert chromium.script("return document.documentElement.scrollWidth") <= width, path
                assert not {"users.csv", "header.csv"} & {*chromium.script(whole, "tbody th a")}, path


def test_the_tab_key_goes_down_the_page(site: tuple[Rosterd, Console], chromium: Chromium) -> None:
    """It leads to every link, field and button in the order of the page; where it is can be seen."""
    chromium.log_in("olga")
    for path in ("/people", held_of("acme", site[1])):
        chromium.open(path)
        targets = "a[href], button, input:not([type=hidden]), select, textarea, summary"
        inside = chromium.all(targets)
        assert [each.id for each in inside] == [each.id for each in chromium.tabbed(len(inside) + 1)], path


def test_a_reason_is_not_run(site: tuple[Rosterd, Console], chromium: Chromium) -> None:
    """What an operator writes to the client is text, too, wherever it is shown again. The last file on hold is gone."""
    path = held_of("acme", site[1])
    chromium.log_in("olga")
    chromium.open(path)
    chromium.fill(reason=CORPUS[1])
    chromium.press("Reject")
    chromium.wait_for("of acme is rejected")
    wait_until(lambda: any(entry["code"] == "guard.rejected" for entry in site[0].imports()), "the refusal")
    for page in ("/", "/imports", path.replace("on-hold", "imports"), "/mail"):
        chromium.open(page)
        assert not chromium.all(MARKUP), page
    assert [] == chromium.problems()
