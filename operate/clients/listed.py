"""The file of `rosterd client apply`: many clients with their addresses, keys and settings, as TOML or as CSV."""

from __future__ import annotations

import csv
import io
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import inspect

from importer.settings import CLIENT_NAME, CLIENT_NAME_IN_WORDS, ClientSettings
from operate.clients.setting_options import expected_of
from operate.options import did_you_mean
from operate.output import shown
from operate.provision.edits import FEED, Place
from operate.provision.keys import KeyRefused, PublicKey, public_keys
from watcher.config import read_settings

_KEY: Final = "key"
_ALIASES: Final = {"email": "failed_import_email", "e-mail": "failed_import_email", "keys": _KEY}
_FIELDS: Final = {field.name: field for field in msgspec.structs.fields(ClientSettings) if field.name != "inbox"}
_TRUE: Final = {"true": True, "yes": True, "false": False, "no": False}

Row = dict[str, Any]  # what the file says of a client, by the names of settings; the keys are a list of lines


class NotAList(Exception):
    """A file is not a list of clients. Each line says where, what is wrong and what was expected."""


class _Entry(msgspec.Struct, frozen=True):
    """A client as the file has it, not yet checked, and where it begins."""

    where: str  # "line 4"
    row: Row


class Listed(msgspec.Struct, frozen=True):
    """A client of the file; with problems it is not to be set up."""

    name: str
    keys: tuple[PublicKey, ...]
    values: dict[Place, object]
    problems: tuple[str, ...]


def clients_in(path: Path) -> list[Listed]:
    """Return the clients of a file, in its order. Raises NotAList with all problems if one concerns the whole file."""
    problems: list[str] = []
    try:
        text = read_settings(path).removeprefix("\ufeff")
        entries = _entries_of_csv(text, problems) if path.suffix.lower() == ".csv" else _entries_of_toml(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError, csv.Error) as error:
        raise NotAList(f"{path}: {error}") from error
    except NotAList as error:
        raise NotAList("\n".join(f"{path} {line}" for line in str(error).splitlines())) from None
    problems += _problems(entries)
    listed = [_listed(entry.row) for entry in entries]
    if problems:
        of_clients = (
            f"{entry.where} {each}" for entry, one in zip(entries, listed, strict=True) for each in one.problems
        )
        raise NotAList("\n".join(f"{path} {problem}" for problem in sorted({*problems, *of_clients}, key=_in_order)))
    return listed


def _in_order(problem: str) -> tuple[int, str]:
    """Return what sorts problems as the file has them."""
    number = re.search(r"\d+", problem)
    return int(number[0]) if number else 0, problem


def _problems(entries: list[_Entry]) -> Iterator[str]:
    if not entries:
        yield "contains no client; expected [[client]] tables, or a CSV file with the columns name, email, key"
    names: set[str] = set()
    for entry in entries:
        name = entry.row.get("name")
        if not isinstance(name, str) or not re.match(CLIENT_NAME, name):
            yield f"{entry.where} name: got {shown(name) or 'none'}; expected {CLIENT_NAME_IN_WORDS}"
        elif name in names:
            yield f"{entry.where} name: got {name} again; expected each name once"
        names.add(str(name))
        yield from (f"{entry.where} {_unknown(key)}" for key in entry.row.keys() - _FIELDS.keys() - {_KEY})


def _unknown(key: str) -> str:
    known = ("name", "email", _KEY, *(name for name in _FIELDS if name != "name"))
    return f"{shown(key)}: unknown;{did_you_mean(key, known)} expected one of {', '.join(known)}"


def _listed(row: Row) -> Listed:
    keys, problems = tuple[PublicKey, ...](), tuple[str, ...]()
    lines = row.get(_KEY, [])
    try:
        if lines:
            keys = public_keys("key", "\n".join(lines).encode())
    except KeyRefused as error:
        problems = (str(error),)
    except TypeError:
        problems = ("key: expected a public key, or a list of them",)
    settings = {key: value for key, value in row.items() if key not in ("name", _KEY)}
    return Listed(str(row.get("name")), keys, dict(_values(settings)), problems)


