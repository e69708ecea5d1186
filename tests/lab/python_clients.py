"""
SFTP clients that are libraries, as a program of their own so that they can be killed.

    python_clients.py paramiko|asyncssh|winscp|cyberduck|rclone|stalled PORT USER KEY KNOWN_HOSTS LOCAL REMOTE

Of three that cannot be installed, or not in the version that matters, the requests are sent that they send. `winscp`
is WinSCP with a file above 100 KiB: under a temporary name, resumed if that is there, renamed by link and unlink after
what had the name is removed, its time set last. `cyberduck` is Cyberduck with temporary names switched on, and `rclone`
version 1.63 or later, which renames over what is there.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncssh
import paramiko  # type: ignore[import-untyped]

HOST = "127.0.0.1"

_BLOCK_BYTES = 1 << 15
_SET_TIME = 1_000_000_000  # long ago, as of an export that lay about


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


def put_like_winscp(port: int, user: str, key: str, known_hosts: str, local: str, remote: str) -> None:
    part = f"{remote}.filepart"
    with paramiko_session(port, user, key, known_hosts) as sftp:
        done = _size(sftp, part)
        with sftp.open(part, "ab" if done else "wb") as file, open(local, "rb") as content:
            content.seek(done)
            file.set_pipelined()
            shutil.copyfileobj(content, file, _BLOCK_BYTES)
        with suppress(FileNotFoundError):
            sftp.remove(remote)
        sftp.rename(part, remote)
        sftp.utime(remote, (_SET_TIME, _SET_TIME))


def put_like_cyberduck(port: int, user: str, key: str, known_hosts: str, local: str, remote: str) -> None:
    temporary = f"{remote}-{uuid.uuid4()}"
    with paramiko_session(port, user, key, known_hosts) as sftp:
        sftp.put(local, temporary, confirm=False)
        sftp.posix_rename(temporary, remote)
        sftp.utime(remote, (_SET_TIME, _SET_TIME))


def put_like_rclone(port: int, user: str, key: str, known_hosts: str, local: str, remote: str) -> None:
    temporary = f"{remote}.{uuid.uuid4().hex[:8]}.partial"
    with paramiko_session(port, user, key, known_hosts) as sftp:
        sftp.put(local, temporary)
        sftp.utime(temporary, (_SET_TIME, _SET_TIME))
        sftp.posix_rename(temporary, remote)
        sftp.stat(remote)


def _size(sftp: paramiko.SFTPClient, path: str) -> int:
    try:
        return sftp.stat(path).st_size or 0
    except FileNotFoundError:
        return 0


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


PUTS = {
    "paramiko": put_with_paramiko,
    "winscp": put_like_winscp,
    "cyberduck": put_like_cyberduck,
    "rclone": put_like_rclone,
    "stalled": put_with_a_stall,
}


def main() -> None:
    what, port, *rest = sys.argv[1:]
    user, key, known_hosts, local, remote = rest
    if what == "asyncssh":
        asyncio.run(put_with_asyncssh(int(port), user, key, known_hosts, local, remote))
    else:
        PUTS[what](int(port), user, key, known_hosts, local, remote)


if __name__ == "__main__":
    main()
