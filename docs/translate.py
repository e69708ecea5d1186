# noqa: INP001 - a script, not a package
"""
Bring the translations up to date with the catalogue: `python -m docs.translate`. A test compares them.

It adds what is not translated yet, with an empty translation to fill in, drops what is not used any more, and compiles.
"""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from importer.wording import catalogue
from importer.wording.catalogue import LANGUAGES, TEMPLATES

FOLDER = Path(catalogue.__file__).parent
_HEADER = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n\n'
_ALWAYS = datetime(2026, 1, 1, tzinfo=UTC)  # or each run would write another file
TRANSLATED = tuple(language for language in LANGUAGES if language != "en")


def template() -> Catalog:
    """Return all that has to be translated."""
    messages = Catalog(project="rosterd", fuzzy=False)
    for key, each in TEMPLATES.items():
        messages.add((each.text, each.plural) if each.plural else each.text, context=key)
    return messages


def read(language: str) -> Catalog:
    """Return the translations that are there."""
    messages = read_po(io.BytesIO((FOLDER / f"{language}.po").read_bytes()), locale=language)
    messages.creation_date = messages.revision_date = _ALWAYS
    return messages


def update(language: str) -> None:
    """Rewrite the translations of a language, text and compiled."""
    messages = read(language)
    messages.update(template(), no_fuzzy_matching=True, update_header_comment=False)
    messages.obsolete.clear()
    text = io.BytesIO()
    write_po(text, messages, width=120, omit_header=True)
    (FOLDER / f"{language}.po").write_bytes(_HEADER.encode() + text.getvalue())
    (FOLDER / f"{language}.mo").write_bytes(compiled(read(language)))


def compiled(messages: Catalog) -> bytes:
    """Return the translations as a program reads them."""
    out = io.BytesIO()
    write_mo(out, messages)
    return out.getvalue()


if __name__ == "__main__":
    for each in TRANSLATED:
        update(each)
