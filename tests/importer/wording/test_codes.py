"""The table of codes, as clients read it in each language."""

from __future__ import annotations

import re

import pytest

from importer.model import message
from importer.wording.catalogue import LANGUAGES, words
from importer.wording.codes import CODES
from tests.importer.wording.test_reasons import FORBIDDEN


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code", CODES)
def test_a_code_is_explained_in_plain_sentences(code: str, language: str) -> None:
    """Cause and remedy are sentences, the title is a heading, and none has a word that helps nobody."""
    say = words(language).say
    title, *sentences = (say(message(f"code/{code}/{part}")) for part in ("title", "cause", "remedy"))
    assert title[:1].isupper()
    assert not title.endswith(".")
    for sentence in sentences:
        assert sentence[:1].isupper()
        assert sentence.endswith(".")
    text = " ".join((title, *sentences))
    assert not re.search(rf"\b(?:{FORBIDDEN[language]})\b", text, re.IGNORECASE), text
