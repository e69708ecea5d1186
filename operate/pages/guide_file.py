"""The part of a client's guide about the file: the columns that this client needs, an example, how Excel saves it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Final

from importer.attributes import ATTRIBUTES, Attribute, Rule
from importer.model import Param, message
from operate.pages.guide_context import Guide
from operate.pages.markup import Block, Code, Items, Table, Text

ALWAYS_ACCEPTED: Final = "OPSCOM"  # listed or not
_KEY: Final = "unique_id"


def preparing(guide: Guide) -> Iterator[Block]:
    """Yield how to make the file, with the columns of this client."""
    required, used = _required(guide), _used(guide)
    yield guide.heading("file")
    yield guide.text("file_what")
    for feed in guide.client.feed:
        if feed.is_snapshot:
            yield guide.text("snapshot", files=f"`{feed.files}`")
    yield guide.text("required")
    yield _described(guide, required)
    yield guide.text("required_new", name=_named(guide, ATTRIBUTES[_KEY]))
    if used:
        yield guide.text("used")
        yield _described(guide, used)
    yield from _names(guide)
    if column := guide.client.status.column:
        states = {name: _any_of(guide, getattr(guide.client.status, name)) for name in ("active", "inactive")}
        yield guide.text("status", column=f"`{column}`", **states)
    if protected := guide.client.protected_fields:
        yield guide.text("protected", names=", ".join(_named(guide, ATTRIBUTES[name]) for name in protected))
    yield Text(f"{guide.say('others')} {guide.say(f'unknown_{_PAST[guide.client.unknown_columns]}')}")
    yield guide.text("example")
    yield Code(_example(guide, (*required, *used)))
    yield guide.heading("excel", 3)
    yield guide.steps("excel_text", "excel_fill", "excel_save", "excel_name", name=_named(guide, ATTRIBUTES[_KEY]))
    accepted = guide.config.file.accept
    if "xlsx" in accepted:
        yield guide.text("workbook")
    yield guide.text("export")
    if {"zip", "gz"} <= {*accepted}:
        yield guide.text("packed")
    yield Items(tuple(_rules(guide)))
    if "pgp" in accepted:
        yield from _encrypting(guide)


def _encrypting(guide: Guide) -> Iterator[Block]:
    """Yield how to encrypt the file, and to sign it if this client has to."""
    is_signed = bool(guide.client.require_signature)
    yield guide.heading("pgp", 3)
    yield guide.text("pgp_required" if is_signed else "pgp_what")
    yield guide.text("pgp_key")
    if is_signed:
        yield guide.text("pgp_yours")
    yield guide.text("pgp_kleopatra")
    yield guide.steps("pgp_import", "pgp_choose", "pgp_for_signed" if is_signed else "pgp_for", "pgp_done")
    yield guide.text("pgp_script")
    signing = " --sign" if is_signed else ""
    yield Code(f"gpg --batch --yes{signing} --encrypt --recipient-file import-key.asc -o users.csv.gpg users.csv")
    yield guide.text("pgp_answer")


def _any_of(guide: Guide, values: Sequence[str]) -> str:
    *others, last = (f"`{value}`" for value in values)
    return guide.say("status_or", first=", ".join(others), last=last) if others else last


_PAST: Final = {"refuse": "refused", "ignore": "ignored"}


def _required(guide: Guide) -> tuple[Attribute, ...]:
    return tuple(each for name, each in ATTRIBUTES.items() if name in (_KEY, *guide.client.needed))


def _used(guide: Guide) -> tuple[Attribute, ...]:
    """Return what the client sends, or has names of its own for, besides what is required."""
    required, sent = _required(guide), {*guide.used, *guide.client.columns.values()}
    return tuple(each for name, each in ATTRIBUTES.items() if name in sent and each not in required)


def _own_name(guide: Guide, attribute: Attribute) -> str:
    """Return what the client calls the column."""
    own = (header for header, name in guide.client.columns.items() if name == attribute.name)
    return next(own, attribute.name)


def _named(guide: Guide, attribute: Attribute) -> str:
    return f"`{_own_name(guide, attribute)}`"


def _described(guide: Guide, attributes: Sequence[Attribute]) -> Items:
    return Items(
        tuple(guide.say("pair", name=_named(guide, each), value=_description(guide, each)) for each in attributes)
    )


def _description(guide: Guide, attribute: Attribute) -> str:
    """Return what the column is for, and which values we know, where they are a list."""

    def say(key: str, **params: Param) -> str:
        return guide.words.say(message(key, **params))

    sentences = [say(f"column/{attribute.name}")]
    if values := _values(guide, attribute):
        listed = ", ".join(f"`{value}`" for value in values)
        sentences.append(say("column:values", values=listed) if len(values) > 1 else say("column:value", value=listed))
    if attribute.rule is Rule.LOGIN_SOURCE and guide.client.login_source:
        sentences.append(say("column:blank", value=f"`{guide.client.login_source}`"))
    return " ".join(sentences)


def _values(guide: Guide, attribute: Attribute) -> tuple[str, ...]:
    reference = guide.config.reference
    lists = {
        Rule.LOGIN_SOURCE: tuple(sorted({ALWAYS_ACCEPTED, *reference.login_sources})),
        Rule.USER_TYPE: reference.user_types,
        Rule.LOCKER_TYPE: reference.locker_types,
    }
    return lists.get(attribute.rule, ())


def _names(guide: Guide) -> Iterator[Block]:
    if guide.client.columns:
        yield guide.text("names")
        yield Items(
            tuple(
                guide.say("name", theirs=f"`{heading}`", ours=f"`{attribute}`")
                if attribute
                else guide.say("name_unused", theirs=f"`{heading}`")
                for heading, attribute in guide.client.columns.items()
            )
        )


def _example(guide: Guide, attributes: Sequence[Attribute]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    status = guide.client.status
    headings, values = ([status.column], [*status.active[:1]]) if status.column else ([], [])
    writer.writerow([*(_own_name(guide, each) for each in attributes), *headings])
    writer.writerow([*(_sample(guide, each) for each in attributes), *values])
    return out.getvalue()


def _sample(guide: Guide, attribute: Attribute) -> str:
    known = _values(guide, attribute)
    return attribute.sample if attribute.sample in known or not known else known[0]


def _rules(guide: Guide) -> Iterator[str]:
    yield guide.say("rule_blank")
    if token := guide.client.clear_token:
        yield guide.say("rule_clear", token=token)
    if not any(feed.is_snapshot for feed in guide.client.feed):  # of which another paragraph speaks
        yield guide.say("rule_absent")
    yield guide.say("rule_again")


def all_columns(guide: Guide) -> Iterator[Block]:
    """Yield the table of all columns that a file can have."""
    yield guide.heading("columns")
    yield Table(
        (guide.say("column"), guide.say("content"), guide.say("limit")),
        tuple(
            (
                _possible_names(guide, attribute),
                _description(guide, attribute),
                str(guide.client.limits.get(attribute.name, attribute.limit)),
            )
            for attribute in ATTRIBUTES.values()
        ),
    )


def _possible_names(guide: Guide, attribute: Attribute) -> str:
    name = f"`{attribute.name}`"
    if not attribute.also:
        return name
    return guide.words.say(message("column:or", name=name, also=f"`{attribute.also}`"))
