"""
config.toml and clients.d/*.toml, read once and whole into a frozen Config.

Each part declares the settings it needs; here they are gathered, decoded and checked against each other. Every
problem that can be found is in one ConfigError, a line each: file, key, what was found, what was expected.
"""

from __future__ import annotations

import difflib
import errno
import functools
import ipaddress
import json
import math
import os
import re
import stat
import tomllib
import urllib.parse
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar, get_origin

import msgspec
from msgspec import inspect
from msgspec.structs import FieldInfo

from importer.attributes import ATTRIBUTES
from importer.attributes import nearest as nearest_attribute
from importer.settings import (
    ClientSettings,
    FileSettings,
    MailSettings,
    ReferenceSettings,
    RetentionSettings,
)
from watcher.settings import Config, IntakeSettings, LogSettings, MetricsSettings, ServiceSettings

_PASSWORD_CREDENTIAL: Final = "smtp_password"  # noqa: S105 - the name of a systemd credential
_PASSWORD_VARIABLE: Final = "ROSTERD_SMTP_PASSWORD"  # noqa: S105 - the name of a variable
_PING_CREDENTIAL: Final = "ping_url"
_PING_VARIABLE: Final = "ROSTERD_PING_URL"
_SECRET_SETTING: Final = ".ping_url"  # noqa: S105 - the name of a setting
_PASSWORD_SENTENCE: Final = (
    "no password belongs in this file. Give it as the systemd credential "
    f"{_PASSWORD_CREDENTIAL} (LoadCredential=) or in the environment as {_PASSWORD_VARIABLE}."
)
# Whether mail reaches an address only sending shows; here it must be a full, plain one, as the mail library
# completes half ones with a domain of its own.
_ADDRESS: Final = re.compile(r"[^\s@<>()\[\],;:\"\\]+@[^\s@<>()\[\],;:\"\\]+")
_MAX_SETTINGS_BYTES: Final = 16 << 20  # some 50,000 clients in one file
_ALWAYS_ACCEPTED_SOURCE: Final = "OPSCOM"

SettingsT = TypeVar("SettingsT", bound=msgspec.Struct)
Complaint = tuple[str, object, str]  # key, what was found, what was expected


_SECTIONS: Final[dict[str, type[msgspec.Struct]]] = {
    "service": ServiceSettings,
    "intake": IntakeSettings,
    "file": FileSettings,
    "mail": MailSettings,
    "retention": RetentionSettings,
    "log": LogSettings,
    "metrics": MetricsSettings,
    "reference": ReferenceSettings,
}


