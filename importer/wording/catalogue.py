"""
The one catalogue of what a client can read. Messages become words here, at the edge, in the client's language.

The English templates are in the modules of this folder. `LANGUAGE.po` has the translations, `LANGUAGE.mo` the same
compiled; `python -m docs.translate` makes both. The key of a template is the context of its translation.
"""

from __future__ import annotations

import functools
import gettext
from collections.abc import Sequence
from importlib import resources
from typing import Final

from importer.model import FileRejected, Message, Param
from importer.wording.answers import LAYOUT
from importer.wording.codes import CODE_PARTS, CODES
from importer.wording.columns import COLUMNS
from importer.wording.file_reasons import FILE_REASONS
from importer.wording.guide import GUIDE
from importer.wording.notices import OVERDUE, STRAYS
from importer.wording.reasons import REASONS
from importer.wording.template import Reason, Template
from importer.wording.terms import TERMS
from importer.wording.unwrapping import UNWRAPPING_REASONS

LANGUAGES: Final = ("en", "fr")
_REMEDY: Final = ":remedy"  # ends the key of what to do about a reason

ALL_REASONS: Final[dict[str, Reason]] = {**FILE_REASONS, **UNWRAPPING_REASONS, **REASONS}
TEMPLATES: Final[dict[str, Template]] = {
    **LAYOUT,
    **OVERDUE,
    **STRAYS,
    **GUIDE,
    **COLUMNS,
    **TERMS,
    **{f"code/{code.code}/{part}": Template(getattr(code, part)) for code in CODES.values() for part in CODE_PARTS},
    **{key: Template(reason.problem, reason.plural) for key, reason in ALL_REASONS.items()},
    **{key + _REMEDY: Template(reason.remedy) for key, reason in ALL_REASONS.items()},
}


class Words:
    """
    The words of one language.

    Parameters are filled in as they are: a text as it is, a number with its thousands apart, a tuple as a list of
    quoted names, a message in the same language. Raises KeyError for a key or a parameter that does not exist.
    """

    def __init__(self, language: str) -> None:
        """`language` is one of LANGUAGES."""
        self.language = language
        self._translations = _translations(language)
        self._unfilled: dict[str, tuple[str, str]] = {}  # by key: a failed CSV has the same ones over and over

    def say(self, message: Message) -> str:
        """Return the sentence."""
        params = {name: self._shown(value) for name, value in message.params}
        return self._template(message.key, _count_in(message)).format_map(params)

    def remedy(self, reason: Message) -> str:
        """Return the sentence that says what to do about it."""
        return self.say(Message(reason.key + _REMEDY, reason.params))

    def explained(self, reason: Message) -> str:
        """Return both sentences."""
        return " ".join(filter(None, self.sentences(reason)))

    def sentences(self, reason: Message) -> tuple[str, str]:
        """Return what is wrong, and what to do about it, "" if there is nothing to say."""
        problem, remedy = self._unfilled.get(reason.key) or self.unfilled(reason.key, _count_in(reason))
        params = {name: value if value.__class__ is str else self._shown(value) for name, value in reason.params}
        return problem.format_map(params), remedy.format_map(params)

    def unfilled(self, key: str, count: int = 1) -> tuple[str, str]:
        """Return both without their parameters."""
        remedy = key + _REMEDY
        pair = self._template(key, count), self._template(remedy, 1) if remedy in TEMPLATES else ""
        if not TEMPLATES[key].plural:
            self._unfilled[key] = pair
        return pair

    def refusal(self, rejected: FileRejected) -> str:
        """Return all that is wrong with a file, in one paragraph."""
        return " ".join(map(self.explained, rejected.reasons))

    def number(self, count: int) -> str:
        """Return a number with its thousands apart."""
        return f"{count:,}" if self.language == "en" else f"{count:,}".replace(",", "\u00a0")

    def quoted(self, text: str) -> str:
        """Return a text in the quotation marks of the language."""
        return f'"{text}"' if self.language == "en" else f"«\u00a0{text}\u00a0»"

    def _template(self, key: str, count: int) -> str:
        template = TEMPLATES[key]
        if template.plural:
            return self._translations.npgettext(key, template.text, template.plural, count)
        return self._translations.pgettext(key, template.text)

    def _shown(self, value: Param) -> str:
        if isinstance(value, Message):
            return self.say(value)
        if isinstance(value, int):
            return self.number(value)
        return value if isinstance(value, str) else ", ".join(map(self.quoted, value))


def _count_in(message: Message) -> int:
    return next((value for name, value in message.params if name == "count" and isinstance(value, int)), 1)


@functools.cache
def words(language: str = "en") -> Words:
    """Return the words of a language."""
    return Words(language)


def say_in_each(languages: Sequence[str], message: Message, *, between: str = " / ") -> str:
    """Return the sentence in several languages, one after the other."""
    return between.join(words(language).say(message) for language in languages)


def text_bytes(message: Message) -> int:
    """Return how many bytes the texts have that are parameters of a message."""
    total = 0
    for _, value in message.params:
        if isinstance(value, str):
            total += len(value) if value.isascii() else len(value.encode())
        elif isinstance(value, tuple):
            total += sum(len(text.encode()) for text in value)
    return total


def _translations(language: str) -> gettext.NullTranslations:
    if language == "en":
        return gettext.NullTranslations()
    with resources.files("importer.wording").joinpath(f"{language}.mo").open("rb") as compiled:
        return gettext.GNUTranslations(compiled)
