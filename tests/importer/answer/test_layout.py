"""How the answer to a file is laid out: as text, as HTML, in each language and in both."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import msgspec
import pytest

from importer.answer import html, plain_text
from importer.answer.sheet import Attached, ListedProblem, Medium, Sheet, SupportLine, ranges, refusal_steps, sheets
from importer.model import message
from importer.settings import MailSettings
from importer.wording.catalogue import words
from importer.wording.file_reasons import FILE_REASONS
from importer.wording.times import local_time
from tests.engine import HEADER, Engine, Result, corrected, unwrapped
from tests.importer.wording.test_reasons import example

GOOD = "S1,OPSCOM,Ann,Lee,ann@example.org,ann"
BAD = "S2,CAS,Bob,Roy,bob@example.org,bob"
LANGUAGES = ("en", "fr")


PLAIN = MailSettings()


def mailed(result: Result, medium: Medium = Medium.MAIL, language: str = "en", settings: MailSettings = PLAIN) -> Sheet:
    return sheets(result.receipt, (language,), medium, settings, Attached(result.receipt.listed))[0]


# -- what is said --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "title", "summary"),
    [
        ([GOOD], "was imported", "We imported 1 user (1 new)."),
        ([GOOD, GOOD.replace("S1", "S3").replace("ann", "eva")], "was imported", "We imported both users (2 new)."),
        ([GOOD, BAD], ": 1 of 2 rows needs correcting", "We imported 1 of 2 users (1 new). 1 row needs correcting."),
        (
            [BAD],
            ": its only row needs correcting",
            "We imported nothing from this file, and nothing has changed in our system. 1 row needs correcting.",
        ),
        (
            [BAD, BAD.replace("S2", "S3")],
            ": both rows need correcting",
            "We imported nothing from this file, and nothing has changed in our system. 2 rows need correcting.",
        ),
        ([], "was imported with 1 warning", "The file has no users, and nothing has changed in our system."),
        (
            ['S2,"Bob"by,'],
            "was not imported",
            "We imported nothing from this file, and nothing has changed in our system.",
        ),
    ],
    ids=["one", "all", "partly", "one failed", "all failed", "no users", "refused"],
)
def test_title_and_summary_agree(engine: Engine, rows: list[str], title: str, summary: str) -> None:
    """The subject says how the file ended, the first sentence the same with all counts that are not zero."""
    told = mailed(engine.rows(*rows))
    assert (f"Your user file users.csv {title}".replace(" :", ":"), summary) == (told.subject, told.summary)
    assert told.title == told.subject


def test_what_to_do_depends_on_where_it_is_read(engine: Engine) -> None:
    """A mail speaks of its attachment, the result text of the file beside it, a dry run of the file itself."""
    result = engine.rows(GOOD, BAD)
    first = {medium: mailed(result, medium).steps[0] for medium in Medium}
    assert first[Medium.MAIL].startswith("Open the attached file users.20261122T074205Z.failed.csv.")
    assert first[Medium.FILE].startswith("Open the file users.20261122T074205Z.failed.csv, which is in this folder.")
    assert "Correct the rows below, or delete rows that are not users." == first[Medium.CHECK]
    assert "users.csv: 1 of 2 rows needs correcting" == mailed(result, Medium.CHECK).title
    assert mailed(result, Medium.CHECK).summary.startswith("We would import 1 of 2 users (1 new).")


def test_a_refusal_says_what_to_do(engine: Engine) -> None:
    """Steps are numbered for a file that was refused whole, too."""
    told = mailed(engine.file("unique_id,nonsense", "S1,x"))
    assert told.steps
    assert "\nWhat to do\n\n1. " in plain_text.text([told], titled=True)


@pytest.mark.parametrize("key", FILE_REASONS)
def test_a_refusal_ends_with_one_upload(key: str) -> None:
    """After the remedy comes to save the file and to upload it, as far as the remedy does not say so itself."""
    remedy, *last = refusal_steps((example(key),), words())
    uploads = re.compile(r"\bupload(?! was)", re.IGNORECASE)
    assert len(last) == (0 if uploads.search(remedy) else 1)
    if last:
        assert uploads.search(last[0])
        assert ("Save" in last[0]) == (not re.search(r"Save As|Export|export it|Split", remedy))


@pytest.mark.parametrize(
    ("lines", "shown"),
    [([2], "2"), ([2, 3], "2-3"), ([9, 2, 3, 4, 5], "2-5, 9"), ([2, 4, 6], "2, 4, 6"), ([], "")],
)
def test_lines_are_named_as_ranges(lines: list[int], shown: str) -> None:
    """Lines that follow on each other are one range."""
    assert shown == ranges(lines)


def test_times_are_those_of_the_reader() -> None:
    """A time is of the zone that the settings name, and says which that is."""
    at = datetime(2026, 11, 22, 7, 42, 5, tzinfo=UTC)
    said = {zone: words().say(local_time(at, zone)) for zone in ("America/Toronto", "America/Sao_Paulo", "")}
    assert "2026-11-22 02:42 EST" == said["America/Toronto"]
    assert "2026-11-22 04:42 UTC-03" == said["America/Sao_Paulo"]
    assert re.fullmatch(r"2026-11-2\d \d\d:\d\d \S+", said[""])


@pytest.mark.parametrize(
    ("zone", "month", "name"),
    [
        ("America/Toronto", 1, "HNE"),
        ("America/Toronto", 7, "HAE"),
        ("America/St_Johns", 7, "HAT"),
        ("America/Winnipeg", 1, "HNC"),
        ("Asia/Shanghai", 1, "CST"),
        ("Europe/Paris", 1, "CET"),
        ("America/Sao_Paulo", 1, "UTC-03"),
    ],
)
def test_a_zone_of_canada_has_a_name_in_french(zone: str, month: int, name: str) -> None:
    """Eastern Standard Time is HNE in French; a zone that has no other name there keeps its own."""
    at = datetime(2026, month, 22, 12, tzinfo=UTC)
    assert name == words("fr").say(local_time(at, zone)).rpartition(" ")[2]


def test_support_finds_everything_at_the_end(engine: Engine) -> None:
    """Last come whom to ask, the import, and links to the guide and to its paragraph about each code."""
    result = engine.rows(GOOD, BAD)
    settings = MailSettings(contact="Marie Roy", guide_url="https://x.example/guide.html", timezone="UTC")
    assert (
        SupportLine("Questions: Marie Roy"),
        SupportLine("Your file is users.20261122T074205Z.csv in the folder .bak."),
        SupportLine(f"Import 20261122T074205Z-00000001, {result.receipt.finished_at:%Y-%m-%d %H:%M} UTC"),
        SupportLine("Guide", "https://x.example/guide.html"),
        SupportLine("Code 9015", "https://x.example/guide.html#9015"),
    ) == mailed(result, settings=settings).support
    both = sheets(result.receipt, LANGUAGES, Medium.FILE, settings)
    assert ["#9015", "#fr-9015"] == [each.support[-1].url.removeprefix(settings.guide_url) for each in both]
    assert ("Codes: 9015",) == tuple(line.text for line in mailed(result, Medium.CHECK).support)


# -- languages -----------------------------------------------------------------------------------------------------


def test_an_answer_in_french(engine: Engine) -> None:
    """All that is around the problems is French, with its own plurals and its own blanks."""
    result = engine.settings(language=("fr",)).rows(GOOD, BAD)
    assert result.mail is not None
    assert "Votre fichier d\u2019utilisateurs users.csv\u00a0: 1 ligne sur 2 est à corriger" == result.mail.subject
    assert result.mail.text.startswith("Nous avons importé 1 utilisateur sur 2 (1 nouveau). 1 ligne est à corriger.")
    assert "Ce qu\u2019il faut faire 1. Ouvrez le fichier joint users.20261122T074205Z.failed.csv." in result.mail.text
    assert "Ligne 3 : " in result.mail.text
    assert '<html lang="fr">' in result.mail.html


def test_an_answer_in_both_languages(engine: Engine) -> None:
    """Result, mail and reasons of the failed CSV have one language after the other, and the file can be corrected."""
    result = engine.settings(language=LANGUAGES).rows(GOOD, BAD)
    assert result.mail is not None
    assert (
        "Your user file users.csv: 1 of 2 rows needs correcting / "
        "Votre fichier d\u2019utilisateurs users.csv\u00a0: 1 ligne sur 2 est à corriger"
    ) == result.mail.subject
    for told in (result.text, result.mail.text, unwrapped(result.mail.html)):
        english, french = told.index("What needs correcting"), told.index("Ce qu\u2019il faut corriger")
        assert english < told.index("For support") < french < told.index("Pour le soutien technique")
    assert ['<html lang="en">', '<tr lang="en">', '<tr lang="fr">'] == re.findall(r'<\w+ lang="..">', result.mail.html)
    assert " / " in result.reasons[3]
    assert 1 == engine.upload(corrected(result, login_source="OPSCOM")).tally.created


# -- as text -------------------------------------------------------------------------------------------------------


def a_sheet(**fields: object) -> Sheet:
    plain = Sheet(language="en", subject="Subject", title="Title", summary="Summary.")
    return msgspec.structs.replace(plain, **fields)


def test_no_name_is_broken() -> None:
    """Lines are of 72 letters, but no line ends in a quotation or in the name of a file."""
    name = "list of users 2026.failed.csv"
    told = a_sheet(
        summary=f"We read {'one ' * 12}{name} and {'two ' * 12}{name}.",
        problems=(ListedProblem(problem=f"It has {'so ' * 18}" + '"a name with blanks" and "b c".', remedy=""),),
        names=(name,),
    )
    lines = plain_text.text([told], titled=True).splitlines()
    assert 2 == sum(line.count(name) for line in lines)
    assert 1 == sum(line.count('"a name with blanks"') for line in lines)
    assert max(map(len, lines)) <= 72


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_text_of_an_answer(engine: Engine, language: str) -> None:
    """Title, summary, what to do, what needs correcting, warnings and support come in this order."""
    result = engine.settings(language=(language,)).rows(GOOD, GOOD, BAD)
    say = words(language)
    headings = [f"heading/{name}" for name in ("steps", "problems", "warnings", "support")]
    told = plain_text.text([mailed(result, language=language)], titled=True)
    places = [told.index(f"\n\n{say.say(message(key))}\n\n") for key in headings]
    assert sorted(places) == places
    assert told.startswith("Your user file" if language == "en" else "Votre fichier")


# -- as HTML -------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Collects the elements of a page, and fails on one that is not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert [] == self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close it."""
        assert tag == self._open.pop()

    def handle_data(self, data: str) -> None:
        """Collect what is read."""
        self.text += data


