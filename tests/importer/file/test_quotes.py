"""Whether a text ends inside quotation marks: as the csv module says, and much sooner."""

from __future__ import annotations

import ast
import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from importer.file.header import DELIMITERS
from importer.file.quotes import last_record
from tests import REPOSITORY

MOST_CHARS = 1 << 20
SOURCES = [source for package in ("importer", "watcher", "operate") for source in (REPOSITORY / package).rglob("*.py")]
POSSESSIVE_GROUP = re.compile(r"(?<!\\)\)(?:[*+?]|\{\d*,?\d*\})\+")
delimiters = st.sampled_from(DELIMITERS)
cells = st.text(st.sampled_from('",;|\t\r\n aé\u2028\x0b'), max_size=8)


def as_csv_says(text: str, delimiter: str) -> bool:
    """Read all records, as the import does."""
    try:
        for _ in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True):
            pass
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False


def in_chunks(text: str, lines: int) -> Iterator[str]:
    """Yield the text in chunks of so many lines."""
    physical = list(io.StringIO(text, newline=""))
    return ("".join(physical[start : start + lines]) for start in range(0, len(physical), lines))


@given(
    text=st.text(st.sampled_from('""",;|\t\r\n  aé\u2028'), max_size=60), delimiter=delimiters, lines=st.integers(1, 4)
)
@example(text='a,5" pipe\n"', delimiter=",", lines=1)
@example(text='a, "5"" pipe\n', delimiter=",", lines=1)
@example(text='a,\t"5 pipe\n', delimiter=",", lines=1)
@example(text='a,"5" pipe\n"', delimiter=",", lines=1)
@example(text='"a\n"",b\n', delimiter=",", lines=1)
@example(text='"a\n",b\n"c', delimiter=",", lines=1)
@example(text='a""",b"\n"c', delimiter=",", lines=2)
def test_any_text_is_told_as_the_csv_module_tells_it(text: str, delimiter: str, lines: int) -> None:
    """Literal quotation marks, doubled ones, blanks before them, broken cells: the answer is that of all records."""
    assert as_csv_says(text, delimiter) == (last_record(in_chunks(text, lines), delimiter, MOST_CHARS) is None)


@given(
    parts=st.lists(
        st.sampled_from(['"', ',"', '"\n', '""', 20 * "a,b\n", 40 * "\r\n", 40 * "\r", 30 * "x", "\n", ","])
    ),
    lines=st.integers(1, 90),
)
def test_long_runs_without_a_mark_change_nothing(parts: list[str], lines: int) -> None:
    """Many lines without a quotation mark, in quoted cells or outside of them, are told as csv tells them."""
    text = "".join(parts)
    assert as_csv_says(text, ",") == (last_record(in_chunks(text, lines), ",", MOST_CHARS) is None)


@given(
    rows=st.lists(st.lists(cells, min_size=1, max_size=4), max_size=6),
    delimiter=delimiters,
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    lines=st.integers(1, 4),
    cut=st.integers(0, 40),
)
def test_any_table_is_told_whole_and_cut_off(
    rows: list[list[str]], delimiter: str, line_end: str, lines: int, cut: int
) -> None:
    """A table that a program wrote does not end inside quotation marks; cut off anywhere, it does as csv says."""
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator=line_end, quoting=csv.QUOTE_ALL).writerows(rows)
    text = out.getvalue()
    assert last_record(in_chunks(text, lines), delimiter, MOST_CHARS) is not None
    begin = text[: max(len(text) - cut, 0)]
    assert as_csv_says(begin, delimiter) == (last_record(in_chunks(begin, lines), delimiter, MOST_CHARS) is None)


@pytest.mark.parametrize(
    ("more", "shorter", "longer"),
    [pytest.param("x\n", 1_000, 100_000, id="cell"), pytest.param('x\n","', 1_000, 300_000, id="record")],
)
def test_what_is_over_a_limit_is_not_waited_for(more: str, shorter: int, longer: int) -> None:
    """An open cell, or a record of many, that is too long already is wrong whatever comes: nobody has to wait."""
    assert last_record(in_chunks('1,"' + more * shorter, 100), ",", MOST_CHARS) is None
    assert [] == last_record(in_chunks('1,"' + more * longer, 100), ",", MOST_CHARS)


def test_a_line_break_in_a_quoted_cell_is_no_open_cell() -> None:
    """What Debian 12's own Python took for an open cell: a whole last cell with a line break, and no line end."""
    text = '"id","street"\r\n"R2","1 Main\r\nApt 2"'
    assert last_record(in_chunks(text, 9), ",", MOST_CHARS) == ["R2", "1 Main\r\nApt 2"]
    assert last_record(in_chunks(f'{text}\r\n"R3","5 Elm\r\n', 9), ",", MOST_CHARS) is None


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: f"{source.parent.name}.{source.stem}")
def test_no_pattern_repeats_a_group_possessively(source: Path) -> None:
    """Python 3.11.2, Debian 12's own, matches too much where a possessive quantifier follows a group."""
    texts = [node.value for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Constant)]
    assert [] == [text for text in texts if isinstance(text, str) and POSSESSIVE_GROUP.search(text)]


@pytest.mark.parametrize(
    "text",
    [
        '"",' * 100_000 + '"',
        '""' * 100_000,
        '"a\n' * 100_001,
        'a"' * 100_000,
        'x,"' + '""' * 100_000,
        'a,5" b\n' * 50_000 + '"',
    ],
    ids=["blank", "doubled", "open", "literal", "open_doubled", "inches"],
)
def test_no_text_takes_more_than_its_length(text: str) -> None:
    """No row of quotation marks, whole or open, makes the pattern try one way after another."""
    assert as_csv_says(text, ",") == (last_record([text], ",", 8 * MOST_CHARS) is None)
