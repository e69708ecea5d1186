"""What the catalogue consists of: sentences with named parameters, in English, and the values that fill them."""

from __future__ import annotations

import enum

import msgspec


class Template(msgspec.Struct, frozen=True):
    """
    A sentence in English with named parameters, such as "{limit}".

    With `plural` it has two forms, and the parameter `count` says which; `text` is the one for 1.
    """

    text: str
    plural: str = ""


class Reason(msgspec.Struct, frozen=True):
    """
    What can be wrong: a sentence that says what it is, and one that says what to do about it.

    With `plural`, `problem` is the form for a `count` of 1.
    """

    problem: str
    remedy: str
    plural: str = ""


class Level(enum.Enum):
    """What a code means for the file."""

    FILE = "file"  # nothing of it is applied
    HOLD = "hold"  # nothing of it is applied until somebody approves it
    ROW = "row"  # the row is not applied
    WARNING = "warning"  # applied all the same


class Code(msgspec.Struct, frozen=True):
    """One code: what it is called, why it happens, an example, what to do about it."""

    code: str
    level: Level
    title: str
    cause: str
    example: str
    remedy: str
    is_mailed: bool = False  # although nothing failed; when it is new, not again with every file
