from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Needs
from tests.lab import wait_until
from tests.lab.clients import StalledUpload, Visit
from tests.lab.daemon import Rosterd
from tests.lab.sshd import Sshd
from watcher.notice import Hint, Hints
from watcher.sessions import SessionLogs


def about(name: bytes) -> bytes | None:
    return name if name.endswith(b".csv") else None


@pytest.fixture
def hints() -> Hints:
    return Hints()


@pytest.fixture
def logs(hints: Hints) -> Iterator[SessionLogs]:
    logs = SessionLogs(hints, about)
    yield logs
    logs.close()


def tell(path: Path, *lines: bytes) -> None:
    """Log as internal-sftp does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as session:
        session.connect(str(path))
        for line in lines:
            session.send(b"<86>Nov 22 12:00:00 internal-sftp[123]: " + line)


def heard(hints: Hints) -> list[Hint]:
    return wait_until(hints.take, "a hint")


def test_broken_connection_is_heard_of(hints: Hints, logs: SessionLogs, tmp_path: Path) -> None:
    """A file that was open when its connection ended is known as broken off, until it is opened for writing again."""
    logs.follow("acme", str(tmp_path / "log"), b"upload")

    tell(tmp_path / "log", b'forced close "/upload/users.csv" bytes read 0 written 338')
    assert heard(hints) == [Hint("acme", b"users.csv", closed=False, broken_off=True)]
    tell(tmp_path / "log", b'open "/upload/users.csv" flags WRITE,CREATE,APPEND mode 0644')
    assert heard(hints) == [Hint("acme", b"users.csv", closed=False, broken_off=False)]


def test_last_word_counts(hints: Hints, logs: SessionLogs, tmp_path: Path) -> None:
    """Of several lines about one file the last counts."""
    logs.follow("acme", str(tmp_path / "log"), b"upload")
    hints.add("acme", b"users.csv", closed=True)
    hints.add("acme", b"users.csv", closed=False, broken_off=False)
    tell(tmp_path / "log", b'forced close "users.csv" bytes read 0 written 1')

    wait_until(lambda: hints._names[("acme", b"users.csv")].broken_off, "the line")
    assert hints.take() == [Hint("acme", b"users.csv", closed=True, broken_off=True)]


def test_lines_about_something_else(hints: Hints, logs: SessionLogs, tmp_path: Path) -> None:
    """Downloads, other folders, other names, plain closes and nonsense say nothing."""
    logs.follow("acme", str(tmp_path / "log"), b"upload")
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

    assert [hint.name for hint in heard(hints)] == [b"last.csv"]


def test_names_are_bytes_again(hints: Hints, logs: SessionLogs, tmp_path: Path) -> None:
    """Names are escaped in the log, and are as they were uploaded in the hint."""
    logs.follow("acme", str(tmp_path / "log"), b"upload")
    tell(tmp_path / "log", rb'forced close "/upload/a\n\351\\" b\033.csv" bytes read 0 written 338')

    assert heard(hints)[0].name == b'a\n\xe9\\" b\x1b.csv'


def test_socket_is_made_again(hints: Hints, logs: SessionLogs, tmp_path: Path) -> None:
    """A socket that was removed, or left by an earlier run, is replaced; one that is in use stays."""
    path = tmp_path / "log"
    logs.follow("acme", str(path), b"upload")
    before = path.stat().st_ino
    logs.follow("acme", str(path), b"upload")
    assert path.stat().st_ino == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o666

    path.unlink()
    logs.follow("acme", str(path), b"upload")
    tell(path, b'forced close "users.csv" bytes read 0 written 338')
    assert heard(hints)


def test_socket_that_cannot_be_made(logs: SessionLogs, tmp_path: Path) -> None:
    """What is no socket is never removed for one."""
    (tmp_path / "log").write_text("precious")
    with pytest.raises(OSError, match="in use"):
        logs.follow("acme", str(tmp_path / "log"), b"upload")
    assert (tmp_path / "log").read_text() == "precious"
    logs.forget("acme")


def test_real_session_tells_of_its_end(tmp_path: Path, needs: Needs) -> None:
    """A session of OpenSSH logs to the socket in its chroot, and an upload that it did not end is held for that."""
    needs("sshd", "sftp", root=True)
    with (
        Sshd(deny_links=True) as sshd,
        Rosterd(tmp_path, {"acme": sshd.login().inbox}, client_settings={"log_socket": "dev/log"}) as rosterd,
    ):
        (sshd.login().inbox.parent / "dev").mkdir()
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
