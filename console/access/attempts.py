"""How many passwords may be tried: of one name from one address, of one name, from one address."""

from __future__ import annotations

import ipaddress
import math
from collections import deque
from collections.abc import Callable
from typing import Final

WINDOW_S: Final = 900.0
_MOST_KEYS: Final = 10_000
_LONGEST_NAME: Final = 64
# Of a name from all addresses more, or anybody could lock a user out; from an address more, as offices share one.
MOST_OF_PAIR: Final = 5
MOST_OF_NAME: Final = 50
MOST_OF_ADDRESS: Final = 25

_Key = tuple[str, ...]  # what is counted, and whose


class Attempts:
    """The tries of the last 15 minutes that failed. A name that nobody has counts like any other."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: dict[_Key, deque[float]] = {}

    def wait_s(self, name: str, address: str) -> float:
        """Return how long no further try is allowed; 0 for one now."""
        return max(self._wait_of(key, most) for key, most in _limits(name, address))

    def note_failure(self, name: str, address: str) -> None:
        """Count a try that failed; count it before the password is looked at, as others may be tried meanwhile."""
        now = self._clock()
        for key, most in _limits(name, address):
            failures = self._failures.pop(key, None) or deque(maxlen=most)
            failures.append(now)
            self._failures[key] = failures  # last, so that the first is the one that was idle longest
        while len(self._failures) > _MOST_KEYS:
            del self._failures[next(iter(self._failures))]

    def note_success(self, name: str, address: str) -> None:
        """Forget the failures of a name from an address, and take back that of the try itself."""
        (pair, _), *others = _limits(name, address)
        self._failures.pop(pair, None)
        for key, _ in others:
            if failures := self._failures.get(key):
                failures.pop()

    def _wait_of(self, key: _Key, most: int) -> float:
        failures = self._failures.get(key)
        if not failures or len(failures) < most:
            return 0.0
        return max(0.0, math.ceil(failures[0] + WINDOW_S - self._clock()))


def _limits(name: str, address: str) -> tuple[tuple[_Key, int], ...]:
    name, network = name[:_LONGEST_NAME], _network(address)
    return (
        (("pair", name, network), MOST_OF_PAIR),
        (("name", name), MOST_OF_NAME),
        (("address", network), MOST_OF_ADDRESS),
    )


def _network(address: str) -> str:
    """Return what counts as one address: of IPv6 the network /64, as whoever has one address has all of it."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv4Address):
        return address
    return str(known.ipv4_mapped or known.packed[:8].hex())
