"""The pages made from code and settings: the client's guide, the reference of settings."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import tomllib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from docs.generate import documents
from importer.attributes import POSSIBLE_NAMES
from importer.model import message
from importer.settings import ClientSettings, GuardSettings, MailSettings
from importer.wording.catalogue import LANGUAGES, words
from importer.wording.codes import CODE_PARTS, CODES
from operate.cli import main
from operate.pages.guide import guide_parts
from operate.pages.guide_context import Access
from operate.pages.markup import Block, Code, Heading, Items, Steps, Table, Text, as_html, as_markdown
from operate.pages.reference import comments
from tests import REPOSITORY
from tests.lab import wait_until
from tests.lab.daemon import Rosterd
from watcher.settings import Config

ACCESS = Access(host="sftp.example.org", port=2222, login="acme", host_keys=("SHA256:abc (ED25519)",))

ANN = "S-1,OPSCOM,Ann,Lee,ann@school.example,Ottawa,\n"

Needs = Callable[..., None]


MAIL = MailSettings(reply_to="help@example.org", contact="Marie Roy, 613 555-0123")


def guide(language: str = "en", *, config: Config | None = None, used: tuple[str, ...] = (), **settings: Any) -> str:  # noqa: ANN401 - settings of all kinds
    client = msgspec.convert({"name": "acme", "inbox": "/srv/sftp/acme/upload", **settings}, ClientSettings)
    parts = guide_parts(client, ACCESS, config or Config(mail=MAIL), used=used, languages=(language,))
    return as_markdown(parts[language])


def chapter(text: str, heading: str) -> str:
    """Return one chapter of a guide."""
    [found] = [part for part in text.split("\n## ") if part.startswith(f"{heading}\n")]
    return found


def test_trying_out_comes_before_the_first_upload() -> None:
    """A client with a folder for it reads how to have a file checked, in a chapter before that about uploading."""
    assert "check.txt" not in guide()
    text = guide(check_folder=True, check_keep_days=3)
    assert text.index("\n## First: try the file out") < text.index("\n## 2. Upload the file")
    trying = chapter(text, "First: try the file out")
    assert "from there we import it" in trying
    assert "after 3 days" in trying
    assert "essayez le fichier" in guide("fr", check_folder=True)


@pytest.mark.parametrize("name", documents())
def test_a_document_is_what_the_code_says(name: str) -> None:
    """The documents that are made from the code are those in docs/; `python -m docs.generate` writes them."""
    assert documents()[name] == (REPOSITORY / "docs" / name).read_text()


def test_every_setting_is_explained() -> None:
    """config.toml has a comment for each setting that the code knows."""
    explained = comments((REPOSITORY / "config.toml").read_text())
    sections = {"client": ClientSettings, **{f.name: type(f.default) for f in msgspec.structs.fields(Config)}}
    for section, kind in sections.items():
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            assert {field.name for field in msgspec.structs.fields(kind)} == {*explained[section]}
            assert all(explained[section].values())


def test_the_guide_says_where_to_upload() -> None:
    """The guide has host, port, login, host key and whom to ask."""
    text = guide(failed_import_email=["it@acme.example"])
    for told in ("`sftp.example.org`", "`2222`", "`acme`", "it@acme.example"):
        assert told in text
    assert "SHA256:abc" in chapter(text, "For your IT department")
    assert "Ask Marie Roy, 613 555-0123, or write to help@example.org." in chapter(text, "Questions")


def test_the_guide_has_every_possible_name() -> None:
    """Each name that a column may have stands in the guide."""
    assert {*POSSIBLE_NAMES} <= {*re.findall(r"`([a-z0-9_]+)`", guide())}


def test_the_guide_is_about_this_client() -> None:
    """A client's own column names, limits and requirements replace the general ones; its example can be uploaded."""
    text = guide(columns={"Student ID": "unique_id", "Grade": ""}, limits={"employ_no": 20}, required=["email"])
    assert "- `Student ID` is our `unique_id`.\n- `Grade` is not used." in text
    assert "| `employ_no` | Employee number. | 20 |" in text
    assert "\nStudent ID,login_source,email\n" in text
    with_status = guide(status={"column": "Enrolment", "active": ["A", "B"], "inactive": ["I"]}, required=["email"])
    assert "\nunique_id,login_source,email,Enrolment\nS0012345,OPSCOM,zoe.tremblay@example.org,A\n" in with_status


