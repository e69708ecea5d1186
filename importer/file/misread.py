"""Whether a file that is not UTF-8 was read in the wrong one of the older encodings: its letters make no names then."""

from __future__ import annotations

import codecs
import re
import unicodedata
from typing import BinaryIO, Final

from importer.patterns import regex

_CHUNK_BYTES: Final = 1 << 16
_CODECS: Final = ("cp1252", "cp850", "cp437", "mac_roman")
_CHARS: Final = {char for codec in _CODECS for char in bytes(range(0x80, 0x100)).decode(codec, "ignore")}
_LETTERS: Final = {char for char in _CHARS if unicodedata.category(char) in ("Lu", "Ll")} - {"\u0192", "\xb5"}
# What can follow a letter in a text: apostrophes, dashes, blanks, quotation marks, ordinals, trademarks.
_BEHIND: Final = set(
    "\u2019\u2018\xb4\u2013\u2014\u2026\u201c\u201d\xab\xbb\xa0\xad\xb7\xba\xaa\xb0\xa7\xa9\xae\u2122\xb2\xb3\xb9"
)
_CAPITAL: Final = "".join(sorted(char for char in _LETTERS if char.isupper()))
_SYMBOL: Final = re.escape("".join(sorted(_CHARS - _LETTERS - _BEHIND)))
_ACCENTED: Final = "[\xc0-\xd6\xd8-\xf6\xf8-\xff]"  # of three in a row each may be Cyrillic, Greek or Arabic
# A symbol at a letter, a quotation mark inside a word, a capital behind a small letter, but as in McÉwan; a control
# character.
_ODD: Final = regex(
    f"(?<=[A-Za-z])(?:[{_SYMBOL}]|[\u2026\u201c\u201d\u2122\xae\xab](?=[a-z]))|(?<=[a-z])(?<!Mc)(?<!Mac)(?<!De)(?<!Du)(?<!La)(?<!Le)[{_CAPITAL}]"
    f"|(?<![A-Za-z])[{_SYMBOL}](?=[a-z])|(?<=[A-Z])[{_CAPITAL}](?=[a-z])|(?<![A-Za-z])\u0192(?=[A-Z])"
    "|(?<=[A-Z])[\u2026\u201c\u201d\u2122\xab](?=[A-Z])"
    f"|{_ACCENTED}(?={_ACCENTED}{{2}})|(?<={_ACCENTED}){_ACCENTED}(?={_ACCENTED})|(?<={_ACCENTED}{{2}}){_ACCENTED}"
    "|[\x80-\x84\x86-\x9f]"  # of ISO 8859 where Windows and others have letters
)
_LETTER: Final = regex(f"[{re.escape(''.join(sorted(_LETTERS)))}]")


def line_of_odd_letters(raw: BinaryIO, start: int, encoding: str) -> int:
    """Return the first line with letters that make no words, 0 if that are few; the text begins at `start`."""
    raw.seek(start)
    decode = codecs.getincrementaldecoder(encoding)("replace").decode
    odd = letters = first = lines = 0
    carry = ""
    while chunk := raw.read(_CHUNK_BYTES):
        text = carry + decode(chunk)
        cut = max(text.rfind("\n"), text.rfind("\r", 0, -1)) + 1
        text, carry = (text[:cut], text[cut:]) if cut else (text, "")
        if not text.isascii():
            matches = [match.start() for match in _ODD.finditer(text)]
            if matches and not first:
                first = lines + _line_ends(text[: matches[0]]) + 1
            odd += len(matches)
            letters += len(_LETTER.findall(text))
        lines += _line_ends(text)
    matches = [match.start() for match in _ODD.finditer(carry)]
    first = first or (lines + 1 if matches else 0)
    odd, letters = odd + len(matches), letters + len(_LETTER.findall(carry))
    return first if odd * 2 > letters else 0


def _line_ends(text: str) -> int:
    return text.count("\n") + text.count("\r") - text.count("\r\n")
