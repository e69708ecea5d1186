"""The settings the importer needs; `watcher/config.py` fills them from config.toml and adds nothing of its own."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
import unicodedata
import urllib.parse
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from importer import durations
from importer.attributes import ACTIVE, INACTIVE, STATUS
from importer.names import as_csv

Text = Annotated[str, Meta(min_length=1)]
Seconds = Annotated[float, Meta(gt=0)]

NO_REPLY: Final = "rosterd@localhost"  # reply_to where none is set: replies to it are not read
CLIENT_NAME = r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z"  # part of paths and messages
CLIENT_NAME_IN_WORDS = 'a name of at most 63 letters, digits, ".", "_" and "-" that begins with a letter or digit'
Count = Annotated[int, Meta(gt=0)]
Span = Annotated[str, Meta(pattern=r"\A([1-9][0-9]*(min|h|d))?\Z", description="a duration such as 26h, 8d or 90min")]
Days = Annotated[int, Meta(ge=0, le=36_500)]
Share = Annotated[
    str, Meta(pattern=r"\A(off|(0|[1-9][0-9]{0,3}) ?%)\Z", description='a share such as "10 %", or "off"')
]
Floor = Annotated[int, Meta(ge=0)]
Fingerprint = Annotated[
    str,
    Meta(
        pattern=r"\A([0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})\Z",
        description="the fingerprint of a PGP key: 40 hexadecimal digits without blanks",
    ),
]
Line = Annotated[str, Meta(pattern=r"\A[^\r\n]*\Z", description="one line of text")]


class FileSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[file]: limits that are checked before memory is spent."""

    max_file_bytes: Count = 1 << 30
    max_line_bytes: Count = 1 << 20
    max_cell_chars: Count = 1 << 16
    max_columns: Count = 256
    max_rows: Count = 5_000_000
    accept: tuple[Literal["xlsx", "zip", "gz", "pgp"], ...] = ("xlsx", "zip", "gz")  # besides CSV
    max_unpacked_bytes: Count = 1 << 30  # of the CSV in such a file
    max_unpacked_ratio: Count = 200  # how many times its own size
    pgp_home: Text = "pgp"  # where our PGP key and those of clients are, relative to the state directory

    @property
    def max_record_chars(self) -> int:
        """Return how long a row of several lines may be."""
        return 8 * self.max_line_bytes


class GuardSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[guard]: how much of the roster one file may change unasked; `[client.guard]` has what differs for one client."""

    identity: Share = "10 %"  # of the known users in a file: two of name, e-mail, user name, birth date change
    identity_floor: Floor = 10
    attribute: Share = "50 %"  # of the known users in a file: one and the same of these changes
    attribute_floor: Floor = 20
    created: Share = "100 %"  # of the users of the client: new ones; never for a client without users
    created_floor: Floor = 50
    deactivated: Share = "10 %"  # of the active users of a feed: those whom its snapshots of 7 days deactivate
    deactivated_floor: Floor = 5
    deactivated_ceiling: Count = 500  # which counts alone
    hold: Literal["removals", "file"] = "removals"  # what is on hold above `deactivated` alone
    undone: Share = "10 %"  # of the values that one `rosterd undo` took back: given again
    undone_floor: Floor = 0
    fewer_rows: Share = "off"  # of the rows of the last file of the feed: rows that are missing
    fewer_rows_floor: Floor = 0
    approval_days: Count = 7  # then a file on hold is given up
    approve_by: tuple[Literal["operator", "client"], ...] = ("operator",)
    supersede: Literal["", "newer", "same-name"] = ""  # which newer file replaces one on hold; "": as its feed is


class RetentionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[retention]: how long uploads, answers, problems, mail and history are kept. The ledger stays."""

    days: Days = 90  # 0: for ever
    history_days: Days = 400  # likewise


class ReferenceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[reference]: the codes a row may use. An empty list of types means: any digits."""

    login_sources: tuple[Text, ...] = ("OPSCOM",)  # OPSCOM is always accepted, listed or not
    user_types: tuple[Text, ...] = ()
    locker_types: tuple[Text, ...] = ()


class FeedSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[[client.feed]]: files of one client that belong together, by their names."""

    name: Annotated[str, Meta(pattern=CLIENT_NAME, description=CLIENT_NAME_IN_WORDS)]
    files: Text  # a pattern of names, without regard to case
    mode: Literal["upsert", "snapshot"] = "upsert"  # "snapshot": who is not in the file has left
    misses: Count = 1  # files of a snapshot in a row that have to lack a user
    dated: str = ""  # the names have a date, as strptime reads it: an older one is refused; "": they have none

    @property
    def is_snapshot(self) -> bool:
        """Tell whether each file states the whole feed."""
        return self.mode == "snapshot"

    def has(self, file: str) -> bool:
        """Tell whether a file of this name belongs to the feed."""
        return any(fnmatch.fnmatchcase(name.lower(), self.files.lower()) for name in (file, as_csv(file)))


class StatusSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[client.status]: a column that says who is active. Capitals and surplus blanks do not count in it."""

    column: str = ""  # its heading; "": there is none
    active: tuple[Text, ...] = ()
    inactive: tuple[Text, ...] = ()

    @property
    def values(self) -> tuple[str, ...]:
        """Return all that may be in the column."""
        return (*self.active, *self.inactive)

    @property
    def states(self) -> dict[str, str]:
        """Return what each value says, as `as_status` has it."""
        return {
            **{as_status(value): ACTIVE for value in self.active},
            **{as_status(value): INACTIVE for value in self.inactive},
        }


def as_status(value: str) -> str:
    """Return a value of a status column as it is compared: spreadsheets and people change capitals and blanks."""
    return " ".join(unicodedata.normalize("NFC", value).casefold().split())


_ALL_FILES: Final = ("*", "*.csv", "*.*")
REST: Final = FeedSettings(name="", files="*")  # the feed of files that belong to no other


class ClientSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[[client]]: one organisation that uploads."""

    name: Annotated[str, Meta(pattern=CLIENT_NAME, description=CLIENT_NAME_IN_WORDS)]
    inbox: Text
    companion: Literal["", "done", "sha256", "md5"] = ""  # users.csv waits for users.csv.done or the like
    shrink_guard: Annotated[int, Meta(ge=0, le=100)] = 0  # of before: 80 is guard.fewer_rows = "20 %"; 0: off
    require_signature: tuple[Fingerprint, ...] = ()  # by one of which each upload has to be signed, and encrypted
    log_socket: str = ""  # where internal-sftp logs, relative to the folder above the inbox; "": not listened to
    failed_import_email: tuple[Text, ...] = ()
    language: tuple[Literal["en", "fr"], ...] = ("en",)  # of all that the client reads; of two, one after the other
    receipts: bool = False  # mail clean runs too
    check_folder: bool = False  # a folder `check` in the inbox, in which the client tries files out
    check_keep_days: Annotated[int, Meta(ge=1, le=36_500)] = 7  # of what is in it
    max_inbox_bytes: Annotated[int, Meta(ge=0)] = 0  # of files that stay in the inbox; above it new ones are refused
    retention_days: Days | None = None  # in place of [retention] days
    expect_every: Span = ""  # overdue when no file has come for so long
    late_mail: tuple[Literal["operator", "client"], ...] = ()  # who is mailed when none came
    columns: dict[str, str] = {}  # their header name -> attribute, or "" to ignore the column
    unknown_columns: Literal["refuse", "ignore"] = "refuse"
    fallback_encoding: str = ""  # "": none, a file that is not UTF-8 is refused
    login_source: str = ""  # for rows that create a user and leave it blank
    clear_token: str = ""  # a cell equal to this empties the attribute; "": off
    short_rows: Literal["refuse", "pad"] = "refuse"
    guard: GuardSettings = GuardSettings()  # those of [guard], and over them those of [client.guard]
    limits: dict[str, Count] = {}  # attribute -> characters, in place of the table's
    protected_fields: tuple[str, ...] = ()  # attributes that count when a user is made, and never after
    protected_users: str = ""  # a file with a unique_id on each line, whom no file changes; "": there is none
    status: StatusSettings = StatusSettings()
    feed: tuple[FeedSettings, ...] = ()  # the first whose pattern a name matches; none: all files belong together
    required: tuple[str, ...] = ("first_name", "last_name", "email")  # on create, besides what is always

    @property
    def needed(self) -> tuple[str, ...]:
        """Return what a new user must have besides its id: `required`, and a login source unless there is a default."""
        others = tuple(name for name in self.required if name != "login_source")
        return others if self.login_source else ("login_source", *others)

    @property
    def headings(self) -> dict[str, str]:
        """Return what the client's own headings mean: an attribute, the status, or "" for nothing."""
        return {**self.columns, self.status.column: STATUS.name} if self.status.column else self.columns

    def feed_of(self, file: str) -> FeedSettings:
        """Return the feed of a file of this name; without a name the one of all files that belong to no other."""
        return next((feed for feed in self.feed if feed.has(file)), REST)

    @property
    def deprecated(self) -> tuple[str, str] | None:
        """Return a setting of before and what to write instead, None if there is none."""
        if not self.shrink_guard:
            return None
        return f"shrink_guard = {self.shrink_guard}", f'fewer_rows = "{self.guard.fewer_rows}" in [client.guard]'

    @property
    def has_snapshots(self) -> bool:
        """Tell whether files of the client state who has left."""
        return any(feed.is_snapshot for feed in self.feed)

    @property
    def keeps_feeds(self) -> bool:
        """Tell whether it matters which feeds a user belongs to: not if one snapshot states all users."""
        return self.has_snapshots and not (len(self.feed) == 1 and self.feed[0].files in _ALL_FILES)

    @property
    def expected_s(self) -> float | None:
        """Return `expect_every` in seconds, None when nothing is expected."""
        seconds = durations.seconds_of(self.expect_every)
        return None if seconds is None else float(seconds)