def test_the_guide_begins_with_the_columns_of_the_client() -> None:
    """What is required comes first, then what the client sends or has names for; all others are far below."""
    text = guide(used=("unique_id", "city"), columns={"Cell": "phone_cell"})
    listed = re.findall(r"^- `([^`]+)`: ", chapter(text, "1. Prepare the file"), re.MULTILINE)
    assert ["unique_id", "login_source", "first_name", "last_name", "email", "city", "Cell"] == listed
    assert "\nunique_id,login_source,first_name,last_name,email,city,Cell\n" in text
    assert "`student_no`" not in text.split("## All columns")[0]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"unknown_columns": "ignore"}, "The file can have other columns."),
        ({"clear_token": "#"}, "write `#` into the cell"),
        ({"login_source": "OPSCOM", "columns": {"Source": "login_source"}}, "a new user gets `OPSCOM`"),
        ({"companion": "done"}, "`users.csv.done`. It can be empty"),
        ({"companion": "sha256"}, "It contains the sha256 checksum"),
        ({"guard": GuardSettings(fewer_rows="20 %")}, "far fewer users than your last one"),
        (
            {"feed": [{"name": "students", "files": "students*.csv", "mode": "snapshot"}]},
            "Each file with a name like `students*.csv` has all its users.",
        ),
        (
            {"protected_fields": ["email", "city"], "columns": {"Mail": "email"}},
            "These columns count only for new users: `Mail`, `city`.",
        ),
        (
            {"status": {"column": "Enrolment", "active": ["A"], "inactive": ["I", "W", "LEFT"]}},
            "The column `Enrolment` says who is active. Enter `A` for an active user. Enter `I`, `W` or `LEFT` for a",
        ),
        ({"failed_import_email": ["a@b.example"], "receipts": True}, "an e-mail to a@b.example after each upload"),
        ({}, "We send no e-mail"),
    ],
)
def test_the_guide_says_what_is_set_up_for_the_client(settings: dict[str, Any], sentence: str) -> None:
    """Each setting that a client notices has its sentence in the guide, and only there."""
    assert sentence in guide(**settings)
    others: dict[str, Any] = {} if settings else {"failed_import_email": ["a@b.example"]}
    assert sentence not in guide(**others)


def test_a_snapshot_is_not_said_to_leave_alone_whom_it_lacks() -> None:
    """Whom a file lacks stays as it is, unless a file states all users: the guide says one or the other."""
    stays = "Users who are not in the file stay as they are."
    assert stays in guide()
    assert stays not in guide(feed=[{"name": "all", "files": "*", "mode": "snapshot"}])


def test_a_guide_names_no_address_that_nobody_reads() -> None:
    """While reply_to is not set, the guide names the contact alone, or whoever gave the page to the client."""
    assert "localhost" not in guide(config=Config())
    assert "Ask the person who gave you this page." in chapter(guide(config=Config()), "Questions")
    assert "Ask Marie." in chapter(guide(config=Config(mail=MailSettings(contact="Marie"))), "Questions")
    assert "Write to a@b.example." in chapter(
        guide(config=Config(mail=MailSettings(reply_to="a@b.example"))), "Questions"
    )


