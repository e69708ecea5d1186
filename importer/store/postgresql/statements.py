"""Statements as the rest of the store writes them, in the form that psycopg takes."""

from __future__ import annotations

import functools
import re
from typing import Final

# A text, a quoted name, a comment or a cast is copied; `?` and `:name` are values; psycopg wants `%` twice.
# IS and IS NOT of SQLite compare any values, also NULL.
# LIKE of SQLite takes A and a for the same letter, but not É and é: so does ILIKE where texts are compared by bytes.
_PART: Final = re.compile(
    r"""(?P<copied> '(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | :: )
      | (?P<place> \? )
      | : (?P<name> [A-Za-z_]\w* )
      | (?P<percent> % )
      | \bIS (?P<differs> \s+NOT )? \b (?! \s+ (?:NOT\s+)? (?:NULL|DISTINCT|TRUE|FALSE)\b ) (?P<compared> )
      | (?P<like> (?<!\() \bLIKE\b )""",
    re.VERBOSE,
)


@functools.lru_cache(maxsize=1024)
def for_psycopg(statement: str) -> str:
    """Return a statement with `%s` for each `?` and `%(name)s` for each `:name`."""
    return _PART.sub(_translated, statement)


def _translated(match: re.Match[str]) -> str:
    if copied := match["copied"]:
        return copied.replace("%", "%%")
    if name := match["name"]:
        return f"%({name})s"
    if match["compared"] is not None:
        return "IS DISTINCT FROM" if match["differs"] else "IS NOT DISTINCT FROM"
    if match["like"]:
        return "ILIKE"
    return "%s" if match["place"] else "%%"
