"""What the service manager hears."""

from __future__ import annotations

import functools
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from watcher import notify

WORDS = {
    notify.ready: b"READY=1",
    notify.watchdog: b"WATCHDOG=1",
    notify.stopping: b"STOPPING=1",
    functools.partial(notify.extend_start, 1.5): b"EXTEND_TIMEOUT_USEC=3000000",
}


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Yield the socket a service manager listens on."""
    # Abstract names are the whole machine's, and test runs share the names of their folders.
    address = f"@rosterd-{uuid.uuid4()}" if request.param == "abstract" else str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address.replace("@", "\0", 1))
        listener.settimeout(60)
        yield listener


@pytest.mark.parametrize("tell", WORDS, ids=[word.decode() for word in WORDS.values()])
def test_the_manager_hears(manager: socket.socket, tell: Callable[[], None]) -> None:
    """Each word arrives as systemd expects it, by a socket with a path or with an abstract name."""
    tell()
    assert WORDS[tell] == manager.recv(100)


def test_a_manager_that_does_not_listen_blocks_nothing(manager: socket.socket) -> None:
    """However often it is told, a manager that reads nothing holds nobody up."""
    for _ in range(2000):
        notify.watchdog()
    assert b"WATCHDOG=1" == manager.recv(100)


@pytest.mark.parametrize("address", ["", "/nowhere/notify", "relative", "@" + "x" * 300])
def test_no_manager_is_no_trouble(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a manager, or with an address that leads nowhere, telling does nothing."""
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify.ready()
