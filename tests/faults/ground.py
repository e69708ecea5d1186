"""An installation in a folder that can be copied, and the uploads of its clients, each of content of its own."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import itertools
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

HEADER = "unique_id,login_source,first_name,last_name,email"
CLIENT_GID = 61001  # nobody's
STRAY = "users.csv.txt"  # a name that no rule takes
NOT_UPLOADS = (".failed.csv", ".result.txt", STRAY)

CONFIG = """\
[service]
state_dir = "state"
[intake]
quiet_s = 0.02
unterminated_grace_s = 0.02
resume_grace_s = {resume_grace_s}
[guard]
identity = "off"
attribute = "{attribute}"
attribute_floor = 0
created = "off"
deactivated = "{deactivated}"
deactivated_floor = 0
undone = "{undone}"
approve_by = ["operator", "client"]
[mail]
reply_to = "imports@rosterd.example"
{mail}
"""
CLIENT = """\
[[client]]
name = "{name}"
inbox = "{inbox}"
failed_import_email = ["admin@{name}.example"]
"""
SNAPSHOTS = "roster"  # the feed whose files begin with that, if an installation has it
MISSES = 2
FEED = f"""\
[[client.feed]]
name = "{SNAPSHOTS}"
files = "{SNAPSHOTS}*"
mode = "snapshot"
misses = {MISSES}
"""
_LETTERS = str.maketrans("0123456789", "abcdefghij")  # a number in a name is warned of
RosterRules = Literal["", "snapshots", "guarded", "removals"]


class Kind(enum.Enum):
    """What an upload is like, and so how it must end."""

    GOOD = "imported"
    NEWCOMER = "imported, and nobody known is in it"
    PARTLY = "partly"
    REFUSED = "refused"
    CUT_OFF = "refused once it was held long enough"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Upload:
    """One file that a client uploaded. `number` is its place among all, and makes its content its own."""

    client: str
    kind: Kind
    number: int
    repeats: int  # the number of the upload whose content it has: its own, as a rule
    volatile: bool = False  # never synced by its writer: a power cut before the commit may take it

    @property
    def content(self) -> bytes:
        """Return the bytes of the file."""
        number = self.repeats
        header = HEADER.replace("_", " ") if self.kind is Kind.REFUSED else HEADER
        lines = [header, *(f"{user},OPSCOM,Ann,{name},{user}@{self.client}.example" for user, name in self._rows())]
        if self.kind is Kind.PARTLY:
            lines.append(f"without-email-{number},OPSCOM,Ann,Lee,")
        if self.kind is Kind.CUT_OFF:
            return "\n".join([*lines, f"cut-off-{number},OPS"]).encode()
        return "".join(f"{line}\n" for line in lines).encode()

    def _rows(self) -> list[tuple[str, str]]:
        # "newest" is in every other file, so that its name tells which file came last.
        name = "Name" + str(self.repeats).translate(_LETTERS)
        known = [] if self.kind is Kind.NEWCOMER else [("newest", name)]
        return [*known, (f"user-{self.repeats}", name)]

    @property
    def sha256(self) -> str:
        """Return the hash of the content."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def users(self) -> dict[str, str]:
        """Return the last names by unique id that an import of the file sets."""
        return dict(self._rows()) if self.kind in (Kind.GOOD, Kind.NEWCOMER, Kind.PARTLY) else {}

    @property
    def fails(self) -> bool:
        """Return whether the client is to be told."""
        return self.kind not in (Kind.GOOD, Kind.NEWCOMER)