HOSTILE = '<script>alert("x")</script>&amp;<img src=http://x.example/a>.csv'


def test_a_name_of_a_file_is_only_text(engine: Engine) -> None:
    """Whatever is in a name or a header is shown, and never obeyed by the mail program."""
    name = HOSTILE.replace("/", "_")
    result = engine.file(f'{HEADER},"{HOSTILE.replace(chr(34), chr(34) * 2)}"', "S1,X,,,,,", name=name)
    assert result.mail is not None
    page = Page(result.mail.html)
    assert {"script", "img"}.isdisjoint(tag for tag, _ in page.elements)
    assert name in page.text
    assert HOSTILE[:30] in page.text


def test_the_page_needs_nothing_else(engine: Engine) -> None:
    """Nothing is fetched, tables of data have headings and others say that they have none, links lead to the guide."""
    engine.mail_settings = MailSettings(guide_url="https://x.example/guide.html")
    result = engine.rows(GOOD, BAD)
    assert result.mail is not None
    page = Page(result.mail.html)
    for tag, attributes in page.elements:
        assert not {"src", "background", "srcset"} & attributes.keys()
        assert "url(" not in (attributes.get("style") or "")
        assert tag != "a" or (attributes["href"] or "").startswith("https://x.example/guide.html")
        assert tag != "th" or attributes["scope"] == "col"
        assert not re.search(r"flex|grid", attributes.get("style") or "")
    tables = [attributes for tag, attributes in page.elements if tag == "table"]
    assert ["presentation", "presentation", None] == [attributes.get("role") for attributes in tables]
    assert '<!--[if mso]><table role="presentation" width="600"' in result.mail.html


