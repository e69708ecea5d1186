"""
Changes of one client's table in a file of settings: comments, order and all other tables stay.

tomlkit writes; what it has written is read again by tomllib and compared with the same change of the plain tables.
"""

from __future__ import annotations

import difflib
import os
import stat
import tomllib
from collections.abc import Collection, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import tomlkit
from tomlkit.items import AoT, Null, Table

from importer.durable import write_durably
from operate.output import shown
from operate.provision import drop_ins
from operate.provision.drop_ins import clients_of, settings_file
from operate.provision.steps import Step, locked
from watcher.config import read_settings

Place = tuple[str, ...]  # ("receipts",), ("guard", "created"), ("columns", "Student ID"), ("feed", "students")
FEED: Final = "feed"


class NotEditable(Exception):
    """A file cannot be changed by program; the text says which, and why."""


def file_of(config_file: Path, name: str) -> Path | None:
    """Return the file that has the table of a client: its own, or the first that the service reads."""
    own = settings_file(config_file, name)
    if name in clients_of(own):
        return own
    files = [config_file.absolute(), *sorted(settings_file(config_file, "").parent.glob("[!.]*.toml"))]
    return next((file for file in files if name in clients_of(file)), None)


def text_of(file: Path) -> str:
    """Return the text of a file of settings. Raises NotEditable."""
    try:
        return read_settings(file)
    except (OSError, UnicodeDecodeError) as error:
        raise NotEditable(f"{file}: {error}") from error


def editing(
    config_file: Path, file: Path, name: str, values: Mapping[Place, object], unset: Collection[Place] = ()
) -> Step:
    """
    Return the step that changes settings of a client, which shows the lines that differ.

    Raises NotEditable, also for what the configuration would not accept.
    """
    before = text_of(file)
    after = edited(before, name, values, unset)
    if after != before and (problems := list(drop_ins.problems_with(config_file, {file: after}))):
        raise NotEditable("\n".join(problems))
    return rewriting(file, before, after)


def rewriting(file: Path, before: str, after: str) -> Step:
    """Return the step that replaces the text of a file, if it is still as it was, and shows the lines that differ."""
    _, _, *lines = [*difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2)] or ("", "")
    shows = "\n".join([f"change {file}:", *(shown(line, limit=None) for line in lines)])
    return Step(shows, lambda: after == before, partial(_rewrite, file, before, after))


def _rewrite(file: Path, before: str, after: str) -> None:
    """Replace a file that is still as it was read. Raises OSError."""
    real = Path(os.path.realpath(file))
    with locked(real.parent) as fd:
        info = real.stat()
        if read_settings(real) != before:
            raise OSError("was changed meanwhile. Run the command again")
        owner, mode = (info.st_uid, info.st_gid), stat.S_IMODE(info.st_mode)
        write_durably(fd, os.fsencode(real.name), [after.encode()], mode=mode, owner=owner)


def edited(text: str, name: str, values: Mapping[Place, object], unset: Collection[Place] = ()) -> str:
    """
    Return the text with other values in the table of a client.

    A value of `("feed", NAME)` is a table, whose keys are set in the feed of that name, or in a new one. What is unset
    and not there is left alone. Raises NotEditable.
    """
    expected = tomllib.loads(text)
    document = tomlkit.parse(text)
    try:
        _change(_table(expected, name), values, unset)
        _change_styled(_table(document, name), values, unset)
        changed = tomlkit.dumps(document)
        is_right = tomllib.loads(changed) == expected
    except (ValueError, TypeError, KeyError, AttributeError) as error:  # what tomlkit raises is a ValueError, or these
        raise NotEditable(f"the table of {name} cannot be changed by program: {error}. Edit the file") from error
    if not is_right:
        raise NotEditable(f"the table of {name} is written in a way that only a person can change. Edit the file")
    return changed


def _table(document: Any, name: str) -> Any:  # noqa: ANN401 - of tomllib and of tomlkit
    return next(table for table in document["client"] if table["name"] == name)


def _change_styled(table: Any, values: Mapping[Place, object], unset: Collection[Place]) -> None:  # noqa: ANN401
    """Change a table of tomlkit; comments behind its last key are about the table below, and stay there."""
    body, comments = _last_body(table), []
    while body and body[-1][0] is None:
        comments.append(body.pop())
    _tie_comments(table)
    _change(table, values, unset)
    _last_body(table).extend(reversed(comments))


def _tie_comments(table: Any) -> None:  # noqa: ANN401 - of tomlkit
    """
    Tie comments in front of each table in this one to it.

    Else a new key would come between the first of them and its comments; and tomlkit has those of the others in the
    table above, so that they would go with it.
    """
    body = table.value.body if isinstance(table, Table) else []
    first = next((number for number, (_, item) in enumerate(body) if isinstance(item, Table | AoT)), 0)
    tables: list[Any] = [each for _, item in body[first:] for each in _tables(item)] if first else []
    while first and body[first - 1][0] is None:
        first -= 1
        tables[0].trivia.indent = body[first][1].as_string() + tables[0].trivia.indent
        body[first] = (None, Null())
    for above, below in pairwise(tables):
        lines = _last_body(above)
        while lines and lines[-1][0] is None:
            below.trivia.indent = lines.pop()[1].as_string() + below.trivia.indent


def _tables(item: Any) -> list[Any]:  # noqa: ANN401 - of tomlkit
    return [item] if isinstance(item, Table) else list(item) if isinstance(item, AoT) else []


def _last_body(table: Any) -> list[Any]:  # noqa: ANN401 - of tomlkit
    """Return the items of the table that ends where this one does: itself, or the last one in it."""
    if not isinstance(table, Table):
        return []
    body = table.value.body
    last = body[-1][1] if body else None
    inner = last[-1] if isinstance(last, AoT) and len(last) else last
    return _last_body(inner) if isinstance(inner, Table) else body


def _change(table: Any, values: Mapping[Place, object], unset: Collection[Place]) -> None:  # noqa: ANN401 - likewise
    for place, value in values.items():
        if len(place) == 1:
            table[place[0]] = value
        elif place[0] == FEED:
            _set_feed(table, place[1], value)
        elif place[0] in table:
            table[place[0]][place[1]] = value
        else:
            table[place[0]] = {place[1]: value}
    for place in unset:
        _unset(table, place)


def _set_feed(table: Any, name: str, keys: Any) -> None:  # noqa: ANN401 - likewise
    feed = next((each for each in table.get(FEED, ()) if each["name"] == name), None)
    if feed is not None:
        feed.update(keys)
    elif FEED in table:
        table[FEED].append({"name": name, **keys})
    else:
        table[FEED] = [{"name": name, **keys}]


def _unset(table: Any, place: Place) -> None:  # noqa: ANN401 - likewise
    if len(place) == 1:
        table.pop(place[0], None)
        return
    inner = table.get(place[0])
    if place[0] == FEED and inner is not None:
        for number in reversed([number for number, each in enumerate(inner) if each["name"] == place[1]]):
            del inner[number]
    elif inner is not None:
        inner.pop(place[1], None)
    if inner is not None and not inner:
        del table[place[0]]
