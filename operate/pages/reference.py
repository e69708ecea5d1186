"""The reference of all settings, as a document: what config.toml says about each, with the default the code has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from importer.settings import ClientSettings, FeedSettings, HookSettings, StatusSettings
from operate.pages.markup import Block, Heading, Table, Text, as_markdown
from watcher.settings import Config

_SECTION: Final = re.compile(r"(?:# )?\[\[?([a-z.]+)\]?\]")
_SETTING: Final = re.compile(r"(?:# )?([a-z_]+) = .*")
_DEFAULT: Final = re.compile(r"\s*Default: .*$")


def configuration_markdown(reference: Path) -> str:
    """Return the document. `reference` is the config.toml whose comments explain the settings."""
    return as_markdown(list(_blocks(comments(reference.read_text(encoding="utf-8")))))


def comments(text: str) -> dict[str, dict[str, str]]:
    """
    Return the explanations of settings in a config.toml, by section and key.

    The comment above a setting is about it, and about those that follow without their own comment.
    """
    sections: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    lines: list[str] = []
    explanation = ""
    for line in text.splitlines():
        if title := _SECTION.fullmatch(line):
            section = sections.setdefault(title[1], {})
        elif setting := _SETTING.fullmatch(line):
            explanation = " ".join(lines) or explanation
            section[setting[1]] = explanation
        if line.startswith("# ") and not (_SETTING.fullmatch(line) or _SECTION.fullmatch(line)):
            lines.append(line.removeprefix("# "))
        else:
            lines = []
    return sections


def _blocks(explained: dict[str, dict[str, str]]) -> Iterator[Block]:
    yield Heading("Configuration", 1)
    yield Text(
        "The settings are in `/etc/rosterd/config.toml`, and for each client in a file of `clients.d` next to it. "
        "Times are in seconds, sizes in bytes. rosterd does not start with unknown keys or bad values; it names the "
        "key, what it found and what it expected, and so does `rosterd doctor` beforehand. `systemctl reload "
        "rosterd` applies changes; a bad configuration is logged, and the old one stays. Changes in `[service]` "
        "(except `ping_url`), `[log]` and `[metrics]` need a restart."
    )
    for section in msgspec.structs.fields(Config):
        if section.name == "hook":
            yield Heading("`[[hook]]`")
            yield from _section(HookSettings, explained["hook"])
        elif section.name == "clients":
            yield Heading("`[[client]]`")
            yield from _section(ClientSettings, explained["client"])
            yield Heading("`[[client.feed]]`")
            yield from _section(FeedSettings, explained["client.feed"])
            yield Heading("`[client.status]`")
            yield from _section(StatusSettings, explained["client.status"])
        elif isinstance(section.default, msgspec.Struct):
            yield Heading(f"`[{section.name}]`")
            yield from _section(type(section.default), explained[section.name])


def _section(kind: type[msgspec.Struct], explained: dict[str, str]) -> Iterator[Block]:
    rows = [
        (f"`{field.name}`", _default(field), _DEFAULT.sub("", explained[field.name]))
        for field in msgspec.structs.fields(kind)
    ]
    yield Table(("key", "default", "meaning"), tuple(rows))


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return "none" if value is None else f"`{json.dumps(msgspec.to_builtins(value))}`"
