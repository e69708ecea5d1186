"""The real daemon as a subprocess in a folder of its own: started, watched through its log, stopped, killed."""

from __future__ import annotations

import contextlib
import email
import email.policy
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Self

from tests import REPOSITORY
from tests.lab import PATIENCE_S, Found, wait_until
from tests.lab.postgresql import PostgresqlServer

Setting = str | float | Sequence[str] | Sequence[Mapping[str, str]]
Row = dict[str, str | int | None]

QUIET_S = 0.3
STOP_WITHIN_S = 10  # as promised for SIGTERM
END_WITHIN_S = 120  # far above what it takes on an idle machine
REPLY_TO = "imports@rosterd.example"
CAPABILITIES = "-all,+dac_read_search,+lease"  # all that a service which is not root has
STAMP = re.compile(r"\.\d{8}T\d{6}Z(-\d+)?")


def make_inboxes(folder: Path) -> dict[str, Path]:
    """Make the inboxes of the clients acme and beta."""
    inboxes = {name: folder / name for name in ("acme", "beta")}
    for inbox in inboxes.values():
        inbox.mkdir()
    return inboxes


class Rosterd:
    """
    One installation: config, state and log below `folder`, one client per inbox.

    A context manager that stops the daemon at the end; one that does not stop cleanly fails the test. In between it is
    started, and can be stopped, killed and started again. `settings` are by section, on top of what suits a test,
    `client_settings` are for every client.
    `service_uid` runs it as that user, with the two capabilities only. `environment` is added to ours.
    """

    planted = ""  # Python that each process executes first: a fault to be met
    is_measured = False  # coverage of its processes, which take twice as long then; one module of tests asks for it

    def __init__(
        self,
        folder: Path,
        inboxes: Mapping[str, Path],
        *,
        settings: Mapping[str, Mapping[str, Setting]] | None = None,
        client_settings: Mapping[str, Setting] | None = None,
        service_uid: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._inboxes = inboxes
        self._settings = settings or {}
        self._client_settings = client_settings or {}
        self._service_uid = service_uid
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._server: tuple[PostgresqlServer, str] | None = None
        self._state = folder / "state"
        self._state.mkdir(mode=0o700)
        if service_uid is not None:
            os.chown(self._state, service_uid, service_uid)
        self._config = folder / "rosterd.toml"
        self._config.write_text(self._configuration(self._settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        sys.stderr.write(self.log())  # pytest shows it with a test that failed
        if failure is None:
            self.stop()
        else:
            self.kill9()

    def start(self, *, inject: str = "", at: Path | None = None, patience_s: float = PATIENCE_S) -> None:
        """
        Start the daemon and wait until it watches.

        `inject` is strace's: what to do to which of its system calls, "fsync:delay_enter=300000" (microseconds); with
        `at` to those alone that concern this file.
        """
        started = len(self.events("daemon.started"))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._tracer(inject, at), *self._command("run")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=REPOSITORY,
                env=self._environment,
            )
        try:
            self._wait(lambda: len(self.events("daemon.started")) > started, "daemon.started", patience_s)
        except BaseException:
            self.kill9()
            raise

    @property
    def config(self) -> Path:
        """Return the file of its settings."""
        return self._config

    @property
    def pid(self) -> int:
        """Return the process of the running daemon."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """End the daemon as an operator does; it must end with exit status 0."""
        if self._process is not None:
            self._process.terminate()
            try:
                status = self._process.wait(END_WITHIN_S)
            finally:
                self.kill9()
            assert status == 0

    def wait_for_end(self) -> int:
        """Wait until the daemon ends by itself; return its exit status."""
        assert self._process is not None
        process, self._process = self._process, None
        try:
            return process.wait(END_WITHIN_S)
        finally:
            process.kill()
            process.wait()

    def copy(self, folder: Path) -> Rosterd:
        """Return an installation in another folder, set up like this one, which is down, and with all that is in it."""
        inboxes = {name: folder / name for name in self._inboxes}
        other = Rosterd(folder, inboxes, settings=self._settings, client_settings=self._client_settings)
        for ours, theirs in [(self._state, other._state), *((self._inboxes[name], inboxes[name]) for name in inboxes)]:
            subprocess.run(["cp", "-aT", ours, theirs], check=True)
        return other

    def move_to(self, server: PostgresqlServer) -> None:
        """Copy the database to a server, and use that from now on; the installation is down."""
        url = server.new_database()
        done = self.execute("store", "copy", "--to", url)
        assert done.returncode == 0, done.stderr
        self._server = server, url
        self._config.write_text(self._config.read_text().replace("[service]", f'[service]\ndatabase = "{url}"', 1))

    def reload(self, change: Callable[[str], str]) -> None:
        """Change the text of the configuration and tell the daemon by SIGHUP, as `systemctl reload` does."""
        self._config.write_text(change(self._config.read_text()))
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Let the daemon stand still meanwhile."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def kill9(self) -> None:
        """End the daemon as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run `rosterd COMMAND... --config ...` to its end."""
        return subprocess.run(
            self._command(*command),
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
            env=self._environment,
            timeout=180,
            check=False,
        )

    def log(self) -> str:
        """Return all that the daemon wrote, over all its starts."""
        return self._log.read_text() if self._log.exists() else ""

    def events(self, name: str, **fields: str) -> list[dict[str, object]]:
        """Return the log entries called `name` that carry `fields`, oldest first."""
        entries = [json.loads(line) for line in self.log().splitlines(keepends=True) if line.endswith("}\n")]
        return [
            entry
            for entry in entries
            if entry["event"] == name and all(entry.get(key) == value for key, value in fields.items())
        ]

    def wait_for_event(self, name: str, **fields: str) -> dict[str, object]:
        """Wait for a log entry and return the first that matches."""
        return self._wait(lambda: self.events(name, **fields), f"the event {name} {fields}")[0]

    def wait_for_imports(self, count: int) -> list[Row]:
        """Wait until `count` files are in the ledger and none is in hand; return their ledger rows, oldest first."""
        self._wait(lambda: len(self.imports()) >= count and not self.in_work(), f"{count} finished imports")
        return self.imports()

    def imports(self) -> list[Row]:
        """Return the ledger, oldest first."""
        return self.query("SELECT * FROM imports ORDER BY id")

    def users(self, client: str = "acme") -> dict[str, Row]:
        """Return a client's users by unique_id."""
        rows = self.query("SELECT * FROM users WHERE client = ? ORDER BY unique_id", client)
        return {str(row["unique_id"]): row for row in rows}

    def query(self, sql: str, *values: str) -> list[Row]:
        """Return what a reader of the database sees."""
        if self._server:
            return self._server[0].rows(self._server[1], sql, values)
        with contextlib.closing(sqlite3.connect(f"file:{self._state}/rosterd.db?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(sql, values)]

    def change(self, sql: str) -> None:
        """Change the database behind the daemon's back; only for what stands for the passing of time."""
        if self._server:
            self._server[0].rows(self._server[1], sql)
            return
        with contextlib.closing(sqlite3.connect(self._state / "rosterd.db")) as database, database:
            database.execute(sql)

    def mails(self) -> list[EmailMessage]:
        """Return the mails delivered into the Maildir, oldest first."""
        delivered = sorted((self._state / "mail" / "new").glob("*"), key=lambda path: path.stat().st_mtime_ns)
        return [email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in delivered]

    def drop(self, name: str, content: str, client: str = "acme") -> None:
        """Let a whole file appear in an inbox at once."""
        beside = self._folder / name
        beside.write_text(content)
        beside.rename(self._inboxes[client] / name)

    def inbox(self, client: str = "acme") -> list[str]:
        """Return the names left in the inbox, the service's own folders aside."""
        return sorted(set(os.listdir(self._inboxes[client])) - {".work", ".bak"})

    def bak(self, client: str = "acme") -> list[str]:
        """Return the names in `.bak`."""
        return _names(self._inboxes[client] / ".bak")

    def archived(self, client: str = "acme") -> list[str]:
        """Return the names in `.bak` without their time stamps."""
        return sorted(STAMP.sub("", name) for name in self.bak(client))

    def read_bak(self, name: str, client: str = "acme") -> bytes:
        """Return the content of the one file in `.bak` that is called `name`, its time stamp aside."""
        [found] = [archived for archived in self.bak(client) if STAMP.sub("", archived) == name]
        return (self._inboxes[client] / ".bak" / found).read_bytes()

    def in_work(self) -> list[str]:
        """Return the claims in progress, of all clients."""
        return [claim for inbox in self._inboxes.values() for claim in _names(inbox / ".work")]

    @property
    def _log(self) -> Path:
        return self._folder / "rosterd.log"

    def _wait(self, condition: Callable[[], Found], what: str, patience_s: float = PATIENCE_S) -> Found:
        def check() -> Found:
            if self._process is not None and self._process.poll() is not None:
                raise ChildProcessError(f"rosterd ended with {self._process.returncode}")
            return condition()

        return wait_until(check, what, patience_s=patience_s)

    def _command(self, *command: str) -> list[str]:
        program = (
            ["-c", f"{self.planted}\nfrom operate.cli import main; main()"]
            if self.planted
            else [*self._measurement(), "-m", "operate.cli"]
        )
        return [*self._identity(), sys.executable, *program, *command, "--config", str(self._config)]

    def _measurement(self) -> list[str]:
        """
        Return the arguments that have coverage measured in a process, if it is measured in this one.

        Another user could not write the result into the repository. An environment variable would also reach the
        worker of a large file, which would be slower for nothing, as it is killed before it could save a result.
        """
        coverage = sys.modules.get("coverage")
        is_measured = coverage is not None and coverage.Coverage.current() is not None
        return ["-m", "coverage", "run"] if is_measured and self.is_measured and self._service_uid is None else []

    def _identity(self) -> list[str]:
        if self._service_uid is None:
            return []
        ids = [f"--reuid={self._service_uid}", f"--regid={self._service_uid}", "--clear-groups"]
        rights = [f"--{which}={CAPABILITIES}" for which in ("bounding-set", "inh-caps", "ambient-caps")]
        return ["setpriv", *ids, *rights, "--no-new-privs"]

    @staticmethod
    def _tracer(inject: str, at: Path | None) -> list[str]:
        if not inject:
            return []
        # -D keeps the daemon our own child: signals and exit statuses are its own, not strace's.
        quietly = ["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-o", os.devnull]
        which = [] if at is None else ["-P", str(at)]
        return [*quietly, *which, "-e", f"trace={inject.partition(':')[0]}", "-e", f"inject={inject}"]

    def _configuration(self, settings: Mapping[str, Mapping[str, Setting]]) -> str:
        defaults: dict[str, dict[str, Setting]] = {
            "service": {"state_dir": str(self._state)},
            "intake": {"quiet_s": QUIET_S},
            "mail": {"reply_to": REPLY_TO},
            "guard": {"identity": "off", "attribute": "off", "created": "off"},
        }
        lines = []
        for section in {**defaults, **settings}:
            lines += [f"[{section}]", *_assignments({**defaults.get(section, {}), **settings.get(section, {})})]
        for client, inbox in self._inboxes.items():
            client_settings: dict[str, Setting] = {
                "name": client,
                "inbox": str(inbox),
                "failed_import_email": [f"admin@{client}.example"],
                **self._client_settings,
            }
            lines += ["[[client]]", *_assignments(client_settings)]
        return "\n".join([*lines, ""])


@contextlib.contextmanager
def swept(
    folder: Path, uploads: Sequence[tuple[str, str]], settings: Mapping[str, Mapping[str, Setting]] | None = None
) -> Iterator[Rosterd]:
    """Yield an installation of acme that has imported these files, name and content, each by a sweep; it is down."""
    inbox = folder / "acme"
    inbox.mkdir()
    with Rosterd(folder, {"acme": inbox}, settings=settings) as installation:
        for name, content in uploads:
            installation.drop(name, content)
            assert installation.execute("sweep").returncode == 0
        yield installation


def _assignments(settings: Mapping[str, Setting]) -> list[str]:
    """Return TOML lines; strings, numbers and lists of strings are written as JSON writes them."""
    return [f"{key} = {_as_toml(value)}" for key, value in settings.items()]


def _as_toml(value: Setting | Mapping[str, str]) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(_assignments(value)) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(_as_toml, value))}]"
    return json.dumps(value)


def _names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.exists() else []
