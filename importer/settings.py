"""The settings the importer needs; `watcher/config.py` fills them from config.toml and adds nothing of its own."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from importer import durations

Text = Annotated[str, Meta(min_length=1)]
Seconds = Annotated[float, Meta(gt=0)]

CLIENT_NAME = r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z"  # part of paths and messages
CLIENT_NAME_IN_WORDS = 'a name of at most 63 letters, digits, ".", "_" and "-" that begins with a letter or digit'
Count = Annotated[int, Meta(gt=0)]
Span = Annotated[str, Meta(pattern=r"\A([1-9][0-9]*(min|h|d))?\Z", description="a duration such as 26h, 8d or 90min")]
Days = Annotated[int, Meta(ge=0, le=36_500)]


class FileSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[file]: limits that are checked before memory is spent."""

    max_file_bytes: Count = 1 << 30
    max_line_bytes: Count = 1 << 20
    max_cell_chars: Count = 1 << 16
    max_columns: Count = 256
    max_rows: Count = 5_000_000

    @property
    def max_record_chars(self) -> int:
        """Return how far a row may go on over several lines."""
        return 8 * self.max_line_bytes


class RetentionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[retention]: how long uploads, answers, problems and mail are kept. The ledger names nobody and stays."""

    days: Days = 90  # 0: for ever


class ReferenceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[reference]: the codes a row may use. An empty list of types means: any digits."""

    login_sources: tuple[Text, ...] = ("OPSCOM",)  # OPSCOM is always accepted, listed or not
    user_types: tuple[Text, ...] = ()
    locker_types: tuple[Text, ...] = ()


class ClientSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[[client]]: one organisation that uploads."""

    name: Annotated[str, Meta(pattern=CLIENT_NAME, description=CLIENT_NAME_IN_WORDS)]
    inbox: Text
    companion: Literal["", "done", "sha256", "md5"] = ""  # users.csv waits for users.csv.done or the like
    shrink_guard: Annotated[int, Meta(ge=0, le=100)] = 0  # percent of the last file's rows; less is held. 0: off
    log_socket: str = ""  # where internal-sftp logs, relative to the folder above the inbox; "": not listened to
    failed_import_email: tuple[Text, ...] = ()
    receipts: bool = False  # mail clean runs too
    retention_days: Days | None = None  # in place of [retention] days
    expect_every: Span = ""  # overdue when no file has come for so long
    late_mail: tuple[Literal["operator", "client"], ...] = ()  # who is mailed when none came
    columns: dict[str, str] = {}  # their header name -> attribute, or "" to ignore the column
    unknown_columns: Literal["refuse", "ignore"] = "refuse"
    fallback_encoding: str = ""  # "": none, a file that is not UTF-8 is refused
    login_source: str = ""  # for rows that create a user and leave it blank
    clear_token: str = ""  # a cell equal to this empties the attribute; "": off
    short_rows: Literal["refuse", "pad"] = "refuse"
    limits: dict[str, Count] = {}  # attribute -> characters, in place of the table's
    required: tuple[str, ...] = ("first_name", "last_name", "email")  # on create, beside what is always

    @property
    def needed(self) -> tuple[str, ...]:
        """Return what a new user must have beside its id: `required`, and a login source unless there is a default."""
        others = tuple(name for name in self.required if name != "login_source")
        return others if self.login_source else ("login_source", *others)

    @property
    def expected_s(self) -> float | None:
        """Return `expect_every` in seconds, None when nothing is expected."""
        seconds = durations.seconds_of(self.expect_every)
        return None if seconds is None else float(seconds)


class MailSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[mail]: where reports go. Without a host they are delivered into the Maildir."""

    maildir: str = "mail"  # relative to the state directory
    host: str = ""
    port: Annotated[int, Meta(ge=1, le=65535)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"  # "none" only to a loopback host
    user: str = ""  # its password: credential `smtp_password` or ROSTERD_SMTP_PASSWORD
    ca_file: str = ""  # "": the system's certificates
    timeout_s: Seconds = 20.0
    reply_to: Text = "rosterd@localhost"  # sender and reply-to of every mail
    failed_import_email: tuple[Text, ...] = ()  # for clients that name none
    operator: tuple[Text, ...] = ()  # host alerts

    def recipients_of(self, client: ClientSettings) -> tuple[str, ...]:
        """Return who gets the mail of a client."""
        return client.failed_import_email or self.failed_import_email

    @property
    def is_local(self) -> bool:
        """Return whether a connection to the host does not leave this machine."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class MailUnusable(Exception):
    """The [mail] section cannot work; the text says what was found and what was expected."""
