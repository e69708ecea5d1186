"""Names of users whom nobody is: of a template, of a test, or a code in place of a name. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from importer.patterns import regex

SAMPLE: Final = "value.placeholder/sample"
PROVINCE: Final = "row.shifted/province"

_OF_TESTS: Final = "test sample demo example dummy fake temp temporary training default"
_OF_ROLES: Final = "user student teacher employee account person staff parent admin record name"
# Last name -> first names; most are also names of people, but not together.
_TOGETHER: Final = {
    **dict.fromkeys(_OF_ROLES.split(), frozenset(_OF_TESTS.split()) | {"new", "first"}),
    "user": frozenset(_OF_TESTS.split()) | {"new", "first", "admin", "guest"},
    "account": frozenset(_OF_TESTS.split()) | {"new", "admin", "guest", "service"},
    "test": frozenset((*_OF_TESTS.split(), *_OF_ROLES.split(), "tester", "élève", "utilisateur", "étudiant", "eleve")),
    "last": frozenset(("first",)),
    "essai": frozenset(("essai", "test", "élève", "utilisateur")),
    **dict.fromkeys(("one", "two"), frozenset(("test", "user", "student", "teacher", "employee"))),
    "use": frozenset(("do not",)),
    "bar": frozenset(("foo",)),
    "ipsum": frozenset(("lorem",)),
    "mouse": frozenset(("mickey", "minnie")),
    "mustermann": frozenset(("max", "erika")),
    "bloggs": frozenset(("joe", "fred")),
    **{word: frozenset((word,)) for word in ("string", "text", "xx", "sample", "example", "demo", "exemple")},
}
_WITH_EXAMPLE_ADDRESS: Final = {"doe": frozenset(("john", "jane"))}  # as some people are called
_EXAMPLE_ADDRESS: Final = regex(r".*@(?:[\w-]+\.)*(?:example|(?:your-?)?domain|sample|yourschool)\.[a-z]{2,4}\Z")
# As last names, of Canada; others are also names. First names may be initials.
_PROVINCES: Final = frozenset(("ON", "QC", "BC", "AB", "SK", "MB", "NB", "NS", "NL", "YT", "NT"))
_FIRST: Final = frozenset(("ON", "QC"))

LAST_NAMES: Final = frozenset(
    spelt for name in (*_TOGETHER, *_WITH_EXAMPLE_ADDRESS) for spelt in (name, name.upper(), name.capitalize())
)
# What a column of names must have for such a user.
SUSPECTS: Final = {"first_name": _FIRST, "last_name": LAST_NAMES | _PROVINCES}


def may_be_one(first: str, last: str) -> bool:
    """Tell whether `doubts_of` may find something, as in hardly any row."""
    return last in SUSPECTS["last_name"] or first in _FIRST


def doubts_of(values: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the warnings of the names among the values of a user, each a code and an attribute."""
    first, last = values.get("first_name", ""), values.get("last_name", "")
    if _is_sample(first.lower(), last.lower(), values.get("email", "")):
        return [(SAMPLE, "last_name")]
    if first in _FIRST and not last.isupper():
        return [(PROVINCE, "first_name")]
    return [(PROVINCE, "last_name")] if last in _PROVINCES and first and not first.isupper() else []


def _is_sample(first: str, last: str, address: str) -> bool:
    if first in _WITH_EXAMPLE_ADDRESS.get(last, ()):
        return bool(_EXAMPLE_ADDRESS.match(address))
    return first in _TOGETHER.get(last, ())
