"""The scripts of the Debian package, run on a host as dpkg runs them; and those that decide what is in it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.deb.libraries import LEFT_OUT
from tests import REPOSITORY
from tests.lab.host import DEPLOY, Host, SftpUser
from tests.lab.sshd import HOST

Needs = Callable[..., None]
PASSWORD = "correct horse battery staple"


@pytest.fixture
def host(needs: Needs) -> Iterator[Host]:
    """Yield a host with rosterd's files in place, and no client."""
    needs("sshd", "unshare", "nsenter", "useradd", "chpasswd", "systemd-sysusers", "systemd-tmpfiles", root=True)
    with Host() as machine:
        yield machine


def tunnel(host: Host, login: str, folder: Path) -> str:
    """Return what comes through a TCP tunnel that this login asks for by its password, or why none does."""
    ask = folder / "ask"
    ask.write_text(f"#!/bin/sh\necho '{PASSWORD}'\n")
    ask.chmod(0o700)
    options = ("-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
    by_password = ("-o", "PreferredAuthentications=password", "-o", "NumberOfPasswordPrompts=1")
    done = subprocess.run(
        ["ssh", *options, *by_password, "-p", str(host.port), "-W", f"{HOST}:{host.port}", f"{login}@{HOST}"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=30,
        check=False,
        env={**os.environ, "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"},
    )
    return done.stdout + done.stderr


def purge(host: Host) -> str:
    """Do what dpkg does when the package is purged; sshd then starts anew."""
    host.run("rm", "/etc/ssh/sshd_config.d/rosterd.conf")
    said = host.run("sh", DEPLOY / "deb" / "postrm", "purge").stdout
    host.start_sshd()
    return said


def test_a_login_that_a_purge_leaves_behind_gets_no_tunnel(host: Host, tmp_path: Path) -> None:
    """A purge locks all logins that the package's file for sshd had confined, and says which."""
    host.rosterd("client", "add", "acme", "--email", "it@acme.example", "--apply")
    host.run("useradd", "--gid", "sftpdrop", "beta")
    host.run("useradd", "person")
    host.run("usermod", "--append", "--groups", "sftpdrop", "root")
    host.run("sh", "-c", f"printf '%s:{PASSWORD}\\n' acme beta person | chpasswd")
    assert "prohibited" in tunnel(host, "acme", tmp_path)
    said = purge(host)
    assert "any more: acme beta\n" in said
    for login in ("acme", "beta"):
        assert "SSH-2.0" not in tunnel(host, login, tmp_path)
    assert "SSH-2.0" in tunnel(host, "person", tmp_path)
    assert host.path("/srv/sftp/acme/upload/.bak").is_dir()
    assert not host.path("/etc/rosterd").exists()


def test_a_login_that_cannot_be_locked_stops_the_purge(host: Host) -> None:
    """A purge that would leave a login open ends with an error, and is complete when it is tried again."""
    host.rosterd("client", "add", "acme", "--email", "it@acme.example", "--apply")
    host.path("/srv/bin").mkdir()
    host.path("/srv/bin/usermod").write_text("#!/bin/sh\nexit 1\n")
    host.path("/srv/bin/usermod").chmod(0o755)
    postrm = ("sh", DEPLOY / "deb" / "postrm", "purge")
    refused = host.run("env", "PATH=/srv/bin:/usr/bin:/usr/sbin", *postrm, check=False)
    assert (1, True) == (refused.returncode, "acme could not be locked" in refused.stderr)
    assert host.path("/etc/rosterd/clients.d/acme.toml").exists()
    assert "any more: acme\n" in host.run(*postrm).stdout


def test_a_client_is_set_up_again_after_a_purge(host: Host, tmp_path: Path) -> None:
    """With the package installed again, `client add` opens the login that the purge had locked."""
    user = SftpUser(host, "acme", tmp_path)
    adding = ("client", "add", "acme", "--email", "it@acme.example", "--key", user.public_key, "--apply")
    host.rosterd(*adding)
    purge(host)
    assert 0 != user.batch("ls").returncode
    host.install()
    host.start_sshd()
    host.rosterd(*adding)
    assert 0 == user.batch("ls .bak").returncode


def test_the_package_has_only_libraries_that_are_imported() -> None:
    """What a library requires and nothing imports is not in the package, nor what only that requires."""
    listing = [sys.executable, "-m", "deploy.deb.runtime_lock"]
    lock = subprocess.run(listing, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    names = re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE)
    assert {"yagmail", "openpyxl", "idna"} < {*names}
    assert not {*LEFT_OUT, "lxml", "requests", "cssutils", "cachetools"} & {*names}


def library(site: Path, licence: str) -> None:
    """Put a library into a folder of libraries, as pip does."""
    info = site / "odd-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: odd\nVersion: 1.0\nLicense-Expression: {licence}\n")
    (info / "LICENSE").write_text("Copyright (c) 2020 Ann Roy\n\nDo as you like.\n")
    (info / "RECORD").write_text("odd.py,,\nodd-1.0.dist-info/LICENSE,,\nodd-1.0.dist-info/METADATA,,\n")


def copyright_of(site: Path) -> subprocess.CompletedProcess[str]:
    telling = [sys.executable, "-I", str(DEPLOY / "deb" / "copyright.py"), str(site)]
    return subprocess.run(telling, capture_output=True, text=True, check=False)


def test_the_copyright_file_names_the_licence_of_each_library(tmp_path: Path) -> None:
    """It has whose each library is, and the text of its licence, as the library has them."""
    site = tmp_path / "opt" / "rosterd"
    library(site, "MIT")
    *_, said = copyright_of(site).stdout.split("\n\n")
    assert (
        "Files:\n opt/rosterd/odd-1.0.dist-info/*\n opt/rosterd/odd.py\nCopyright:\n 2020 Ann Roy\n"
        "License: MIT\n Copyright (c) 2020 Ann Roy\n .\n Do as you like.\n"
    ) == said


def test_a_licence_that_nobody_has_read_is_not_shipped(tmp_path: Path) -> None:
    """The package is not built with a library whose licence is not among those that were read."""
    site = tmp_path / "opt" / "rosterd"
    library(site, "MIT AND Beerware")
    done = copyright_of(site)
    assert (1, 'odd: licence "MIT AND Beerware" is not in deploy/deb/copyright.py\n') == (done.returncode, done.stderr)
