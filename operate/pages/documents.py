"""The tables of attributes and codes as Markdown, and a template to fill in."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from importer.attributes import ATTRIBUTES, TOKEN_NAME, Attribute, Rule
from importer.wording.codes import CODES
from importer.wording.template import Level

_LEVEL_TITLES: Final = {
    Level.FILE: "The file is refused",
    Level.HOLD: "The file is on hold",
    Level.ROW: "The row fails",
    Level.WARNING: "A warning, all is applied",
}


def attribute_rows() -> Iterator[tuple[str, str, int, str, str]]:
    """Yield for each attribute: name, other possible name, characters, when it is required, rule."""
    for each in ATTRIBUTES.values():
        yield each.name, each.also, each.limit, _required(each), each.rule.value


def _required(attribute: Attribute) -> str:
    if attribute.rule is Rule.KEY:
        return "always"
    if attribute.rule is Rule.LOGIN_SOURCE:
        return "for new users, unless there is a default"
    return "for new users" if attribute.name in ("first_name", "last_name", "email") else ""


def attributes_markdown() -> str:
    """Return the table of attributes as a document."""
    rows = [
        (f"`{name}`", f"`{also}`" if also else "", str(limit), required, rule)
        for name, also, limit, required, rule in attribute_rows()
    ]
    return "\n".join(
        (
            "# Attributes",
            "",
            "The possible names of columns in a file of users. Each must be written exactly so; an operator can map",
            "others. A column that is absent, and a cell that is blank, leave what is recorded as it is.",
            "",
            *_table(("name", "or", "characters", "required", "rule"), rows),
            "",
            f"A column `{TOKEN_NAME}` is accepted, never stored and never sent back.",
            "",
        )
    )


def codes_markdown() -> str:
    """Return all codes, with cause, example and remedy, as a document."""
    lines = [
        "# Codes",
        "",
        "What can be wrong with a file or a row, as the result text, the failed CSV and the mail name it.",
    ]
    for level, title in _LEVEL_TITLES.items():
        rows = [
            (f"`{code.code}`", code.title, code.cause, code.example, code.remedy)
            for code in CODES.values()
            if code.level is level
        ]
        lines += ["", f"## {title}", "", *_table(("code", "what", "why", "example", "what to do"), rows)]
    return "\n".join((*lines, ""))


def template() -> str:
    """Return a file to begin with: the line of names, and one user as a sample."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(attribute.name for attribute in ATTRIBUTES.values())
    writer.writerow(attribute.sample for attribute in ATTRIBUTES.values())
    return out.getvalue()


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{' --- |' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
