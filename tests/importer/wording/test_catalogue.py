"""The catalogue of what clients read, in all languages."""

from __future__ import annotations

import re
import string

import pytest

from docs.translate import FOLDER as LOCALES
from docs.translate import TRANSLATED, compiled, read, template
from importer.model import Message, message
from importer.wording.catalogue import LANGUAGES, TEMPLATES, words


def parameters(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_a_message_is_said_in_each_language() -> None:
    """One message has words in every language: numbers, quotation marks and forms of plural are its own."""
    one, many = message("rows", count=1), message("rows", count=1234)
    assert ("1 row", "1,234 rows") == (words().say(one), words().say(many))
    assert ("1 ligne", "1\u00a0234 lignes") == (words("fr").say(one), words("fr").say(many))
    assert "0 ligne" == words("fr").say(message("rows", count=0)), "0 is singular in French"


def test_a_message_can_be_a_parameter() -> None:
    """A part of a sentence that is a message is said in the language of the whole, a tuple as a list of names."""
    inner = message("9030", column="phone_cell", limit=message("rows", count=2))
    assert "phone_cell must be 2 rows characters or fewer." == words().say(inner)
    listed = message("9030", column=("a", "b"), limit=20)
    assert '"a", "b" must be 20 characters or fewer.' == words().say(listed)


def forms(text: object) -> list[str]:
    """Return the forms of a template or translation: one, or two with a plural."""
    return [text] if isinstance(text, str) else [str(form) for form in text] if isinstance(text, list | tuple) else []


@pytest.mark.parametrize("language", TRANSLATED)
def test_everything_is_translated(language: str) -> None:
    """Each template has a translation, and none is left over."""
    there = {(each.context, each.id): forms(each.string) for each in read(language) if each.id}
    wanted = {(each.context, each.id) for each in template() if each.id}
    assert wanted == there.keys(), "bring it up to date: python -m docs.translate"
    assert [] == [key for key, texts in there.items() if not texts or not all(texts)], "not translated yet"


@pytest.mark.parametrize("language", TRANSLATED)
def test_translations_have_the_parameters_of_the_template(language: str) -> None:
    """No translation asks for a parameter that does not come, or leaves one out."""
    for each in read(language):
        source, translated = forms(each.id), forms(each.string)
        if each.id:
            assert parameters(source[-1]) == parameters(translated[-1]), each.context
            assert all(parameters(text) <= parameters(source[-1]) for text in (*source, *translated)), each.context


@pytest.mark.parametrize("language", TRANSLATED)
def test_what_is_read_is_what_was_written(language: str) -> None:
    """The compiled translations are those of the text."""
    assert compiled(read(language)) == (LOCALES / f"{language}.mo").read_bytes(), "python -m docs.translate"


def test_an_unknown_key_is_an_error() -> None:
    """A message that the catalogue does not have is a mistake of ours, and never words."""
    with pytest.raises(KeyError):
        words().say(Message("no such key"))
    assert ("en", "fr") == LANGUAGES
    assert all(re.fullmatch(r"[a-z0-9_./:!-]+", key) for key in TEMPLATES)
