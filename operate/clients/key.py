"""`rosterd client key`: the public keys by which a client logs in."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import msgspec

from operate.clients.expiry import Expiry
from operate.clients.remove import login_conflicts, report_sessions
from operate.doctor import sshd
from operate.options import config_file_option, json_option, unknown_client
from operate.output import print_json, print_table, say, shown
from operate.provision import accounts, homes, key_file
from operate.provision.drop_ins import known_names
from operate.provision.key_file import line_of
from operate.provision.keys import MAX_BYTES, KeyLine, KeyRefused, PublicKey, public_keys, read_public_keys
from operate.provision.plan import Conflicts, ForRoot, apply_option, fail, name_argument, play, refuse

_UTC_SINCE: Final = (9, 1)  # the version of OpenSSH that takes an expiry-time in UTC
_MOST_COMMENT_CHARS: Final = 200


class Key(msgspec.Struct, frozen=True):
    """A key as it is listed."""

    number: int
    fingerprint: str  # "SHA256:...", "" if sshd does not accept the line
    kind: str  # "ED25519", "RSA"
    bits: int
    comment: str
    expires_at: datetime | None
    state: str  # "valid", "expired", "not a key"


@click.group()
def key() -> None:
    """Add, list or revoke the public keys of a client."""


# Adding


@key.command(cls=ForRoot)
@name_argument
@click.option(
    "--key",
    "file",
    metavar="FILE",
    required=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="File with public keys, one per line; - for standard input.",
)
@click.option("--comment", help="Comment in place of the one in the file, for a single key.")
@click.option(
    "--expires",
    type=Expiry(),
    metavar="DAY|DURATION|never",
    help="The last day of the key in UTC, such as 2027-06-30, or how long it is valid, such as 90d.",
)
@config_file_option
@apply_option
def add(name: str, file: Path, comment: str | None, expires: float | None, config_file: Path, *, apply: bool) -> None:
    """
    Add public keys to those of a client.

    A key that the client has already stays as it is, unless --expires or --comment change it.
    """
    refuse(_conflicts(name, config_file))
    own = _present(name)
    wanted = _commented(_read(file), comment)
    lines = list(dict.fromkeys(_lines(own, wanted, expires, has_comment=comment is not None)))
    for line in _notes(name, own, wanted):
        say(line)
    play([key_file.adding(name, lines)], apply=apply, reloads=False)


def _read(file: Path) -> Sequence[PublicKey]:
    try:
        if str(file) != "-":
            return read_public_keys(file)
        return public_keys("standard input", sys.stdin.buffer.read(MAX_BYTES + 1))
    except KeyRefused as error:
        fail("Nothing was changed:", f"  {error}")


def _commented(wanted: Sequence[PublicKey], comment: str | None) -> Sequence[PublicKey]:
    if comment is None:
        return wanted
    if len(wanted) != 1:
        raise click.UsageError("--comment is for a single key; this file has several")
    if not comment.isprintable() or len(comment) > _MOST_COMMENT_CHARS:
        raise click.UsageError(f"--comment: expected one line of at most {_MOST_COMMENT_CHARS} printable characters")
    return [msgspec.structs.replace(wanted[0], comment=comment.strip())]


def _lines(
    own: Sequence[KeyLine], wanted: Sequence[PublicKey], expires: float | None, *, has_comment: bool
) -> Iterator[str]:
    """Yield the lines of the wanted keys: those that the client has, where nothing about them is to change."""
    in_utc = sshd.version() >= _UTC_SINCE or sshd.version() == sshd.UNKNOWN
    for each in wanted:
        line = next((line for line in own if line.key == each.key), None)
        if line is None:
            yield line_of(each, expires or None, in_utc=in_utc)
        elif (expires is None or (expires or None) == line.expires_at) and not (
            has_comment and each.comment != line.comment
        ):
            yield line.text
        else:
            until = line.expires_at if expires is None else expires or None
            kept = each if has_comment else msgspec.structs.replace(each, comment=line.comment)
            yield line_of(kept, until, in_utc=in_utc)


def _notes(name: str, own: Sequence[KeyLine], wanted: Sequence[PublicKey]) -> Iterator[str]:
    """Yield which keys are known already, here or as those of other clients."""
    for each in wanted:
        for number, line in enumerate(own, 1):
            if line.key == each.key:
                until = f", {_state(line)}, {_until(line)}" if line.expires_at is not None else ""
                yield f"{name} has the key {each.fingerprint} already, as number {number}{until}."
        for other in _others_with(name, each):
            yield f"Note: {other} has the key {each.fingerprint}, too: whoever holds it can log in as both."


def _others_with(name: str, wanted: PublicKey) -> Iterator[str]:
    for other in sorted(os.listdir(homes.KEYS)) if os.path.isdir(homes.KEYS) else ():
        path = Path(homes.KEYS, other)
        if other != name and path.is_file() and wanted.key.encode() in path.read_bytes():
            yield other


# Listing


@key.command("list", cls=ForRoot)
@name_argument
@config_file_option
@json_option
def list_keys(name: str, config_file: Path, *, as_json: bool) -> None:
    """List the keys of a client: fingerprint, comment, expiry."""
    if name not in (known := known_names(config_file)):
        raise unknown_client(name, known)
    try:
        listed = listed_keys(name)
    except (KeyRefused, OSError) as error:
        fail(f"{homes.keys(name)}: {error}")
    if as_json:
        print_json(listed)
        return
    rows = [
        (each.number, each.fingerprint, each.kind, each.bits, each.state, each.expires_at or "", each.comment)
        for each in listed
    ]
    add_one = f"No keys. To add one: rosterd client key add {name} --key FILE --apply"
    print_table(("number", "fingerprint", "kind", "bits", "state", "expires (UTC)", "comment"), rows, empty=add_one)


def listed_keys(name: str) -> list[Key]:
    """Return the keys of a client as they are listed. Raises KeyRefused, OSError."""
    return [_listed(number, line) for number, line in enumerate(key_file.present(name), 1)]


def _listed(number: int, line: KeyLine) -> Key:
    bits, fingerprint, kind = line.fingerprint.split() if line.fingerprint else ("0", "", "")
    return Key(number, fingerprint, kind.strip("()"), int(bits), shown(line.comment), _moment(line), _state(line))


def _state(line: KeyLine) -> str:
    if not line.fingerprint:
        return "not a key"
    return "expired" if line.expires_at is not None and line.expires_at <= time.time() else "valid"


def _until(line: KeyLine) -> str:
    return f"expires {shown(_moment(line))} UTC"


def _moment(line: KeyLine) -> datetime | None:
    return datetime.fromtimestamp(line.expires_at, UTC) if line.expires_at is not None else None


# Revoking


@key.command(cls=ForRoot)
@name_argument
@click.argument("which", metavar="KEY")
@config_file_option
@apply_option
def revoke(name: str, which: str, config_file: Path, *, apply: bool) -> None:
    """
    Revoke one key of a client.

    KEY is its number in `rosterd client key list`, its fingerprint, or its comment. Sessions that are open stay open.
    """
    refuse(_conflicts(name, config_file))
    own = _present(name)
    line = _chosen(name, own, which)
    play([key_file.removing(name, line)], apply=apply, reloads=False)
    if not any(_state(each) == "valid" for each in own if each != line):
        left = "by its password only" if accounts.has_password(name) else "no more"
        say(f"That is the last valid key: without it {name} can log in {left}.")
    if apply:
        report_sessions(name)


def _chosen(name: str, own: Sequence[KeyLine], which: str) -> KeyLine:
    """Return the line that is meant; ends the program if that is none, or several."""
    by_number = {number: line for number, line in enumerate(own, 1) if which == str(number)}
    chosen = by_number or {number: line for number, line in enumerate(own, 1) if which in _names(line)}
    if len(chosen) != 1:
        what = f"{len(chosen)} keys are" if chosen else "no key is"
        numbers = f", numbers {', '.join(map(str, chosen))}" if chosen else ""
        fail("Nothing was changed:", f"  {what} called {shown(which)}{numbers}: see rosterd client key list {name}")
    return next(iter(chosen.values()))


def _names(line: KeyLine) -> set[str]:
    """Return by what a key can be called: its comment, its fingerprint, alone or with its size and kind."""
    return {line.comment, line.fingerprint, *line.fingerprint.split()[1:2]} - {""}


# Both


def _present(name: str) -> list[KeyLine]:
    try:
        return key_file.present(name)
    except (KeyRefused, OSError) as error:
        fail("Nothing was changed:", f"  {homes.keys(name)}: {error}")


def _conflicts(name: str, config_file: Path) -> Conflicts:
    yield from login_conflicts(name, config_file)
    yield from homes.missing(homes.KEYS)
