from __future__ import annotations

import contextlib
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from importer.settings import ClientSettings
from operate.doctor.findings import Severity, Topic
from operate.doctor.log_socket import session_findings
from tests.conftest import Needs
from tests.lab import wait_until
from tests.lab.clients import StalledUpload, Visit
from tests.lab.daemon import Rosterd
from tests.lab.sshd import Sshd
from watcher.inbox.events import EventQueue, InboxEvent
from watcher.inbox.sftp_log import SessionLogs


def about(name: bytes) -> bytes | None:
    return name if name.endswith(b".csv") else None


@pytest.fixture
def events() -> EventQueue:
    return EventQueue()


@pytest.fixture
def inbox(tmp_path: Path) -> str:
    (tmp_path / "upload").mkdir(mode=0o755)
    return str(tmp_path / "upload")


@pytest.fixture
def logs(events: EventQueue) -> Iterator[SessionLogs]:
    logs = SessionLogs(events, about)
    yield logs
    logs.close()


@pytest.fixture
def host_folder() -> Iterator[Path]:
    """Yield a folder that every user can reach."""
    with tempfile.TemporaryDirectory(prefix="rosterd-lab-", dir="/opt" if os.geteuid() == 0 else None) as place:
        folder = Path(place)
        folder.chmod(0o755)
        yield folder


def tell(path: Path, *lines: bytes) -> None:
    """Log as internal-sftp does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as session:
        session.connect(str(path))
        for line in lines:
            session.send(b"<86>Nov 22 12:00:00 internal-sftp[123]: " + line)


def heard(events: EventQueue) -> list[InboxEvent]:
    return wait_until(events.take, "a hint")


def test_broken_connection_is_heard_of(events: EventQueue, logs: SessionLogs, tmp_path: Path, inbox: str) -> None:
    """A file that was open when its connection ended is known as broken off, until it is opened for writing again."""
    logs.follow("acme", str(tmp_path / "log"), inbox)

    tell(tmp_path / "log", b'forced close "/upload/users.csv" bytes read 0 written 338')
    assert heard(events) == [InboxEvent("acme", b"users.csv", closed=False, broken_off=True)]
    tell(tmp_path / "log", b'open "/upload/users.csv" flags WRITE,CREATE,APPEND mode 0644')
    assert heard(events) == [InboxEvent("acme", b"users.csv", closed=False, broken_off=False)]


def test_last_word_counts(events: EventQueue, logs: SessionLogs, tmp_path: Path, inbox: str) -> None:
    """Of several lines about one file the last counts."""
    logs.follow("acme", str(tmp_path / "log"), inbox)
    events.add("acme", b"users.csv", closed=True)
    events.add("acme", b"users.csv", closed=False, broken_off=False)
    tell(tmp_path / "log", b'forced close "users.csv" bytes read 0 written 1')

    wait_until(lambda: events._names[("acme", b"users.csv")].broken_off, "the line")
    assert events.take() == [InboxEvent("acme", b"users.csv", closed=True, broken_off=True)]


def test_lines_about_something_else(events: EventQueue, logs: SessionLogs, tmp_path: Path, inbox: str) -> None:
    """Downloads, other folders, other names, plain closes and nonsense say nothing."""
    logs.follow("acme", str(tmp_path / "log"), inbox)
    tell(
        tmp_path / "log",
        b'forced close "/upload/users.csv" bytes read 338 written 0',
        b'forced close "/upload/.bak/users.csv" bytes read 0 written 338',
        b'forced close "/upload/users.txt" bytes read 0 written 338',
        b'close "/upload/users.csv" bytes read 0 written 338',
        b'open "/upload/users.csv" flags READ mode 0666',
        b"\xff\x00\n",
        b'forced close "/upload/last.csv" bytes read 0 written 338',
    )

    assert [hint.name for hint in heard(events)] == [b"last.csv"]


def test_names_are_bytes_again(events: EventQueue, logs: SessionLogs, tmp_path: Path, inbox: str) -> None:
    """Names are escaped in the log, and are as they were uploaded in the hint."""
    logs.follow("acme", str(tmp_path / "log"), inbox)
    tell(tmp_path / "log", rb'forced close "/upload/a\n\351\\" b\033.csv" bytes read 0 written 338')

    assert heard(events)[0].name == b'a\n\xe9\\" b\x1b.csv'


def test_socket_is_made_again(events: EventQueue, logs: SessionLogs, tmp_path: Path, inbox: str) -> None:
    """A socket that was removed, or left by an earlier run, is replaced; one that is in use stays."""
    path = tmp_path / "log"
    logs.follow("acme", str(path), inbox)
    before = path.stat().st_ino
    logs.follow("acme", str(path), inbox)
    assert path.stat().st_ino == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert path.stat().st_gid == Path(inbox).stat().st_gid

    path.unlink()
    logs.follow("acme", str(path), inbox)
    tell(path, b'forced close "users.csv" bytes read 0 written 338')
    assert heard(events)


@pytest.mark.parametrize(("mode", "level"), [(0o660, Severity.OK), (0o666, Severity.WARNING)])
def test_doctor_sees_a_socket_that_is_everybodys(
    logs: SessionLogs, tmp_path: Path, inbox: str, mode: int, level: Severity
) -> None:
    """`rosterd doctor` warns of a socket that every local user may write to, and says how it becomes the client's."""
    (tmp_path / "dev").mkdir(mode=0o755)
    logs.follow("acme", str(tmp_path / "dev" / "log"), inbox)
    (tmp_path / "dev" / "log").chmod(mode)
    client = ClientSettings(name="acme", inbox=inbox, log_socket="dev/log")

    [finding] = session_findings(Topic("client acme"), client, os.geteuid())
    assert finding.level is level
    assert ("client add acme --apply" in finding.remedy) == (level is Severity.WARNING)


