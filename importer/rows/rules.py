"""How a single value is judged: the same few functions for every attribute, each pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Final

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

from importer.attributes import REQUIRED_CODES, Attribute, Rule
from importer.model import Problem
from importer.rows import provinces
from importer.settings import ClientSettings, ReferenceSettings

Judge = Callable[[str], str | Problem]  # a cleaned, non-blank value -> the value to store, or what is wrong with it

# Linear: the two classes do not overlap. What does not match goes to email-validator, which decides.
_PLAIN_LOCAL: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*\Z")
_LOCAL_CHARS: Final = 64
_ADDRESS_CHARS: Final = 254
_NO_ADDRESSES: Final = (
    (re.compile(r"\Amailto:", re.IGNORECASE), 'begins with "mailto:"; write the address alone'),
    (re.compile(r"[<>]"), "has more than the address; write only what stands between < and >"),
    (re.compile(r"@.*@"), "has more than one address, or more than one @; write one address"),
    (re.compile(r"\A[^@]*\Z"), "has no @; write it like name@example.org"),
    (re.compile(r"[.,;:]\Z"), "ends with a punctuation mark; remove it"),
    (re.compile(r"\s"), "has a blank inside; write the address alone, without blanks"),
    (
        re.compile(rf"[.@](?:{'|'.join(SPECIAL_USE_DOMAIN_NAMES)})\Z", re.IGNORECASE),  # directories have "corp.local"
        "is at a domain that no mail reaches from outside; write an address that mail reaches",
    ),
)
_DATE: Final = re.compile(r"(\d{4})-(\d{2})-(\d{2})\Z", re.ASCII)
_DAY_NUMBER: Final = re.compile(r"\d{5}(?:[.,]\d+)?\Z", re.ASCII)  # 1927-05-18 to 2173-10-13; four are a year
_FIRST_YEAR: Final = 1900
_LISTED_CODES: Final = 20
_MEMO_ENTRIES: Final = 40_000  # above the number of days on which living people were born


class Memo(dict[str, str | Problem]):
    """
    The verdicts of one judge on the values seen so far.

    A column of provinces, dates or types has few distinct values: a look-up costs 0.05 us where judging costs 1 to 30.
    """

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        self._judge = judge

    def __missing__(self, text: str) -> str | Problem:
        if len(self) >= _MEMO_ENTRIES:
            self.clear()
        verdict = self[text] = self._judge(text)
        return verdict


def too_long(attribute: Attribute, value: str, limit: int) -> Problem | None:
    """Return the problem of a value over its limit of characters."""
    if len(value) <= limit:
        return None
    return Problem(
        "9030",
        attribute.name,
        f"has more than {limit} characters; shorten it",
        f"has {len(value)} characters, at most {limit} are taken; shorten it",
    )


def required(name: str, *, absent: bool = False, cleared: bool = False) -> Problem:
    """Return the problem of a required attribute without a value."""
    detail = "is blank; fill it in"
    if absent:
        detail = "has no column in the file, and a new user needs it; add the column"
    elif cleared:
        detail = "is required and cannot be emptied; write a value"
    return Problem(REQUIRED_CODES.get(name, "9033"), name, detail)


def judges(reference: ReferenceSettings) -> dict[Rule, Judge]:
    """Return what judges the values of each rule; attributes of other rules take any text."""
    sources = frozenset(reference.login_sources) | {"OPSCOM"}
    return {
        Rule.LOGIN_SOURCE: lambda text: _login_source(text, sources),
        Rule.PROVINCE: _province,
        Rule.USER_TYPE: lambda text: _type_id("user_type_id", text, reference.user_types),
        Rule.LOCKER_TYPE: lambda text: _type_id("locker_user_type_id", text, reference.locker_types),
        Rule.DATE: _date,
        Rule.EMAIL: EmailJudge(),
    }


def limit_of(attribute: Attribute, client: ClientSettings) -> int:
    """Return how many characters a value may have for this client."""
    return client.limits.get(attribute.name, attribute.limit)


def _login_source(text: str, sources: frozenset[str]) -> str | Problem:
    if text in sources:
        return text
    return Problem("9015", "login_source", f"is not configured here; write one of: {_listed(sorted(sources))}")


def _listed(codes: Sequence[str]) -> str:
    return ", ".join(codes[:_LISTED_CODES]) + (", ..." if len(codes) > _LISTED_CODES else "")


def _province(text: str) -> str | Problem:
    code = text.upper()
    if code in provinces.CODES and text.isascii():  # upper() makes I of the Turkish letter without a dot
        return code
    detail = "is no two-letter code of a province, territory or state; write the code, such as ON"
    meant = provinces.code_meant(text)
    return Problem("9033", "", detail, f'"{text[:80]}"' + (f": write {meant}" if meant else f" {detail}"))


def _type_id(name: str, text: str, configured: tuple[str, ...]) -> str | Problem:
    if configured:
        if text in configured:
            return text
        return Problem("9033", name, f"is not configured here; write one of: {_listed(configured)}")
    if text.isascii() and text.isdigit():
        return text
    return Problem("9033", name, "must be digits only")


def _date(text: str) -> str | Problem:
    found = _DATE.match(text)
    if not found:
        detail = "is not written YYYY-MM-DD, such as 2001-05-23"
        if _DAY_NUMBER.match(text):
            detail = (
                "is a day number of a spreadsheet such as Excel; format the column as YYYY-MM-DD before saving as CSV"
            )
        return Problem("9033", "date_of_birth", detail)
    try:
        day = date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        return Problem("9033", "date_of_birth", "is a day that does not exist; correct it")
    if day.year < _FIRST_YEAR or day > datetime.now(UTC).date():
        return Problem("9033", "date_of_birth", f"is not between {_FIRST_YEAR}-01-01 and today; correct it")
    return text


class EmailJudge:
    """
    Judges e-mail addresses as email-validator does, without asking the network.

    The usual address, a plain local part at a domain seen before, never reaches the library: 0.6 us instead of 60.
    """

    def __init__(self) -> None:
        self._domains = Memo(lambda domain: _validated(f"a@{domain}"))

    def __call__(self, text: str) -> str | Problem:
        """Return the address as written, or the problem."""
        local, _, domain = text.rpartition("@")
        if len(text) <= _ADDRESS_CHARS and len(local) <= _LOCAL_CHARS and _PLAIN_LOCAL.match(local):
            verdict = self._domains[domain]
            return text if isinstance(verdict, str) else verdict
        return _validated(text)


def _validated(text: str) -> str | Problem:
    if len(text) > _ADDRESS_CHARS:
        return Problem("9030", "email", f"has more than {_ADDRESS_CHARS} characters, as no address can; correct it")
    try:
        validate_email(text, check_deliverability=False)
    except EmailNotValidError:
        return Problem("9033", "email", _address_remedy(text))
    return text


def _address_remedy(text: str) -> str:
    """Say what people wrote in place of one address, and what to write."""
    said = (remedy for pattern, remedy in _NO_ADDRESSES if pattern.search(text))
    return next(said, "is not a valid e-mail address; write it like name@example.org")
