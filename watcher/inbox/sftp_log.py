"""
The log of internal-sftp as a hint: it shows which uploads ended with their connection.

Optional, per client. In its chroot a session logs to /dev/log; our socket there receives `forced close` for a file
that was open when the connection ended. That proves an interruption; a plain `close` proves nothing
(OpenSSH 9.2: an interrupted sftp in batch mode closes like one that is done), so no upload ever waits for the log.

Sessions run as their client. The kernel reports the sender of each line, and lines of other users are dropped.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import socket
import stat
import struct
import threading
from typing import Final

from watcher.inbox.events import EventQueue, UploadOf
from watcher.inbox.layout import is_of_client

# Names are escaped as by vis(3), in octal; quotation marks in them are not.
_BROKEN_OFF: Final = re.compile(rb'forced close "(.*)" bytes read \d+ written [1-9]', re.DOTALL)
_OPENED: Final = re.compile(rb'open "(.*)" flags [A-Z,]*WRITE', re.DOTALL)
_ESCAPED: Final = re.compile(rb"\\([0-7]{3}|[abfnrstv0\\])")
_LETTERS: Final = dict(zip(b"abfnrstv0\\", b"\a\b\f\n\r \t\v\0\\", strict=True))
_MAX_LINE_BYTES: Final = 8192
_PATIENCE_S: Final = 5.0
_CREDENTIALS: Final = struct.Struct("=iII")  # pid, uid, gid of the sender. Source: unix(7), SCM_CREDENTIALS


class _Log:
    """The socket of one client, its inbox, and the identity of the socket that the path should lead to."""

    def __init__(self, client: str, path: str, inbox: str) -> None:
        self.client = client
        self.use(inbox)
        self.socket = _bound(path, self._owner.st_gid)
        self.identity = _identity(path)

    def use(self, inbox: str) -> None:
        """Accept lines about this inbox from users who may upload into it. Raises OSError."""
        self._owner = os.stat(inbox, follow_symlinks=False)
        self.folder = os.fsencode(os.path.basename(inbox))

    def receive(self) -> bytes:
        """Return the next line, b"" for one that the client did not send. Raises OSError."""
        line, ancillary, _, _ = self.socket.recvmsg(_MAX_LINE_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size))
        sent_by = [_CREDENTIALS.unpack(data) for _, kind, data in ancillary if kind == socket.SCM_CREDENTIALS]
        return line if any(is_of_client(uid, gid, self._owner) for _, uid, gid in sent_by) else b""


class SessionLogs:
    """
    Listens to the sockets of all clients that have one, in a separate thread.

    A session would block as soon as ten of its lines are unread (net.unix.max_dgram_qlen), so the work loop is too slow
    to read them. One thread uses the methods; the other only adds events.
    """

    def __init__(self, events: EventQueue, upload_of: UploadOf) -> None:
        self._events = events
        self._upload_of = upload_of
        self._logs: dict[str, _Log] = {}
        self._selector = selectors.DefaultSelector()
        self._waker, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread: threading.Thread | None = None

    def follow(self, client: str, path: str, inbox: str) -> None:
        """
        Listen at `path` for the sessions that upload into `inbox`; a socket that was removed is created again.

        Raises OSError.
        """
        known = self._logs.get(client)
        if known is not None and known.identity == _identity(path):
            known.use(inbox)
            return
        self.forget(client)
        log = self._logs[client] = _Log(client, path, inbox)
        self._selector.register(log.socket, selectors.EVENT_READ, log)
        if self._thread is None:
            self._thread = threading.Thread(target=self._listen, name="sessions", daemon=True)
            self._thread.start()

    def forget(self, client: str) -> None:
        """Stop listening to a client. Its socket stays: a session that cannot use it runs without a log."""
        log = self._logs.pop(client, None)
        if log is not None:
            self._selector.unregister(log.socket)
            log.socket.close()

    def close(self) -> None:
        """Stop the thread."""
        self._waker.close()
        if self._thread is not None:
            self._thread.join(_PATIENCE_S)
        for client in list(self._logs):
            self.forget(client)
        self._selector.close()
        self._woken.close()

    def _listen(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                try:
                    self._receive_line(key.data, key.data.receive())
                except OSError:  # closed a moment ago
                    continue
                except Exception:  # noqa: BLE001 - a bad line of one client must not stop the log of others
                    self._events.request_sweep(key.data.client)

    def _receive_line(self, log: _Log, line: bytes) -> None:
        for pattern, is_broken_off in ((_BROKEN_OFF, True), (_OPENED, False)):
            if (match := pattern.search(line)) and (name := _name_in(log.folder, match[1])):
                if upload := self._upload_of(name):
                    self._events.add(
                        log.client, upload, closed=False, broken_off=is_broken_off if upload == name else None
                    )
                return


def _name_in(folder: bytes, logged: bytes) -> bytes | None:
    """Return the name in a logged path, which may be relative; None when it is outside of the inbox."""
    path = _ESCAPED.sub(_unescaped, logged)
    parent, name = os.path.split(path)
    return name if os.path.basename(parent) in (b"", folder) else None


def _unescaped(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return bytes([int(code, 8) & 0xFF if len(code) > 1 else _LETTERS[code[0]]])


def _bound(path: str, gid: int) -> socket.socket:
    """Return a socket at `path`, in place of an old one, that the group may write to. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        bound.bind(path)
        bound.settimeout(0)
        _open_up(path, gid)
    except BaseException:
        bound.close()
        raise
    return bound


def _open_up(path: str, gid: int) -> None:
    """
    Let the group write to our socket, regardless of the umask.

    Only a member, or a folder with the set-group-id bit, can give a socket to a group. Without either, everybody may
    write, and lines of others than the client are dropped. Raises OSError.
    """
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        itself = f"/proc/self/fd/{fd}"  # not what may have replaced it since
        with contextlib.suppress(PermissionError):
            os.chown(itself, -1, gid)
        os.chmod(itself, 0o660 if os.fstat(fd).st_gid == gid else 0o666)
    finally:
        os.close(fd)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        info = os.lstat(path)
    except OSError:
        return None
    return info.st_dev, info.st_ino
