"""The thread that sends, and the pump between it and the rows of the database."""

from __future__ import annotations

import errno
import queue
import socket
import threading
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Generic, TypeVar

from importer.durable import SyncFailed

if TYPE_CHECKING:  # 70 ms, of which commands that only ask why a server cannot be reached have no use
    from importer.store.database import Store

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class Sender(Generic[ItemT, ResultT]):
    """
    The thread that sends: one item at a time, one attempt each. It never touches the database.

    `transport` is called for each; it raises OSError, SyncFailed. `failed` makes the result of an attempt that raised.
    It is a daemon thread: a look-up or a connect to a silent server cannot be interrupted, and stopping must not wait
    for it. The item is then still waiting in its table, its attempt counted.
    """

    def __init__(
        self, transport: Callable[[ItemT], ResultT], failed: Callable[[ItemT, str], ResultT], *, name: str = "sender"
    ) -> None:
        self._transport = transport
        self._failed = failed
        self._work: queue.SimpleQueue[ItemT | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[ResultT | SyncFailed] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def use(self, transport: Callable[[ItemT], ResultT]) -> None:
        """Send another way from the next item on."""
        self._transport = transport

    def send(self, item: ItemT) -> None:
        """Hand over one item; its result comes out of `answer` later."""
        self._work.put(item)

    def answer(self) -> ResultT | None:
        """Return how the oldest unanswered item ended; None while it is under way. Raises SyncFailed."""
        try:
            answer = self._answers.get_nowait()
        except queue.Empty:
            return None
        if isinstance(answer, SyncFailed):
            raise answer
        return answer

    def close(self, wait_s: float = 5.0) -> None:
        """Let the item in hand finish, for `wait_s` at most, then leave it."""
        self._work.put(None)
        self._thread.join(wait_s)

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            self._answers.put(self._attempt(item))

    def _attempt(self, item: ItemT) -> ResultT | SyncFailed:
        try:
            return self._transport(item)
        except SyncFailed as error:
            return error
        except Exception as error:  # noqa: BLE001 - the thread's loop: no error of one item may end it
            return self._failed(item, name_of(error))


def name_of(error: Exception) -> str:
    """Return the class of an error, or the errno where the class says nothing, and why a certificate is refused."""
    if detail := getattr(error, "verify_message", "") or (error.strerror if isinstance(error, socket.gaierror) else ""):
        return f"{type(error).__name__}: {detail}"
    if type(error) is OSError and error.errno is not None:
        return errno.errorcode.get(error.errno, "OSError")
    return type(error).__name__


class Pump(Generic[ItemT, ResultT]):
    """
    Moves items between rows and sender, one at a time; called again and again by the thread of the store.

    `take` returns the next item, its attempt counted, or None; `record` writes how it ended. Both raise StoreError.
    """

    def __init__(
        self,
        sender: Sender[ItemT, ResultT],
        take: Callable[[Store, datetime], ItemT | None],
        record: Callable[[Store, ResultT, datetime], None],
    ) -> None:
        self._sender = sender
        self._take = take
        self._record = record
        self._under_way = False
        self._answer: ResultT | None = None  # kept until it is recorded, in case the database fails

    def pump(self, store: Store, now: datetime) -> bool:
        """
        Record what was answered and hand over what is due; return whether an item is under way.

        Raises StoreError: nothing is lost, call again later. Raises SyncFailed.
        """
        self.collect(store, now)
        if not self._under_way:
            item = self._take(store, store.shared_time(now))
            if item is not None:
                self._sender.send(item)
                self._under_way = True
        return self._under_way

    def use(self, transport: Callable[[ItemT], ResultT]) -> None:
        """Send another way from the next item on."""
        self._sender.use(transport)

    @property
    def is_under_way(self) -> bool:
        """Tell whether an item was handed over, and its result not recorded yet."""
        return self._under_way

    def close(self, store: Store, now: datetime, wait_s: float = 5.0) -> None:
        """Stop the sender, for which it may take so long, and record its last answer."""
        self._sender.close(wait_s)
        self.collect(store, now)

    def collect(self, store: Store, now: datetime) -> None:
        """Record what was answered, and hand over nothing. Raises as `pump`."""
        self._answer = self._answer or self._sender.answer()
        if self._answer is not None:
            self._record(store, self._answer, store.shared_time(now))
            self._answer, self._under_way = None, False