class ConfigError(Exception):
    """The configuration cannot be used. `problems` are lines for the operator: file, key, found, expected."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class _Client(msgspec.Struct, frozen=True):
    """A client and where it stands, for messages."""

    where: str
    settings: ClientSettings


def load(path: Path, *, base: Path | None = None) -> Config:
    """
    Read `path` and every clients.d/*.toml beside it.

    Relative paths, in both, are taken from `base`, by default the folder of `path`. Raises ConfigError with all
    problems found; a file that is not TOML is one problem and its content is not judged. Raises PermissionError.
    """
    problems: list[str] = []
    data = _read_toml(path, path.name, problems)
    sections = {name: _section(path.name, name, kind, data, problems) for name, kind in _SECTIONS.items()}
    problems += _unknown_keys(path.name, "", data, [*_SECTIONS, "client"])
    clients = _clients(path.name, data, problems)
    for drop_in in _drop_ins(path.parent / "clients.d", problems):
        where = f"clients.d/{drop_in.name}"
        more = _read_toml(drop_in, where, problems)
        problems += _unknown_keys(where, "", more, ["client"])
        clients += _clients(where, more, problems)
    config = msgspec.structs.replace(Config(clients=tuple(client.settings for client in clients)), **sections)
    base = (base or path.parent).absolute()
    config = msgspec.structs.replace(config, source=str(path.absolute()), base=str(base))
    config = _with_absolute_paths(config, str(base))
    clients = [_Client(at.where, settings) for at, settings in zip(clients, config.clients, strict=True)]
    problems += _contradictions(path.name, config, clients)
    if problems:
        raise ConfigError(problems)
    return config


def load_again(config: Config) -> Config:
    """Read the same files as they are now. Raises ConfigError, PermissionError."""
    return load(Path(config.source), base=Path(config.base))


def smtp_password() -> str:
    """
    Return the password for `mail.user`, "" when there is none.

    Source: the systemd credential `smtp_password`, else the environment. Raises ConfigError when the credential is
    there and cannot be read.
    """
    return _secret(_PASSWORD_CREDENTIAL, _PASSWORD_VARIABLE)


def ping_url(service: ServiceSettings) -> str:
    """Return the URL of the sign of life, "" for none: the credential, else the environment, else the setting."""
    return _secret(_PING_CREDENTIAL, _PING_VARIABLE) or service.ping_url


def _secret(name: str, variable: str) -> str:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder is None:
        return os.environ.get(variable, "")
    credential = Path(folder, name)
    try:
        return credential.read_text(encoding="utf-8").rstrip("\r\n")
    except FileNotFoundError:
        return os.environ.get(variable, "")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{credential}: {_reason(error)}; expected a readable UTF-8 file"]) from None


# Reading


def _read_toml(path: Path, where: str, problems: list[str]) -> dict[str, object]:
    """Return the tables of a TOML file, none of them when it cannot be read."""
    try:
        return tomllib.loads(read_settings(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        problems.append(f"{where}: not TOML: {error}")
    except PermissionError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path}: {_reason(error)}; expected a readable UTF-8 file")
    return {}


def _drop_ins(folder: Path, problems: list[str]) -> list[Path]:
    """Return the files of clients.d in the order of their names; a missing folder holds none."""
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except PermissionError:
        raise
    except OSError as error:
        problems.append(f"{folder}: {_reason(error)}; expected a readable folder")
        return []
    return [folder / name for name in names if name.endswith(".toml") and not name.startswith(".")]


def read_settings(path: Path) -> str:
    """Return the text of a regular file of sane size; others are not waited for. Raises OSError, UnicodeDecodeError."""
    with open(path, "rb", opener=_open_regular) as file:
        content = file.read(_MAX_SETTINGS_BYTES + 1)
    if len(content) > _MAX_SETTINGS_BYTES:
        raise OSError(errno.EFBIG, f"has more than {_MAX_SETTINGS_BYTES >> 20} MiB")
    return content.decode()


def _open_regular(path: str, _flags: int) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "is not a regular file")
    return fd


def _reason(error: OSError | UnicodeDecodeError) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return f"byte {error.start} is not UTF-8"


# Decoding, key by key, so that every problem is found


def _section(file: str, name: str, kind: type[SettingsT], data: dict[str, object], problems: list[str]) -> SettingsT:
    """Return one section, its defaults when it is absent or wrong."""
    return _struct(f"{file} {name}", kind, data.get(name, {}), problems) or kind()


def _clients(file: str, data: dict[str, object], problems: list[str]) -> list[_Client]:
    """Return the usable [[client]] tables of a file."""
    tables = data.get("client", [])
    if not isinstance(tables, list):
        problems.append(_complaint(f"{file} client", "a single table", "[[client]] in double brackets"))
        return []
    places = [(_client_place(file, number, table), table) for number, table in enumerate(tables, 1)]
    decoded = [(where, _struct(where, ClientSettings, table, problems)) for where, table in places]
    return [_Client(where, settings) for where, settings in decoded if settings is not None]


def _client_place(file: str, number: int, table: object) -> str:
    """Return how messages call a client: by its name, and by its place in the file while it has none."""
    name = table.get("name") if isinstance(table, dict) else None
    return f"{file} client.{name}" if isinstance(name, str) and name.isprintable() else f"{file} client[{number}]"


def _struct(where: str, kind: type[SettingsT], table: object, problems: list[str]) -> SettingsT | None:
    """Return `table` as `kind`, or None after its problems were added."""
    if not isinstance(table, dict):
        problems.append(_complaint(where, _toml(table), "a table"))
        return None
    fields = _fields(kind)
    found = _unknown_keys(where, ".", table, fields)
    # Where a list is expected, one text is a list of one: `failed_import_email = "it@school.example"`.
    lists = {name for name, field in fields.items() if get_origin(field.type) is tuple}
    table = {key: [value] if key in lists and isinstance(value, str) else value for key, value in table.items()}
    for name, field in fields.items():
        if name in table:
            found += _value_problems(f"{where}.{name}", table[name], field.type)
        elif field.required:
            found.append(f"{where}.{name}: missing; expected {_expected(inspect.type_info(field.type))}")
    problems += found
    return None if found else msgspec.convert(table, kind)


@functools.cache
def _fields(kind: type[msgspec.Struct]) -> dict[str, FieldInfo]:
    """Return the fields of a struct by name. The library works out their types anew each time, in 0.8 ms a client."""
    return {field.name: field for field in msgspec.structs.fields(kind)}


def _unknown_keys(where: str, separator: str, table: dict[str, object], known: Collection[str]) -> list[str]:
    return [_unknown_key(f"{where}{separator or ' '}{key}", key, known) for key in table if key not in known]


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
        return [_complaint(where, _toml(value), _expected(inspect.type_info(kind)))]
    if isinstance(value, float) and not math.isfinite(value):
        return [_complaint(where, _toml(value), "a finite number")]
    if "\0" in (value if isinstance(value, str) else "".join(value) if isinstance(value, list) else ""):
        return [_complaint(where, _toml(value), "a text without a NUL character")]
    return []


def _expected(info: inspect.Type) -> str:
    """Return a type of a setting in an operator's words."""
    if isinstance(info, inspect.UnionType):  # of something and nothing, which no TOML file can say
        info = info.types[0]
    match info:
        case inspect.LiteralType(values):
            return "one of " + ", ".join(_toml(value) for value in values)
        case inspect.VarTupleType(item):
            return f"a list, each item {_expected(item)}"
        case inspect.DictType(_, item):
            return f"a table, each value {_expected(item)}"
        case inspect.StrType():
            return _expected_text(info)
        case inspect.IntType() | inspect.FloatType():
            return _expected_number(info)
        case _:
            return "true or false"


def _expected_text(info: inspect.StrType) -> str:
    if info.pattern:
        return "a text of the form " + info.pattern.removeprefix(r"\A").removesuffix(r"\Z")
    return "a text that is not empty" if info.min_length else "a text"


def _expected_number(info: inspect.IntType | inspect.FloatType) -> str:
    """Return what a number must be, "a number above 0"."""
    words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    given = [f" {word} {getattr(info, name):g}" for name, word in words.items() if getattr(info, name) is not None]
    return ("a whole number" if isinstance(info, inspect.IntType) else "a number") + " and".join(given)


def _toml(value: object) -> str:
    """Return a value as it might stand in the file, cut to one short line."""
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004 - a message fits one line


def _complaint(where: str, got: str, expected: str) -> str:
    shown = "a secret that is not shown" if where.endswith(_SECRET_SETTING) else got
    return f"{where}: got {shown}; expected {expected}"


# Paths


def _with_absolute_paths(config: Config, base: str) -> Config:
    service, mail = config.service, config.mail
    state_dir = os.path.abspath(os.path.join(base, service.state_dir))
    replace = msgspec.structs.replace
    return replace(
        config,
        service=replace(service, state_dir=state_dir, database=os.path.join(state_dir, service.database)),
        mail=replace(
            mail,
            maildir=os.path.join(state_dir, mail.maildir),
            ca_file=mail.ca_file and os.path.join(base, mail.ca_file),
        ),
        metrics=replace(
            config.metrics, textfile=config.metrics.textfile and os.path.join(base, config.metrics.textfile)
        ),
        clients=tuple(replace(client, inbox=_inbox(base, client.inbox)) for client in config.clients),
    )


def _inbox(base: str, path: str) -> str:
    """
    Return an inbox path with links resolved in all but its last component.

    Above the inbox links are the operator's and a watch through one sees nothing; the inbox itself must not be one.
    """
    parent, name = os.path.split(os.path.abspath(os.path.join(base, path)))
    return os.path.join(os.path.realpath(parent), name)


# Judging what only makes sense together


def _contradictions(file: str, config: Config, clients: Sequence[_Client]) -> Iterator[str]:
    sections: dict[str, Iterator[Complaint]] = {
        "service": _service_complaints(config.service),
        "intake": _intake_complaints(config.intake),
        "mail": _mail_complaints(config.mail),
        "reference": _reference_complaints(config.reference),
    }
    for name, complaints in sections.items():
        yield from _worded(f"{file} {name}", complaints)
    for client in clients:
        yield from _worded(client.where, _client_complaints(client.settings, config.reference))
        yield from _worded(client.where, _late_mail_complaints(client.settings, config.mail))
    yield from _quarrels(clients, config.service.state_dir)


def _worded(where: str, complaints: Iterator[Complaint]) -> Iterator[str]:
    for key, got, expected in complaints:
        yield _complaint(f"{where}.{key}", _toml(got), expected)


def _service_complaints(service: ServiceSettings) -> Iterator[Complaint]:
    if service.ping_url and not _is_web_address(service.ping_url):
        yield "ping_url", service.ping_url, 'an address that begins with "https://" or "http://"'


def _is_web_address(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return is_whole and parts.scheme in ("https", "http") and "@" not in parts.netloc and not re.search(r"\s", url)


def _intake_complaints(intake: IntakeSettings) -> Iterator[Complaint]:
    if "/" in intake.pattern:
        yield "pattern", intake.pattern, "a pattern for names, without a folder"


def _mail_complaints(mail: MailSettings) -> Iterator[Complaint]:
    yield from _address_complaints("reply_to", (mail.reply_to,))
    yield from _address_complaints("failed_import_email", mail.failed_import_email)
    yield from _address_complaints("operator", mail.operator)
    if mail.user:
        yield from _address_complaints("user", (mail.user,))
    if mail.host and mail.security == "none" and not _is_loopback(mail.host):
        yield "security", mail.security, f'"starttls" or "tls": the host {mail.host} is not this machine'


def _reference_complaints(reference: ReferenceSettings) -> Iterator[Complaint]:
    for key, ids in (("user_types", reference.user_types), ("locker_types", reference.locker_types)):
        yield from ((key, found, "digits") for found in ids if not (found.isascii() and found.isdigit()))


def _client_complaints(client: ClientSettings, reference: ReferenceSettings) -> Iterator[Complaint]:
    yield from _address_complaints("failed_import_email", client.failed_import_email)
    for header, attribute in client.columns.items():
        if attribute:
            yield from _attribute_complaints(f"columns.{header}", attribute)
    for key, names in (("limits", client.limits), ("required", client.required)):
        for name in names:
            yield from _attribute_complaints(key, name)
    if client.fallback_encoding and not _extends_ascii(client.fallback_encoding):
        yield "fallback_encoding", client.fallback_encoding, 'an encoding Python knows that contains ASCII, as "cp1252"'
    sources = sorted({_ALWAYS_ACCEPTED_SOURCE, *reference.login_sources})
    if client.login_source and client.login_source not in sources:
        yield "login_source", client.login_source, "one of reference.login_sources: " + ", ".join(sources)


def _late_mail_complaints(client: ClientSettings, mail: MailSettings) -> Iterator[Complaint]:
    if client.late_mail and not client.expect_every:
        yield "late_mail", client.late_mail, 'expect_every to be set, as "26h"'
    if "operator" in client.late_mail and not mail.operator:
        yield "late_mail", "operator", "mail.operator to be set"
    if "client" in client.late_mail and not (client.failed_import_email or mail.failed_import_email):
        yield "late_mail", "client", "failed_import_email to be set"


def _address_complaints(key: str, addresses: Sequence[str]) -> Iterator[Complaint]:
    return ((key, found, "a full e-mail address") for found in addresses if not _ADDRESS.fullmatch(found))


def _attribute_complaints(key: str, name: str) -> Iterator[Complaint]:
    if name not in ATTRIBUTES:
        near = nearest_attribute(name)
        yield key, name, f'"{near}"?' if near else "one of the attributes: " + ", ".join(ATTRIBUTES)


def _extends_ascii(encoding: str) -> bool:
    """Tell whether ASCII bytes mean ASCII letters in `encoding`; the header would be lost otherwise."""
    letters = bytes(range(0x20, 0x7F))
    try:
        return letters.decode(encoding) == letters.decode("ascii")
    except (LookupError, ValueError):
        return False


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _quarrels(clients: Sequence[_Client], state_dir: str) -> Iterator[str]:
    """Yield what two clients may not share, and an inbox that would show the database to a client."""
    names: dict[str, _Client] = {}
    inboxes: dict[Path, _Client] = {}  # links resolved
    state = Path(os.path.realpath(state_dir))
    for client in clients:
        if (first := names.setdefault(client.settings.name, client)) is not client:
            yield f"{client.where}.name: got the name of {first.where} again; expected each name once"
    for client in clients:
        if (first := inboxes.setdefault(Path(os.path.realpath(client.settings.inbox)), client)) is not client:
            yield _too_near(first, client)
    for inbox, client in inboxes.items():
        yield from (_too_near(inboxes[outer], client) for outer in inbox.parents if outer in inboxes)
        if inbox in (state, *state.parents):
            yield f"{client.where}.inbox: got {_toml(client.settings.inbox)}; expected service.state_dir outside of it"


def _too_near(first: _Client, second: _Client) -> str:
    return (
        f"{second.where}.inbox: got {_toml(second.settings.inbox)}; expected a folder apart from the inbox of "
        f"{first.where}, {_toml(first.settings.inbox)}"
    )