class Ground:
    """
    One installation below `folder`.

    Its paths are relative: a copy of the folder is an installation as well, unless `inboxes` lie elsewhere.
    `roster`: unless it is "", the feed SNAPSHOTS has such. With "guarded" each file that has a known user goes on hold,
    with "removals" nobody leaves unasked.
    `uploads` are those the service answers for: no client has removed or replaced them in its inbox.
    """

    def __init__(
        self,
        folder: Path,
        *,
        clients: Sequence[str] = ("acme",),
        mail: Mapping[str, str | float] | None = None,
        resume_grace_s: float = 0.02,
        inboxes: Mapping[str, Path] | None = None,
        roster: RosterRules = "",
    ) -> None:
        self.folder = folder
        self.clients = tuple(inboxes or clients)
        self._inboxes = inboxes or {client: folder / "inboxes" / client for client in clients}
        self.url = ""  # of the database, if that is on a server
        self.log = folder / "log"  # what all runs have written on standard output and error
        self.uploads: list[Upload] = []
        self._number = itertools.count(1)
        folder.mkdir(exist_ok=True)
        self.state.mkdir(mode=0o700)
        for client in () if inboxes else clients:
            self._make_inbox(client)
        settings = "".join(f"{key} = {value!r}\n" for key, value in (mail or {}).items())
        self.roster = roster
        limits = {
            "attribute": "0 %" if roster == "guarded" else "off",  # each further file renames "newest"
            "deactivated": "0 %" if roster == "removals" else "off",
            "undone": "off" if roster == "removals" else "10 %",
        }
        sections = [CONFIG.format(mail=settings, resume_grace_s=resume_grace_s, **limits)]
        for name in self.clients:
            sections += [CLIENT.format(name=name, inbox=self._inbox_setting(name)), FEED * bool(roster)]
        self.config.write_text("".join(sections))

    def _inbox_setting(self, client: str) -> Path:
        inbox = self.inbox(client)
        return inbox.relative_to(self.folder) if inbox.is_relative_to(self.folder) else inbox

    def _make_inbox(self, client: str) -> None:
        """Make an inbox as in production: the service's, writable for the client's group, where we may."""
        self.inbox(client).mkdir(parents=True)
        if os.geteuid() == 0:
            os.chown(self.inbox(client), -1, CLIENT_GID)
            self.inbox(client).chmod(0o1770)

    def copy(self, folder: Path) -> Self:
        """Return a second installation that is just like this one."""
        subprocess.run(["cp", "-a", self.folder, folder], check=True)
        copied = object.__new__(type(self))
        copied.folder, copied.clients, copied.uploads = folder, self.clients, list(self.uploads)
        copied.roster, copied.url = self.roster, self.url
        copied.log = folder / "log"
        copied._inboxes = {client: folder / "inboxes" / client for client in self.clients}
        copied._number = itertools.count(1 + max((upload.number for upload in self.uploads), default=0))
        # By this file the copy would take its inboxes for those of the original, moved, and fetch the claims there.
        (copied.state / "adopted.json").unlink(missing_ok=True)
        for client in copied.clients:
            copied._arrive_again(client)
        return copied

    def _arrive_again(self, client: str) -> None:
        """Let the files in an inbox have ctimes in the order of their uploads: a copy has its own, in no order."""
        came_at = 0
        for name in self.waiting(client):
            path = self.inbox(client) / name
            while (found := path.stat()).st_ctime_ns <= came_at:
                os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
            came_at = found.st_ctime_ns

    @property
    def config(self) -> Path:
        """Return the configuration file."""
        return self.folder / "config.toml"

    def mail_by(self, port: int) -> None:
        """Let mail go by the server on this port of 127.0.0.1, in place of the one before."""
        text = self.config.read_text()
        self.config.write_text(re.sub(r"^port = \d+$", f"port = {port}", text, flags=re.MULTILINE))

    def share(self, url: str, host: str, first: Ground) -> None:
        """Be `host` of those that share a database, and number uploads with the `first` of them."""
        of_service = f'[service]\ndatabase = "{url}"\nhost = "{host}"\n'
        self.config.write_text(self.config.read_text().replace("[service]\n", of_service))
        self._number, self.url = first._number, url

    @property
    def state(self) -> Path:
        """Return the state directory."""
        return self.folder / "state"

    @property
    def database(self) -> Path:
        """Return the database file."""
        return self.state / "rosterd.db"

    def inbox(self, client: str = "acme") -> Path:
        """Return a client's inbox."""
        return self._inboxes[client]

    def waiting(self, client: str = "acme") -> list[str]:
        """Return the names in an inbox, oldest file first; the service's own folders aside."""
        found = [path for path in self.inbox(client).iterdir() if not path.name.startswith(".")]
        return [path.name for path in sorted(found, key=lambda path: path.stat().st_mtime_ns)]

    def upload(
        self,
        name: str,
        kind: Kind = Kind.GOOD,
        *,
        client: str = "acme",
        repeats: Upload | None = None,
        sync: bool = True,
    ) -> Upload:
        """Let a file appear at once, over an older one of its name if there is one; `sync`: durably."""
        upload = self.next_upload(kind, client=client, repeats=repeats, sync=sync)
        fresh = self.inbox(client) / ".upload"
        fresh.write_bytes(upload.content)
        if sync:
            _sync(fresh)
        self.remove(name, client=client)
        fresh.rename(self.inbox(client) / name)
        if sync:
            _sync(self.inbox(client))
        self.uploads.append(upload)
        return upload

    def next_upload(
        self, kind: Kind, *, client: str = "acme", repeats: Upload | None = None, sync: bool = True
    ) -> Upload:
        """Return a new file for whoever uploads it; once that is done it belongs into `uploads`."""
        number = next(self._number)
        return Upload(
            client=client,
            kind=repeats.kind if repeats else kind,
            number=number,
            repeats=repeats.repeats if repeats else number,
            volatile=not sync,
        )

    def remove(self, name: str, *, client: str = "acme") -> None:
        """Let a client remove what has this name, if anything has: the service no longer answers for it."""
        path = self.inbox(client) / name
        if path.exists():
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            newest_first = reversed(self.uploads)
            self.uploads.remove(next(each for each in newest_first if (each.client, each.sha256) == (client, sha256)))
            path.unlink()

    def rename(self, name: str, new_name: str, *, client: str = "acme") -> None:
        """Let a client rename a file, over another if there is one."""
        path = self.inbox(client) / name
        if path.exists() and name != new_name:
            self.remove(new_name, client=client)
            path.rename(self.inbox(client) / new_name)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
