"""What tests of `rosterd client` share: a host to set clients up on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.host import Host, SftpUser

Needs = Callable[..., None]


@pytest.fixture
def host(needs: Needs) -> Iterator[Host]:
    """Yield a host with rosterd's files in place, and no client."""
    needs("sshd", "sftp", "unshare", "nsenter", "setpriv", "useradd", "systemd-sysusers", "systemd-tmpfiles", root=True)
    with Host() as machine:
        yield machine


@pytest.fixture
def acme(host: Host, tmp_path: Path) -> SftpUser:
    """Return the client acme, added as an operator does."""
    user = SftpUser(host, "acme", tmp_path)
    host.rosterd("client", "add", "acme", "--email", "it@acme.example", "--key", user.public_key, "--apply")
    return user
