"""Options of a command for the settings of one client, made from the struct that has them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

import click
import msgspec
from click.shell_completion import CompletionItem
from msgspec import inspect
from msgspec.structs import FieldInfo

from importer.settings import ClientSettings
from operate.output import shown
from operate.provision.edits import FEED, Place

_FIXED: Final = ("name", "shrink_guard")  # login, file and records are called like it; deprecated
_SHORT: Final = {"failed_import_email": ["--email"]}
_CommandT = TypeVar("_CommandT", bound=Callable[..., object])


def setting_options(command: _CommandT) -> _CommandT:
    """Give a command an option for each setting of a client; `values_of` reads what it receives."""
    for place, field in reversed([*_settings()]):
        command = _option(place, field)(command)
    return command


def values_of(given: Mapping[str, object]) -> dict[Place, object]:
    """Return the values of the options that were given, by their places in the table of a client."""
    places = {_variable(place): place for place, _ in _settings()}
    return dict(
        pair
        for variable, value in given.items()
        if variable in places and value not in (None, ())
        for pair in _values(places[variable], value)
    )


def _settings() -> Iterator[tuple[Place, FieldInfo]]:
    """Yield the settings that can be changed, those of a table in the client's one by one."""
    for field in msgspec.structs.fields(ClientSettings):
        if isinstance(field.default, msgspec.Struct):
            yield from (((field.name, inner.name), inner) for inner in msgspec.structs.fields(type(field.default)))
        elif field.name not in _FIXED:
            yield (field.name,), field


def _variable(place: Place) -> str:
    return "setting_" + "__".join(place)


def _option(place: Place, field: FieldInfo) -> Callable[[_CommandT], _CommandT]:
    name = "-".join(place).replace("_", "-")
    expected, described = expected_of(field)
    flag = f"--{name}/--no-{name}" if isinstance(expected, inspect.BoolType) else f"--{name}"
    return click.option(
        flag,
        *_SHORT.get(field.name, ()),
        _variable(place),
        default=None,
        help=described if field.required else f"{described}Default: {_default(field)}",
        **_input(expected),
    )


def expected_of(field: FieldInfo) -> tuple[inspect.Type, str]:
    """Return the type of a setting, and what its values are like if the struct says so."""
    kind, described = inspect.type_info(field.type), ""
    while isinstance(kind, inspect.Metadata | inspect.UnionType):
        if isinstance(kind, inspect.Metadata):
            described = (kind.extra_json_schema or {}).get("description", described)
            kind = kind.type
        else:
            kind = next(each for each in kind.types if not isinstance(each, inspect.NoneType))
    return kind, f"{described[:1].upper()}{described[1:]}. " if described else ""


def _input(kind: inspect.Type) -> dict[str, Any]:
    """Return how an option takes its values."""
    taken: dict[str, Any] = {}
    match kind:
        case inspect.StrType():
            taken = {"metavar": "TEXT"}
        case inspect.IntType():
            taken = {"type": click.INT}
        case inspect.LiteralType(values=values):
            taken = {"type": click.Choice(sorted(map(str, values)))}
        case inspect.StructType():
            taken = {"type": _Table()}
        case inspect.VarTupleType(item_type=item):
            taken = {**_input(item), "multiple": True}
        case inspect.DictType(value_type=value):
            taken = {"type": _Pair(is_number=isinstance(value, inspect.IntType)), "multiple": True}
    return taken


def _default(field: FieldInfo) -> str:
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return "none" if value in (None, "", (), {}) else json.dumps(msgspec.to_builtins(value))


def _values(place: Place, value: Any) -> Iterator[tuple[Place, object]]:  # noqa: ANN401 - as click returns it
    if not isinstance(value, tuple):
        yield place, value
    elif place == (FEED,):
        yield from (((FEED, table["name"]), table) for table in value)
    elif all(isinstance(each, tuple) for each in value):
        yield from (((*place, key), each) for key, each in value)
    else:
        yield place, list(value)


class _Pair(click.ParamType[tuple[str, object]]):
    """One entry of a table, KEY=VALUE; a key may contain "="."""

    name = "KEY=VALUE"

    def __init__(self, *, is_number: bool) -> None:
        self._is_number = is_number

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, object]:
        """Return key and value."""
        if isinstance(value, tuple):
            return value
        key, equals, text = str(value).rpartition("=")
        if not equals or (self._is_number and not text.isdecimal()):
            self.fail(f"{shown(value)}: expected {self.name}{', a number' if self._is_number else ''}", param, ctx)
        return key, int(text) if self._is_number else text


class _Table(click.ParamType[dict[str, object]]):
    """A table with a name, as between the braces of TOML: name = "students", files = "*.csv"."""

    name = "TABLE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, object]:
        """Return the table."""
        if isinstance(value, dict):
            return value
        try:
            table = tomllib.loads(f"table = {{ {value} }}")["table"]
        except (tomllib.TOMLDecodeError, RecursionError):
            table = {}
        if not isinstance(table.get("name"), str):
            self.fail(f"""{shown(value)}: expected 'name = "NAME", files = "PATTERN"' and more keys""", param, ctx)
        return dict(table)


class SettingName(click.ParamType[Place]):
    """The name of a setting, such as receipts, guard.created, "columns.Student ID" or feed.students."""

    name = "SETTING"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        """Return its place."""
        if isinstance(value, tuple):
            return value
        first, dot, rest = str(value).partition(".")
        fields = {field.name: field for field in msgspec.structs.fields(ClientSettings) if not field.required}
        if first not in fields or (dot and not rest) or (rest and not _has_entries(fields[first])):
            self.fail(f"{shown(value)}: expected one of {', '.join(fields)}, or an entry of one", param, ctx)
        return (first, rest) if rest else (first,)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the settings whose names begin so."""
        del ctx, param
        names = [".".join(place) for place, field in _settings() if not field.required]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _has_entries(field: FieldInfo) -> bool:
    match inspect.type_info(field.type):
        case inspect.DictType() | inspect.StructType() | inspect.VarTupleType(item_type=inspect.StructType()):
            return True
        case _:
            return False
