"""A PostgreSQL server of its own, reached by a Unix socket; it runs as another user when the tests run as root."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.lab import MEMORY, wait_until

USER = "postgres"  # Debian's package makes this user; the server refuses to run as root
# Nothing has to outlive the run. The order of a language, so that a comparison that goes by it is noticed.
_CREATED = ("--auth=trust", "--username=rosterd", "--encoding=UTF8", "--locale-provider=icu", "--icu-locale=en-US")
_STARTED = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "16MB",
    "max_connections": "30",
    "autovacuum": "off",
}


def program(name: str) -> str | None:
    """Return where a program of the newest server is, which Debian has outside PATH; None when there is none."""
    homes = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda home: int(home.parent.name))
    return shutil.which(name, path=os.pathsep.join([*map(str, reversed(homes)), os.environ["PATH"]]))


EMPTY = """
DO $$ BEGIN EXECUTE (SELECT 'TRUNCATE ' || string_agg(tablename, ', ') || ' RESTART IDENTITY' FROM pg_tables
  WHERE schemaname = 'public' AND tablename NOT IN ('rosterd_schema', 'retention', 'import_ids')); END $$;
UPDATE import_ids SET last = 0; UPDATE retention SET history_from = 1"""


class PostgresqlServer:
    """A running server, with a database for whoever asks; `settings` are in place of those that suit most tests."""

    def __init__(self, primary: PostgresqlServer | None = None, /, **settings: str) -> None:
        """`primary`: it is a standby of that one, and follows it."""
        self._settings = {**_STARTED, **settings}
        self._port = settings.get("port", "5432")
        self.folder = Path(tempfile.mkdtemp(prefix="rosterd-pg-", dir=MEMORY))
        self._user = pwd.getpwnam(USER) if os.geteuid() == 0 else None
        if self._user:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        self._made = self._emptied = 0
        if primary is None:
            self._run("initdb", "--no-sync", "--no-instructions", *_CREATED)
            self.start()
            self.run_sql("postgres", "CREATE DATABASE common")
        else:
            source = f"--dbname=host={primary.folder} user=rosterd"
            self._run("pg_basebackup", "--no-sync", "--write-recovery-conf", "--checkpoint=fast", source)
            self.start()

    @property
    def is_of_other_user(self) -> bool:
        """Tell whether the server runs as another user than the tests."""
        return self._user is not None

    def own(self, path: Path) -> None:
        """Give a file to the server, for it alone."""
        path.chmod(0o600)
        if self._user:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        options = " ".join(f"-c {name}={value or repr('')}" for name, value in self._settings.items())
        log = self.folder / "log"
        self._run("pg_ctl", "--wait", f"--log={log}", f"--options=-k {self.folder} {options}", "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server; "immediate" is as if it had crashed, "smart" only begins: it waits for all clients."""
        self._run("pg_ctl", "--no-wait" if mode == "smart" else "--wait", f"--mode={mode}", "stop")

    def promote(self) -> None:
        """Let a standby become a server that can be written."""
        self._run("pg_ctl", "--wait", "promote")

    def processes(self) -> list[int]:
        """Return the processes of the server and of its connections, which first."""
        (pid, *_) = (self.folder / "data" / "postmaster.pid").read_text().splitlines()
        return [int(pid), *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    def new_database(self) -> str:
        """Create an empty database; return its URL."""
        self._made += 1
        name = f"test{self._made}"
        self.run_sql("postgres", f"CREATE DATABASE {name}")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.run_sql("postgres", f"DROP DATABASE {url.partition('@/')[2].partition('?')[0]} WITH (FORCE)")

    def emptied_database(self, number: int) -> str:
        """Return the URL of a database that is used again, and empty: a new one takes ten times as long."""
        name = f"emptied{number}"
        if number < self._emptied:
            self.run_sql(name, EMPTY)
        else:
            self.run_sql("postgres", f"CREATE DATABASE {name}")
            self._emptied = number + 1
        return self.url(name)

    def processor_s(self) -> float:
        """Return the processor time of the server and of its connections, once all of them have ended."""
        (pid, *_) = (self.folder / "data" / "postmaster.pid").read_text().splitlines()
        children = Path(f"/proc/{pid}/task/{pid}/children")
        wait_until(lambda: not any(map(_is_connection, children.read_text().split())), "ended connections")
        times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]
        return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")

    def url(self, database: str) -> str:
        """Return the URL of a database, whether or not there is one."""
        return f"postgresql://rosterd@/{database}?host={self.folder}&port={self._port}"

    def run_sql(self, database: str, statement: str) -> str:
        """Run a statement as the server's own client does, and return what it prints."""
        command = ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]
        done = subprocess.run(
            [
                *command,
                f"--host={self.folder}",
                f"--port={self._port}",
                "--username=rosterd",
                f"--command={statement}",
                database,
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def rows(self, url: str, statement: str, values: Sequence[str] = ()) -> list[dict[str, Any]]:
        """Return the rows of a statement with `?` for each value, by column; none of one that changes."""
        import psycopg  # noqa: PLC0415 - takes libpq
        from psycopg.rows import dict_row  # noqa: PLC0415 - likewise

        with psycopg.connect(url, row_factory=dict_row) as conn:
            cursor = conn.execute(statement.replace("?", "%s"), values or None)
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        """Stop the server and remove all that it has written."""
        self.stop()
        shutil.rmtree(self.folder)

    def _run(self, name: str, *arguments: str) -> None:
        user = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []} if self._user else {}
        found = program(name)
        assert found is not None
        done = subprocess.run(  # the server keeps what it is given as output: no pipe
            [found, f"--pgdata={self.folder / 'data'}", *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            **user,  # type: ignore[call-overload]
        )
        assert done.returncode == 0, f"{name} ended with {done.returncode}"


def _is_connection(pid: str) -> bool:
    with contextlib.suppress(OSError):
        title = Path(f"/proc/{pid}/cmdline").read_text()
        return not title or title.startswith("postgres: rosterd ")  # no title: it ends
    return False
