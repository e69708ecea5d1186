"""Regular expressions that are compiled when they are first used: to compile all of ours at each start takes 15 ms."""

from __future__ import annotations

import re
from typing import Any, Final, cast


class _Lazy:
    def __init__(self, pattern: str, flags: int) -> None:
        self._source: Final = pattern, flags

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any method of a pattern
        method = self.__dict__[name] = getattr(re.compile(*self._source), name)  # asked once, then it is an attribute
        return method


def regex(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """Return what `re.compile` returns, as far as its methods go."""
    return cast("re.Pattern[str]", _Lazy(pattern, flags))
