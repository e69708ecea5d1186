"""E-mail addresses that are hardly right: made up, misspelt, or with letters that few mail systems accept. Pure."""

from __future__ import annotations

import re
from typing import Final

from importer.attributes import is_mistyped
from importer.model import Message, message
from importer.patterns import regex
from importer.rows.values import remarks

MISSPELT: Final = "email.misspelt"

# What people make up for who has none.
NO_LOCAL: Final = (  # by their first letters, which is faster
    r"(?:n(?:o(?:ne|body|[-_.]?one|[-_.]?(?:e?mail|reply|address|adresse))|ull(?:\.null)?|/?a(?=@))|inconnue?|placeholder"
    r"|t(?:est(?:[-_.]?(?:er|user|ing|student))?|emp|b[ad])|un(?:known|defined)(?:\.un(?:known|defined))?|xxx+|aucune?"
    r"|d(?:o[-_.]?not[-_.]?reply|ummy)|f(?:ake|irst(?:[-_.]?name)?[-_.]?last(?:[-_.]?name)?)|e(?:mail|xample)"
    r"|s(?:ans[-_.]?courriel|omeone|ample))\d{0,3}@"
)
# What administrators put in front of the address of somebody who has left, and behind it.
LEFT: Final = r"zz+[_.-]"
_HAS_LEFT: Final = regex(LEFT)
_LEFT_END: Final = regex(
    r"(?:old|inactive|disabled|deleted|removed|off|bak|expired|archived?|[a-z]|gone|left|xx+|former)\Z", re.IGNORECASE
)
_NO_DOMAIN: Final = regex(
    r"(?:none|no-?e?mail|test|fake|dummy|temp|unknown|undefined|null|na|xxx+|(?:your-?)?domain|asdf|qwerty|1234?)\.[a-z]{2,4}\Z"
)
_ONE_LETTER: Final = r"([a-z\d])\1*"
_NO_DOMAIN_OF: Final = regex(rf"{_ONE_LETTER}\.[a-z]{{2,4}}\Z")  # where nobody is called by the same letter
_NO_ADDRESS: Final = regex(rf"{NO_LOCAL}|.*@(?:{_NO_DOMAIN.pattern})|{_ONE_LETTER}@\1+\.[a-z]{{1,4}}\Z")
_FULL_WIDTH: Final = regex(r"[\u3002\uff01-\uff64]")
# Providers that many people have an address at, and the ends at which they have none, or that are no ends.
_PROVIDERS: Final = ("gmail", "hotmail", "outlook", "yahoo", "icloud")
_WRONG_ENDS: Final = {
    **dict.fromkeys(("con", "cmo", "ocm", "comm", "coom", "vom", "xom", "cpm", "cim", "c0m", "ccom", "comn"), "com"),
    **dict.fromkeys(("ogr", "rog", "orgg", "orq"), "org"),
    **dict.fromkeys(("nte", "nett", "ent"), "net"),
    **dict.fromkeys(("edi", "eud", "edy"), "edu"),
    "caa": "ca",
}
_DOUBLED: Final = ("com", "org", "net", "edu", "ca")
_OF_PROVIDERS: Final = ("com", "co", "cm", "om", "cam", "cc", "c", "ca", "fr", "net", "org")
_FOREIGN_ENDS: Final = ("co", "cm", "om", "cam", "cc", "c")  # where none of the providers is
_TWO_ALPHABETS: Final = regex(rf"[A-Za-z][\u0370-\u052f]|[\u0370-\u052f][A-Za-z]|[A-Za-z]\.[{remarks.ALIKE}]+\Z")
_EDGE: Final = regex(r"[*~#!$%&^=?|{}/+]|[^@]*[*~#!$%&^=?|{}/'`]@")  # valid, and nobody's


def doubt_of(address: str) -> str:
    """Return the code of what is doubtful about an address, "" if nothing is."""
    if not address.isascii():
        return "email.letters" if _has_odd_letters(address) else ""
    if _NO_ADDRESS.match(address):
        return "value.placeholder/address"
    domain = address.rpartition("@")[2]
    if _HAS_LEFT.match(address) or _LEFT_END.match(domain.rpartition(".")[2]):
        return remarks.REMARK
    if _EDGE.match(address):
        return remarks.SIGN
    found, _ = misspelt(domain)
    return f"{MISSPELT} {found}" if found else ""


def misspelt(domain: str) -> tuple[str, str]:
    """Return what is probably misspelt of a domain, all of it or its end, and what is meant; "" if nothing is."""
    rest, _, end = domain.lower().rpartition(".")
    if rest.endswith(f".{end}") and end in _DOUBLED:
        return f".{end}.{end}", f".{end}"
    if rest.startswith("www."):
        return f"@{domain.lower()}", f"@{domain.lower()[4:]}"
    right = _WRONG_ENDS.get(end, end)
    if "." not in rest and right in _OF_PROVIDERS and (provider := _provider(rest)):
        is_right = rest == provider and end == right and end not in _FOREIGN_ENDS
        if not is_right:
            meant = f"{provider}.{'com' if right in _FOREIGN_ENDS else right}"
            return f"@{rest}.{end}", f"@{meant}"
    return (f".{end}", f".{right}") if right != end else ("", "")


def misspelling(code: str, column: str) -> Message:
    """Return the reason of a warning whose code says what is misspelt, as `doubt_of` has it."""
    found = code.partition(" ")[2]
    return message(MISSPELT, column=column, found=found, expected=misspelt(found.lstrip("@"))[1])


def _provider(name: str) -> str:
    return next((each for each in _PROVIDERS if name == each or is_mistyped(f"{name}.com", f"{each}.com")), "")


def _has_odd_letters(address: str) -> bool:
    local, _, domain = address.rpartition("@")
    return not local.isascii() or bool(_FULL_WIDTH.search(domain) or _TWO_ALPHABETS.search(domain))


def is_doubtful(domain: str) -> bool:
    """Tell whether a domain is made up or misspelt."""
    has_left = _LEFT_END.match(domain.rpartition(".")[2])
    return bool(_NO_DOMAIN.match(domain) or _NO_DOMAIN_OF.match(domain) or has_left or misspelt(domain)[0])
