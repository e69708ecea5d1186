"""How a single value is judged: the same few functions for every attribute, each pure."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Final, Literal

from importer.attributes import REQUIRED_CODES, Attribute, Rule
from importer.characters import SHOWN_CHARS
from importer.model import Message, Problem, message
from importer.patterns import regex
from importer.rows.values import provinces
from importer.settings import ClientSettings, ReferenceSettings, StatusSettings, as_status

Judge = Callable[[str], str | Problem]  # a cleaned, non-blank value -> the value to store, or what is wrong with it

# Linear: the two classes do not overlap. What does not match goes to email-validator, which decides: to import it takes
# a seventh of the start of a worker.
_PLAIN_LOCAL: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*\Z")
# Countries and the oldest ends: none of them is reserved. No label with two hyphens, which may be Punycode.
_PLAIN_DOMAIN: Final = re.compile(
    r"(?:[a-z0-9](?:-?[a-z0-9]){0,31}\.)+(?:[a-z]{2}|com|edu|gov|net|org)\Z", re.IGNORECASE | re.ASCII
)
_LOCAL_CHARS: Final = 64
_ADDRESS_CHARS: Final = 254
_NO_ADDRESSES: Final = (
    (regex(r"\Amailto:", re.IGNORECASE), "9033/mailto"),
    (regex(r"\A(?:smtp|sip|e?mail):|#mailto:", re.IGNORECASE), "9033/remark"),
    (regex(r"[<>]"), "9033/brackets"),
    (regex(r"@.*@"), "9033/addresses"),
    (regex(r"@\S+\.[A-Za-z]{2,}(?:[(\[{?_/#\\]|\s+[^.]*\Z)|://|\A[\[({].*@.*[\])}]\Z"), "9033/remark"),
    (regex(r"@[^@,]+,\s?[A-Za-z]+\Z"), "9033/comma"),
    (regex(r"%40|&#0*64;|&#x40;|&commat;|[(\[{]at[)\]}]|[\uff20\ufe6b]", re.IGNORECASE), "9033/no_plain_at"),
    (regex(r"\A[^@]*\Z"), "9033/no_at"),
    (regex(r"&(?:#?\w{2,6});"), "9033/markup"),
    (regex(r"[.,;:]\Z"), "9033/punctuation"),
    (regex(r"\s(?:dot|point)\s"), "9033/address"),
    (regex(r"\s"), "9033/blank"),
)
_DATE: Final = re.compile(r"(\d{4})-(\d{2})-(\d{2})\Z", re.ASCII)
_DAY_NUMBER: Final = re.compile(r"\d{5}(?:[.,]\d+)?\Z", re.ASCII)  # 1927-05-18 to 2173-10-13; four are a year
_FIRST_DAY: Final = date(1900, 1, 1)
_LISTED_CODES: Final = 20
MEMO_ENTRIES: Final = 40_000  # above the number of days on which living people were born


@functools.cache
def versions() -> tuple[str, ...]:
    """Return those of the libraries that judge: others may judge differently. To ask the disk would take 7 ms."""
    import email_validator
    import idna

    return email_validator.__version__, idna.__version__


class Memo(dict[str, str | Problem]):
    """
    The verdicts of one judge on the values seen so far.

    A column of provinces, dates or types has few distinct values: a look-up costs 0.05 us where judging costs 1 to 30.
    """

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        self._judge = judge

    def __missing__(self, text: str) -> str | Problem:
        if len(self) >= MEMO_ENTRIES:
            self.clear()
        verdict = self[text] = self._judge(text)
        return verdict


def too_long(attribute: Attribute, value: str, limit: int) -> Problem:
    """Return the problem of a value over its limit of characters."""
    return _over(attribute.name, limit, len(value))


@functools.cache
def _about(key: str, name: str) -> Message:
    return message(key, column=name)


@functools.lru_cache(1000)
def _over(name: str, limit: int, length: int) -> Problem:
    reason = message("9030", column=name, limit=limit)
    return Problem(name, reason, Message("9030!", (*reason.params, ("length", length))))


def required(name: str, case: Literal["", "/no_column", "/cleared"] = "") -> Problem:
    """Return the problem of a required attribute: its cell is blank, it has no column, or it was to be emptied."""
    return Problem(name, message(REQUIRED_CODES.get(name, "9033") + case, column=name))


def lacking(name: str, case: Literal["", "/no_column"], reference: ReferenceSettings) -> Problem:
    """Return the problem of a new user without a required attribute; of the login source, with those that we know."""
    if name != "login_source":
        return required(name, case)
    return _one_of(f"9014{case}", name, _sources(reference))


def judge_of(attribute: Attribute, reference: ReferenceSettings, status: StatusSettings) -> Judge:
    """Return what judges the values of an attribute, or of the status column; many take any text."""
    name = attribute.name
    judges: dict[Rule, Callable[[], Judge]] = {
        Rule.LOGIN_SOURCE: lambda: _OneOf("9015", name, _sources(reference)),
        Rule.PROVINCE: lambda: lambda text: _province(name, text),
        Rule.USER_TYPE: lambda: _type_judge(name, reference.user_types),
        Rule.LOCKER_TYPE: lambda: _type_judge(name, reference.locker_types),
        Rule.DATE: lambda: lambda text: _date(name, text),
        Rule.EMAIL: lambda: EmailJudge(name),
        Rule.STATUS: lambda: _status_judge(status),
    }
    return judges.get(attribute.rule, lambda: str)()


def limit_of(attribute: Attribute, client: ClientSettings) -> int:
    """Return how many characters a value may have for this client."""
    return client.limits.get(attribute.name, attribute.limit)


def _sources(reference: ReferenceSettings) -> tuple[str, ...]:
    return tuple(sorted({*reference.login_sources, "OPSCOM"}))


def _one_of(key: str, name: str, choices: tuple[str, ...]) -> Problem:
    """Return the problem of a value that must be one of a list."""
    if len(choices) == 1:
        return Problem(name, message(f"{key}/one", column=name, choice=choices[0]))
    many = "/many" if len(choices) > _LISTED_CODES else ""
    return Problem(name, message(f"{key}{many}", column=name, choices=choices[:_LISTED_CODES]))


class _OneOf:
    """Judges values that must be one of a list."""

    def __init__(self, key: str, name: str, choices: tuple[str, ...]) -> None:
        self._choices = frozenset(choices)
        self._problem = _one_of(key, name, choices)

    def __call__(self, text: str) -> str | Problem:
        return text if text in self._choices else self._problem


def _status_judge(status: StatusSettings) -> Judge:
    states, problem = status.states, _one_of("9033/status", status.column, status.values)
    return lambda text: states.get(as_status(text), problem)


def _type_judge(name: str, configured: tuple[str, ...]) -> Judge:
    if configured:
        return _OneOf("9033/type", name, configured)
    problem = Problem(name, message("9033/digits", column=name))
    return lambda text: text if text.isascii() and text.isdigit() else problem


def _province(name: str, text: str) -> str | Problem:
    code = text.upper()
    if code in provinces.CODES and text.isascii():  # upper() turns the Turkish dotless letter into I
        return code
    reason, value = _about("9033/province", name), ("value", text[:SHOWN_CHARS])
    if len(text) <= SHOWN_CHARS and (meant := provinces.code_meant(text)):
        return Problem(name, reason, Message("9033/province_meant!", (*reason.params, value, ("code", meant))))
    return Problem(name, reason, Message("9033/province!", (*reason.params, value)))


def _date(name: str, text: str) -> str | Problem:
    match = _DATE.match(text)
    if not match:
        return Problem(name, _about("9033/day_number" if _DAY_NUMBER.match(text) else "9033/date", name))
    try:
        day = date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return Problem(name, _about("9033/no_such_day", name))
    if day < _FIRST_DAY or day > datetime.now(UTC).date():
        return Problem(name, message("9033/out_of_range", column=name, first=_FIRST_DAY.isoformat()))
    return text


class EmailJudge:
    """
    Judges e-mail addresses as email-validator does, without asking the network.

    The usual address, a plain local part at a domain seen before, never reaches the library: 0.6 us instead of 60.
    """

    def __init__(self, name: str = "email") -> None:
        self._name = name
        self._domains = Memo(lambda domain: domain if _PLAIN_DOMAIN.match(domain) else _judged_domain(name, domain))

    def __call__(self, text: str) -> str | Problem:
        """Return the address as written, or the problem."""
        local, _, domain = text.rpartition("@")
        if len(text) <= _ADDRESS_CHARS and len(local) <= _LOCAL_CHARS and _PLAIN_LOCAL.match(local):
            verdict = self._domains[domain]
            return text if isinstance(verdict, str) else verdict
        return _validated(self._name, text)


@functools.lru_cache(1000)  # for small files: the library takes as long as a tenth of one
def _judged_domain(name: str, domain: str) -> str | Problem:
    return _validated(name, f"a@{domain}")


def _validated(name: str, text: str) -> str | Problem:
    if len(text) > _ADDRESS_CHARS:
        return Problem(name, message("9030/address", column=name, limit=_ADDRESS_CHARS))
    if "@" not in text:  # the library takes 60 us to say so
        return Problem(name, _about(_address_key(text), name))
    from email_validator import EmailNotValidError, validate_email

    try:
        validate_email(text, check_deliverability=False)
    except EmailNotValidError:
        return Problem(name, _about(_address_key(text), name))
    return text


def _address_key(text: str) -> str:
    """Return what people wrote in place of one address."""
    if key := next((key for pattern, key in _NO_ADDRESSES if pattern.search(text)), ""):
        return key
    from email_validator import SPECIAL_USE_DOMAIN_NAMES

    reserved = tuple(sign + name for sign in ".@" for name in SPECIAL_USE_DOMAIN_NAMES)
    return "9033/domain" if text.casefold().endswith(reserved) else "9033/address"  # directories have "corp.local"
