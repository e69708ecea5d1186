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

import msgspec
import pytest
from click.testing import CliRunner

from docs.generate import documents
from importer.attributes import POSSIBLE_NAMES
from importer.settings import ClientSettings, MailSettings
from operate.cli import main
from operate.pages.guide import Access, guide_blocks
from operate.pages.markup import Code, Heading, Items, Table, Text, as_html, as_markdown
from operate.pages.reference import comments
from tests import REPOSITORY
from tests.lab import wait_until
from watcher.settings import Config

ACCESS = Access(host="sftp.example.org", port=2222, login="acme", host_keys=("SHA256:abc (ED25519)",))

Needs = Callable[..., None]


def guide(**settings: object) -> str:
    client = msgspec.convert({"name": "acme", "inbox": "/srv/sftp/acme/upload", **settings}, ClientSettings)
    return as_markdown(list(guide_blocks(client, ACCESS, Config(mail=MailSettings(reply_to="help@example.org")))))


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
    """Host, port, login, host key and whom to ask stand in the guide."""
    text = guide(failed_import_email=["it@acme.example"])
    for told in ("`sftp.example.org`", "2222", "`acme`", "SHA256:abc", "it@acme.example", "help@example.org"):
        assert told in text


def test_the_guide_has_every_possible_name() -> None:
    """Each name that a column may have stands in the guide."""
    assert {*POSSIBLE_NAMES} <= {*re.findall(r"`([a-z0-9_]+)`", guide())}


def test_the_guide_is_about_this_client() -> None:
    """A client's own column names, limits and requirements replace the general ones; its sample can be uploaded."""
    text = guide(columns={"Student ID": "unique_id", "Grade": ""}, limits={"employ_no": 20}, required=["email"])
    assert "| `Student ID` | `unique_id` |" in text
    assert "| `Grade` | not used |" in text
    assert "| `employ_no` | 20 |" in text
    assert "\nStudent ID,login_source,email\n" in text


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
    """`rosterd guide --html` writes one HTML file that fetches nothing."""
    (tmp_path / "config.toml").write_text('[[client]]\nname = "acme"\ninbox = "/srv/sftp/acme/upload"\n')
    arguments = ["guide", "--html", "--host", "sftp.example.org", "--config", str(tmp_path / "config.toml")]
    page = CliRunner().invoke(main, arguments)
    assert 0 == page.exit_code
    assert page.output.startswith("<!DOCTYPE html>")
    assert not re.search("<script|src=|href=|url\\(", page.output)


def test_a_page_shows_text_as_it_is() -> None:
    """Whatever the settings hold, the page shows it and runs none of it; all tags are closed."""
    evil = "<script>alert(1)</script> & `<b>`"
    page = as_html([Heading(evil, 1), Text(evil), Items((evil,)), Code(evil), Table((evil,), ((evil,),))])
    assert "<script>" not in page
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