def test_socket_that_cannot_be_made(logs: SessionLogs, tmp_path: Path, inbox: str) -> None:
    """What is no socket is never removed for one."""
    (tmp_path / "log").write_text("precious")
    with pytest.raises(OSError, match="in use"):
        logs.follow("acme", str(tmp_path / "log"), inbox)
    assert (tmp_path / "log").read_text() == "precious"
    logs.forget("acme")


def test_line_that_nobody_can_make_sense_of(events: EventQueue, tmp_path: Path, inbox: str) -> None:
    """A line that does what no line should costs nothing but a sweep; the next one is heard."""

    def confused(name: bytes) -> bytes | None:
        if name == b"odd.csv":
            raise RuntimeError
        return about(name)

    with contextlib.closing(SessionLogs(events, confused)) as logs:
        logs.follow("acme", str(tmp_path / "log"), inbox)
        tell(tmp_path / "log", *(b'forced close "%b.csv" bytes read 0 written 1' % name for name in (b"odd", b"next")))
        assert [hint.name for hint in heard(events)] == [b"next.csv"]
    assert events.take_sweep_requests() == (False, {"acme"})


def tell_as(uid: int, path: Path, line: bytes) -> bool:
    """Log as a process of this user and group does; return whether it was let."""
    told = subprocess.run(
        [sys.executable, "-c", TELL, path, line], user=uid, group=uid, extra_groups=[], cwd="/", check=False
    )
    return told.returncode == 0


TELL = """
import os, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as session:
    try:
        session.sendto(os.fsencode(sys.argv[2]), sys.argv[1])
    except PermissionError:
        sys.exit(1)
"""
CLIENT, STRANGER, SERVICE = 61001, 61002, 61003


@pytest.mark.parametrize(
    ("service", "owner", "folder_mode", "socket_mode"),
    [
        (None, 0, 0o711, 0o660),
        (None, CLIENT, 0o711, 0o660),
        (SERVICE, SERVICE, 0o2711, 0o660),
        (SERVICE, SERVICE, 0o711, 0o666),  # the group is not the service's to give
    ],
    ids=["root", "client's own inbox", "service", "service in a folder of old"],
)
def test_lines_of_strangers(
    needs: Needs, host_folder: Path, service: int | None, owner: int, folder_mode: int, socket_mode: int
) -> None:
    """Only the client can tell of its uploads, whatever the service has a right to."""
    needs("setpriv", root=True)
    inbox, folder = host_folder / "upload", host_folder / "dev"
    for path, uid, mode in ((inbox, owner, 0o1770), (folder, service or 0, folder_mode)):
        path.mkdir()
        os.chown(path, uid, CLIENT if path == inbox or folder_mode & stat.S_ISGID else 0)
        path.chmod(mode)
    settings = {"log_socket": "dev/log"}
    with Rosterd(host_folder, {"acme": inbox}, client_settings=settings, service_uid=service) as rosterd:
        rosterd.start()
        for name in ("a.csv", "b.csv"):
            (inbox / name).write_text("unique_id,login_source,first_name,last_name,email\n1,OPSCOM")
            os.chown(inbox / name, CLIENT, CLIENT)
        line = b'forced close "/upload/%b" bytes read 0 written 9'
        is_let_in = tell_as(STRANGER, folder / "log", line % b"b.csv")
        assert tell_as(CLIENT, folder / "log", line % b"a.csv")
        rosterd.wait_for_event("file.held", file="a.csv", reason="broken_off")

        assert rosterd.wait_for_event("file.held", file="b.csv")["reason"] == "cut_off"
        assert is_let_in == (socket_mode == 0o666)
        assert stat.S_IMODE((folder / "log").stat().st_mode) == socket_mode


@pytest.mark.parametrize("service", [None, SERVICE], ids=["root", "service"])
def test_real_session_tells_of_its_end(tmp_path: Path, needs: Needs, host_folder: Path, service: int | None) -> None:
    """A session of OpenSSH logs to the socket in its chroot, and an upload that it did not end is held for that."""
    needs("sshd", "sftp", "setpriv", root=True)
    with (
        Sshd(deny_links=True, service_uid=service) as sshd,
        Rosterd(
            host_folder, {"acme": sshd.login().inbox}, client_settings={"log_socket": "dev/log"}, service_uid=service
        ) as rosterd,
    ):
        folder = sshd.login().inbox.parent / "dev"
        folder.mkdir()
        os.chown(folder, service or 0, sshd.login().uid)
        folder.chmod(0o2710)
        rosterd.start()
        acme = Visit(sshd, sshd.login(), tmp_path)
        whole = acme.write("whole.csv", "unique_id,login_source,first_name,last_name,email", "1,OPSCOM,A,B,a@b.example")

        with StalledUpload(acme, whole, "users.csv"):
            pass
        rosterd.wait_for_event("file.held", file="users.csv", reason="broken_off")
        acme.execute(f'reput "{whole}" users.csv')
        rosterd.wait_for_imports(1)

        assert [row["outcome"] for row in rosterd.imports()] == ["imported"]
        assert rosterd.events("sessions.unheard") == []
