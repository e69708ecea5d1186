from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from importer.store.errors import StoreDiskFailed
from tests.lab import wait_until
from watcher.control import client, server
from watcher.control.client import Answer, NoAnswer, NotRunning, Order, ask
from watcher.control.server import ControlServer, Handler, Refused

Asked = Callable[[Order], Answer]


class Loop:
    """A work loop that does nothing but serve."""

    def __init__(self, state_dir: Path, handlers: Mapping[str, Handler]) -> None:
        self.raised: list[Exception] = []
        self.is_busy = False
        self.server = ControlServer(str(state_dir), self._woken)
        self._handlers = handlers
        self._wake = threading.Event()
        self._is_over = False
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        """Begin to listen and to serve."""
        self.server.start()
        self._thread.start()

    def close(self) -> None:
        """End both."""
        self.server.close()
        self._is_over = True
        self._wake.set()
        self._thread.join()

    def _woken(self) -> None:
        self._wake.set()

    def _run(self) -> None:
        while not self._is_over:
            self._wake.wait()
            self._wake.clear()
            if not self.is_busy:
                self.server.serve_pending(self._handlers, check=self.raised.append)


def handlers() -> dict[str, Handler]:
    def echo(order: Order) -> str:
        return f"{order.id} {order.client} {order.file}"

    def refuse(_order: Order) -> str:
        raise Refused("no such mail")

    def fail(_order: Order) -> str:
        raise StoreDiskFailed("disk I/O error")

    def stumble(_order: Order) -> str:
        raise ValueError("cell value")

    return {"echo": echo, "refuse": refuse, "fail": fail, "stumble": stumble}


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    """Yield a loop that serves."""
    running = Loop(tmp_path, handlers())
    running.start()
    yield running
    running.close()


@pytest.fixture
def asked(loop: Loop, tmp_path: Path) -> Asked:
    """Return a function that asks the loop."""
    _ = loop
    return lambda order: ask(str(tmp_path), order)


def test_an_order_is_carried_out_and_answered(asked: Asked) -> None:
    """An order reaches the loop whole, and its answer the caller."""
    answer = asked(Order(do="echo", id="7", client="acme", file="a\n\u00e9\ud7ff.csv"))
    assert Answer(done=True, text="7 acme a\n\u00e9\ud7ff.csv") == answer


def test_an_order_can_be_refused(asked: Asked) -> None:
    """What cannot be done is answered with the reason; what is no order, with those that are."""
    assert Answer(done=False, text="no such mail") == asked(Order(do="refuse"))
    assert asked(Order(do="dance")).text.endswith("echo, fail, refuse, stumble")


def test_trouble_is_answered_and_told(loop: Loop, asked: Asked) -> None:
    """Whatever a handler raises the caller has an answer, the log an event, and the loop decides whether to go on."""
    with capture_logs() as entries:
        answer = asked(Order(do="fail"))
        wait_until(lambda: loop.raised, "the loop to be told")
    assert Answer(done=False, text="failed: StoreDiskFailed: disk I/O error; the log says more") == answer
    assert [type(error) for error in loop.raised] == [StoreDiskFailed]
    assert [("order.failed", "error")] == [(entry["event"], entry["log_level"]) for entry in entries]


def test_an_answer_quotes_no_data(asked: Asked) -> None:
    """The text of an exception that may hold a cell is not passed on."""
    assert "cell" not in asked(Order(do="stumble")).text


@pytest.mark.parametrize("line", [b"\n", b"hello\n", b'{"do": 1}\n', b'{"do": "echo", "more": 1}\n', b"\xff\n"])
def test_what_is_no_order_is_answered(loop: Loop, asked: Asked, tmp_path: Path, line: bytes) -> None:
    """Nonsense gets an answer, and the next caller is served."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(tmp_path / "control.sock"))
        caller.sendall(line)
        assert b'{"done":false,' in caller.recv(1000)
    assert asked(Order(do="echo")).done
    assert loop.raised == []


def test_a_caller_that_says_nothing_is_left(asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that is silent, or goes away, keeps nobody else from being served for long."""
    monkeypatch.setattr(server, "PEER_PATIENCE_S", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(tmp_path / "control.sock"))
        monkeypatch.setattr(client, "ASK_PATIENCE_S", 10)
        assert asked(Order(do="echo")).done


def test_an_order_to_a_busy_loop_is_taken_back(loop: Loop, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that is not begun in time is answered so, and is not carried out later."""
    monkeypatch.setattr(server, "LOOP_PATIENCE_S", 0.2)
    loop.is_busy = True
    answer = asked(Order(do="fail"))
    assert not answer.done
    assert "busy" in answer.text

    loop.is_busy = False
    assert asked(Order(do="echo")).done
    assert loop.raised == []


def test_an_order_to_a_stopping_loop_is_taken_back(loop: Loop, tmp_path: Path) -> None:
    """Who waits while the service stops is told that nothing was changed."""
    loop.is_busy = True
    answers: list[Answer] = []
    caller = threading.Thread(target=lambda: answers.append(ask(str(tmp_path), Order(do="fail"))))
    caller.start()
    wait_until(lambda: not loop.server._calls.empty(), "the order to arrive")
    loop.server.close()
    caller.join()
    assert [Answer(done=False, text="the daemon is stopping; nothing was changed")] == answers


def test_nobody_listens(tmp_path: Path) -> None:
    """Without a daemon, before the first start, or after one was killed, a caller knows that nobody listens."""
    with pytest.raises(NotRunning):
        ask(str(tmp_path / "state"), Order(do="echo"))
    with pytest.raises(NotRunning):
        ask(str(tmp_path), Order(do="echo"))
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "control.sock"))
    with pytest.raises(NotRunning):
        ask(str(tmp_path), Order(do="echo"))


def _hang_up(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    connection.close()


def test_a_lost_answer_is_told(tmp_path: Path) -> None:
    """A daemon that dies with an order in hand leaves its caller in doubt, and says so."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "control.sock"))
        listener.listen()
        peer = threading.Thread(target=lambda: _hang_up(listener))
        peer.start()
        with pytest.raises(NoAnswer):
            ask(str(tmp_path), Order(do="echo"))
        peer.join()


def test_the_socket_is_its_owners_alone(loop: Loop, tmp_path: Path) -> None:
    """Nobody but the owner may connect; what an earlier daemon left is replaced; the end leaves nothing."""
    assert 0o600 == stat.S_IMODE((tmp_path / "control.sock").stat().st_mode)
    loop.server.close()
    assert [] == list(tmp_path.iterdir())
    (tmp_path / "control.sock").write_text("")
    server = ControlServer(str(tmp_path), lambda: None)
    server.start()
    server.close()
    assert [] == list(tmp_path.iterdir())


def test_a_state_directory_may_lie_deep(tmp_path: Path) -> None:
    """The path of the state directory may be longer than the 108 bytes of a socket's address."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    os.makedirs(deep)
    running = Loop(deep, handlers())
    running.start()
    try:
        assert ask(str(deep), Order(do="echo", id="1")).done
    finally:
        running.close()