def _values(settings: Row) -> Iterator[tuple[Place, object]]:
    """Yield the values, those in tables one by one: others in the same table stay."""
    for key, value in settings.items():
        if key == FEED and isinstance(value, list) and all(isinstance(each, dict) and "name" in each for each in value):
            yield from (((FEED, str(table["name"])), table) for table in value)
        elif isinstance(value, dict):
            yield from (((key, inner), each) for inner, each in value.items())
        else:
            yield (key,), value


# TOML


def _entries_of_toml(text: str) -> list[_Entry]:
    tables = tomllib.loads(text)
    clients = tables.pop("client", [])
    if tables or not isinstance(clients, list) or not all(isinstance(table, dict) for table in clients):
        raise NotAList("has something else; expected [[client]] tables only")
    # The parser does not tell lines: they are known where each table has a header of its own, and no text looks so.
    lines = [number for number, line in enumerate(text.splitlines(), 1) if re.match(r"\s*\[\[\s*client\s*\]\]", line)]
    numbers = [f"line {number}" for number in lines]
    if len(lines) != len(clients):
        numbers = [f"client {number}" for number in range(1, len(clients) + 1)]
    return [_Entry(where, _row_of_table(table)) for where, table in zip(numbers, clients, strict=True)]


def _row_of_table(table: Row) -> Row:
    row = {_ALIASES.get(key, key): value for key, value in table.items()}
    for key, value in row.items():
        # As config.toml takes one text where a list is expected.
        if isinstance(value, str) and (key == _KEY or _is_list(key)):
            row[key] = [value]
    return row


# CSV


def _entries_of_csv(text: str, problems: list[str]) -> list[_Entry]:
    """
    Return a client for each name; several lines of one name add up to several keys and addresses.

    What is wrong with a line is added to `problems`. Raises NotAList for the header.
    """
    first = text.partition("\n")[0]
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=";" if first.count(";") > first.count(",") else ",")
    names = [cell.strip().lower().replace(" ", "_") for cell in next(lines, [])]
    header = [_ALIASES.get(name, name) for name in names]
    if unknown := [key for key in header if key not in _FIELDS and key != _KEY]:
        raise NotAList("\n".join(f"line 1 {_unknown(each)}" for each in unknown))
    entries: dict[str, _Entry] = {}
    ended_at = lines.line_num
    for line in lines:
        where, ended_at = f"line {ended_at + 1}", lines.line_num
        if not any(cell.strip() for cell in line):
            continue
        if len(line) != len(header):
            problems.append(f"{where}: has {len(line)} cells; expected {len(header)}")
            continue
        cells = {key: cell.strip() for key, cell in zip(header, line, strict=True) if cell.strip()}
        try:
            row = {key: _from_cell(f"{where} {key}", key, cell) for key, cell in cells.items()}
            # A line without a name adds to no other.
            _join(where, entries.setdefault(cells.get("name", where), _Entry(where, {})).row, row)
        except NotAList as error:
            problems.append(str(error))
    return list(entries.values())


def _from_cell(where: str, key: str, cell: str) -> object:
    """Return the value of a cell; what cannot be one is left as it is, for the rules of the configuration."""
    if key == _KEY:
        return cell.splitlines()
    match expected_of(_FIELDS[key])[0]:
        case inspect.BoolType():
            return _TRUE.get(cell.lower(), cell)
        case inspect.IntType():
            return int(cell) if cell.isdecimal() else cell
        case inspect.DictType() | inspect.StructType() | inspect.VarTupleType(item_type=inspect.StructType()):
            raise NotAList(f"{where}: is a table, which CSV cannot have. Use TOML, or rosterd client set")
        case inspect.VarTupleType():
            return re.split(r"[\s,;]+", cell)
        case _:
            return cell


def _join(where: str, row: Row, more: Row) -> None:
    for key, value in more.items():
        if key not in row:
            row[key] = value
        elif isinstance(value, list):
            row[key] += [each for each in value if each not in row[key]]
        elif row[key] != value:
            raise NotAList(f"{where} {key}: got {shown(value)}; an earlier line of this client has {shown(row[key])}")


def _is_list(key: str) -> bool:
    return key in _FIELDS and isinstance(expected_of(_FIELDS[key])[0], inspect.VarTupleType)
