"""E-mail addresses that are hardly those of a person: made up, or with letters that few mail systems accept. Pure."""

from __future__ import annotations

from typing import Final

from importer.patterns import regex

# What people make up for who has none.
NO_LOCAL: Final = r"no(?:ne|[-_.]?(?:e?mail|reply))@"
_NO_DOMAIN: Final = regex(r"(?:none|no-?e?mail|test|fake|dummy|unknown|null|na|xxx+)\.[a-z]{2,4}\Z")
_NO_ADDRESS: Final = regex(rf"{NO_LOCAL}|.*@(?:{_NO_DOMAIN.pattern})")
_FULL_WIDTH: Final = regex(r"[\u3002\uff01-\uff64]")
_TWO_ALPHABETS: Final = regex(r"[A-Za-z][\u0370-\u052f]|[\u0370-\u052f][A-Za-z]")


def doubt_of(address: str) -> str:
    """Return the code of what is doubtful about an address, "" if nothing is."""
    if not address.isascii():
        return "email.letters" if _has_odd_letters(address) else ""
    return "value.placeholder/address" if _NO_ADDRESS.match(address) else ""


def _has_odd_letters(address: str) -> bool:
    local, _, domain = address.rpartition("@")
    return not local.isascii() or bool(_FULL_WIDTH.search(domain) or _TWO_ALPHABETS.search(domain))


def is_no_domain(domain: str) -> bool:
    """Tell whether a domain is made up: people who have no address get one there."""
    return bool(_NO_DOMAIN.match(domain))
