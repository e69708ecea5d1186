"""`rosterd rekey`: new unique ids for recorded users."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import msgspec

from importer.attributes import ATTRIBUTES
from importer.characters import unique_id_in
from operate.change import EXIT_NOT_DONE, carried_out, give
from operate.database import cannot_answer
from operate.options import chosen_client, client_option, service_config_option
from operate.roster.change_options import apply_option
from watcher.control.client import MAX_LINE_BYTES, Order
from watcher.settings import Config

_HEADER: Final = ["old_unique_id", "new_unique_id"]
_LIMIT: Final = ATTRIBUTES["unique_id"].limit

Pairs = list[tuple[str, str]]


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@client_option
@apply_option
@service_config_option
def rekey(config: Config, file: Path, client_name: str | None, *, is_applied: bool) -> None:
    """
    Give users new unique ids; without --apply only check whether it is possible.

    FILE is a CSV in UTF-8 with the columns old_unique_id and new_unique_id. All users get their new ids, or none: then
    everything that is in the way is listed. Two users may exchange their ids.
    """
    client = chosen_client(config, client_name)
    pairs = _read(file)
    problems = [*_problems(pairs)]
    if problems:  # what else is in the way is told, too, and nothing is done
        possible = {new: old for old, new in dict(pairs).items() if old and 0 < len(new) <= _LIMIT}
        pairs, is_applied = [(old, new) for new, old in possible.items()], False
    order = Order(do="roster.rekey", client=client.name, new_ids=tuple(pairs), is_applied=is_applied)
    if len(msgspec.json.encode(order)) >= MAX_LINE_BYTES:
        cannot_answer(f"{file}: is too large; split it into files of 100,000 users each")
    if not problems:
        give(config, order)
    answer = carried_out(config, order) if pairs else None
    click.echo("\n".join([*problems, *([answer.text] if answer and not answer.done else [])]), err=True)
    sys.exit(EXIT_NOT_DONE)


def _read(file: Path) -> Pairs:
    """Return the ids as they are recorded; ends the program if the file is not such a table."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            delimiter = ";" if ";" in text.readline() else ","  # as Excel has it in French
            text.seek(0)
            table = csv.reader(text, strict=True, delimiter=delimiter)
            rows = [row for row in table if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        cannot_answer(f"{file}: is not a CSV in UTF-8: {error}")
    if not rows or [cell.strip() for cell in rows[0]] != _HEADER or any(len(row) != len(_HEADER) for row in rows):
        cannot_answer(f"{file}: expected two columns, and on the first line {','.join(_HEADER)}")
    return [(unique_id_in(old), unique_id_in(new)) for old, new in rows[1:]]


def _problems(pairs: Pairs) -> Iterator[str]:
    """Yield what cannot be right, whoever is recorded."""
    if not pairs:
        yield "the file names no user"
    for place, name in enumerate(_HEADER):
        counts = Counter(pair[place] for pair in pairs)
        yield from (f"{id_}: is listed {count} times in {name}" for id_, count in counts.items() if id_ and count > 1)
        if counts[""]:
            yield f"{name} is blank in {counts['']} {'row' if counts[''] == 1 else 'rows'}"
    yield from (f"{new}: is longer than {_LIMIT} characters" for _, new in pairs if len(new) > _LIMIT)
