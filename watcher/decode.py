"""Tables of TOML to settings, key by key, so that every problem is found; one line for each."""

from __future__ import annotations

import difflib
import functools
import json
import math
import re
import urllib.parse
from collections.abc import Collection
from typing import Final, TypeVar, get_args, get_origin

import msgspec
from msgspec import inspect
from msgspec.structs import FieldInfo

from watcher.settings import PASSWORD_CREDENTIAL, PASSWORD_VARIABLE

_LABEL_CHARS: Final = 63  # of the name of a host. Source: RFC 1035 section 2.3.1
_SECRET_SETTINGS: Final = (".ping_url", ".url")
_PASSWORD_SENTENCE: Final = (
    "no password belongs in this file. Give it as the systemd credential "
    f"{PASSWORD_CREDENTIAL} (LoadCredential=) or in the environment as {PASSWORD_VARIABLE}."
)
SettingsT = TypeVar("SettingsT", bound=msgspec.Struct)


def decode(where: str, kind: type[SettingsT], table: object, problems: list[str]) -> SettingsT | None:
    """Return `table` as `kind`, or None after its problems were added."""
    if not isinstance(table, dict):
        problems.append(complaint(where, as_toml(table), "a table"))
        return None
    fields = _fields(kind)
    complaints = unknown_keys(f"{where}.", table, fields)
    # Where a list is expected, one text is a list of one: `failed_import_email = "it@school.example"`.
    lists = {name for name, field in fields.items() if get_origin(field.type) is tuple}
    table = {key: [value] if key in lists and isinstance(value, str) else value for key, value in table.items()}
    for name, field in fields.items():
        if name in table and isinstance(field.default, msgspec.Struct):  # a table in this one
            inner = decode(f"{where}.{name}", type(field.default), table[name], complaints)
            table[name] = msgspec.to_builtins(inner)
        elif name in table and (item := _table_in(field)):
            tables = decoded_tables(f"{where}.{name}", item, table[name], complaints)
            table[name] = [msgspec.to_builtins(each) for each in tables]
        elif name in table:
            complaints += _value_problems(f"{where}.{name}", table[name], field.type)
        elif field.required:
            complaints.append(f"{where}.{name}: missing; expected {_expected(inspect.type_info(field.type))}")
    problems += complaints
    return None if complaints else msgspec.convert(table, kind)


def _table_in(field: FieldInfo) -> type[msgspec.Struct] | None:
    """Return what each table of a list of tables is, None for another setting."""
    item = next(iter(get_args(field.type)), None) if get_origin(field.type) is tuple else None
    return item if isinstance(item, type) and issubclass(item, msgspec.Struct) else None


def decoded_tables(where: str, kind: type[SettingsT], tables: object, problems: list[str]) -> list[SettingsT]:
    """Return a list of tables as structs, those that are right; the problems of others are added."""
    if not isinstance(tables, list):
        name = where.rpartition(" ")[2].rpartition(".")[2]
        brackets = f"[[{name}]]" if name == "hook" else f"[[client.{name}]]"
        problems.append(complaint(where, "a single table", f"{brackets} in double brackets"))
        return []
    decoded = [decode(f"{where}[{number}]", kind, table, problems) for number, table in enumerate(tables, 1)]
    return [each for each in decoded if each is not None]


@functools.cache
def _fields(kind: type[msgspec.Struct]) -> dict[str, FieldInfo]:
    """Return the fields of a struct by name. Cached: the library takes 0.8 ms per client to inspect their types."""
    return {field.name: field for field in msgspec.structs.fields(kind)}


def unknown_keys(prefix: str, table: dict[str, object], known: Collection[str]) -> list[str]:
    """Return the lines about unknown keys; `prefix` is what precedes a key in messages."""
    return [_unknown_key(f"{prefix}{key}", key, known) for key in table if key not in known]


def _unknown_key(where: str, key: str, known: Collection[str]) -> str:
    if "password" in key.lower():
        return f"{where}: {_PASSWORD_SENTENCE}"
    near = difflib.get_close_matches(key, known, n=1)
    hint = f'expected "{near[0]}"?' if near else "expected one of " + ", ".join(known)
    return f"{where}: unknown key; {hint}"


def _value_problems(where: str, value: object, kind: object) -> list[str]:
    """Return what is wrong with one value, at most one line."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return [complaint(where, as_toml(value), _expected(inspect.type_info(kind)))]
    if isinstance(value, float) and not math.isfinite(value):
        return [complaint(where, as_toml(value), "a finite number")]
    if "\0" in (value if isinstance(value, str) else "".join(value) if isinstance(value, list) else ""):
        return [complaint(where, as_toml(value), "a text without a NUL character")]
    return []


def _expected(info: inspect.Type) -> str:
    """Return a type of a setting in an operator's words."""
    if isinstance(info, inspect.UnionType):  # a union with None, which TOML cannot express
        info = info.types[0]
    match info:
        case inspect.Metadata(_, {"description": in_words}):  # of a pattern
            return str(in_words)
        case inspect.LiteralType(values):
            return "one of " + ", ".join(as_toml(value) for value in values)
        case inspect.VarTupleType(item) | inspect.DictType(_, item):
            each = "a table, each value" if isinstance(info, inspect.DictType) else "a list, each item"
            return f"{each} {_expected(item)}"
        case inspect.StrType():
            return "a text that is not empty" if info.min_length else "a text"
        case inspect.IntType() | inspect.FloatType():
            return _expected_number(info)
        case _:
            return "true or false"


def _expected_number(info: inspect.IntType | inspect.FloatType) -> str:
    """Return what a number must be, "a number above 0"."""
    words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    given = [f" {word} {getattr(info, name):g}" for name, word in words.items() if getattr(info, name) is not None]
    return ("a whole number" if isinstance(info, inspect.IntType) else "a number") + " and".join(given)


def as_toml(value: object) -> str:
    """Return a value as TOML would write it, cut to one short line."""
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004 - a message fits one line


def complaint(where: str, got: str, expected: str) -> str:
    """Return the line about a setting that cannot be used; it does not show a secret."""
    shown = "a secret that is not shown" if where.endswith(_SECRET_SETTINGS) else got
    return f"{where}: got {shown}; expected {expected}"


def is_web_address(url: str) -> bool:
    """Tell whether it is the whole address of a page or service, without a login."""
    try:
        parts = urllib.parse.urlsplit(url)
        is_whole = bool(parts.hostname) and is_host(parts.hostname or "") and parts.port != 0
    except ValueError:
        return False
    return is_whole and parts.scheme in ("https", "http") and "@" not in parts.netloc and not re.search(r"\s", url)


def is_host(name: str) -> bool:
    """Tell whether a name can be looked up: of one with an empty or too long label that raises no OSError."""
    if name.isascii():  # as the codec has it, whose import takes 1 ms
        *labels, last = name.split(".")
        return all(0 < len(label) <= _LABEL_CHARS for label in labels) and len(last) <= _LABEL_CHARS
    try:
        name.encode("idna")
    except UnicodeError:
        return False
    return True


def is_time_zone(name: str) -> bool:
    """Tell whether the time zone database of the host has it."""
    import zoneinfo  # 3 ms, and most hosts have their own zone

    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # of names that are folders or paths, too
        return False
    return True
