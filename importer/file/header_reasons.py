"""What is wrong with the names of the columns, as messages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from importer.attributes import POSSIBLE_NAMES, folded, same_but_for_spelling, secrets_in
from importer.characters import SHOWN_CHARS
from importer.file.proposals import are_of_others, identifying, nearest
from importer.model import FileRejected, Message, message, printable
from importer.patterns import regex
from importer.settings import ClientSettings

_MARKS: Final = (  # of quotation, which CSV does not know
    "'`\u2018\u2019\u201a\u201c\u201d\u201e\xab\xbb\xb4\u2032\u2033\u2039\u203a~^#$%|"
)
# Folded names of what numbers rows; those that are also given to numbers of people are left out.
_NUMBERING: Final = frozenset(
    ("", "index", "row", "rownum", "rownumber", "rowno", "ligne", "lfdnr", "slno", "srno", "obs", "unnamed0", "level0")
)
_BOX: Final = regex(r"Textbox\d+\Z", re.IGNORECASE)  # as SSRS calls those of a report that nobody named
AN_ID: Final = "?"  # in place of a proposal: one of several columns that could be the id
_MOST_SHOWN: Final = 50  # unknown names


def spelling(title: str, client: ClientSettings) -> str:
    """Return the name, possible or the client's own, that the title equals but for its spelling; "" if none."""
    own = {folded(name): name for name in client.headings}
    return same_but_for_spelling(title) or own.get(folded(title), "")


def proposals(names: Sequence[str], titles: Sequence[str], client: ClientSettings, *, has_id: bool) -> dict[str, str]:
    """
    Return what each name probably means, "" if nothing; `titles` are all of the file.

    Where no name means the id of the users, a number is it; each of several is AN_ID.
    """
    proposed = {name: "" if are_of_others(name, titles) else proposal(name, client) for name in names}
    if not has_id and "unique_id" not in (client.columns.get(name, name) for name in proposed.values()):
        ids = identifying(proposed)
        proposed |= dict.fromkeys(ids, "unique_id" if len(ids) == 1 else AN_ID)
    return proposed


def missing(proposed: dict[str, str], attributes: Collection[str], client: ClientSettings) -> Iterator[Message]:
    """Yield what to do about the id that no name means; `attributes` are those that some columns have."""
    ids = tuple(shown_name(name) for name, expected in proposed.items() if expected == AN_ID)
    if ids:
        yield message("header.missing/which", names=ids)
    elif "unique_id" not in _meant(proposed, attributes, client):
        yield message("header.missing")


def needed(proposed: dict[str, str], attributes: Collection[str], client: ClientSettings) -> Iterator[Message]:
    """Yield which columns new users need besides, in a file with half of them; others may be about known users."""
    meant = _meant(proposed, attributes, client)
    names = tuple(name for name in client.needed if name not in meant)
    if 0 < len(names) <= len(client.needed) / 2:
        yield message("header.missing/source" if "login_source" in names else "header.missing/needed", names=names)


def _meant(proposed: dict[str, str], attributes: Collection[str], client: ClientSettings) -> set[str]:
    """Return the attributes of the columns once the names are as proposed."""
    names = (client.columns.get(name, name) for name in proposed.values())
    return {*attributes, *(POSSIBLE_NAMES[name].name for name in names if name in POSSIBLE_NAMES)}


def is_numbering(name: str, values: Sequence[str]) -> bool:
    """Tell whether a first column with these values below its name numbers the rows."""
    texts, is_named = [value.strip() for value in values], bool(name) and folded(name) in _NUMBERING
    if any(texts == [*map(str, range(start, start + len(texts)))] for start in (0, 1, 2)):
        return len(texts) > 1 or is_named
    numbers = [int(text) for text in texts if text.isdecimal() and len(text) < SHOWN_CHARS]
    return is_named and len(numbers) == len(texts) and numbers == sorted({*numbers})


