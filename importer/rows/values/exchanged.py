"""
Columns whose values are those of another one, as the first rows of a file show. Pure.

The warnings have no field: they tell of the columns, also where no row is applied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from importer.model import FileWarning, message
from importer.patterns import regex

_FEWEST: Final = 3  # rows that tell
_FEWEST_ALIKE: Final = 5  # with names that only their form tells
_SURE: Final = 5  # times as many as those that say the opposite
_ONE_IN: Final = 10  # people at least is called by one of the names below
_MOST: Final = 100  # rows that are looked at
_INITIALS: Final = 2  # letters
_NEEDED: Final = ("email", "user_name", "first_name", "last_name")
_ADDRESS: Final = regex(r"[^\s@]+@[^\s@]+\.[^\s@]+\Z")
_LETTERS: Final = re.compile("[a-z]+")
# First names that hardly anybody has as a last name.
_GIVEN_NAMES: Final = (
    "mary jennifer linda elizabeth susan jessica sarah karen lisa nancy sandra michelle amanda melissa deborah "
    "stephanie rebecca laura cynthia amy angela anna emma samantha katherine christine rachel janet heather diane "
    "julie olivia sophia sophie charlotte amelia ava mia isabella chloe chloé zoe zoé lily noah liam ethan lucas "
    "mason jacob matthew christopher andrew joshua kevin brian jeffrey timothy jason steven nicholas jonathan "
    "eric stephen michael john bob marie nathalie isabelle catherine sylvie chantal johanne lucie manon josée "
    "caroline véronique valérie mélanie annie émilie camille léa florence juliette jean pierre françois mathieu "
    "nicolas guillaume alexandre maxime félix étienne philippe stéphane sébastien luc yves rené jacques gilles "
    "mario mohammed mohamed ahmed fatima aisha priya maria juan carlos ana sofia giovanni giulia anne ann eve ida "
    "tom sam peter"
)
_GIVEN: Final = frozenset(_GIVEN_NAMES.split())


def warnings(columns: Mapping[str, Sequence[str]]) -> Iterator[FileWarning]:
    """Yield what columns of a file seem to have each other's values; `columns` by attribute, of its first rows."""
    cells = {name: [cell.strip() for cell in column[:_MOST]] for name, column in columns.items() if name in _NEEDED}
    addresses, accounts = cells.get("email", []), cells.get("user_name", [])
    if len(addresses) >= _FEWEST and not any(addresses) and accounts and all(map(_ADDRESS.match, accounts)):
        reason = message("row.shifted/column", first="user_name", second="email")
        yield FileWarning(reason=reason)
    pairs = [*zip(cells.get("first_name", ()), cells.get("last_name", ()), strict=False)]
    if len(pairs) >= _FEWEST and _are_exchanged(pairs, addresses if any(addresses) else accounts):
        yield FileWarning(reason=message("name.exchanged/columns"))


def _are_exchanged(pairs: Sequence[tuple[str, str]], accounts: Sequence[str]) -> bool:
    given_first, given_last = (
        [name.partition(" ")[0].lower() in _GIVEN for name in names].count(True) for names in zip(*pairs, strict=True)
    )
    if given_last >= max(_FEWEST, len(pairs) / _ONE_IN) and given_last >= _SURE * given_first:
        return True
    if len(pairs) < _FEWEST_ALIKE or given_first > given_last:
        return False
    if all(len(first.replace(".", "")) > _INITIALS and first.isupper() and not last.isupper() for first, last in pairs):
        return True  # as last names are often written
    return len(accounts) == len(pairs) and _are_of_others(pairs, accounts)


def _are_of_others(pairs: Sequence[tuple[str, str]], accounts: Sequence[str]) -> bool:
    """Tell whether most accounts have an initial of the last name and the whole first name, few the opposite."""
    right = exchanged = 0
    for (first, last), account in zip(pairs, accounts, strict=True):
        one, other, letters = first.lower(), last.lower(), _LETTERS.match(account.lower())
        if one and other and letters and one[0] != other[0]:
            right += letters[0] == one[0] + other
            exchanged += letters[0] == other[0] + one
    return exchanged * 2 > len(pairs) and exchanged >= _SURE * right
