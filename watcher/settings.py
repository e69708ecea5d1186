"""The settings of the service, with their defaults and bounds; and Config, which has all settings."""

from __future__ import annotations

import functools
import os
import socket
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from importer.settings import (
    ClientSettings,
    Count,
    FileSettings,
    GuardSettings,
    HookSettings,
    MailSettings,
    ReferenceSettings,
    RetentionSettings,
    Seconds,
    Text,
)
from importer.store.places import Place, is_server

PASSWORD_CREDENTIAL: Final = "smtp_password"  # noqa: S105 - the name of a systemd credential
PASSWORD_VARIABLE: Final = "ROSTERD_SMTP_PASSWORD"  # noqa: S105 - the name of a variable
_WORKERS: Final = 2  # with a database on a server


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[service]: where the service keeps its files, and how often it sweeps."""

    state_dir: Text = "/var/lib/rosterd"
    database: Text = "rosterd.db"  # relative to state_dir, or the URL of a PostgreSQL server
    host: str = ""  # what this host is called in a database that several share; "": the name that it has
    workers: Annotated[int, Meta(ge=0, le=32)] = 0  # files imported at a time; 0: 2 with a server, 1 with SQLite
    sweep_interval_s: Seconds = 300.0
    read_copy: str = ""  # a copy of the database for readers; "": none
    read_copy_when: Literal["nightly", "continuous"] = "nightly"
    ping_url: str = ""  # requested after each good round of sweeps; a secret

    @property
    def at_once(self) -> int:
        """Return how many files are imported at a time next to the loop, 0 for none: the loop imports them."""
        return self.workers or _WORKERS if is_server(self.database) else 0

    @property
    def place(self) -> Place:
        """Return where the database is."""
        return (
            Place(self.database, self.host or socket.gethostname())
            if is_server(self.database)
            else Place(self.database)
        )


class IntakeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[intake]: which names are uploads, and when an upload counts as finished."""

    pattern: Text = "*.csv"  # without regard to case; hidden and temporary names never count
    quiet_s: Seconds = 3.0  # above the time that clients take to set time and mode after the last byte
    unterminated_grace_s: Seconds = 30.0  # more, for a file whose last line does not end
    resume_grace_s: Seconds = 900.0  # more, for a file that looks cut off: above the server's ClientAlive time-out
    unprobed_quiet_s: Seconds = 300.0  # where the system does not tell whether a file is open for writing
    stray_grace_s: Seconds = 900.0  # until a client is told of a file whose name is not imported
    give_way_s: Seconds = 300.0  # for at most this time a large file waits for those of other clients
    max_waiting: Count = 10_000  # names of one client kept in memory; others wait for a later sweep


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[log]: how much to log, and in which format."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"  # auto: readable lines on a terminal, else JSON


class MetricsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[metrics]: metrics for Prometheus; off unless one of the two is set."""

    listen: Annotated[
        str, Meta(pattern=r"\A(\S+:[0-9]{1,5})?\Z", description="an address and port such as 127.0.0.1:9188")
    ] = ""
    # For the textfile collector of the node exporter.
    textfile: Annotated[str, Meta(pattern=r"\A(.+\.prom)?\Z", description="a path that ends with .prom")] = ""


CONSOLE_USERS: Final = "console-users.json"  # in the state directory: who may log in to the console


class ConsoleSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[console]: the operator's web page, a process of its own: `rosterd console`."""

    listen: Annotated[
        str,
        Meta(
            pattern=r"\A(\S+:[0-9]{1,5}|/.+\.sock)\Z",
            description="an address and port such as 127.0.0.1:9189, or a path that ends with .sock",
        ),
    ] = "127.0.0.1:9189"
    # As browsers have it, when a proxy is in front.
    url: Annotated[
        str, Meta(pattern=r"\A(https://[^/\s]+)?\Z", description="an address such as https://imports.example.org")
    ] = ""
    # Only with a path in `listen`: the proxy says who asks, instead of a password.
    proxy_user_header: Annotated[
        str, Meta(pattern=r"\A([A-Za-z][A-Za-z0-9-]*)?\Z", description="the name of a header such as X-Remote-User")
    ] = ""
    idle_s: Seconds = 1800.0  # without a request for this long, a session ends
    max_session_s: Seconds = 43_200.0  # however busy it is


class Config(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Everything that can be set. All paths are absolute; `ca_file` may be empty."""

    service: ServiceSettings = ServiceSettings()
    intake: IntakeSettings = IntakeSettings()
    file: FileSettings = FileSettings()
    guard: GuardSettings = GuardSettings()
    mail: MailSettings = MailSettings()
    retention: RetentionSettings = RetentionSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    console: ConsoleSettings = ConsoleSettings()
    reference: ReferenceSettings = ReferenceSettings()
    hook: tuple[HookSettings, ...] = ()
    clients: tuple[ClientSettings, ...] = ()
    source: str = ""  # the file it was read from
    base: str = ""  # where relative paths in it start
    is_outdated: bool = False  # the file has errors now: this is what the service last adopted

    @functools.cached_property
    def clients_by_name(self) -> dict[str, ClientSettings]:
        """Return the clients by their names, in the order of the files."""
        return {client.name: client for client in self.clients}


def with_absolute_paths(config: Config, base: str) -> Config:
    """Return the configuration with paths that are relative to `base`, or to the state directory, made absolute."""
    service, mail = config.service, config.mail
    state_dir = os.path.abspath(os.path.join(base, service.state_dir))
    replace = msgspec.structs.replace
    return replace(
        config,
        service=replace(
            service,
            state_dir=state_dir,
            database=service.database if is_server(service.database) else os.path.join(state_dir, service.database),
            read_copy=service.read_copy and os.path.join(base, service.read_copy),
        ),
        file=replace(config.file, pgp_home=os.path.join(state_dir, config.file.pgp_home)),
        mail=replace(
            mail,
            maildir=os.path.join(state_dir, mail.maildir),
            ca_file=mail.ca_file and os.path.join(base, mail.ca_file),
        ),
        hook=tuple(
            replace(
                hook,
                secret_file=hook.secret_file and os.path.join(base, hook.secret_file),
                ca_file=hook.ca_file and os.path.join(base, hook.ca_file),
            )
            for hook in config.hook
        ),
        metrics=replace(
            config.metrics, textfile=config.metrics.textfile and os.path.join(base, config.metrics.textfile)
        ),
        clients=tuple(
            replace(
                client,
                inbox=_inbox(base, client.inbox),
                protected_users=client.protected_users and os.path.join(base, client.protected_users),
            )
            for client in config.clients
        ),
    )


def _inbox(base: str, path: str) -> str:
    """
    Return an inbox path with links resolved in all but its last component.

    Links above the inbox are the operator's, and a watch through a link receives no events; the inbox itself must not
    be a link.
    """
    parent, name = os.path.split(os.path.abspath(os.path.join(base, path)))
    return os.path.join(os.path.realpath(parent), name)
