"""What clients read about what is wrong: one example of each sentence, in each language."""

from __future__ import annotations

import re
import string
from typing import Final

import pytest

from importer.model import Message, Param, message
from importer.wording.answers import LAYOUT
from importer.wording.catalogue import ALL_REASONS, LANGUAGES, TEMPLATES, words
from importer.wording.codes import CODES

MOST_CHARS: Final = 240
COLUMN: Final = "first_name"
# Values as they may be; a parameter that is not among them is a word.
EXAMPLES: Final[dict[str, Param]] = {
    "column": COLUMN,
    "columns": "G, H, I",
    "count": 1234,
    "delimiter": Message("delimiter/comma"),
    "encoding": "UTF-16",
    "expected": "first_name",
    "first": "7",
    "last": "9",
    "length": 255,
    "limit": 5000000,
    "line": "1234",
    "name": "Prénom usuel",
    "names": ("Homeroom", "Grade", "Faculty"),
    "second": "9",
    "separator": "^",
    "value": "Zoé",
}
NAMES_TO_PASTE: Final = "unique_id,login_source,first_name,last_name,email,..."
FORBIDDEN: Final = {
    "en": r"stands?|lies|is no|invalid|illegal|please|sorry",
    "fr": r"invalides?|illégal\w*|veuillez|s.il vous plaît|désolée?s?",
}


def example(key: str) -> Message:
    """Return the message with values as they may be."""
    reason = ALL_REASONS[key]
    fields = {name for _, name, _, _ in string.Formatter().parse(reason.problem + reason.remedy) if name}
    params = {name: EXAMPLES.get(name, "word") for name in sorted(fields)}
    if key.startswith("header.missing/user"):
        params["names"] = NAMES_TO_PASTE
    return Message(key, tuple(params.items()))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("key", ALL_REASONS)
def test_what_is_wrong_and_what_to_do_are_sentences(key: str, language: str) -> None:
    """Each begins with a capital, or the name of a column, and ends with a full stop."""
    reason, said = example(key), words(language)
    for text in (said.say(reason), said.remedy(reason)):
        begin = text.lstrip('«\u00a0"')
        assert begin[:1].isupper() or begin[:1].isdigit() or begin.startswith(COLUMN), text
        assert text.endswith("."), text
        assert not text.endswith(".."), text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("key", ALL_REASONS)
def test_sentences_are_short_and_plain(key: str, language: str) -> None:
    """None is too long, unfilled, has a code in it, or a word that helps nobody."""
    text = words(language).explained(example(key))
    assert len(text) <= MOST_CHARS, (len(text), text)
    assert not re.search(rf"\b(?:{FORBIDDEN[language]})\b", text, re.IGNORECASE), text
    assert not re.search(r"[{}]", text), text
    assert [] == [code for code in CODES if re.search(rf"(?<!\w){re.escape(code)}(?!\w)", text)], text
    assert "  " not in text


SENTENCES: Final = [key for key in LAYOUT if re.search(r"\b(summary|step|more)/", key)]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("key", SENTENCES)
def test_what_is_around_the_problems_are_sentences(key: str, count: int, language: str) -> None:
    """What happened and what to do are whole sentences, plain ones, too; without a code."""
    template = LAYOUT[key]
    fields = {name for _, name, _, _ in string.Formatter().parse(template.text + template.plural) if name}
    params = {name: count if name == "count" else EXAMPLES.get(name, "word") for name in sorted(fields)}
    text = words(language).say(Message(key, tuple(params.items())))
    assert text[:1].isupper() or text[:1].isdigit(), text
    assert text.endswith("."), text
    assert not re.search(rf"\b(?:{FORBIDDEN[language]})\b", text, re.IGNORECASE), text
    assert not re.search(r"[{}]|  ", text), text


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_that_a_client_reads_has_a_word_that_helps_nobody(language: str) -> None:
    """That holds for guide, headings and mail about overdue files as well."""
    texts = {key: " ".join(words(language).unfilled(key)) for key in TEMPLATES}
    forbidden = re.compile(rf"\b(?:{FORBIDDEN[language]})\b", re.IGNORECASE)
    assert {} == {key: text for key, text in texts.items() if forbidden.search(text)}


def test_only_the_failed_csv_has_values() -> None:
    """What can be the value of a cell is a parameter of no sentence but those for the failed CSV."""
    values = {"value", "surplus", "unique_id", "code"}
    asked = {
        key: {name for _, name, _, _ in string.Formatter().parse(reason.problem + reason.remedy) if name} & values
        for key, reason in ALL_REASONS.items()
    }
    assert {} == {key: names for key, names in asked.items() if names and not key.endswith("!")}


@pytest.mark.parametrize(
    ("language", "count", "expected"),
    [
        ("en", 1, "1 of 90 users is not in the file."),
        ("en", 2, "2 of 90 users are not in the file."),
        ("fr", 1, "1 des 90 utilisateurs n\u2019est pas dans le fichier."),
        ("fr", 2, "2 des 90 utilisateurs ne sont pas dans le fichier."),
    ],
)
def test_one_user_is_and_two_are(language: str, count: int, expected: str) -> None:
    """A sentence has the form of its count, said alone and with its remedy."""
    reason = message("snapshot.on_hold", count=count, total=90)
    assert words(language).say(reason).startswith(expected)
    assert words(language).explained(reason).startswith(expected)


@pytest.mark.parametrize("key", ALL_REASONS)
def test_a_reason_has_a_code(key: str) -> None:
    """What a reason begins with is in the table of codes."""
    assert Message(key).code.rstrip("!") in CODES


def test_quotation_marks_of_french_keep_to_what_they_enclose() -> None:
    """No line can end between a quotation mark of French, or a colon, and the word before or behind it."""
    texts = [words("fr").explained(example(key)) for key in ALL_REASONS]
    assert [] == [text for text in texts if re.search(r"«(?!\u00a0)|(?<!\u00a0)»|(?<=[ \w])(?<!\u00a0):(?= )", text)]
