"""How mail leaves: the channel that the settings ask for, and the thread that delivers."""

from __future__ import annotations

import errno
import queue
import socket
import threading
from datetime import datetime

from importer.durable import SyncFailed
from importer.mail import outbox
from importer.mail.channel import Delivery, Transport, failed
from importer.mail.maildir import MaildirTransport
from importer.model import Mail
from importer.settings import MailSettings
from importer.store.database import Store


def make_transport(settings: MailSettings, password: str) -> Transport:
    """
    Return the transport that the settings ask for: SMTP with a host, else the Maildir.

    `settings.maildir` and `settings.ca_file` are absolute; `password` is "" where there is none.
    Raises MailUnusable.
    """
    if settings.host:
        from importer.mail.smtp import SmtpTransport  # with yagmail and TLS, 20 ms and 2 MiB

        return SmtpTransport(settings, password)
    return MaildirTransport(settings.maildir)


class Sender:
    """
    The thread that delivers: one mail at a time, one attempt each. It never touches the database.

    It is a daemon thread: a look-up or a connect to a silent server cannot be interrupted, and stopping must not wait
    for it. The mail is then still waiting in the outbox, its attempt counted.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._work: queue.SimpleQueue[Mail | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Delivery | SyncFailed] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def use(self, transport: Transport) -> None:
        """Deliver another way from the next mail on."""
        self._transport = transport

    def send(self, mail: Mail) -> None:
        """Hand over one mail; its Delivery comes out of `answer` later."""
        self._work.put(mail)

    def answer(self) -> Delivery | None:
        """Return how the oldest unanswered mail ended; None while it is under way. Raises SyncFailed."""
        try:
            answer = self._answers.get_nowait()
        except queue.Empty:
            return None
        if isinstance(answer, SyncFailed):
            raise answer
        return answer

    def close(self, wait_s: float = 5.0) -> None:
        """Let the mail in hand finish, for `wait_s` at most, then leave it."""
        self._work.put(None)
        self._thread.join(wait_s)

    def _run(self) -> None:
        while (mail := self._work.get()) is not None:
            self._answers.put(self._attempt(mail))

    def _attempt(self, mail: Mail) -> Delivery | SyncFailed:
        try:
            return self._transport(mail)
        except SyncFailed as error:
            return error
        except Exception as error:  # noqa: BLE001 - the thread's loop: no error of one mail may end it
            return failed(mail, _name_of(error))


def _name_of(error: Exception) -> str:
    """Return the class of an error, or the errno where the class says nothing, and why a certificate is refused."""
    if detail := getattr(error, "verify_message", "") or (error.strerror if isinstance(error, socket.gaierror) else ""):
        return f"{type(error).__name__}: {detail}"
    if type(error) is OSError and error.errno is not None:
        return errno.errorcode.get(error.errno, "OSError")
    return type(error).__name__


class OutboxPump:
    """Moves mail between the rows and the sender, one at a time; called again and again by the thread of the store."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._under_way = False
        self._answer: Delivery | None = None  # kept until it is recorded, in case the database fails

    def pump(self, store: Store, now: datetime) -> bool:
        """
        Record what was answered and hand over what is due; return whether a mail is under way.

        Raises StoreError: nothing is lost, call again later. Raises SyncFailed.
        """
        self._collect(store, now)
        if not self._under_way:
            mail = outbox.take(store, now)
            if mail is not None:
                self._sender.send(mail)
                self._under_way = True
        return self._under_way

    def use(self, transport: Transport) -> None:
        """Deliver another way from the next mail on."""
        self._sender.use(transport)

    def close(self, store: Store, now: datetime) -> None:
        """Stop the sender, for which it may take a few seconds, and record its last answer."""
        self._sender.close()
        self._collect(store, now)

    def _collect(self, store: Store, now: datetime) -> None:
        self._answer = self._answer or self._sender.answer()
        if self._answer is not None:
            outbox.record(store, self._answer, now)
            self._answer, self._under_way = None, False
