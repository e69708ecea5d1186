"""
The server of the control socket: a Unix socket in the state directory, protected by its permissions.

One line of JSON per connection, and one line of JSON as the answer. A thread listens; the work loop, which owns the
store, carries out the orders between two pieces of work. So there is never a second writer. An order that was not
started in time is cancelled and has no effect.

The service's own user and root may order all. Others whom the permissions let in, that is the console, may order what
its pages do, in the name of somebody, and are handed files to read.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from typing import Final

import msgspec
import structlog

from importer.fs import own_mode
from importer.settings import ClientSettings
from importer.store.errors import StoreLocked
from watcher.control.client import (
    LOOP_PATIENCE_S,
    OTHERS,
    PEER_PATIENCE_S,
    SOCKET_NAME,
    Answer,
    Order,
    name_of,
    read_line,
    short,
    write_line,
)
from watcher.control.handing import HANDED, opened
from watcher.settings import Config

log = structlog.get_logger()


_QUESTIONS: Final = ("file.state",)  # change nothing, and come often
_OF_CONSOLE: Final = (
    *("file.approve", "file.reject", "file.release", "file.refuse", "file.replay", "roster.undo"),
    *("mail.retry", "mail.drop", "hook.retry", "hook.drop"),
)
_PEER: Final = struct.Struct("3i")  # process, user and group, of unix(7)

Handler = Callable[[Order], str | Answer]  # returns what was done; raises Refused


class Refused(Exception):
    """An order cannot be carried out, and has changed nothing. The message says why."""


def carry_out(handlers: Mapping[str, Handler], order: Order) -> Answer:
    """Carry out an order now. Raises what the handlers raise, except Refused and StoreLocked."""
    handler = handlers.get(order.do)
    if handler is None:
        return Answer(done=False, text=f"{order.do}: unknown order; expected one of {', '.join(sorted(handlers))}")
    try:
        answer = handler(order)
    except Refused as refused:
        return Answer(done=False, text=str(refused))
    except StoreLocked:
        return Answer(done=False, text="a file of this client is being imported; nothing was changed. Try again later")
    return answer if isinstance(answer, Answer) else Answer(done=True, text=answer)


class _Call:
    """One order, and the answer that its caller waits for."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.answer: Future[Answer] = Future()


class ControlServer:
    """The server. Its thread only queues orders; the work loop calls `serve_pending`."""

    def __init__(self, state_dir: str, wake: Callable[[], None]) -> None:
        self._state_dir = state_dir
        self._wake = wake
        self._calls: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        self._clients: Mapping[str, ClientSettings] = {}
        self._listener: socket.socket | None = None
        self._thread = threading.Thread(target=self._listen, name="control", daemon=True)
        self._is_closing = False

    def use(self, config: Config) -> None:
        """Hand over files of these clients from now on."""
        self._clients = config.clients_by_name

    def start(self) -> None:
        """Start listening; call it with the state directory locked. Raises OSError."""
        self._listener = _listener(self._state_dir)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; orders that were not started are cancelled."""
        self._is_closing = True
        if self._listener is None:
            return
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._take_back()
        self._thread.join(PEER_PATIENCE_S)
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self._state_dir, SOCKET_NAME))

    def serve_pending(self, handlers: Mapping[str, Handler], *, check: Callable[[Exception], None]) -> bool:
        """
        Carry out the orders in the queue; return whether there were any.

        `check` gets what a handler raised, after its caller was answered; it raises what must end the process.
        """
        served = False
        while (call := self._next()) is not None:
            served = True
            if call.answer.set_running_or_notify_cancel():
                self._serve(call, handlers, check)
        return served

    @staticmethod
    def _serve(call: _Call, handlers: Mapping[str, Handler], check: Callable[[Exception], None]) -> None:
        about = {"order": call.order.do, "id": call.order.id, "client": call.order.client}
        try:
            answer = carry_out(handlers, call.order)
        except Exception as error:  # an order must not end the loop, `check` knows what must
            call.answer.set_result(Answer(done=False, text=f"failed: {name_of(error)}; the log says more"))
            log.error("order.failed", **about, exc_info=error)
            check(error)
        else:
            call.answer.set_result(answer)
            if call.order.do in _QUESTIONS:
                log.debug("order.answered", **about, done=answer.done)
            else:
                log.info("order.answered", **about, done=answer.done)

    def _next(self) -> _Call | None:
        try:
            return self._calls.get_nowait()
        except queue.Empty:
            return None

    def _take_back(self) -> None:
        while (call := self._next()) is not None:
            call.answer.cancel()

    # The thread

    def _listen(self) -> None:
        if self._listener is None:
            raise AssertionError
        while not self._is_closing:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if not self._is_closing:
                    time.sleep(PEER_PATIENCE_S)  # no descriptors left; callers wait in the backlog
                continue
            with connection, contextlib.suppress(OSError):
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        try:
            order = msgspec.json.decode(read_line(connection, PEER_PATIENCE_S), type=Order)
        except (msgspec.DecodeError, TimeoutError):
            answer = Answer(done=False, text="not an order: expected one line of JSON")
        else:
            if order.do in HANDED:
                self._hand_over(connection, order)
                return
            answer = self._answered(order) if _is_permitted(connection, order) else _DENIED
        write_line(connection, msgspec.json.encode(answer))

    def _hand_over(self, connection: socket.socket, order: Order) -> None:
        try:
            fd, name = opened(self._clients, order)
        except OSError as error:
            write_line(connection, msgspec.json.encode(Answer(done=False, text=name_of(error))))
            return
        try:
            socket.send_fds(connection, [msgspec.json.encode(Answer(done=True, text=name)) + b"\n"], [fd])
        finally:
            os.close(fd)

    def _answered(self, order: Order) -> Answer:
        call = _Call(order)
        self._calls.put(call)
        self._wake()
        return self._await(call)

    def _await(self, call: _Call) -> Answer:
        if self._is_closing:  # not cancelled any more after `_take_back`
            call.answer.cancel()
        try:
            return call.answer.result(LOOP_PATIENCE_S)
        except CancelledError:
            return Answer(done=False, text="the daemon is stopping; nothing was changed")
        except TimeoutError:
            if call.answer.cancel():
                return Answer(done=False, text="the daemon is busy with a file; nothing was changed. Try again later")
            return call.answer.result()


_DENIED: Final = Answer(done=False, text="only root and the user of the service may order that")


def _is_permitted(connection: socket.socket, order: Order) -> bool:
    _, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return uid in (0, os.geteuid()) or (order.do in _OF_CONSOLE and order.by not in ("", *OTHERS))


def _listener(state_dir: str) -> socket.socket:
    """Return a listening socket, in place of the one that an earlier daemon left."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        with short(state_dir) as folder:
            fresh = os.path.join(folder, f"{SOCKET_NAME}.new")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(fresh)
            os.fchmod(listener.fileno(), 0o600)  # bound with this mode: a path could lead to a link by then
            listener.bind(fresh)
            if own_mode(state_dir) & stat.S_IRGRP:
                os.chmod(fresh, 0o660)
            listener.listen()
            os.replace(fresh, os.path.join(folder, SOCKET_NAME))
    except BaseException:
        listener.close()
        raise
    return listener