def test_clicks_come_before_scripts() -> None:
    """The clicks in WinSCP and FileZilla, up to the answer, come before any script, and scripts before keys."""
    text = guide()
    places = [text.index(f"\n{each}") for each in ("### With WinSCP", "### With FileZilla", "## Uploading by a script")]
    assert sorted(places) == places
    assert text.index("lftp") < text.index("SHA256:abc")
    for clicked in ("**Quickconnect**", "**Login**", "**Ctrl+Alt+H**", "`sftp://sftp.example.org`"):
        assert clicked in chapter(text, "2. Upload the file")


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_code_has_a_paragraph_with_an_anchor(language: str) -> None:
    """A link to a code in the guide leads to what it means, an example and what to do."""
    text, say = guide(language), words(language).say
    for code in CODES:
        title, cause, example, remedy = (say(message(f"code/{code}/{part}")) for part in CODE_PARTS)
        example, remedy = (
            say(message("guide/codes_example", text=example)),
            say(message("guide/codes_remedy", text=remedy)),
        )
        assert f'<a id="{code}"></a>\n\n#### {title} ({code})\n\n{cause}\n\n- {example}\n- {remedy}\n' in text


def test_links_in_a_page_lead_somewhere() -> None:
    """In a page in two languages each link leads to one heading, of its own language."""
    client = ClientSettings(name="acme", inbox="/in", language=("fr", "en"))
    page = as_html(guide_parts(client, ACCESS, Config()))
    for language, begins in (("fr", ""), ("en", "en-")):
        [section] = re.findall(rf'<section lang="{language}">.*?</section>', page, re.DOTALL)
        links, anchors = re.findall(r'href="#([^"]+)"', section), re.findall(r'id="([^"]+)"', section)
        assert {*links} <= {*anchors}
        assert all(anchor.startswith(begins) for anchor in anchors)
    anchors = re.findall(r'id="([^"]+)"', page)
    assert len({*anchors}) == len(anchors)
    assert "The English version is below." in page.split("</section>")[0]


@pytest.mark.parametrize("program", ["OpenSSH", "WinSCP", "FileZilla", "Cyberduck", "libssh2", "JSch", "SSH.NET"])
def test_the_guide_says_since_when_programs_can_connect(program: str) -> None:
    """A client whose program knows only what OpenSSH 10 has dropped finds its message, its program and the version."""
    section = guide().split("## If your program cannot connect")[1]
    assert "no matching key exchange method" in section
    assert re.search(rf"^\|.*\b{re.escape(program)}\b.*\| .*\d.* \|$", section, re.MULTILINE)


def test_the_sample_passes_the_check(tmp_path: Path) -> None:
    """The sample of the guide is a file that `rosterd check` finds nothing wrong with."""
    sample = re.search(r"```\n(unique_id.*?)```", guide(), re.DOTALL)
    assert sample is not None
    (tmp_path / "users.csv").write_text(sample[1])
    (tmp_path / "config.toml").write_text('[[client]]\nname = "acme"\ninbox = "/srv/sftp/acme/upload"\n')
    arguments = ["check", str(tmp_path / "users.csv"), "--config", str(tmp_path / "config.toml")]
    assert 0 == CliRunner().invoke(main, arguments).exit_code


def test_the_command_writes_a_page(tmp_path: Path) -> None:
    """`rosterd guide --html` writes one HTML file that fetches nothing, in the languages of the client or as asked."""
    settings = '[[client]]\nname = "acme"\ninbox = "/srv/sftp/acme/upload"\nlanguage = ["fr", "en"]\n'
    (tmp_path / "config.toml").write_text(settings)
    arguments = ["guide", "--html", "--host", "sftp.example.org", "--config", str(tmp_path / "config.toml")]
    for languages, wanted in (((), ["fr", "en"]), (("--language", "en"), ["en"])):
        page = CliRunner().invoke(main, [*arguments, *languages])
        assert 0 == page.exit_code
        assert page.output.startswith(f'<!DOCTYPE html>\n<html lang="{wanted[0]}">')
        assert wanted == re.findall('<section lang="(..)">', page.output)
        assert not re.search('<script|src=|href="(?!#)|url\\(', page.output)


def test_the_guide_knows_what_the_client_has_sent(tmp_path: Path) -> None:
    """`rosterd guide` finds in the database which columns the client uses; without one it does without."""
    (tmp_path / "acme").mkdir()
    with Rosterd(tmp_path, {"acme": tmp_path / "acme"}) as installation:
        before = installation.execute("guide")
        installation.drop("users.csv", "unique_id,login_source,first_name,last_name,email,city,street\n" + ANN)
        assert 0 == installation.execute("sweep").returncode
        after = installation.execute("guide")
    assert (0, "") == (before.returncode, before.stderr)
    assert ["city"] == re.findall(r"^- `(city|street)`: ", after.stdout, re.MULTILINE)
    assert "`city`: " not in before.stdout


