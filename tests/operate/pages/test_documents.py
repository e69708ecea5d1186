from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from importer.attributes import ATTRIBUTES
from operate.cli import main
from operate.pages import documents
from tests import REPOSITORY

DOCS = REPOSITORY / "docs"


@pytest.mark.parametrize(
    ("name", "text"),
    [("attributes.md", documents.attributes_markdown()), ("codes.md", documents.codes_markdown())],
    ids=["attributes", "codes"],
)
def test_document_is_what_the_code_says(name: str, text: str) -> None:
    """The documents in docs/ are made from the tables in the code and agree with them to the letter."""
    assert (DOCS / name).read_text() == text


def test_fields_as_a_document() -> None:
    """`rosterd fields --markdown` prints the document."""
    assert CliRunner().invoke(main, ["fields", "--markdown"]).output == documents.attributes_markdown()


def test_fields_names_every_attribute() -> None:
    """`rosterd fields` lists each attribute with its other name."""
    output = CliRunner().invoke(main, ["fields"]).output
    for attribute in ATTRIBUTES.values():
        assert attribute.name in output
        assert attribute.also in output


def test_template_passes_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The template can be uploaded as it is."""
    monkeypatch.chdir(tmp_path)  # the built-in demo keeps everything in the current folder
    file = tmp_path / "users.csv"
    file.write_bytes(CliRunner().invoke(main, ["template"]).stdout_bytes)
    checked = CliRunner().invoke(main, ["check", str(file)])

    assert checked.exit_code == 0, checked.output
    assert "(1 new)" in checked.output
