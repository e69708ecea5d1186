"""
Who is logged in, in memory: a restart of the console logs everybody out.

A session has a new random id at each login, and nothing in its cookie but this id. It ends after a time without
requests, and a time after its login in any case; and at once when the user is removed, or gets another password or
role.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from typing import Final

import msgspec

from console.access.users import ConsoleUser

_TOKEN_BYTES: Final = 32
_MOST: Final = 10_000
_MOST_PER_USER: Final = 20


class Session(msgspec.Struct):
    """One login of a user, on one browser. Times are of the monotonic clock."""

    user: ConsoleUser  # as it was at the login
    began_s: float
    seen_s: float
    notice: str = ""  # to be said once, on the next page


class Sessions:
    """All of them. The server's event loop alone uses it, so nothing is locked."""

    def __init__(self, clock: Callable[[], float], *, idle_s: float, most_s: float) -> None:
        self._clock = clock
        self._idle_s = idle_s
        self._most_s = most_s
        self._sessions: dict[str, Session] = {}  # by the hash of the id, oldest first
        self._by_proxy: dict[str, Session] = {}  # by the name; users alone have one

    def begin(self, user: ConsoleUser) -> str:
        """Return the id of a new session."""
        self._make_room(user.name)
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        now = self._clock()
        self._sessions[_hash(token)] = Session(user=user, began_s=now, seen_s=now)
        return token

    def find(self, token: str, users: dict[str, ConsoleUser], *, is_used: bool = True) -> Session | None:
        """Return the session with this id, None when it has ended; it lasts for longer now, if a person uses it."""
        key, now = _hash(token), self._clock()
        session = self._sessions.get(key)
        if session is None:
            return None
        if self._has_ended(session, now) or users.get(session.user.name) != session.user:
            del self._sessions[key]
            return None
        if is_used:
            session.seen_s = now
        return session

    def of_proxy(self, user: ConsoleUser) -> tuple[Session, bool]:
        """Return the session of whom the proxy has let in, and whether it is new: it ends when the user changes."""
        session = self._by_proxy.get(user.name)
        if is_new := session is None or session.user != user:
            session = self._by_proxy[user.name] = Session(user=user, began_s=self._clock(), seen_s=self._clock())
        return session, is_new

    def end(self, token: str) -> None:
        """End one session."""
        self._sessions.pop(_hash(token), None)

    def end_all(self, name: str) -> int:
        """End all sessions of a user; return how many there were."""
        keys = [key for key, session in self._sessions.items() if session.user.name == name]
        for key in keys:
            del self._sessions[key]
        return len(keys)

    def count(self, name: str) -> int:
        """Return how many sessions of a user have not ended."""
        now = self._clock()
        return sum(s.user.name == name and not self._has_ended(s, now) for s in self._sessions.values())

    def _has_ended(self, session: Session, now: float) -> bool:
        return now >= session.seen_s + self._idle_s or now >= session.began_s + self._most_s

    def _make_room(self, name: str) -> None:
        now = self._clock()
        self._sessions = {key: each for key, each in self._sessions.items() if not self._has_ended(each, now)}
        own = [key for key, session in self._sessions.items() if session.user.name == name]
        for key in own[: max(0, len(own) - _MOST_PER_USER + 1)]:
            del self._sessions[key]
        while len(self._sessions) >= _MOST:
            del self._sessions[next(iter(self._sessions))]


def _hash(token: str) -> str:
    """Return what is stored of an id: whoever reads the memory of the process cannot use it."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