def is_local(host: str) -> bool:
    """Return whether a connection to a host does not leave this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class MailSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[mail]: where reports go. Without a host they are delivered into the Maildir."""

    maildir: str = "mail"  # relative to the state directory
    host: str = ""
    port: Annotated[int, Meta(ge=1, le=65535)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"  # "none" only to a loopback host
    user: str = ""  # its password: credential `smtp_password` or ROSTERD_SMTP_PASSWORD
    ca_file: str = ""  # "": the system's certificates
    timeout_s: Seconds = 20.0
    reply_to: Text = NO_REPLY  # sender and reply-to of every mail
    sender_name: Line = "User import"  # display name of the sender
    timezone: str = ""  # of times that clients read, as "America/Toronto"; "": the host's
    guide_url: str = ""  # where the clients' guide is published
    contact: Line = ""  # who answers clients' questions, as they read it: a name, a telephone number
    failed_import_email: tuple[Text, ...] = ()  # for clients that name none
    operator: tuple[Text, ...] = ()  # host alerts

    def recipients_of(self, client: ClientSettings) -> tuple[str, ...]:
        """Return who gets the mail of a client."""
        return client.failed_import_email or self.failed_import_email

    @property
    def questions_to(self) -> str:
        """Return the address that clients may write to, "" when none is set."""
        return "" if self.reply_to == NO_REPLY else self.reply_to

    @property
    def is_sent(self) -> bool:
        """Return whether mail is sent; else it is only stored in the Maildir."""
        return bool(self.host)

    @property
    def is_local(self) -> bool:
        """Return whether a connection to the host does not leave this machine."""
        return is_local(self.host)


class HookSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[[hook]]: a URL that is told of events, by requests that are signed."""

    name: Annotated[str, Meta(pattern=CLIENT_NAME, description="a name of letters, digits, dot, underscore, hyphen")]
    url: Text  # may have a token of its receiver: only its host is ever shown
    events: tuple[Text, ...]  # names as the log has them; * and ? as in a shell
    secret_file: str = ""  # "": the credential hook_NAME, else `secret_variable`
    ca_file: str = ""  # "": the system's certificates
    timeout_s: Seconds = 10.0

    @property
    def host(self) -> str:
        """Return the part of the URL that may be shown."""
        return urllib.parse.urlsplit(self.url).hostname or ""

    @property
    def secret_variable(self) -> str:
        """Return the variable of the environment that may have the secret."""
        return f"ROSTERD_HOOK_{re.sub('[^A-Z0-9]', '_', self.name.upper())}"


class MailUnusable(Exception):
    """The [mail] section cannot work; the text says what was found and what was expected."""