def test_a_guide_is_written_whatever_the_database_is_like(tmp_path: Path) -> None:
    """Where the database cannot be read, the guide says less, and a sentence says why."""
    (tmp_path / "rosterd.db").write_bytes(b"x" * 4096)
    (tmp_path / "config.toml").write_text(
        '[service]\nstate_dir = "."\n[[client]]\nname = "acme"\ninbox = "/srv/sftp/acme/upload"\n'
    )
    written = CliRunner().invoke(main, ["guide", "--config", str(tmp_path / "config.toml")])
    assert 0 == written.exit_code
    assert written.stderr.startswith(f"{tmp_path}/rosterd.db: ")
    assert written.stdout.startswith("# How to send us your users")


def test_a_page_shows_text_as_it_is() -> None:
    """Whatever the settings hold, the page shows it and runs none of it; all tags are closed."""
    evil = "<script>alert(1)</script> & `<b>`"
    blocks: list[Block] = [Heading(evil, 1, '">'), Text(evil), Items((evil,)), Steps((evil,)), Code(evil)]
    page = as_html({"en": [*blocks, Table((evil,), ((evil,),))]})
    assert "<script>" not in page
    assert '">"' not in page
    assert "<b>" not in page

    opened: list[str] = []

    class Balance(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 - the parser's own signature
            if tag != "meta":
                opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert tag == opened.pop()

    Balance().feed(page)
    assert [] == opened


def test_tables_keep_their_columns() -> None:
    """A bar in a cell does not begin another column of Markdown."""
    assert r"| a\|b |" in as_markdown([Table(("x",), (("a|b",),))])


def test_rsyslog_takes_the_log_apart(needs: Needs, tmp_path: Path) -> None:
    """With the recipe, rsyslog writes events as JSON into a file of their own, errors into another as well."""
    needs("rsyslogd")
    recipe = (REPOSITORY / "deploy" / "log" / "rsyslog.conf").read_text().replace("/var/log/", f"{tmp_path}/")
    listen = f'module(load="imuxsock" SysSock.Use="off")\ninput(type="imuxsock" Socket="{tmp_path}/log")\n'
    (tmp_path / "rsyslog.conf").write_text(f'global(workDirectory="{tmp_path}")\n{listen}{recipe}')
    events = [{"event": "file.imported", "level": "info", "rows": 3}, {"event": "mail.dead", "level": "error"}]
    with subprocess.Popen(["rsyslogd", "-n", "-f", tmp_path / "rsyslog.conf", "-i", tmp_path / "pid"]) as shipper:
        try:
            wait_until((tmp_path / "log").exists, "rsyslogd to listen")
            for event in events:
                _send(tmp_path / "log", f"<30>Nov 22 22:22:22 rosterd[12]: {json.dumps(event)}")
            wait_until(lambda: _events(tmp_path / "rosterd-errors.json"), "the error to arrive")
        finally:
            shipper.terminate()
    assert events == _events(tmp_path / "rosterd.json")
    assert events[1:] == _events(tmp_path / "rosterd-errors.json")


def _send(address: Path, line: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.sendto(line.encode(), str(address))


def _events(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_vectors_recipe_is_toml() -> None:
    """Vector's recipe can be read."""
    assert {"sources", "transforms", "sinks"} == {*tomllib.loads((REPOSITORY / "deploy/log/vector.toml").read_text())}


def test_monitoring_names_events_that_exist() -> None:
    """Each event that the document on monitoring would have you watch stands in the catalogue."""
    named = re.findall(r"`([a-z]+\.[a-z]+)`", (REPOSITORY / "docs" / "monitoring.md").read_text())
    catalogue = (REPOSITORY / "docs" / "events.md").read_text()
    assert [] == [event for event in named if f"`{event}`" not in catalogue]
