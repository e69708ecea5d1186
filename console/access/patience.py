"""How long the console waits for a peer that sends or takes in slowly: uvicorn by itself waits for ever."""

from __future__ import annotations

import asyncio
from typing import Final

from h11 import IDLE, SEND_BODY
from uvicorn.protocols.http.h11_impl import H11Protocol

SEND_S: Final = 20.0  # for a whole request, from the connection or its first byte on
TAKE_S: Final = 60.0  # for taking in anything of an answer
_COMING: Final = (IDLE, SEND_BODY)  # states of a peer whose request is not complete


class PatientProtocol(H11Protocol):
    """One connection, which is cut when its peer is too slow."""

    _sending: asyncio.TimerHandle | None = None
    _taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._sending = self.loop.call_later(SEND_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Take in bytes, and stop waiting once they complete a request."""
        if self._sending is None:
            self._sending = self.loop.call_later(SEND_S, self.transport.abort)
        super().data_received(data)
        if self.conn.their_state not in _COMING:
            self._sending.cancel()
            self._sending = None

    def pause_writing(self) -> None:
        """Begin to wait for the peer to take in what fills the buffers."""
        super().pause_writing()
        self._taking = self.loop.call_later(TAKE_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop waiting: some of it was taken in."""
        super().resume_writing()
        self._stop_waiting_for_it()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        if self._sending is not None:
            self._sending.cancel()
        self._stop_waiting_for_it()

    def _stop_waiting_for_it(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None