def test_no_date_is_broken() -> None:
    """A mail program may break lines at hyphens, but not those of a date or of its form."""
    findings = (ListedProblem(problem="It must be written YYYY-MM-DD, such as 2001-05-23.", remedy=""),)
    page = html.page([a_sheet(problems=findings, support=(SupportLine("Import 2026-11-29 10:43"),))])
    whole = re.findall(r'<span style="white-space:nowrap;">([^<]*)</span>', page)
    assert ["YYYY-MM-DD", "2001-05-23", "2026-11-29"] == whole


@pytest.mark.parametrize("language", [("en",), LANGUAGES])
@pytest.mark.parametrize("letter", ['"', "é", "x y "])
def test_no_page_is_clipped(language: tuple[str, ...], letter: str) -> None:
    """A page has less than 90 KB, whatever is in it, and says how much is not."""
    findings = tuple(
        ListedProblem(where="Line 2", column=letter * 80, problem=letter * 4000, remedy="x") for _ in range(20)
    )
    sheets = [
        a_sheet(language=each, title=letter * 255, problems=findings, warnings=findings, names=(letter * 255,))
        for each in language
    ]
    page = html.page(sheets)
    shown = page.count(">Line 2<")
    assert len(page.encode()) < 90_000
    assert re.search(r"There are \d+ more kinds of problems\.", page) or letter == "x y "
    assert "more warnings." in page
    assert 0 < shown < 40 * len(language)
