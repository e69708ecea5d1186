"""
SFTP clients that are libraries, as a program of their own so that they can be killed.

    python_clients.py paramiko|asyncssh|stalled PORT USER KEY KNOWN_HOSTS LOCAL REMOTE
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh
import paramiko  # type: ignore[import-untyped]

HOST = "127.0.0.1"


@contextmanager
def paramiko_session(port: int, user: str, key: str, known_hosts: str) -> Iterator[paramiko.SFTPClient]:
    with paramiko.SSHClient() as client:
        client.load_host_keys(known_hosts)
        client.connect(HOST, port, user, key_filename=key, allow_agent=False, look_for_keys=False)
        with client.open_sftp() as sftp:
            yield sftp


def put_with_paramiko(port: int, user: str, key: str, known_hosts: str, local: str, remote: str) -> None:
    with paramiko_session(port, user, key, known_hosts) as sftp:
        sftp.put(local, remote)


def put_with_a_stall(port: int, user: str, key: str, known_hosts: str, local: str, remote: str) -> None:
    """Write half of the file, say "stalled", and write the other half once a line has been read."""
    content = Path(local).read_bytes()
    half = len(content) // 2
    with paramiko_session(port, user, key, known_hosts) as sftp, sftp.open(remote, "wb") as file:
        file.write(content[:half])
        file.flush()
        sys.stdout.write("stalled\n")
        sys.stdout.flush()
        sys.stdin.readline()
        file.write(content[half:])


async def put_with_asyncssh(port: int, user: str, key: str, known_hosts: str, local: str, remote: str) -> None:
    async with (
        asyncssh.connect(
            HOST, port, username=user, client_keys=[key], known_hosts=known_hosts, config=None, agent_path=None
        ) as connection,
        connection.start_sftp_client() as sftp,
    ):
        await sftp.put(local, remote)


def main() -> None:
    what, port, *rest = sys.argv[1:]
    user, key, known_hosts, local, remote = rest
    if what == "asyncssh":
        asyncio.run(put_with_asyncssh(int(port), user, key, known_hosts, local, remote))
    else:
        put = {"paramiko": put_with_paramiko, "stalled": put_with_a_stall}[what]
        put(int(port), user, key, known_hosts, local, remote)


if __name__ == "__main__":
    main()
