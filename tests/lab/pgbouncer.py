"""PgBouncer in transaction mode before a server of the tests: each transaction may have another session."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

from tests.lab import wait_until
from tests.lab.postgresql import USER, PostgresqlServer

# Fewer connections to the server than the tests have to the pooler, so that they change hands.
_SETTINGS = """
[databases]
* = host={folder} port=5432
[pgbouncer]
listen_port = 6432
unix_socket_dir = {folder}
auth_type = trust
auth_file = {folder}/pooled.txt
pool_mode = transaction
default_pool_size = {connections}
# By default a statement waits for two minutes for a server that is away.
query_wait_timeout = {wait_s}
server_login_retry = 1
logfile = {folder}/pgbouncer.log
"""


@contextlib.contextmanager
def pooled(server: PostgresqlServer, connections: int = 3, *, wait_s: int = 5) -> Iterator[None]:
    """
    Run PgBouncer for the databases of a server, with so many connections to each of them; see `pooled_url`.

    `wait_s`: how long a statement waits for one of them.
    """
    settings, users = server.folder / "pooled.ini", server.folder / "pooled.txt"
    settings.write_text(_SETTINGS.format(folder=server.folder, connections=connections, wait_s=wait_s))
    users.write_text('"rosterd" ""\n')
    for file in (settings, users):
        server.own(file)
    command = ["pgbouncer", "--quiet", *(("--user", USER) if server.is_of_other_user else ()), settings]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/") as process:
        try:
            wait_until((server.folder / ".s.PGSQL.6432").exists, "the pooler")
            yield
        finally:
            process.terminate()


def pooled_url(url: str) -> str:
    """Return the URL of the same database through the pooler."""
    return url.replace("port=5432", "port=6432")
