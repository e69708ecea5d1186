"""Workbooks and archives with something wrong in them, in every way that dice find; the same for the same number."""

from __future__ import annotations

import gzip
import io
import random
import re
import warnings
import zipfile
from collections.abc import Callable, Sequence
from typing import Final

Dice = random.Random
_SIZES: Final = (b"\0", b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0\0\0\x80", b"\1\0\0\0")
_ODD_VALUES: Final = (
    "",
    "0",
    "-1",
    "1e999",
    "-1e999",
    "nan",
    "1048577",
    "99999999999999999999999999",
    "0x1",
    "1.5",
    "XFE1048577",
    "A0",
    "A1:B",
    "$$$",
    "\u0660\u0661",
    "_x0000__xD800_",
    "&#0;",
    "&x;",
    "x" * 5_000,
    "../" * 50,
    "true",
    "é",
)
_ATTRIBUTE: Final = re.compile(r'="([^"<]*)"')
_TEXT: Final = re.compile(r">([^<>]+)<")
_TAG: Final = re.compile(r"<[^<>]+>")


def mutated(seeds: Sequence[bytes], number: int) -> bytes:
    """Return a mutation of one of these files."""
    dice = random.Random(number)  # noqa: S311 - dice
    content = dice.choice(seeds)
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        content = dice.choice(_WAYS)(content, dice, seeds)
    return content


def _other_bytes(content: bytes, dice: Dice, _seeds: Sequence[bytes]) -> bytes:
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 4, 40))):
        if changed:
            changed[dice.randrange(len(changed))] = dice.randrange(256)
    return bytes(changed)


def _cut_off(content: bytes, dice: Dice, _seeds: Sequence[bytes]) -> bytes:
    return content[: dice.randrange(len(content) + 1)]


def _hole(content: bytes, dice: Dice, _seeds: Sequence[bytes]) -> bytes:
    begin = dice.randrange(len(content) + 1)
    return content[:begin] + content[begin + dice.choice((1, 16, 512)) :]


def _spliced(content: bytes, dice: Dice, seeds: Sequence[bytes]) -> bytes:
    other = dice.choice(seeds)
    return content[: dice.randrange(len(content) + 1)] + other[dice.randrange(len(other)) :]


def _other_fields(content: bytes, dice: Dice, _seeds: Sequence[bytes]) -> bytes:
    """Change a field of the records of a ZIP archive: a size, a method, a place, a flag."""
    records = [match.start() for match in re.finditer(rb"PK(?:\x01\x02|\x03\x04|\x05\x06|\x06\x06|\x06\x07)", content)]
    if not records:
        return _other_bytes(content, dice, _seeds)
    begin = dice.choice(records) + dice.randrange(4, 46)
    field = dice.choice((*_SIZES, bytes([dice.randrange(256)])))
    return content[:begin] + field + content[begin + len(field) :]


def _compressed_again(content: bytes, dice: Dice, _seeds: Sequence[bytes]) -> bytes:
    if dice.random() < 0.5:
        return gzip.compress(content)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(dice.choice(("users.csv", "users.xlsx", "xl/workbook.xml", "mimetype", "../x.csv")), content)
    return out.getvalue()


def _other_members(content: bytes, dice: Dice, _seeds: Sequence[bytes]) -> bytes:
    """Remove, double, rename or empty members of an archive."""
    members = _members(content)
    if not members:
        return _other_bytes(content, dice, _seeds)
    at = dice.randrange(len(members))
    name, data = members[at]
    members[at : at + 1] = dice.choice(
        (
            [],
            [(name, data), (name, data)],
            [(dice.choice(members)[0], data)],
            [(name, b"")],
            [(name, dice.choice(members)[1])],
            [(name.upper(), data)],
        )
    )
    dice.shuffle(members)
    return _packed(members)


def _other_xml(content: bytes, dice: Dice, _seeds: Sequence[bytes]) -> bytes:
    """Change values, texts and tags in the parts of a workbook."""
    members = _members(content)
    if not members:
        return _cut_off(content, dice, _seeds)
    for _ in range(dice.choice((1, 1, 3))):
        at = dice.randrange(len(members))
        name, data = members[at]
        text = data.decode("utf-8", "replace")
        members[at] = name, dice.choice(_IN_XML)(text, dice).encode("utf-8", "replace")
    return _packed(members)


def _other_value(text: str, dice: Dice, pattern: re.Pattern[str] = _ATTRIBUTE) -> str:
    places = [*pattern.finditer(text)]
    if not places:
        return text
    place = dice.choice(places)
    return text[: place.start(1)] + dice.choice(_ODD_VALUES) + text[place.end(1) :]


def _other_text(text: str, dice: Dice) -> str:
    return _other_value(text, dice, _TEXT)


def _other_tags(text: str, dice: Dice) -> str:
    tags = [*_TAG.finditer(text)]
    if not tags:
        return text
    tag = dice.choice(tags)
    other = dice.choice(("", tag[0] * 2, "<x>", "</x>", "<x/>", dice.choice(tags)[0], "<!--", "<![CDATA[", "<?x?>"))
    return text[: tag.start()] + other + text[tag.end() :]


def _deeper(text: str, dice: Dice) -> str:
    tags = [*_TAG.finditer(text)]
    if not tags:
        return text
    at, depth = dice.choice(tags).start(), dice.choice((10, 1_000, 100_000))
    return text[:at] + "<x>" * depth + "</x>" * depth + text[at:]


def _repeated(text: str, dice: Dice) -> str:
    begin = dice.randrange(len(text) + 1)
    end = min(len(text), begin + dice.choice((10, 100, 1_000)))
    return text[:end] + text[begin:end] * dice.choice((1, 10, 1_000)) + text[end:]


def _with_doctype(text: str, dice: Dice) -> str:
    kind = dice.choice(("<!DOCTYPE x [<!ENTITY x 'y'>]>", "<!DOCTYPE x SYSTEM 'file:///etc/passwd'>", "\ufeff", "\0"))
    return kind + text


def _members(content: bytes) -> list[tuple[str, bytes]]:
    """Return the members of an archive, none when it cannot be read by now."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return [(info.filename, archive.read(info)) for info in archive.infolist() if info.file_size < 1 << 20]
    except Exception:  # noqa: BLE001 - whatever is wrong with it is another mutation
        return []


def _packed(members: Sequence[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with (
        warnings.catch_warnings(action="ignore"),  # about names that come twice
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


_IN_XML: Final[tuple[Callable[[str, Dice], str], ...]] = (
    _other_value,
    _other_value,
    _other_text,
    _other_text,
    _other_tags,
    _deeper,
    _repeated,
    _with_doctype,
)
_WAYS: Final[tuple[Callable[[bytes, Dice, Sequence[bytes]], bytes], ...]] = (
    _other_bytes,
    _cut_off,
    _hole,
    _spliced,
    _other_fields,
    _compressed_again,
    _other_members,
    _other_xml,
    _other_xml,
    _other_xml,
)
