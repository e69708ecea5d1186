"""
config.toml and clients.d/*.toml, read once and whole into a frozen Config.

Each part declares its settings; here they are decoded and checked together. One ConfigError lists all problems.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from importer.attributes import ATTRIBUTES, POSSIBLE_NAMES, REPORT_NAMES, secrets_in
from importer.attributes import nearest as nearest_attribute
from importer.fs import read_regular
from importer.hooks.names import are_known
from importer.roster import order
from importer.settings import (
    ClientSettings,
    FeedSettings,
    HookSettings,
    MailSettings,
    ReferenceSettings,
    as_status,
    is_local,
)
from importer.store.places import is_server, objections
from watcher.decode import (
    SettingsT,
    as_toml,
    complaint,
    decode,
    decoded_tables,
    is_host,
    is_time_zone,
    is_web_address,
    unknown_keys,
)
from watcher.settings import (
    PASSWORD_CREDENTIAL,
    PASSWORD_VARIABLE,
    Config,
    IntakeSettings,
    ServiceSettings,
    with_absolute_paths,
)

_PING_CREDENTIAL: Final = "ping_url"
_PING_VARIABLE: Final = "ROSTERD_PING_URL"
# Only sending shows whether an address is reachable; here it must be complete and plain, as the mail library appends
# a domain of its own to incomplete ones.
_ADDRESS: Final = re.compile(r"[^\s@<>()\[\],;:\"\\]+@[^\s@<>()\[\],;:\"\\]+")
_MAX_SETTINGS_BYTES: Final = 16 << 20  # some 50,000 clients in one file
_ALWAYS_ACCEPTED_SOURCE: Final = "OPSCOM"
_EVENTS: Final = "names of events as docs/webhooks.md has them"
_WEB_ADDRESS: Final = 'an address that begins with "https://" or "http://"'

Complaint = tuple[str, object, str]  # key, what was found, what was expected
_SECTIONS: Final = {
    name: type(default)
    for name, default in zip(Config.__struct_fields__, Config.__struct_defaults__, strict=True)
    if isinstance(default, msgspec.Struct)
}


class ConfigError(Exception):
    """The configuration cannot be used. `problems` are lines for the operator: file, key, found, expected."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class _Client(msgspec.Struct, frozen=True):
    """A client and where it is configured, for messages."""

    where: str
    settings: ClientSettings


def load(path: Path, *, base: Path | None = None) -> Config:
    """
    Read `path` and every clients.d/*.toml next to it.

    Relative paths, in both, are taken from `base`, by default the folder of `path`. Raises ConfigError with all
    problems found; a file that is not TOML is one problem and its content is not checked. Raises PermissionError.
    """
    problems: list[str] = []
    data = _read_toml(path, path.name, problems)
    sections = {name: _section(path.name, name, kind, data, problems) for name, kind in _SECTIONS.items()}
    problems += unknown_keys(f"{path.name} ", data, [*_SECTIONS, "hook", "client"])
    hooks = decoded_tables(f"{path.name} hook", HookSettings, data.get("hook", []), problems)
    guard = {} if problems else data.get("guard", {})  # problems of [guard] are not told again of each client
    clients = _clients(path.name, data, guard, problems)
    for drop_in in _drop_ins(path.parent / "clients.d", problems):
        where = f"clients.d/{drop_in.name}"
        more = _read_toml(drop_in, where, problems)
        problems += unknown_keys(f"{where} ", more, ["client"])
        clients += _clients(where, more, guard, problems)
    config = msgspec.structs.replace(
        Config(hook=tuple(hooks), clients=tuple(client.settings for client in clients)), **sections
    )
    base = (base or path.parent).absolute()
    config = msgspec.structs.replace(config, source=str(path.absolute()), base=str(base))
    config = with_absolute_paths(config, str(base))
    clients = [_Client(at.where, settings) for at, settings in zip(clients, config.clients, strict=True)]
    problems += _contradictions(path.name, config, clients)
    if problems:
        raise ConfigError(problems)
    return config


def load_again(config: Config) -> Config:
    """Read the same files again. Raises ConfigError, PermissionError."""
    return load(Path(config.source), base=Path(config.base))