def unknown(
    proposed: dict[str, str], titles: Sequence[str], client: ClientSettings, line: int, numbered: str = ""
) -> Iterator[Message]:
    """
    Yield what to do about names, none of which is taken, by what they may mean.

    `titles` are all in `line`, `numbered` is the one of a column that numbers the rows.
    """
    if _are_in_marks(proposed):
        yield message("header.unknown/marks", line=str(line), mark=next(iter(proposed))[0])
        return
    rivals = Counter(proposed.values())
    unresolved = []
    meant = {name: expected for name, expected in proposed.items() if expected != AN_ID}  # see `missing`
    yield from _without_numbers(meant, numbered)
    for name, expected in meant.items():
        shown = shown_name(name)
        if secrets := secrets_in(name):
            yield message(f"header.unknown/{secrets}", name=shown)
        elif name in client.columns:
            yield message("header.unknown/mapping", name=shown, expected=client.columns[name])
        elif not expected:
            unresolved.append(shown)
        elif expected in titles:
            yield message("header.unknown/already", name=shown, expected=expected)
        elif rivals[expected] > 1:
            if name == next(each for each in proposed if proposed[each] == expected):
                same = tuple(shown_name(each) for each in proposed if proposed[each] == expected)
                yield message("header.unknown/several", names=same, expected=expected)
        else:
            kind = "spelling" if spelling(name, client) == expected else "did_you_mean"
            yield message(f"header.unknown/{kind}", line=str(line), name=shown, expected=expected)
    yield from _unknown_names(unresolved)


def _without_numbers(others: dict[str, str], numbered: str) -> Iterator[Message]:
    """Take the column that numbers the rows out of others, and yield what to do about it."""
    if others.get(numbered) == "":
        del others[numbered]
        yield message("header.unknown/numbered", name=shown_name(numbered))


def _are_in_marks(names: Collection[str]) -> bool:
    return len(names) > 1 and all(len(name) > 1 and name[0] in _MARKS and name[-1] in _MARKS for name in names)


def proposal(name: str, client: ClientSettings) -> str:
    """Return the name that is probably meant, "" if there is none or another remedy."""
    if secrets_in(name) or name in client.columns:
        return ""
    return spelling(name, client) or nearest(name)


def _unknown_names(names: Sequence[str]) -> Iterator[Message]:
    if boxes := tuple(filter(_BOX.match, names)):
        yield message("header.unknown/boxes", names=boxes[:_MOST_SHOWN])
    others = tuple(name for name in names if name not in boxes)
    if len(others) == 1:
        yield message("header.unknown/strange", names=others)
    elif 1 < len(others) <= _MOST_SHOWN:
        yield message("header.unknown/strange_many", names=others)
    elif others:
        yield message("header.unknown/strange_more", names=others[:_MOST_SHOWN], count=len(others) - _MOST_SHOWN)


def ignored(names: Sequence[str], attributes: Collection[str]) -> Iterator[Message]:
    """Yield the warnings about ignored columns: those that may be an attribute, then the others."""
    own = [name for name in names if not are_of_others(name, names)]
    meant = {name: near for name in own if (near := nearest(name)) and POSSIBLE_NAMES[near].name not in attributes}
    for name, near in meant.items():
        yield message("columns.ignored/did_you_mean", name=shown_name(name), expected=near)
    shown = tuple(shown_name(name) for name in names if name not in meant)
    if len(shown) > _MOST_SHOWN:
        yield message("columns.ignored/more", names=shown[:_MOST_SHOWN], count=len(shown) - _MOST_SHOWN)
    elif shown:
        yield message("columns.ignored", names=shown)


def repeated(titles: Sequence[str]) -> Iterator[Message]:
    """Yield what to do about names that several columns have."""
    for title, times in Counter(filter(None, titles)).items():
        columns = [index for index, each in enumerate(titles) if each == title]
        if times == 2:  # noqa: PLR2004 - as the language has it
            yield message(
                "header.repeated", name=shown_name(title), first=letters(columns[:1]), second=letters(columns[1:])
            )
        elif times > 1:
            yield message("header.repeated/many", name=shown_name(title), columns=letters(columns), count=times)


def nameless(columns: Sequence[int], line: int, first: int) -> FileRejected:
    """Return the refusal of columns that have values, first in this row, but no name in the line of names."""
    kind = "nameless" if len(columns) == 1 else "nameless_many"
    reason = message(f"header.unknown/{kind}", columns=letters(columns), line=str(line), first=str(first))
    return FileRejected(reason, line=first)


def row_numbers(line: int, first: int) -> FileRejected:
    """Return the refusal of a first column without a name that numbers the rows."""
    return FileRejected(message("header.unknown/row_numbers", line=str(line), first=str(first)), line=first)


def shown_name(title: str) -> str:
    """Return a name as an answer has it: cut where it is very long, and printable."""
    return printable(title[:SHOWN_CHARS].encode())


def letters(columns: Sequence[int]) -> str:
    """Return columns as a spreadsheet names them: 0 is A, 26 is AA."""
    return ", ".join(map(_letters, columns))


def _letters(index: int) -> str:
    text, index = "", index + 1
    while index:
        index, rest = divmod(index - 1, 26)
        text = chr(65 + rest) + text
    return text