def smtp_password() -> str:
    """
    Return the password for `mail.user`, "" when there is none.

    Source: the systemd credential `smtp_password`, else the environment. Raises ConfigError when the credential
    exists and cannot be read.
    """
    return _secret(PASSWORD_CREDENTIAL, PASSWORD_VARIABLE)


def ping_url(service: ServiceSettings) -> str:
    """Return the URL of the heartbeat, "" for none: the credential, else the environment, else the setting."""
    return _secret(_PING_CREDENTIAL, _PING_VARIABLE) or service.ping_url


def hook_secret(hook: HookSettings) -> str:
    """Return the secret of a hook, "" when there is none: the credential, else the environment, else its file."""
    if given := _secret(f"hook_{hook.name}", hook.secret_variable):
        return given
    return _secret_in(Path(hook.secret_file)) if hook.secret_file else ""


def _secret(name: str, variable: str) -> str:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder is None:
        return os.environ.get(variable, "")
    credential = Path(folder, name)
    return _secret_in(credential) if os.path.lexists(credential) else os.environ.get(variable, "")


def _secret_in(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: {_reason(error)}; expected a readable UTF-8 file"]) from None


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
    """Return the files of clients.d in the order of their names; none if the folder is missing."""
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
    """Return the text of a regular file of sane size; never block on others. Raises OSError, UnicodeDecodeError."""
    return read_regular(path, _MAX_SETTINGS_BYTES).decode()


def _reason(error: OSError | UnicodeDecodeError) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return f"byte {error.start} is not UTF-8"


def _section(file: str, name: str, kind: type[SettingsT], data: dict[str, object], problems: list[str]) -> SettingsT:
    """Return one section; its defaults when it is missing or wrong."""
    return decode(f"{file} {name}", kind, data.get(name, {}), problems) or kind()


def _clients(file: str, data: dict[str, object], guard: object, problems: list[str]) -> list[_Client]:
    """Return the usable [[client]] tables of a file; each has the limits of `guard` below its own."""
    tables = data.get("client", [])
    if not isinstance(tables, list):
        problems.append(complaint(f"{file} client", "a single table", "[[client]] in double brackets"))
        return []
    places = [(_client_place(file, number, table), _guarded(table, guard)) for number, table in enumerate(tables, 1)]
    decoded = [(where, decode(where, ClientSettings, table, problems)) for where, table in places]
    return [_Client(where, settings) for where, settings in decoded if settings is not None]


def _guarded(table: object, guard: object) -> object:
    """Return a table of a client with the limits that are those of all; what is not a table is left as it is."""
    own = table.get("guard", {}) if isinstance(table, dict) else None
    if not (isinstance(table, dict) and isinstance(own, dict) and isinstance(guard, dict)):
        return table
    return {**table, "guard": {**guard, **_of_before(table), **own}}


def _of_before(table: dict[str, object]) -> dict[str, object]:
    """Return the limit that `shrink_guard` is: it says how many percent of the rows have to be there."""
    percent = table.get("shrink_guard")
    return {"fewer_rows": f"{100 - percent} %"} if isinstance(percent, int) and 0 < percent <= 100 else {}  # noqa: PLR2004


def _client_place(file: str, number: int, table: object) -> str:
    """Return how messages refer to a client: by its name or, if it has none, by its position in the file."""
    name = table.get("name") if isinstance(table, dict) else None
    return f"{file} client.{name}" if isinstance(name, str) and name.isprintable() else f"{file} client[{number}]"


# Checking settings against each other


def _contradictions(file: str, config: Config, clients: Sequence[_Client]) -> Iterator[str]:
    sections: dict[str, Iterator[Complaint]] = {
        "service": _service_complaints(config.service),
        "intake": _intake_complaints(config.intake),
        "mail": _mail_complaints(config.mail),
        "reference": _reference_complaints(config.reference),
    }
    for name, complaints in sections.items():
        yield from _worded(f"{file} {name}", complaints)
    for number, hook in enumerate(config.hook, 1):
        yield from _worded(f"{file} hook[{number}]", _hook_complaints(hook, config.hook[: number - 1]))
    for client in clients:
        yield from _worded(client.where, _client_complaints(client.settings, config.reference))
        yield from _worded(client.where, _signature_complaints(client.settings, config.file.accept))
        yield from _worded(client.where, _feed_complaints(client.settings.feed))
        yield from _worded(client.where, _status_complaints(client.settings))
        yield from _worded(client.where, _late_mail_complaints(client.settings, config.mail))
    yield from _shared_by_clients(clients, config.service.state_dir)


def _worded(where: str, complaints: Iterator[Complaint]) -> Iterator[str]:
    for key, got, expected in complaints:
        yield complaint(f"{where}.{key}", as_toml(got), expected)


def _service_complaints(service: ServiceSettings) -> Iterator[Complaint]:
    if service.ping_url and not is_web_address(service.ping_url):
        yield "ping_url", service.ping_url, _WEB_ADDRESS
    for got, expected in objections(service.database):
        yield "database", got, expected
    if is_server(service.database) and service.read_copy:
        yield "read_copy", service.read_copy, '"" with a database on a server, which readers ask themselves'
    if service.workers > 1 and not is_server(service.database):
        yield "workers", service.workers, "1 with SQLite, which one transaction writes at a time. Leave it out"


def _intake_complaints(intake: IntakeSettings) -> Iterator[Complaint]:
    if "/" in intake.pattern:
        yield "pattern", intake.pattern, "a pattern for names, without a folder"


def _mail_complaints(mail: MailSettings) -> Iterator[Complaint]:
    yield from _address_complaints("reply_to", (mail.reply_to,))
    yield from _address_complaints("failed_import_email", mail.failed_import_email)
    yield from _address_complaints("operator", mail.operator)
    if not is_host(mail.host):
        yield "host", mail.host, "the name or address of a host"
    if mail.user:
        yield from _address_complaints("user", (mail.user,))
    if mail.guide_url and not is_web_address(mail.guide_url):
        yield "guide_url", mail.guide_url, _WEB_ADDRESS
    if mail.timezone and not is_time_zone(mail.timezone):
        yield "timezone", mail.timezone, 'a name of the time zone database, such as "America/Toronto"'
    if mail.host and mail.security == "none" and not mail.is_local:
        yield "security", mail.security, f'"starttls" or "tls": the host {mail.host} is not this machine'


def _hook_complaints(hook: HookSettings, before: Sequence[HookSettings]) -> Iterator[Complaint]:
    if hook.name in {each.name for each in before}:
        yield "name", hook.name, "each name once"
    is_sound = is_web_address(hook.url) and hook.url.isascii()
    if not is_sound or not (hook.url.startswith("https:") or is_local(hook.host)):
        yield "url", hook.url, 'an address that begins with "https://", or with "http://" and is on this machine'
    if not hook.events:
        yield "events", [], _EVENTS
    for pattern in hook.events:
        if not are_known(pattern):
            yield "events", pattern, _EVENTS


def _reference_complaints(reference: ReferenceSettings) -> Iterator[Complaint]:
    for key, ids in (("user_types", reference.user_types), ("locker_types", reference.locker_types)):
        yield from ((key, id_, "digits") for id_ in ids if not (id_.isascii() and id_.isdigit()))


def _client_complaints(client: ClientSettings, reference: ReferenceSettings) -> Iterator[Complaint]:
    yield from _address_complaints("failed_import_email", client.failed_import_email)
    if not client.language or len({*client.language}) < len(client.language):
        yield "language", list(client.language), '"en", "fr" or both'
    for header, attribute in client.columns.items():
        if attribute:
            yield from _attribute_complaints(f"columns.{header}", attribute)
    for key, names in (
        ("limits", client.limits),
        ("required", client.required),
        ("protected_fields", client.protected_fields),
    ):
        for name in names:
            yield from _attribute_complaints(key, name)
    if "unique_id" in client.protected_fields:
        yield "protected_fields", "unique_id", "other attributes: no file ever changes a unique_id"
    if client.fallback_encoding and not _extends_ascii(client.fallback_encoding):
        yield (
            "fallback_encoding",
            client.fallback_encoding,
            'an encoding that Python knows and that contains ASCII, such as "cp1252"',
        )
    sources = sorted({_ALWAYS_ACCEPTED_SOURCE, *reference.login_sources})
    if client.login_source and client.login_source not in sources:
        yield "login_source", client.login_source, "one of reference.login_sources: " + ", ".join(sources)


def _signature_complaints(client: ClientSettings, accept: Sequence[str]) -> Iterator[Complaint]:
    if client.require_signature and "pgp" not in accept:
        yield "require_signature", list(client.require_signature), 'none, or "pgp" in [file] accept as well'


def _feed_complaints(feeds: Sequence[FeedSettings]) -> Iterator[Complaint]:
    names: set[str] = set()
    for number, feed in enumerate(feeds, 1):
        if feed.name in names:
            yield f"feed[{number}].name", feed.name, "each name once"
        names.add(feed.name)
        if "/" in feed.files:
            yield f"feed[{number}].files", feed.files, "a pattern for names, without a folder"
        if feed.dated and not order.is_format(feed.dated):
            expected = 'a name with year, month and day, such as "students_%Y%m%d.csv"'
            yield f"feed[{number}].dated", feed.dated, expected


def _status_complaints(client: ClientSettings) -> Iterator[Complaint]:
    status, column = client.status, client.status.column
    if not column and status.values:
        yield "status.column", column, "the heading of the status column"
    if column in (*POSSIBLE_NAMES, *REPORT_NAMES, *client.columns) or secrets_in(column):
        yield "status.column", column, "a heading that has no other meaning"
    elif column != column.strip():
        yield "status.column", column, "a heading without blanks around it"
    for key, values in (("active", status.active), ("inactive", status.inactive)):
        if column and not values:
            yield f"status.{key}", values, f"the values that mean {key}"
        if client.clear_token and as_status(client.clear_token) in map(as_status, values):
            yield f"status.{key}", client.clear_token, "no value that is the clear_token"
    active = {*map(as_status, status.active)}
    yield from (
        ("status.inactive", value, "a value that is not in status.active; capitals and blanks do not count")
        for value in status.inactive
        if as_status(value) in active
    )


def _late_mail_complaints(client: ClientSettings, mail: MailSettings) -> Iterator[Complaint]:
    if client.late_mail and not client.expect_every:
        yield "late_mail", client.late_mail, 'expect_every to be set, for example "26h"'
    if "operator" in client.late_mail and not mail.operator:
        yield "late_mail", "operator", "mail.operator to be set"
    if "client" in client.late_mail and not mail.recipients_of(client):
        yield "late_mail", "client", "failed_import_email to be set"


def _address_complaints(key: str, addresses: Sequence[str]) -> Iterator[Complaint]:
    return ((key, address, "a full e-mail address") for address in addresses if not _ADDRESS.fullmatch(address))


def _attribute_complaints(key: str, name: str) -> Iterator[Complaint]:
    if name not in ATTRIBUTES:
        near = nearest_attribute(name)
        yield key, name, f'"{near}"?' if near else "one of the attributes: " + ", ".join(ATTRIBUTES)


def _extends_ascii(encoding: str) -> bool:
    """Return whether ASCII bytes are ASCII letters in `encoding`; the header would be unreadable otherwise."""
    letters = bytes(range(0x20, 0x7F))
    try:
        return letters.decode(encoding) == letters.decode("ascii")
    except (LookupError, ValueError):
        return False


def _shared_by_clients(clients: Sequence[_Client], state_dir: str) -> Iterator[str]:
    """Yield what two clients must not share, and inboxes that would expose the database to a client."""
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
            yield complaint(f"{client.where}.inbox", as_toml(client.settings.inbox), "service.state_dir outside of it")
    for client in clients:
        path = client.settings.protected_users
        if path and not inboxes.keys().isdisjoint(Path(os.path.realpath(path)).parents):
            yield complaint(f"{client.where}.protected_users", as_toml(path), "a file outside of the inboxes")


def _too_near(first: _Client, second: _Client) -> str:
    return (
        f"{second.where}.inbox: got {as_toml(second.settings.inbox)}; expected a folder separate from the inbox of "
        f"{first.where}, {as_toml(first.settings.inbox)}"
    )
